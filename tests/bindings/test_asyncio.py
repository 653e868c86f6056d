"""What is special to asyncio: tasks, loops, transports, TLS, sockets, the server's life."""

import ast
import asyncio
import concurrent.futures
import contextvars
import gc
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

import wsproto_asyncio
from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import RUNTIMES, Asyncio, Link, Log, Tls, eventually, ours, recorder
from wsproto_asyncio import (
    ConnectionClosed,
    Frame,
    LocalProtocolError,
    WebSocketView,
    connect,
    serve,
)
from wsproto_asyncio.worker import Worker
from wsproto_core import Config, Connection, Role, Session
from wsproto_views import AsyncView

FAMILY = [name for name, make in RUNTIMES.items() if issubclass(make, Asyncio)]  # type: ignore[arg-type]


class Echo(WebSocketView):
    async def on_text(self, text: str) -> None:
        await self.send(text)


@pytest.fixture(params=FAMILY)
def runtime(request: pytest.FixtureRequest) -> Iterator[Asyncio]:
    with ours(RUNTIMES[request.param]) as runtime:
        assert isinstance(runtime, Asyncio)
        yield runtime


@pytest.fixture
def link(runtime: Asyncio) -> Iterator[Link]:
    """Our view as a server."""
    link = Link(runtime, "server", None)
    yield link
    link.end()


@pytest.fixture
def tls_link(runtime: Asyncio, tls: Tls) -> Iterator[Link]:
    """The same over TLS."""
    link = Link(runtime, "server", tls)
    yield link
    link.end()


# ---------------------------------------------------------------------------------- a server's life


def test_serve_forever_cancelled(runtime: Asyncio, log: Log) -> None:
    ports: list[int] = []

    async def scenario() -> None:
        async with serve(Echo) as server:
            assert server.port is not None
            ports.append(server.port)
            log.add("up")
            await server.serve_forever()

    running = runtime.spawn(scenario)
    log.wait("up")
    with Peer(connect_tcp(ports[0]), is_client=True) as peer:
        peer.request()
        running.cancel()
        assert peer.reply()[0] == 1001
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(ports[0])


@pytest.mark.parametrize("name", FAMILY)
def test_post_after_the_loop_is_closed(name: str) -> None:
    with ours(RUNTIMES[name]) as runtime:
        link = Link(runtime, "server", None)
        link.open(Echo)
        link.end()
    link.view.post("nobody hears it")


# ---------------------------------------------------------------------------------- timers


def test_f7_timers_do_not_pile_up(link: Link) -> None:
    peer = link.open(Echo)
    for _ in range(100):
        peer.text("x")
        assert peer.message() == "x"
        peer.ping(b"y")
        assert peer.frame() == (0x8A, b"y")
    scheduled = getattr(link.runtime.loop, "_scheduled", ())  # type: ignore[attr-defined]
    assert len(scheduled) <= 2
    peer.bye()


def test_f7_a_timer_that_is_due_at_once(link: Link) -> None:
    """And then one that is due before it. (uvloop gives no timer for the first.)"""
    peer = link.open(Echo)
    driver = link.view._driver

    async def arm_twice() -> None:
        session, now = driver.session, driver.now()
        for at in (now, now - 1):
            waiting = Connection(Role.SERVER, Config(open_timeout=1.0), now=at - 1.0)
            driver.session = Session(waiting)
            assert driver.session.next_deadline() == pytest.approx(at)
            driver._arm()
        driver.session = session

    link.runtime.call(arm_twice)
    peer.text("hello")
    assert peer.message() == "hello"


# ---------------------------------------------------------------------------------- arguments


def test_connect_is_for_one_use(runtime: Asyncio, link: Link) -> None:
    port, _ = link.serve(Echo)

    async def scenario() -> None:
        once = connect(f"ws://127.0.0.1:{port}/")
        async with once:
            with pytest.raises(LocalProtocolError, match="used before"):
                await once

    runtime.call(scenario)


# ---------------------------------------------------------------------------------- tasks


def test_the_first_step_runs_inside_a_task(runtime: Asyncio, log: Log, link: Link) -> None:
    class Tasked(WebSocketView):
        async def on_text(self, text: str) -> None:
            task = asyncio.current_task()
            assert task is not None
            async with asyncio.timeout(DEADLINE):  # noqa: ASYNC100 - it asks for a task
                log.add("timeout()")
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            assert asyncio.current_task() is task
            log.add("group")
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(DEADLINE)
            except TimeoutError:
                log.add("timed out")

    link.open(Tasked).text("a")
    assert log.wait_len(3) == ["timeout()", "group", "timed out"]


def test_a_hook_that_does_not_wait_costs_no_turn(runtime: Asyncio, log: Log, link: Link) -> None:
    class Counting(WebSocketView):
        async def on_text(self, text: str) -> None:
            asyncio.get_running_loop().call_soon(log.add, "turn")
            log.add(text)
            await self.send(text)

    peer = link.open(Counting)
    peer.send_raw(b"".join(peer.encode(0x81, text) for text in "abc"))
    log.wait("turn", 3)
    assert log.entries == ["a", "b", "c", "turn", "turn", "turn"]


class Held:
    """Connections of one server that all become ready while its loop is held up by one of them."""

    def __init__(self, runtime: Asyncio, link: Link, view: type[WebSocketView]) -> None:
        self._held, self._go_on = threading.Event(), threading.Event()
        self._loop = runtime.loop
        self.views: list[Any] = []
        port, tls = link.serve(runtime.adopt(view, self.views.append))
        self.peers: list[Peer] = []
        for _ in range(20):
            sock = connect_tcp(port)
            if tls is not None:
                sock = tls.client.wrap_socket(sock, server_hostname="localhost")
            self.peers.append(Peer(sock, is_client=True))
            self.peers[-1].request()
            self.peers[-1].text("the first hook begins in a turn of its own")
            self.peers[-1].message()

    def __enter__(self) -> list[Peer]:
        self._loop.call_soon_threadsafe(self._hold)
        assert self._held.wait(DEADLINE)
        return self.peers

    def _hold(self) -> None:
        self._held.set()
        self._go_on.wait(DEADLINE)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_many_that_are_ready_at_once(runtime: Asyncio, tls: Tls, secure: bool) -> None:
    """More of them, and of some more than is kept between two steps."""
    link = Link(runtime, "server", tls if secure else None)
    held = Held(runtime, link, Echo)
    sizes = [1, 200, 20_000, 300_000]
    threads = []
    with held as peers:
        for at, peer in enumerate(peers):
            peer.send_raw(b"".join(peer.encode(0x81, f"{at}.{n}") for n in range(3)))
            if at % 2:
                text = "x" * sizes[at // 2 % 4]
                threads.append(threading.Thread(target=peer.text, args=(text,)))
                threads[-1].start()
    for at, peer in enumerate(peers):
        assert [peer.message() for _ in range(3)] == [f"{at}.{n}" for n in range(3)]
        if at % 2:
            assert peer.message() == "x" * sizes[at // 2 % 4]
        peer.bye()
        peer.sock.close()
    for thread in threads:
        thread.join(DEADLINE)
    link.end()


@pytest.mark.parametrize("end", ["abort", "close", "shut down", "reset"])
def test_one_ends_what_many_have_begun(runtime: Asyncio, log: Log, link: Link, end: str) -> None:
    """What came from the others was read by then, and counts or does not, but nothing is lost of
    the rest."""

    class Ending(WebSocketView):
        async def on_text(self, text: str) -> None:
            others = held.views[1:] if text in ("abort", "close") else ()
            for view in others:
                await (view.abort() if text == "abort" else view.send_close(4000))
            await self.send(text)

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add(held.views.index(self))

    held = Held(runtime, link, Ending)
    with held as peers:
        peers[0].text(end)
        for peer in peers[1:]:
            peer.text("hello")
            if end == "shut down":
                peer.sock.shutdown(socket.SHUT_WR)
            elif end == "reset":
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.sock.close()
    assert peers[0].message() == end
    for peer in peers[1:]:
        if end == "close":
            assert peer.reply()[0] == 4000
        if end == "shut down":
            assert peer.message() == "hello"
        peer.sock.close()
    log.wait_len(19)
    assert sorted(log.entries) == list(range(1, 20))
    peers[0].bye()
    peers[0].sock.close()


# Where the loop has the socket, the system takes the bytes in a later turn.
DIRECT = [name for name in FAMILY if name != "uvloop-transports"]


@pytest.mark.parametrize("runtime", DIRECT, indirect=True)
def test_a_wait_that_is_over_at_once_costs_no_turn(log: Log, link: Link) -> None:
    class Large(WebSocketView):
        WRITE_HIGH_WATER = 1000

        async def on_text(self, text: str) -> None:
            asyncio.get_running_loop().call_soon(log.add, "turn")
            await self.send("x" * 2000)
            log.add("sent")

    peer = link.open(Large, EXTENSIONS=())
    peer.text("the task's first step")
    peer.message()
    log.wait("sent")
    log.wait("turn")
    log.entries.clear()
    peer.text("begun where it arrives")
    peer.message()
    log.wait("turn")
    assert log.entries == ["sent", "turn"]


@pytest.mark.parametrize("runtime", DIRECT, indirect=True)
def test_many_waits_that_are_over_at_once_let_others_run(log: Log, link: Link) -> None:
    class Lavish(WebSocketView):
        WRITE_HIGH_WATER = 1000

        async def on_text(self, text: str) -> None:
            asyncio.get_running_loop().call_soon(log.add, "turn")
            for _ in range(20):
                await self.send("x" * 2000)
                log.add("sent")

    peer = link.open(Lavish, EXTENSIONS=())
    for _ in range(2):
        log.entries.clear()
        peer.text("go on")
        for _ in range(20):
            peer.message()
        log.wait("sent", 20)
    assert 0 < log.entries.index("turn") <= 8


def test_e5_many_small_messages_let_others_run(runtime: Asyncio, log: Log, link: Link) -> None:
    class Flooded(WebSocketView):
        seen = 0

        async def on_text(self, text: str) -> None:
            if not self.seen:
                asyncio.get_running_loop().call_soon(lambda: log.add(self.seen))
            type(self).seen += 1
            if text == "z":
                log.add("all")

    peer = link.open(Flooded)
    peer.send_raw(peer.encode(0x81, "a") * 5000 + peer.encode(0x81, "z"))
    log.wait("all")
    assert log.entries[0] <= 256


@pytest.mark.parametrize("hook", ["on_open", "on_text"])
def test_g6_a_hook_that_is_cancelled(runtime: Asyncio, log: Log, hook: str, link: Link) -> None:
    async def cancelled(self: WebSocketView, *_arguments: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            log.add("passed through")

    view = type("Cancelled", (recorder(log),), {hook: cancelled})
    peer = link.open(view)
    if hook == "on_text":
        peer.text("a")
    assert peer.reply()[0] == 1011
    log.wait("passed through")
    eventually(lambda: any(entry[0] == "close" for entry in log.entries))


def test_cancelling_a_task_that_waits_in_a_hook(runtime: Asyncio, log: Log, link: Link) -> None:
    tasks: list[Any] = []

    class Waiting(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: int) -> None:
            tasks.append(asyncio.current_task())
            log.add("waits")
            await self.ping()

    peer = link.open(Waiting)
    peer.text("a")
    log.wait("waits")
    runtime.loop.call_soon_threadsafe(tasks[0].cancel)
    assert peer.frame()[0] == 0x89
    assert peer.closed()[0] == 1011


def test_post_from_many_threads(runtime: Asyncio, link: Link) -> None:
    peer = link.open(Echo)
    view = link.view
    threads = [
        threading.Thread(target=lambda: [view.post(str(number)) for number in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    got = [int(str(peer.message())) for _ in range(400)]
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(list(range(50)) * 8)


WRITES = {
    # messages, and whether each has a turn of the loop: what then reaches transport.write()
    "one buffer": ([10_000], True),
    "small buffers joined": ([1000], False),
    "large buffers, and small ones between": ([40_000, 10, 10, 40_000], False),
}


@pytest.mark.parametrize("way", WRITES)
def test_v47_each_write_feels_a_slow_peer(runtime: Asyncio, link: Link, way: str) -> None:
    """V44 through each call that writes: more than the mark and a message never waits here.

    (CVE-2024-12254: ``writelines`` of some versions of CPython does not call ``pause_writing``.)
    """
    sizes, in_turns = WRITES[way]
    link.open(Echo, window=4096, EXTENSIONS=())
    view, driver = link.view, link.view._driver
    held: list[int] = []
    turns: list[int] = []

    async def send_for_ever() -> None:
        while True:
            for size in sizes:
                await view.send(bytes(size))
                held.append(driver.pending + view.connection.bytes_to_send)
            if in_turns:
                await asyncio.sleep(0)

    async def take_turns() -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        turns.append(len(held))
        waiting: int = driver.pending + view.connection.bytes_to_send
        return waiting

    sending = runtime.spawn(send_for_ever)
    eventually(lambda: runtime.call(take_turns) > 1 << 16 and turns[-2:-1] == turns[-1:], "a stall")
    assert not sending.done()
    assert runtime.call(take_turns) <= (1 << 16) + sum(sizes) + 14 * len(sizes)
    assert max(held) <= 1 << 16  # a send that returned left no more behind
    runtime.loop.call_soon_threadsafe(driver.abort)
    with pytest.raises((ConnectionClosed, OSError)):
        sending.result()


def test_v47_writelines_is_not_used() -> None:
    sources = Path(wsproto_asyncio.__file__).parent.glob("*.py")
    names = {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert "write" in names
    assert "writelines" not in names


def test_a_tight_loop_of_sends_lets_others_run(runtime: Asyncio, link: Link) -> None:
    peer = link.open(Echo, EXTENSIONS=())
    turns: list[int] = []

    async def send_all() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: turns.append(len(turns)))
        for _ in range(100):
            await link.view.send("x" * 10_000)
        assert turns, "nobody else ran"

    sending = link.spawn(send_all)
    for _ in range(100):
        peer.message()
    sending.result()


def test_cancelled_in_the_context_of_a_client(runtime: Asyncio, log: Log) -> None:
    async def scenario() -> None:
        async with connect(listener.url(), close_timeout=0.1):
            log.add("open")
            await asyncio.sleep(2 * DEADLINE)

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            log.wait("open")
            running.cancel()
            assert peer.closed()[0] == 1011
            assert peer.rest() == b""
            with pytest.raises(concurrent.futures.CancelledError):
                running.result()


def test_cancelled_as_it_opens(runtime: Asyncio) -> None:
    """At the very moment at which the answer has come: nobody would have the connection."""
    tasks: list[Any] = []

    async def scenario() -> None:
        tasks.append(asyncio.current_task())
        view = await connect(listener.url(), Opening)
        try:  # the moment was missed: it is ours by now
            await asyncio.sleep(DEADLINE)
        finally:
            await view.abort()

    class Opening(Echo):
        async def on_open(self) -> None:
            tasks[0].cancel()

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            assert peer.rest() == b""
            with pytest.raises(concurrent.futures.CancelledError):
                running.result()


def test_cancelled_as_it_connects(runtime: Asyncio) -> None:
    """At the very moment at which the stream is ours. (uvloop tells of no end then.)"""
    tasks: list[Any] = []

    async def scenario() -> None:
        tasks.append(asyncio.current_task())
        await connect(listener.url(), Attached)

    class Attached(Echo):
        def _attach(self, session: Session, driver: Any) -> Self:
            tasks[0].cancel()
            return super()._attach(session, driver)

        async def run_forever(self) -> None:
            raise AssertionError("it was never open")

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.rest()
        with pytest.raises(concurrent.futures.CancelledError):
            running.result()
        gc.collect()


def test_the_peer_is_gone_before_the_request(runtime: Asyncio) -> None:
    """The descriptor is closed once: the second time its number may be another's."""
    with Listener() as listener:
        sock = connect_tcp(listener.port)
        listener.accept().reset()
        with pytest.raises((ConnectionError, ConnectionClosed)):
            runtime.call(lambda: runtime.opened(listener.url(), sock=sock))
        assert sock.fileno() == -1


def test_the_peer_takes_nothing_any_more_as_tls_begins(
    runtime: Asyncio, tls: Tls, tmp_path: Path
) -> None:
    """Our last word of the handshake cannot be sent, and bytes came with the peer's."""
    place = str(tmp_path / "socket")
    server = runtime.call(lambda: runtime.served(Echo, unix=place, ssl=tls.server))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(place)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = tls.client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            secure.do_handshake()
        sock.sendall(outgoing.read())
        incoming.write(sock.recv(1 << 16))
        secure.do_handshake()
        secure.write(b"GET / HTTP/1.1\r\n")
        sock.shutdown(socket.SHUT_RD)
        sock.sendall(outgoing.read())
        eventually(lambda: not server._drivers)
    runtime.call(server.close)


def test_keyboard_interrupt_in_a_hook() -> None:
    async def main() -> None:
        class Interrupted(WebSocketView):
            async def on_text(self, text: str) -> None:
                raise KeyboardInterrupt

        async with serve(Interrupted) as server:
            ports.append(server.port)
            ready.set()
            await server.serve_forever()

    ports: list[Any] = []
    ready = threading.Event()
    caught: list[type[BaseException]] = []

    def run() -> None:
        try:
            asyncio.run(main())
        except KeyboardInterrupt as error:
            caught.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(DEADLINE)
    with Peer(connect_tcp(ports[0]), is_client=True) as peer:
        peer.request()
        peer.text("a")
        peer.reply()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert caught == [KeyboardInterrupt]


# ---------------------------------------------------------------------------------- the worker


# A hook is begun in its task's name and context, but not by the task, which goes on with it only
# where it waits. Nothing of that is to be seen: these compare it with a task of asyncio's own.


def told_by_hook(hook: Callable[[WebSocketView, list[Any]], Coroutine[Any, Any, None]]) -> Any:
    """What ``hook`` noted as the hook of a second message: the first brings the worker."""
    noted: list[Any] = []

    class View(WebSocketView):
        async def on_text(self, text: str) -> None:
            if text == "now":
                await hook(self, noted)
                noted.append("returned")

        async def on_close(self, frame: Frame | None = None) -> None:
            noted.append("closed")

    async def main() -> None:
        async with serve(View) as server, connect(f"ws://127.0.0.1:{server.port}") as client:
            for text in ("first", "now", "next", "now"):
                await client.send(text)
                await client.ping()
                await asyncio.sleep(0)

    asyncio.run(main())
    assert noted.pop() == "closed"
    return noted


def told_by_task(hook: Callable[[Any, list[Any]], Coroutine[Any, Any, None]]) -> Any:
    """The same of a hook that is a task's from its beginning, for each of two messages."""
    noted: list[Any] = []

    async def whole() -> None:
        await hook(None, noted)
        noted.append("returned")

    async def main() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.create_task(whole())

    asyncio.run(main())
    return noted


async def waits_for_a_future(_view: Any, noted: list[Any]) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, 7)
    noted.append(await future)
    noted.append(await asyncio.sleep(0, 8))
    noted.append(await future)


async def waits_for_a_failure(_view: Any, noted: list[Any]) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_exception, ValueError("bad"))
    try:
        await future
    except ValueError as error:
        noted.append(str(error))
    await asyncio.sleep(0)


async def fails_and_returns(_view: Any, noted: list[Any]) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_exception, ValueError("bad"))
    with suppress(ValueError):
        await future
    noted.append("handled")


async def keeps_its_task(_view: Any, noted: list[Any]) -> None:
    task = asyncio.current_task()
    variable.set("before")
    await asyncio.sleep(0)
    noted.append((asyncio.current_task() is task, variable.get()))


async def cancels_itself_and_waits(_view: Any, noted: list[Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    noted.append(task.cancel("why"))
    noted.append(task.cancelling())
    future = asyncio.get_running_loop().create_future()
    try:
        await future
    except asyncio.CancelledError as error:
        noted.append((future.cancelled(), error.args, task.uncancel()))
    await asyncio.sleep(0)


async def cancels_itself_and_lets_others_run(_view: Any, noted: list[Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    noted.append(task.cancel())
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        noted.append(("cancelled", task.uncancel()))


async def cancels_itself_and_waits_for_what_is_there(_view: Any, noted: list[Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    noted.append(task.cancel())
    noted.append(task.cancel())
    future = asyncio.get_running_loop().create_future()
    future.set_result(5)
    noted.append(await future)  # this does not wait
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        noted.append(("cancelled", task.uncancel(), task.uncancel()))


async def times_out(_view: Any, noted: list[Any]) -> None:
    try:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        task = asyncio.current_task()
        noted.append(("timeout", task is not None and task.cancelling()))


async def has_a_group(_view: Any, noted: list[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
    noted.append([task.result() for task in tasks])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_a_future(_view, noted))
            raise ValueError("bad")
    except* ValueError as errors:
        noted.append(str(errors.exceptions))


HOOKS = [
    waits_for_a_future,
    waits_for_a_failure,
    fails_and_returns,
    keeps_its_task,
    cancels_itself_and_waits,
    cancels_itself_and_lets_others_run,
    cancels_itself_and_waits_for_what_is_there,
    times_out,
    has_a_group,
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_a_hook_lives_like_a_task(
    hook: Callable[[Any, list[Any]], Coroutine[Any, Any, None]],
) -> None:
    told = told_by_task(hook)
    assert len(told) >= 4
    assert told_by_hook(hook) == told


def test_a_hook_that_cancels_itself_and_returns() -> None:
    """It has returned: its task ends, as it waits next, and another takes the next message."""

    async def hook(_view: Any, noted: list[Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        noted.append(task.cancel())

    assert told_by_hook(hook) == [True, "returned", True, "returned"]


def test_a_hook_that_raises_a_cancellation(link: Link, log: Log) -> None:
    """As any other that fails; its task is gone, and the rest of the hooks get another."""

    class View(recorder(log)):  # type: ignore[misc]
        async def on_text(self, text: str) -> None:
            if text == "now":
                raise asyncio.CancelledError

    peer = link.open(View)
    peer.text("first")
    peer.text("now")
    assert peer.reply()[0] == 1011
    log.wait(("close", None))


def test_what_a_hook_gives_may_be_any_awaitable() -> None:
    noted: list[Any] = []

    class View(WebSocketView):
        def on_text(self, text: str) -> Any:
            if text == "plain":
                noted.append(text)
                return None
            return asyncio.ensure_future(self.later(text))

        async def later(self, text: str) -> None:
            await asyncio.sleep(0)
            noted.append(text)

    async def main() -> None:
        async with serve(View) as server, connect(f"ws://127.0.0.1:{server.port}") as client:
            for text in ("a", "b", "plain", "c"):
                await client.send(text)
                await client.ping()

    asyncio.run(main())
    assert noted == ["a", "b", "plain", "c"]


def test_a_burst_of_hooks_lets_the_loop_run() -> None:
    """None of them waits; after every 256 comes the rest of the loop."""
    noted: list[str] = []

    class View(WebSocketView):
        async def on_text(self, text: str) -> None:
            if not noted or noted[-1] == "loop":
                asyncio.get_running_loop().call_soon(noted.append, "loop")
            noted.append(text)

    def answered(peer: Peer) -> None:
        peer.request()
        peer.text("first")
        peer.ping(b"")
        assert peer.frame() == (0x8A, b"")
        peer.send_raw(peer.encode(0x81, b"x") * 1000)
        peer.ping(b"end")
        assert peer.frame() == (0x8A, b"end")
        peer.bye()

    async def main() -> None:
        async with serve(View) as server:
            assert server.port is not None
            with Peer(connect_tcp(server.port), is_client=True) as peer:
                await asyncio.to_thread(answered, peer)

    asyncio.run(main())
    assert noted.count("x") == 1000
    rest = "".join("|" if text == "loop" else "x" for text in noted[noted.index("x") :])
    assert max(map(len, rest.split("|"))) <= 256


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def test_hooks_share_the_context_of_their_task() -> None:
    """Whether they wait or not, and it is not the loop's."""
    noted: list[Any] = []

    class View(WebSocketView):
        async def on_open(self) -> None:
            variable.set("open")

        async def on_text(self, text: str) -> None:
            noted.append((variable.get(), text))
            variable.set(text)
            if text == "b":
                await asyncio.sleep(0)
                noted.append((variable.get(), "after"))

    async def main() -> None:
        variable.set("outer")
        async with serve(View) as server, connect(f"ws://127.0.0.1:{server.port}") as client:
            for text in ("a", "b", "c"):
                await client.send(text)
                await client.ping()
        assert variable.get() == "outer"

    asyncio.run(main())
    assert noted == [("open", "a"), ("a", "b"), ("b", "after"), ("b", "c")]


def test_a_worker_that_is_cancelled_between_hooks() -> None:
    async def main() -> None:
        async def work(worker: Worker) -> None:
            begun.set()
            await worker

        begun = asyncio.Event()
        worker = Worker(asyncio.get_running_loop(), work)
        await begun.wait()
        worker.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker.task

    asyncio.run(main())


def test_versions() -> None:
    assert ("asyncio-eager" in RUNTIMES) is (sys.version_info >= (3, 12))
    assert issubclass(WebSocketView, AsyncView)
    assert issubclass(ConnectionClosed, ConnectionError)
