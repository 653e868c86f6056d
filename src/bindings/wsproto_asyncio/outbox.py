"""What the connections of one loop have to write at the end of its turn.

One call of the loop for all of them: a call for each would cost as much as its write.
Tests: ``tests/bindings/test_broadcast.py``.
"""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

__all__ = ["Outbox", "Writer", "outbox"]


_BUFFER = 1 << 17  # bytes


class Writer(Protocol):
    """What has something to write."""

    def flush(self) -> None:
        """Write it."""


class Outbox:
    """Who of one loop is to flush when its turn ends; and the buffer that all of it read into."""

    turn: int
    """Counts the turns."""

    in_turn: bool
    """Whether the end of this one is awaited."""

    due: dict[Writer, None]
    """Who is to flush then, in order."""

    buffer: memoryview
    """For one read of a socket, until what came is taken; many times as large as most."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_BUFFER))
        self.turn = 0
        self.in_turn = False
        self.due = {}

    def begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Await the end of this turn of the loop."""
        self.turn += 1
        self.in_turn = True
        loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self.in_turn = False
        due, self.due = self.due, {}
        for writer in due:
            writer.flush()


_OUTBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The one of this loop."""
    found = _OUTBOXES.get(loop)
    if found is None:
        found = _OUTBOXES[loop] = Outbox()
    return found
