"""``extensions/deflate.py`` and ``extensions/_zlib.py``, without a connection.

What one side encodes the other decodes: whole, in pieces, cut anywhere, with each DEFLATE library
that is installed. The rows of the conformance matrix are in ``test_conformance_deflate.py``.
"""

import builtins
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsproto_core import ExtensionError, OpCode, PayloadTooBig, ProtocolError, Role
from wsproto_core.extensions import _zlib
from wsproto_core.extensions import deflate as ours
from wsproto_core.extensions._zlib import BACKENDS, choose
from wsproto_core.extensions.base import Agreed, Codec, Extension, Params
from wsproto_core.extensions.deflate import DEFAULT_WINDOW_BITS, PerMessageDeflate

TEXT = int(OpCode.TEXT)
RSV1 = 0x40
TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")
AGAIN = bytes.fromhex("f200110000")
FINAL = bytes.fromhex("f348cdc9c90700")
SLICE = 64 << 10


def installed() -> Iterator[str]:
    for name, module in (("zlib-ng", "zlib_ng"), ("isal", "isal")):
        try:
            import_module(module)
        except ImportError:
            continue
        yield name


LIBRARIES = ["zlib", *installed()]


@pytest.fixture(params=LIBRARIES)
def backend(request: pytest.FixtureRequest) -> str:
    name = request.param
    assert isinstance(name, str)
    return name


@dataclass
class Link:
    """Two codecs that agreed: what ``sender`` encodes, ``receiver`` decodes."""

    sender: Codec
    receiver: Codec
    parameters: Params

    def carry(
        self, *pieces: bytes, compress: bool | None = True, limit: int = -1, step: int = 0
    ) -> bytes:
        """Send a message in ``pieces`` and read it, in steps of ``step`` bytes (0: as sent)."""
        wire = []
        bits = 0
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            payload, rsv = self.sender.encode(TEXT, piece, at == 0, last, compress)
            assert rsv == 0 or at == 0
            bits |= rsv
            wire.append(payload)
        if step:
            whole = b"".join(wire)
            wire = [whole[at : at + step] for at in range(0, len(whole), step)] or [b""]
        return read(self.receiver, *wire, rsv=bits, limit=limit)


def read(
    codec: Codec,
    *pieces: bytes,
    rsv: int = RSV1,
    limit: int = -1,
    out: list[bytes] | None = None,
) -> bytes:
    """Decode a message that comes in ``pieces``; no slice is larger than agreed.

    ``out`` takes what comes, also where an error follows.
    """
    found: list[bytes] = [] if out is None else out
    for at, piece in enumerate(pieces):
        found.extend(codec.decode(piece, rsv, at == 0, at == len(pieces) - 1, limit))
    assert not rsv or all(len(data) <= SLICE for data in found)
    return b"".join(found)


def link(sender: Role = Role.CLIENT, **more: Any) -> Link:
    """Two ends with the same settings; ``sender`` is the role of the one that encodes."""
    extension = PerMessageDeflate(**more)
    offers = extension.offers()
    accepted = extension.accept(offers[0])
    assert accepted is not None
    confirmed = extension.confirm(offers, accepted.parameters)
    codecs = {
        Role.CLIENT: confirmed.codec(Role.CLIENT),
        Role.SERVER: accepted.codec(Role.SERVER),
    }
    receiver = Role.SERVER if sender is Role.CLIENT else Role.CLIENT
    return Link(codecs[sender], codecs[receiver], accepted.parameters)


def server(offer: Params = (), **more: Any) -> Codec:
    agreed = PerMessageDeflate(**more).accept(offer)
    assert agreed is not None
    return agreed.codec(Role.SERVER)


def deflate(*messages: bytes, bits: int = 15) -> list[bytes]:
    context = zlib.compressobj(6, zlib.DEFLATED, -bits)
    return [(context.compress(item) + context.flush(zlib.Z_SYNC_FLUSH))[:-4] for item in messages]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# ------------------------------------------------------------------------- settings


def test_it_is_an_extension_that_cannot_be_changed() -> None:
    extension = PerMessageDeflate()
    _: Extension = extension
    assert (extension.name, extension.rsv) == ("permessage-deflate", RSV1)
    assert extension == PerMessageDeflate()
    assert hash(extension) == hash(PerMessageDeflate())
    with pytest.raises(FrozenInstanceError):
        extension.level = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_no_context_takeover", 1),
        ("client_no_context_takeover", None),
        ("require_client_max_window_bits", "yes"),
        ("accept_client_no_context_takeover", 0),
        ("server_max_window_bits", True),
        ("server_max_window_bits", "10"),
        ("client_max_window_bits", False),
        ("client_max_window_bits", 10.0),
        ("level", None),
        ("mem_level", "5"),
        ("threshold", 1.5),
        ("threshold", True),
    ],
)
def test_a_setting_of_a_wrong_kind(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_max_window_bits", 7),
        ("server_max_window_bits", 16),
        ("client_max_window_bits", 0),
        ("client_max_window_bits", 16),
        ("level", 0),
        ("level", 10),
        ("mem_level", 0),
        ("mem_level", 10),
        ("threshold", -1),
        ("backend", "brotli"),
    ],
)
def test_a_setting_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("threshold", -1, "0 or more"),
        ("level", 10, "1 to 9"),
        ("server_max_window_bits", 7, "8 to 15"),
    ],
)
def test_a_setting_out_of_range_says_the_range(name: str, value: int, range_: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be {range_}, not {value}$"):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


def test_what_is_required_must_be_wanted() -> None:
    with pytest.raises(ValueError, match="require_client_max_window_bits"):
        PerMessageDeflate(require_client_max_window_bits=True, client_max_window_bits=None)


def test_the_edges_of_the_ranges_are_fine() -> None:
    for bits in (8, 15):
        PerMessageDeflate(server_max_window_bits=bits, client_max_window_bits=bits)
    for level in (1, 9):
        PerMessageDeflate(level=level, mem_level=level, threshold=0)


# ------------------------------------------------------------------------- negotiation


def test_the_default_offer() -> None:
    assert PerMessageDeflate().offers() == ((("client_max_window_bits", None),),)
    assert PerMessageDeflate(client_max_window_bits=None).offers() == ((),)


def test_the_order_of_parameters() -> None:
    everything = PerMessageDeflate(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=9,
        client_max_window_bits=10,
    )
    wanted = (
        ("server_no_context_takeover", None),
        ("client_no_context_takeover", None),
        ("server_max_window_bits", "9"),
        ("client_max_window_bits", "10"),
    )
    assert everything.offers() == (wanted,)
    agreed = everything.accept(wanted)
    assert agreed is not None
    assert agreed.parameters == wanted
    assert everything.confirm(everything.offers(), wanted).parameters == wanted


def test_a_wrong_answer_says_what_was_expected() -> None:
    extension = PerMessageDeflate()
    offers = extension.offers()
    with pytest.raises(ExtensionError, match=r"8 to 15 .* got '99' .*RFC 7692 7.1") as caught:
        extension.confirm(offers, (("server_max_window_bits", "99"),))
    assert caught.value.close_code == 1010
    assert caught.value.rule == "RFC 7692 7.1"
    with pytest.raises(ExtensionError, match="expected a value of client_max_window_bits"):
        extension.confirm(offers, (("client_max_window_bits", None),))
    # What is shown of the peer's bytes is escaped and short.
    with pytest.raises(ExtensionError) as caught:
        extension.confirm(offers, (("\x1b" * 9999, None),))
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ((("other", None),), "got 'other'"),
        ((("server_no_context_takeover", None),) * 2, "server_no_context_takeover once"),
        ((("client_no_context_takeover", ""),), "client_no_context_takeover without a value"),
        ((("server_max_window_bits", "9"),) * 2, "server_max_window_bits once"),
        ((("server_max_window_bits", None),), "a value of server_max_window_bits, got none"),
        ((("client_max_window_bits", "\uff11\uff10"),), "8 to 15 as the value of client_max"),
    ],
)
def test_malformed_parameters(params: Params, why: str) -> None:
    extension = PerMessageDeflate()
    assert extension.accept(params) is None
    with pytest.raises(ExtensionError, match=why):
        extension.confirm(extension.offers(), params)


def test_what_was_asked_must_be_granted() -> None:
    asks = PerMessageDeflate(
        server_no_context_takeover=True, server_max_window_bits=10, client_max_window_bits=None
    )
    granted: Params = (("server_no_context_takeover", None), ("server_max_window_bits", "10"))
    assert asks.confirm(asks.offers(), granted).parameters == granted
    for answer, why in (
        (granted[1:], "expected server_no_context_takeover as asked"),
        (granted[:1], "expected server_max_window_bits of at most 10, got None"),
        ((granted[0], ("server_max_window_bits", "11")), "at most 10, got 11"),
        ((*granted, ("client_max_window_bits", "15")), "no client_max_window_bits"),
    ):
        with pytest.raises(ExtensionError, match=why):
            asks.confirm(asks.offers(), answer)


def test_a_server_may_insist_on_a_small_window() -> None:
    insists = PerMessageDeflate(require_client_max_window_bits=True)
    assert insists.accept(()) is None
    agreed = insists.accept((("client_max_window_bits", None),))
    assert agreed is not None
    assert agreed.parameters == (("client_max_window_bits", "12"),)


def bits_used(codec: Codec) -> tuple[int, int]:
    return codec._out_bits, codec._in_bits  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("offer", "settings", "wanted"),
    [
        ((), {}, (DEFAULT_WINDOW_BITS, 15)),
        ((("client_max_window_bits", None),), {}, (12, 12)),
        ((("client_max_window_bits", "10"),), {}, (12, 10)),
        ((("client_max_window_bits", None),), {"client_max_window_bits": 15}, (12, 15)),
        ((("client_max_window_bits", None),), {"client_max_window_bits": None}, (12, 15)),
        ((("server_max_window_bits", "15"),), {}, (12, 15)),
        ((("server_max_window_bits", "9"),), {}, (9, 15)),
        ((("server_max_window_bits", "15"),), {"server_max_window_bits": 15}, (15, 15)),
        ((), {"server_max_window_bits": 14}, (14, 15)),
    ],
)
def test_the_windows_of_a_server(
    offer: Params, settings: dict[str, Any], wanted: tuple[int, int]
) -> None:
    assert bits_used(server(offer, **settings)) == wanted


@pytest.mark.parametrize(
    ("answer", "settings", "wanted"),
    [
        ((), {}, (12, 15)),
        ((("client_max_window_bits", "15"),), {}, (12, 15)),
        ((("client_max_window_bits", "9"),), {}, (9, 15)),
        ((("client_max_window_bits", "12"),), {"client_max_window_bits": 10}, (10, 15)),
        ((), {"client_max_window_bits": 15}, (15, 15)),
        ((), {"client_max_window_bits": None}, (12, 15)),
        ((("server_max_window_bits", "8"),), {}, (12, 8)),
    ],
)
def test_the_windows_of_a_client(
    answer: Params, settings: dict[str, Any], wanted: tuple[int, int]
) -> None:
    extension = PerMessageDeflate(**settings)
    agreed = extension.confirm(extension.offers(), answer)
    assert bits_used(agreed.codec(Role.CLIENT)) == wanted


VALUES = st.none() | st.sampled_from(["8", "9", "12", "15", "16", "7", "010", "", "x", "１０"])
NAMES = st.sampled_from(
    [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
        "other",
    ]
)
PARAMETERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)
SETTINGS = st.builds(
    PerMessageDeflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.none() | st.integers(8, 15),
    client_max_window_bits=st.none() | st.just(True) | st.integers(8, 15),
    accept_client_no_context_takeover=st.booleans(),
)


@given(SETTINGS, PARAMETERS)
def test_no_parameters_raise_anything_else(extension: PerMessageDeflate, params: Params) -> None:
    accepted = extension.accept(params)
    assert accepted is None or isinstance(accepted, Agreed)
    with suppress(ExtensionError):
        extension.confirm(extension.offers(), params)


@given(SETTINGS, SETTINGS)
def test_what_a_server_accepts_its_client_confirms(
    client: PerMessageDeflate, ours: PerMessageDeflate
) -> None:
    accepted = ours.accept(client.offers()[0])
    if accepted is None:
        assert 8 in (client.server_max_window_bits, ours.server_max_window_bits)
        return
    confirmed = client.confirm(client.offers(), accepted.parameters)
    assert confirmed.parameters == accepted.parameters
    here, there = accepted.codec(Role.SERVER), confirmed.codec(Role.CLIENT)
    assert bits_used(here)[0] <= bits_used(there)[1]
    assert bits_used(there)[0] <= bits_used(here)[1]
    for sender, receiver in ((here, there), (there, here)):
        both = Link(sender, receiver, ())
        for message in (noise(600), noise(600) * 2, b"Hello"):
            assert both.carry(message) == message


# ------------------------------------------------------------------------- messages


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_messages_of_every_size(backend: str, sender: Role, fresh: bool, bits: int) -> None:
    both = link(
        sender,
        server_no_context_takeover=fresh,
        client_no_context_takeover=fresh,
        server_max_window_bits=bits,
        client_max_window_bits=bits,
        backend=backend,
    )
    for size in (0, 1, 5, 125, 126, 4095, 4096, 4097, SLICE - 1, SLICE, SLICE + 1, 200_000):
        for message in (bytes(size), noise(size), (b"The quick brown fox. " * 9999)[:size]):
            assert both.carry(message) == message
            assert both.carry(message, compress=None, step=1000) == message
            third = size // 3
            assert both.carry(message[:third], message[third:], b"", step=777) == message


MESSAGES = st.lists(
    st.tuples(
        st.lists(
            st.binary(max_size=40)
            | st.builds(
                lambda data, n: data * n, st.binary(min_size=1, max_size=9), st.integers(1, 999)
            ),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from([None, True, False]),
        st.sampled_from([0, 1, 3, 100]),
        st.booleans(),
    ),
    max_size=6,
)


@given(SETTINGS, MESSAGES, st.sampled_from(list(Role)), st.integers(0, 200))
@settings(deadline=None)
def test_any_messages_in_any_pieces(
    extension: PerMessageDeflate, messages: list[Any], sender: Role, threshold: int
) -> None:
    both = link(
        sender,
        server_no_context_takeover=extension.server_no_context_takeover,
        client_no_context_takeover=extension.client_no_context_takeover,
        server_max_window_bits=max(extension.server_max_window_bits or 15, 9),
        client_max_window_bits=extension.client_max_window_bits,
        threshold=threshold,
    )
    for pieces, compress, step, idle in messages:
        message = b"".join(pieces)
        assert both.carry(*pieces, compress=compress, step=step, limit=len(message)) == message
        if idle:
            both.sender.idle()
            both.receiver.idle()


@pytest.mark.parametrize("reader", LIBRARIES)
def test_every_library_reads_every_other(backend: str, reader: str) -> None:
    settings: dict[str, Any] = {"server_max_window_bits": 10, "client_max_window_bits": 10}
    writer = link(backend=backend, **settings)
    both = Link(writer.sender, link(backend=reader, **settings).receiver, ())
    for seed in range(30):
        message = noise(seed * 50, seed) + b"The quick brown fox. " * seed
        assert both.carry(message) == message
        assert both.carry(message[:99], message[99:], step=7) == message


@pytest.mark.parametrize("level", range(1, 10))
def test_levels(backend: str, level: int) -> None:
    both = link(backend=backend, level=level, mem_level=level)
    message = b"The quick brown fox. " * 500
    assert both.carry(message) == message
    payload, _ = both.sender.encode(TEXT, message, True, True, True)
    assert len(payload) < 400


# ------------------------------------------------------------------------- sending


def test_short_messages_go_out_plain() -> None:
    codec = link().sender
    assert codec.encode(TEXT, b"a" * 127, True, True, None) == (b"a" * 127, 0)
    payload, rsv = codec.encode(TEXT, b"a" * 128, True, True, None)
    assert rsv == RSV1
    assert len(payload) < 20
    # A wish counts for more.
    assert codec.encode(TEXT, b"a", True, True, True)[1] == RSV1
    assert codec.encode(TEXT, b"a" * 999, True, True, False) == (b"a" * 999, 0)


def test_the_empty_message_needs_no_deflater() -> None:
    codec = link().sender
    assert codec.encode(TEXT, b"", True, True, True) == (b"\0", RSV1)
    assert codec._deflater is None  # type: ignore[attr-defined]
    nothing = link(threshold=0).sender
    assert nothing.encode(TEXT, b"", True, True, None) == (b"", 0)


def test_what_does_not_shrink_goes_out_plain() -> None:
    both = link()
    data = noise(1000)
    payload, rsv = both.sender.encode(TEXT, data, True, True, None)
    assert (payload, rsv) == (data, 0)
    # Equal is not fewer, and a wish is a wish.
    payload, rsv = both.sender.encode(TEXT, data, True, True, True)
    assert rsv == RSV1
    assert len(payload) > 1000
    assert read(both.receiver, payload) == data
    # The next one is read well, though its sender had to forget.
    assert both.carry(data, compress=None) == data
    for _ in range(3):
        assert both.carry(b"Hello" * 50, compress=None) == b"Hello" * 50


def test_a_message_in_pieces_is_weighed_by_its_first() -> None:
    both = link()
    data = noise(1000)
    # Noise: plain, and plain it stays.
    assert both.sender.encode(TEXT, data, True, False, None) == (data, 0)
    assert both.sender.encode(TEXT, b"a" * 1000, False, True, None) == (b"a" * 1000, 0)
    # Text: compressed, and so it stays; the bits count only at first.
    payload, rsv = both.sender.encode(TEXT, b"a" * 1000, True, False, None)
    assert rsv == RSV1
    more, rsv = both.sender.encode(TEXT, data, False, True, None)
    assert rsv == 0
    assert read(both.receiver, payload, more) == b"a" * 1000 + data
    # A short first piece: plain.
    assert both.sender.encode(TEXT, b"a", True, False, None) == (b"a", 0)
    assert both.sender.encode(TEXT, b"a" * 1000, False, True, True) == (b"a" * 1000, 0)


def test_each_piece_can_be_read_at_once(backend: str) -> None:
    both = link(backend=backend)
    for at, piece in enumerate((b"one ", b"two ", b"three ")):
        payload, _ = both.sender.encode(TEXT, piece, at == 0, False, True)
        assert b"".join(both.receiver.decode(payload, RSV1, at == 0, False, -1)) == piece
    payload, _ = both.sender.encode(TEXT, b"", False, True, True)
    assert payload
    assert b"".join(both.receiver.decode(payload, RSV1, False, True, -1)) == b""


class _Silent:
    """A deflater as the standard allows it: a second flush in a row gives nothing."""

    def compress(self, data: bytes, /) -> bytes:
        assert data == b""
        return b""

    def flush(self, mode: int, /) -> bytes:
        assert mode == zlib.Z_SYNC_FLUSH
        return b""


def test_a_last_piece_is_never_of_no_bytes() -> None:
    codec: Any = link().sender
    payload, _ = codec.encode(TEXT, b"Hello", True, False, True)
    codec._deflater = _Silent()
    assert codec.encode(TEXT, b"", False, False, True) == (b"", 0)
    last, _ = codec.encode(TEXT, b"", False, True, True)
    assert last == b"\0"
    assert read(link().receiver, payload, last) == b"Hello"


def test_a_window_of_eight_bits_is_never_deflated() -> None:
    both = link(client_max_window_bits=8)
    assert both.sender.encode(TEXT, b"a" * 999, True, True, True) == (b"a" * 999, 0)
    back = link(Role.SERVER, client_max_window_bits=8)
    assert back.carry(b"a" * 999) == b"a" * 999


# ------------------------------------------------------------------------- receiving


def test_plain_messages_pass_and_count() -> None:
    codec = server()
    data = noise(100_000)
    [same] = codec.decode(data, 0, True, True, 100_000)
    assert same is data
    with pytest.raises(PayloadTooBig):
        codec.decode(data, 0, True, True, 99_999)
    list(codec.decode(b"12345", 0, True, False, 10))
    list(codec.decode(b"67890", 0, False, False, 10))
    with pytest.raises(PayloadTooBig, match="limit of 10 bytes"):
        codec.decode(b"x", 0, False, True, 10)


@pytest.mark.parametrize("bits", ["12", "15"])
def test_slices(backend: str, bits: str) -> None:
    offer: Params = (("client_max_window_bits", None),)
    codec = server(offer, client_max_window_bits=int(bits), backend=backend)
    size = 10 * SLICE + 17
    slices = list(codec.decode(deflate(bytes(size))[0], RSV1, True, True, -1))
    assert [len(part) for part in slices] == [SLICE] * 10 + [17]


LIMIT = 100_000


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, LIMIT + 257])
@pytest.mark.parametrize("bits", [10, 12, 15])
@pytest.mark.parametrize("step", [0, 1, 50])
def test_the_limit_is_exact(backend: str, size: int, bits: int, step: int) -> None:
    settings: dict[str, Any] = {"server_max_window_bits": bits, "client_max_window_bits": bits}
    both = link(backend=backend, **settings)
    for message in (bytes(size), b"The quick brown fox. " * (size // 21) + b"x" * (size % 21)):
        payload, _ = both.sender.encode(TEXT, message, True, True, True)
        pieces = (
            [payload[at : at + step] for at in range(0, len(payload), step)] if step else [payload]
        )
        if size <= LIMIT:
            assert read(both.receiver, *pieces, limit=LIMIT) == message
            continue
        out: list[bytes] = []
        with pytest.raises(PayloadTooBig, match="limit of 100000 bytes"):
            read(both.receiver, *pieces, limit=LIMIT, out=out)
        assert b"".join(out) == message[:LIMIT]
        both = link(backend=backend, **settings)


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("more", [1, 100_000])
def test_the_limit_is_exact_where_a_slice_ends(backend: str, slices: int, more: int) -> None:
    """What may pass is given, in slices that are not too large, and not a byte more."""
    limit = slices * SLICE
    both = link(backend=backend, server_max_window_bits=15, client_max_window_bits=15)
    payload, _ = both.sender.encode(TEXT, bytes(limit + more), True, True, True)
    out: list[bytes] = []
    with pytest.raises(PayloadTooBig):
        read(both.receiver, payload, limit=limit, out=out)
    assert b"".join(out) == bytes(limit)
    assert all(len(data) <= SLICE for data in out)


def test_a_plain_message_over_a_limit_of_nothing() -> None:
    assert read(server(), b"", rsv=0, limit=0) == b""
    with pytest.raises(PayloadTooBig):
        read(server(), b"x", rsv=0, limit=0)


def test_what_is_as_long_deflated_goes_out_plain() -> None:
    codec = server(backend="zlib", threshold=0)
    assert codec.encode(TEXT, b"aaaaaa", True, True, None) == (b"aaaaaa", 0)
    payload, rsv = codec.encode(TEXT, b"aaaaaa", True, True, True)
    assert (len(payload), rsv) == (6, RSV1)
    assert codec.encode(TEXT, b"a" * 7, True, True, None)[1] == RSV1


def test_a_limit_below_the_first_bytes() -> None:
    for limit in (0, 1, 4):
        with pytest.raises(PayloadTooBig):
            read(server(), HELLO, limit=limit)
        with pytest.raises(PayloadTooBig):
            read(server(), HELLO[:4], HELLO[4:], limit=limit)
    assert read(server(), HELLO, limit=5) == b"Hello"
    assert read(server(), b"\0", limit=0) == b""


def test_no_more_memory_than_a_slice(backend: str) -> None:
    # 256 MiB out of 256 KiB: only what is given counts, and what is given is dropped here.
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = context.compress(bytes(1 << 20)) + context.flush(zlib.Z_FULL_FLUSH)
    for bits in (12, 15):
        codec = server(
            (("client_max_window_bits", None),), client_max_window_bits=bits, backend=backend
        )
        payload = part * 64 + b"\0"
        tracemalloc.start()
        total = sum(len(data) for data in codec.decode(payload, RSV1, True, True, -1))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == 64 << 20
        assert peak < 512 << 10


# Streams with everything in them that a peer may do, each cut at every place.
STREAMS = {
    "plain": [HELLO, AGAIN],
    "empty": [b"\0", HELLO, b"\0", AGAIN],
    "two finals": [FINAL + FINAL + b"\0", AGAIN],
    "final at the end": [FINAL, AGAIN, FINAL, FINAL + AGAIN],
    "empty final": [b"\x03\x00", HELLO, b"\x03\x00", AGAIN],
    "final then back": [FINAL + b"\0", AGAIN, FINAL + AGAIN],
    "tail left on": [HELLO + TAIL, AGAIN],
    "stored final": [bytes.fromhex("010500faff48656c6c6f"), AGAIN],
    "a final block of the tail's bytes": [bytes.fromhex("010400fbff") + TAIL, AGAIN],
    "truncated": [HELLO[:3], HELLO],
    "truncated stored": [bytes.fromhex("000800f7ff48656c6c"), HELLO],
    "truncated final stored": [bytes.fromhex("010900f6ff48656c6c6f"), HELLO],
    "a final stored block ends in the tail": [bytes.fromhex("010700f8ff48656c6c6f"), HELLO],
    "garbage": [HELLO, FINAL + bytes.fromhex("deadbeef")],
    "garbage after the end": [HELLO + b"\xff"],
    "no bytes": [HELLO, b"", AGAIN],
    "back before the start": [AGAIN],
    "distance of a dropped window": [FINAL + bytes.fromhex("f2001d0000")],
}


def outcome(codec: Codec, stream: list[bytes], cuts: list[int], idle: bool = False) -> list[Any]:
    """What each message gives, cut at ``cuts``, up to the error that ends it."""
    found: list[Any] = []
    for payload in stream:
        places = [0, *[cut for cut in cuts if 0 < cut < len(payload)], len(payload)]
        pieces = [payload[a:b] for a, b in pairwise(places)]
        try:
            found.append(read(codec, *pieces))
        except ExtensionError as error:
            found.append(error.close_code)
            break
        if idle:
            codec.idle()
    return found


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("fresh", [False, True])
def test_no_cut_changes_the_outcome(backend: str, name: str, fresh: bool) -> None:
    offer: Params = (("client_no_context_takeover", None),) if fresh else ()
    stream = STREAMS[name]

    def make() -> Codec:
        return server(offer, backend=backend)

    wanted = outcome(make(), stream, [])
    longest = max(len(payload) for payload in stream)
    assert outcome(make(), stream, list(range(longest))) == wanted
    for first in range(1, longest):
        assert outcome(make(), stream, [first]) == wanted
        assert outcome(make(), stream, [first, first + 1]) == wanted
    # Empty pieces anywhere, also at the end, and dropped contexts between the messages.
    assert outcome(make(), stream, [1, 1, 2, 2, 2, 99]) == wanted
    if not name.startswith("truncated"):
        assert outcome(make(), stream, [], idle=True) == wanted


def test_an_empty_piece_behind_a_final_block(backend: str) -> None:
    codec = server(backend=backend)
    assert read(codec, FINAL, b"", b"") == b"Hello"
    assert read(codec, b"", FINAL[:3], b"", FINAL[3:], b"") == b"Hello"
    assert read(codec, AGAIN) == b"Hello"


def test_a_final_block_that_takes_the_tail_for_its_own(backend: str) -> None:
    """Cut short by as many bytes: that cannot be told, but the next message is in step."""
    codec = server(backend=backend)
    assert read(codec, b"\x01\x04\x00\xfb\xff") == TAIL
    assert read(codec, HELLO) == b"Hello"


@given(
    st.lists(
        st.sampled_from(
            [HELLO, AGAIN, FINAL, b"\0", b"\x03\x00", TAIL, b"\0\0\0\xff\xff", b"\x01\0\0\xff\xff"]
        )
        | st.binary(max_size=5),
        min_size=1,
        max_size=6,
    ).map(b"".join),
    st.lists(st.integers(0, 30), max_size=4).map(sorted),
)
def test_no_cut_of_hostile_bytes_changes_the_outcome(payload: bytes, cuts: list[int]) -> None:
    stream = [HELLO, payload, AGAIN]
    wanted = outcome(server(backend="zlib"), stream, [])
    assert outcome(server(backend="zlib"), stream, cuts) == wanted
    assert outcome(server(backend="zlib"), stream, list(range(len(payload)))) == wanted


@given(st.binary(max_size=2000), st.integers(0, 1999), st.integers(0, 255), st.integers(8, 15))
@settings(deadline=None)
def test_no_bytes_raise_anything_else(data: bytes, place: int, byte: int, bits: int) -> None:
    payload = bytearray(deflate(data * 3)[0])
    payload[place % len(payload)] = byte
    offer: Params = (("client_max_window_bits", str(bits)),)
    for pieces in ([bytes(payload)], [bytes(payload[:9]), bytes(payload[9:])], [data]):
        codec = server(offer, client_max_window_bits=15)
        try:
            out = read(codec, *pieces, limit=5000)
        except ProtocolError as error:
            failure: ProtocolError | None = error
        else:
            failure = None
            assert len(out) <= 5000
        if isinstance(failure, ExtensionError):
            assert failure.close_code == 1007
            assert "expected a message that inflates, got " in str(failure)
        elif failure is not None:
            assert isinstance(failure, PayloadTooBig)
            assert failure.close_code == 1009


def test_final_blocks_take_the_window_along(backend: str) -> None:
    # Many messages that each end in a final block, with references over all of them.
    for bits in (9, 15):
        codec = server(
            (("client_max_window_bits", None),), client_max_window_bits=bits, backend=backend
        )
        history = b""
        chance = random.Random(bits)
        for turn in range(200):
            message = chance.choice([b"", b"abc", noise(300, turn), history[-200:], bytes(3000)])
            context = zlib.compressobj(6, zlib.DEFLATED, -bits, 9, 0, history[-(2**bits) :])
            payload = context.compress(message) + context.flush(zlib.Z_FINISH)
            assert read(codec, payload + chance.choice([b"", b"\0", b"\x03\x00"])) == message
            history = (history + message)[-(2**bits) :]


def test_final_blocks_are_counted_where_they_stand() -> None:
    # 4,096 are free, four come with each message, one with each 256 bytes; no cut changes that.
    def refused_at(step: int) -> int:
        codec = server()
        payload = b"\x03\x00" * 9000
        pieces = [payload[at : at + step] for at in range(0, len(payload), step)]
        with pytest.raises(ExtensionError, match="final block") as caught:
            read(codec, *pieces)
        assert caught.value.close_code == 1008
        count, _, where = str(caught.value).partition("got ")[2].partition(" in ")
        assert where
        return int(count)

    assert refused_at(18_000) == refused_at(1) == refused_at(7) == refused_at(8192)
    # 250 bytes for each: a connection may go on like this for ever.
    codec = server()
    block = b"\x01\xfb\x00\x04\xff" + bytes(251)
    for _ in range(40):
        assert read(codec, block * 500) == bytes(251 * 500)


# ------------------------------------------------------------------------- memory


def test_how_many_final_blocks_are_free() -> None:
    # (4133 - 4096) * 256 > 4 * 256 + 2 * 4133, and not so for one less.
    with pytest.raises(ExtensionError, match=r"for each 256 bytes at most, got 4133 in 9290$"):
        read(server(), b"\x03\x00" * 5000)


@pytest.mark.parametrize(
    "pieces", ["whole", "tail left on", "in steps", "two messages", "after others", "at the mark"]
)
def test_final_blocks_are_counted_to_the_byte(pieces: str, monkeypatch: Any) -> None:
    """The error tells how many came in how many bytes, and these are those of the wire."""
    monkeypatch.setattr(ours, "_FREE_FINALS", 3)
    block = b"\x03\x00"  # no bytes, and final
    if pieces == "in steps":
        monkeypatch.setattr(ours, "_STEP", 5)
    credit = ours._MESSAGE_CREDIT
    allowed = 3 + credit // ours._FINAL_COST
    codec = server()
    if pieces == "two messages":
        read(codec, block * allowed)
        parts, count, size = [block * 9], allowed + 5, 2 * allowed + 2 * credit + 2 * 5
    elif pieces == "after others":
        # A short one and a plain one; only what is compressed counts.
        read(codec, HELLO)
        read(codec, bytes(1000), rsv=0)
        parts, count, size = [block * 20], allowed + 5, 7 + 2 * credit + 2 * (allowed + 5)
    elif pieces == "at the mark":
        # The eighth is just paid for: 5 * 256 bytes.
        stored = b"\x00\xeb\x00\x14\xff" + bytes(235)
        parts, count, size = [stored + block * 20], allowed + 2, credit + 240 + 2 * (allowed + 2)
    elif pieces == "in steps":
        parts, count, size = [block * 20], allowed + 1, credit + 2 * (allowed + 1)
    else:
        tail = TAIL if pieces == "tail left on" else b""
        parts, count, size = [block * 20 + tail], allowed + 1, credit + 2 * (allowed + 1)
    with pytest.raises(ExtensionError, match=f"got {count} in {size}$"):
        read(codec, *parts)


def test_an_empty_last_piece_ends_the_block_that_was_open(backend: str) -> None:
    """With context takeover the next message goes on where it ended."""
    messages = link(backend=backend)
    first, _ = messages.sender.encode(TEXT, b"hello, hello", True, True, True)
    second, _ = messages.sender.encode(TEXT, b"hello again", True, True, True)
    assert read(messages.receiver, first, b"") == b"hello, hello"
    assert read(messages.receiver, b"", second, b"", b"") == b"hello again"


def test_contexts_are_made_when_used_and_dropped_when_idle() -> None:
    both = link()
    state: Any = both.sender
    other: Any = both.receiver
    assert (state._deflater, other._inflater) == (None, None)
    assert both.carry(b"Hello" * 99) == b"Hello" * 99
    assert None not in (state._deflater, other._inflater)
    for _ in range(2):
        state.idle()
        other.idle()
        assert (state._deflater, other._inflater) == (None, None)
        assert sum(map(len, other._history)) == 495
    assert both.carry(b"Hello" * 99) == b"Hello" * 99


def test_what_was_sent_can_be_forgotten_at_any_time(backend: str) -> None:
    """The next message is as the first was, and the peer, who forgets nothing, reads it."""
    both = link(backend=backend)
    sender: Any = both.sender
    sender.forget_sent()
    wire = []
    for forget in (False, False, True, True):
        if forget:
            sender.forget_sent()
        payload, rsv = sender.encode(TEXT, b"Hello" * 99, True, True, True)
        wire.append(payload)
        assert read(both.receiver, payload, rsv=rsv) == b"Hello" * 99
    assert len(wire[1]) < len(wire[0])
    assert wire[0] == wire[2] == wire[3]


def test_codecs_that_encode_alike_have_one_name_in_memory() -> None:
    names = [server(level=level).prepared_as for level in (1, 1, 9)]  # type: ignore[attr-defined]
    assert names[0] is names[1]
    assert names[2] not in names[:2]


def test_idle_leaves_messages_in_progress_alone() -> None:
    both = link()
    payload, _ = both.sender.encode(TEXT, b"Hello, ", True, False, True)
    both.sender.idle()
    list(both.receiver.decode(payload[:3], RSV1, True, False, -1))
    both.receiver.idle()
    assert list(both.receiver.decode(payload[3:], RSV1, False, False, -1))
    both.receiver.idle()
    last, _ = both.sender.encode(TEXT, b"Hello, ", False, True, True)
    assert len(last) < 7
    assert b"".join(both.receiver.decode(last, RSV1, False, True, -1)) == b"Hello, "
    # A plain one uses no context, and leaves nothing behind.
    both.sender.encode(TEXT, b"a", True, False, False)
    both.sender.encode(TEXT, b"b", False, True, False)
    both.sender.idle()


def test_idle_keeps_references_of_the_peer_readable(backend: str) -> None:
    codec = server(backend=backend)
    blocks = [noise(30_000, 7), noise(2000, 8), noise(30_000, 7)]
    for payload, block in zip(deflate(*blocks), blocks, strict=True):
        assert read(codec, payload) == block
        codec.idle()


def test_no_takeover_frees_both_contexts(backend: str) -> None:
    fresh: dict[str, Any] = {"server_no_context_takeover": True, "client_no_context_takeover": True}
    both = link(backend=backend, **fresh)
    for message in (b"Hello" * 99, bytes(100_000), noise(50_000)):
        assert both.carry(message) == message
        assert both.carry(message[:9], message[9:], step=11) == message
        state: Any = both.sender
        other: Any = both.receiver
        assert state._deflater is None
        assert other._inflater is None
        assert sum(map(len, other._history)) == 0


def test_the_history_is_bounded() -> None:
    codec: Any = server((("client_max_window_bits", "9"),))
    for seed in range(300):
        message = noise(seed % 5, seed)
        read(codec, deflate(message)[0])
        assert len(codec._history) <= 65
        assert sum(map(len, codec._history)) == codec._history_size <= 1024
    read(codec, deflate(bytes(5000))[0])
    assert 512 <= codec._history_size <= 1024


# ------------------------------------------------------------------------- the libraries


def test_the_libraries_by_name(backend: str) -> None:
    chosen = choose(backend)
    assert chosen.name == {"isal": "isal+zlib"}.get(backend, backend)
    assert choose(backend) is chosen
    with pytest.raises(ValueError, match="one of auto, zlib, zlib-ng, isal"):
        choose("gzip")
    assert set(LIBRARIES) < set(BACKENDS)


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ((), "isal+zlib-ng"),
        (("isal",), "zlib-ng"),
        (("zlib_ng",), "isal+zlib"),
        (("isal", "zlib_ng"), "zlib"),
    ],
)
def test_auto_takes_the_best_that_is_there(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], wanted: str
) -> None:
    def find(name: str) -> Any:
        if name.partition(".")[0] in missing:
            raise ImportError(name)
        return zlib  # stands for each of them: they have its interface

    monkeypatch.setattr(_zlib, "import_module", find)
    choose.cache_clear()
    try:
        assert choose().name == wanted
        both = link(backend="auto")
        assert both.carry(b"Hello" * 99) == b"Hello" * 99
        for name in missing:
            with pytest.raises(ImportError):
                PerMessageDeflate(backend=name.replace("_", "-"))  # type: ignore[arg-type]
    finally:
        choose.cache_clear()


def test_nothing_is_imported_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def guarded(name: str, *more: Any, **and_more: Any) -> Any:
        assert name.partition(".")[0] not in ("isal", "zlib_ng")
        return original(name, *more, **and_more)

    monkeypatch.setattr(builtins, "__import__", guarded)
    choose.cache_clear()
    try:
        assert choose("zlib").name == "zlib"
    finally:
        choose.cache_clear()


def test_an_error_shows_40_characters_of_a_value() -> None:
    extension = PerMessageDeflate()
    with pytest.raises(ExtensionError) as caught:
        extension.confirm(extension.offers(), (("server_max_window_bits", "9" * 50),))
    assert f"got '{'9' * 40}'" in str(caught.value)
    with pytest.raises(ExtensionError) as caught:
        extension.confirm(extension.offers(), (("server_no_context_takeover", "9" * 50),))
    assert f"got '{'9' * 40}'" in str(caught.value)
    with pytest.raises(ExtensionError) as caught:
        extension.confirm(extension.offers(), (("9" * 50, None),))
    assert f"got '{'9' * 40}'" in str(caught.value)
