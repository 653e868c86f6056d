"""Peers that misbehave and hooks that do, on every runtime and in both roles.

Each scenario ends with nothing left behind: the ``runtime`` fixture looks for tasks, timers,
threads and descriptors, and warnings are errors.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import Link, Log, Runtime, Tls, eventually, recorder
from tests.core.wire import close_body
from wsproto_core import ConnectionClosed, Frame, HandshakeError, OpCode, PeerTimeout
from wsproto_views import AsyncView, State, UpgradeRequest


class Echo(AsyncView):
    """Says what it hears."""

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


# ---------------------------------------------------------------------------------- opening


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_peer_that_never_upgrades(server: Link, log: Log, sent: bytes) -> None:
    port, _ = server.serve(server.runtime.adopt(recorder(log), OPEN_TIMEOUT=0.1))
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.send_raw(sent)
        assert peer.rest() == b""
    assert log.entries == []


def test_a_peer_that_leaves_while_on_request_runs(server: Link, log: Log) -> None:
    gate = server.runtime.gate()
    views: list[Any] = []

    class Slow(recorder(log)):  # type: ignore[misc]
        async def on_request(self, request: UpgradeRequest) -> None:
            views.append(self)
            log.add("begin")
            await gate.wait()
            log.add("end")

    port, _ = server.serve(server.runtime.adopt(Slow))
    peer = Peer(connect_tcp(port), is_client=True)
    peer.send_raw(_request(port))
    log.wait("begin")
    peer.reset()
    eventually(lambda: views[0].state is State.CLOSED)
    gate.open()
    log.wait("end")
    assert log.entries == ["begin", "end"]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Sw", b"HTTP/1.1 101 Sw\r\nUpgrade: websoc"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_server_that_leaves_during_the_handshake(
    runtime: Runtime, answer: bytes, way: str
) -> None:
    with Listener() as listener:
        opening = runtime.spawn(lambda: runtime.opened(listener.url()))
        peer = listener.accept()
        peer.read_head()
        peer.send_raw(answer)
        getattr(peer.sock if way == "close" else peer, way)()
        with pytest.raises((HandshakeError, ConnectionError)):
            opening.result()


def test_g4_cancelled_connects(runtime: Runtime) -> None:
    with Listener() as listener:
        opened = runtime.call(lambda: runtime.within(0.05, lambda: runtime.opened(listener.url())))
        assert opened is None
        with listener.accept() as peer:
            peer.read_head()
            assert peer.rest() == b""


def test_g4_a_server_that_ends_drops_unfinished_handshakes(server: Link, log: Log) -> None:
    gate = server.runtime.gate()

    class Slow(recorder(log)):  # type: ignore[misc]
        CLOSE_TIMEOUT = 0.1

        async def on_request(self, request: UpgradeRequest) -> None:
            log.add("begin")
            await gate.wait()

    port, _ = server.serve(server.runtime.adopt(Slow))
    peers = [Peer(connect_tcp(port), is_client=True) for _ in range(3)]
    peers[1].send_raw(b"GET / HTTP/1.1\r\n")
    peers[2].send_raw(_request(port))
    log.wait("begin")
    server.end()
    for peer in peers:
        assert peer.rest() == b""
        peer.sock.close()


# ---------------------------------------------------------------------------------- slow peers


def test_one_byte_per_time(any_link: Link, log: Log) -> None:
    peer = any_link.open(Echo)
    peer.drip(
        peer.encode(0x01, "h\N{EURO SIGN}")
        + peer.encode(0x89, b"p")
        + peer.encode(0x80, "llo")
        + peer.encode(0x82, bytes(130))
    )
    assert peer.frame() == (0x8A, b"p")
    assert peer.message() == "h\N{EURO SIGN}llo"
    assert peer.message() == bytes(130)
    peer.drip(peer.encode(0x88, close_body(1000, "bye")))
    assert peer.closed() == (1000, "bye")


def test_a_handshake_one_byte_per_time(server: Link) -> None:
    port, _ = server.serve(server.runtime.adopt(Echo))
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.drip(_request(port))
        assert peer.read_head().status == 101
        peer.text("a")
        assert peer.message() == "a"


def test_e4_a_slow_hook_stops_the_reading(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Slow(AsyncView):
        async def on_binary(self, data: bytes) -> None:
            log.add("begin")
            await gate.wait()

    peer = link.open(Slow)
    block = peer.encode(0x82, bytes(1 << 16))
    peer.sock.setblocking(False)
    sent, limit, rest = 0, 64 << 20, b""
    log_deadline = time.monotonic() + DEADLINE
    stuck = 0
    while sent < limit and stuck < 20 and time.monotonic() < log_deadline:
        try:
            rest = rest or block
            count = peer.sock.send(rest)
            rest, sent, stuck = rest[count:], sent + count, 0
        except BlockingIOError:
            stuck += 1
            time.sleep(0.005)
    assert sent < 32 << 20, "it reads on"  # the kernel's own buffers are some MiB
    assert log.entries == ["begin"]
    gate.open()
    peer.sock.settimeout(DEADLINE)
    peer.send_raw(rest)
    peer.ping(b"at last")
    assert peer.frame() == (0x8A, b"at last")


def test_e4_pings_are_answered_while_a_hook_waits(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Slow(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add(text)
            await gate.wait()

    peer = link.open(Slow, PING_INTERVAL=0.05)
    peer.text("a")
    log.wait("a")
    peer.ping(b"p")
    seen = {peer.frame()[0]}
    while seen != {0x8A, 0x89}:  # the pong, and the heartbeat that goes on
        seen.add(peer.frame()[0])
    gate.open()


def test_e3_send_waits_for_a_slow_reader(any_link: Link) -> None:
    peer = any_link.open(Echo, window=4096, EXTENSIONS=())
    data = os.urandom(4 << 20)
    sending = any_link.spawn(any_link.view.send, data, OpCode.BINARY)
    first = peer.sock.recv(1)
    assert not sending.done()
    peer._buffer = first
    assert peer.message() == data
    assert sending.result() is None


def test_a_peer_that_never_reads_and_we_close(any_link: Link, log: Log) -> None:
    any_link.open(recorder(log), window=4096, EXTENSIONS=(), CLOSE_TIMEOUT=0.1)
    sending = any_link.spawn(any_link.view.send, bytes(16 << 20), OpCode.BINARY)
    eventually(lambda: any_link.view.connection.bytes_to_send == 0, "the writing")
    began = time.monotonic()
    any_link.call(any_link.view.close)
    assert time.monotonic() - began < 2
    assert isinstance(sending.exception(), (ConnectionClosed, PeerTimeout))
    log.wait(("close", None))


def test_a_peer_that_violates_and_never_leaves(any_link: Link, log: Log) -> None:
    peer = any_link.open(recorder(log), CLOSE_TIMEOUT=0.1)
    peer.send(0x83)
    assert peer.closed()[0] == 1002
    log.wait(("close", None))
    assert log.entries == ["open", ("error", "ProtocolError"), ("close", None)]


def test_e1_a_ping_flood_without_reading(link: Link) -> None:
    peer = link.open(Echo, window=4096)
    flood = peer.encode(0x89, bytes(125)) * 2000
    sending = threading.Thread(target=peer.send_raw, args=(flood * 9,))
    sending.start()
    sending.join()  # it does not stop reading because nobody takes its pongs
    peer.ping(b"last")
    seen = 0
    while (frame := peer.frame())[1] != b"last":
        assert frame == (0x8A, bytes(125))
        seen += 1
    assert 0 < seen <= 18_000
    assert link.view.connection.bytes_to_send <= link.view.WRITE_HIGH_WATER + 1000


# ---------------------------------------------------------------------------------- broken streams


@pytest.mark.parametrize("part", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
def test_the_stream_breaks(any_link: Link, log: Log, part: int, way: str) -> None:
    if way == "half_close" and any_link.tls:
        pytest.skip("TLS has no half-close")
    peer = any_link.open(recorder(log), CLOSE_TIMEOUT=0.2)
    peer.text("whole")
    log.wait(("TEXT", b"whole"))
    peer.send_raw(peer.encode(0x82, bytes(200))[:part])
    getattr(peer.sock if way == "close" else peer, way)()
    log.wait(("close", None))
    entries = [entry for entry in log.entries if entry[0] != "error"]
    assert entries == ["open", ("TEXT", b"whole"), ("close", None)]
    assert any_link.view.close_code == 1006


def test_tls_without_a_close_notify(tls_link: Link, log: Log) -> None:
    peer = tls_link.open(recorder(log))
    peer.text("a")
    log.wait(("TEXT", b"a"))
    raw = peer.sock.detach()
    os.close(raw)
    log.wait(("close", None))


def test_a_half_close_after_a_message_still_gets_the_answer(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Slow(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await gate.wait()
            await self.send(message)

    peer = link.open(Slow)
    peer.text("a")
    peer.half_close()
    gate.open()
    assert peer.message() == "a"
    log.wait(("close", None))


@pytest.mark.parametrize("wire", ["close", "garbage", "message"])
def test_a_reset_behind_what_is_not_read_yet(
    any_link: Link, log: Log, wire: str, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = threading.Event()

    class Blocking(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add(message)
            assert blocked.wait(DEADLINE)  # the whole loop stands still
            await self.send(message)

    peer = any_link.open(Blocking)
    peer.text("a")
    log.wait(b"a")
    peer.send_raw(
        {
            "close": peer.encode(0x88, close_body(4000)),
            "garbage": b"\xff\xff\xff\xff",
            "message": peer.encode(0x81, "b"),
        }[wire]
    )
    peer.reset()
    blocked.set()
    eventually(lambda: any_link.view.state is State.CLOSED)
    eventually(lambda: any(entry[0] == "close" for entry in log.entries))
    assert [entry[0] for entry in log.entries].count("close") == 1
    assert not [item for item in caplog.records if item.levelno >= logging.ERROR]


def test_io_7_1_1_clean_a_peer_that_keeps_sending_gets_our_close(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    link.call(link.view.send_close, 4000, "enough")
    for _ in range(50):
        peer.text("x" * 1000)
    assert peer.reply() == (4000, "enough")


# ---------------------------------------------------------------------------------- hooks


def test_a_hook_that_pings(any_link: Link, log: Log) -> None:
    class Pinging(AsyncView):
        async def on_open(self) -> None:
            log.add(("open", await self.ping() >= 0))

        async def on_text(self, text: str) -> None:
            log.add((text, await self.ping() >= 0))

    peer = any_link.open(Pinging)
    peer.pong(peer.frame()[1])
    peer.text("a")
    peer.pong(peer.frame()[1])
    assert log.wait_len(2) == [("open", True), ("a", True)]


def test_a_hook_that_pings_while_the_peer_leaves(any_link: Link, log: Log) -> None:
    class Pinging(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            try:
                await self.ping()
            finally:
                log.add("over")

    peer = any_link.open(Pinging)
    peer.text("a")
    assert peer.frame()[0] == 0x89
    peer.close_frame(4000)
    assert peer.closed()[0] == 4000
    peer.sock.close()
    log.wait(("close", 4000))
    assert log.entries == ["open", "over", ("close", 4000)]


@pytest.mark.parametrize("hook", ["on_open", "on_text", "on_ping", "on_error", "on_close"])
@pytest.mark.parametrize("method", ["close", "send_close", "safe_close"])
def test_a_hook_that_closes(link: Link, log: Log, hook: str, method: str) -> None:
    async def closing(self: Any, *_arguments: object) -> None:
        log.add(hook)
        await getattr(self, method)()
        log.add("closed")

    async def on_text(self: Any, text: str) -> None:
        if hook == "on_error":
            raise LookupError

    view = type("Closing", (AsyncView,), {"on_text": on_text, hook: closing})
    peer = link.open(view, CLOSE_TIMEOUT=0.5)
    if hook != "on_open":
        peer.ping() if hook == "on_ping" else peer.text("a")
    if hook == "on_ping":
        assert peer.frame()[0] == 0x8A
    if hook == "on_close":
        peer.close_frame()
    peer.reply()
    log.wait("closed")
    eventually(lambda: link.view.state is State.CLOSED)
    assert log.entries == [hook, "closed"]


def test_a_hook_that_waits_for_another(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Paired(AsyncView):
        CONCURRENT_RECEIVE = 2

        async def on_text(self, text: str) -> None:
            if text == "first":
                await gate.wait()
            else:
                gate.open()
            log.add(text)

    peer = link.open(Paired)
    peer.text("first")
    peer.text("second")
    assert sorted(log.wait_len(2)) == ["first", "second"]


def test_f5_a_hook_that_blocks_the_loop(server: Link, log: Log) -> None:
    """Its pong is there in time, and is read too late: no blame."""
    if not server.runtime.hooks_block:
        pytest.skip("a hook blocks nothing here, so the peer must pong meanwhile")
    blocked = threading.Event()

    class Blocking(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add(text)
            assert blocked.wait(DEADLINE)
            await self.send(text)

    peer = server.open(Blocking, PING_INTERVAL=0.1, PONG_TIMEOUT=0.5, MAX_MISSED_PONGS=1)
    first, payload = peer.frame()
    assert first == 0x89
    peer.text("a")
    log.wait("a")
    peer.pong(payload)
    time.sleep(1.7)  # more than the second by which a deadline may be late without blame (F5)
    blocked.set()
    for text in (b"a", b"b"):
        while (frame := peer.frame())[0] == 0x89:
            peer.pong(frame[1])
        assert frame == (0x81, text)
        peer.text("b")
    assert server.view.is_open


def test_a_hook_that_only_sends_learns_that_the_peer_is_gone(link: Link, log: Log) -> None:
    class Deaf(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            while self.is_open:
                try:
                    await self.send(bytes(1 << 20), OpCode.BINARY)
                except ConnectionClosed:
                    log.add("refused")

    peer = link.open(Deaf, EXTENSIONS=(), CLOSE_TIMEOUT=0.2)
    peer.text("a")
    peer.frame()
    peer.reset()
    log.wait(("close", None))


# ---------------------------------------------------------------------------------- senders


def test_two_senders_of_large_messages(any_link: Link) -> None:
    peer = any_link.open(Echo, EXTENSIONS=(), MAX_FRAME_SIZE=1 << 16)
    large = {bytes([number]) * (1 << 20) for number in range(1, 5)}
    sending = [any_link.spawn(any_link.view.send, data, OpCode.BINARY) for data in large]
    assert {peer.message() for _ in large} == large
    for one in sending:
        one.result()


def test_g2_sixty_cancelled_sends(any_link: Link, log: Log) -> None:
    peer = any_link.open(recorder(log), EXTENSIONS=(), window=4096, MAX_FRAME_SIZE=1 << 14)

    async def send(number: int) -> None:
        await any_link.view.send(bytes([number]) * 30_000, OpCode.BINARY)

    async def hurried(number: int) -> None:
        await any_link.runtime.within(0.1, lambda: send(number))

    sending = [any_link.spawn(hurried, number) for number in range(60)]
    first, payload = peer.frame()
    for one in sending:
        one.result()
    any_link.spawn(any_link.view.send, "the end")
    arrived, parts = [], [payload]
    while True:
        while not first & 0x80:
            first, payload = peer.frame()
            assert first & 0x7F == 0, "a frame inside another's message"
            parts.append(payload)
        message = b"".join(parts)
        if message == b"the end":
            break
        assert message == message[:1] * 30_000
        arrived.append(message[0])
        first, payload = peer.frame()
        assert first & 0x7F in (1, 2)
        parts = [payload]
    assert len(set(arrived)) == len(arrived)
    peer.bye()
    log.wait(("close", 1000))
    assert log.entries.count(("close", 1000)) == 1


def test_g4_cancelled_closes(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    assert link.call(link.runtime.within, 0.02, link.view.close) is None
    assert link.view.state is State.CLOSING
    assert peer.reply()[0] == 1000
    log.wait(("close", 1000))


# ---------------------------------------------------------------------------------- endings


def _peer_closes(link: Link, peer: Peer) -> None:
    peer.bye()


def _we_close(link: Link, peer: Peer) -> None:
    closing = link.spawn(link.view.close)
    peer.reply()
    closing.result()


def _both_close(link: Link, peer: Peer) -> None:
    link.call(link.view.send_close, 4001)
    peer.close_frame(4002)
    assert peer.closed()[0] in (4001, 4002)
    peer.sock.close()


def _reset(link: Link, peer: Peer) -> None:
    peer.reset()


def _violate(link: Link, peer: Peer) -> None:
    peer.send(0x83)
    peer.closed()
    peer.sock.close()


def _safe_close_twice(link: Link, peer: Peer) -> None:
    closings = [link.spawn(link.view.safe_close) for _ in range(2)]
    peer.reply()
    for closing in closings:
        closing.result()


def _close_and_reset(link: Link, peer: Peer) -> None:
    link.call(link.view.send_close)
    peer.reset()


def _hook_fails(link: Link, peer: Peer) -> None:
    peer.text("fail")
    peer.reply()


ENDINGS: list[Callable[[Link, Peer], None]] = [
    _peer_closes,
    _we_close,
    _both_close,
    _reset,
    _violate,
    _safe_close_twice,
    _close_and_reset,
    _hook_fails,
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_on_close_exactly_once(
    any_link: Link, log: Log, ending: Callable[[Link, Peer], None]
) -> None:
    class Once(AsyncView):
        async def on_text(self, text: str) -> None:
            if text == "fail":
                raise LookupError
            log.add(text)

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("close")

    peer = any_link.open(Once)
    for text in "abc":
        peer.text(text)
    log.wait("c")
    ending(any_link, peer)
    log.wait("close")
    any_link.end()
    assert log.entries == ["a", "b", "c", "close"]


def test_many_connections_come_and_go(server: Link, log: Log, tls: Tls) -> None:
    port, _ = server.serve(server.runtime.adopt(recorder(log)))
    for number in range(40):
        peer = Peer(connect_tcp(port), is_client=True)
        peer.request()
        peer.text(str(number))
        peer.reset() if number % 2 else peer.sock.close()
    eventually(lambda: [entry[0] for entry in log.entries].count("close") == 40, "40 ends")


def _request(port: int) -> bytes:
    return (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
