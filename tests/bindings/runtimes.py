"""Where the contract suite meets a runtime: one class for each, and nothing of it in a scenario.

A scenario is plain code in the test's thread. It holds a raw ``Peer`` on one side and, on the
other, a runtime that runs our views in a thread of its own. Views are written once, subclasses of
``AsyncView`` with ``async def`` hooks; ``adopt`` makes them views of the runtime. (A threaded
runtime wraps: its hooks run the coroutine to its end, its methods return what can be awaited.)

To add a runtime, subclass ``Runtime`` and enter it in ``RUNTIMES``. Nothing else changes.
"""

import asyncio
import concurrent.futures
import os
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import wsproto_asyncio
from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from wsproto_core import Frame, OpCode
from wsproto_views import AsyncView

__all__ = [
    "RUNTIMES",
    "Gate",
    "Link",
    "Log",
    "Runtime",
    "Server",
    "Tls",
    "eventually",
    "ours",
    "recorder",
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

    @abstractmethod
    async def opened(self, url: str, view: View | None = None, **options: Any) -> Any:
        """Connect, and leave the closing to the caller."""

    @abstractmethod
    def gate(self) -> Gate: ...

    @abstractmethod
    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        """Give ``function`` so much time, then cancel it; ``None`` if that was needed."""

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

    async def within(self, seconds: float, function: Callable[[], Awaitable[T]]) -> T | None:
        try:
            async with asyncio.timeout(seconds):
                return await function()
        except TimeoutError:
            return None


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


class Uvloop(Asyncio):
    """asyncio on libuv."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


class EagerTasks(Asyncio):
    """asyncio where every task starts at once."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop


RUNTIMES: dict[str, Callable[[], Runtime]] = {"asyncio": Asyncio, "uvloop": Uvloop}
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
            assert not behind or not self.tls
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
        server = self.runtime.call(_enter, self.runtime.serve(views, **options))
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


async def _enter(context: AbstractAsyncContextManager[Any]) -> Any:
    return await context.__aenter__()


async def _release(view: Any) -> None:
    await view.safe_close()


@contextmanager
def ours(make: Callable[[], Runtime]) -> Iterator[Runtime]:
    """A running runtime; in the end nothing of it may be left: task, timer, thread, descriptor."""
    _warm_up(make)
    threads, descriptors = set(threading.enumerate()), _descriptors()
    runtime = make()
    runtime.start()
    try:
        yield runtime
        eventually(lambda: not runtime.leftovers(), f"an end without {runtime.leftovers()}")
    finally:
        complaints = runtime.stop()
    assert not complaints, complaints
    eventually(
        lambda: set(threading.enumerate()) <= threads,
        f"an end without {set(threading.enumerate()) - threads}",
    )
    eventually(
        lambda: _descriptors() <= descriptors, f"{_descriptors()} instead of {descriptors} files"
    )


@cache
def _warm_up(make: Callable[[], Runtime]) -> None:
    """What a runtime opens once per process and keeps is not counted."""
    runtime = make()
    runtime.start()
    runtime.stop()


def _descriptors() -> int:
    """How many descriptors are open; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    except OSError:
        return 0
