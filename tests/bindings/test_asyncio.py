"""What is special to asyncio: tasks, loops, transports, TLS, sockets, the server's life."""

import ast
import asyncio
import contextvars
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wsproto_asyncio
from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import RUNTIMES, Asyncio, Link, Log, Tls, eventually, ours, recorder
from wsproto_asyncio import (
    Accept,
    ConnectionClosed,
    HandshakeError,
    LocalProtocolError,
    PayloadTooBig,
    Response,
    State,
    UpgradeRequest,
    WebSocketView,
    connect,
    path,
    serve,
)
from wsproto_asyncio.eager import start
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


# ---------------------------------------------------------------------------------- places


async def _served(**options: Any) -> Any:
    return await serve(Echo, **options)


def test_an_existing_listening_socket(runtime: Asyncio) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = runtime.call(lambda: _served(sock=sock))
    assert server.port == port
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 101
    runtime.call(server.close)
    assert server.port is None
    assert server.sockets == ()
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(port)


def test_an_existing_connected_socket(runtime: Asyncio) -> None:
    with Listener() as listener:
        sock = connect_tcp(listener.port)

        async def open_it() -> WebSocketView:
            return await connect("ws://name.test:81/a", sock=sock)

        opening = runtime.spawn(open_it)
        with listener.accept() as peer:
            head = peer.answer()
            assert (head["host"], head.target) == ("name.test:81", "/a")
            view = opening.result()
            closing = runtime.spawn(view.close)
            assert peer.reply() == (1000, "")
            closing.result()


def test_a_unix_socket(runtime: Asyncio, tmp_path: Path) -> None:
    place = str(tmp_path / "s")

    async def scenario() -> list[Any]:
        async with serve(Echo, unix=place) as server:
            assert server.port is None
            async with connect("ws://localhost/x", unix=place) as ws:
                await ws.send("a")
                views = server.connections
                return [await ws.recv(), views[0].request.client_address, views[0].request.path]

    assert runtime.call(scenario) == ["a", None, "/x"]


def test_two_places_at_once(tmp_path: Path) -> None:
    with socket.socket() as sock:
        with pytest.raises(ValueError, match="sock and unix"):
            serve(Echo, sock=sock, unix=str(tmp_path / "s"))
        with pytest.raises(ValueError, match="sock and unix"):
            connect("ws://a/", sock=sock, unix=str(tmp_path / "s"))


def test_a_port_in_use(runtime: Asyncio) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, pytest.raises(OSError, match="in use"):
        runtime.call(lambda: _served(port=sock.getsockname()[1]))


def test_a_refused_port(runtime: Asyncio) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            runtime.call(lambda: runtime.opened(f"ws://127.0.0.1:{port}/"))


def test_a_name_that_is_none(runtime: Asyncio) -> None:
    with pytest.raises(OSError, match=r"[Nn]ame|address|resol"):
        runtime.call(lambda: runtime.opened("ws://nowhere.invalid/"))


# ---------------------------------------------------------------------------------- TLS


def test_io_4_1_tls_echo(runtime: Asyncio, tls: Tls) -> None:
    async def scenario() -> Any:
        async with (
            serve(Echo, ssl=tls.server) as server,
            connect(f"wss://localhost:{server.port}/", ssl=tls.client) as ws,
        ):
            await ws.send("a" * 300_000)
            return await ws.recv()

    assert runtime.call(scenario) == "a" * 300_000


@pytest.mark.parametrize("case", ["stranger", "other name", "no trust"])
def test_io_4_1_tls_a_bad_certificate(runtime: Asyncio, tls: Tls, case: str) -> None:
    seen: list[bytes] = []
    context = {"stranger": tls.stranger, "other name": tls.client, "no trust": None}[case]
    with Listener() as listener:
        opening = runtime.spawn(
            lambda: runtime.opened(f"wss://localhost:{listener.port}/", ssl=context)
        )
        sock, _ = listener.sock.accept()
        server = tls.other_name if case == "other name" else tls.server
        try:
            with server.wrap_socket(sock, server_side=True) as wrapped:
                seen.append(wrapped.recv(100))
        except (ssl.SSLError, ConnectionError):
            sock.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            opening.result()
    assert not any(seen), "the request went out"


def test_server_hostname(runtime: Asyncio, tls: Tls) -> None:
    names: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    async def scenario(server_context: ssl.SSLContext) -> Any:
        async with (
            serve(Echo, ssl=server_context) as server,
            connect(
                f"wss://localhost:{server.port}/",
                ssl=tls.client,
                server_hostname="elsewhere.test",
            ) as ws,
        ):
            await ws.send("a")
            return await ws.recv()

    context = tls.other_name
    context.sni_callback = lambda _s, name, _c: names.append(name or "")
    try:
        assert runtime.call(scenario, context) == "a"
    finally:
        context.sni_callback = None
    assert names == ["elsewhere.test"]


def test_io_4_2_2_tls_plain_bytes_on_a_tls_port(runtime: Asyncio, tls_link: Link) -> None:
    port, _ = tls_link.serve(Echo)
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.send_raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP" not in peer.rest()


def test_tls_handshake_that_never_comes(runtime: Asyncio, tls_link: Link) -> None:
    class Hasty(Echo):
        OPEN_TIMEOUT = 0.1

    port, _ = tls_link.serve(Hasty)
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.rest() == b""


def test_ssl_for_a_plain_address(tls: Tls) -> None:
    with pytest.raises(ValueError, match="wss"):
        connect("ws://localhost/", ssl=tls.client)


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("wire", "status", "word"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405, b"GET"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426, b"Upgrade"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431, b"bytes"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, b"HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"Host"),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, b"bytes"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, b""),
    ],
)
def test_refused_requests(
    runtime: Asyncio, wire: bytes, status: int, word: bytes, link: Link
) -> None:
    port, _ = link.serve(Echo)
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.send_raw(wire)
        head = peer.read_head()
        assert head.status == status
        assert "close" in head["connection"]
        body = peer.rest()
        assert len(body) == int(head["content-length"])
        assert word in body
        if status == 426:
            assert head["sec-websocket-version"] == "13"


def test_a_refused_client_has_the_response(runtime: Asyncio) -> None:
    async def refuse(request: UpgradeRequest) -> Response:
        return Response(418, body=b"short and stout")

    async def scenario() -> HandshakeError:
        async with serve(Echo, on_request=refuse) as server:
            with pytest.raises(HandshakeError) as caught:
                await connect(f"ws://127.0.0.1:{server.port}/")
            return caught.value

    error = runtime.call(scenario)
    assert error.status == 418
    assert error.response is not None
    assert error.response.body == b"short and stout"


def test_on_request_gives_a_page_and_judges(runtime: Asyncio, link: Link) -> None:
    seen: list[tuple[str, bool, str]] = []

    def judge(request: UpgradeRequest) -> Response | Accept | None:
        seen.append((request.path, request.is_upgrade, request.client_address[0]))
        if request.path == "/page":
            return Response(200, {"Content-Type": "text/html"}, b"<p>hi")  # type: ignore[arg-type]
        if request.path == "/set":
            return Accept(headers=[("X-Set", "1")])
        return None

    port, _ = link.serve([path("/ws", Echo), path("/set", Echo)], on_request=judge)

    def plain(target: str) -> tuple[int, bytes]:
        with Peer(connect_tcp(port), is_client=True) as peer:
            peer.send_raw(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            head = peer.read_head()
            assert "close" in head["connection"]
            return head.status, peer.rest()

    assert plain("/page") == (200, b"<p>hi")
    assert plain("/ws")[0] == 426
    assert plain("/nowhere")[0] == 404
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request("/set")["x-set"] == "1"
        peer.bye()
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request("/nowhere").status == 404
    assert seen[0] == ("/page", False, "127.0.0.1")
    assert seen[3][:2] == ("/set", True)


def test_on_request_of_the_server_fails(
    runtime: Asyncio, caplog: pytest.LogCaptureFixture, link: Link
) -> None:
    async def fail(request: UpgradeRequest) -> None:
        raise RuntimeError("secret")

    port, _ = link.serve(Echo, on_request=fail)
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 500
        assert b"secret" not in peer.rest()
    assert "secret" in caplog.text


# ---------------------------------------------------------------------------------- a server's life


def test_graceful_close(runtime: Asyncio, log: Log, link: Link) -> None:
    peers = [link.open(recorder(log)) for _ in range(2)]
    servers = {view.server for view in link.views}
    closing = [runtime.spawn(server.close, 1012, "restart") for server in servers]
    for peer in peers:
        assert peer.reply() == (1012, "restart")
    for one in closing:
        one.result()
    assert log.entries.count(("close", 1012)) == 2
    for server in servers:
        assert server.connections == []
        runtime.call(server.close)  # again


def test_close_waits_for_hooks(runtime: Asyncio, log: Log, link: Link) -> None:
    gate = runtime.gate()

    class Slow(WebSocketView):
        async def on_text(self, text: str) -> None:
            log.add("begin")
            await gate.wait()
            log.add("end")

    peer = link.open(Slow)
    peer.text("a")
    log.wait("begin")
    closing = runtime.spawn(link.view.server.close)
    assert peer.reply()[0] == 1001
    assert not closing.done()
    gate.open()
    closing.result()
    assert log.entries == ["begin", "end"]


def test_close_drops_a_silent_peer(runtime: Asyncio, link: Link) -> None:
    link.open(Echo, CLOSE_TIMEOUT=0.1)
    runtime.call(link.view.server.close)
    assert link.view.close_code == 1006


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


def test_serve_forever_ends_when_somebody_closes(runtime: Asyncio) -> None:
    async def scenario() -> None:
        server = await serve(Echo)
        forever = asyncio.create_task(server.serve_forever())
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        await server.close()
        await asyncio.wait_for(asyncio.gather(forever, waiting), DEADLINE)

    runtime.call(scenario)


def test_a_server_closed_from_inside_a_hook(runtime: Asyncio, link: Link) -> None:
    class Last(WebSocketView):
        CLOSE_TIMEOUT = 0.2

        async def on_text(self, text: str) -> None:
            await self.server.close()

    peer = link.open(Last)
    peer.text("a")
    assert peer.reply()[0] == 1001
    eventually(lambda: link.view.state is State.CLOSED)
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(peer_port(link))


def peer_port(link: Link) -> int:
    port = link.view.request.host.partition(":")[2]
    return int(port) if port else 1


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
            driver.session = SimpleNamespace(next_deadline=lambda at=at: at)
            driver._arm()
        driver.session = session

    link.runtime.call(arm_twice)
    peer.text("hello")
    assert peer.message() == "hello"


# ---------------------------------------------------------------------------------- arguments


def test_settings_as_keywords(runtime: Asyncio, link: Link) -> None:
    port, _ = link.serve(Echo)

    async def scenario() -> None:
        async with connect(
            f"ws://127.0.0.1:{port}/",
            ping_interval=0.02,
            max_frame_size=5,
            extensions=(),
        ) as ws:
            while ws.latency is None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            await ws.send("0123456789")
            with pytest.raises(PayloadTooBig):
                await ws.recv()

    runtime.call(scenario)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"ping_intervall": 5}, TypeError),
        ({"PING_INTERVAL": 5}, TypeError),
        ({"magic_string": "x"}, TypeError),
        ({"request": 1}, TypeError),
        ({"ping_interval": -1}, ValueError),
        ({"ping_interval": "5"}, TypeError),
        ({"subprotocols": "chat"}, TypeError),
        ({"max_message_size": 0}, ValueError),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        connect("ws://127.0.0.1/", **settings)


@pytest.mark.parametrize("url", ["http://a/", "ws://", "ws://a/#b", "a", ""])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        connect(url)


@pytest.mark.parametrize("view", [5, "Echo", int, Echo.on_text])
def test_views_that_are_none(view: Any) -> None:
    with pytest.raises(TypeError, match="WebSocketView"):
        connect("ws://a/", view)
    with pytest.raises(TypeError, match=r"view class|WebSocketView"):
        serve(view)


@pytest.mark.parametrize("headers", [[("Upgrade", "x")], [("a b", "x")], [("A", "x\r\ny: z")]])
def test_headers_that_cannot_be_sent(runtime: Asyncio, headers: Any) -> None:
    with Listener() as listener, pytest.raises(LocalProtocolError):
        runtime.call(lambda: runtime.opened(listener.url(), headers=headers))


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
    transport = driver._transport
    held: list[int] = []
    turns: list[int] = []

    async def send_for_ever() -> None:
        while True:
            for size in sizes:
                await view.send(bytes(size))
                held.append(transport.get_write_buffer_size() + view.connection.bytes_to_send)
            if in_turns:
                await asyncio.sleep(0)

    async def take_turns() -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        turns.append(len(held))
        waiting: int = transport.get_write_buffer_size() + view.connection.bytes_to_send
        return waiting

    sending = runtime.spawn(send_for_ever)
    eventually(lambda: runtime.call(take_turns) > 1 << 16 and turns[-2:-1] == turns[-1:], "a stall")
    assert not sending.done()
    assert runtime.call(take_turns) <= (1 << 16) + sum(sizes) + 14 * len(sizes)
    assert max(held) <= 1 << 16  # a send that returned left no more behind
    runtime.loop.call_soon_threadsafe(transport.abort)
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


def test_cancelled_in_the_context_of_a_client(runtime: Asyncio) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(0.05):
            async with connect(listener.url(), close_timeout=0.1):
                await asyncio.sleep(DEADLINE)

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            assert peer.closed()[0] == 1011
            assert peer.rest() == b""
            with pytest.raises(TimeoutError):
                running.result()


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


# ---------------------------------------------------------------------------------- eager.start


def test_start_runs_to_the_first_suspension() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
        variable.set("outer")

        async def coroutine() -> None:
            seen.append(variable.get())
            variable.set("inner")
            task = asyncio.current_task()
            await asyncio.sleep(0)
            assert asyncio.current_task() is task
            seen.append(variable.get())

        def begin() -> None:
            task = start(asyncio.get_running_loop(), coroutine())
            seen.append("started" if not task.done() else "done")
            task.add_done_callback(lambda _: finished.set_result(None))

        finished = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(begin)
        await finished
        assert variable.get() == "outer"
        return seen

    assert asyncio.run(main()) == ["outer", "started", "inner"]


@pytest.mark.parametrize("fails", [False, True])
def test_start_of_what_never_suspends(fails: bool) -> None:
    async def main() -> None:
        async def coroutine() -> None:
            if fails:
                raise LookupError("mine")

        def begin() -> None:
            task = start(asyncio.get_running_loop(), coroutine())
            assert task.done()
            finished.set_result(task.exception())

        finished = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(begin)
        assert (await finished is not None) is fails
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_versions() -> None:
    assert ("asyncio-eager" in RUNTIMES) is (sys.version_info >= (3, 12))
    assert issubclass(WebSocketView, AsyncView)
    assert issubclass(ConnectionClosed, ConnectionError)
