"""What the decoder gives, as tests want to read it: ``(opcode, payload, flags)`` for each piece."""

from typing import Any

from wsproto_core.framing import CONTINUED, FIN, FrameDecoder

__all__ = ["BOTH", "FIRST", "LAST", "decode", "head_of"]

FIRST = 0x01
LAST = 0x02
BOTH = FIRST | LAST


def decode(decoder: FrameDecoder, budget: int) -> list[tuple[int, bytes, int]]:
    """The next pieces. ``flags``: ``FIRST``, ``LAST`` and the reserved bits."""
    flat: list[Any] = decoder.decode(budget)
    assert len(flat) % 2 == 0
    pieces = []
    for head, payload in zip(flat[::2], flat[1::2], strict=True):
        assert type(head) is int
        assert type(payload) is bytes
        assert not head & ~(0x7F | FIN | CONTINUED)
        flags = head & 0x70 | (0 if head & CONTINUED else FIRST) | (LAST if head & FIN else 0)
        pieces.append((head & 0x0F, payload, flags))
    return pieces


def head_of(opcode: int, flags: int) -> int:
    """The head of such a piece."""
    head = opcode | flags & 0x70
    return head | (0 if flags & FIRST else CONTINUED) | (FIN if flags & LAST else 0)
