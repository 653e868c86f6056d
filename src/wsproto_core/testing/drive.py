"""``SessionDriver`` and ``run_view``: a view over a session, without a loop, a socket or a clock.

The driver does what a binding does, by hand: it takes bytes and time from the test, runs the hooks'
coroutines step by step, and collects what is written. So a user can fuzz his own view: thousands of
runs a second, each repeatable. ``docs/howto/fuzz-your-view.md`` has an example.

A hook may await the view's own methods, ``sleep`` of this module, and whatever does not suspend;
what only a loop can give (a socket, ``asyncio.sleep``) cannot be awaited here, and says so.
Tests: ``tests/core/test_testing.py``.
"""

import inspect
import math
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wsproto_views import AsyncView, UpgradeRequest

from ..config import Config
from ..connection import Connection
from ..enums import OpCode, Role, Transport
from ..errors import ConnectionClosed
from ..events import Agreement, Closed, HttpRequest, Request
from ..headers import Headers
from ..session import Call, Session, Target
from .frames import WireFrame, parse_frames

__all__ = ["Cancelled", "SessionDriver", "ViewRun", "run_view", "sleep"]

ViewT = TypeVar("ViewT", bound=AsyncView)
T = TypeVar("T")


class Cancelled(BaseException):
    """What a hook gets that overran ``close_timeout``, as a loop would cancel its task."""


class _Wait:
    """Awaited by a hook: goes on when the predicate holds, or at a time."""

    __slots__ = ("predicate", "until")

    def __init__(self, predicate: Callable[[], bool] | None, until: float) -> None:
        self.predicate = predicate
        self.until = until

    def __await__(self) -> Generator["_Wait", None, None]:
        yield self


class _Sleep(_Wait):
    """A wait whose end is counted from when it is met."""

    __slots__ = ()


async def sleep(seconds: float = 0.0) -> None:
    """Wait that many seconds of the driver's clock: what hooks await here in place of their loop's.

    ``monkeypatch.setattr(asyncio, "sleep", sleep)`` gives it to a view that asks for the other.
    """
    await _Sleep(None, seconds)


class _Task:
    """A coroutine and what it waits for."""

    __slots__ = ("coroutine", "done", "error", "hook", "value", "wait")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, hook: bool) -> None:
        self.coroutine = coroutine
        self.hook = hook
        self.wait: _Wait | None = None
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def is_ready(self, now: float) -> bool:
        wait = self.wait
        if wait is None:
            return True
        return now >= wait.until or (wait.predicate is not None and wait.predicate())

    def step(self, now: float, error: BaseException | None = None) -> None:
        """Run to the next wait or to the end."""
        self.wait = None
        try:
            wait = self.coroutine.throw(error) if error is not None else self.coroutine.send(None)
        except StopIteration as stop:
            self.done = True
            self.value = stop.value
        except BaseException as failure:  # noqa: BLE001 - handed to whoever asked for the task
            self.done = True
            self.error = failure
        else:
            if type(wait) is _Sleep:
                self.wait = _Wait(None, now + wait.until)
            elif isinstance(wait, _Wait):
                self.wait = wait
            elif wait is None:
                self.wait = _Wait(None, now)  # a bare yield, as of asyncio.sleep(0)
            else:
                self.step(
                    now,
                    RuntimeError(
                        f"there is no event loop here, so {wait!r} cannot be awaited; "
                        "use wsproto_core.testing.sleep or a stand-in"
                    ),
                )


class SessionDriver:
    """Runs one session by hand. It is also the driver that a view needs (``AsyncDriver``).

    ``receive``, ``eof``, ``lost`` and ``advance`` are the network and the clock; ``run`` runs a
    coroutine of the view beside the hooks. After each everything is carried out that can be.
    """

    server: Any = None
    sock: Any = None

    def __init__(self, *, now: float = 1000.0) -> None:
        self.time = now
        """Seconds of the virtual clock."""
        self.output = bytearray()
        """All that was written to the transport."""
        self.errors: list[BaseException] = []
        """What hooks raised, but for what only says that the connection ended."""
        self.gone = False
        """Whether the transport is closed."""
        self.session: Session
        self._inbox: list[bytes] = []
        self._eof: bool = False
        self._eof_told = False
        self._held = bytearray()
        self._stalled = False
        self._tasks: list[_Task] = []
        self._in_turn = False
        self._again = False

    def attach(self, session: Session) -> None:
        """Take the session to run."""
        self.session = session
        self._turn()

    # ------------------------------------------------------------------ what a view needs

    def now(self) -> float:
        """Seconds of the virtual clock."""
        return self.time

    def publish(self) -> None:
        """Carry out what the session wants."""
        if self._in_turn:
            self._again = True
        else:
            self._turn()

    def flush_soon(self) -> None:
        """Carry out what the session wants."""
        self.publish()

    def flush(self) -> None:
        """Write now what the peer takes."""
        self._write()
        self.publish()

    def is_here(self) -> bool:
        """Always: there is one thread here, and one loop."""
        return True

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action``; there is one thread here."""
        action()

    async def settle(self, predicate: Callable[[], bool]) -> None:
        """Publish, then wait until ``predicate`` holds."""
        self.publish()
        if not predicate():
            await _Wait(predicate, math.inf)

    async def checkpoint(self) -> None:
        """Let others run."""
        await _Wait(None, self.time)

    def is_released(self) -> bool:
        """Whether every hook has ended and the transport is closed."""
        return self.gone and self.session.is_finished()

    # ------------------------------------------------------------------ network and clock

    def receive(self, *parts: bytes) -> None:
        """Bytes arrive, each part in a read of its own, as fast as the session wants to read."""
        self._inbox += parts
        self._turn()

    def eof(self) -> None:
        """The peer ends its direction, behind what it sent."""
        self._eof = True
        self._turn()

    def lost(self, error: Exception | None = None) -> None:
        """The stream is gone both ways, at once."""
        self.gone = True
        self._inbox.clear()
        self.session.lost(error, self.time)
        self._turn()

    def stall(self) -> None:
        """From here on the transport takes nothing: the peer's window is shut."""
        self._stalled = True

    def release(self) -> None:
        """The transport takes everything again."""
        self._stalled = False
        self._turn()

    def advance(self, seconds: float) -> None:
        """Let time pass; deadlines and sleeps are met in order."""
        end = self.time + seconds
        while (at := self.next_time()) is not None and at <= end:
            self._go_to(at)
        self._go_to(end)

    def next_time(self) -> float | None:
        """When the next deadline or the next end of a sleep is; ``None``: never."""
        times = [task.wait.until for task in self._tasks if task.wait is not None]
        deadline = self.session.next_deadline()
        if deadline is not None:
            times.append(deadline)
        at = min(times, default=math.inf)
        return None if at == math.inf else at

    def run_until_quiet(self, limit: float = 3600.0) -> None:
        """Jump from one deadline to the next until none is left or all is over.

        Raises ``AssertionError`` after ``limit`` seconds.
        """
        end = self.time + limit
        while not (self.is_released() and not self._tasks) and (at := self.next_time()) is not None:
            if at > end:
                raise AssertionError(f"not quiet after {limit:g} s: {self.session.connection!r}")
            self._go_to(at)

    def run(self, coroutine: Coroutine[Any, Any, T], limit: float = 3600.0) -> T:
        """Run a coroutine of the view, such as ``view.send("x")``, to its end; give its value.

        Time passes as far as it must, at most ``limit`` seconds.
        """
        task = self.start(coroutine)
        end = self.time + limit
        while not task.done:
            at = self.next_time()
            if at is None or at > end:
                raise AssertionError(f"{coroutine!r} waits for what does not come")
            self._go_to(at)
        if task.error is not None:
            raise task.error
        value: T = task.value
        return value

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> _Task:
        """Run a coroutine beside the hooks, to its first wait; it goes on as things happen."""
        task = _Task(coroutine, hook=False)
        self._tasks.append(task)
        self._turn()
        return task

    @property
    def waiting(self) -> int:
        """How many hooks and coroutines are suspended."""
        return len(self._tasks)

    # ------------------------------------------------------------------ one turn

    def _go_to(self, at: float) -> None:
        self.time = max(self.time, at)
        self.session.tick(self.time)
        deadline = self.session.next_deadline()
        if deadline is not None and deadline <= self.time:
            raise AssertionError(f"a deadline that does not move: {self.session.connection!r}")
        self._turn()

    def _turn(self) -> None:
        """Carry out all that can be carried out now."""
        if self._in_turn:
            self._again = True
            return
        self._in_turn = True
        try:
            self._again = True
            while self._again:
                self._again = False
                self._read()
                self._run_hooks()
                self._write()
                if self.session.take_cancel():
                    self._cancel_hooks()
        finally:
            self._in_turn = False

    def _read(self) -> None:
        session = self.session
        if self._inbox and session.wants_read and not self.gone:
            session.received(self._inbox.pop(0), self.time)
            self._again = True
        elif not self._inbox and self._eof and not self._eof_told and not self.gone:
            self._eof_told = self._again = True
            session.eof(self.time)

    def _run_hooks(self) -> None:
        session = self.session
        while session.has_call():
            task = _Task(self._dispatch(), hook=True)
            self._tasks.append(task)
            task.step(self.time)
        for task in list(self._tasks):
            if not task.done and task.is_ready(self.time):
                task.step(self.time)
                self._again = True
        self._tasks = [task for task in self._tasks if not task.done]

    async def _dispatch(self) -> None:
        session = self.session
        while (call := session.next_call()) is not None:
            try:
                value = call.begin()
                if inspect.isawaitable(value):
                    value = await value
            except BaseException as error:
                self._note(call, error)
                session.call_failed(call, error, self.time)
                if not isinstance(error, Exception):
                    raise
            else:
                session.call_returned(call, value, self.time)
            self._again = True

    def _note(self, call: Call, error: BaseException) -> None:
        known = self.session.connection.error
        if isinstance(error, (ConnectionClosed, Cancelled)) or error is known:
            return
        self.errors.append(error)

    def _cancel_hooks(self) -> None:
        for task in [task for task in self._tasks if task.hook]:
            task.step(self.time, Cancelled())
        self._tasks = [task for task in self._tasks if not task.done]
        self._again = True

    def _write(self) -> None:
        session = self.session
        if self.gone:
            session.take_output()
            return
        for data in session.take_output():
            self._held += data
        wanted = session.transport
        if wanted is Transport.ABORT:
            self._held.clear()
        elif self._held and self._stalled:
            session.write_blocked(len(self._held), self.time)
        elif self._held:
            self.output += self._held
            self._held.clear()
            session.write_blocked(0, self.time)
            self._again = True
        if wanted >= Transport.CLOSE and not self._held:
            self.gone = self._again = True
            session.eof(self.time)
            session.lost(None, self.time)


# ------------------------------------------------------------------------------ a whole life


@dataclass
class ViewRun(Generic[ViewT]):
    """What ``run_view`` saw."""

    view: ViewT
    """The view."""

    driver: SessionDriver
    """Its driver; ``driver.session`` is the session."""

    head: bytes = b""
    """The HTTP response, if there was a handshake."""

    frames: list[WireFrame] = field(default_factory=list)
    """The frames that the view's side wrote, unmasked; with an extension as it encoded them."""

    @property
    def closed(self) -> Closed:
        """How it ended."""
        closed = self.driver.session.connection.closed
        if closed is None:
            raise AssertionError("the connection has not ended")
        return closed

    @property
    def errors(self) -> list[BaseException]:
        """What hooks raised, but for what only says that the connection ended."""
        return self.driver.errors

    @property
    def messages(self) -> list[str | bytes]:
        """The messages that the view sent, put together; without an extension only."""
        found: list[str | bytes] = []
        parts = bytearray()
        opcode = 0
        for frame in self.frames:
            if frame.opcode >= OpCode.CLOSE:
                continue
            opcode = frame.opcode or opcode
            parts += frame.payload
            if frame.fin:
                found.append(parts.decode() if opcode == OpCode.TEXT else bytes(parts))
                parts.clear()
        return found


def run_view(
    view: type[ViewT],
    script: Iterable[bytes | float | None],
    *,
    handshake: bool = False,
    raise_errors: bool = True,
    limit: float = 3600.0,
    now: float = 1000.0,
) -> ViewRun[ViewT]:
    """Run a view class as a server from its first byte to its end.

    ``script`` is what the client does: bytes arrive in one read, a number lets that many seconds
    pass, ``None`` ends the client's stream (which happens at the end in any case). The client's
    frames must be masked: ``encode_frames(..., masked=True)``. With ``handshake`` the bytes begin
    with the request, and ``on_request`` is asked; otherwise the connection is open from the start,
    without extensions.

    Returns when the connection is closed and every hook has ended. Raises the first error of a hook
    unless ``raise_errors`` is false, and ``AssertionError`` if the view does not come to its end
    within ``limit`` seconds, or something in it waits for ever.
    """
    driver = SessionDriver(now=now)
    made: list[ViewT] = []
    if handshake:
        session = _begin_with_handshake(view, driver, made)
    else:
        session = _begin_open(view, driver, made)
    driver.attach(session)
    for item in script:
        if isinstance(item, bytes):
            driver.receive(item)
        elif item is None:
            driver.eof()
        else:
            driver.advance(item)
    driver.eof()
    driver.run_until_quiet(limit)
    if raise_errors and driver.errors:
        raise driver.errors[0]
    if not session.is_finished() or driver.waiting:
        raise AssertionError(f"something waits for ever: {session.connection!r}")
    if not made:
        made.append(view(_no_request()))  # the request was refused before a view was needed
    run = ViewRun(made[0], driver)
    written = bytes(driver.output)
    if handshake:
        head, separator, written = written.partition(b"\r\n\r\n")
        run.head = head + separator
        if session.connection.agreement is None:
            return run
    run.frames, _ = parse_frames(written, masked=False)
    return run


def _begin_open(view: type[ViewT], driver: SessionDriver, made: list[ViewT]) -> Session:
    one = view(_no_request())
    made.append(one)
    connection = Connection.after_handshake(
        Role.SERVER, one._config(), Agreement(), now=driver.time
    )
    session = Session(connection, one._hooks())
    one._attach(session, driver)
    return session


def _begin_with_handshake(view: type[ViewT], driver: SessionDriver, made: list[ViewT]) -> Session:
    def route(event: Request | HttpRequest) -> Target:
        one = view(UpgradeRequest.from_event(event))
        one._attach(session, driver)
        made.append(one)
        return Target(one._hooks(), one._config())

    # As servers do: what is said about origins counts from routing on.
    connection = Connection(Role.SERVER, Config(origins=("*",)), now=driver.time)
    session = Session(connection, route=route)
    return session


def _no_request() -> UpgradeRequest:
    return UpgradeRequest("/", Headers(), host="server.example")
