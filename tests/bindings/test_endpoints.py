"""Listening and connecting, on every runtime: places, TLS, refusals, a server's life, arguments."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bindings.peer import Listener, Peer, connect_tcp
from tests.bindings.runtimes import Link, Log, Runtime, Tls, eventually, recorder
from wsproto_core import Accept, HandshakeError, LocalProtocolError, PayloadTooBig, Response
from wsproto_views import AsyncView, State, UpgradeRequest, path


class Echo(AsyncView):
    async def on_text(self, text: str) -> None:
        await self.send(text)


@pytest.fixture
def tls_server(runtime: Runtime, tls: Tls) -> Iterator[Link]:
    """Our view as a server over TLS."""
    link = Link(runtime, "server", tls)
    yield link
    link.end()


def echoed(runtime: Runtime, url: str, text: str = "a", **options: Any) -> str:
    """What a client of ours gets for ``text``; it is closed then."""

    async def scenario() -> Any:
        ws = await runtime.opened(url, **options)
        await ws.send(text)
        answer = await ws.recv()
        await ws.close()
        await runtime.released(ws)
        return answer

    return str(runtime.call(scenario))


# ---------------------------------------------------------------------------------- places


def test_an_existing_listening_socket(runtime: Runtime) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = runtime.call(lambda: runtime.served(runtime.adopt(Echo), sock=sock))
    assert server.port == port
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 101
    runtime.call(server.close)
    assert server.port is None
    assert server.sockets == ()
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(port)


def test_an_existing_connected_socket(runtime: Runtime) -> None:
    with Listener() as listener:
        sock = connect_tcp(listener.port)
        opening = runtime.spawn(lambda: runtime.opened("ws://name.test:81/a", sock=sock))
        with listener.accept() as peer:
            head = peer.answer()
            assert (head["host"], head.target) == ("name.test:81", "/a")
            view = opening.result()
            closing = runtime.spawn(view.close)
            assert peer.reply() == (1000, "")
            closing.result()


def test_a_unix_socket(runtime: Runtime, tmp_path: Path) -> None:
    place = str(tmp_path / "s")
    seen: list[Any] = []

    class Telling(Echo):
        async def on_open(self) -> None:
            seen.append((self.request.client_address, self.request.path))

    server = runtime.call(lambda: runtime.served(runtime.adopt(Telling), unix=place))
    assert server.port is None
    assert echoed(runtime, "ws://localhost/x", unix=place) == "a"
    assert seen == [(None, "/x")]
    runtime.call(server.close)


def test_two_places_at_once(runtime: Runtime, tmp_path: Path) -> None:
    with socket.socket() as sock:
        with pytest.raises(ValueError, match="sock and unix"):
            runtime.serve(runtime.adopt(Echo), sock=sock, unix=str(tmp_path / "s"))
        with pytest.raises(ValueError, match="sock and unix"):
            runtime.connect("ws://a/", sock=sock, unix=str(tmp_path / "s"))


def test_a_port_in_use(runtime: Runtime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            runtime.call(lambda: runtime.served(runtime.adopt(Echo), port=port))


def test_a_refused_port(runtime: Runtime) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1 port {port}"):
            runtime.call(lambda: runtime.opened(f"ws://127.0.0.1:{port}/"))


def test_a_name_that_is_none(runtime: Runtime) -> None:
    with pytest.raises(OSError, match=r"[Nn]ame|address|resol"):
        runtime.call(lambda: runtime.opened("ws://nowhere.invalid/"))


# ---------------------------------------------------------------------------------- TLS


def test_io_4_1_tls_echo(tls_server: Link, tls: Tls) -> None:
    runtime = tls_server.runtime
    port, _ = tls_server.serve(runtime.adopt(Echo))
    text = "a" * 300_000
    assert echoed(runtime, f"wss://localhost:{port}/", text, ssl=tls.client) == text


@pytest.mark.parametrize("case", ["stranger", "other name", "no trust"])
def test_io_4_1_tls_a_bad_certificate(runtime: Runtime, tls: Tls, case: str) -> None:
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


def test_server_hostname(runtime: Runtime, tls: Tls) -> None:
    """It is what the client asks for (SNI) and what it verifies."""
    names: list[str] = []
    context = tls.other_name
    context.sni_callback = lambda _s, name, _c: names.append(name or "")
    server = runtime.call(lambda: runtime.served(runtime.adopt(Echo), ssl=context))
    try:
        url = f"wss://localhost:{server.port}/"
        name = "elsewhere.test"
        assert echoed(runtime, url, ssl=tls.client, server_hostname=name) == "a"
    finally:
        context.sni_callback = None
        runtime.call(server.close)
    assert names == ["elsewhere.test"]


def test_io_4_2_2_tls_plain_bytes_on_a_tls_port(tls_server: Link) -> None:
    port, _ = tls_server.serve(tls_server.runtime.adopt(Echo))
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.send_raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP" not in peer.rest()


def test_tls_handshake_that_never_comes(tls_server: Link) -> None:
    port, _ = tls_server.serve(tls_server.runtime.adopt(Echo, OPEN_TIMEOUT=0.1))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.rest() == b""


def test_ssl_for_a_plain_address(runtime: Runtime, tls: Tls) -> None:
    with pytest.raises(ValueError, match="wss"):
        runtime.connect("ws://localhost/", ssl=tls.client)


def test_a_peer_that_sends_on_over_tls_gets_our_close(tls_server: Link) -> None:
    """Closing with its bytes unread would reset the connection, and that can eat the Close."""
    peer = tls_server.open(Echo)
    peer.send(0x83)
    for _ in range(20):
        peer.binary(bytes(10_000))
    assert peer.closed()[0] == 1002
    assert peer.rest() == b""


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
def test_refused_requests(server: Link, wire: bytes, status: int, word: bytes) -> None:
    port, _ = server.serve(server.runtime.adopt(Echo))
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


def test_a_refused_client_has_the_response(server: Link) -> None:
    async def refuse(request: UpgradeRequest) -> Response:
        return Response(418, body=b"short and stout")

    runtime = server.runtime
    port, _ = server.serve(runtime.adopt(Echo), on_request=refuse)
    with pytest.raises(HandshakeError) as caught:
        runtime.call(lambda: runtime.opened(f"ws://127.0.0.1:{port}/"))
    assert caught.value.status == 418
    assert caught.value.response is not None
    assert caught.value.response.body == b"short and stout"


def test_on_request_gives_a_page_and_judges(server: Link) -> None:
    seen: list[tuple[str, bool, str]] = []

    def judge(request: UpgradeRequest) -> Response | Accept | None:
        seen.append((request.path, request.is_upgrade, request.client_address[0]))
        if request.path == "/page":
            return Response(200, {"Content-Type": "text/html"}, b"<p>hi")  # type: ignore[arg-type]
        if request.path == "/set":
            return Accept(headers=[("X-Set", "1")])
        return None

    echo = server.runtime.adopt(Echo)
    port, _ = server.serve([path("/ws", echo), path("/set", echo)], on_request=judge)

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


def test_on_request_of_the_server_fails(server: Link, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: UpgradeRequest) -> None:
        raise RuntimeError("secret")

    port, _ = server.serve(server.runtime.adopt(Echo), on_request=fail)
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 500
        assert b"secret" not in peer.rest()
    assert "secret" in caplog.text


# ---------------------------------------------------------------------------------- a server's life


def test_graceful_close(server: Link, log: Log) -> None:
    runtime = server.runtime
    peers = [server.open(recorder(log)) for _ in range(2)]
    servers = {view.server for view in server.views}
    closing = [runtime.spawn(one.close, 1012, "restart") for one in servers]
    for peer in peers:
        assert peer.reply() == (1012, "restart")
    for one in closing:
        one.result()
    assert log.entries.count(("close", 1012)) == 2
    for one in servers:
        assert one.connections == []
        runtime.call(one.close)  # again


def test_close_waits_for_hooks(server: Link, log: Log) -> None:
    gate = server.runtime.gate()

    class Slow(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add("begin")
            await gate.wait()
            log.add("end")

    peer = server.open(Slow)
    peer.text("a")
    log.wait("begin")
    closing = server.spawn(server.view.server.close)
    assert peer.reply()[0] == 1001
    assert not closing.done()
    gate.open()
    closing.result()
    assert log.entries == ["begin", "end"]


def test_close_drops_a_silent_peer(server: Link) -> None:
    server.open(Echo, CLOSE_TIMEOUT=0.1)
    server.call(server.view.server.close)
    assert server.view.close_code == 1006


def test_serve_forever_ends_when_somebody_closes(runtime: Runtime) -> None:
    server = runtime.call(lambda: runtime.served(runtime.adopt(Echo)))
    waiting = [runtime.spawn(server.serve_forever), runtime.spawn(server.wait_closed)]
    runtime.call(server.close)
    for one in waiting:
        one.result()


def test_a_server_closed_from_inside_a_hook(server: Link) -> None:
    class Last(AsyncView):
        async def on_text(self, text: str) -> None:
            await closing(self.server)

    async def closing(of: Any) -> None:
        await server.runtime.ended(of)

    peer = server.open(Last, CLOSE_TIMEOUT=0.2)
    port = peer.sock.getpeername()[1]
    peer.text("a")
    assert peer.reply()[0] == 1001
    eventually(lambda: server.view.state is State.CLOSED)
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(port)


# ---------------------------------------------------------------------------------- arguments


def test_settings_as_keywords(server: Link) -> None:
    runtime = server.runtime
    port, _ = server.serve(runtime.adopt(Echo))
    ws = runtime.call(
        lambda: runtime.opened(
            f"ws://127.0.0.1:{port}/", ping_interval=0.02, max_frame_size=5, extensions=()
        )
    )
    eventually(lambda: ws.latency is not None)
    runtime.call(ws.send, "0123456789")
    with pytest.raises(PayloadTooBig):
        runtime.call(ws.recv)
    runtime.call(ws.close)


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
def test_settings_that_cannot_be_meant(
    runtime: Runtime, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        runtime.connect("ws://127.0.0.1/", **settings)


@pytest.mark.parametrize("url", ["http://a/", "ws://", "ws://a/#b", "a", ""])
def test_addresses_that_are_none(runtime: Runtime, url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        runtime.connect(url)


@pytest.mark.parametrize("view", [5, "Echo", int, Echo.on_text])
def test_views_that_are_none(runtime: Runtime, view: Any) -> None:
    with pytest.raises(TypeError, match="WebSocketView"):
        runtime.connect("ws://a/", view)
    with pytest.raises(TypeError, match=r"view class|WebSocketView"):
        runtime.serve(view)


@pytest.mark.parametrize("headers", [[("Upgrade", "x")], [("a b", "x")], [("A", "x\r\ny: z")]])
def test_headers_that_cannot_be_sent(runtime: Runtime, headers: Any) -> None:
    with Listener() as listener, pytest.raises(LocalProtocolError):
        runtime.call(lambda: runtime.opened(listener.url(), headers=headers))
