"""The answer to a client's request.

Invariant: any bytes, cut anywhere, end in the same outcome: more is awaited, an open connection, or
``Closed`` with a ``HandshakeError``, with the response where there was one; a refusal's body is cut
at ``max_body_size`` and memory is bounded; a 101 that we take, ``websockets`` takes.

Allowed exceptions: none out of the inputs.

The first byte chooses settings, the second the cut; the head begins at the fourth.
"""

import logging
from base64 import b64encode
from collections.abc import Hashable
from functools import cache
from typing import Any, Final

from wsproto_core import (
    Closed,
    Config,
    Connection,
    HandshakeError,
    Opened,
    Refused,
    Role,
    parse_uri,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_core.handshake import accept_key

from ..harness import Trail, cut, one_in, require, watch
from ..peers import have

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_KEY: Final = b64encode(bytes(16)).decode()
_ACCEPT: Final = accept_key(_KEY).encode()
_TARGET: Final = parse_uri("ws://server.example/chat")
_CONFIGS: Final = (
    Config(subprotocols=("chat", "superchat"), extensions=(PerMessageDeflate(),), max_body_size=60),
    Config(max_head_size=300, max_line_size=80, max_headers=6, max_body_size=0),
    Config(extensions=(PerMessageDeflate(client_max_window_bits=10),), max_body_size=10),
    Config(),
)
_HEAD: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + _ACCEPT + b"\r\n"
)
_WHOLE: Final = (
    _HEAD + b"\r\n",
    _HEAD + b"\r\n\x81\x05hello\x88\x02\x03\xe8",
    _HEAD + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
    _HEAD + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    _HEAD + b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + _HEAD + b"\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: /other\r\nSet-Cookie: a=b\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 401\r\nWWW-Authenticate: Basic\r\n folded\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
)
SEEDS: Final = tuple(
    bytes([options, (43 * place + options) & 0xFF, 0]) + head
    for place, head in enumerate(_WHOLE)
    for options in range(4)
)
TOKENS: Final = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b": ", b",", b";", b"=", b'"', b"\x00",
    b"\xff", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"100", b"101", b"199", b"200", b"204",
    b"304", b"426",
    b"500", b"999", b"Upgrade: websocket\r\n", b"Connection: close, upgrade\r\n",
    b"Sec-WebSocket-Accept: x\r\n", b"Sec-WebSocket-Protocol: superchat\r\n", _ACCEPT,
    b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n",
    b"Sec-WebSocket-Extensions: x\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"5\r\nabcde\r\n",
    b"A" * 90, b"X: y\r\n" * 8, b"HTTP/1.1 100 Continue\r\n\r\n" * 17, b" folded\r\n",
)  # fmt: skip
STEPS: Final = (3_000, 70)
MEMORY: Final = (120_000, 120)


def _client(config: Config) -> Trail:
    trail = Trail(Connection(Role.CLIENT, config, now=0.0, target=_TARGET, random=bytes))
    trail.look()
    return trail


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    options = data[0] & 3 if data else 0
    pattern = data[1] if len(data) > 1 else 0
    stream = data[3:]
    config = _CONFIGS[options]
    whole = _client(config)
    whole.feed((stream,))
    opened = whole.connection.agreement is not None
    whole.end()
    pieces = _client(config)
    pieces.feed(cut(stream, pattern))
    require(opened is (pieces.connection.agreement is not None), "opening depends on the cut")
    pieces.end()
    first, second = watch(whole.events), watch(pieces.events)
    require(first == second, "the events depend on the cut", first, second)
    require(whole.output == pieces.output, "the output depends on the cut")
    end = whole.events[-1]
    assert isinstance(end, Closed)
    refused = [event for event in whole.events if isinstance(event, Refused)]
    if opened:
        require(any(isinstance(event, Opened) for event in whole.events), "open without Opened")
        require(not refused, "opened and refused", refused)
    else:
        require(isinstance(end.error, HandshakeError), "an end without a cause", end)
        require(len(refused) <= 1, "refused twice", refused)
        for event in refused:
            size = len(event.response.body)
            require(size <= config.max_body_size, "a body over the limit", size)
    if options in (0, 3) and one_in(data, 2 if opened else 16):
        _ask_websockets(stream, opened, options, end)
    status = refused[0].response.status if refused else 0
    return options, whole.kinds(), status // 100, str(end.error)[:60]


# ------------------------------------------------------------------------------ peers


@cache
def _quiet() -> logging.Logger:
    logger = logging.getLogger("fuzz.response_head")
    logger.disabled = True
    return logger


def _ask_websockets(stream: bytes, opened: bool, options: int, end: Closed) -> None:
    if not have("websockets"):
        return
    from websockets.client import ClientProtocol
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.http11 import Response
    from websockets.protocol import State
    from websockets.uri import parse_uri as parse_theirs

    offered: Any = ["chat", "superchat"]
    peer = ClientProtocol(
        parse_theirs("ws://server.example/chat"),
        logger=_quiet(),
        subprotocols=offered if options == 0 else None,
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)]
        if options == 0
        else None,
    )
    peer.key = _KEY
    peer.send_request(peer.connect())
    peer.receive_data(stream)
    got = [event for event in peer.events_received() if isinstance(event, Response)]
    taken = bool(got) and peer.state is not State.CONNECTING and peer.handshake_exc is None
    why = str(peer.handshake_exc)
    if opened and not taken:
        # (R1) interim responses are skipped (9110 15.2) by us; (R2) folded lines and other things
        # that 9112 lets a client repair; (R3) the lists of extensions and Connection have empty
        # elements or another grammar.
        interim = stream.startswith(b"HTTP/1.1 1") and not stream.startswith(b"HTTP/1.1 101")
        folded = b"\r\n " in stream or b"\r\n\t" in stream
        words = ("Extension", "header", "Connection", "Upgrade", "parse")
        known = interim or folded or any(word in why for word in words)
        require(known, "websockets refuses a 101 that we take", why)
    if taken and not opened:
        error = str(end.error)
        known = any(words in error for words in _STRICTER)
        require(known, "websockets takes a 101 that we refuse", error)


# What our error says, by class; (R4) to (R7) in fuzz/README.md.
_STRICTER: Final = (
    "not valid",  # (R4) the grammar of the head
    "expected Upgrade: websocket",  # (R5)
    "expected one",  # (R6) a field twice
    "xtension",  # (R7)
    "subprotocol",
)
