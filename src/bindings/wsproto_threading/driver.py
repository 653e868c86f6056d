# cython: annotation_typing=False
"""The driver for threads: one thread owns one socket and runs the session's hooks.

It performs and decides nothing: it reports bytes, time and outcomes to the session, then reads its
levels. The owner waits for the socket, reads, runs the hooks that are due, and writes what was said
in one go or in a few: no other thread takes part as long as hooks are quick.

Rules to keep.

1. Whoever looks at the session or touches the stream holds ``lock``. The stream never waits, so the
   lock is never held for long: any thread may write at once what it has to say, and TLS objects are
   used by one thread at a time. Nobody holds it while waiting or in a hook.
2. One thread waits for the socket: the owner; while it is in a hook that waits for the session, the
   owner still, in nested turns that start no other hook; while it is in a hook that computes or
   waits for something else, the watcher (``watch.py``). So time never waits for a write or a hook.
3. Bytes belong to the session until the stream has them: a ``send`` that times out tears no frame.
4. Only the owner closes the descriptor, and only when nobody waits for it: its number is soon
   another's.
5. A thread cannot be cancelled. When hooks overran their time, a new owner goes on; the old thread
   ends with its hook.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_threading.py``.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from wsproto_core import Session, Transport
from wsproto_views.dispatch import report
from wsproto_views.quick import get_ident, monotonic

from .stream import LONGEST, Poller, Stream
from .watch import Watcher

__all__ = ["Driver"]

logger = logging.getLogger("wsproto_core")

_TURN = 256  # hooks after which the socket is looked at: a few milliseconds of small messages
_IDLE = 5.0  # seconds after which a thread for overlapping hooks ends if there is nothing to do
_NOBODY = 0  # no thread has this identity


class Driver:
    """Runs one session over one socket."""

    def __init__(
        self,
        stream: Stream,
        begin: "Callable[[Driver], Session]",
        *,
        peer: Any = None,
        server: Any = None,
        on_gone: "Callable[[Driver], None] | None" = None,
    ) -> None:
        """``begin`` makes the session; ``on_gone`` is told when all is over: the session finished
        and the descriptor closed. Raises ``RuntimeError`` or ``OSError`` if the system has no
        thread or no descriptor for the watcher; the stream is the caller's to close then."""
        self.lock = threading.RLock()
        self.peer = peer
        self.server = server
        self.sock = stream.sock
        self._stream = stream
        self._on_gone = on_gone
        self._owner = _NOBODY
        self._poller: Poller | None = None  # the owner's
        self._asked: tuple[bool, bool] | None = None  # what is waited for; None: nobody waits
        self._asked_until: float | None = None
        self._in_hook = False  # the owner is
        self._nested = False  # ... and the hook waits for the session
        self._flushed = False  # ... and what it said first went out
        self._adopted = False  # the watcher is here
        self._watched = False  # it may still be waiting for the descriptor
        self._waiters: list[tuple[Callable[[], bool], threading.Lock]] = []
        self._crew = _Crew()  # for overlapping hooks
        self._blocked = False
        self._eof = False
        self._writing = True  # our direction was not ended
        self._gone = False  # the stream has ended both ways
        self._released = False
        self._watcher = Watcher.hire()
        try:
            self.session = begin(self)
        except BaseException:
            self._watcher.leave()
            raise

    def start(self) -> None:
        """Give the socket to a thread of its own.

        Raises ``OSError`` or ``RuntimeError`` if the system has no descriptor or no thread left;
        then everything is given back.
        """
        try:
            self._find_owner()
        except BaseException:
            self._release()
            raise

    def _find_owner(self) -> None:
        poller = Poller(self._stream.sock)
        try:
            _in_thread("wsproto connection", self._own, poller)
        except BaseException:
            poller.close()
            raise

    # ------------------------------------------------------------------ for views

    def now(self) -> float:
        """Seconds of ``time.monotonic()``."""
        return monotonic()

    def publish(self) -> None:
        """Carry out what the session wants. With the lock held.

        From the owner's hook: what it says first goes out at once if it is the last hook of this
        turn, the rest in one go when it returns or when the watcher comes.
        """
        if self._in_hook and not self._adopted and self._owner == get_ident():
            if self._flushed or self.session.has_more():
                return
            self._flushed = True
        self._perform()
        self._nudge()

    def settle(self, predicate: Callable[[], bool], until: float | None = None) -> bool:
        """Publish, then wait until ``predicate`` holds: true; false if it is ``until`` first.

        With the lock held, which is let go while it waits.
        """
        if predicate():
            self.publish()
            return True
        self._perform()
        self._nudge()
        if predicate():
            return True
        if self._owner == get_ident():
            return self._nest(predicate, until)
        return self._wait(predicate, until)

    def is_released(self) -> bool:
        """Whether every hook has ended and the stream is closed."""
        return self._released

    def abort(self) -> None:
        """Give up at once: the server ends, or a client's ``connect`` failed."""
        with self.lock:
            self.session.abort(self.now())
            self.publish()

    def feed(self, data: bytes) -> None:
        """Take bytes that came before the stream was ours."""
        self.session.received(data, self.now())

    # ------------------------------------------------------------------ the owner

    def _own(self, poller: Poller) -> None:
        me = get_ident()
        with self.lock:
            self._owner, self._poller = me, poller
            try:
                while True:
                    self._dispatch()
                    if self._owner != me:
                        return
                    self._perform()
                    if self._is_over():
                        break
                    due = self.session.has_more() and self.session.has_call()
                    self._turn(poller, 0.0 if due else None)
                self._release()
            except BaseException as error:  # a fault of ours; nobody else would close the stream
                if self._owner == me:
                    self._lose(error if isinstance(error, Exception) else None)
                    self._release()
                raise
            finally:
                if self._owner == me:
                    self._owner, self._poller = _NOBODY, None
                poller.close()

    def _is_over(self) -> bool:
        return self._gone and self.session.is_finished()

    def _turn(self, poller: Poller, until: float | None) -> None:
        """Wait for the socket, the deadline, a nudge or ``until``, and take what came."""
        reads, writes = self._asked = self._interest()
        at = self.session.next_deadline()
        if until is not None and (at is None or until < at):
            at = until
        self._asked_until = at
        timeout = None if at is None else min(max(0.0, at - self.now()), LONGEST)
        if reads and self._stream.has_more:
            timeout = 0.0
        self.lock.release()
        try:
            readable, writable = poller.wait(reads, writes, timeout)
        finally:
            self.lock.acquire()
            poller.rest()
        if poller is self._poller:  # else another is the owner now
            self._asked = None
            self._take(readable or timeout == 0.0, writable, at)

    def _interest(self) -> tuple[bool, bool]:
        if self._gone:
            return False, False
        return self._stream.interest(self.session.wants_read and not self._eof)

    def _take(self, readable: bool, writable: bool, at: float | None) -> None:
        """Report what happened to the session. What it wants then is carried out by others.

        ``at``: when it wanted to be told of the time.
        """
        if readable or writable:
            reads = self.session.wants_read and not (self._gone or self._eof)
            if reads and self._stream.may_read(readable, writable):
                self._read()
        if at is not None:
            now = self.now()
            if now >= at:
                if self._blocked:
                    self._write()  # what was taken since counts
                self.session.tick(now)

    def _read(self) -> None:
        try:
            data = self._stream.receive()
        except OSError as error:
            self._lose(error)
            return
        if data:
            self.session.received(data, self.now())
        elif data is not None:
            self._eof = True
            self.session.eof(self.now())

    # ------------------------------------------------------------------ hooks

    def _dispatch(self) -> None:
        """Run the calls that may start, or see to it that they are run."""
        session = self.session
        call = session.next_call()
        if call is None:
            return
        if session.connection.config.concurrent_hooks > 1:
            self._hand_out(call)
            return
        me = get_ident()
        self._in_hook = True
        self._watcher.enter(self)
        count = 0
        while call is not None:
            if call.beside:
                self._give(call, "wsproto run", self._live, call)
            else:
                self._flushed = False
                self._run(call)
                if self._owner != me:
                    self.publish()
                    return
                if session.has_batch():
                    self._perform()  # the peer works on it while we go on
            count += 1
            call = session.next_call() if session.has_more() and count < _TURN else None
        self._in_hook = False
        self._come_back()

    def _run(self, call: Any) -> None:
        """Run one hook, without the lock, and report its outcome."""
        session = self.session
        self.lock.release()
        try:
            value = call.begin()
        except BaseException as error:  # noqa: BLE001  the session logs it and ends the connection
            self.lock.acquire()
            session.call_failed(call, _as_exception(error), self.now())
        else:
            self.lock.acquire()
            report(session, call, value, self)

    def _give(self, call: Any, name: str, function: Callable[..., None], argument: Any) -> None:
        """Start a thread for ``call``."""
        try:
            _in_thread(name, function, argument)
        except RuntimeError as error:  # the system has none left
            if not call.beside:
                self._crew.size -= 1
                self._crew.calls.remove(call)
            self.session.call_failed(call, error, self.now())

    def _come_back(self) -> None:
        """The owner sees to the socket again."""
        self._watcher.exit(self)
        if self._adopted:
            self._adopted = False
            self._asked = None
            self._watcher.tell(self)

    def _nest(self, predicate: Callable[[], bool], until: float | None) -> bool:
        """The owner's hook waits: it goes on with its turns and starts no other hook inside."""
        me, poller = get_ident(), self._poller
        assert poller is not None
        self._come_back()
        self._nested = True
        while not (met := predicate()) and (until is None or self.now() < until):
            self._turn(poller, until)
            self._perform()
            if self._owner != me:  # this hook overran its time
                return self._wait(predicate, until)
        self._nested = self._flushed = False
        self._watcher.enter(self)
        return met

    def _live(self, call: Any) -> None:
        """A view's own ``run``, in a thread of its own beside the hooks."""
        with self.lock:
            self._run(call)
            self.publish()

    def _give_up_hooks(self) -> None:
        """Hooks overran their time: leave their threads to them, and go on with others."""
        self._dismiss_crew()
        if not self._in_hook:
            return
        try:
            self._find_owner()
        except (OSError, RuntimeError) as error:
            logger.error("a hook overran its time, and no thread goes on without it: %s", error)
            return
        self._in_hook = self._nested = False
        self._come_back()
        if self._poller is not None:
            self._poller.wake()
        self._owner, self._poller, self._asked = _NOBODY, None, None

    # ------------------------------------------------------------------ overlapping hooks

    def _hand_out(self, call: Any, *, here: int = 0) -> None:
        """Queue ``call`` and all that may start, and see to it that threads come for them; ``here``
        of them are here already. The session bounds how many there are at once."""
        crew = self._crew
        while call is not None:
            if call.beside:
                self._give(call, "wsproto run", self._live, call)
            else:
                crew.calls.append(call)
                if here:
                    here -= 1
                elif crew.idle:
                    crew.idle.pop().release()
                elif crew.size < self.session.connection.config.concurrent_hooks:
                    crew.size += 1
                    self._give(call, "wsproto hook", self._work, crew)
                # Else one has just come to the end of its hook.
            call = self.session.next_call()

    def _work(self, crew: "_Crew") -> None:
        """Run hooks as long as there are some: always the oldest, so that they start in order."""
        with self.lock:
            while crew is self._crew and (crew.calls or self._rest(crew)):
                if crew.calls:
                    self._run(crew.calls.popleft())
                    if crew is self._crew:
                        self._hand_out(self.session.next_call(), here=1)
                    self.publish()
            crew.size -= 1

    def _rest(self, crew: "_Crew") -> bool:
        """Wait to be called; false if nobody does."""
        wake = threading.Lock()
        wake.acquire()
        crew.idle.append(wake)
        self.lock.release()
        try:
            woken = wake.acquire(timeout=_IDLE)
        finally:
            self.lock.acquire()
        if wake in crew.idle:
            crew.idle.remove(wake)
        return woken

    def _dismiss_crew(self) -> None:
        """Those who have nothing to do go; those in a hook go when it returns."""
        crew, self._crew = self._crew, _Crew()
        for wake in crew.idle:
            wake.release()

    # ------------------------------------------------------------------ for the watcher

    def adopt(self) -> bool:
        if self._in_hook and not self._nested:
            self._adopted = self._watched = True
        return self._adopted

    def attend(self, readable: bool, writable: bool) -> None:
        self._take(readable, writable, self.session.next_deadline())
        self._perform()

    def outlook(self) -> tuple[bool, bool, float | None] | None:
        if not self._adopted:
            return None
        self._asked, self._asked_until = self._interest(), self.session.next_deadline()
        return (*self._asked, self._asked_until)

    def let_go(self) -> None:
        self._watched = False
        self._wake()

    def give_up(self) -> None:
        self._adopted = False
        self._asked = None
        self._lose(None)

    # ------------------------------------------------------------------ what the session wants

    def _perform(self) -> None:
        """Carry out what the session wants now: any thread, with the lock held."""
        session = self.session
        if session.take_cancel():
            self._give_up_hooks()
        if session.has_output() or self._stream.pending:
            self._write()
        wanted = session.transport
        if wanted is not Transport.OPEN and not self._gone:
            self._end_stream(wanted)
        if self._waiters:
            self._wake()

    def _nudge(self) -> None:
        """Let whoever waits for the socket look again, if there is something new for it."""
        asked = self._asked
        if asked is None:
            return
        session = self.session
        at, until = session.next_deadline(), self._asked_until
        if (
            asked != self._interest()
            or (at is not None and (until is None or at < until))
            or session.has_call()
            or self._is_over()
        ):
            if self._adopted:
                self._watcher.tell(self)
            elif self._poller is not None:
                self._poller.wake()

    def _write(self) -> None:
        """Give the stream what is queued, in one go."""
        session, stream = self.session, self._stream
        if self._gone:
            session.take_output()
            return
        output = session.take_output()
        try:
            stream.write(output if self._writing else [])
        except OSError as error:
            self._lose_writing(error)
            return
        if stream.pending or self._blocked:
            self._blocked = stream.pending > 0
            session.write_blocked(stream.pending, self.now())

    def _lose_writing(self, error: OSError) -> None:
        """The peer takes nothing any more. What it said before counts."""
        while not (self._gone or self._eof) and self.session.wants_read:
            try:
                data = self._stream.receive()
            except OSError:
                break
            if not data:
                break
            self.session.received(data, self.now())
        self._lose(error)

    def _end_stream(self, wanted: Transport) -> None:
        if wanted is Transport.ABORT:
            self._stream.abort()
            self._finish_stream(None)
        elif self._stream.pending:
            pass  # after what is queued
        elif wanted is Transport.CLOSE:
            self._stream.shut()
            self._finish_stream(None)
        elif self._writing:
            self._writing = False
            self._stream.end_writing()

    def _lose(self, error: Exception | None) -> None:
        """The stream is broken."""
        if not self._gone:
            self._stream.abort()
            self._finish_stream(error)

    def _finish_stream(self, error: Exception | None) -> None:
        self._gone = True
        now = self.now()
        if error is None:
            self.session.eof(now)
        self.session.lost(error, now)
        self.session.write_blocked(0, now)  # nothing is held any more

    def _release(self) -> None:
        """All is over: give everything back."""
        if self._watched:
            self._wait(lambda: not self._watched, None)
        self._stream.close()
        self._watcher.leave()
        self._released = True
        self._dismiss_crew()
        if self._on_gone is not None:
            self._on_gone(self)
        self._wake()

    # ------------------------------------------------------------------ waiting for the session

    def _wait(self, predicate: Callable[[], bool], until: float | None) -> bool:
        """Wait until whoever changed the session finds that ``predicate`` holds."""
        waiter = threading.Lock()
        waiter.acquire()
        entry = (predicate, waiter)
        self._waiters.append(entry)
        self.lock.release()
        try:
            timeout = -1.0 if until is None else max(0.0, until - self.now())
            met = waiter.acquire(timeout=timeout)
        finally:
            self.lock.acquire()
            if entry in self._waiters:
                self._waiters.remove(entry)
            else:
                met = True
        return met

    def _wake(self) -> None:
        for entry in list(self._waiters):
            predicate, waiter = entry
            if predicate():
                self._waiters.remove(entry)
                waiter.release()


def _as_exception(error: BaseException) -> Exception:
    """Nothing that a hook raises ends its thread, which is not the hook's."""
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(f"a hook raised {type(error).__name__}, which ends no thread here")
    failure.__cause__ = error
    return failure


def _in_thread(name: str, function: Callable[..., None], *arguments: Any) -> None:
    # A daemon: who forgets a connection must not keep the process from its end.
    threading.Thread(target=function, args=arguments, name=name, daemon=True).start()


class _Crew:
    """The threads for overlapping hooks; a new one when those of the old were given up."""

    def __init__(self) -> None:
        self.size = 0
        self.calls: deque[Any] = deque()  # that no thread has begun yet
        self.idle: list[threading.Lock] = []  # each is waited for by one that has nothing to do
