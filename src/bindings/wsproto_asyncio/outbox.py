"""What the connections of one loop have to write at the end of its turn.

One call of the loop for all of them: a call for each would cost as much as its write.
Tests: ``tests/bindings/test_broadcast.py``.
"""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

__all__ = ["Outbox", "Writer", "outbox"]


class Writer(Protocol):
    """What has something to write."""

    def flush(self) -> None:
        """Write it."""


class Outbox:
    """Who of one loop is to flush when its turn ends."""

    turn: int
    """Counts the turns."""

    in_turn: bool
    """Whether the end of this one is awaited."""

    due: dict[Writer, None]
    """Who is to flush then, in order."""

    def __init__(self) -> None:
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
