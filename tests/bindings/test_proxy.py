"""Clients behind a proxy: HTTP CONNECT and SOCKS, plain and with TLS inside, on every runtime.

The proxy is scripted by hand. Its socket is the way to the server too, so once the tunnel is there
the same ``Peer`` plays the server.
"""

import socket
import ssl
import struct
import sys
from typing import Any

import pytest

from tests.bindings.peer import Head, Listener, Peer
from tests.bindings.runtimes import Running, Runtime, Tls
from wsproto_core import HandshakeError, LocalProtocolError
from wsproto_core.uri import InvalidUri

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def dial(runtime: Runtime, url: str, **options: Any) -> Running[Any]:
    async def run() -> Any:
        return await runtime.opened(url, **options)

    return runtime.spawn(run)


def through(runtime: Runtime, listener: Listener, url: str, **options: Any) -> Running[Any]:
    """Connect to ``url`` by way of ``listener``."""
    options.setdefault("proxy", f"http://127.0.0.1:{listener.port}")
    return dial(runtime, url, **options)


def talk(runtime: Runtime, peer: Peer, client: Running[Any]) -> None:
    """See that the connection works, then close it."""
    view = client.result()
    peer.text("hello")
    assert runtime.call(view.recv) == "hello"
    runtime.call(view.send, "back")
    assert peer.message() == "back"
    closing = runtime.spawn(view.close)
    peer.reply()
    closing.result()
    runtime.call(runtime.released, view)


def connect_head(peer: Peer) -> Head:
    head = peer.read_head()
    assert head.line.startswith("CONNECT ")
    return head


def inside(peer: Peer, tls: Tls) -> Peer:
    return Peer(tls.server.wrap_socket(peer.sock, server_side=True), is_client=False)


# ----------------------------------------------------------------------------------------- HTTP


def test_io_4_1_proxy_asks_for_host_and_port(runtime: Runtime) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/chat")
        with listener.accept() as peer:
            head = connect_head(peer)
            assert head.line == "CONNECT server.test:80 HTTP/1.1"
            assert head["host"] == "server.test:80"
            assert "proxy-authorization" not in head
            peer.send_raw(OK)
            request = peer.answer()
            assert (request.target, request["host"]) == ("/chat", "server.test")
            talk(runtime, peer, client)


def test_io_4_1_proxy_credentials_stay_at_the_proxy(runtime: Runtime) -> None:
    with Listener() as listener:
        proxy = f"http://me:secret@127.0.0.1:{listener.port}"
        client = through(runtime, listener, "ws://server.test/", proxy=proxy)
        with listener.accept() as peer:
            assert connect_head(peer)["proxy-authorization"] == "Basic bWU6c2VjcmV0"
            peer.send_raw(OK)
            head = peer.answer()
            assert "proxy-authorization" not in head
            assert "authorization" not in head
            talk(runtime, peer, client)


def test_io_4_1_proxy_tls_inside_the_tunnel(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "wss://localhost/", ssl=tls.client)
        with listener.accept() as peer:
            assert connect_head(peer).target == "localhost:443"
            peer.send_raw(OK)
            with inside(peer, tls) as server:
                server.answer()
                talk(runtime, server, client)


def test_v56_the_name_is_verified_in_the_tunnel_too(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "wss://elsewhere.test/", ssl=tls.client)
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(OK)
            with pytest.raises((OSError, EOFError)):  # an alert, or the end
                inside(peer, tls).read_head()
            assert isinstance(client.exception(), ssl.SSLCertVerificationError)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_io_4_1_proxy_refuses(runtime: Runtime, status: int) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/")
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(f"HTTP/1.1 {status} No\r\nContent-Length: 4\r\n\r\nbusy".encode())
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert error.response is not None
            assert (error.status, error.response.body) == (status, b"busy")
            assert peer.rest() == b""


def test_a39_bytes_behind_the_200_reach_the_handshake(runtime: Runtime) -> None:
    """They are the server's: here an answer that came before there was a question."""
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/")
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(OK + b"HTTP/1.1 403 Early\r\nContent-Length: 0\r\n\r\n")
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert error.status == 403
            peer.rest()


def test_a39_bytes_before_tls_are_refused(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "wss://localhost/", ssl=tls.client)
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(OK + b"x")
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert "before TLS, got 1 byte" in str(error)
            peer.rest()


def test_a39_an_endless_head(runtime: Runtime) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/")
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 120)
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert "at most 100 header lines" in str(error)
            peer.rest()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", OK], ids=["none", "half", "tunnel"])
def test_a39_one_deadline_for_all_of_it(runtime: Runtime, sent: bytes) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/", open_timeout=0.2)
        with listener.accept() as peer:
            connect_head(peer)
            peer.send_raw(sent)
            assert isinstance(client.exception(), TimeoutError)
            peer.rest()


def test_the_proxy_ends_the_stream(runtime: Runtime) -> None:
    with Listener() as listener:
        client = through(runtime, listener, "ws://server.test/")
        with listener.accept() as peer:
            connect_head(peer)
        error = client.exception()
        assert isinstance(error, HandshakeError)
        assert "ended the stream without an answer" in str(error)


def test_g4_cancelled_in_the_tunnel(runtime: Runtime) -> None:
    with Listener() as listener:
        proxy = f"http://127.0.0.1:{listener.port}"

        async def hurried() -> Any:
            return await runtime.within(
                0.1, lambda: runtime.opened("ws://server.test/", proxy=proxy)
            )

        client = runtime.spawn(hurried)
        with listener.accept() as peer:
            connect_head(peer)
            assert peer.rest() == b""
            assert client.result() is None


def test_no_proxy_is_taken_from_the_environment(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "ws_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Listener() as listener:
        client = dial(runtime, listener.url())
        with listener.accept() as peer:
            peer.answer()
            talk(runtime, peer, client)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"proxy": "https://h"}, InvalidUri),
        ({"proxy": "h:3128"}, InvalidUri),
        ({"proxy": "http://h", "unix": "x"}, ValueError),
        ({"proxy": b"http://h"}, LocalProtocolError),
    ],
)
def test_what_cannot_be_meant(
    runtime: Runtime, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        runtime.connect("ws://server.test/", **options)


# ---------------------------------------------------------------------------------------- SOCKS


def socks(peer: Peer, reply: int = 0) -> tuple[str, int]:
    """Play a SOCKS5 proxy (RFC 1928); returns where it is to connect to."""
    version, methods = peer._take(2)
    assert version == 5
    if 2 in peer._take(methods):
        peer.send_raw(b"\x05\x02")
        peer._take(1)
        user = peer._take(peer._take(1)[0])
        password = peer._take(peer._take(1)[0])
        assert (user, password) == (b"me", b"secret")
        peer.send_raw(b"\x01\x00")
    else:
        peer.send_raw(b"\x05\x00")
    assert peer._take(3) == b"\x05\x01\x00"
    kind = peer._take(1)[0]
    if kind == 3:
        host = peer._take(peer._take(1)[0]).decode()
    else:
        host = socket.inet_ntop(socket.AF_INET, peer._take(4))
    port = struct.unpack("!H", peer._take(2))[0]
    peer.send_raw(b"\x05" + bytes([reply]) + b"\x00\x01" + bytes(6))
    return host, int(port)


@pytest.mark.parametrize("user", ["", "me:secret@"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks(runtime: Runtime, scheme: str, user: str) -> None:
    """With an h the proxy resolves the name; without, we do."""
    with Listener() as listener:
        proxy = f"{scheme}://{user}127.0.0.1:{listener.port}"
        name = "server.test" if scheme == "socks5h" else "127.0.0.2"
        client = through(runtime, listener, f"ws://{name}/", proxy=proxy)
        with listener.accept() as peer:
            assert socks(peer) == (name, 80)
            peer.answer()
            talk(runtime, peer, client)


def test_socks_with_tls(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        proxy = f"socks5h://127.0.0.1:{listener.port}"
        client = through(runtime, listener, "wss://localhost/", proxy=proxy, ssl=tls.client)
        with listener.accept() as peer:
            assert socks(peer) == ("localhost", 443)
            with inside(peer, tls) as server:
                server.answer()
                talk(runtime, server, client)


def test_socks_refuses(runtime: Runtime) -> None:
    with Listener() as listener:
        proxy = f"socks5h://127.0.0.1:{listener.port}"
        client = through(runtime, listener, "ws://server.test/", proxy=proxy)
        with listener.accept() as peer:
            socks(peer, reply=5)
            error = client.exception()
            assert isinstance(error, HandshakeError)
            assert f"the proxy {proxy} does not connect to server.test: " in str(error)
            assert peer.rest() == b""


def test_socks_that_is_silent(runtime: Runtime) -> None:
    with Listener() as listener:
        proxy = f"socks5h://127.0.0.1:{listener.port}"
        client = through(runtime, listener, "ws://server.test/", proxy=proxy, open_timeout=0.2)
        with listener.accept() as peer:
            error = client.exception()
            assert isinstance(error, TimeoutError)
            assert f"through {proxy} within 0.2 s" in str(error)
            peer.rest()


def test_socks_without_the_package(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match=r"pip install 'wsproto-core\[proxy\]'"):
        runtime.connect("ws://server.test/", proxy="socks5://127.0.0.1")
