"""The asyncio driver: one ``asyncio.Protocol`` that carries out what a session wants.

It performs and decides nothing: it reports bytes, time and outcomes to the session, then reads its
levels. All that one turn of the loop says goes out in one write. Hooks are stepped where their
bytes arrive; a task takes over only where one suspends.

Rules to keep. Time must not wait for a write: the deadline is a timer of the loop. Bytes belong to
the session until they are given to the transport, so a cancelled ``send`` never tears a frame. The
reader goes on while a hook waits, or ``close()`` and ``ping()`` inside a hook would wait for ever.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from wsproto_core import Session, Transport
from wsproto_views import dispatch
from wsproto_views.wires import join_small

from .eager import start
from .outbox import outbox

__all__ = ["Driver"]


class Driver(asyncio.Protocol):
    """Runs one session over one asyncio transport."""

    server: Any
    sock: Any
    cancelled = False  # a cancelled task of asyncio's may go on, if the hook does

    def __init__(
        self,
        begin: "Callable[[Driver], Session]",
        *,
        server: Any = None,
        on_gone: "Callable[[Driver], None] | None" = None,
    ) -> None:
        """``begin`` makes the session when the stream is there; ``on_gone`` is told when all is
        over: the session finished and the stream closed."""
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.here = asyncio._get_running_loop
        self.home = self.loop
        self.server = server
        self.sock = None
        self.peer: Any = None
        self._begin = begin
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._tls = False
        self._in_turn = False
        self._turn_due = False
        self._flushed = 0  # the last turn of the outbox in which it was
        self._outbox = outbox(self.loop)
        self._pausing = False
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # a timer of uvloop that is due at once does not know it
        self._blocked = False
        self._reading = True
        self._writing = True  # our direction was not ended
        self._gone = False  # the stream is closed
        self._told_gone = False

    session: Session
    """Made when the stream is there."""

    # ------------------------------------------------------------------ from the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is not one by its class
        self._transport = transport
        self._tls = transport.get_extra_info("sslcontext") is not None
        self.sock = transport.get_extra_info("socket")
        self.peer = transport.get_extra_info("peername") or None
        self.session = self._begin(self)
        mark = self.session.connection.config.write_high_water
        transport.set_write_buffer_limits(high=mark)
        self._turn()

    def data_received(self, data: bytes) -> None:
        self._in_turn = True
        self.session.received(data, self.now())
        self._turn()

    def eof_received(self) -> bool:
        self.session.eof(self.now())
        self._turn()
        # Keep our direction open; the session says when to end it. TLS has no half-close.
        return not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if exc is None:
            self.session.eof(self.now())
        self.session.lost(exc, self.now())
        self.session.write_blocked(0, self.now())  # the transport holds nothing any more
        self._turn()

    def pause_writing(self) -> None:
        """What is left in the transport is looked at after each write; see ``_write``."""

    def resume_writing(self) -> None:
        # TLS may call this from inside a write, so the turn comes later.
        self._look_at_buffer()
        self.publish()

    # ------------------------------------------------------------------ for views and dispatch

    def publish(self) -> None:
        """Carry out what the session wants by the end of this turn of the loop."""
        if not (self._in_turn or self._turn_due):
            self._turn_due = True
            self.loop.call_soon(self._late_turn)

    def flush_soon(self) -> None:
        """Write what is queued: at once where it is the first time in this turn of the loop, else
        by its end, so that what many broadcasts say in one turn goes out in two writes."""
        if not (self._in_turn or self._turn_due):
            outbox = self._outbox
            if not outbox.in_turn:
                outbox.begin_turn(self.loop)
            if self._flushed != outbox.turn:
                self._flushed = outbox.turn
                self._write()
                if self._blocked:
                    self._arm()  # from here on there is a deadline
            else:
                outbox.due[self] = None

    def flush(self) -> None:
        """Write what is queued now."""
        self._write()
        if self._blocked:
            self._arm()

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
            # peer is gone.
            await asyncio.sleep(0)
            return
        waiter = self.loop.create_future()
        entry = (predicate, waiter)
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
        """Carry out all that the session wants now."""
        session = self.session
        if session.take_cancel():
            for task in list(self._tasks):
                task.cancel()
        self._in_turn = True
        try:
            while not self._pausing and session.has_call():
                task = start(self.loop, dispatch(session, self))
                if not task.done():
                    self._tasks.add(task)
                    task.add_done_callback(self._task_done)
                elif not task.cancelled():
                    task.exception()  # reported to the session already
        finally:
            self._in_turn = False
        self._write()
        wanted = session.transport
        if wanted is not Transport.OPEN and not self._gone:
            self._end_stream(wanted)
        if session.wants_read is not self._reading:
            self._set_reading(session.wants_read)
        if self._waiters:
            self._wake()
        self._arm()
        if self._gone and not self._told_gone and session.is_finished():
            self._told_gone = True
            if self._on_gone is not None:
                self._on_gone(self)

    def _write(self) -> None:
        """Give the transport what is queued, in one go."""
        session, transport = self.session, self._transport
        assert transport is not None
        if self._gone:
            session.take_output()
            return
        output = session.take_output()
        if output:
            if not self._writing:
                pass
            elif len(output) == 1:
                transport.write(output[0])
            else:
                for item in join_small(output):
                    transport.write(item)
            if transport.get_write_buffer_size() or self._blocked:
                self._look_at_buffer()

    def _end_stream(self, wanted: Transport) -> None:
        transport = self._transport
        assert transport is not None
        if wanted is Transport.ABORT:
            transport.abort()
        elif wanted is Transport.CLOSE or self._tls:
            self._writing = False
            transport.close()
        elif self._writing:
            self._writing = False
            if not transport.is_closing():
                with suppress(OSError):  # the peer has reset it: connection_lost comes next
                    transport.write_eof()

    def _look_at_buffer(self) -> None:
        assert self._transport is not None
        pending = self._transport.get_write_buffer_size()
        self._blocked = pending > 0
        self.session.write_blocked(pending, self.now())

    def _set_reading(self, reading: bool) -> None:
        assert self._transport is not None
        self._reading = reading
        if not self._transport.is_closing():
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _wake(self) -> None:
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
            self._timer = self.loop.call_at(at, self._on_timer)
            self._timer_at = at

    def _on_timer(self) -> None:
        self._timer = None
        if self._blocked:
            self._look_at_buffer()
        self.session.tick(self.now())
        self._turn()

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # reported to the session already
        self.publish()
