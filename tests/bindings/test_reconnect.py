"""``async for ws in connect(url)``: coming back after a loss, giving up where it would not help.

The dice are loaded: delays are a few milliseconds. The delays themselves are tested with a fake
clock in ``tests/core/test_backoff.py``.
"""

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.bindings.peer import Listener, Peer
from tests.bindings.runtimes import Log, Running, Runtime, Tls, eventually, recorder
from wsproto_core import ConnectionClosed, HandshakeError
from wsproto_core.backoff import Backoff


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(random: Callable[[], float]) -> Backoff:
        assert all(0 <= random() < 1 for _ in range(10))
        return Backoff(lambda: 0.01)

    monkeypatch.setattr("wsproto_views.endpoints.Backoff", quick)


def looping(
    runtime: Runtime,
    url: str,
    body: Callable[[Any], Awaitable[bool]],
    view: Any = None,
    **options: Any,
) -> Running[None]:
    """Run the loop; ``body`` says whether to go on."""

    async def run() -> None:
        connections: Any = runtime.again(url, view, **options)
        async for ws in connections:
            if not await body(ws):
                break
        await connections.aclose()

    return runtime.spawn(run)


async def until_lost(ws: Any) -> bool:
    """Read to the end; go on unless the server said that it was the last time."""
    try:
        async for message in ws:
            if message == "enough":
                return False
    except ConnectionClosed:
        pass
    return True


def enough(peer: Peer) -> None:
    peer.text("enough")
    assert peer.reply() == (1000, "")


def test_io_7_2_3_backoff_a_lost_connection_is_made_again(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    with Listener() as listener:
        client = looping(runtime, listener.url("/chat"), until_lost)
        keys = set()
        for end in (Peer.reset, Peer.half_close, Peer.bye):
            with listener.accept() as peer:
                head = peer.answer(headers=[])
                assert head.target == "/chat"
                keys.add(head["sec-websocket-key"])
                peer.text("hello")
                end(peer)
        with listener.accept() as peer:
            peer.answer()
            enough(peer)
        client.result()
    assert len(keys) == 3
    said = [record.getMessage() for record in caplog.records if "next attempt" in record.msg]
    assert len(said) == 3
    assert said[0].endswith("the connection is over; next attempt in 0.1 s")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_refusal_that_may_pass(runtime: Runtime, status: int) -> None:
    refusal = f"HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".encode()
    with Listener() as listener:
        client = looping(runtime, listener.url(), until_lost)
        for answer in (refusal, b"", b"HTTP/1.1 101 "):
            with listener.accept() as peer:
                peer.read_head()
                peer.send_raw(answer)
        with listener.accept() as peer:
            peer.answer()
            enough(peer)
        client.result()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 426])
def test_a_refusal_that_will_not_change(runtime: Runtime, status: int) -> None:
    with Listener() as listener:
        client = looping(runtime, listener.url(), until_lost)
        with listener.accept() as peer:
            peer.read_head()
            peer.send_raw(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            error = client.exception()
    assert isinstance(error, HandshakeError)
    assert error.status == status


def test_a_server_that_comes_later(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    with Listener() as listener:
        port = listener.port
        listener.sock.close()
        client = looping(runtime, f"ws://127.0.0.1:{port}/", until_lost)
        eventually(lambda: "next attempt" in caplog.text)
    with socket.create_server(("127.0.0.1", port)) as later:
        sock, _ = later.accept()
        with Peer(sock, is_client=False) as peer:
            peer.answer()
            enough(peer)
            client.result()


def test_a_certificate_will_not_change(runtime: Runtime, tls: Tls) -> None:
    with Listener() as listener:
        client = looping(runtime, listener.url().replace("ws:", "wss:"), until_lost, ssl=tls.client)
        peer = Peer(listener.sock.accept()[0], is_client=False)
        with pytest.raises((OSError, EOFError)), peer:
            tls.other_name.wrap_socket(peer.sock, server_side=True)
        assert isinstance(client.exception(), ssl.SSLCertVerificationError)


def test_views_are_made_anew(runtime: Runtime, log: Log) -> None:
    seen: list[Any] = []

    async def live(view: Any) -> bool:
        seen.append(view)
        await runtime.released(view)
        return len(seen) < 2

    view = runtime.adopt(recorder(log))
    with Listener() as listener:
        client = looping(runtime, listener.url(), live, view, ping_interval=7)
        for text in ("one", "two"):
            with listener.accept() as peer:
                peer.answer()
                peer.text(text)
                peer.bye()
        client.result()
    assert len(set(map(id, seen))) == 2
    assert all(view.PING_INTERVAL == 7 for view in seen)
    lives = [["open", ("TEXT", text), ("close", 1000)] for text in (b"one", b"two")]
    assert log.entries == lives[0] + lives[1]


def test_cancelled_while_it_waits(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not runtime.cancels:
        pytest.skip("a thread that sleeps cannot be cancelled")
    caplog.set_level(logging.INFO, "wsproto_core")
    monkeypatch.setattr(
        "wsproto_views.endpoints.Backoff", lambda _: Backoff(lambda: 1.0, first=3600.0)
    )
    with Listener() as listener:
        client = looping(runtime, listener.url(), until_lost)
        with listener.accept() as peer:
            peer.answer()
            peer.bye()
        eventually(lambda: "next attempt in 3600.0 s" in caplog.text)
        client.cancel()
        eventually(client.done)


def test_an_open_connection_is_closed_before_the_next(runtime: Runtime) -> None:
    """Going on with the loop closes what is open; so does leaving it."""
    seen: list[Any] = []

    async def go_on(ws: Any) -> bool:
        seen.append(ws)
        return len(seen) < 2

    with Listener() as listener:
        client = looping(runtime, listener.url(), go_on)
        for _ in range(2):
            with listener.accept() as peer:
                peer.answer()
                assert peer.reply() == (1000, "")
        client.result()


def test_a_socket_cannot_be_connected_again(runtime: Runtime) -> None:
    with Listener() as listener, socket.create_connection(("127.0.0.1", listener.port)) as sock:
        client = looping(runtime, listener.url(), until_lost, sock=sock)
        assert isinstance(client.exception(), ValueError)
