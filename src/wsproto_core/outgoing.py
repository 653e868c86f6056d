# cython: annotation_typing=False
"""What goes out in a message: a payload that nobody can change, and ``PreparedMessage``.

It must not know connections: what is kept in a prepared message, and when it may be used again, is
``Connection.send_prepared``'s business.
Tests: ``tests/core/test_prepared.py``.
"""

from collections.abc import Hashable
from typing import TypeAlias

from .enums import DATA_OPCODES, OpCode
from .errors import LocalProtocolError

__all__ = ["Buffer", "PreparedMessage", "encode_text", "snapshot"]

Buffer: TypeAlias = bytes | bytearray | memoryview


class PreparedMessage:
    """One message for many connections: checked once, and encoded once for all that agree.

    Servers' connections with the same ``max_frame_size`` and the same parameters of
    permessage-deflate share one encoding, which is made when the first of them sends the message
    and kept as long as the message. It refers to no other message, so it costs some bytes more than
    one that is deflated for its connection alone, and the next message of that connection cannot
    refer back either. A client masks each message with a new key (RFC 6455 section 5.3), so it
    encodes it anew.

    May be sent any number of times, from any thread.
    """

    __slots__ = ("compress", "data", "encodings", "opcode")

    opcode: OpCode
    """``TEXT`` or ``BINARY``."""

    data: bytes
    """The payload; of a text in UTF-8."""

    compress: bool | None
    """Whether to compress it; ``None``: as the extension sees fit."""

    encodings: dict[Hashable, bytes]
    """For ``Connection``: its frames as they go out, by what they depend on."""

    def __init__(
        self,
        data: str | Buffer,
        opcode: OpCode | int = OpCode.TEXT,
        *,
        compress: bool | None = None,
    ) -> None:
        """Check and copy ``data``; nothing is encoded yet.

        Raises ``LocalProtocolError`` for another opcode and for text that is not UTF-8 (RFC 6455
        section 5.6), ``TypeError`` for data of a wrong kind.
        """
        if opcode not in DATA_OPCODES:
            raise LocalProtocolError(f"expected opcode TEXT or BINARY, got {opcode!r}")
        self.opcode = OpCode(opcode)
        self.compress = compress
        self.encodings = {}
        if not isinstance(data, str):
            self.data = snapshot(
                data, "PreparedMessage()", "str, bytes, bytearray or a memoryview of bytes"
            )
            if self.opcode is OpCode.TEXT:
                _check_utf8(self.data)
        elif self.opcode is OpCode.TEXT:
            self.data = encode_text(data)
        else:
            raise TypeError("expected bytes for a BINARY message, got str")

    def __repr__(self) -> str:
        return f"<PreparedMessage {self.opcode.name} of {len(self.data)} bytes>"


def encode_text(text: str) -> bytes:
    """``text`` in UTF-8; ``LocalProtocolError`` for what has none, a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(
            f"expected text that UTF-8 can encode, got {text[error.start]!a} at position "
            f"{error.start} (RFC 6455 5.6)"
        ) from None


def _check_utf8(data: bytes) -> None:
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise LocalProtocolError(
            f"expected text in UTF-8, got the byte {data[error.start]:02x} at position "
            f"{error.start} (RFC 6455 5.6)"
        ) from None


def snapshot(data: object, command: str, expected: str) -> bytes:
    """``data`` as bytes that nobody can change (RFC 6455 section 10.3); ``TypeError`` otherwise."""
    if type(data) is bytes:
        return data
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    kind = type(data).__name__
    if isinstance(data, memoryview):
        if data.itemsize == 1 and data.ndim == 1 and data.contiguous:
            return bytes(data)
        gaps = "" if data.contiguous else " and gaps"
        kind = f"a memoryview of format {data.format!r} with {data.ndim} dimensions{gaps}"
    raise TypeError(f"{command}: expected {expected}, got {kind}")
