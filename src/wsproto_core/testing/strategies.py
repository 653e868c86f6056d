"""Hypothesis strategies: frames, messages, fragments, heads, cuts, and streams that mean no good.

Needs Hypothesis (``pip install hypothesis``), which nothing else of this package does. Import it by
its own name: ``from wsproto_core.testing import strategies``.
Tests: ``tests/core/test_testing.py``.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "wsproto_core.testing.strategies needs Hypothesis: pip install hypothesis"
    ) from error

from ..enums import OpCode, is_usable_close_code
from ..events import Message
from ..handshake import accept_key
from .frames import WireFrame, encode_frames

__all__ = [
    "close_codes",
    "control_frames",
    "cut_up",
    "fragments",
    "frames",
    "hostile",
    "messages",
    "request_heads",
    "response_heads",
    "streams",
    "texts",
]

_BORDERS: Final = (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 254, 255)


def texts(max_size: int = 200) -> SearchStrategy[str]:
    """Text that UTF-8 can encode; ``max_size`` in characters."""
    return st.text(st.characters(codec="utf-8"), max_size=max_size)


def close_codes() -> SearchStrategy[int]:
    """Codes that may stand in a Close frame."""
    return st.integers(1000, 4999).filter(is_usable_close_code)


@st.composite
def messages(draw: DrawFn, max_size: int = 200) -> Message:
    """Messages, text or binary."""
    if draw(st.booleans()):
        return Message(draw(texts(max_size)), OpCode.TEXT)
    return Message(draw(st.binary(max_size=max_size)), OpCode.BINARY)


@st.composite
def control_frames(draw: DrawFn) -> WireFrame:
    """Pings and pongs."""
    opcode = draw(st.sampled_from([OpCode.PING, OpCode.PONG]))
    return WireFrame(opcode, draw(st.binary(max_size=125)))


@st.composite
def fragments(
    draw: DrawFn, message: Message | None = None, *, max_parts: int = 5, control: bool = True
) -> list[WireFrame]:
    """A message (``None``: any) in one or more frames, with control frames between them."""
    if message is None:
        message = draw(messages())
    data = message.data.encode() if isinstance(message.data, str) else message.data
    parts = draw(_parts(data, max_parts))
    made: list[WireFrame] = []
    for place, part in enumerate(parts):
        if place and control:
            made += draw(st.lists(control_frames(), max_size=2))
        opcode = OpCode.CONTINUATION if place else message.opcode
        made.append(WireFrame(opcode, part, place == len(parts) - 1))
    return made


@st.composite
def frames(draw: DrawFn) -> WireFrame:
    """Single frames, most of them wrong at any given place: any opcode, bits, size and form."""
    size = draw(st.one_of(st.integers(0, 20), st.sampled_from(_BORDERS)))
    return WireFrame(
        draw(st.integers(0, 15)),
        draw(st.binary(min_size=size, max_size=size)),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0, 0, 0x10, 0x20, 0x40, 0x70])),
        draw(st.sampled_from([0, 0, 0, 2, 8])),
    )


@st.composite
def streams(draw: DrawFn, *, max_messages: int = 5, close: bool = True) -> list[WireFrame]:
    """What a well-behaved peer sends: messages in fragments, pings, perhaps a Close at the end."""
    made: list[WireFrame] = []
    for _ in range(draw(st.integers(0, max_messages))):
        made += draw(st.lists(control_frames(), max_size=1))
        made += draw(fragments())
    if close and draw(st.booleans()):
        reason = draw(texts(30)).encode()  # 120 bytes at most
        made.append(WireFrame(OpCode.CLOSE, draw(close_codes()).to_bytes(2, "big") + reason))
    return made


@st.composite
def request_heads(draw: DrawFn) -> bytes:
    """Requests for a WebSocket that every server takes."""
    name = draw(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20))
    target = "/" + draw(st.text("abcXYZ019-._~%2F/?&=", max_size=30)).replace("%", "")
    key = draw(st.binary(min_size=16, max_size=16))
    lines = [
        f"Host: {name}.example",
        draw(st.sampled_from(["Upgrade: websocket", "upgrade: WebSocket", "UPGRADE:websocket"])),
        draw(st.sampled_from(["Connection: Upgrade", "connection: keep-alive, upgrade"])),
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {b64encode(key).decode('ascii')}",
    ]
    lines += draw(
        st.lists(
            st.sampled_from(
                [
                    "Cookie: a=b",
                    "User-Agent: test",
                    "Accept-Encoding: gzip",
                    "X-Empty:",
                ]
            ),
            max_size=3,
            unique=True,
        )
    )
    if draw(st.booleans()):
        lines.append("Sec-WebSocket-Protocol: chat, superchat")
    if draw(st.booleans()):
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    lines = draw(st.permutations(lines))
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("ascii")


@st.composite
def response_heads(draw: DrawFn, key: str) -> bytes:
    """Answers that accept the request with this ``Sec-WebSocket-Key``."""
    reason = draw(st.sampled_from(["Switching Protocols", "", "Web Socket Protocol Handshake"]))
    lines = [
        draw(st.sampled_from(["Upgrade: websocket", "upgrade: WebSocket"])),
        draw(st.sampled_from(["Connection: Upgrade", "connection: upgrade"])),
        f"Sec-WebSocket-Accept: {accept_key(key)}",
        *draw(st.lists(st.sampled_from(["Server: test", "Set-Cookie: a=b"]), max_size=2)),
    ]
    lines = draw(st.permutations(lines))
    return "\r\n".join([f"HTTP/1.1 101 {reason}", *lines, "", ""]).encode("ascii")


@st.composite
def hostile(
    draw: DrawFn,
    base: SearchStrategy[bytes] | Sequence[bytes] | None = None,
    *,
    masked: bool = False,
    tokens: Sequence[bytes] = (),
) -> bytes:
    """Valid bytes, changed in some places: what an attacker or a broken peer sends.

    ``base``: what to begin with; ``None``: the frames of ``streams``, ``masked`` or not. ``tokens``
    are pieces worth inserting.
    """
    if base is None:
        data = bytearray(encode_frames(draw(streams()), masked=masked))
    elif isinstance(base, SearchStrategy):
        data = bytearray(draw(base))
    else:
        data = bytearray(draw(st.sampled_from(list(base))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            data[at : at + 1] = bytes([draw(st.sampled_from(_BORDERS))])
        elif kind == 1:
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 2:
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == 3:
            del data[at : at + draw(st.integers(1, 30))]
        elif kind == 4 and tokens:
            data[at:at] = draw(st.sampled_from(list(tokens)))
        else:
            del data[at:]
    return bytes(data)


@st.composite
def cut_up(draw: DrawFn, data: bytes, *, most: int = 6) -> list[bytes]:
    """``data`` as reads: cut at up to ``most`` places, or byte by byte."""
    if draw(st.integers(0, 4)) == 0:
        return [data[place : place + 1] for place in range(len(data))]
    return draw(_parts(data, most + 1))


@st.composite
def _parts(draw: DrawFn, data: bytes, most: int) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=most - 1)))
    return [
        data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)
    ]
