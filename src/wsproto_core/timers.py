# cython: annotation_typing=False
"""A table of named deadlines.

It stores times and finds the next one; what happens then is decided in ``connection.py`` and
``session.py``. Tests: ``tests/core/test_timers.py``.
"""

import math
from enum import IntEnum, unique

__all__ = ["Timer", "Timers"]


@unique
class Timer(IntEnum):
    """What is waited for. The value is the place in the table."""

    OPEN = 0
    """The opening handshake, from the start to the 101."""

    PING = 1
    """The next ping of the heartbeat."""

    PONG = 2
    """A sign of life after a ping."""

    RECEIVE = 3
    """Any byte from the peer, and the end of a frame that has begun."""

    SEND = 4
    """The peer taking at least one of the bytes that wait for it."""

    HOOKS = 5
    """The application handling what came before an ending that waits for it."""

    CLOSE = 6
    """The peer's Close and its end of stream."""


class Timers:
    """The deadlines of one connection, in seconds of the caller's clock."""

    __slots__ = ("_at", "next")

    next: float
    """The earliest deadline; ``math.inf`` if none is set."""

    def __init__(self) -> None:
        # One for each timer; a literal, as the compiled build has them in an array of C.
        self._at = [math.inf, math.inf, math.inf, math.inf, math.inf, math.inf, math.inf]
        self.next = math.inf

    def start(self, timer: Timer, at: float) -> None:
        """Set ``timer`` to fire at ``at``, whatever it was before."""
        self._at[timer] = at
        self._find_next()

    def stop(self, *timers: Timer) -> None:
        """Clear the given timers; those not set are left alone."""
        for timer in timers:
            self._at[timer] = math.inf
        self._find_next()

    def _find_next(self) -> None:
        first = math.inf
        for at in self._at:
            if at < first:
                first = at
        self.next = first

    def stop_all(self) -> None:
        """Clear the whole table."""
        self.stop(*Timer)

    def is_set(self, timer: Timer) -> bool:
        """Whether ``timer`` waits to fire."""
        return self._at[timer] != math.inf

    def pop(self) -> Timer:
        """The timer that fires first, cleared. One must be set."""
        timer = next(timer for timer in Timer if self._at[timer] == self.next)
        self.stop(timer)
        return timer
