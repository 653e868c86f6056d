"""The grammar of ``Sec-WebSocket-Extensions``, and the shape of what an extension agrees to."""

from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core import Config, Connection, Message, OpCode, PayloadTooBig, Ping, ProtocolError
from wsproto_core.enums import Role
from wsproto_core.events import Offer
from wsproto_core.extensions import (
    Agreed,
    PerMessageDeflate,
    format_extensions,
    parse_extensions,
)
from wsproto_core.testing import Cut, End, Pair, by_bytes, by_size, whole

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789azAZ", min_size=1, max_size=8)
OFFERS = st.lists(
    st.builds(
        Offer,
        TOKEN,
        st.lists(st.tuples(TOKEN, st.none() | TOKEN), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize(
    ("values", "offers"),
    [
        (["a"], [Offer("a")]),
        (["a, b"], [Offer("a"), Offer("b")]),
        (["a", "b;c", ""], [Offer("a"), Offer("b", (("c", None),))]),
        (["a; b=1; c; b=2"], [Offer("a", (("b", "1"), ("c", None), ("b", "2")))]),
        (['a; b="1"'], [Offer("a", (("b", "1"),))]),
        (['a; b="\\1\\0"'], [Offer("a", (("b", "10"),))]),
        ([",\t, a ;\tb\t=\t1 ,, "], [Offer("a", (("b", "1"),))]),
    ],
)
def test_lists(values: list[str], offers: list[Offer]) -> None:
    assert parse_extensions(values) == tuple(offers)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "at least one extension name, got an empty list"),
        (" , ,", "at least one"),
        (";a", "an extension name at position 0, got ';a'"),
        ("a b", "',' or ';' at position 2, got 'b'"),
        ("a;", "a parameter name at position 2, got the end"),
        ("a; b=", "a parameter value at position 5, got the end"),
        ("a; b=c d", "',' or ';' at position 7, got 'd'"),
        ("a; b=(c)", "a parameter value at position 5"),
        ('a; b="c', "a token and the closing quote at position 7, got the end"),
        ('a; b="c\\', "closing quote at position 8, got the end"),
        ('a; b="c d"', "closing quote at position 7, got ' d"),
        ('a; b="c\\"d"', "closing quote"),
        ('a; b=""', "a token inside the quotes"),
        ("a\0", "',' or ';' at position 1"),
        ("\0", "an extension name at position 0"),
        ("é", "an extension name at position 0, got '.xe9'"),
        ("a" + " é" * 5000, "position 2"),
    ],
)
def test_errors_say_what_was_expected(value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_extensions([value])
    assert len(str(caught.value)) < 250
    assert str(caught.value).isascii()


@given(OFFERS)
def test_what_is_written_is_read_back(offers: list[Offer]) -> None:
    text = format_extensions(offers)
    assert parse_extensions([text]) == tuple(offers)
    assert format_extensions([(offer.name, offer.parameters) for offer in offers]) == text


@given(st.text(alphabet=st.sampled_from('ab;=," \\\t\0é'), max_size=30))
def test_any_text_is_a_list_or_a_value_error(text: str) -> None:
    try:
        offers = parse_extensions([text])
    except ValueError:
        return
    assert parse_extensions([format_extensions(offers)]) == offers


def test_an_agreement_makes_the_codec_for_a_role() -> None:
    made: list[Role] = []

    def codec(role: Role) -> None:
        made.append(role)

    Agreed((("a", None),), codec).codec(Role.SERVER)  # type: ignore[arg-type]
    assert made == [Role.SERVER]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ('a; b=""', "inside the quotes at position 6, got '\"'"),
        ("a;b;c=", "a parameter value at position 6, got the end of the value"),
        ("a, b, ;c", "an extension name at position 6, got ';c'"),
        ("a; b = =" + "x" * 100, "value at position 7, got '=" + "x" * 39 + "'"),
    ],
)
def test_errors_say_where_they_are_and_show_40_characters(value: str, where: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_extensions([value])
    assert str(caught.value).endswith(where)


# ------------------------------------------- a second extension, beside permessage-deflate


def checksum() -> Any:
    """The extension of ``docs/howto/extensions.md``: RSV2, and a CRC-32 behind each message."""
    path = Path(__file__).parents[2] / "docs" / "examples" / "checksum_extension.py"
    spec = spec_from_file_location("checksum_extension", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Checksum()


DEFLATE = PerMessageDeflate(threshold=0, backend="zlib")
BOTH = {"x-checksum": checksum(), "permessage-deflate": DEFLATE}
ORDERS = [*permutations(BOTH)]
TEXT = "hello " * 20


def joined(client: Sequence[str], server: Sequence[str], **settings: Any) -> Pair:
    """Two peers that know these, in this order of preference, after a whole handshake."""
    configs = [
        Config(extensions=[BOTH[name] for name in names], **settings) for names in (client, server)
    ]
    pair = Pair(*configs)
    pair.flow()
    return pair


def agreed(pair: Pair) -> list[str]:
    agreements = [end.agreement for end in (pair.client, pair.server)]
    assert agreements[0] is not None
    assert agreements[0] == agreements[1]
    return [extension.name for extension in agreements[0].extensions]


def ways(pair: Pair) -> list[tuple[Connection, End]]:
    return [(pair.client, pair.server_end), (pair.server, pair.client_end)]


@pytest.mark.parametrize("client", ORDERS)
@pytest.mark.parametrize("server", ORDERS)
def test_two_extensions_are_used_together(client: Sequence[str], server: Sequence[str]) -> None:
    pair = joined(client, server)
    assert agreed(pair) == list(client)
    for sender, receiver in ways(pair):
        receiver.events.clear()
        for compress, bits in ((True, 0x60), (False, 0x20)):
            sender.send_text(TEXT, compress=compress)
            (frame,) = sender.data_to_send()
            assert frame[0] == 0x81 | bits
            receiver.connection.receive_data(frame, pair.now)
        sender.send_binary(b"", compress=True)
        pair.flow()
        assert receiver.events == [
            Message(TEXT, OpCode.TEXT),
            Message(TEXT, OpCode.TEXT),
            Message(b"", OpCode.BINARY),
        ]


@pytest.mark.parametrize(
    ("client", "server", "bits"),
    [
        (["x-checksum"], [*BOTH], 0x20),
        ([*BOTH], ["x-checksum"], 0x20),
        (["permessage-deflate"], [*BOTH], 0x40),
        ([*BOTH], ["permessage-deflate"], 0x40),
        (["x-checksum"], ["permessage-deflate"], 0),
    ],
)
def test_each_is_used_alone_where_the_other_side_has_only_one(
    client: Sequence[str], server: Sequence[str], bits: int
) -> None:
    pair = joined(client, server)
    assert agreed(pair) == [name for name in BOTH if name in client and name in server]
    for sender, receiver in ways(pair):
        receiver.events.clear()
        sender.send_text(TEXT)
        (frame,) = sender.data_to_send()
        assert frame[0] == 0x81 | bits
        receiver.connection.receive_data(frame, pair.now)
        pair.flow()
        assert receiver.events == [Message(TEXT, OpCode.TEXT)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cut", [by_bytes, by_size(7), whole])
def test_fragments_of_both_with_control_frames_between(order: Sequence[str], cut: Cut) -> None:
    pair = joined(order, order, max_frame_size=10)
    for sender, receiver in ways(pair):
        receiver.events.clear()
        wire = bytearray()
        for part in ("one ", "two ", "", "three"):
            sender.send_text(part, final=part == "three")
            wire += b"".join(sender.data_to_send())
            sender.ping(b"between", pair.now)
            wire += b"".join(sender.data_to_send())
        for data in cut(bytes(wire)):
            receiver.connection.receive_data(data, pair.now)
            receiver.events += receiver.connection.events()
        messages = [event for event in receiver.events if isinstance(event, Message)]
        assert messages == [Message("one two three", OpCode.TEXT)]
        assert receiver.events.count(Ping(b"between")) == 4


@pytest.mark.parametrize(
    ("first", "payload", "code"),
    [
        (0xA1, b"abc\x00\x00\x00\x00", 1007),  # not its checksum
        (0xA1, b"abc", 1007),  # no room for one
        (0xA1, b"", 1007),
        (0xB1, b"abc\x35\x24\x41\xc2", 1002),  # RSV3 is nobody's
        (0xA9, b"", 1002),  # no bits on control frames
    ],
)
def test_what_the_second_extension_refuses(first: int, payload: bytes, code: int) -> None:
    pair = joined(["x-checksum"], ["x-checksum"])
    pair.client.receive_data(bytes([first, len(payload)]) + payload, pair.now)
    pair.client_end.look(pair.now)
    assert isinstance(pair.client.error, ProtocolError)
    assert pair.client.error.close_code == code


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "fits"), [(996, True), (1001, False)])
def test_the_limit_holds_behind_both(order: Sequence[str], size: int, fits: bool) -> None:
    """It counts what each of them gives, so the four bytes of the checksum may count, too."""
    pair = joined(order, order, max_message_size=1000)
    pair.server.send_binary(bytes(size), compress=True)
    pair.flow()
    error = pair.client.error
    if fits:
        assert pair.client_end.events[-1] == Message(bytes(size), OpCode.BINARY)
    else:
        assert isinstance(error, PayloadTooBig)
        assert error.close_code == 1009
