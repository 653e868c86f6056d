"""``Frame``: one frame, or one whole message shown as a frame.

This is the value that users see in ``on_new_frame``, ``on_close``, ``read_frame`` and
``send_frame``. The decoder and the encoder (``framing.py``, ``octets.py``) work on bytes and
integers and do not know it. Tests: ``tests/core/test_frames.py``.
"""

from dataclasses import dataclass

from .enums import CloseCode, OpCode

__all__ = ["Frame"]

_SHOWN = 60  # bytes of payload in a repr: enough to recognise it, too little to flood a log


@dataclass(frozen=True, slots=True)
class Frame:
    """A WebSocket frame with its payload unmasked (RFC 6455 section 5.2)."""

    opcode: OpCode
    """What it carries."""

    fin: bool = True
    """Whether it ends its message."""

    payload: bytes = b""
    """The payload; decoded by the extensions where it was received as a message."""

    rsv1: bool = False
    """The first reserved bit; false in a frame given to a hook, for extensions used it up."""

    rsv2: bool = False
    """The second reserved bit."""

    rsv3: bool = False
    """The third reserved bit."""

    @property
    def text(self) -> str:
        """The payload as text. Raises ``UnicodeDecodeError`` if it is not UTF-8."""
        return self.payload.decode()

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame: 1005 if it has none, ``None`` for any other frame."""
        if self.opcode is not OpCode.CLOSE:
            return None
        if len(self.payload) < 2:
            return int(CloseCode.NO_STATUS_RECEIVED)
        return int.from_bytes(self.payload[:2])

    @property
    def close_reason(self) -> str | None:
        """The reason of a Close frame, ``None`` for any other frame."""
        if self.opcode is not OpCode.CLOSE:
            return None
        return self.payload[2:].decode(errors="replace")

    def __str__(self) -> str:
        """A bounded, printable line for logs: opcode, length, the first bytes, flags."""
        shown = repr(self.payload[:_SHOWN])
        if len(self.payload) > _SHOWN:
            shown += "..."
        flags = [
            name
            for name, on in (
                ("fin", self.fin),
                ("rsv1", self.rsv1),
                ("rsv2", self.rsv2),
                ("rsv3", self.rsv3),
            )
            if on
        ]
        return f"{self.opcode.name} [{len(self.payload)} bytes: {shown}] {' '.join(flags)}".rstrip()
