"""The programs in ``docs/examples`` work as they stand, and the embedded server in every corner."""

import asyncio
import contextlib
import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.support import EXAMPLES, background, environment, free_port
from wsproto_asyncio import HandshakeError, OpCode, WebSocketView, connect
from wsproto_core import Config

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextlib.contextmanager
def served(name: str, folder: Path, **settings: float) -> Iterator[int]:
    """Run an example that listens, its views with other settings; gives its port."""
    port = free_port()
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    lines = "".join(f"\\1{key} = {value}\n" for key, value in settings.items())
    source = re.sub(r"^( +)(?=MAX_MESSAGE_SIZE)", lines + r"\1", source, flags=re.MULTILINE)
    with background(source, port, folder):
        yield port


def run(name: str, *arguments: str) -> str:
    """Run an example to its end; gives what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(name: str) -> ModuleType:
    """Import an example by its path."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("server", ["echo_server.py", "selectors_server.py", "selectors_views.py"])
def test_clients_with_echo_servers(server: str, tmp_path: Path) -> None:
    with served(server, tmp_path) as port:
        url = f"ws://127.0.0.1:{port}/"
        lines = run("client.py", url).splitlines()
        assert lines[:3] == ["one", "two", "three"]
        assert lines[3].startswith("a ping takes ")
        assert lines[4:] == ["closed with 1000"]
        assert run("view_client.py", url).splitlines() == [
            "the server said 1",
            "the server said 2",
            "the server said 3",
            "closed with 1000 counted",
        ]


# -------------------------------------------------------------- views in a loop of one's own


@pytest.fixture
def views_loop() -> Iterator[tuple[ModuleType, Any, int]]:
    """The loop of ``selectors_views.py`` in a thread; it ends with its listener."""
    module = load("selectors_views.py")
    seen: list[Any] = []

    class Echo(module.Echo):  # type: ignore[misc,name-defined]
        CLOSE_TIMEOUT = 0.2
        PING_INTERVAL = 0.05

        async def on_open(self) -> None:
            seen.append(self)

        async def on_text(self, text: str) -> None:
            if text == "stuck":
                await module.Until(lambda: False)
            await self.on_receive(text.encode(), OpCode.TEXT)

        async def on_close(self, frame: object = None) -> None:
            seen.append(frame)

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    def run() -> None:
        with contextlib.suppress(Stop):
            loop.run()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop = module.Loop(Echo, listener)
        thread = threading.Thread(target=run)
        thread.start()
        loop.seen = seen
        try:
            yield module, loop, listener.getsockname()[1]
        finally:
            loop.post(stop)
            thread.join(10)
    assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_views_on_selectors(views_loop: tuple[ModuleType, Any, int]) -> None:
    """A hook waits for a pong while the loop goes on; another thread posts; both sides close."""
    _, loop, port = views_loop

    async def talk() -> None:
        async with connect(f"ws://127.0.0.1:{port}/") as ws:
            await ws.send("ping")
            assert await ws.recv() == "ping"
            await ws.send("x" * 300_000)
            assert await ws.recv() == "x" * 300_000
            assert await ws.ping() >= 0
            loop.seen[0].post("from a thread")
            assert await ws.recv() == "from a thread"

    asyncio.run(talk())
    until(lambda: len(loop.seen) == 2 and not loop.drivers)
    assert loop.seen[1].close_code == 1000


def test_views_on_selectors_watch_the_time(views_loop: tuple[ModuleType, Any, int]) -> None:
    _, loop, port = views_loop

    async def talk() -> None:
        async with connect(f"ws://127.0.0.1:{port}/", WaitingView) as ws:
            await pinged.wait()
            await ws.send("stuck")
            await ws.send_close(4000)

    pinged = asyncio.Event()

    class WaitingView(WebSocketView):
        async def on_ping(self, data: bytes) -> None:
            pinged.set()

        async def on_text(self, text: str) -> None:
            pass

    asyncio.run(talk())
    until(lambda: len(loop.seen) == 2 and not loop.drivers)  # the hook was cancelled in time


def test_views_on_selectors_lose_the_peer(views_loop: tuple[ModuleType, Any, int]) -> None:
    _, loop, port = views_loop
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(HANDSHAKE)
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
    until(lambda: len(loop.seen) == 2 and not loop.drivers)
    assert loop.seen[1] is None


def test_own_page(tmp_path: Path) -> None:
    async def clock(port: int) -> list[str | bytes]:
        async with connect(f"ws://127.0.0.1:{port}/time") as ws:
            return [await ws.recv(), await ws.recv()]

    async def lost(port: int) -> int | None:
        with pytest.raises(HandshakeError) as caught:
            await connect(f"ws://127.0.0.1:{port}/elsewhere")
        return caught.value.status

    with served("own_page.py", tmp_path) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert b"new WebSocket" in answer.read()
        assert asyncio.run(clock(port)) == ["0 s", "1 s"]
        assert asyncio.run(lost(port)) == 404


def test_chat_server(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        room = f"ws://127.0.0.1:{port}/ws/room/tea?name="
        async with connect(room + "Ada") as ada:
            assert await ada.recv() == "* Ada came in"
            async with (
                connect(room + "Bob") as bob,
                connect(f"ws://127.0.0.1:{port}/ws/room/other?name=Eve") as eve,
            ):
                assert await ada.recv() == await bob.recv() == "* Bob came in"
                await bob.send("Tea?")
                assert await ada.recv() == await bob.recv() == "Bob: Tea?"
                assert await eve.recv() == "* Eve came in"
            assert await ada.recv() == "* Bob left"
            await ada.send("x" * 5000)
            with pytest.raises(Exception, match="1009"):
                await ada.recv()

    with served("chat_server.py", tmp_path) as port:
        asyncio.run(talk(port))


def test_chat_server_lets_the_slow_go(tmp_path: Path) -> None:
    async def flood(port: int) -> None:
        room = f"ws://127.0.0.1:{port}/ws/room/tea?name="
        slow = socket.create_connection(("127.0.0.1", port))
        with slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(HANDSHAKE.replace(b"GET /", b"GET /ws/room/tea?name=Sloth"))
            async with connect(room + "Ada", extensions=()) as ada:
                await ada.send("hello")
                line = "x" * 4000
                async for message in ada:
                    if message == "* Sloth left":
                        return
                    if str(message).startswith("Ada: "):
                        await ada.send(line)

    with served("chat_server.py", tmp_path, CLOSE_TIMEOUT=0.5) as port:
        asyncio.run(asyncio.wait_for(flood(port), 30))


def test_fuzz_connection() -> None:
    assert run("fuzz_connection.py", "200") == (
        "every connection came to its end, and no input raised\n"
    )


# ------------------------------------------------------------ Connection in a loop of one's own


@contextlib.contextmanager
def embedded(config: Config) -> Iterator[int]:
    """The selectors example with settings of the test's, in a thread that ends with the process."""
    listener = socket.create_server(("127.0.0.1", 0))
    serve = load("selectors_server.py").serve
    threading.Thread(target=serve, args=(listener, config), daemon=True).start()
    yield listener.getsockname()[1]


def test_selectors_server_echoes_all_kinds_and_sizes() -> None:
    async def main(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/") as ws:
            for message in ("", "é" * 1000, "x" * (1 << 20), json.dumps({"a": 1})):
                await ws.send(message)
                assert await ws.recv() == message
            for data in (b"", bytes(range(256)) * 8192):
                await ws.send(data, OpCode.BINARY)
                assert await ws.recv() == data
            assert await ws.ping() < 5
            await ws.close(4000, "done")
        assert (ws.close_code, ws.close_reason) == (4000, "done")

    with embedded(Config()) as port:
        asyncio.run(main(port))


def test_selectors_server_serves_several_at_once() -> None:
    async def one(port: int, name: str) -> None:
        async with connect(f"ws://127.0.0.1:{port}/") as ws:
            for number in range(20):
                await ws.send(f"{name} {number}")
                assert await ws.recv() == f"{name} {number}"

    async def main(port: int) -> None:
        await asyncio.gather(*(one(port, str(number)) for number in range(10)))

    with embedded(Config()) as port:
        asyncio.run(main(port))


def test_selectors_server_with_the_client_of_websockets() -> None:
    websockets = pytest.importorskip("websockets.sync.client")
    with embedded(Config()) as port, websockets.connect(f"ws://127.0.0.1:{port}/") as ws:
        ws.send("hello")
        assert ws.recv(timeout=10) == "hello"
        ws.send(b"\x00" * 100_000)
        assert ws.recv(timeout=10) == b"\x00" * 100_000


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            data += part
    return data


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_selectors_server_honours_the_open_timeout(sent: bytes) -> None:
    with embedded(Config(open_timeout=0.2)) as port:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(sent)
            assert read_all(sock) == b""
        assert 0.15 < time.monotonic() - began < 5


def test_selectors_server_honours_the_heartbeat() -> None:
    config = Config(ping_interval=0.1, pong_timeout=0.1, max_backoff=0.1, close_timeout=0.3)
    with embedded(config) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(HANDSHAKE)
            head, _, frames = read_all(sock).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames.count(b"\x89\x08") >= 3  # pings
        assert frames.endswith(b"\x88\x19\x03\xe9WebSocket Timeout Error")  # Close 1001


def test_selectors_server_honours_the_receive_timeout() -> None:
    async def main(port: int) -> None:
        # Nothing but silence: the client's own heartbeat is off too.
        ws = await connect(f"ws://127.0.0.1:{port}/", ping_interval=None)
        assert [message async for message in ws] == []
        assert (ws.close_code, ws.close_reason) == (1001, "WebSocket Timeout Error")

    with embedded(Config(receive_timeout=0.2, ping_interval=None)) as port:
        asyncio.run(main(port))


def test_selectors_server_honours_the_send_timeout_and_bounds_its_queue() -> None:
    with (
        embedded(Config(send_timeout=0.5, ping_interval=None)) as port,
        socket.create_connection(("127.0.0.1", port), 10) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(HANDSHAKE)
        sock.settimeout(0.2)
        frame = b"\x82\xff" + (1 << 16).to_bytes(8) + bytes(4) + bytes(1 << 16)
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 256:  # 16 MiB: more than any socket buffers
                sock.sendall(frame)
                sent += 1
        assert sent < 256, "it takes more than it can give back"
        sock.settimeout(10)
        assert len(read_all(sock)) < 16 << 20


def test_selectors_server_closes_tcp_first_and_reads_to_the_end() -> None:
    with embedded(Config()) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(
                HANDSHAKE + b"\x81\x82\0\0\0\0hi" + b"\x88\x82\0\0\0\0\x03\xe8" + bytes(99)
            )
            _, _, frames = read_all(sock).partition(b"\r\n\r\n")
        assert frames == b"\x81\x02hi\x88\x02\x03\xe8"


def test_selectors_server_survives_resets_and_garbage() -> None:
    async def main(number: int) -> None:
        async with connect(f"ws://127.0.0.1:{number}/") as ws:
            await ws.send("still there")
            assert await ws.recv() == "still there"

    reset = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
    with embedded(Config()) as port:
        for sent in (b"", HANDSHAKE, HANDSHAKE + b"\xff" * 99, b"\x00\x01", b"POST / HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(sent)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        asyncio.run(main(port))
