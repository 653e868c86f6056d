# cython: annotation_typing=False
"""What the connections of one loop share.

Among it what they have to write at the end of its turn: a call of the loop for each would cost as
much as its write.
Tests: ``tests/bindings/test_broadcast.py``.
"""

import asyncio
import weakref
from typing import Protocol
from weakref import WeakKeyDictionary

from .watch import EpollWatch, LoopWatch, has_epoll

__all__ = ["Hub", "Writer", "hub"]

_BUFFER = 1 << 18
"""Bytes of one read in the middle of a large frame, which are copied to where they stay."""

_PART = 1 << 17
"""Bytes of any other read. What makes objects of what came wants to be given less at once."""


class Writer(Protocol):
    """What has something to write."""

    def flush(self) -> None:
        """Write it."""


class Hub:
    """Who of one loop is to flush when its turn ends, the buffer that all of it read into, and what
    watches their sockets and deadlines."""

    turn: int
    """Counts the turns."""

    in_turn: bool
    """Whether the end of this one is awaited."""

    due: dict[Writer, None]
    """Who is to flush then, in order."""

    buffer: memoryview
    """For one read of a socket, until what came is taken; many times as large as most."""

    part: memoryview
    """The first half of it."""

    def __init__(self) -> None:
        # The connections that it watches know the loop, which would so be kept for ever.
        self._watch: weakref.ref[EpollWatch | LoopWatch] | None = None
        self.buffer = memoryview(bytearray(_BUFFER))
        self.part = self.buffer[:_PART]
        self.turn = 0
        self.in_turn = False
        self.due = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> EpollWatch | LoopWatch:
        """What watches the sockets. Its connections hold it, and the loop while there is one."""
        watch = None if self._watch is None else self._watch()
        if watch is None:
            watch = EpollWatch(loop) if has_epoll else LoopWatch(loop)
            self._watch = weakref.ref(watch)
        return watch

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


_HUBS: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub(loop: asyncio.AbstractEventLoop) -> Hub:
    """The one of this loop."""
    found = _HUBS.get(loop)
    if found is None:
        found = _HUBS[loop] = Hub()
    return found
