# cython: annotation_typing=False
"""Which sockets of a loop are ready, and what is due.

A loop spends more on telling of a ready socket, or on keeping a timer, than the protocol does on a
small message. So the connections of one loop share one epoll and one timer of the system, and the
loop watches only these. Of many ready sockets all are read, then all is handled, then all is
written: what each step runs stays in the caches of the processor. While messages follow close upon
another, and nothing else is to be done, the next one is awaited right here. Where there is no
epoll, the loop does all of it.

Tests: ``tests/bindings/test_watch.py``, ``tests/bindings/test_contract.py``.
"""

import asyncio
import heapq
import select
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from wsproto_views.quick import Ready, Timer, has_timer, has_wait, is_only_ready, monotonic

__all__ = [
    "READ",
    "WRITE",
    "Alarm",
    "EpollWatch",
    "LoopWatch",
    "Watched",
    "has_epoll",
    "is_monotonic",
]

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT
_EDGE: Final = 1 << 31  # EPOLLET: what was told once is not looked at again
_HALF: Final = 1 << 13  # EPOLLRDHUP: the peer has ended its direction
_POLLS: Final = 4  # looks at what is ready in one turn of the loop, which costs as much as many
_MANY: Final = 8  # ready sockets; more are gone through step by step
_CHECK: Final = 8  # of them handled, before it is looked how long the first waits to be written
_LATE: Final = 0.0005  # seconds that it may
_DENSE: Final = 0.001  # seconds between two turns of the loop, for the next to be awaited here
_STAY: Final = 0.010  # seconds; asyncio calls a callback slow from 0.1 on
_FEW: Final = 4  # ready sockets; of many, it is better to let more come together
_DROPPED: Final = 64  # cancelled alarms that are kept at least

has_epoll = hasattr(select, "epoll")


def is_monotonic(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop's clock is ``time.monotonic()``, and not one of somebody's tests."""
    return type(loop).time is asyncio.BaseEventLoop.time or _is_uvloop(loop)


def _is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    return type(loop).__module__ == "uvloop"


def _epoll_of(loop: Any) -> int:
    """The descriptor of the loop's own epoll; -1 where it is not known what else is to be done."""
    if (
        has_wait
        and type(loop) is asyncio.SelectorEventLoop
        and all(hasattr(loop, name) for name in ("_ready", "_scheduled", "_stopping"))
    ):
        selector = getattr(loop, "_selector", None)
        if type(selector) is selectors.EpollSelector:
            return selector.fileno()
    return -1


class Watched:
    """Who has a socket watched; to be subclassed. (No ABC: a compiled class can be none.)

    It is told that the socket is ready for some of ``READ`` and ``WRITE``, or broken or ended: any
    other bit. It is not told again of what is left unread: see ``EpollWatch.again``.
    """

    wanted: int
    """What is watched for; kept by the watch."""

    def __init__(self) -> None:
        self.wanted = 0

    def on_ready(self, events: int) -> None:
        """Go on: all three steps."""
        self.take_in(events)
        self.handle()
        self.finish()

    def take_in(self, events: int) -> None:
        """Step 1: read, and keep what came if it is little. ``handle`` and ``finish`` follow, and
        others may be gone on with between."""
        raise NotImplementedError("a subclass's")

    def handle(self) -> None:
        """Step 2: handle what came."""
        raise NotImplementedError("a subclass's")

    def finish(self) -> None:
        """Step 3: write what is to be said."""
        raise NotImplementedError("a subclass's")


class Alarm:
    """What is due at a time."""

    call: Callable[[], None] | None
    """``None``: cancelled, or done."""

    watch: "EpollWatch | None"
    """Who has it among its alarms."""

    def __init__(self, watch: "EpollWatch", call: Callable[[], None]) -> None:
        self.watch = watch
        self.call = call

    def cancel(self) -> None:
        """Do not call."""
        if self.call is not None:
            self.call = None
            if self.watch is not None:
                self.watch.drop()

    def run(self) -> None:
        """Call, unless it was cancelled."""
        call, self.call = self.call, None
        if call is not None:
            call()


class EpollWatch:
    """The sockets of one loop in one epoll, and their deadlines in one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._epoll: Any = None
        self._fd = -1
        self._watched: dict[int, Watched] = {}
        self._ready = Ready()
        self._only: Watched | None = None  # the one socket there is, if it is only read from
        self._alarms: list[tuple[float, int, Alarm]] = []  # a heap
        self._serial = 0  # of alarms, in order
        self._dropped = 0  # cancelled ones of them
        self._keeps_time = has_timer and is_monotonic(loop)
        self._timer: Any = None
        self._rings_at = 0.0  # what it is set to
        self._held = 0  # by so many servers
        self._last = 0.0  # when the last turn ended
        self._outer = -1  # the loop's own epoll, where the next turn may be awaited here
        self._callbacks: Any = ()  # what it is to call next, there

    def hold(self) -> None:
        """Have the descriptors ready until ``release``: a server's connections may take all."""
        if self._epoll is None:
            self._open()
        if self._keeps_time and self._timer is None:
            self._open_timer()
        self._held += 1

    def release(self) -> None:
        """Close them when they are not used any more."""
        self._held -= 1
        if not self._watched:
            self._close()
        if not self._alarms:
            self._close_timer()

    # ------------------------------------------------------------------ sockets

    def _open(self) -> None:
        self._epoll = select.epoll()
        self._fd = self._epoll.fileno()
        self._loop.add_reader(self._fd, self._on_ready)
        self._outer = _epoll_of(self._loop)
        if self._outer >= 0:
            self._callbacks = self._loop._ready

    def _close(self) -> None:
        if not self._held and self._epoll is not None:
            self._loop.remove_reader(self._fd)
            self._epoll.close()
            self._epoll = None

    def want(self, fd: int, watched: Watched, events: int) -> None:
        """Watch for ``events`` from now on; 0: for nothing."""
        if self._epoll is None:
            self._open()
        epoll = self._epoll
        if not events:
            # Not a change to nothing: a broken socket would be told of again and again.
            self._forget(fd)
        elif watched.wanted:
            epoll.modify(fd, events | _HALF | _EDGE)
        else:
            epoll.register(fd, events | _HALF | _EDGE)
            self._watched[fd] = watched
        watched.wanted = events
        self._only = None
        if len(self._watched) == 1:
            (one,) = self._watched.values()
            if one.wanted == READ:
                self._only = one

    def _forget(self, fd: int) -> None:
        with suppress(OSError):  # somebody else has closed it
            self._epoll.unregister(fd)
        del self._watched[fd]
        if not self._watched:
            self._close()

    def again(self, fd: int, watched: Watched) -> None:
        """Tell again of what the socket is ready for already."""
        self._epoll.modify(fd, watched.wanted | _HALF | _EDGE)

    def _on_ready(self) -> None:
        """Called by the loop."""
        now = monotonic()
        dense = now - self._last < _DENSE
        few = self._look() <= _FEW
        if dense and few and self._outer >= 0 and self._epoll is not None:
            self._stay()
        self._last = monotonic()

    def _look(self) -> int:
        """Tell who is ready; returns how many were."""
        if self._only is not None:
            self._only.on_ready(READ)  # it needs no asking
            return 1
        count = 0
        for _ in range(_POLLS):
            ready = self._ready.ask(self._epoll, self._fd)
            try:
                self._tell(ready)
            except BaseException:  # KeyboardInterrupt, or a hook's SystemExit
                for at in range(ready):
                    fd = self._ready.fd(at)
                    found = self._watched.get(fd)
                    if found is not None:
                        self.again(fd, found)
                        self._loop.call_soon(found.on_ready, self._ready.events(at))
                raise
            count += ready
            if ready < 2 or self._epoll is None:
                break  # as a rule nothing has come meanwhile
        return count

    def _tell(self, ready: int) -> None:
        told: list[Watched] = []
        for at in range(ready):
            found = self._watched.get(self._ready.fd(at))
            if found is None:
                continue  # one before it let go of it
            if ready <= _MANY:
                found.on_ready(self._ready.events(at))
            else:
                found.take_in(self._ready.events(at))
                told.append(found)
        since = monotonic() if told else 0.0
        waits = 0
        for at in range(len(told)):
            found = told[at]
            found.handle()
            if at % _CHECK == 0 and monotonic() - since > _LATE:
                waits = self._finish(told, waits, at + 1)
                since = monotonic()
        self._finish(told, waits, len(told))

    def _finish(self, told: list[Watched], start: int, end: int) -> int:
        for at in range(start, end):
            found = told[at]
            found.finish()
        return end

    def _stay(self) -> None:
        """Await what comes next as the loop would, as long as nothing else is to be done.

        What the loop does between two callbacks takes longer than a small message.
        """
        loop = self._loop
        if loop.get_debug():
            return  # it tells of callbacks that take long
        until = monotonic() + _STAY
        self._ring_at(until)  # which is for the loop
        while not (self._callbacks or loop._stopping or self._epoll is None):
            scheduled = loop._scheduled
            if scheduled and scheduled[0]._when < until:
                return
            if not is_only_ready(self._outer, self._fd) or self._look() > _FEW:
                return

    # ------------------------------------------------------------------ time

    def call_at(self, at: float, call: Callable[[], None]) -> Alarm | asyncio.Handle:
        """Call it at ``at``, in seconds of the loop's clock."""
        if not self._keeps_time:
            handle: asyncio.Handle = self._loop.call_at(at, call)
            return handle
        alarm = Alarm(self, call)
        self._serial += 1
        heapq.heappush(self._alarms, (at, self._serial, alarm))
        if self._alarms[0][2] is alarm:
            self._ring_at(at)
        return alarm

    def drop(self) -> None:
        """An alarm was cancelled."""
        self._dropped += 1
        if self._dropped == len(self._alarms):
            self._alarms.clear()
            self._dropped = 0
            self._close_timer()
        elif self._dropped > _DROPPED and 2 * self._dropped > len(self._alarms):
            self._alarms = [entry for entry in self._alarms if entry[2].call is not None]
            heapq.heapify(self._alarms)
            self._dropped = 0

    def _ring_at(self, at: float) -> None:
        """Have the timer ring at ``at``, or before."""
        if self._timer is None:
            self._open_timer()
        elif at >= self._rings_at > 0.0:
            return
        self._rings_at = at
        self._timer.set(at)

    def _on_ring(self) -> None:
        self._rings_at = 0.0
        self._timer.set(0.0)
        now = monotonic()
        alarms = self._alarms
        while alarms and (alarms[0][0] <= now or alarms[0][2].call is None):
            alarm = heapq.heappop(alarms)[2]
            alarm.watch = None
            if alarm.call is None:
                self._dropped -= 1
            else:
                self._loop.call_soon(alarm.run)
        if alarms:
            self._ring_at(alarms[0][0])
        else:
            self._close_timer()

    def _open_timer(self) -> None:
        self._timer = Timer()
        self._loop.add_reader(self._timer.fd, self._on_ring)

    def _close_timer(self) -> None:
        if not self._held and self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None
            self._rings_at = 0.0


class LoopWatch:
    """``EpollWatch``, where the loop watches each socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def hold(self) -> None:
        """There is nothing to have ready."""

    def release(self) -> None:
        """The end of ``hold``."""

    def want(self, fd: int, watched: Watched, events: int) -> None:
        """Watch for ``events`` from now on; 0: for nothing."""
        changed = watched.wanted ^ events
        watched.wanted = events
        if changed & READ:
            if events & READ:
                self._loop.add_reader(fd, watched.on_ready, READ)
            else:
                self._loop.remove_reader(fd)
        if changed & WRITE:
            if events & WRITE:
                self._loop.add_writer(fd, watched.on_ready, WRITE)
            else:
                self._loop.remove_writer(fd)

    def again(self, fd: int, watched: Watched) -> None:
        """The loop tells again anyway."""

    def call_at(self, at: float, call: Callable[[], None]) -> asyncio.Handle:
        """Call it at ``at``, in seconds of the loop's clock."""
        return self._loop.call_at(at, call)
