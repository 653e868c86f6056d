"""Frames as bytes, proper or not: an encoder that forbids nothing, and a reader for what came back.

Written from RFC 6455 section 5.2, apart from the code under test, so that tests can judge by it.
Tests: ``tests/core/test_testing.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..enums import OpCode

__all__ = [
    "KEY",
    "WireFrame",
    "binary",
    "close",
    "continuation",
    "encode_frames",
    "parse_frames",
    "ping",
    "pong",
    "text",
]

KEY: Final = bytes.fromhex("37fa213d")
"""The masking key of the RFC's examples."""


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One frame; nothing is checked, for tests need improper ones as well."""

    opcode: int
    """0 to 15."""

    payload: bytes = b""
    """The payload, not masked."""

    fin: bool = True
    """The FIN bit."""

    rsv: int = 0
    """The reserved bits: a mask within 0x70."""

    form: int = 0
    """0: the shortest form of the length; 2 or 8: at least a length of that many bytes."""

    def encode(self, key: bytes = b"") -> bytes:
        """The bytes; masked with ``key`` (four bytes) if it is given."""
        size = len(self.payload)
        bit = 0x80 if key else 0
        first = (0x80 if self.fin else 0) | self.rsv | self.opcode
        if self.form == 8 or size > 0xFFFF:
            head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
        elif self.form == 2 or size > 125:
            head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, bit | size))
        return head + key + (_mask(self.payload, key) if key else self.payload)


def text(data: str | bytes, *, fin: bool = True) -> WireFrame:
    """A text frame; bytes need not be UTF-8."""
    return WireFrame(OpCode.TEXT, data.encode() if isinstance(data, str) else data, fin)


def binary(data: bytes, *, fin: bool = True) -> WireFrame:
    """A binary frame."""
    return WireFrame(OpCode.BINARY, data, fin)


def continuation(data: str | bytes, *, fin: bool = True) -> WireFrame:
    """A further part of a message, the last unless ``fin`` is false."""
    return WireFrame(OpCode.CONTINUATION, data.encode() if isinstance(data, str) else data, fin)


def ping(payload: bytes = b"") -> WireFrame:
    """A ping."""
    return WireFrame(OpCode.PING, payload)


def pong(payload: bytes = b"") -> WireFrame:
    """A pong."""
    return WireFrame(OpCode.PONG, payload)


def close(code: int | None = 1000, reason: str | bytes = b"") -> WireFrame:
    """A Close, proper or not; ``None``: without a body."""
    if code is None:
        return WireFrame(OpCode.CLOSE)
    body = reason.encode() if isinstance(reason, str) else reason
    return WireFrame(OpCode.CLOSE, code.to_bytes(2, "big") + body)


def encode_frames(frames: Iterable[WireFrame], *, masked: bool) -> bytes:
    """Frames as a stream: masked (with ``KEY``) as from a client, or plain as from a server."""
    key = KEY if masked else b""
    return b"".join(frame.encode(key) for frame in frames)


def parse_frames(data: bytes, *, masked: bool) -> tuple[list[WireFrame], bytes]:
    """Read what an endpoint wrote: the whole frames, and the rest.

    Raises ``AssertionError`` if a frame is not masked as it should be or its length is not in the
    shortest form: that is never right.
    """
    frames: list[WireFrame] = []
    while len(data) >= 2:
        first, second = data[0], data[1]
        if bool(second & 0x80) is not masked:
            raise AssertionError(f"the MASK bit is wrong in {data[:14].hex(' ')}")
        size, at = second & 0x7F, 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(data) < at:
                break
            size = int.from_bytes(data[2:at], "big")
            if size < (126 if at == 4 else 0x10000):
                raise AssertionError(f"not the shortest form: {data[:at].hex(' ')}")
        key = data[at : at + 4] if masked else b""
        at += 4 if masked else 0
        if len(data) < at + size:
            break
        payload = data[at : at + size]
        frames.append(
            WireFrame(
                first & 0x0F,
                _mask(payload, key) if masked else payload,
                first >= 0x80,
                first & 0x70,
            )
        )
        data = data[at + size :]
    return frames, data


def _mask(payload: bytes, key: bytes) -> bytes:
    """Octet i XORed with octet i mod 4 of the key (section 5.3)."""
    return bytes(byte ^ key[place & 3] for place, byte in enumerate(payload))
