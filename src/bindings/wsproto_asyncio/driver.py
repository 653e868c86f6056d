# cython: annotation_typing=False
"""The asyncio driver: carries out what a session wants, over whatever brings the bytes.

It performs and decides nothing: bytes, time and outcomes are reported to the session, then its
levels are read. All that one turn of the loop says goes out in one write. Hooks are stepped where
their bytes arrive. How bytes come and go is for the subclasses: ``sockets.py``, ``transports.py``.

Rules to keep. Time must not wait for a write: the deadline is a timer of the loop. Bytes belong to
the session until the stream has them, so a cancelled ``send`` never tears a frame. The reader goes
on while a hook waits, or ``close()`` and ``ping()`` inside a hook would wait for ever.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from wsproto_core import Session, Transport
from wsproto_views import dispatch
from wsproto_views.quick import get_ident, monotonic

from .hub import hub
from .watch import Alarm, Watched, is_monotonic
from .worker import Worker

__all__ = ["Driver"]


_OPEN = Transport.OPEN
_running_loop = asyncio._get_running_loop
_AT_ONCE = 8  # waits that are over at once, before the loop gets its turn


class Driver(Watched):
    """Runs one session; subclasses bring the stream.

    A subclass implements ``_write``, ``_end_stream``, ``_set_reading`` and ``_look_at_buffer``, and
    makes the session by ``_begin``, and calls ``_turn`` (or ``handle`` and ``finish``) after each
    report, and ``_lose`` at the end of the stream.
    """

    server: Any
    sock: Any
    peer: Any
    cancelled: bool
    """Never: a cancelled task of asyncio's may go on, if the hook does."""

    session: Session
    """Made when the stream is there."""

    pending: int
    """Bytes that were written and that the system has not taken."""

    def __init__(
        self,
        begin: "Callable[[Driver], Session]",
        *,
        server: Any = None,
        on_gone: "Callable[[Driver], None] | None" = None,
    ) -> None:
        """``begin`` makes the session when the stream is there; ``on_gone`` is told when all is
        over: the session finished and the stream closed."""
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self._is_monotonic = is_monotonic(self.loop)
        self._thread = get_ident()
        self.server = server
        self.sock = None
        self.peer = None
        self.cancelled = False
        self.pending = 0
        self._begin = begin
        self._on_gone = on_gone
        self._turn_due = False
        self._pausing = False
        self._hub = hub(self.loop)
        self._flushed = 0  # the last turn of the hub in which it was
        self._starting = False  # a worker's task is due to begin
        self._settled = 0  # waits in this turn that were over at once
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] | None = None
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []  # those of them that wait for hooks
        self._timer: asyncio.Handle | Alarm | None = None
        self._timer_at = 0.0  # a timer of uvloop that is due at once does not know it
        self._reading = True
        self._gone = False  # the stream is closed
        self._told_gone = False

    # ------------------------------------------------------------------ for subclasses

    def _write(self) -> None:
        """Give the stream what is queued, in one go, and the session what is left of it."""
        raise NotImplementedError

    def _end_stream(self, wanted: Transport) -> None:
        """Do what the session wants of the stream. May be asked again and again."""
        raise NotImplementedError

    def _set_reading(self, reading: bool) -> None:
        """Stop or resume reading."""
        raise NotImplementedError

    def _look_at_buffer(self) -> None:
        """Tell the session what the stream still holds."""
        raise NotImplementedError

    def _call_at(self, at: float) -> asyncio.Handle | Alarm:
        """Have ``_on_timer`` called at ``at``."""
        return self.loop.call_at(at, self._on_timer)

    def _lose(self, error: BaseException | None) -> None:
        """The stream is closed. A turn must follow."""
        if self._gone:
            return
        self._gone = True
        self.pending = 0
        session, now = self.session, self.now()
        if error is None:
            session.eof(now)
        session.lost(error if isinstance(error, Exception) else None, now)
        session.write_blocked(0, now)

    # ------------------------------------------------------------------ for views and dispatch

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return monotonic() if self._is_monotonic else self.loop.time()

    def is_here(self) -> bool:
        """Whether the caller runs on the loop."""
        return _running_loop() is self.loop

    def publish(self) -> None:
        """Carry out what the session wants by the end of this turn of the loop."""
        if not (self.session.attended or self._turn_due):
            self._turn_due = True
            self.loop.call_soon(self._late_turn)

    def flush_soon(self) -> None:
        """Write what is queued: at once where it is the first time in this turn of the loop, else
        by its end, so that what many broadcasts say in one turn goes out in two writes."""
        if not (self.session.attended or self._turn_due):
            hub = self._hub
            if not hub.in_turn:
                hub.begin_turn(self.loop)
            if self._flushed != hub.turn:
                self._flushed = hub.turn
                self.flush()
            else:
                hub.due[self] = None

    def flush(self) -> None:
        """Write what is queued now."""
        self._write()
        if self.pending:
            self._arm()  # from here on there is a deadline

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the loop, from any thread; never, if the loop is closed by then."""
        try:
            self.loop.call_soon_threadsafe(action)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    async def settle(self, predicate: Callable[[], bool]) -> None:
        """Publish, then wait until ``predicate`` holds."""
        self.publish()
        if predicate():
            return
        self._write()  # it may have waited for no more than this
        if predicate():
            # Who sends in a loop must not keep the loop from the rest, nor from the news that the
            # peer is gone. But a hook that answers with a large message need not become a task's.
            if self.session.attended and self._settled < _AT_ONCE:
                self._settled += 1
            else:
                await asyncio.sleep(0)
            return
        waiter = self.loop.create_future()
        entry = (predicate, waiter)
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    async def checkpoint(self) -> None:
        """Let the rest of the loop run; no other call starts before."""
        self._pausing = True
        try:
            await asyncio.sleep(0)
        finally:
            self._pausing = False

    def _pause(self) -> None:
        self._pausing = True
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._pausing = False
        self._turn()

    def is_released(self) -> bool:
        """Whether every hook has ended and the stream is closed."""
        return self._gone and self.session.is_finished()

    def abort(self) -> None:
        """Give up at once: the server ends, or a client's ``connect`` was cancelled."""
        self.session.abort(self.now())
        self.publish()

    # ------------------------------------------------------------------ one turn

    def _late_turn(self) -> None:
        self._turn_due = False
        self._turn()

    def _turn(self) -> None:
        """Carry out all that the session wants now. Not from inside a task."""
        self.handle()
        self.finish()

    def handle(self) -> None:
        """Run the hooks that may run. A ``finish`` must follow."""
        session = self.session
        if session.take_cancel():
            for worker in list(self._workers):
                if worker not in self._idle:
                    worker.task.cancel()
        if not self._pausing and session.has_call():
            self._run_calls()

    def finish(self) -> None:
        """Carry out what the session wants by now."""
        session = self.session
        self._write()
        wanted = session.connection.transport
        if wanted is not _OPEN and not self._gone:
            self._end_stream(wanted)
        if session.wants_read != self._reading and not self._gone:
            self._reading = session.wants_read
            self._set_reading(self._reading)
        if self._waiters:
            self._wake()
        self._arm()
        if self._gone and not self._told_gone and session.is_finished():
            self._told_gone = True
            for worker in list(self._idle):
                worker.stop()
            if self._on_gone is not None:
                self._on_gone(self)

    def _run_calls(self) -> None:
        session = self.session
        session.attended = self._thread
        self._settled = 0
        try:
            while not (self._pausing or self._starting):
                if self._idle:
                    worker = self._idle[-1]
                    if worker.run(session, self):
                        if session.has_call():
                            self._pause()
                        break
                else:
                    self._starting = True
                    worker = Worker(self.loop, self._work)
                    if not worker.task.done():
                        self._workers.append(worker)
                        worker.task.add_done_callback(self._work_done)
                if not session.has_call():
                    break
        finally:
            session.attended = 0

    async def _work(self, worker: Worker) -> None:
        """Run hooks, and wait for more, until there will be none."""
        self._starting = False
        self.publish()  # where it does not begin at once, the turn that made it is over
        while not worker.stopped:
            begun, worker.begun = worker.begun, None
            await dispatch(self.session, self, begun)
            if self._told_gone:
                break  # it was a view's own run(), which may outlive the connection
            self._idle.append(worker)
            try:
                await worker
            finally:
                self._idle.remove(worker)

    def _work_done(self, task: "asyncio.Task[None]") -> None:
        self._workers = [worker for worker in self._workers if worker.task is not task]
        self._starting = False  # it may have been cancelled before it began
        if not task.cancelled():
            task.exception()  # reported to the session already
        if not self._told_gone:
            self.publish()

    def _wake(self) -> None:
        assert self._waiters is not None
        for entry in list(self._waiters):
            predicate, waiter = entry
            if predicate():
                self._waiters.remove(entry)
                if not waiter.done():
                    waiter.set_result(None)

    def _arm(self) -> None:
        """Keep one timer. It may fire early and is then set anew: that is cheaper than moving
        it."""
        at = self.session.next_deadline()
        timer = self._timer
        if at is None:
            if timer is not None:
                timer.cancel()
                self._timer = None
        elif timer is None or at < self._timer_at:
            if timer is not None:
                timer.cancel()
            self._timer = self._call_at(at)
            self._timer_at = at

    def _on_timer(self) -> None:
        self._timer = None
        if self.pending:
            self._look_at_buffer()
        self.session.tick(self.now())
        self._turn()
