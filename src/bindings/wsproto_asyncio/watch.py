# cython: annotation_typing=False
"""Which sockets of a loop are ready.

A loop spends more on telling of a ready socket than the protocol does on a small message, and keeps
a handle, a context and a key for each. So the connections of one loop share one epoll, and the loop
watches only that. Where there is no epoll, the loop watches each socket itself.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import select
from contextlib import suppress
from typing import Any, Final, Protocol

__all__ = ["READ", "WRITE", "EpollWatch", "LoopWatch", "Watched", "has_epoll"]

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT
_POLLS: Final = 4  # looks at what is ready in one turn of the loop, which costs as much as many
_BATCH: Final = 256  # sockets that are told at once; the rest comes in the next turn of the loop

has_epoll = hasattr(select, "epoll")


class Watched(Protocol):
    """Who has a socket watched."""

    loop: asyncio.AbstractEventLoop

    wanted: int
    """What is watched for; kept by the watch."""

    def on_ready(self, events: int) -> None:
        """Go on. The socket is ready for some of ``READ`` and ``WRITE``, or broken: any other
        bit."""


class EpollWatch:
    """The sockets of one loop in one epoll."""

    def __init__(self) -> None:
        self._epoll: Any = None
        self._watched: dict[int, Watched] = {}
        self._only: Watched | None = None  # the one socket there is, if it is only read from

    def want(self, fd: int, watched: Watched, events: int) -> None:
        """Watch for ``events`` from now on; 0: for nothing."""
        epoll = self._epoll
        if epoll is None:
            epoll = self._epoll = select.epoll()
            watched.loop.add_reader(epoll.fileno(), self._on_ready)
        if not events:
            # Not a change to nothing: a broken socket would be told of again and again.
            with suppress(OSError):  # somebody else has closed it
                epoll.unregister(fd)
            del self._watched[fd]
        elif watched.wanted:
            epoll.modify(fd, events)
        else:
            epoll.register(fd, events)
            self._watched[fd] = watched
        watched.wanted = events
        self._only = None
        if len(self._watched) == 1:
            (one,) = self._watched.values()
            if one.wanted == READ:
                self._only = one
        elif not self._watched:
            watched.loop.remove_reader(epoll.fileno())
            epoll.close()
            self._epoll = None

    def _on_ready(self) -> None:
        if self._only is not None:
            self._only.on_ready(READ)  # it needs no asking
            return
        for _ in range(_POLLS):
            ready = self._epoll.poll(0, _BATCH)
            for fd, events in ready:
                found = self._watched.get(fd)
                if found is not None:  # else one before it let go of it
                    found.on_ready(events)
            if len(ready) < 2 or self._epoll is None:
                break  # as a rule nothing has come meanwhile


class LoopWatch:
    """The same, where the loop watches each socket."""

    def want(self, fd: int, watched: Watched, events: int) -> None:
        """Watch for ``events`` from now on; 0: for nothing."""
        loop, changed = watched.loop, watched.wanted ^ events
        watched.wanted = events
        if changed & READ:
            if events & READ:
                loop.add_reader(fd, watched.on_ready, READ)
            else:
                loop.remove_reader(fd)
        if changed & WRITE:
            if events & WRITE:
                loop.add_writer(fd, watched.on_ready, WRITE)
            else:
                loop.remove_writer(fd)
