"""Rows of the attack catalogue that only a real socket can show, on every runtime.

Each test carries the id of its row. What a row asks of the core alone stands in ``tests/core``.
"""

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import wsproto_views
from tests.bindings.peer import Listener, Peer, accept_for, connect_tcp
from tests.bindings.runtimes import Link, Log, Runtime, Tls, View, eventually, recorder
from wsproto_core import Accept, Frame, HandshakeError, OpCode, Response
from wsproto_views import AsyncView, path

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Echo(AsyncView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


def client_of(port: int) -> Peer:
    return Peer(connect_tcp(port), is_client=True)


def still_serves(port: int) -> None:
    with client_of(port) as peer:
        assert peer.request().status == 101
        peer.text("alive?")
        assert peer.message() == "alive?"
        peer.bye()


def serve_echo(link: Link, view: View = Echo, **settings: Any) -> int:
    return link.serve(link.runtime.adopt(view, link.views.append, **settings))[0]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


def drip(peer: Peer, data: bytes) -> None:
    """A byte every 20 ms, until the other side has enough of it."""
    for place in range(len(data)):
        peer.is_silent(0.02)
        peer.send_raw(data[place : place + 1])


def is_gone(peer: Peer) -> bool:
    """Whether the other side has closed the socket, not only its direction."""
    try:
        peer.send_raw(b"x")
    except ConnectionError:
        return True
    return False


# ------------------------------------------------------------------ the handshake of a server


@pytest.mark.parametrize("sent", [b"", REQUEST[:60], None], ids=["nothing", "partial", "drip"])
def test_a1_one_deadline_for_a_slow_handshake(server: Link, sent: bytes | None) -> None:
    port = serve_echo(server, OPEN_TIMEOUT=0.2)
    with at_most(2.0), client_of(port) as peer:
        if sent is not None:
            peer.send_raw(sent)
        else:
            with pytest.raises((EOFError, ConnectionError)):
                drip(peer, REQUEST[:-1])
        assert peer.rest() == b""
    assert not server.views


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "partial"])
def test_a2_a_tls_handshake_that_stalls(runtime: Runtime, tls: Tls, sent: bytes) -> None:
    link = Link(runtime, "server", tls)
    try:
        port = serve_echo(link, OPEN_TIMEOUT=0.2)
        with at_most(2.0), client_of(port) as peer:
            peer.send_raw(sent)
            peer.rest()
    finally:
        link.end()


def test_a2_a_server_that_stalls_in_tls(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        url = listener.url().replace("ws:", "wss:")
        client = runtime.spawn(
            lambda: runtime.opened(
                url, ssl=tls.client, server_hostname="localhost", open_timeout=0.2
            )
        )
        with at_most(2.0), Peer(listener.sock.accept()[0], is_client=False) as peer:
            assert isinstance(client.exception(), TimeoutError)
            peer.rest()


@pytest.mark.parametrize("where", ["server", "view"])
def test_a25_on_request_raises(server: Link, where: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the database is away")

    view = type("Judge", (Echo,), {"on_request": fail}) if where == "view" else Echo
    adopted = server.runtime.adopt(view)
    port, _ = server.serve(adopted, on_request=fail if where == "server" else None)
    with client_of(port) as peer:
        assert peer.request().status == 500
        assert b"database" not in peer.rest()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "RuntimeError: the database is away" in caplog.text


@pytest.mark.parametrize("where", ["server", "view"])
def test_a25_on_request_hangs(server: Link, where: str, log: Log) -> None:
    gate = server.runtime.gate()

    async def hang(*_: Any) -> None:
        log.add("asked")
        try:
            await gate.wait()
        finally:
            log.add("left")

    view = type("Judge", (Echo,), {"on_request": hang}) if where == "view" else Echo
    adopted = server.runtime.adopt(view, OPEN_TIMEOUT=0.2, CLOSE_TIMEOUT=0.2)
    port, _ = server.serve(adopted, on_request=hang if where == "server" else None)
    with at_most(3.0), client_of(port) as peer:
        peer.send_raw(REQUEST)
        assert peer.rest() == b""
        server.runtime.overran(gate)
        log.wait("left")


def test_a26_a_refused_client_always_gets_the_status(server: Link) -> None:
    """Also if it goes on sending: the stream is ended in one direction and drained."""
    routes: list[Any] = [path("/here", server.runtime.adopt(Echo))]
    port, _ = server.serve(routes)
    for _ in range(100):
        with client_of(port) as peer:
            peer.send_raw(REQUEST + b"x" * 30_000)
            assert peer.read_head().status == 404
            peer.rest()


def test_a26_a_refused_client_that_stays(server: Link) -> None:
    routes: list[Any] = [path("/here", server.runtime.adopt(Echo, CLOSE_TIMEOUT=0.2))]
    port, _ = server.serve(routes)
    with at_most(2.0), client_of(port) as peer:
        assert peer.request().status == 404
        peer.rest()  # it ended its direction; ours stays open
        eventually(lambda: is_gone(peer))


def test_h4_no_memory_for_one_connection(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """The listener pauses and goes on; a real lack of descriptors is in ``test_processes.py``."""
    if not runtime.accepts_in_python:
        pytest.skip("libuv accepts in C")

    class Listening(socket.socket):
        full = True

        def accept(self) -> tuple[socket.socket, Any]:
            if self.full:
                raise OSError(errno.ENOBUFS, "out of it")
            return super().accept()

    complaints: list[str] = []

    def complained() -> bool:
        complaints.extend(runtime.shortages(caplog))
        return bool(complaints)

    link = Link(runtime, "server", None)
    with Listening() as listening:
        listening.bind(("127.0.0.1", 0))
        try:
            port, _ = link.serve(runtime.adopt(Echo), sock=listening)
            with client_of(port) as peer:
                peer.send_raw(REQUEST)
                eventually(complained)
                listening.full = False
                with at_most(2.0):
                    assert peer.read_head().status == 101
                peer.bye()
            still_serves(port)
            complained()
        finally:
            link.end()
    assert len(complaints) <= 16
    assert all("out of system resource" in item for item in complaints)


# ------------------------------------------------------------------------- what servers answer


def hostile() -> dict[str, Callable[[str], bytes]]:
    """Answers that no client may take for a WebSocket, each made from the right accept value."""

    def lines(*fields: str, status: str = "HTTP/1.1 101 Switching Protocols") -> Any:
        return lambda accept: (
            "\r\n".join((status, *fields)).replace("@", accept) + "\r\n\r\n"
        ).encode("latin-1")

    up, conn, acc = "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: @"
    return {
        "no accept": lines(up, conn),
        "wrong accept": lines(up, conn, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "accept in other case": lambda accept: lines(up, conn, acc)(accept.swapcase()),
        "accept twice": lines(up, conn, acc, acc),
        "accept and more": lines(up, conn, acc + " x"),
        "no upgrade": lines(conn, acc),
        "other upgrade": lines("Upgrade: h2c", conn, acc),
        "upgrade of two": lines("Upgrade: websocket, h2c", conn, acc),
        "no connection": lines(up, acc),
        "other connection": lines(up, "Connection: keep-alive", acc),
        "unoffered extension": lines(up, conn, acc, "Sec-WebSocket-Extensions: x-foo"),
        "deflate twice": lines(
            up, conn, acc, "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate"
        ),
        "deflate of 99 bits": lines(
            up, conn, acc, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"
        ),
        "unoffered subprotocol": lines(up, conn, acc, "Sec-WebSocket-Protocol: chat"),
        "subprotocol twice": lines(
            up, conn, acc, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"
        ),
        "HTTP/1.0": lines(up, conn, acc, status="HTTP/1.0 101 x"),
        "HTTP/2": lines(up, conn, acc, status="HTTP/2.0 101 x"),
        "200": lines(up, conn, acc, "Content-Length: 0", status="HTTP/1.1 200 OK"),
        "204": lines(up, conn, acc, status="HTTP/1.1 204 No Content"),
        "302": lines("Location: /", "Content-Length: 0", status="HTTP/1.1 302 Found"),
        "401": lines(
            "WWW-Authenticate: Basic", "Content-Length: 0", status="HTTP/1.1 401 Unauthorized"
        ),
        "bare LF": lambda accept: lines(up, conn, acc)(accept).replace(b"\r\n", b"\n"),
        "NUL in a value": lines(up, conn, acc, "X: a\0b"),
        "space before the colon": lines(up, conn, acc, "X : a"),
        "interim without end": lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
        "too many lines": lines(up, conn, acc, *["X: a"] * 200),
        "not HTTP": lambda _: b"SSH-2.0-OpenSSH\r\n",
        "status in words": lines(up, conn, acc, status="HTTP/1.1 OK 101"),
        "frames at once": lambda _: b"\x81\x05hello",
    }


def test_v58_a_client_checks_every_part_of_the_answer(runtime: Runtime, log: Log) -> None:
    view = runtime.adopt(recorder(log))
    for case, answer in hostile().items():
        with Listener() as listener:
            client = runtime.spawn(runtime.opened, listener.url(), view)
            with listener.accept() as peer:
                head = peer.read_head()
                peer.send_raw(answer(accept_for(head["sec-websocket-key"])) + b"\x81\x05hello")
                assert isinstance(client.exception(), HandshakeError), case
                peer.rest()
    assert log.entries == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a38_redirects_are_shown_and_not_followed(runtime: Runtime, status: int) -> None:
    with Listener() as listener, Listener() as elsewhere:
        client = runtime.spawn(lambda: runtime.opened(listener.url()))
        with listener.accept() as peer:
            peer.read_head()
            location = f"Location: {elsewhere.url()}\r\nContent-Length: 0\r\n\r\n"
            peer.send_raw(f"HTTP/1.1 {status} Go\r\n{location}".encode())
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert error.response is not None
            assert error.response.headers["Location"] == elsewhere.url()
        elsewhere.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.sock.accept()


def test_v57_credentials_stay_where_they_were_meant_for(runtime: Runtime) -> None:
    with Listener() as listener, Listener() as elsewhere:
        url = listener.url().replace("://", "://me:secret@")
        client = runtime.spawn(lambda: runtime.opened(url, headers={"Cookie": "id=1"}))
        with listener.accept() as peer:
            head = peer.read_head()
            assert "authorization" in head
            assert head["cookie"] == "id=1"
            peer.send_raw(f"HTTP/1.1 302 Go\r\nLocation: {elsewhere.url()}\r\n\r\n".encode())
            peer.sock.close()
            assert isinstance(client.exception(), HandshakeError)
        elsewhere.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.sock.accept()


# --------------------------------------------------------------------------------- addresses


@contextmanager
def blackhole() -> Iterator[int]:
    """A port of loopback that answers no SYN: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        where = listening.getsockname()
        held = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(where)
            held.append(sock)
        yield int(where[1])
        for sock in held:
            sock.close()


def refused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def resolve_to(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], None]:
    """What names resolve to: these ports of loopback; and a lead of a moment."""
    return lambda ports: runtime.resolve_to(monkeypatch, ports)


def test_a40_the_address_that_works_is_found(
    runtime: Runtime, resolve_to: Callable[[list[int]], None]
) -> None:
    with blackhole() as hole, Listener() as listener:
        resolve_to([hole] * 25 + [refused_port() for _ in range(24)] + [listener.port, hole])
        client = runtime.spawn(lambda: runtime.opened("ws://many.test/"))
        with at_most(4.0), listener.accept() as peer:
            peer.answer()
            view = client.result()
            closing = runtime.spawn(view.close)
            peer.reply()
            closing.result()


def test_a40_the_causes_are_listed(
    runtime: Runtime, resolve_to: Callable[[list[int]], None]
) -> None:
    ports = [refused_port() for _ in range(3)]
    resolve_to(ports)
    error = runtime.spawn(lambda: runtime.opened("ws://many.test/")).exception()
    assert isinstance(error, ConnectionRefusedError)
    assert "none of 3 addresses of many.test can be reached" in str(error)
    assert all(f"127.0.0.1 port {port}: Connection refused" in str(error) for port in ports)


def test_a40_nothing_answers(runtime: Runtime, resolve_to: Callable[[list[int]], None]) -> None:
    with blackhole() as hole:
        resolve_to([hole] * 50)
        with at_most(3.0):
            client = runtime.spawn(lambda: runtime.opened("ws://many.test/", open_timeout=0.3))
            assert isinstance(client.exception(), TimeoutError)


def test_a_client_tries_what_a_name_stands_for(runtime: Runtime) -> None:
    """``localhost`` may be ``::1`` first, where nobody listens."""
    with Listener() as listener:
        client = runtime.spawn(lambda: runtime.opened(f"ws://localhost:{listener.port}/"))
        with listener.accept() as peer:
            peer.answer()
            view = client.result()
            closing = runtime.spawn(view.close)
            peer.reply()
            closing.result()


def test_io_4_1_one_connecting_is_left_to_the_program(runtime: Runtime) -> None:
    """As documented: connections to one address are opened beside each other."""
    with Listener() as listener:
        clients = [runtime.spawn(lambda: runtime.opened(listener.url())) for _ in range(3)]
        peers = [listener.accept() for _ in clients]
        heads = [peer.read_head() for peer in peers]  # all of them asked, and nobody was answered
        assert len({head["sec-websocket-key"] for head in heads}) == 3
        for peer in peers:
            peer.sock.close()
        assert all(isinstance(client.exception(), HandshakeError) for client in clients)


# ---------------------------------------------------------------------------- who may come in


@pytest.mark.parametrize(
    "step", ["nothing", "half a request", "a request", "open", "half a frame", "closing", "closed"]
)
def test_v50_a_reset_at_any_step_harms_nobody_else(
    server: Link, step: str, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Mixed(Echo):
        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("close")

    port = serve_echo(server, Mixed)
    for _ in range(5):
        peer = client_of(port)
        if step == "half a request":
            peer.send_raw(REQUEST[:50])
        elif step == "a request":
            peer.send_raw(REQUEST)
        elif step != "nothing":
            peer.request()
            if step == "half a frame":
                peer.send_raw(peer.encode(0x81, "hello")[:5])
            elif step in ("closing", "closed"):
                peer.close_frame()
                if step == "closed":
                    peer.closed()
        peer.reset()
    still_serves(port)
    if step not in ("nothing", "half a request", "a request"):
        log.wait("close", 6)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_v51_no_thread_for_a_message(server: Link, log: Log) -> None:
    port = serve_echo(server, recorder(log))
    with client_of(port) as peer:
        peer.request()
        before = threading.active_count()
        peer.send_raw(peer.encode(0x82, b"x") * 2000)
        log.wait_len(2001)
        assert threading.active_count() == before
        peer.bye()


def test_v52_a_peer_that_holds_the_stream_costs_nothing_for_long(server: Link, log: Log) -> None:
    class Leaving(AsyncView):
        async def on_text(self, text: str) -> None:
            await self.send_close(1000, text)

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("close")

    port = serve_echo(server, Leaving, CLOSE_TIMEOUT=0.2)
    peers = []
    for answers in (False, True) * 5:
        peer = client_of(port)
        peer.request()
        peer.text("bye")
        assert peer.closed() == (1000, "bye")
        if answers:
            peer.close_frame(1000)
        peers.append(peer)
    log.wait("close", 10)
    eventually(lambda: all(view._driver.is_released() for view in server.views))
    for peer in peers:
        peer.sock.close()


def test_v52_no_frame_behind_our_close(any_link: Link) -> None:
    """Sends that race with a close arrive whole before it, or raise."""

    class Racer(AsyncView):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            pass

    for _ in range(10):
        peer = any_link.open(Racer)
        view = any_link.view
        sends = [any_link.spawn(view.send, f"message {n}") for n in range(5)]
        closing = any_link.spawn(view.close)
        sends += [any_link.spawn(view.send, f"message {n}") for n in range(5)]
        frames = []
        while True:
            first, payload = peer.frame()
            frames.append(payload)
            if first == 0x88:
                break
        peer.close_frame(1000)
        if any_link.role == "server":
            assert peer.rest() == b""
        peer.sock.close()
        closing.result()
        done = [send.exception() is None for send in sends]
        assert len(frames) - 1 == sum(done)


def test_v53_no_secret_is_compared() -> None:
    """The library sends credentials and checks none; what applications need is documented."""
    import ast

    source = Path(wsproto_views.__file__).parents[2]
    secrets = ("password", "authorization", "credential", "token_", "secret")
    compared = [
        f"{file.name}:{node.lineno}"
        for file in source.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(word in ast.unparse(node).lower() for word in secrets)
    ]
    assert compared == []


OURS = "https://app.test"


@pytest.mark.parametrize(
    ("origins", "status"),
    [
        ([OURS], 101),
        ([], 403),
        (["null"], 403),
        (["https://evil.test"], 403),
        (["http://app.test"], 403),
        (["https://app.test:443"], 403),
        (["https://app.test.evil.test"], 403),
        (["https://APP.test"], 403),
        ([OURS, OURS], 400),
        ([OURS, "https://evil.test"], 400),
    ],
)
def test_v54_a_foreign_page_is_refused(server: Link, origins: list[str], status: int) -> None:
    port = serve_echo(server, ORIGINS=[OURS])
    with client_of(port) as peer:
        assert peer.request(headers=[("Origin", item) for item in origins]).status == status


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 101), ("http://127.0.0.1", 101), ("http://evil.test", 403)]
)
def test_v54_by_default_only_the_same_origin(server: Link, origin: str | None, status: int) -> None:
    port = serve_echo(server)
    with client_of(port) as peer:
        headers = [] if origin is None else [("Origin", origin)]
        assert peer.request(headers=headers).status == status


@pytest.mark.parametrize("where", ["server", "view"])
def test_v55_nobody_is_let_in_before_the_hook_said_so(server: Link, where: str, log: Log) -> None:
    gate = server.runtime.gate()

    async def judge(*args: Any) -> Accept | Response | None:
        log.add("judge")
        await gate.wait()
        return None if "authorization" in args[-1].headers else Response(401)

    guarded = recorder(log)
    if where == "view":
        guarded = type("Guarded", (guarded,), {"on_request": judge})
    adopted = server.runtime.adopt(guarded)
    port, _ = server.serve(adopted, on_request=judge if where == "server" else None)
    with client_of(port) as peer, client_of(port) as known:
        peer.send_raw(REQUEST + peer.encode(0x81, "early"))
        known.send_raw(REQUEST[:-2] + b"Authorization: Basic eA==\r\n\r\n" + peer.encode(0x81, "x"))
        log.wait("judge", 2)
        assert peer.is_silent()
        assert known.is_silent()
        gate.open()
        assert peer.read_head().status == 401
        assert known.read_head().status == 101
        log.wait(("TEXT", b"x"))
        known.bye()
        log.wait(("close", 1000))
    assert log.entries == ["judge", "judge", "open", ("TEXT", b"x"), ("close", 1000)]


# ------------------------------------------------------------------------------------ the log


def test_e7_one_line_for_a_bad_peer_and_nothing_raw(
    server: Link, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    port = serve_echo(server)
    evil = "\x1b]0;owned\x07\r\nfake line " + "\xff" * 3000
    count = 20
    for _ in range(count):
        with client_of(port) as peer:
            peer.send_raw(b"GET /" + evil.encode() + b" HTTP/1.1\r\n\r\n")
            peer.rest()
    with client_of(port) as peer:
        peer.request()
        peer.send(0x81, b"\xff\x1b[31m" * 1000)
        peer.rest()
    eventually(lambda: len(caplog.records) >= count + 1)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == count + 1
    assert all(message.isprintable() and message.isascii() for message in messages)
    assert max(map(len, messages)) < 450


def test_e8_the_text_of_an_error_is_bounded_and_escaped(runtime: Runtime) -> None:
    with Listener() as listener:
        client = runtime.spawn(lambda: runtime.opened(listener.url()))
        with listener.accept() as peer:
            peer.read_head()
            peer.send_raw(b"HTTP/1.1 101 \x1b[31m" + b"\xff" * 8000)
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert str(error).isascii()
            assert str(error).isprintable()
            assert len(str(error)) < 450
            peer.rest()


# ----------------------------------------------------------------------- many, slow and broken


def test_e9_a_stalled_peer_does_not_delay_the_others(server: Link) -> None:
    """Posting to all is not held up by the one that does not read."""
    port = serve_echo(server)
    stalled = Peer(connect_tcp(port, window=4096), is_client=True)
    stalled.request()
    peers = [client_of(port) for _ in range(10)]
    for peer in peers:
        peer.request()
    eventually(lambda: sum(view.is_open for view in server.views) == 11)
    for number in range(20):
        for view in server.views:
            view.post(bytes(100_000), OpCode.BINARY)
        for peer in peers:
            assert peer.message() == bytes(100_000), number
    stalled.reset()
    for peer in peers:
        peer.bye()


def test_e11_header_names_beyond_the_limit(server: Link) -> None:
    port = serve_echo(server)
    with client_of(port) as peer:
        assert peer.request(headers=[(f"X-{n}", "a") for n in range(101)]).status == 431


def test_f8_tls_records_in_pieces(runtime: Runtime, tls: Tls) -> None:
    link = Link(runtime, "server", tls)
    try:
        port = serve_echo(link)
        with connect_tcp(port) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = tls.client.wrap_bio(incoming, outgoing, server_hostname="localhost")

            def pump(step: Callable[[], Any]) -> Any:
                while True:
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        result = None
                    data = outgoing.read()
                    for place in range(0, len(data), 5):
                        sock.sendall(data[place : place + 5])
                    if result is not None:
                        return result
                    incoming.write(sock.recv(7))

            pump(lambda: [secure.do_handshake()])  # type: ignore[func-returns-value]
            pump(lambda: secure.write(REQUEST))
            read = b""
            while b"\r\n\r\n" not in read:
                read += pump(lambda: secure.read(1000))
            with Peer(sock, is_client=True) as peer:
                pump(lambda: secure.write(peer.encode(0x81, "in pieces" * 50)))
                read = b""
                while len(read) < 454:
                    read += pump(lambda: secure.read(1000))
                assert read == b"\x81\x7e\x01\xc2" + b"in pieces" * 50
    finally:
        link.end()


def test_f9_urgent_data_is_not_in_the_stream(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    peer.text("one")
    log.wait(("TEXT", b"one"))
    peer.sock.send(b"!", socket.MSG_OOB)
    peer.text("two")
    log.wait(("TEXT", b"two"))
    peer.half_close()
    log.wait(("close", None))
    peer.reset()


def test_f10_the_network_goes_away_during_a_close(any_link: Link, log: Log) -> None:
    """A peer that takes nothing any more, not even the Close."""
    peer = any_link.open(recorder(log), window=4096, CLOSE_TIMEOUT=0.2)
    sending = any_link.spawn(any_link.view.send, bytes(8 << 20), OpCode.BINARY)
    with at_most(3.0):
        any_link.call(any_link.view.close)
        log.wait(("close", None))
        assert sending.exception() is not None
        eventually(any_link.view._driver.is_released)
    peer.sock.close()


# ---------------------------------------------------------------- cancelling, crossing, ending


def test_g12_no_time_at_all(link: Link) -> None:
    """A timeout of 0 around any call leaves the connection as it was."""

    class Plain(AsyncView):
        async def run_forever(self) -> None:
            await runtime.released(self)

    runtime = link.runtime
    peer = link.open(Plain)
    view = link.view

    def hurried(function: Callable[[], Awaitable[Any]]) -> None:
        runtime.call(lambda: runtime.within(0, function))

    hurried(view.recv)
    hurried(view.ping)
    assert peer.frame()[0] == 0x89
    hurried(lambda: view.send("sent"))
    peer.text("hello")
    assert runtime.call(view.recv) == "hello"
    assert peer.message() == "sent"
    hurried(view.close)
    assert peer.reply() == (1000, "")


def test_g13_data_outruns_the_application(any_link: Link, log: Log) -> None:
    gate = any_link.runtime.gate()

    class Slow(AsyncView):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await gate.wait()
            log.add(len(message))

    peer = any_link.open(Slow)
    data = peer.encode(0x82, bytes(65_536)) * 40
    sender = threading.Thread(target=peer.send_raw, args=(data,))
    sender.start()
    eventually(lambda: not any_link.view._session.wants_read)
    gate.open()
    sender.join()
    log.wait(65_536, 40)
    if any_link.role == "server":
        peer.bye()


def test_h3_no_101_after_the_end_was_decided(runtime: Runtime, log: Log) -> None:
    gate = runtime.gate()

    class Judge(Echo):
        async def on_request(self, request: Any) -> None:
            log.add("asked")
            await gate.wait()

    async def start() -> Any:
        return await runtime.served(runtime.adopt(Judge))

    server = runtime.call(start)
    with client_of(server.port) as asked, client_of(server.port) as half:
        asked.send_raw(REQUEST)
        log.wait("asked")
        half.send_raw(REQUEST[:-2])
        closing = runtime.spawn(server.close)
        assert asked.rest() == b""
        assert half.rest() == b""
        gate.open()
        closing.result()


def test_h5_the_same_port_again(runtime: Runtime) -> None:
    """A server that closed its connections first may be started again at once."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    listening.close()

    async def start() -> Any:
        return await runtime.served(runtime.adopt(Echo), port=port)

    for _ in range(2):
        server = runtime.call(start)
        with client_of(port) as peer:
            peer.request()
            closing = runtime.spawn(server.close)
            assert peer.reply() == (1001, "the server is going away")
            closing.result()


def test_h5_a_unix_socket_left_behind(runtime: Runtime, tmp_path: Path) -> None:
    place = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))

    async def start() -> Any:
        return await runtime.served(runtime.adopt(Echo), unix=str(place))

    server = runtime.call(start)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(place))
        with Peer(sock, is_client=True) as peer:
            assert peer.request().status == 101
            peer.bye()
    runtime.call(server.close)


def test_h6_the_heartbeat_is_quicker_than_proxies(runtime: Runtime) -> None:
    interval = runtime.view_class.PING_INTERVAL
    assert interval is not None
    assert interval * 2 < 60


def test_h7_small_messages_do_not_wait_for_more(any_link: Link) -> None:
    peer = any_link.open(Echo)
    assert any_link.view.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if any_link.role == "server":
        peer.bye()
    else:
        closing = any_link.spawn(any_link.view.close)
        peer.reply()
        closing.result()
