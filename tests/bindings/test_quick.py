"""``wsproto_views.quick``: on both builds it does the same."""

import asyncio
import errno
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

import wsproto_views.quick as in_use
from tests.builds import pure_twin


@pytest.fixture(params=[in_use, pure_twin(in_use)], ids=["in use", "pure"])
def quick(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        yield one, other


def test_receive(quick: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    sock, peer = pair
    buffer = memoryview(bytearray(10))
    assert quick.receive(sock, sock.fileno(), buffer) is None
    peer.send(b"abc")
    assert quick.receive(sock, sock.fileno(), buffer) == b"abc"
    peer.send(b"0123456789abcdefghijABCDE")
    parts = [bytes(quick.receive(sock, sock.fileno(), buffer)) for _ in range(3)]
    assert parts == [b"0123456789", b"abcdefghij", b"ABCDE"]
    peer.close()
    assert quick.receive(sock, sock.fileno(), buffer) == b""


def test_receive_much(quick: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    """What is large is not copied: it is a part of the buffer."""
    sock, peer = pair
    buffer = memoryview(bytearray(1 << 16))
    data = b"0123456789abcdef" * 1500
    peer.sendall(data)
    got = quick.receive(sock, sock.fileno(), buffer)
    assert got == data
    assert isinstance(got, memoryview)
    assert got.obj is buffer.obj


@pytest.mark.parametrize("size", [10, 1 << 14, 1 << 16])
def test_recv(quick: Any, pair: tuple[socket.socket, socket.socket], size: int) -> None:
    sock, peer = pair
    assert quick.recv(sock, sock.fileno(), size) is None
    peer.send(b"abc")
    assert quick.recv(sock, sock.fileno(), size) == b"abc"
    data = bytes(size)
    peer.sendall(data + b"more")
    got = quick.recv(sock, sock.fileno(), size)
    assert type(got) is bytes
    assert got == (data + b"more")[:size]
    assert quick.recv(sock, sock.fileno(), size) == (data + b"more")[size:]
    peer.close()
    assert quick.recv(sock, sock.fileno(), size) == b""


@pytest.mark.parametrize("call", ["receive", "recv"])
def test_receive_from_a_reset_connection(quick: Any, call: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        room = 10 if call == "recv" else memoryview(bytearray(10))
        with pytest.raises(ConnectionResetError) as info:
            getattr(quick, call)(sock, sock.fileno(), room)
        assert info.value.errno == errno.ECONNRESET


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1])
def test_send(quick: Any, pair: tuple[socket.socket, socket.socket], size: int) -> None:
    sock, peer = pair
    data = b"x" * size
    assert quick.send(sock, sock.fileno(), data) == size
    sock.close()
    got = b""
    while part := peer.recv(1 << 16):
        got += part
    assert got == data


@pytest.mark.parametrize("size", [1000, 1 << 17])
def test_send_until_the_system_is_full(
    quick: Any, pair: tuple[socket.socket, socket.socket], size: int
) -> None:
    sock, peer = pair
    data = b"x" * size
    sent = 0
    while taken := quick.send(sock, sock.fileno(), data):
        sent += taken
    sock.close()
    got = 0
    while part := peer.recv(1 << 16):
        got += len(part)
    assert got == sent > 0


@pytest.mark.parametrize("size", [1, 1 << 17])
def test_send_to_nobody(quick: Any, pair: tuple[socket.socket, socket.socket], size: int) -> None:
    sock, peer = pair
    peer.close()
    with pytest.raises(BrokenPipeError):
        quick.send(sock, sock.fileno(), b"x" * size)


def test_start(quick: Any) -> None:
    async def returns() -> str:
        return "value"

    async def fails() -> None:
        raise ValueError("bad")

    async def waits() -> str:
        await asyncio.sleep(0)
        return "later"

    async def gives_a_tuple() -> tuple[int, ...]:
        return (1, 2)

    assert quick.start(returns()) == "value"
    assert quick.start(gives_a_tuple()) == (1, 2)
    with pytest.raises(ValueError, match="bad"):
        quick.start(fails())
    coroutine: Coroutine[Any, Any, str] = waits()
    given = quick.start(coroutine)
    assert type(given) is quick.Suspended
    assert given.given is None
    with pytest.raises(StopIteration) as info:
        coroutine.send(None)
    assert info.value.value == "later"


def test_start_gives_what_is_waited_for(quick: Any) -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    async def waits() -> None:
        await future

    coroutine = waits()
    given = quick.start(coroutine)
    assert given.given is future
    coroutine.close()
    loop.close()


@pytest.mark.parametrize("module", [each for each in (in_use, pure_twin(in_use)) if each.has_timer])
def test_a_timer_rings_once_and_not_before(module: Any) -> None:
    timer = module.Timer()
    at = time.monotonic() + 0.02
    timer.set(at + 100)
    timer.set(at)  # it rings at what it was set to last
    assert select.select([timer.fd], [], [], 10)[0]
    assert time.monotonic() >= at
    timer.set(0.0)
    assert not select.select([timer.fd], [], [], 0)[0]
    timer.set(at)  # that was before
    assert select.select([timer.fd], [], [], 10)[0]
    timer.close()
    timer.close()
    assert timer.fd == -1
    with pytest.raises((OSError, ValueError), match="file descriptor"):
        timer.set(at)


@pytest.mark.parametrize("module", [each for each in (in_use, pure_twin(in_use)) if each.has_wait])
def test_whether_one_alone_is_ready(module: Any) -> None:
    (one, one_peer), (other, other_peer) = socket.socketpair(), socket.socketpair()
    with one, one_peer, other, other_peer, select.epoll() as epoll:
        epoll.register(one, select.EPOLLIN)
        epoll.register(other, select.EPOLLIN)
        one_peer.send(b"x")
        assert module.is_only_ready(epoll.fileno(), one.fileno())
        assert not module.is_only_ready(epoll.fileno(), other.fileno())
        other_peer.send(b"x")
        assert not module.is_only_ready(epoll.fileno(), one.fileno())


has_poll = pytest.mark.skipif(not in_use.has_poll, reason="only the compiled build, not Windows")


@has_poll
def test_poll(pair: tuple[socket.socket, socket.socket]) -> None:
    sock, peer = pair
    other, other_peer = socket.socketpair()
    with other, other_peer:

        def ready(mask: int, timeout: int = -1) -> int:
            return in_use.poll(sock.fileno(), mask, other.fileno(), timeout)

        assert ready(select.POLLIN, 0) == ready(select.POLLIN, 1) == 0
        assert ready(select.POLLIN | select.POLLOUT) == select.POLLOUT
        peer.send(b"x")
        assert ready(select.POLLIN) == select.POLLIN
        assert ready(select.POLLIN | select.POLLOUT) == select.POLLIN | select.POLLOUT
        assert ready(0, 0) == 0
        other_peer.send(b"x")  # a nudge is no news of the socket
        assert ready(0) == 0
        assert ready(select.POLLIN) == select.POLLIN
        peer.close()
        assert ready(select.POLLIN) & select.POLLHUP
        assert ready(0) == 0  # what was not asked for is not told


@has_poll
def test_poll_lets_others_run(pair: tuple[socket.socket, socket.socket]) -> None:
    """While many wait, and when all of them are told at once."""
    sock, peer = pair
    got: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: got.append(in_use.poll(sock.fileno(), select.POLLIN, other.fileno(), -1))
        )
        for _ in range(20)
    ]
    other, other_peer = socket.socketpair()
    with other, other_peer:
        for thread in threads:
            thread.start()
        assert got == []
        peer.send(b"x")
        for thread in threads:
            thread.join()
    assert got == [select.POLLIN] * 20


@has_poll
def test_a_fork_while_another_thread_comes_back_from_poll() -> None:
    """What that thread holds is held by nobody in the child."""
    script = """
import os, signal, socket, sys, threading, time
from wsproto_views.quick import poll
one, other = socket.socketpair()
sys.setswitchinterval(100)  # nobody takes the lock of the interpreter from us
thread = threading.Thread(target=poll, args=(one.fileno(), 1, other.fileno(), 20))
thread.start()
until = time.monotonic() + 0.2
while time.monotonic() < until:
    pass  # by now it waits for that lock, the turnstile in its hand
child = os.fork()
if not child:
    signal.alarm(10)
    os._exit(poll(one.fileno(), 1, other.fileno(), 0))
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("size", [0, 3, 1 << 14, (1 << 14) + 1, 1 << 16])
def test_part(quick: Any, size: int) -> None:
    buffer = memoryview(bytearray(b"abcd" * (1 << 14)))
    assert quick.part(buffer, size) == buffer[:size]


def test_a_large_part_is_not_copied(quick: Any) -> None:
    room = bytearray(1 << 16)
    part = quick.part(memoryview(room), 1 << 15)
    room[5] = 7
    assert part[5] == 7


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll here")
def test_who_is_ready(quick: Any) -> None:
    epoll = select.epoll()
    pairs = [socket.socketpair() for _ in range(quick.READY + 2)]
    ready = quick.Ready()
    assert ready.ask(epoll, epoll.fileno()) == 0
    for sock, peer in pairs:
        epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLET)
        peer.send(b"abc")
    pairs[0][1].close()
    told: dict[int, int] = {}
    for expected in (quick.READY, 2, 0):
        assert ready.ask(epoll, epoll.fileno()) == expected
        told |= {ready.fd(at): ready.events(at) for at in range(expected)}
        for beyond in (expected, expected + 1):
            with pytest.raises(IndexError):
                ready.fd(beyond)
            with pytest.raises(IndexError):
                ready.events(beyond)
    expected_events = {sock.fileno(): select.EPOLLIN for sock, _ in pairs}
    expected_events[pairs[0][0].fileno()] |= select.EPOLLHUP
    assert told == expected_events
    for sock, peer in pairs:
        sock.close()
        peer.close()
    epoll.close()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll here")
def test_who_is_ready_of_an_epoll_that_is_closed(quick: Any) -> None:
    epoll = select.epoll()
    fd = epoll.fileno()
    epoll.close()
    with pytest.raises((OSError, ValueError)):
        quick.Ready().ask(epoll, fd)


def test_clock_and_thread(quick: Any) -> None:
    before = time.monotonic()
    assert before <= quick.monotonic() <= time.monotonic()
    idents = [quick.get_ident()]
    thread = threading.Thread(target=lambda: idents.append(quick.get_ident()))
    thread.start()
    thread.join()
    assert idents == [threading.get_ident(), thread.ident]
