"""permessage-deflate, row by row: sections 12 (in part) and 14 to 17 of the conformance matrix, and
the deflate rows of the attack catalogue. One test for each row, named after its id.

Every row drives a ``Connection`` through a real handshake (``Spoken``), and every row that feeds
bytes runs twice, at once and byte by byte. Payloads are judged by Python's zlib, one output byte at
a time where distances count: a one-shot inflate does not see those that pass the window.
"""

import base64
import hashlib
import itertools
import json
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest

from tests.core.measure import assert_linear
from tests.core.pair import Pair
from tests.core.wire import KEY, Rig, close_body, frame, header, text
from wsproto_core import (
    Chunk,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    Event,
    ExtensionNegotiated,
    HandshakeError,
    LocalProtocolError,
    Message,
    OpCode,
    Opened,
    Phase,
    Ping,
    Pong,
    Request,
    Role,
    Transport,
)
from wsproto_core.extensions import Agreed, Codec, Extension, PerMessageDeflate
from wsproto_core.extensions.base import Params

TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")
AGAIN = bytes.fromhex("f200110000")  # "Hello" as a reference to the one before
MIB = 1 << 20

Bytewise = bool


def hexa(data: str) -> bytes:
    return bytes.fromhex(data)


def deflate(*messages: bytes, bits: int = 15, level: int = 6) -> list[bytes]:
    """``D(x)`` of each message, one window for all."""
    context = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return [(context.compress(item) + context.flush(zlib.Z_SYNC_FLUSH))[:-4] for item in messages]


def inflate_strictly(data: bytes, bits: int = 15) -> bytes:
    """Inflate a byte at a time, so that a distance of more than 2**bits is an error."""
    context = zlib.decompressobj(-bits)
    out = bytearray()
    while byte := context.decompress(data, 1):
        out += byte
        data = context.unconsumed_tail
    assert not context.unused_data
    assert not context.eof
    return bytes(out)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# --------------------------------------------------------------------------- the handshake


class Spoken(Rig):
    """A ``Rig`` whose connection has gone through the opening handshake on the wire."""

    answer: list[str]
    """Server: the values of Sec-WebSocket-Extensions that we answered."""

    offer: str | None
    """Client: what we offered."""

    def __init__(
        self,
        role: Role,
        extensions: Iterable[Extension],
        theirs: str | tuple[str, ...] | None,
        *,
        bytewise: bool = False,
        **config: Any,
    ) -> None:
        """``theirs``: the peer's offer, or its answer; ``None``: it has no such header."""
        counter = itertools.count(1)
        self.role = role
        self.bytewise = bytewise
        self.now = 100.0
        self.events: list[Event] = []
        self.output = bytearray()
        self.key = KEY if role is Role.SERVER else b""
        self.answer = []
        self.offer = None
        lines = [theirs] if isinstance(theirs, str) else list(theirs or ())
        fields = "".join(f"Sec-WebSocket-Extensions: {line}\r\n" for line in lines)
        settings = Config(extensions=tuple(extensions), **config)
        if role is Role.SERVER:
            self.connection = Connection(role, settings, now=self.now)
            self.feed(
                b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Version: 13\r\n" + fields.encode() + b"\r\n"
            )
            assert isinstance(self.events.pop(0), Request)
            self.connection.accept(self.now)
            self.look()
            head = bytes(self.output).decode()
            assert head.startswith("HTTP/1.1 101 ")
            self.answer = values(head)
            self.output.clear()
        else:
            self.connection = Connection(
                role,
                settings,
                now=self.now,
                target="ws://server.example.com/chat",
                random=lambda n: next(counter).to_bytes(n, "big"),
            )
            self.look()
            head = bytes(self.output).decode()
            self.offer = next(iter(values(head)), None)
            self.output.clear()
            key = values(head, "sec-websocket-key")[0]
            digest = hashlib.sha1(  # noqa: S324 - RFC 6455 section 4.2.2 asks for it
                (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
            ).digest()
            self.feed(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n"
                + fields.encode()
                + b"\r\n"
            )

    @property
    def is_open(self) -> bool:
        return self.connection.phase is Phase.OPEN

    def opened(self) -> "Spoken":
        """Check that the handshake succeeded; forget its events."""
        assert self.is_open
        assert isinstance(self.events[-1], Opened)
        negotiated = [item for item in self.events[:-1] if isinstance(item, ExtensionNegotiated)]
        assert negotiated == self.events[:-1]
        assert self.connection.agreement is not None
        assert self.connection.agreement.extensions == tuple(negotiated)
        self.events.clear()
        return self

    def refused(self) -> HandshakeError:
        """HSFAIL: the handshake failed with the response attached, and nothing was written."""
        assert not self.is_open
        assert self.sent() == []
        assert self.connection.transport >= Transport.CLOSE
        self.connection.receive_eof(self.now)
        self.look()
        closed = self.events[-1]
        assert isinstance(closed, Closed)
        assert not any(isinstance(item, Opened) for item in self.events)
        assert isinstance(closed.error, HandshakeError)
        assert closed.error.response is not None
        assert closed.error.status == 101
        return closed.error

    def say(self, data: bytes | str, **more: Any) -> list[tuple[int, bytes]]:
        """Send a message, compressed unless told otherwise; returns the frames."""
        more.setdefault("compress", True)
        if isinstance(data, str):
            self.connection.send_text(data, **more)
        else:
            self.connection.send_binary(data, **more)
        return self.sent()

    def hear(self, first: int, payload: bytes = b"") -> list[Event]:
        """A frame comes; returns the events."""
        self.feed(self.frame(first, payload))
        return self.take()


def values(head: str, name: str = "sec-websocket-extensions") -> list[str]:
    return [
        value.strip()
        for line in head.split("\r\n")
        for key, colon, value in [line.partition(":")]
        if colon and key.lower() == name
    ]


def serve(
    offer: str | tuple[str, ...] | None, *extensions: Extension, bytewise: bool = False
) -> Spoken:
    """A server with these settings (default: permessage-deflate's) that has answered ``offer``."""
    return Spoken(
        Role.SERVER, extensions or (PerMessageDeflate(),), offer, bytewise=bytewise
    ).opened()


def call(
    answer: str | tuple[str, ...] | None, *extensions: Extension, bytewise: bool = False
) -> Spoken:
    """A client with these settings that got ``answer``."""
    return Spoken(Role.CLIENT, extensions or (PerMessageDeflate(),), answer, bytewise=bytewise)


Open = Callable[..., Spoken]


@pytest.fixture
def pmd(role: Role, bytewise: Bytewise) -> Open:
    """``pmd(ours_fresh=, theirs_fresh=, ours_bits=, theirs_bits=, **config)``: an open connection
    that agreed on these parameters for our direction and the peer's; none by default.
    """
    return lambda **more: linked(role, bytewise, **more)


def linked(
    role: Role,
    bytewise: Bytewise,
    *,
    ours_fresh: bool = False,
    theirs_fresh: bool = False,
    ours_bits: int | None = None,
    theirs_bits: int | None = None,
    settings: dict[str, Any] | None = None,
    **config: Any,
) -> Spoken:
    us, them = ("server", "client") if role is Role.SERVER else ("client", "server")
    names = ["permessage-deflate"]
    if ours_fresh:
        names.append(f"{us}_no_context_takeover")
    if theirs_fresh:
        names.append(f"{them}_no_context_takeover")
    if ours_bits is not None:
        names.append(f"{us}_max_window_bits={ours_bits}")
    if theirs_bits is not None:
        names.append(f"{them}_max_window_bits={theirs_bits}")
    wish: dict[str, Any] = {"backend": "zlib", **(settings or {})}
    if ours_bits is not None:
        # Ours is what we use: the default would stay below.
        wish[f"{us}_max_window_bits"] = ours_bits
    if role is Role.SERVER and theirs_bits is not None:
        wish["client_max_window_bits"] = theirs_bits
    line = "; ".join(names)
    rig = Spoken(role, (PerMessageDeflate(**wish),), line, bytewise=bytewise, **config).opened()
    assert rig.connection.agreement is not None
    agreed = rig.connection.agreement.extensions[0]
    assert sorted(str(item) for item in agreed.parameters) == sorted(
        str((name, value or None)) for part in names[1:] for name, _, value in [part.partition("=")]
    )
    return rig


# ------------------------------------------------------------------------- 12: extensions


@pytest.mark.parametrize("bytewise", [False, True])
def test_ws_9_1_until_agreed(bytewise: Bytewise) -> None:
    rig = call(None, bytewise=bytewise).opened()
    assert rig.offer == "permessage-deflate; client_max_window_bits"
    assert rig.say("Hello" * 100) == [(0x81, b"Hello" * 100)]
    rig.feed(rig.frame(0xC1, HELLO)[:2])
    assert rig.assert_fails(1002).rule


class _Marks:
    """A test extension: appends a letter to each message, and takes it away again."""

    rsv = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def offers(self) -> list[Params]:
        return [()]

    def accept(self, offer: Params) -> Agreed:
        return Agreed((), lambda role: _Mark(self.name))

    def confirm(self, offers: object, answer: Params) -> Agreed:
        return Agreed((), lambda role: _Mark(self.name))


class _Mark:
    def __init__(self, letter: str) -> None:
        self.letter = letter.encode()
        self.held = b""

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        return (payload + self.letter if final else payload), 0

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        data = self.held + payload
        if final:
            assert data.endswith(self.letter)
            self.held = b""
            return (data[:-1],)
        self.held = data[-1:]
        return (data[:-1],)

    def idle(self) -> None:
        """Nothing to drop."""


def test_ws_9_1_compose(role: Role, bytewise: Bytewise) -> None:
    x, y = _Marks("x"), _Marks("y")
    rig = Spoken(role, (x, y), "x, y", bytewise=bytewise).opened()
    assert rig.say("Hello") == [(0x81, b"Helloxy")]
    assert rig.hear(0x81, b"Helloxy") == [text("Hello")]
    # With permessage-deflate behind them, the marks are inside what is compressed.
    rig = Spoken(
        role, (x, PerMessageDeflate()), "x, permessage-deflate", bytewise=bytewise
    ).opened()
    [(first, payload)] = rig.say("Hello")
    assert first == 0xC1
    assert inflate_strictly(payload + TAIL) == b"Hellox"
    assert rig.hear(0xC1, deflate(b"Hellox")[0]) == [text("Hello")]


def test_ws_9_1_reg(role: Role, bytewise: Bytewise) -> None:
    rig = Spoken(role, (PerMessageDeflate(),), None, bytewise=bytewise).opened()
    assert rig.answer == []
    assert rig.say("Hello") == [(0x81, b"Hello")]
    rig.feed(rig.frame(0xC1, HELLO)[:2])
    rig.assert_fails(1002)


# ------------------------------------------------------------- 14: the server negotiates


def test_pmd_5_accept(bytewise: Bytewise) -> None:
    rig = serve("permessage-deflate", bytewise=bytewise)
    assert rig.answer == ["permessage-deflate"]
    assert rig.say("Hello")[0][0] == 0xC1


def test_pmd_5_decline(bytewise: Bytewise) -> None:
    rig = serve("permessage-deflate; server_max_window_bits=16", bytewise=bytewise)
    assert rig.answer == []
    assert rig.say("Hello") == [(0x81, b"Hello")]
    rig.feed(rig.frame(0xC1, HELLO)[:2])
    rig.assert_fails(1002)


def test_pmd_5_fallback() -> None:
    rig = serve(
        "permessage-deflate; foo, permessage-deflate; server_max_window_bits=10, permessage-deflate"
    )
    assert rig.answer == ["permessage-deflate; server_max_window_bits=10"]


def test_pmd_5_one() -> None:
    assert serve("permessage-deflate, permessage-deflate").answer == ["permessage-deflate"]
    assert serve(("permessage-deflate", "permessage-deflate")).answer == ["permessage-deflate"]


class _Rsv1(_Marks):
    rsv = 0x40


def test_pmd_5_rsv1_conflict() -> None:
    for extensions in ((_Rsv1("x"), PerMessageDeflate()), (PerMessageDeflate(), _Rsv1("x"))):
        assert serve("x, permessage-deflate", *extensions).answer == ["x"]
        assert serve("permessage-deflate, x", *extensions).answer == ["permessage-deflate"]


def declined(parameters: str) -> None:
    rig = serve(f"permessage-deflate; {parameters}")
    assert rig.answer == []
    # The next offer is tried.
    rig = serve(f"permessage-deflate; {parameters}, permessage-deflate")
    assert rig.answer == ["permessage-deflate"]


@pytest.mark.parametrize("parameters", ["foo", "foo=1", "Server_no_context_takeover"])
def test_pmd_7_unknown(parameters: str) -> None:
    declined(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
    ],
)
def test_pmd_7_dup(parameters: str) -> None:
    declined(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        'client_no_context_takeover="x"',
        "client_no_context_takeover=0",
    ],
)
def test_pmd_7_value_flag(parameters: str) -> None:
    declined(parameters)


WRONG_BITS = ["7", "16", "08", "010", "0x9", "9.0", "-9", "+9", "1e1", "99999999999", "0", "1_0"]


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits",
        *(f"{side}_max_window_bits={bits}" for side in ("server", "client") for bits in WRONG_BITS),
    ],
)
def test_pmd_7_value_bits(parameters: str) -> None:
    declined(parameters)


def test_pmd_7_1_1_1_echo() -> None:
    rig = serve("permessage-deflate; server_no_context_takeover")
    assert rig.answer == ["permessage-deflate; server_no_context_takeover"]
    first, second = rig.say("Hello" * 10), rig.say("Hello" * 10)
    assert first == second


def test_pmd_7_1_1_1_own() -> None:
    rig = serve("permessage-deflate", PerMessageDeflate(server_no_context_takeover=True))
    assert rig.answer == ["permessage-deflate; server_no_context_takeover"]
    assert rig.say("Hello" * 10) == rig.say("Hello" * 10)


def test_pmd_7_1_1_2_hint(bytewise: Bytewise) -> None:
    offer = "permessage-deflate; client_no_context_takeover"
    assert serve(offer).answer == [offer]
    rig = serve(
        offer, PerMessageDeflate(accept_client_no_context_takeover=False), bytewise=bytewise
    )
    assert rig.answer == ["permessage-deflate"]
    assert rig.hear(0xC1, HELLO) == rig.hear(0xC1, AGAIN) == [text("Hello")]
    # What the server wants, it may ask for unasked.
    rig = serve("permessage-deflate", PerMessageDeflate(client_no_context_takeover=True))
    assert rig.answer == [offer]


def test_pmd_7_1_2_1_limit() -> None:
    offer = "permessage-deflate; server_max_window_bits=10"
    for settings, bits in (
        (PerMessageDeflate(), 10),
        (PerMessageDeflate(server_max_window_bits=15), 10),
        (PerMessageDeflate(server_max_window_bits=9), 9),
    ):
        rig = serve(offer, settings)
        assert rig.answer == [f"permessage-deflate; server_max_window_bits={bits}"]
        data = noise(4096)
        payload = b"".join(rig.say(data)[0][1] + TAIL for _ in range(2))
        assert inflate_strictly(payload, bits) == data * 2
    assert serve("permessage-deflate; server_max_window_bits=15").answer == [
        "permessage-deflate; server_max_window_bits=15"
    ]


def test_pmd_7_1_2_1_eight() -> None:
    offer = "permessage-deflate; server_max_window_bits=8"
    assert serve(offer).answer == []
    assert serve(f"{offer}, permessage-deflate").answer == ["permessage-deflate"]
    # A server told to stay at 8 cannot, so it declines all.
    assert serve("permessage-deflate", PerMessageDeflate(server_max_window_bits=8)).answer == []


def test_pmd_7_1_2_1_own() -> None:
    rig = serve("permessage-deflate", PerMessageDeflate(server_max_window_bits=11))
    assert rig.answer == ["permessage-deflate; server_max_window_bits=11"]


def test_pmd_7_1_2_2_bare() -> None:
    offer = "permessage-deflate; client_max_window_bits"
    assert serve(offer).answer == ["permessage-deflate; client_max_window_bits=12"]
    for settings, answer in (
        (PerMessageDeflate(client_max_window_bits=None), "permessage-deflate"),
        (
            PerMessageDeflate(client_max_window_bits=10),
            "permessage-deflate; client_max_window_bits=10",
        ),
        (
            PerMessageDeflate(client_max_window_bits=8),
            "permessage-deflate; client_max_window_bits=8",
        ),
    ):
        assert serve(offer, settings).answer == [answer]


def test_pmd_7_1_2_2_hint() -> None:
    offer = "permessage-deflate; client_max_window_bits=12"
    for wanted, answer in ((15, 12), (10, 10), (12, 12)):
        rig = serve(offer, PerMessageDeflate(client_max_window_bits=wanted))
        assert rig.answer == [f"permessage-deflate; client_max_window_bits={answer}"]
    assert serve(offer, PerMessageDeflate(client_max_window_bits=None)).answer == [
        "permessage-deflate"
    ]


def test_pmd_7_1_2_2_eight(bytewise: Bytewise) -> None:
    rig = serve("permessage-deflate; client_max_window_bits=8", bytewise=bytewise)
    assert rig.answer == ["permessage-deflate; client_max_window_bits=8"]
    block = noise(200)
    messages = [block, block[:100], block[50:]]  # distances of 200 and 250
    for message, payload in zip(messages, deflate(*messages), strict=True):
        assert rig.hear(0xC2, payload) == [Message(message, OpCode.BINARY)]


def test_pmd_7_1_2_2_absent(bytewise: Bytewise) -> None:
    wants = PerMessageDeflate(client_max_window_bits=10)
    rig = serve("permessage-deflate", wants, bytewise=bytewise)
    assert rig.answer == ["permessage-deflate"]
    block = noise(20_000)
    for payload in deflate(block, block):
        assert rig.hear(0xC2, payload) == [Message(block, OpCode.BINARY)]
    insists = PerMessageDeflate(client_max_window_bits=10, require_client_max_window_bits=True)
    assert serve("permessage-deflate", insists).answer == []
    assert serve(
        "permessage-deflate, permessage-deflate; client_max_window_bits", insists
    ).answer == ["permessage-deflate; client_max_window_bits=10"]


# ------------------------------------------------------------- 15: the client negotiates


def test_pmd_5_offer() -> None:
    assert call(None).offer == "permessage-deflate; client_max_window_bits"
    offer = call(
        None,
        PerMessageDeflate(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=10,
            client_max_window_bits=12,
        ),
    ).offer
    assert offer is not None
    name, *parameters = offer.split("; ")
    assert name == "permessage-deflate"
    assert sorted(parameters) == [
        "client_max_window_bits=12",
        "client_no_context_takeover",
        "server_max_window_bits=10",
        "server_no_context_takeover",
    ]
    assert call(None, PerMessageDeflate(client_max_window_bits=None)).offer == "permessage-deflate"


def test_pmd_5_offer_fallback() -> None:
    both = (PerMessageDeflate(server_max_window_bits=10), PerMessageDeflate())
    rig = call("permessage-deflate; server_max_window_bits=9", *both)
    assert rig.offer == (
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits, "
        "permessage-deflate; client_max_window_bits"
    )
    rig.opened()
    call("permessage-deflate", *both).opened()
    call("permessage-deflate; server_max_window_bits=11", *both).opened()
    call("permessage-deflate; foo", *both).refused()


def test_pmd_5_none(bytewise: Bytewise) -> None:
    rig = call(None, bytewise=bytewise).opened()
    assert rig.say("Hello") == [(0x81, b"Hello")]
    rig.feed(rig.frame(0xC1, HELLO)[:2])
    rig.assert_fails(1002)


@pytest.mark.parametrize(
    "answer",
    ["permessage-deflate, permessage-deflate", ("permessage-deflate", "permessage-deflate")],
)
def test_pmd_5_resp_dup(answer: str | tuple[str, ...], bytewise: Bytewise) -> None:
    call(answer, bytewise=bytewise).refused()


def test_pmd_7_resp_unknown(bytewise: Bytewise) -> None:
    error = call("permessage-deflate; foo", bytewise=bytewise).refused()
    assert "'foo'" in str(error)


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits=10",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
    ],
)
def test_pmd_7_resp_dup(parameters: str) -> None:
    call(f"permessage-deflate; {parameters}").refused()


@pytest.mark.parametrize(
    "parameters",
    [
        "server_no_context_takeover=1",
        "client_no_context_takeover=1",
        "client_max_window_bits",
        "server_max_window_bits",
        *(f"{side}_max_window_bits={bits}" for side in ("server", "client") for bits in WRONG_BITS),
        "server_max_window_bits=x",
    ],
)
def test_pmd_7_resp_value(parameters: str) -> None:
    call(f"permessage-deflate; {parameters}").refused()


def test_pmd_7_1_1_1_resp_missing() -> None:
    asks = PerMessageDeflate(server_no_context_takeover=True)
    call("permessage-deflate", asks).refused()
    call("permessage-deflate; server_no_context_takeover", asks).opened()


def test_pmd_7_1_1_1_resp_unasked(bytewise: Bytewise) -> None:
    rig = call("permessage-deflate; server_no_context_takeover", bytewise=bytewise).opened()
    assert rig.hear(0xC1, HELLO) == rig.hear(0xC1, HELLO) == [text("Hello")]


def test_pmd_7_1_1_2_resp() -> None:
    for settings in (PerMessageDeflate(), PerMessageDeflate(client_no_context_takeover=True)):
        rig = call("permessage-deflate; client_no_context_takeover", settings).opened()
        assert rig.say("Hello" * 10) == rig.say("Hello" * 10)
    # The hint is a promise even if the answer says nothing of it (section 7.1.1.2).
    rig = call("permessage-deflate", PerMessageDeflate(client_no_context_takeover=True)).opened()
    assert rig.say("Hello" * 10) == rig.say("Hello" * 10)


def test_pmd_7_1_2_1_resp_missing() -> None:
    asks = PerMessageDeflate(server_max_window_bits=10)
    for answer in ("", "; server_max_window_bits=11", "; server_max_window_bits=15"):
        call(f"permessage-deflate{answer}", asks).refused()
    for bits in (10, 9, 8):
        call(f"permessage-deflate; server_max_window_bits={bits}", asks).opened()


@pytest.mark.parametrize("bits", [15, 12, 9, 8])
def test_pmd_7_1_2_1_resp_unasked(bits: int, bytewise: Bytewise) -> None:
    rig = call(f"permessage-deflate; server_max_window_bits={bits}", bytewise=bytewise).opened()
    block = noise(2**bits - 50)
    messages = [block, block[:100], b"x" * 30, block[-80:]]
    for message, payload in zip(messages, deflate(*messages, bits=max(bits, 9)), strict=True):
        assert rig.hear(0xC2, payload) == [Message(message, OpCode.BINARY)]


def test_pmd_7_1_2_2_resp_unoffered() -> None:
    plain = PerMessageDeflate(client_max_window_bits=None)
    call("permessage-deflate; client_max_window_bits=15", plain).refused()
    call("permessage-deflate", plain).opened()


def test_pmd_7_1_2_2_resp_obey() -> None:
    for settings in (PerMessageDeflate(), PerMessageDeflate(client_max_window_bits=15)):
        rig = call("permessage-deflate; client_max_window_bits=10", settings).opened()
        data = noise(4096)
        payload = b"".join(rig.say(data)[0][1] + TAIL for _ in range(2))
        assert inflate_strictly(payload, 10) == data * 2


def test_pmd_7_1_2_2_resp_eight() -> None:
    rig = call("permessage-deflate; client_max_window_bits=8").opened()
    assert rig.say("Hello" * 100) == [(0x81, b"Hello" * 100)]
    assert rig.hear(0xC1, HELLO) == [text("Hello")]


def test_pmd_7_1_2_2_resp_above() -> None:
    rig = call(
        "permessage-deflate; client_max_window_bits=12",
        PerMessageDeflate(client_max_window_bits=10),
    ).opened()
    data = noise(4096)
    payload = b"".join(rig.say(data)[0][1] + TAIL for _ in range(2))
    assert inflate_strictly(payload, 10) == data * 2


def test_pmd_7_resp_without_offer(bytewise: Bytewise) -> None:
    Spoken(Role.CLIENT, (), "permessage-deflate", bytewise=bytewise).refused()


# ------------------------------------------------------------------------- 16: framing


def test_pmd_6_rsv1_tx(pmd: Open) -> None:
    rig = pmd()
    assert rig.say("Hello" * 20)[0][0] == 0xC1
    assert rig.say("Hello" * 20, final=False)[0][0] == 0x41
    assert rig.say("Hello" * 20, final=False)[0][0] == 0x00
    assert rig.say("Hello" * 20)[0][0] == 0x80
    assert rig.say(b"Hello" * 20)[0][0] == 0xC2
    # Fragments that we make of one large message.
    rig = pmd(max_frame_size=10)
    firsts = [first for first, _ in rig.say(noise(35))]
    assert firsts == [0x42, 0, 0, 0, 0x80]  # 41 bytes


def test_pmd_6_rsv1_ctrl_tx(pmd: Open) -> None:
    rig = pmd()
    connection = rig.connection
    connection.send_text("Hello" * 20, final=False, compress=True)
    connection.ping(b"a" * 125, rig.now)
    connection.pong(b"b" * 125)
    connection.close(1000, "c" * 123, now=rig.now)
    assert rig.sent()[1:] == [
        (0x89, b"a" * 125),
        (0x8A, b"b" * 125),
        (0x88, close_body(1000, "c" * 123)),
    ]


@pytest.mark.parametrize("first", [0xC8, 0xC9, 0xCA])
@pytest.mark.parametrize("inside", [False, True])
def test_pmd_6_rsv1_ctrl_rx(pmd: Open, first: int, inside: bool) -> None:
    rig = pmd()
    if inside:
        assert rig.hear(0x41, HELLO[:3]) == []
    rig.feed(rig.frame(first, b"1234567890")[:2])
    rig.assert_fails(1002)


@pytest.mark.parametrize(
    ("begin", "payload"), [(0x41, HELLO[:3]), (0x01, b"a"), (0x42, HELLO[:3]), (0x02, b"a")]
)
@pytest.mark.parametrize("first", [0xC0, 0x40])
def test_pmd_6_rsv1_cont_rx(pmd: Open, begin: int, payload: bytes, first: int) -> None:
    rig = pmd()
    assert rig.hear(begin, payload) == []
    rig.feed(rig.frame(first, b"1234567890")[:2])
    rig.assert_fails(1002)


def test_pmd_6_plain_rx(pmd: Open) -> None:
    rig = pmd()
    assert rig.hear(0x81, b"Hello") == [text("Hello")]
    assert rig.hear(0x82, b"\0") == [Message(b"\0", OpCode.BINARY)]
    assert rig.hear(0x81) == [text("")]
    assert rig.hear(0x01, b"Hel") == []
    assert rig.hear(0x00) == []
    assert rig.hear(0x80, b"lo") == [text("Hello")]


def test_pmd_6_mixed(pmd: Open) -> None:
    rig = pmd()
    rig.feed(rig.frames((0xC1, HELLO), (0x81, b"Hello"), (0xC1, AGAIN)))
    assert rig.take() == [text("Hello")] * 3


def test_pmd_6_opcode(pmd: Open) -> None:
    rig = pmd()
    assert rig.hear(0xC2, deflate(b"a")[0]) == [Message(b"a", OpCode.BINARY)]
    assert rig.hear(0x41, HELLO[:4]) == []
    assert rig.hear(0x80, HELLO[4:]) == [text("Hello")]
    assert rig.say(b"Hello")[0][0] == 0xC2


def test_pmd_6_utf8(pmd: Open) -> None:
    bad = hexa("faff0f00")
    rig = pmd()
    assert rig.hear(0xC2, bad) == [Message(b"\xff\xfe", OpCode.BINARY)]
    # Most compressed bytes are no UTF-8, and need not be.
    with pytest.raises(UnicodeDecodeError):
        HELLO.decode()
    assert rig.hear(0xC1, HELLO) == [text("Hello")]
    rig = pmd()
    rig.feed(rig.frame(0xC1, bad))
    rig.assert_fails(1007)


def test_pmd_6_ctrl_between(pmd: Open) -> None:
    rig = pmd()
    rig.feed(
        rig.frames((0x41, HELLO[:2]), (0x89, b"p"), (0x00, HELLO[2:4]), 0x8A, (0x80, HELLO[4:]))
    )
    assert rig.take() == [Ping(b"p"), Pong(b"", None), text("Hello")]
    assert rig.sent() == [(0x8A, b"p")]


def test_pmd_6_next_plain(pmd: Open) -> None:
    rig = pmd()
    rig.feed(rig.frames((0x41, HELLO[:2]), (0x80, HELLO[2:]), (0x01, b"a"), (0x80, b"b")))
    assert rig.take() == [text("Hello"), text("ab")]


def test_pmd_6_choice(pmd: Open) -> None:
    rig = pmd()
    first = rig.say("Hello")
    assert rig.say("Hello", compress=False) == [(0x81, b"Hello")]
    second = rig.say("Hello")
    assert inflate_strictly(first[0][1] + TAIL + second[0][1] + TAIL) == b"HelloHello"


# ------------------------------------------------------------------------- 17: the payload


def test_pmd_7_2_1_tail(pmd: Open) -> None:
    rig = pmd()
    for message in (b"a", b"Hello" * 1000, noise(70_000), b"", b"x" * 100_000):
        payload = b"".join(part for _, part in rig.say(message))
        assert payload
        assert payload != TAIL
        assert not payload.endswith(TAIL)
        fresh = pmd()
        payload = b"".join(part for _, part in fresh.say(message))
        context = zlib.decompressobj(-15)
        assert context.decompress(payload + TAIL) == message
        # Exactly at the end of a block: the empty last one follows at once.
        assert context.decompress(b"\x03\x00") == b""
        assert context.eof
        assert context.unused_data == b""


def test_pmd_7_2_1_vector(pmd: Open) -> None:
    rig = pmd()
    assert rig.say("Hello") == [(0xC1, HELLO)]
    assert rig.say("Hello") == [(0xC1, AGAIN)]
    rig = pmd(ours_fresh=True)
    assert rig.say("Hello") == rig.say("Hello") == [(0xC1, HELLO)]


def test_pmd_7_2_1_frag(pmd: Open) -> None:
    rig = pmd()
    parts = ["Hello", " ", "World" * 100, "!"]
    payloads = [rig.say(part, final=part == "!")[0][1] for part in parts]
    assert inflate_strictly(b"".join(payloads) + TAIL) == "".join(parts).encode()
    # Each part ends on a byte boundary, and can be read when it is there.
    context = zlib.decompressobj(-15)
    for part, payload in zip(parts[:-1], payloads[:-1], strict=True):
        assert payload.endswith(TAIL)
        assert context.decompress(payload) == part.encode()
    assert not payloads[-1].endswith(TAIL)


def test_pmd_7_2_1_takeover(pmd: Open) -> None:
    rig = pmd(ours_fresh=True)
    data = noise(500)
    for _ in range(3):
        payload = rig.say(data, compress=True)[0][1]
        assert inflate_strictly(payload + TAIL) == data
    # Without it, the second is a reference to the first.
    rig = pmd()
    rig.say(data)
    assert len(rig.say(data)[0][1]) < 20


@pytest.mark.parametrize("bits", range(9, 16))
def test_pmd_7_2_1_window(role: Role, bits: int) -> None:
    window = 2**bits
    for distance in (window - 1, window, window + 1):
        rig = linked(role, False, ours_bits=bits, max_message_size=None)
        block = noise(distance, seed=distance)
        data = [block + block[:60], block[60:], block]
        payload = b"".join(rig.say(part)[0][1] + TAIL for part in data)
        assert inflate_strictly(payload, bits) == b"".join(data)


def test_pmd_7_2_1_empty(pmd: Open) -> None:
    rig = pmd()
    assert rig.say("") == [(0xC1, b"\0")]
    assert rig.say("Hello") == [(0xC1, HELLO)]
    assert rig.say("") == [(0xC1, b"\0")]
    assert rig.say("Hello") == [(0xC1, AGAIN)]


@pytest.mark.parametrize("pieces", [("Hello", ""), ("", "Hello", "", ""), ("", "")])
def test_pmd_7_2_1_last_empty(pmd: Open, pieces: tuple[str, ...]) -> None:
    rig = pmd()
    context = zlib.decompressobj(-15)
    for message in (pieces, ("Hello",), pieces):
        last = len(message) - 1
        sent = [rig.say(piece, final=at == last)[0][1] for at, piece in enumerate(message)]
        assert sent[-1]
        payload = b"".join(sent)
        assert context.decompress(payload + TAIL) == "".join(message).encode()
        # The peer of the test is our own decoder, too.
        assert rig.hear(0xC1, deflate("".join(message).encode())[0]) == [text("".join(message))]


def test_pmd_7_2_2_vector(pmd: Open) -> None:
    for pieces in (
        [HELLO],
        [HELLO[:3], HELLO[3:]],
        [bytes([byte]) for byte in HELLO],
        [b"", HELLO],
        [b"", b"", HELLO, b""],
    ):
        rig = pmd()
        for place, piece in enumerate(pieces):
            first = (0x41 if place == 0 else 0x00) | (0x80 if place == len(pieces) - 1 else 0)
            rig.feed(rig.frame(first, piece))
        assert rig.take() == [text("Hello")]


def test_pmd_7_2_2_takeover(pmd: Open) -> None:
    rig = pmd()
    rig.feed(rig.frames((0xC1, HELLO), (0xC1, AGAIN)))
    assert rig.take() == [text("Hello")] * 2


def test_pmd_7_2_2_no_takeover(pmd: Open) -> None:
    rig = pmd(theirs_fresh=True)
    rig.feed(rig.frames((0xC1, HELLO), (0xC1, AGAIN)))
    rig.assert_fails(1007, before=[text("Hello")])
    rig = pmd(theirs_fresh=True)
    rig.feed(rig.frames((0xC1, HELLO), (0xC1, HELLO)))
    assert rig.take() == [text("Hello")] * 2


def test_pmd_7_2_2_stored(pmd: Open) -> None:
    assert pmd().hear(0xC1, hexa("000500faff48656c6c6f00")) == [text("Hello")]


def test_pmd_7_2_2_blocks(pmd: Open) -> None:
    assert pmd().hear(0xC1, hexa("f24805000000ffffcac9c90700")) == [text("Hello")]


FINAL = hexa("f348cdc9c90700")  # "Hello" in a final block


def test_pmd_7_2_2_bfinal(pmd: Open) -> None:
    rig = pmd()
    assert rig.hear(0xC1, FINAL + b"\0") == [text("Hello")]
    assert rig.hear(0xC1, FINAL + FINAL + b"\0") == [text("HelloHello")]


def test_pmd_7_2_2_bfinal_next(pmd: Open) -> None:
    for second in (HELLO, AGAIN, FINAL + b"\0", AGAIN):
        rig = pmd()
        rig.feed(rig.frames((0xC1, FINAL + b"\0"), (0xC1, second), (0xC1, AGAIN)))
        assert rig.take() == [text("Hello")] * 3


def test_pmd_7_2_2_bfinal_short(pmd: Open) -> None:
    rig = pmd()
    rig.feed(rig.frames((0xC1, FINAL), (0xC1, hexa("0300")), (0xC1, AGAIN)))
    assert rig.take() == [text("Hello"), text(""), text("Hello")]
    # In pieces: the final block ends a piece, and an empty one ends the message.
    rig.feed(rig.frames((0x41, FINAL), 0x80, (0xC1, AGAIN)))
    assert rig.take() == [text("Hello"), text("Hello")]


@pytest.mark.parametrize("garbage", ["deadbeef", "ff", "07", "06"])
def test_pmd_7_2_2_trailing(pmd: Open, garbage: str) -> None:
    rig = pmd()
    rig.feed(rig.frame(0xC1, FINAL + hexa(garbage)))
    rig.assert_fails(1007)


def test_pmd_7_2_2_empty(pmd: Open) -> None:
    rig = pmd()
    for payload in ("00", "0200", "000000ffff00"):
        assert rig.hear(0xC1, hexa(payload)) == [text("")]
    assert rig.hear(0xC1, HELLO) == [text("Hello")]


def test_pmd_7_2_2_zero(pmd: Open) -> None:
    for frames in ([0xC1], [0x41, 0x80], [0x41, 0x00, 0x80]):
        rig = pmd()
        rig.feed(rig.frames(*frames))
        assert rig.assert_fails(1007).rule == "RFC 7692 7.2.2"
    # Also after a message that went well.
    rig = pmd()
    rig.feed(rig.frames((0xC1, HELLO), 0xC1, (0xC1, AGAIN)))
    rig.assert_fails(1007, before=[text("Hello")])


@pytest.mark.parametrize("payload", ["ffffffff", "f248cdc9c90700ffffff", "07", "ff"])
def test_pmd_7_2_2_corrupt(pmd: Open, payload: str) -> None:
    for first in (0xC1, 0xC2):
        rig = pmd()
        rig.feed(rig.frame(first, hexa(payload)))
        error = rig.assert_fails(1007)
        assert "got invalid" in str(error)
    rig = pmd()
    rig.feed(rig.frame(0x41, hexa("ffffffff")))
    rig.assert_fails(1007)


def test_pmd_7_2_2_window(role: Role, bytewise: Bytewise) -> None:
    rig = linked(role, bytewise)
    start = b"0123456789" * 30
    filler = noise(32768 - 300)
    # After start and filler, start again is at a distance of exactly 32,768. zlib never looks so
    # far back, so the reference is made by hand: the fixed code for length 258 and that distance.
    payloads = deflate(start + filler)
    reference = _match(258, 32768)
    assert rig.hear(0xC2, payloads[0]) == [Message(start + filler, OpCode.BINARY)]
    assert rig.hear(0xC2, reference) == [Message(start[:258], OpCode.BINARY)]


def _match(length: int, distance: int) -> bytes:
    """One fixed block with a single match of length 258, and the head of the empty block."""
    assert length == 258
    bits: list[int] = [0, 1, 0]  # not final, fixed codes (01, low bit first)
    bits += [1, 1, 0, 0, 0, 1, 0, 1]  # code 285: 11000000 + (285 - 280)
    base, code = 1, 0
    while True:  # RFC 1951 section 3.2.5
        extra = max(code // 2 - 1, 0)
        if distance < base + (1 << extra):
            break
        base += 1 << extra
        code += 1
    bits += [code >> place & 1 for place in range(4, -1, -1)]
    bits += [(distance - base) >> place & 1 for place in range(extra)]
    bits += [0] * 7  # end of the block
    bits += [0, 0, 0]  # an empty stored block, its head only
    bits += [0] * (-len(bits) % 8)
    return bytes(
        sum(bit << place for place, bit in enumerate(bits[at : at + 8]))
        for at in range(0, len(bits), 8)
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("bits", range(8, 16))
def test_pmd_7_2_2_window_less(role: Role, bytewise: Bytewise, bits: int) -> None:
    rig = linked(role, bytewise, theirs_bits=bits)
    block = noise(2**bits)
    assert rig.hear(0xC2, deflate(block)[0]) == [Message(block, OpCode.BINARY)]
    # The whole window back, over the boundary of messages; twice, as a window is a ring.
    if 2**bits >= 258:
        assert rig.hear(0xC2, _match(258, 2**bits)) == [Message(block[:258], OpCode.BINARY)]
        again = block[258:516] if bits > 9 else (block[258:] + block[:258])[:258]
        assert rig.hear(0xC2, _match(258, 2**bits)) == [Message(again, OpCode.BINARY)]
    else:
        wanted = (block + block)[:258]
        assert rig.hear(0xC2, _match(258, 256)) == [Message(wanted, OpCode.BINARY)]


def test_pmd_7_2_2_fast_utf8(pmd: Open) -> None:
    rig = pmd()
    context = zlib.compressobj(wbits=-15)
    flushed = context.compress(b"ok\xff") + context.flush(zlib.Z_SYNC_FLUSH)
    rig.feed(rig.frame(0x41, flushed))
    rig.assert_fails(1007)


@cache
def bomb(size: int) -> bytes:
    """``size`` zeros at about 1:1000: what one MiB makes, over and over."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = context.compress(bytes(min(size, MIB))) + context.flush(zlib.Z_FULL_FLUSH)
    rest = context.compress(bytes(size % MIB)) + context.flush(zlib.Z_FULL_FLUSH)
    return part * (size // MIB) + (rest if size % MIB else b"") + b"\0"


def test_pmd_7_2_2_bomb(role: Role) -> None:
    payload = bomb(10 * 1000 * 1000)
    assert len(payload) < 11_000
    for pieces in (1, 7):
        rig = linked(role, False, max_message_size=MIB)
        step = -(-len(payload) // pieces)
        parts = [payload[at : at + step] for at in range(0, len(payload), step)]
        data = b"".join(
            rig.frame((0x42 if place == 0 else 0) | (0x80 if place == len(parts) - 1 else 0), part)
            for place, part in enumerate(parts)
        )
        tracemalloc.start()
        rig.feed(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * MIB
        rig.assert_fails(1009)


def test_pmd_7_2_2_limit(role: Role) -> None:
    for size in (MIB, MIB + 1):
        rig = linked(role, False, max_message_size=MIB)
        data = b"ab" * (size // 2) + b"c" * (size % 2)
        rig.feed(rig.frame(0xC2, deflate(data)[0]))
        if size == MIB:
            assert rig.take() == [Message(data, OpCode.BINARY)]
        else:
            rig.assert_fails(1009)
    # A compressed frame that is itself longer than the limit need not be looked at.
    rig = linked(role, False, max_message_size=1000)
    rig.feed(header(0xC2, 1001, rig.key))
    rig.assert_fails(1009)


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 65_535, 200_000])
def test_pmd_7_2_2_expand(role: Role, size: int) -> None:
    data = noise(size)
    sender = linked(role, False)
    other = Role.CLIENT if role is Role.SERVER else Role.SERVER
    receiver = linked(other, False)
    payload = b"".join(part for _, part in sender.say(data))
    assert len(payload) > size
    assert receiver.hear(0xC2, payload) == [Message(data, OpCode.BINARY)]


def _long_run(seed: int) -> Iterable[tuple[bytes | str, bool | None]]:
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(1, 6)).hex() for _ in range(300)]
    for turn in range(1000):
        # Mostly small, as traffic is; each twentieth of any size up to 128 KiB.
        size = 16 << chance.randrange(14) if turn % 20 == 19 else chance.randrange(16, 600)
        kind = chance.randrange(4)
        if kind == 0:
            yield " ".join(chance.choices(words, k=size // 7 + 1))[:size], None
        elif kind == 1:
            rows = [{"id": row, "name": chance.choice(words)} for row in range(size // 30 + 1)]
            yield json.dumps(rows), True
        elif kind == 2:
            yield chance.randbytes(size), chance.choice([None, True, False])
        else:
            yield bytes(size), None


@pytest.mark.parametrize("fresh", [False, True], ids=["takeover", "none"])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("size", [1 << 20, 256], ids=["whole", "fragments"])
def test_pmd_7_2_2_long(fresh: bool, bits: int, size: int) -> None:
    settings = PerMessageDeflate(
        server_no_context_takeover=fresh,
        client_no_context_takeover=fresh,
        server_max_window_bits=bits,
        client_max_window_bits=bits,
        level=1,
    )
    # Fragments are 256 bytes when sending; what may come is as large as a message.
    config = Config(extensions=[settings], max_frame_size=size)
    pair = Pair(config, config)
    for turn, (data, compress) in enumerate(_long_run(bits)):
        sender, end = (pair.client, pair.server_end) if turn % 2 else (pair.server, pair.client_end)
        if isinstance(data, str):
            sender.send_text(data, compress=compress)
        else:
            sender.send_binary(data, compress=compress)
        pair.flow()
        [message] = end.take()
        assert isinstance(message, Message)
        assert message.data == data
        if turn % 100 == 99:
            for connection in (pair.client, pair.server):
                for codec, _ in connection._codecs:
                    codec.idle()


# ------------------------------------------------------- attacks: V18 to V26 and D1 to D11


def fails_too_big(rig: Spoken, data: bytes, *, most: int, seconds: float) -> None:
    tracemalloc.start()
    rig.feed(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most
    rig.assert_fails(1009)
    # The same without tracing, for the time.
    fresh = linked(rig.role, False, max_message_size=MIB, max_frame_size=None)
    began = time.process_time()
    fresh.feed(data)
    assert time.process_time() - began < seconds
    fresh.assert_fails(1009)


def test_v18_bomb(role: Role) -> None:
    payload = bomb(1 << 30)
    assert len(payload) > MIB - 40_000
    rig = linked(role, False, max_message_size=MIB, max_frame_size=None)
    # What is fed and its copy in the reader are not the inflater's.
    data = frame(0xC2, payload, bytes(4) if rig.key else b"")
    limit = MIB + (128 << 10) + 2 * len(data)
    fails_too_big(rig, data, most=limit, seconds=0.05)
    # Spread over 1,000 fragments.
    step = len(payload) // 1000
    parts = [payload[at : at + step] for at in range(0, len(payload), step)]
    data = b"".join(
        frame((0x42 if at == 0 else 0) | (0x80 if at == len(parts) - 1 else 0), part, rig.key)
        for at, part in enumerate(parts)
    )
    rig = linked(role, False, max_message_size=MIB, max_frame_size=None)
    fails_too_big(rig, data, most=limit, seconds=0.05)


def test_v18_without_a_limit_it_passes(role: Role) -> None:
    # In chunks nothing is held either: 64 MiB go by.
    rig = linked(role, False, max_message_size=None, max_frame_size=None, deliver="chunks")
    rig.connection.receive_data(rig.frame(0xC2, bomb(64 << 20)), rig.now)
    tracemalloc.start()
    total = 0
    while events := rig.connection.events():
        for event in events:
            assert isinstance(event, Chunk)
            total += len(event.data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 64 << 20
    assert peak < MIB


def _sized(size: int, form: str) -> bytes:
    data = (b"The quick brown fox. " * (size // 21 + 1))[:size]
    if form == "stored":
        # Not all of it: then the frame itself would be over the limit, which is refused unread.
        half = data[: size // 2]
        head = b"\0" + len(half).to_bytes(2, "little") + (65535 - len(half)).to_bytes(2, "little")
        return head + half + deflate(data[size // 2 :])[0]
    strategy = zlib.Z_FIXED if form == "fixed" else zlib.Z_DEFAULT_STRATEGY
    context = zlib.compressobj(6, zlib.DEFLATED, -15, 9, strategy)
    if form == "final":
        return context.compress(data) + context.flush(zlib.Z_FINISH) + b"\0"
    return context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH)[:-4]


@pytest.mark.parametrize("form", ["dynamic", "fixed", "stored", "final"])
@pytest.mark.parametrize("more", [-1, 0, 1, 2, 257])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("bits", [None, 12])
def test_v19_the_limit_is_exact(
    role: Role, form: str, more: int, pieces: int, bits: int | None
) -> None:
    size = 100_000
    payload = (
        _sized(size + more, form)
        if bits is None
        else (deflate((b"The quick brown fox. " * 5000)[: size + more], bits=12)[0])
    )
    rig = linked(role, False, max_message_size=size, max_frame_size=None, theirs_bits=bits)
    step = -(-len(payload) // pieces)
    parts = [payload[at : at + step] for at in range(0, len(payload), step)]
    for place, part in enumerate(parts):
        first = (0x41 if place == 0 else 0) | (0x80 if place == len(parts) - 1 else 0)
        rig.feed(rig.frame(first, part))
    if more <= 0:
        [message] = rig.take()
        assert isinstance(message, Message)
        assert message.data == ("The quick brown fox. " * 5000)[: size + more]
    else:
        rig.assert_fails(1009)


V20 = ["0", "7", "16", "99", "08", "010", "+10", '" 10"', "1_0", "\uff11\uff10", "", "abc"]


@pytest.mark.parametrize("bits", V20)
@pytest.mark.parametrize("side", ["server", "client"])
def test_v20_window_bits_out_of_form(bits: str, side: str, bytewise: Bytewise) -> None:
    wire = (
        bits.encode().decode("latin-1")
        if bits.isascii()
        else bits.encode("utf-8").decode("latin-1")
    )
    line = f"permessage-deflate; {side}_max_window_bits={wire}"
    if bits.isascii():
        call(line, bytewise=bytewise).refused()
    if bits.isascii() and bits not in ("", '" 10"'):  # those break the grammar: a 400
        assert serve(line, bytewise=bytewise).answer == []
        assert serve(f"{line}, permessage-deflate").answer == ["permessage-deflate"]


def test_v21_eight(role: Role) -> None:
    if role is Role.SERVER:
        assert serve("permessage-deflate; server_max_window_bits=8").answer == []
        assert serve("permessage-deflate; client_max_window_bits=8").answer == [
            "permessage-deflate; client_max_window_bits=8"
        ]
        return
    rig = call("permessage-deflate; client_max_window_bits=8").opened()
    data = noise(300) * 3
    assert rig.say(data, compress=True) == [(0x82, data)]


def test_v22_compressed_without_agreement(role: Role, bytewise: Bytewise) -> None:
    for extensions in ((), (PerMessageDeflate(),)):
        rig = Spoken(role, extensions, None, bytewise=bytewise).opened()
        rig.feed(rig.frame(0xC1, HELLO))
        rig.assert_fails(1002)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("first", [0xC0, 0x40, 0xC9, 0xCA, 0xC8])
def test_v23_rsv1_where_it_must_not_be(pmd: Open, compressed: bool, first: int) -> None:
    rig = pmd()
    assert rig.hear(*((0x41, HELLO[:3]) if compressed else (0x01, b"He"))) == []
    rig.feed(rig.frame(first, b"ab"))
    rig.assert_fails(1002)


def test_v24_no_own_inflate() -> None:
    version = tuple(
        int(part) for part in zlib.ZLIB_RUNTIME_VERSION.split(".")[:3] if part.isdigit()
    )
    assert version >= (1, 2, 13)


def test_v25_control_frames_between_fragments(pmd: Open) -> None:
    payloads = deflate(b"Hello, " * 30, b"Hello, " * 30)
    for control in ((0x89, b"p"), (0x8A, b"q"), (0x89, b"")):
        rig = pmd()
        for payload in payloads:
            for at in range(len(payload)):
                rig.feed(rig.frame(*control))
                first = (0x41 if at == 0 else 0) | (0x80 if at == len(payload) - 1 else 0)
                rig.feed(rig.frame(first, payload[at : at + 1]))
            events = rig.take()
            assert events[-1] == text("Hello, " * 30)
            assert all(isinstance(event, Ping | Pong) for event in events[:-1])
            assert len(events) == len(payload) + 1


def test_v26_final_blocks(pmd: Open) -> None:
    rig = pmd()
    rig.feed(rig.frames((0xC1, FINAL + b"\0"), (0xC1, HELLO), (0xC1, AGAIN)))
    assert rig.take() == [text("Hello")] * 3
    assert rig.hear(0xC1, FINAL * 2) == [text("HelloHello")]


def test_v27_a_send_that_fails_does_not_advance_the_compressor(pmd: Open) -> None:
    # A send is one step: it has happened, or nothing has. So there is nothing to cancel half-way.
    rig = pmd()
    context = zlib.decompressobj(-15)
    connection = rig.connection
    for turn in range(20):
        wanted = f"message {turn} of many that share a window"
        with pytest.raises(LocalProtocolError):
            connection.send_text("half a pair: \ud800", compress=True)
        with pytest.raises(LocalProtocolError):
            connection.send_text(b"\xff" * 300, compress=True)
        with pytest.raises(TypeError):
            connection.send_binary("text", compress=True)  # type: ignore[arg-type]
        [(first, begin)] = rig.say(wanted[:9], final=False)
        with pytest.raises(LocalProtocolError):  # another sender, in the middle of this one
            connection.send_binary(bytes(300), compress=True)
        [(second, rest)] = rig.say(wanted[9:])
        assert (first, second) == (0x41, 0x80)
        assert context.decompress(begin + rest + TAIL).decode() == wanted
    connection.close(1000, now=rig.now)
    with pytest.raises(ConnectionClosed):
        connection.send_text("too late", compress=True)
    assert [first for first, _ in rig.sent()] == [0x88]


def test_d1_bombs(role: Role) -> None:
    payload = bomb(4 * MIB)
    rig = linked(role, False, max_message_size=MIB)
    rig.feed(rig.frame(0xC2, payload))
    rig.assert_fails(1009)
    # Over fragments, over many messages: each is counted by itself.
    rig = linked(role, False, max_message_size=MIB)
    half = bomb(MIB // 2)
    for _ in range(20):
        assert rig.hear(0xC2, half) == [Message(bytes(MIB // 2), OpCode.BINARY)]
    for at, part in enumerate((payload[:1000], payload[1000:2000], payload[2000:])):
        rig.feed(rig.frame((0x42, 0, 0x80)[at], part))
    rig.assert_fails(1009)


def _decode(payload: bytes) -> None:
    for _ in _codec().decode(payload, 0x40, True, True, -1):
        pass


def _spent(payload: bytes) -> float:
    best = 10.0
    for _ in range(3):
        began = time.process_time()
        _decode(payload)
        best = min(best, time.process_time() - began)
    return best


def _codec(**settings: Any) -> Codec:
    agreed = PerMessageDeflate(**settings).accept((("client_max_window_bits", None),))
    assert agreed is not None
    return agreed.codec(Role.SERVER)


@pytest.mark.parametrize(
    "make",
    [
        lambda size: hexa("000000ffff") * (size // 5) + b"\0",
        lambda size: hexa("000100feff41") * (size // 6) + b"\0",
        lambda size: b"".join(
            [b"\1\xfa\0\x05\xff" + bytes(250)] * (size // 255)  # a final block for each 250 bytes
        ),
    ],
    ids=["empty blocks", "stored blocks of one byte", "final blocks"],
)
def test_d2_cheap_blocks(make: Callable[[int], bytes]) -> None:
    # 20 ms for a MiB, with room for a busy machine.
    assert _spent(make(MIB)) < 0.02 * 5
    payloads = {size: make(size) for size in (2 * MIB, 4 * MIB)}
    assert_linear(lambda size: _decode(payloads[size]), 2 * MIB)


def test_d2_cheap_frames(role: Role) -> None:
    rig = linked(role, False)
    zero = frame(0x00, b"", rig.key)
    data = rig.frame(0x41, HELLO[:3]) + zero * 20_000 + rig.frame(0x80, HELLO[3:])
    rig.feed(data)
    assert rig.take() == [text("Hello")]
    rig.feed(rig.frame(0xC1, b"\0") * 1000)
    assert rig.take() == [text("")] * 1000


def test_d2_final_blocks_are_bounded(role: Role) -> None:
    # Each needs a new inflater and may be two bytes long: a message of nothing else is refused.
    rig = linked(role, False)
    rig.feed(rig.frame(0xC1, FINAL * 4000))
    assert rig.take() == [text("Hello" * 4000)]
    rig.feed(rig.frame(0xC1, FINAL * 4000))
    error = rig.assert_fails(1008)
    assert "final block" in str(error)
    # One or two for each message are never too many.
    rig = linked(role, False)
    data = rig.frame(0xC1, FINAL + FINAL)
    for _ in range(10):
        rig.feed(data * 1000)
        assert len(rig.take()) == 1000


def test_d3_odd_but_legal(pmd: Open) -> None:
    rig = pmd()
    for payload in (
        FINAL + b"\0",  # a final block
        FINAL,
        hexa("f24805000000ffffcac9c90700"),  # several blocks
        HELLO + hexa("0000ffff00"),  # padding: a further empty block
        HELLO + TAIL,  # the tail left on
        hexa("000500faff48656c6c6f00"),  # stored
        HELLO,  # fixed
    ):
        assert rig.hear(0xC1, payload) == [text("Hello")], payload.hex()
    data = (b"The quick brown fox. " * 50)[:1000]
    for form in ("dynamic", "fixed", "stored", "final"):
        assert rig.hear(0xC2, _sized(1000, form)) == [Message(data, OpCode.BINARY)]
    assert rig.hear(0xC1, HELLO) == rig.hear(0xC1, AGAIN) == [text("Hello")]


@pytest.mark.parametrize(
    "payload",
    [
        "ffffffff",  # an impossible block
        "f348cdc9c90700deadbeef",  # garbage behind a final block
        "000500fbff48656c6c6f00",  # lengths of a stored block that disagree
        "f200110000",  # a reference to before the first byte
        "020000000000",  # a stored block whose length is that of nothing
        "0d",  # code lengths cut off by the tail
    ],
)
def test_d4_corrupt(pmd: Open, payload: str) -> None:
    rig = pmd()
    rig.feed(rig.frame(0xC1, hexa(payload)))
    rig.assert_fails(1007)


def test_d4_truncation_can_pass(pmd: Open) -> None:
    # What zlib cannot see, and nobody who uses it: the rest of the block may still come.
    assert pmd().hear(0xC1, HELLO[:3]) == [text("Heh")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14])
def test_d5_a_distance_over_the_window(role: Role, bytewise: Bytewise, bits: int) -> None:
    window = 2**bits
    # One byte more than the window, over the boundary of messages, however it is cut.
    rig = linked(role, bytewise, theirs_bits=bits)
    block = noise(window + 1)
    assert rig.hear(0xC2, deflate(block)[0]) == [Message(block, OpCode.BINARY)]
    rig.feed(rig.frame(0xC2, _match(258, window + 1)))
    error = rig.assert_fails(1007)
    assert "distance too far back" in str(error)
    # Inside of one message: from twice the window on in any case.
    rig = linked(role, bytewise, theirs_bits=bits)
    block = noise(2 * window)
    rig.feed(rig.frame(0xC2, deflate(block)[0] + TAIL + _match(258, 2 * window)))
    rig.assert_fails(1007)
    # After idle() dropped the inflater it is the same.
    rig = linked(role, bytewise, theirs_bits=bits)
    rig.hear(0xC2, deflate(noise(window + 1))[0])
    rig.connection._codecs[0][0].idle()
    rig.feed(rig.frame(0xC2, _match(258, window + 1)))
    rig.assert_fails(1007)


def test_d6_takeover_that_was_given_up(pmd: Open) -> None:
    rig = pmd(theirs_fresh=True)
    assert rig.hear(0xC1, HELLO) == [text("Hello")]
    assert rig.hear(0xC1, FINAL) == [text("Hello")]
    rig.feed(rig.frame(0xC1, AGAIN))
    rig.assert_fails(1007)


def test_d7_dead_after_an_error(pmd: Open) -> None:
    rig = pmd()
    assert rig.hear(0xC2, deflate(bytes(200_000))[0])
    codec: Any = rig.connection._codecs[0][0]
    rig.feed(rig.frames((0xC1, hexa("ffffffff")), (0xC1, HELLO)))
    assert codec._inflater is None
    assert codec._shorten() == b""
    rig.assert_fails(1007)


def test_d8_memory() -> None:
    def after(settings: PerMessageDeflate, idle: bool, count: int = 20) -> dict[Role, int]:
        """Bytes that the contexts of one connection hold after a chat of ten messages."""
        found = {}
        words = b" ".join(noise(4, seed).hex().encode() for seed in range(300))
        for role in Role:
            agreed = settings.accept(settings.offers()[0])
            assert agreed is not None
            theirs = settings.confirm(settings.offers(), agreed.parameters)
            tracemalloc.start()
            kept = []
            for _ in range(count):
                codecs = {Role.SERVER: agreed.codec(role), Role.CLIENT: theirs.codec(role)}
                codec = codecs[role]
                peer = (theirs if role is Role.SERVER else agreed).codec(
                    Role.CLIENT if role is Role.SERVER else Role.SERVER
                )
                for at in range(10):
                    message = words[at * 50 : at * 200 + 400]
                    b"".join(
                        codec.decode(*peer.encode(1, message, True, True, True), True, True, -1)
                    )
                    codec.encode(1, message, True, True, True)
                if idle:
                    codec.idle()
                kept.append(codec)
                del peer, codecs
            found[role] = tracemalloc.get_traced_memory()[0] // count
            tracemalloc.stop()
            kept.clear()
        return found

    default = PerMessageDeflate(backend="zlib")
    busy, idle = after(default, idle=False), after(default, idle=True)
    # A server holds both windows at 12 bits; a client has to bear the server's choice.
    assert busy[Role.SERVER] <= 64 << 10
    assert idle[Role.SERVER] <= 8 << 10
    assert idle[Role.CLIENT] <= 36 << 10
    # Nothing is made before it is used.
    tracemalloc.start()
    kept = [_codec() for _ in range(20)]
    assert tracemalloc.get_traced_memory()[0] // len(kept) < 2 << 10
    tracemalloc.stop()
    # Without takeover nothing stays behind, with or without idle().
    fresh = PerMessageDeflate(
        server_no_context_takeover=True, client_no_context_takeover=True, backend="zlib"
    )
    assert max(after(fresh, idle=False).values()) < 2 << 10


def test_d8_contexts_are_dropped_after_a_heartbeat_without_messages() -> None:
    settings = PerMessageDeflate(backend="zlib")
    pair = Pair(Config(extensions=[settings]), Config(extensions=[settings]))
    codecs: list[Any] = [end._codecs[0][0] for end in (pair.client, pair.server)]

    def held() -> int:
        return sum(
            (codec._deflater is not None) + (codec._inflater is not None) for codec in codecs
        )

    message = noise(300).hex()
    for _ in range(2):
        pair.client.send_text(message)
        pair.flow()
        pair.server.send_text(message)
        pair.flow()
        assert held() == 4
        pair.run_for(25)  # one ping: there were messages before it
        assert held() == 4
        pair.run_for(20)  # another: there were none
        assert held() == 0
        assert pair.client_end.take()[0] == text(message)
        assert pair.server_end.take()[0] == text(message)


def test_d1_what_is_read_at_once_is_bounded(role: Role) -> None:
    # 60 messages in one read of 62 kB, each of which inflates to a MiB.
    rig = linked(role, False)
    data = rig.frame(0xC2, bomb(MIB)) * 60
    tracemalloc.start()
    rig.connection.receive_data(data, rig.now)
    peak = tracemalloc.get_traced_memory()[1]
    count = 0
    while events := rig.connection.events():
        count += len(events)
        del events
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB
    assert most < 6 * MIB
    assert count == 60


def test_d9_secrets_can_go_out_plain(pmd: Open) -> None:
    rig = pmd()
    rig.say("attacker's text " * 20)
    secret = "token=0123456789 " * 20
    assert rig.say(secret, compress=False) == [(0x81, secret.encode())]
    # In parts, too; and it is not in the window afterwards.
    assert rig.say(secret, compress=False, final=False) == [(0x01, secret.encode())]
    assert rig.say(secret, compress=None) == [(0x80, secret.encode())]
    [(first, payload)] = rig.say(secret)
    assert first == 0xC1
    assert len(payload) > 20


@pytest.mark.parametrize("fresh", [False, True], ids=["takeover", "none"])
def test_d10_never_larger_than_plain(role: Role, fresh: bool) -> None:
    rig = linked(role, False, ours_fresh=fresh, settings={"threshold": 0})
    context = zlib.decompressobj(-15)
    for turn in range(200):
        data = noise(turn * 7, turn) if turn % 3 else b"Hello, World! " * (turn % 9)
        [(first, payload)] = rig.say(data, compress=None)
        assert len(payload) <= len(data)
        if first == 0x82:
            assert payload == data
        else:
            # The plain ones between did not put the stream out of step.
            assert first == 0xC2
            if fresh:
                context = zlib.decompressobj(-15)
            assert context.decompress(payload + TAIL) == data
    # Short ones are not even tried.
    rig = linked(role, False)
    assert rig.say(b"a" * 127, compress=None) == [(0x82, b"a" * 127)]
    assert rig.say(b"a" * 128, compress=None)[0][0] == 0xC2


def test_d11_compressed_and_plain_messages_interleave(pmd: Open) -> None:
    rig = pmd()
    context = zlib.compressobj(wbits=-15)
    wanted: list[Event] = []
    for turn in range(60):
        data = f"message {turn // 2} of the interleave test"
        wanted.append(text(data))
        if turn % 3:
            payload = context.compress(data.encode()) + context.flush(zlib.Z_SYNC_FLUSH)
            rig.feed(rig.frame(0xC1, payload[:-4]))
        else:
            rig.feed(rig.frame(0x81, data.encode()))
    assert rig.take() == wanted
    # And ours.
    inflater = zlib.decompressobj(-15)
    for turn in range(60):
        data = f"message {turn // 2} of the interleave test"
        [(first, payload)] = rig.say(data, compress=bool(turn % 3))
        assert first == (0xC1 if turn % 3 else 0x81)
        assert (inflater.decompress(payload + TAIL) if turn % 3 else payload) == data.encode()
