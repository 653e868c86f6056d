"""A request head, read by a server.

Invariant: any bytes, cut anywhere, end in the same outcome: more is awaited, a ``Request`` that can
be accepted, or an HTTP answer of 400 or above, after which nothing counts; memory is bounded by
``max_head_size`` and one read; a request that we take, ``websockets`` and ``wsproto`` take, and
what they take we refuse only for a reason in ``fuzz/README.md``.

Allowed exceptions: none out of the inputs; ``accept()`` of a request that was given does not fail.

The first byte chooses settings, the second the cut; the head begins at the fourth.
"""

import logging
from collections.abc import Hashable
from functools import cache
from typing import Any, Final

from wsproto_core import (
    Closed,
    Config,
    Connection,
    HandshakeError,
    HttpRequest,
    Phase,
    Request,
    Role,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_core.http11 import Refusal

from ..harness import Trail, cut, one_in, require, watch
from ..peers import have

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_HEAD: Final = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example:8080\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
_CONFIGS: Final = (
    Config(subprotocols=("chat",), extensions=(PerMessageDeflate(),), origins=("*",)),
    Config(max_head_size=400, max_line_size=100, max_headers=8),
    Config(plain_http=True, origins=("http://server.example:8080", "")),
    Config(extensions=(PerMessageDeflate(server_max_window_bits=9),)),
)
_WHOLE: Final = (
    _HEAD + b"\r\n",
    _HEAD
    + b"Origin: http://server.example:8080\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n",
    _HEAD + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    _HEAD + b"Expect: 100-continue\r\nCookie: a=b; c=\xe9\r\n\r\n\x81\x80\x00\x00\x00\x00",
    b"\r\n"
    + _HEAD.replace(b"Upgrade\r\n", b"keep-alive, Upgrade\r\n")
    + b"Content-Length: 0\r\n\r\n",
    _HEAD.replace(b"/chat?room=1", b"http://other.example/x?y") + b"\r\n",
    _HEAD.replace(b"GET", b"POST") + b"Content-Length: 3\r\n\r\nabc",
    _HEAD.replace(b"1.1", b"1.0", 1) + b"\r\n",
    _HEAD.replace(b": 13", b": 8") + b"Transfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
)
SEEDS: Final = tuple(
    bytes([options, (41 * place + options) & 0xFF, 0]) + head
    for place, head in enumerate(_WHOLE)
    for options in range(4)
)
TOKENS: Final = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b": ", b",", b";", b"=", b'"', b"\x00",
    b"\x80", b"Host: a\r\n", b"Origin: null\r\n", b"Origin: https://x\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c, websocket\r\n", b"Connection: upgrade\r\n", b"Connection: close\r\n",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Version: 0\r\n", b"Sec-WebSocket-Protocol: chat\r\n", b"Content-Length: 1\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"HTTP/1.1",
    b"HTTP/2.0", b"GET ", b"CONNECT ", b"HEAD ", b"OPTIONS * ", b"/", b"#", b"%00", b"[::1]",
    b"http://", b"@", b":65536", b"A" * 100, b"X: y\r\n" * 9, b" folded\r\n",
)  # fmt: skip
STEPS: Final = (2_500, 60)
MEMORY: Final = (120_000, 120)


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    options = data[0] & 3 if data else 0
    pattern = data[1] if len(data) > 1 else 0
    stream = data[3:]
    config = _CONFIGS[options]
    whole = Trail(Connection(Role.SERVER, config, now=0.0))
    whole.feed((stream,))
    pieces = Trail(Connection(Role.SERVER, config, now=0.0))
    pieces.feed(cut(stream, pattern))
    server = whole.connection
    require(server.phase is pieces.connection.phase, "the phase depends on the cut", server)
    accepted = _answer(whole, config)
    require(accepted == _answer(pieces, config), "the answer depends on the cut", accepted)
    whole.end()
    pieces.end()
    first, second = watch(whole.events), watch(pieces.events)
    require(first == second, "the events depend on the cut", first, second)
    require(whole.output == pieces.output, "the output depends on the cut")
    status = _status(bytes(whole.output))
    _check_end(whole, accepted)
    if options == 0:
        if accepted == "101":
            _peers_take(stream)
        elif status >= 400 and one_in(data, 16):
            _peers_refuse(stream, whole.events[-1])
    error = getattr(whole.events[-1], "error", None)
    return options, whole.kinds(), status, str(error)[:60] if status >= 400 else ""


def _answer(trail: Trail, config: Config) -> str:
    connection = trail.connection
    if connection.phase is not Phase.DECIDING:
        return connection.phase.name
    if isinstance(connection.request, HttpRequest):
        connection.reject(connection.request.refusal, 0.0)
        trail.look()
        return "plain"
    connection.accept(0.0)
    trail.look()
    return "101"


def _status(output: bytes) -> int:
    """The status of the answer; 0: none went out."""
    if output.startswith(b"HTTP/1.1 100"):
        output = output.partition(b"\r\n\r\n")[2]
    if not output:
        return 0
    line = output.partition(b"\r\n")[0]
    require(line.startswith(b"HTTP/1.1 ") and b"\r\n\r\n" in output, "no HTTP answer", output)
    return int(line[9:12])


def _check_end(trail: Trail, accepted: str) -> None:
    end = trail.events[-1]
    assert isinstance(end, Closed)
    status = _status(bytes(trail.output))
    if accepted == "101":
        require(status == 101 and isinstance(trail.events[0], Request), "accepted how?", status)
        return
    require(end.sent is None and end.received is None, "a Close without a handshake", end)
    require(isinstance(end.error, (HandshakeError, Refusal)), "an end without a cause", end)
    require(status == 0 or 400 <= status <= 505, "a strange refusal", status)
    if status:
        head, _, body = bytes(trail.output).partition(b"\r\n\r\n")
        require(f"Content-Length: {len(body)}".encode() in head, "no length", head)
        require(b"Connection: " in head and b"close" in head, "not closed", head)


# ------------------------------------------------------------------------------ peers


@cache
def _quiet() -> logging.Logger:
    logger = logging.getLogger("fuzz.request_head")
    logger.disabled = True
    return logger


def _websockets_status(stream: bytes) -> tuple[int, str]:
    """What ``websockets`` answers; 0: it waits for more, or could not parse it."""
    from websockets.server import ServerProtocol

    peer = ServerProtocol(logger=_quiet())
    peer.receive_data(stream)
    events: list[Any] = peer.events_received()
    for event in events:
        response = peer.accept(event)
        return response.status_code, str(peer.handshake_exc)
    return 0, str(peer.handshake_exc)


def _wsproto_takes(stream: bytes) -> tuple[bool, str]:
    from wsproto import ConnectionType, WSConnection, events
    from wsproto.utilities import RemoteProtocolError

    peer = WSConnection(ConnectionType.SERVER)
    try:
        peer.receive_data(stream)
        return any(isinstance(event, events.Request) for event in peer.events()), ""
    except RemoteProtocolError as error:
        return False, str(error)
    except Exception as error:  # noqa: BLE001 - (H13) no outcome at all: nothing to compare with
        return False, f"raised {type(error).__name__}"


def _peers_take(stream: bytes) -> None:
    if have("websockets") and one_in(stream, 4):
        status, why = _websockets_status(stream)
        if status != 101 and not _is_choice(stream, why):
            require(False, "websockets refuses a request that we take", status, why)
    if have("wsproto") and one_in(stream, 4, 1):
        taken, why = _wsproto_takes(stream)
        if not taken and not _is_choice(stream, why):
            require(False, "wsproto refuses a request that we take", why)


def _is_choice(stream: bytes, why: str) -> bool:
    """(H1) to (H4): where the RFC leaves it to the server, or the peer is stricter than it."""
    return (
        stream.startswith(b"\r\n")  # (H1) an empty line before the request line: 9112 2.2, SHOULD
        or b"xpect:" in stream.lower()  # (H2) a 100 goes out first, the peer does not know it
        or "Sec-WebSocket-Extensions" in why  # (H3) offers are parsed by another grammar
        or "Sec-WebSocket-Protocol" in why
        or "Connection" in why  # (H4) other list grammars: empty elements, parameters
        or "Upgrade" in why
        or why.startswith("raised")  # (H13)
    )


def _peers_refuse(stream: bytes, end: object) -> None:
    """What everybody else takes and we refuse needs a reason that we know."""
    assert isinstance(end, Closed)
    why = str(end.error)
    if not (have("websockets") and have("wsproto")):
        return
    if _websockets_status(stream)[0] == 101 and _wsproto_takes(stream)[0]:
        known = any(words in why for words in _STRICTER)
        require(known, "both peers take a request that we refuse", why)


# What our refusal says, by class; (H5) to (H12) in fuzz/README.md.
_STRICTER: Final = (
    "expected lines that end in CR LF",  # (H5)
    "without a body",  # (H6)
    "Sec-WebSocket-Key",  # (H7) base64 with bits beyond the 16 bytes
    "expected a host",  # (H8)
    "expected a target",  # (H8)
    "subprotocol",  # (H9)
    "xtension",  # (H10)
    "Host line",  # (H11)
    "Origin",  # (H12)
    "Expect",  # (H14)
)
