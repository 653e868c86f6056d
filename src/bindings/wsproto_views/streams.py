"""``StreamDriver``: runs a session over a stream, on any runtime that has nurseries.

It performs and decides nothing: it reports bytes, time and outcomes to the session, then reads its
levels. What a runtime is, ``Runtime`` says in a few names; what a stream is, ``wires.Wire``.

**Leader and followers.** One task of a connection leads: it reads, and runs the hooks that its
bytes cause, so a hook that does not wait costs no wake-up of another task. At the first step at
which a hook really waits, leadership passes to a task that stands by, or to a new one, and that one
reads on; when the hook is done, its task stands by. An idle connection has one task.

Rules to keep. Time must not wait for a write: deadlines are watched by a task that does nothing
else, one for a whole server. Bytes belong to the session until they are given to the stream, so a
cancelled ``send`` never tears a frame. The reader goes on while a hook waits, or ``close()`` and
``ping()`` inside a hook would wait for ever. A task of a connection is shielded from cancellations
from outside: whoever owns the nursery closes the connection, and then they end by themselves.

Tests: ``tests/bindings/test_contract.py``, ``test_trio.py``, ``test_anyio.py``.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from threading import get_ident
from types import TracebackType, coroutine
from typing import Any, Protocol, Self

from wsproto_core import Session, Transport

from .buffers import join_small
from .dispatch import dispatch
from .wires import Wire

__all__ = ["CancelScope", "Event", "Nest", "Nursery", "OwnNest", "Runtime", "StreamDriver"]


# ------------------------------------------------------------------------------------ the runtime


class Event(Protocol):
    """Set once, waited for by any number of tasks."""

    def set(self) -> Any:
        """Wake all of them."""

    async def wait(self) -> Any:
        """Wait until it is set."""


class CancelScope(Protocol):
    """As trio has it, and anyio too."""

    deadline: float

    def cancel(self) -> Any:
        """Cancel what runs in it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool: ...


class Nursery(Protocol):
    """As trio has it; anyio calls it a task group."""

    @property
    def cancel_scope(self) -> CancelScope:
        """The scope of all its tasks."""

    start_soon: Any
    """``(function, *arguments, name=...)``: start a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a runtime is to the drivers. Made where it runs, by the binding."""

    nursery_name: str
    """How its users call a nursery, for the texts of errors."""

    cancelled: type[BaseException]
    """What a cancellation raises."""

    broken: tuple[type[Exception], ...]
    """What is raised of a stream or socket: ``OSError``, and what those are told who wait for one
    that another task closes."""

    now: Callable[[], float]
    """Seconds of its monotonic clock."""

    event: Callable[[], Event]
    """Make an event."""

    scope: Callable[..., CancelScope]
    """``(*, deadline=inf, shield=False)``: make a cancel scope."""

    open_nursery: Callable[[], AbstractAsyncContextManager[Any]]
    """Make a nursery."""

    checkpoint: Callable[[], Awaitable[Any]]
    """Let others run."""

    sleep: Callable[[float], Awaitable[Any]]
    """Wait so many seconds."""

    wait_readable: Callable[[Any], Awaitable[Any]]
    """Wait until a socket has bytes to read, or its end."""

    wait_writable: Callable[[Any], Awaitable[Any]]
    """Wait until a socket takes bytes."""

    notify_closing: Callable[[Any], Any]
    """Wake those who wait for a socket with one of ``broken``: it is closed next."""

    resolve: Callable[..., Awaitable[Any]]
    """``(host, port, *, type, flags)``: addresses as ``socket.getaddrinfo`` gives them."""

    post: Callable[[Callable[[], Any]], Any]
    """Run a plain function in the runtime's thread, from any thread, between tasks. Raises
    ``RuntimeError`` if the runtime has ended."""

    here: Callable[[], object]
    """Which thread this is. (No connection outlives the loop that it was made in.)"""

    socks: str
    """What python-socks calls it: ``asyncio`` or ``trio``."""


class Nest:
    """Where the tasks of a server's or client's connections live: its nursery and its clock.

    One task watches all deadlines; ``start`` starts it and ``stop`` ends it.
    """

    def __init__(self, runtime: Runtime, nursery: Nursery) -> None:
        self.runtime = runtime
        self.nursery = nursery
        self._heap: list[tuple[float, int, list[StreamDriver]]] = []
        self._numbers = count()
        self._scope: CancelScope | None = None
        self._stopped = False
        self._posted: deque[Callable[[], None]] = deque()
        self._kick = runtime.event()
        self._tasks = 0
        self._empty: list[Event] = []

    def start(self) -> None:
        """Begin to watch the time."""
        self.nursery.start_soon(self._watch)

    def stop(self) -> None:
        """Watch no more."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task that counts as one of a connection's."""
        self._tasks += 1
        self.nursery.start_soon(self._run, function, *args, name=function)

    async def _run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            await function(*args)
        finally:
            self._tasks -= 1
            if not self._tasks:
                while self._empty:
                    self._empty.pop().set()

    async def emptied(self) -> None:
        """Wait until no connection has a task any more."""
        while self._tasks:
            event = self.runtime.event()
            self._empty.append(event)
            await event.wait()

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action`` in a task here, from any thread; never, if all is over by then."""
        self._posted.append(action)
        with suppress(RuntimeError):
            self.runtime.post(self._set_kick)

    def _set_kick(self) -> None:
        self._kick.set()

    def wake_at(self, at: float, cell: "list[StreamDriver]") -> None:
        """Call ``on_time`` of the driver in ``cell`` at ``at``; an emptied cell is passed over."""
        heappush(self._heap, (at, next(self._numbers), cell))
        scope = self._scope
        if scope is not None and at < scope.deadline:
            scope.deadline = at

    async def _watch(self) -> None:
        runtime, heap, posted = self.runtime, self._heap, self._posted
        # Time goes on while a cancelled server closes.
        with runtime.scope(shield=True):
            while not self._stopped:
                self._kick = runtime.event()
                with runtime.scope(deadline=heap[0][0] if heap else math.inf) as self._scope:
                    if not posted:
                        await self._kick.wait()
                self._scope = None
                while posted:
                    posted.popleft()()
                now = runtime.now()
                while heap and heap[0][0] <= now:
                    at, _, cell = heappop(heap)
                    if cell:
                        cell[0].on_time(at)


class OwnNest:
    """A nest in a nursery of its own, as a block. It ends when its connections' tasks have."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._manager = runtime.open_nursery()

    async def __aenter__(self) -> Nest:
        self._nest = Nest(self._runtime, await self._manager.__aenter__())
        self._nest.start()
        return self._nest

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        with self._runtime.scope(shield=True):
            await self._nest.emptied()
        self._nest.stop()
        try:
            return bool(await self._manager.__aexit__(kind, error, traceback))
        except BaseExceptionGroup as group:
            # The nursery is nobody's business: what was raised in the block goes on as it was
            # raised, and not in a group, unless a task of ours failed too. (Where the block raised
            # a group, the nursery has made a new one of what was in it.)
            if error is not None and _leaves(group) == _leaves(error):
                return False
            raise


def _leaves(error: BaseException) -> list[int]:
    """Which exceptions ``error`` stands for, groups opened."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [id(error)]


# ------------------------------------------------------------------------------------ the driver

_DIRECT = 16  # turns that callers make themselves, before they are joined


class _Worker:
    """One task of a connection; what ``dispatch`` knows of it."""

    __slots__ = (
        "cancelled",
        "checkpoint",
        "driver",
        "flush",
        "now",
        "publish",
        "scope",
        "waits",
        "wake",
    )

    def __init__(self, driver: "StreamDriver") -> None:
        self.driver = driver
        self.now = driver.now
        self.publish = driver.publish
        self.flush = driver.flush
        self.checkpoint = driver.runtime.checkpoint
        self.cancelled = False
        self.scope = driver.runtime.scope(shield=True)
        self.waits = False  # a hook of it was suspended
        self.wake: Event | None = None  # it stands by

    def cancel(self) -> None:
        self.cancelled = True
        self.scope.cancel()


class StreamDriver:
    """Runs one session over one stream."""

    __slots__ = (
        "_broken",
        "_busy",
        "_called",
        "_cell",
        "_direct",
        "_gone",
        "_here",
        "_home",
        "_leader",
        "_on_gone",
        "_pending",
        "_reads",
        "_room",
        "_shut",
        "_standby",
        "_timer_at",
        "_told_gone",
        "_waiters",
        "_wire",
        "_writer",
        "nest",
        "now",
        "peer",
        "runtime",
        "server",
        "session",
        "sock",
    )

    def __init__(
        self,
        nest: Nest,
        wire: Wire,
        begin: "Callable[[StreamDriver], Session]",
        *,
        server: Any = None,
        peer: Any = None,
        on_gone: "Callable[[StreamDriver], None] | None" = None,
    ) -> None:
        """``begin`` makes the session; ``on_gone`` is told when all is over: the session finished
        and the stream closed. ``work`` is to be run next, in a task of ``nest``."""
        self.nest = nest
        self.runtime = runtime = nest.runtime
        self.now = runtime.now
        self._here = runtime.here
        self._home = runtime.here()
        self.server = server
        self.peer = peer
        self.sock = wire.sock
        self._wire = wire
        self._on_gone = on_gone
        self._leader: _Worker | None = None
        self._standby: _Worker | None = None
        self._busy: list[_Worker] = []  # those whose hook waits
        self._called = False  # a worker is on its way
        self._direct = 0  # turns that callers made since a task of ours ran
        self._reads = True  # the peer's direction has not ended
        self._room: Event | None = None  # the leader waits to be let read on
        self._pending: list[Any] = []  # buffers that the stream did not take yet
        self._writer: CancelScope | None = None  # of the task that waits for the stream to take it
        self._shut = False  # our direction has ended
        self._broken: Exception | None = None  # why, if the peer takes nothing
        self._gone = False  # the stream is closed
        self._told_gone = False
        self._waiters: list[tuple[Callable[[], bool], Event]] = []
        self._cell: list[StreamDriver] = [self]
        self._timer_at = math.inf
        self.session = begin(self)

    # ------------------------------------------------------------------ for views and servers

    def is_here(self) -> bool:
        """Whether the caller is in the loop and thread of the connection."""
        return self._here() == self._home

    def publish(self) -> None:
        """Carry out what the session wants: as a rule at once or, in a hook that has not waited
        yet, when the calls of this read are through."""
        if self.session.attended or self._told_gone:
            return
        self._direct += 1
        if self._direct <= _DIRECT:
            self._turn()
        elif not self._called:
            # Who says much in one go without letting others run has it written in one go, too.
            self._call_worker()

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action`` in the connection's loop, from any thread."""
        self.nest.post(action)

    def flush_soon(self) -> None:
        """Write what is queued, where nothing else is new."""
        if not self.session.attended:
            self.flush()

    def flush(self) -> None:
        """Write now what the stream takes without waiting."""
        self._write()
        if self._pending:
            self._arm()  # from here on there is a deadline

    async def settle(self, predicate: Callable[[], bool]) -> None:
        """Publish, then wait until ``predicate`` holds."""
        if predicate():
            self.publish()
            return
        self.publish()
        self._write()  # it may have waited for no more than this
        if predicate():
            # Who sends in a loop must not keep others from running.
            await self.runtime.checkpoint()
            return
        event = self.runtime.event()
        entry = (predicate, event)
        self._waiters.append(entry)
        try:
            await event.wait()
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    def is_released(self) -> bool:
        """Whether every hook has ended and the stream is closed."""
        return self._gone and self.session.is_finished()

    def abort(self) -> None:
        """Give up at once."""
        self.session.abort(self.now())
        self.publish()

    # ------------------------------------------------------------------ tasks

    async def work(self) -> None:
        """Lead, follow or stand by, as long as there is something to do. A task of the nest."""
        self._called = False
        worker = _Worker(self)
        try:
            with worker.scope:
                await self._live(worker)
        except GeneratorExit:
            raise  # the loop is gone, nothing can be started
        except self.runtime.cancelled:
            pass  # not by our scope: a hook has cancelled its task in asyncio's own way
        except BaseException:
            self._leave(worker)
            raise
        self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        if self._leader is worker:
            self._leader = None
        if self._standby is worker:
            self._standby = None
        self._turn()

    async def _live(self, worker: _Worker) -> None:
        session, wire = self.session, self._wire
        while not worker.cancelled:
            self._direct = 0
            if self._leader is None and self._reads:
                self._leader = worker
            if session.has_call():
                await self._run_calls(worker)
                continue
            self._perform()
            if not self._reads:
                if session.has_call():
                    continue  # on_close, for the stream was closed just now
                return
            if self._leader is not worker:
                if self._standby is not None:
                    return
                self._standby = worker
                worker.wake = self.runtime.event()
                await worker.wake.wait()
                self._called = False
            elif not session.wants_read:
                self._room = self.runtime.event()
                await self._room.wait()
                self._room = None
            else:
                try:
                    data = await wire.receive()
                except self.runtime.broken as error:
                    if not self._gone:
                        self._close(error)
                    continue
                if data:
                    session.received(data, self.now())
                elif not self._gone:
                    self._reads = False
                    session.eof(self.now())
                del data  # or it lives on until something else has come

    async def _run_calls(self, worker: _Worker) -> None:
        worker.waits = False
        self.session.attended = get_ident()
        try:
            await _watched(dispatch(self.session, worker), worker)
        finally:
            if worker.waits:
                self._busy.remove(worker)
            else:
                self.session.attended = 0

    def hand_over(self, worker: _Worker) -> None:
        """A hook of ``worker`` waits: what was said goes out, and another task reads on."""
        worker.waits = True
        self._busy.append(worker)
        self.session.attended = 0
        if self._leader is worker:
            self._leader = None
        self._turn()

    def _call_worker(self) -> None:
        self._called = True
        worker, self._standby = self._standby, None
        if worker is not None:
            assert worker.wake is not None
            worker.wake.set()
        else:
            self.nest.spawn(self.work)

    # ------------------------------------------------------------------ one turn

    def _turn(self) -> None:
        """Carry out all that the session wants now; its calls and its bytes need a task."""
        self._perform()
        if not (self._called or self.session.attended) and (
            (self._reads and self._leader is None) or self.session.has_call()
        ):
            self._call_worker()

    def _perform(self) -> None:
        """Carry out all that the session wants now and that needs no task."""
        session = self.session
        if session.take_cancel():
            self._cancel_calls()
        self._write()
        wanted = session.transport
        if wanted is not Transport.OPEN and not self._gone:
            self._end_stream(wanted)
        if self._broken is not None and not session.wants_read and not self._gone:
            self._close(self._broken)  # or a hook that only sends would never hear of it
        if self._room is not None and (session.wants_read or not self._reads):
            self._room.set()
        if self._waiters:
            self._wake()
        self._arm()
        if self._gone:
            self._see_end()

    def _see_end(self) -> None:
        if self._standby is not None:
            self._call_worker()  # to its end
        if not self._told_gone and self.session.is_finished():
            self._told_gone = True
            if self._on_gone is not None:
                self._on_gone(self)
            if self._busy:
                # A run() of the user's own may outlive the connection, but not for ever.
                patience = self.session.connection.config.close_timeout
                if patience is not None:
                    self._timer_at = self.now() + patience
                    self.nest.wake_at(self._timer_at, self._cell)
        if self._told_gone and not self._busy:
            self._cell.clear()

    def _cancel_calls(self) -> None:
        for worker in self._busy:
            worker.cancel()

    def _wake(self) -> None:
        for entry in list(self._waiters):
            predicate, event = entry
            if predicate():
                self._waiters.remove(entry)
                event.set()

    # ------------------------------------------------------------------ time

    def _arm(self) -> None:
        """See that we are woken in time. It may be early: that is cheaper than to move it."""
        at = self.session.next_deadline()
        if at is not None and at < self._timer_at:
            self._timer_at = at
            self.nest.wake_at(at, self._cell)

    def on_time(self, at: float) -> None:
        """The clock of the nest: what was asked for at ``at``."""
        if at != self._timer_at:
            return  # another was asked for since
        self._timer_at = math.inf
        if self._told_gone:
            self._cancel_calls()
            return
        self.session.tick(self.now())
        self._turn()

    # ------------------------------------------------------------------ writing

    def _write(self) -> None:
        """Give the stream what is queued, as far as it takes it without waiting."""
        if self._pending:
            return  # what waits goes first
        output = self.session.take_output()
        if not output or self._shut:
            return  # or nobody takes it any more
        self._pending = join_small(output)
        self._write_pending()
        if self._pending:
            self.session.write_blocked(self._count_pending(), self.now())
            if self._writer is None:
                self._writer = self.runtime.scope(shield=True)
                self.nest.spawn(self._write_on, self._writer)

    def _write_pending(self) -> None:
        pending = self._pending
        try:
            while pending:
                taken = self._wire.send_now(pending[0])
                if taken < len(pending[0]):
                    if taken:
                        pending[0] = memoryview(pending[0])[taken:]
                    return
                del pending[0]
        except self.runtime.broken as error:
            self._stop_writing(error)

    async def _write_on(self, scope: CancelScope) -> None:
        """The task that waits until the stream takes more; it ends when all is written."""
        with scope:
            while self._pending:
                try:
                    await self._wire.wait_to_send(self._pending)
                except self.runtime.broken as error:
                    self._stop_writing(error)
                else:
                    self._write_pending()
                self.session.write_blocked(self._count_pending(), self.now())
                self._turn()
        self._writer = None
        self._turn()

    def _count_pending(self) -> int:
        return sum(map(len, self._pending))

    def _stop_writing(self, error: Exception) -> None:
        """The peer takes nothing more. What it has sent still counts: reading finds its end."""
        self._shut = True
        self._broken = error
        self._pending.clear()

    # ------------------------------------------------------------------ the end of the stream

    def _end_stream(self, wanted: Transport) -> None:
        if wanted is Transport.ABORT:
            self._close(None)
        elif not self._pending:
            if wanted is Transport.CLOSE:
                self._close(None)
            elif not self._shut:
                self._shut = True
                with suppress(OSError):  # the peer has reset it: the reader finds out
                    self._wire.shut_write(self)

    def end_whole(self) -> None:
        """For a wire that cannot end one direction alone: end both."""
        if not self._gone:
            self._close(None)
            self._turn()

    def _close(self, error: Exception | None) -> None:
        """Close the stream, and let the session know that it is closed."""
        self._gone = self._shut = True
        self._reads = False
        self._pending.clear()
        if self._writer is not None:
            self._writer.cancel()
        self._wire.close(self)
        now = self.now()
        if error is None:
            self.session.eof(now)
        self.session.lost(error, now)
        self.session.write_blocked(0, now)


# ------------------------------------------------------------------------------------ steps


@coroutine
def _watched(steps: Coroutine[Any, Any, None], worker: _Worker) -> Generator[Any, Any, None]:
    """Run ``steps`` in this task, and tell of the first one at which it really waits."""
    try:
        trap = steps.send(None)
    except StopIteration:
        return
    worker.driver.hand_over(worker)
    while True:
        try:
            value = yield trap
        except BaseException as error:  # noqa: BLE001 - it passes through
            resume: Callable[[Any], Any] = steps.throw
            value = error
        else:
            resume = steps.send
        try:
            trap = resume(value)
        except StopIteration:
            return
