"""Where the contract suite meets a runtime: one class for each, and nothing of it in a scenario.

A scenario is plain code in the test's thread. It holds a raw ``Peer`` on one side and, on the
other, a runtime that runs our views in a thread of its own. Views are written once, subclasses of
``AsyncView`` with ``async def`` hooks; ``adopt`` makes them views of the runtime. (A threaded
runtime wraps: its hooks run the coroutine to its end, its methods return what can be awaited.)

To add a runtime, subclass ``Runtime`` and enter it in ``RUNTIMES``. Nothing else changes.
"""

import asyncio
import concurrent.futures
import inspect
import logging
import os
import socket
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import fields
from functools import cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from unittest import mock

import anyio
import pytest
import trio

import wsproto_anyio
import wsproto_asyncio
import wsproto_threading
import wsproto_trio
import wsproto_views.sockets
from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from wsproto_core import Frame, Hooks, OpCode, PeerTimeout
from wsproto_views import AsyncView

__all__ = [
    "RUNTIMES",
    "Gate",
    "Link",
    "Log",
    "Runtime",
    "Server",
    "Tls",
    "descriptors",
    "eventually",
    "ours",
    "recorder",
    "threads",
]

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
View: TypeAlias = type[AsyncView]


def eventually(condition: Callable[[], bool], what: str = "it") -> None:
    """Poll; for what nobody tells of."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about within {DEADLINE:g} s"
        time.sleep(0.002)


class Log:
    """What hooks write down and a test waits for; for all threads."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait(self, entry: Any, count: int = 1) -> None:
        """Return when ``entry`` is there ``count`` times."""
        with self._changed:
            met = self._changed.wait_for(lambda: self.entries.count(entry) >= count, DEADLINE)
            assert met, f"{entry!r} is not in {self.entries!r}"

    def wait_len(self, count: int) -> list[Any]:
        """Return the entries when there are ``count`` of them."""
        with self._changed:
            met = self._changed.wait_for(lambda: len(self.entries) >= count, DEADLINE)
            assert met, f"expected {count} entries, got {self.entries!r}"
            return list(self.entries)


def recorder(log: Log) -> View:
    """A view class that writes every ending and every message down."""

    class Recorder(AsyncView):
        async def on_open(self) -> None:
            log.add("open")

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add((opcode.name, message))

        async def on_error(self, exc: Exception) -> None:
            log.add(("error", type(exc).__name__))

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add(("close", None if frame is None else frame.close_code))

    return Recorder


class Gate(ABC):
    """Opened by the test's thread, waited for in hooks."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    async def wait(self) -> None: ...


class Running(Protocol[R_co]):
    """Something that the runtime runs for the test."""

    def result(self, timeout: float | None = DEADLINE) -> R_co: ...

    def exception(self, timeout: float | None = DEADLINE) -> BaseException | None: ...

    def cancel(self) -> bool: ...

    def done(self) -> bool: ...


class Server(Protocol):
    """What the suite needs of any runtime's server."""

    @property
    def port(self) -> int | None: ...

    async def close(self, code: int = ..., reason: str = ...) -> None: ...

    async def wait_closed(self) -> None: ...


class Tls:
    """Certificates of one test run: a good one for localhost, and those of a stranger."""

    def __init__(self) -> None:
        import trustme

        authority, stranger = trustme.CA(), trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server)
        self.other_name = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("elsewhere.test").configure_cert(self.other_name)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.stranger = ssl.create_default_context()
        stranger.configure_trust(self.stranger)


class Runtime(ABC):
    """One runtime, running in a thread of its own between ``start`` and ``stop``."""

    view_class: View
    """Its ``WebSocketView``."""

    strictly_async = True
    """What its views say."""

    cancels = True
    """Whether what runs can be cancelled; if not, it can only be given a timeout."""

    accepts_in_python = True
    """Whether a test can come between it and ``accept``."""

    hooks_block = True
    """Whether a hook that blocks holds up the connection's pongs and heartbeat."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What our code left running: tasks, timers. Threads and files are counted outside."""

    @abstractmethod
    def stop(self) -> list[str]:
        """End the thread; returns the complaints that nobody caught."""

    @abstractmethod
    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any) -> Running[T]:
        """Run ``function(*args)`` there, beside everything else."""

    @abstractmethod
    def serve(self, views: Any, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def connect(
        self, url: str, view: View | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Any]: ...

    async def served(self, views: Any, **options: Any) -> Any:
        """Serve, and leave the closing to the caller."""
        return await self.serve(views, **options)  # type: ignore[misc]

    @abstractmethod
    async def opened(self, url: str, view: View | None = None, **options: Any) -> Any:
        """Connect, and leave the closing to the caller."""

    def again(self, url: str, view: View | None = None, **options: Any) -> AsyncIterator[Any]:
        """Connect again and again."""
        connect: Any = self.connect(url, view, **options)
        return aiter(connect)

    @abstractmethod
    def gate(self) -> Gate: ...

    @abstractmethod
    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        """Give ``function`` so much time, then cancel it; ``None`` if that was needed."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let time pass, in a hook."""

    @abstractmethod
    async def together(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run these in a group of tasks, where one that fails cancels the others."""

    def resolve_to(self, monkeypatch: pytest.MonkeyPatch, ports: list[int]) -> None:
        """From here on names stand for these ports of loopback, each with a lead of a moment."""
        monkeypatch.setattr(wsproto_views.sockets, "numeric", lambda *_: _addresses(ports))
        monkeypatch.setattr(wsproto_views.sockets, "LEAD", 0.005)

    @abstractmethod
    def shortages(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        """What was said since the last time about a lack of resources."""

    def overran(self, gate: Gate) -> None:  # noqa: B027  nothing is to be done as a rule
        """A hook that waits at ``gate`` has no time left: it is cancelled, or here let go."""

    async def released(self, view: Any) -> None:
        """Return when every hook of ``view`` has ended and the stream is closed."""
        await view._driver.settle(view._driver.is_released)

    async def ended(self, server: Any) -> None:
        """Close a view's ``server``."""
        await server.close()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run it and wait for the outcome."""
        return self.spawn(function, *args).result(DEADLINE)

    def adopt(self, view: View, made: Callable[[Any], None] | None = None, **settings: Any) -> View:
        """``view`` as a view of this runtime; ``made`` is told of each instance."""
        namespace: dict[str, Any] = dict(settings)
        if made is not None:

            def __init__(self: Any, upgrade_request: Any, **kwargs: Any) -> None:  # noqa: N807
                super(adopted, self).__init__(upgrade_request, **kwargs)  # type: ignore[misc]
                made(self)

            namespace["__init__"] = __init__
        adopted: View = type(view.__name__, (view, self.view_class), namespace)
        return adopted


# ---------------------------------------------------------------------------------- asyncio


class AsyncioGate(Gate):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        with self._lock:
            self._open = True
            for loop, event in self._waiters:
                loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._open:
                return
            self._waiters.append((asyncio.get_running_loop(), event))
        await event.wait()


class Asyncio(Runtime):
    """asyncio as it comes."""

    view_class = wsproto_asyncio.WebSocketView

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def start(self) -> None:
        self._complaints: list[str] = []
        started = threading.Event()

        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            self.loop.set_exception_handler(self._complain)
            self._end = asyncio.Event()
            started.set()
            await self._end.wait()

        def run() -> None:
            with asyncio.Runner(loop_factory=self.new_loop) as runner:
                runner.run(main())

        self._thread = threading.Thread(target=run, name="loop")
        self._thread.start()
        assert started.wait(DEADLINE)

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        line = f"{context.get('message')}: {context.get('exception')!r}"
        if not line.startswith(
            "Error on transport creation"
        ):  # a peer's bad TLS, told in debug mode
            self._complaints.append(line)

    def leftovers(self) -> list[str]:
        async def look() -> list[str]:
            me = asyncio.current_task()
            found = [
                f"task {task!r}"
                for task in asyncio.all_tasks()
                if task is not me and "main" not in repr(task.get_coro())
            ]
            timers = getattr(self.loop, "_scheduled", [])
            return found + [f"timer {item!r}" for item in timers if not item.cancelled()]

        return self.call(look)

    def stop(self) -> list[str]:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the loop does not end"
        return self._complaints

    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any) -> Running[T]:
        async def run() -> T:
            return await function(*args)

        future = asyncio.run_coroutine_threadsafe(run(), self.loop)
        return _Future(future)

    def serve(self, views: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return wsproto_asyncio.serve(views, **options)

    def connect(
        self, url: str, view: View | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return wsproto_asyncio.connect(url, view, **options)

    async def opened(self, url: str, view: View | None = None, **options: Any) -> Any:
        return await wsproto_asyncio.connect(url, view, **options)

    def gate(self) -> Gate:
        return AsyncioGate()

    def shortages(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return _logged(caplog)

    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        try:
            async with asyncio.timeout(seconds):
                return await function()
        except TimeoutError:
            return None

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def together(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for function in functions:
                group.create_task(function())


class _Future(Generic[T]):
    """A concurrent future whose waiting has a deadline by default."""

    def __init__(self, future: "concurrent.futures.Future[T]") -> None:
        self._future = future
        self.cancel = future.cancel
        self.done = future.done

    def result(self, timeout: float | None = DEADLINE) -> T:
        return self._future.result(timeout)

    def exception(self, timeout: float | None = DEADLINE) -> BaseException | None:
        return self._future.exception(timeout)


class AsyncioWithoutEpoll(Asyncio):
    """asyncio as it is where there is no epoll."""

    def start(self) -> None:
        self._patch = mock.patch("wsproto_asyncio.hub.has_epoll", new=False)
        self._patch.start()
        super().start()

    def stop(self) -> list[str]:
        try:
            return super().stop()
        finally:
            self._patch.stop()


class Uvloop(Asyncio):
    """asyncio on libuv."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


class UvloopTransports(Uvloop):
    """The same by transports, as where the loop does not let us watch sockets."""

    accepts_in_python = False

    def start(self) -> None:
        self._patches = [
            mock.patch(f"wsproto_asyncio.{module}.watches_sockets", return_value=False)
            for module in ("client", "server")
        ]
        for patch in self._patches:
            patch.start()
        super().start()

    def stop(self) -> list[str]:
        try:
            return super().stop()
        finally:
            for patch in self._patches:
                patch.stop()


class EagerTasks(Asyncio):
    """asyncio where every task starts at once."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop


# ---------------------------------------------------------------------------------- threads


class Done:
    """What a plain method gave, for a caller that awaits it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)


def drive(value: Any) -> Any:
    """Run what can be awaited to its end, in one step: nothing in it ever suspends."""
    if not inspect.isawaitable(value):
        return value
    steps = value.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("a hook for threads waits for something of a loop")


_limit = threading.local()  # .until: the end of the innermost `within`


def _left() -> float | None:
    until = getattr(_limit, "until", None)
    return None if until is None else max(0.0, until - time.monotonic())


def _plain(name: str) -> Any:
    """A method of the threaded view that can be awaited, too. It runs when it is called."""
    method = getattr(wsproto_threading.WebSocketView, name)
    timed = "timeout" in inspect.signature(method).parameters

    def call(self: Any, *arguments: Any, **options: Any) -> Done:
        if timed and _left() is not None:
            options.setdefault("timeout", _left())
        return Done(method(self, *arguments, **options))

    return call


def _each(parts: AsyncIterable[Any]) -> Iterator[Any]:
    iterator = aiter(parts)
    while True:
        try:
            yield drive(anext(iterator))
        except StopAsyncIteration:
            return


class ThreadedView(AsyncView, wsproto_threading.WebSocketView):  # type: ignore[misc]
    """The view of a test, which is written for a loop, on threads: its hooks are driven to their
    ends, its methods can be awaited."""

    _is_library = True

    strictly_async = wsproto_threading.WebSocketView.strictly_async
    post = wsproto_threading.WebSocketView.post
    _offer = wsproto_threading.WebSocketView._offer
    _take = wsproto_threading.WebSocketView._take  # type: ignore[assignment]
    initiate_upgrade_to_ws = _plain("initiate_upgrade_to_ws")
    run_forever = _plain("run_forever")
    read_frame = _plain("read_frame")
    recv = _plain("recv")
    send = _plain("send")
    send_text = _plain("send_text")
    send_binary = _plain("send_binary")
    send_json = _plain("send_json")
    send_frame = _plain("send_frame")
    send_ping = _plain("send_ping")
    send_pong = _plain("send_pong")
    ping = _plain("ping")
    send_close = _plain("send_close")
    close = _plain("close")
    safe_close = _plain("safe_close")
    abort = _plain("abort")

    def send_stream(self, parts: Any, *arguments: Any, **options: Any) -> Any:
        plain = _each(parts) if isinstance(parts, AsyncIterable) else parts
        sending = wsproto_threading.WebSocketView.send_stream
        return Done(sending(self, plain, *arguments, **options))

    def _hooks(self) -> Hooks:
        hooks = super()._hooks()

        def driven(hook: Any) -> Any:
            return None if hook is None else lambda *arguments: drive(hook(*arguments))

        return Hooks(**{item.name: driven(getattr(hooks, item.name)) for item in fields(Hooks)})

    @classmethod
    def _check(cls) -> None:
        """Its hooks are coroutines, and driven."""


class ThreadGate(Gate):
    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        if not self._event.wait(2 * DEADLINE if _left() is None else _left()):
            raise TimeoutError


class _Threaded:
    """A context manager and an iterator of threads, for callers that await."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Any:
        entered = self._inner.__enter__()
        return _Threaded(entered) if isinstance(entered, wsproto_threading.Server) else entered

    async def __aexit__(self, *error: object) -> None:
        self._inner.__exit__(*error)

    def __await__(self) -> Generator[Any, None, Any]:
        return Done(self).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        connections = iter(self._inner)
        try:
            for item in connections:
                yield item
        finally:
            connections.close()

    @property
    def port(self) -> Any:
        return self._inner.port

    @property
    def sockets(self) -> Any:
        return self._inner.sockets

    @property
    def connections(self) -> Any:
        return self._inner.connections

    async def close(self, *arguments: Any) -> None:
        self._inner.close(*arguments)

    async def wait_closed(self) -> None:
        self._inner.wait_closed()

    async def serve_forever(self) -> None:
        self._inner.serve_forever()


class _Spawned(Generic[T]):
    """A thread that runs something for the test."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.done = self._future.done
        self.cancel = self._future.cancel  # it says no

        def run() -> None:
            try:
                self._future.set_result(drive(function(*arguments)))
            except BaseException as error:  # noqa: BLE001  the test raises it
                self._future.set_exception(error)

        self._future.set_running_or_notify_cancel()
        self.thread = threading.Thread(target=run, name="spawned", daemon=True)
        self.thread.start()

    def result(self, timeout: float | None = DEADLINE) -> T:
        return self._future.result(timeout)

    def exception(self, timeout: float | None = DEADLINE) -> BaseException | None:
        return self._future.exception(timeout)


class Threads(Runtime):
    """Threads and plain functions."""

    view_class = ThreadedView
    strictly_async = False
    cancels = False
    hooks_block = False

    def start(self) -> None:
        self._complaints: list[str] = []
        self._gates: list[Gate] = []
        self._hook_before = threading.excepthook
        threading.excepthook = lambda args: self._complaints.append(repr(args.exc_value))

    def leftovers(self) -> list[str]:
        return []  # threads, and those are counted outside

    def stop(self) -> list[str]:
        for gate in self._gates:
            gate.open()
        threading.excepthook = self._hook_before
        return self._complaints

    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any) -> Running[T]:
        return _Spawned(function, args)

    def serve(self, views: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        judge = options.pop("on_request", None)
        if judge is not None:
            options["on_request"] = lambda request: drive(judge(request))
        return _Threaded(wsproto_threading.serve(views, **options))

    def connect(
        self, url: str, view: View | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return _Threaded(self._connect(url, view, options))

    def _connect(self, url: str, view: View | None, options: dict[str, Any]) -> Any:
        if _left() is not None:
            options.setdefault("open_timeout", _left())
        connect: Any = wsproto_threading.connect
        return connect(url, ThreadedView if view is None else view, **options)

    async def opened(self, url: str, view: View | None = None, **options: Any) -> Any:
        return self._connect(url, view, options).open()

    def gate(self) -> Gate:
        self._gates.append(ThreadGate())
        return self._gates[-1]

    def overran(self, gate: Gate) -> None:
        gate.open()

    async def ended(self, server: Any) -> None:
        server.close()

    async def released(self, view: Any) -> None:
        with view._driver.lock:
            view._driver.settle(view._driver.is_released)

    def shortages(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return _logged(caplog)

    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        outer = getattr(_limit, "until", None)
        _limit.until = time.monotonic() + seconds
        try:
            return await function()
        except TimeoutError as error:
            if isinstance(error, PeerTimeout) and error.timer != "open":
                raise
            return None
        finally:
            _limit.until = outer

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  a thread is what runs it

    async def together(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        raise NotImplementedError("threads cannot be cancelled")


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [item.getMessage() for item in caplog.records if item.levelno == logging.ERROR]
    caplog.clear()
    return found


def _addresses(ports: list[int]) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]


# ---------------------------------------------------------------------------------- trio, anyio


class Nursed(Runtime):
    """A runtime whose tasks live in a nursery; this one's is open as long as it runs."""

    module: Any
    """The binding."""

    nursery_option: str
    """How ``connect`` calls a nursery."""

    @abstractmethod
    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run ``main`` to its end, in a loop of its own."""

    @abstractmethod
    def open_nursery(self) -> Any: ...

    @abstractmethod
    def event(self) -> Any: ...

    @abstractmethod
    def new_scope(self) -> Any: ...

    @abstractmethod
    def cancelled(self) -> type[BaseException]: ...

    @abstractmethod
    def later(self) -> Callable[[Callable[[], object]], object]:
        """What runs a function in the loop's thread, from any thread."""

    @abstractmethod
    def tasks(self) -> list[str]:
        """The tasks that our code runs."""

    def start(self) -> None:
        started = threading.Event()
        self._errors: list[BaseException] = []
        self._ended = False
        self._wanted: deque[Callable[[], Awaitable[None]]] = deque()

        async def main() -> None:
            self._news = self.event()
            self.post = self.later()
            async with self.open_nursery() as self.nursery:
                started.set()
                while not self._ended:
                    await self._news.wait()
                    self._news = self.event()
                    while self._wanted:
                        self.nursery.start_soon(self._wanted.popleft())

        def run() -> None:
            try:
                self.run(main)
            except BaseException as error:  # noqa: BLE001 - told in stop()
                self._errors.append(error)
                started.set()

        self._thread = threading.Thread(target=run, name="loop")
        self._thread.start()
        assert started.wait(DEADLINE)

    def _tell(self) -> None:
        self._news.set()

    def stop(self) -> list[str]:
        self._ended = True
        with suppress(RuntimeError):
            self.post(self._tell)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the loop does not end"
        return list(map(repr, self._errors))

    def leftovers(self) -> list[str]:
        async def look() -> list[str]:
            return self.tasks()

        return self.call(look)

    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any) -> Running[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        running = _Tasked(future, self)

        async def run() -> None:
            running.scope = self.new_scope()
            try:
                with running.scope:
                    if running.cancelled:
                        running.scope.cancel()
                    try:
                        value = await function(*args)
                    except self.cancelled():
                        raise
                    except BaseException as error:  # noqa: BLE001 - the test gets it
                        future.set_exception(error)
                    else:
                        future.set_result(value)
            finally:
                if not future.done():
                    future.set_exception(concurrent.futures.CancelledError())

        self._wanted.append(run)
        self.post(self._tell)
        return running

    def serve(self, views: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        context: AbstractAsyncContextManager[Any] = self.module.serve(views, **options)
        return context

    def connect(
        self, url: str, view: View | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        context: AbstractAsyncContextManager[Any] = self.module.connect(url, view, **options)
        return context

    async def served(self, views: Any, **options: Any) -> Any:
        return await self.nursery.start(self.module.serve(views, **options))

    async def opened(self, url: str, view: View | None = None, **options: Any) -> Any:
        options[self.nursery_option] = self.nursery
        return await self.module.connect(url, view, **options)

    def again(self, url: str, view: View | None = None, **options: Any) -> AsyncIterator[Any]:
        options[self.nursery_option] = self.nursery
        return aiter(self.module.connect(url, view, **options))

    def gate(self) -> Gate:
        return NursedGate(self)

    def shortages(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return _logged(caplog)


class NursedGate(Gate):
    def __init__(self, runtime: Nursed) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._open = False
        self._events: list[Any] = []

    def open(self) -> None:
        with self._lock:
            self._open = True
            for event in self._events:
                self._runtime.post(event.set)

    async def wait(self) -> None:
        with self._lock:
            if self._open:
                return
            event = self._runtime.event()
            self._events.append(event)
        await event.wait()


class _Tasked(_Future[T]):
    """A task in the nursery."""

    def __init__(self, future: "concurrent.futures.Future[T]", runtime: Nursed) -> None:
        super().__init__(future)
        self._runtime = runtime
        self.scope: Any = None
        self.cancelled = False
        self.cancel = self._cancel

    def _cancel(self) -> bool:
        def cancel() -> None:
            self.cancelled = True
            if self.scope is not None:
                self.scope.cancel()

        self._runtime.post(cancel)
        return True


class Trio(Nursed):
    """trio."""

    module = wsproto_trio
    view_class = wsproto_trio.WebSocketView
    nursery_option = "nursery"

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        trio.run(main)

    def open_nursery(self) -> Any:
        return trio.open_nursery()

    def event(self) -> Any:
        return trio.Event()

    def new_scope(self) -> Any:
        return trio.CancelScope()

    def cancelled(self) -> type[BaseException]:
        return trio.Cancelled

    def later(self) -> Callable[[Callable[[], object]], object]:
        return trio.lowlevel.current_trio_token().run_sync_soon

    def tasks(self) -> list[str]:
        me = trio.lowlevel.current_task()
        return [repr(task) for task in self.nursery.child_tasks if task is not me]

    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        with trio.move_on_after(seconds):
            return await function()
        return None

    async def pause(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def together(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)


class Anyio(Nursed):
    """anyio on one of its backends."""

    module = wsproto_anyio
    view_class = wsproto_anyio.WebSocketView
    nursery_option = "task_group"
    backend: str

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        anyio.run(main, backend=self.backend)

    def open_nursery(self) -> Any:
        self._first = {task.id for task in anyio.get_running_tasks()}
        return anyio.create_task_group()

    def event(self) -> Any:
        return anyio.Event()

    def new_scope(self) -> Any:
        return anyio.CancelScope()

    def cancelled(self) -> type[BaseException]:
        return anyio.get_cancelled_exc_class()

    def tasks(self) -> list[str]:
        known = {*self._first, anyio.get_current_task().id}
        return [repr(task) for task in anyio.get_running_tasks() if task.id not in known]

    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        with anyio.move_on_after(seconds):
            return await function()
        return None

    async def pause(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def together(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as group:
            for function in functions:
                group.start_soon(function)


class AnyioOnAsyncio(Anyio):
    backend = "asyncio"

    def later(self) -> Callable[[Callable[[], object]], object]:
        return asyncio.get_running_loop().call_soon_threadsafe


class AnyioOnTrio(Anyio):
    backend = "trio"

    def later(self) -> Callable[[Callable[[], object]], object]:
        return trio.lowlevel.current_trio_token().run_sync_soon


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "asyncio": Asyncio,
    "uvloop": Uvloop,
    "trio": Trio,
    "anyio-asyncio": AnyioOnAsyncio,
    "anyio-trio": AnyioOnTrio,
    "threads": Threads,
    # What other platforms are like.
    "asyncio-without-epoll": AsyncioWithoutEpoll,
    "uvloop-transports": UvloopTransports,
}
if sys.version_info >= (3, 12):
    RUNTIMES["asyncio-eager"] = EagerTasks


# ---------------------------------------------------------------------------------- the two sides


class Link:
    """Connects a view of ours with a raw peer; ``role`` says which of the two is the server."""

    def __init__(self, runtime: Runtime, role: str, tls: Tls | None) -> None:
        self.runtime = runtime
        self.role = role
        self.tls = tls
        self.views: list[Any] = []
        self._peers: list[Peer] = []
        self._ends: list[Callable[[], None]] = []

    @property
    def view(self) -> Any:
        """Our view: the newest."""
        return self.views[-1]

    def open(
        self,
        view: View,
        *,
        target: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        behind: bytes = b"",
        window: int | None = None,
        **settings: Any,
    ) -> Peer:
        """Make a connection; returns the peer when the handshake is through on both sides.

        ``headers`` are the peer's, ``settings`` the view's; ``behind`` comes in one segment with
        the peer's part of the handshake.
        """
        adopted = self.runtime.adopt(view, self.views.append, **settings)
        if self.role == "server":
            port, tls = self.serve(adopted)
            sock = connect_tcp(port, window=window)
            if tls is not None:
                sock = tls.client.wrap_socket(sock, server_hostname="localhost")
            peer = Peer(sock, is_client=True)
            self._peers.append(peer)
            head = peer.request(target, headers=headers)
            assert head.status == 101, head.line
            if behind:
                peer.send_raw(behind)
            return peer
        listener = Listener(tls=self.tls.server if self.tls else None, window=window)
        with listener:
            options = {"ssl": self.tls.client} if self.tls else {}
            opening = self.runtime.spawn(
                lambda: self.runtime.opened(listener.url(target), adopted, **options)
            )
            peer = listener.accept()
            self._peers.append(peer)
            peer.answer(headers=headers, behind=behind)
            opened = opening.result()
        self._ends.append(lambda: self.runtime.call(_release, opened))
        return peer

    def serve(self, views: Any, **options: Any) -> tuple[int, Tls | None]:
        """Start a server that ends with the test; returns its port."""
        if self.tls is not None:
            options["ssl"] = self.tls.server
        server = self.runtime.call(lambda: self.runtime.served(views, **options))
        self._ends.append(lambda: self.runtime.call(server.close))
        assert server.port is not None
        return server.port, self.tls

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Call a method of the view in its runtime and wait for the outcome."""
        return self.spawn(function, *args, **kwargs).result(DEADLINE)

    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> Running[T]:
        """Call a method of the view in its runtime."""
        return self.runtime.spawn(lambda: function(*args, **kwargs))

    def end(self) -> None:
        """Leave, however things stand."""
        for peer in self._peers:
            peer.sock.close()
        for end in self._ends:
            end()


async def _release(view: Any) -> None:
    await view.safe_close()


@contextmanager
def ours(make: Callable[[], Runtime]) -> Iterator[Runtime]:
    """A running runtime; in the end nothing of it may be left: task, timer, thread, descriptor."""
    _warm_up(make)
    threads_before, descriptors_before = threads(), descriptors()
    runtime = make()
    runtime.start()
    try:
        yield runtime
        eventually(lambda: not runtime.leftovers(), f"an end without {runtime.leftovers()}")
    finally:
        complaints = runtime.stop()
    assert not complaints, complaints
    eventually(
        lambda: threads() <= threads_before,
        f"an end without {threads() - threads_before}",
    )
    eventually(
        lambda: descriptors() <= descriptors_before,
        f"{descriptors()} instead of {descriptors_before} files",
    )


@cache
def _warm_up(make: Callable[[], Runtime]) -> None:
    """What a runtime opens once per process and keeps is not counted."""
    runtime = make()
    runtime.start()
    runtime.stop()


def threads() -> set[threading.Thread]:
    """The threads that run, but for those that trio keeps for the next who needs one."""
    return {item for item in threading.enumerate() if not item.name.startswith("Trio thread")}


def descriptors() -> int:
    """How many descriptors are open; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    except OSError:
        return 0
