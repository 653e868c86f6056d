"""Messages in parts, both ways: nothing is buffered whole, whatever its size."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from wsproto_asyncio import (
    ConnectionClosed,
    LocalProtocolError,
    OpCode,
    PerMessageDeflate,
    WebSocketView,
    connect,
    serve,
)

PART = 1 << 16


class Count(WebSocketView):
    """Counts what arrives in parts, and tells at the end of each message."""

    MAX_FRAME_SIZE = None
    MAX_MESSAGE_SIZE = None
    EXTENSIONS = (PerMessageDeflate(),)

    async def on_open(self) -> None:
        self.size = self.parts = self.largest = 0

    async def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
        self.size += len(data)
        self.parts += 1
        self.largest = max(self.largest, len(data))
        if final:
            await self.send(f"{opcode.name} {self.size} {self.parts} {self.largest}")
            self.size = self.parts = self.largest = 0


class Echo(WebSocketView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


async def pieces(count: int, size: int = PART) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


@pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(),)], ids=["plain", "deflated"])
def test_a_message_goes_out_in_parts_and_arrives_in_parts(
    extensions: tuple[PerMessageDeflate, ...],
) -> None:
    async def scenario() -> None:
        async with serve(Count) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            async with connect(url, extensions=extensions) as ws:
                await ws.send_stream(pieces(64))
                kind, size, parts, largest = str(await ws.recv()).split()
                assert (kind, int(size)) == ("BINARY", 64 * PART)
                assert int(parts) > 8
                assert int(largest) <= 1 << 18
                await ws.send_stream(["a", "ü" * 10, "b"])
                assert str(await ws.recv()).startswith("TEXT 22 ")

    asyncio.run(scenario())


def test_parts_of_one_huge_frame_arrive_before_its_end() -> None:
    async def scenario() -> None:
        async with serve(Count) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            async with connect(url, extensions=(), max_frame_size=None) as ws:
                await ws.send_binary(bytes(8 << 20))
                _, size, parts, _ = str(await ws.recv()).split()
                assert int(size) == 8 << 20
                assert int(parts) > 8

    asyncio.run(scenario())


def test_other_messages_wait_until_the_last_part_is_out() -> None:
    async def scenario() -> None:
        begun, gate = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[str]:
            yield "one "
            begun.set()
            await gate.wait()
            yield "two"

        async with serve(Echo) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
            stream = asyncio.create_task(ws.send_stream(slowly()))
            await begun.wait()
            other = asyncio.create_task(ws.send("other"))
            assert await ws.ping() > 0  # control frames go between
            assert not other.done()
            gate.set()
            await stream
            await other
            assert [await ws.recv(), await ws.recv()] == ["one two", "other"]

    asyncio.run(scenario())


def test_g3_a_message_broken_off_ends_the_connection() -> None:
    async def scenario() -> None:
        async def failing() -> AsyncIterator[str]:
            yield "begun"
            raise KeyError("the source failed")

        async with serve(Echo) as server:
            ws = await connect(f"ws://127.0.0.1:{server.port}/")
            with pytest.raises(KeyError):
                await ws.send_stream(failing())
            with pytest.raises(ConnectionClosed) as caught:
                await ws.recv()
            assert caught.value.sent == (1011, "internal error")

    asyncio.run(scenario())


def test_what_is_no_stream_is_refused_and_changes_nothing() -> None:
    async def scenario() -> None:
        def nothing() -> Iterator[str]:
            yield from ()

        async with serve(Echo) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
            with pytest.raises(TypeError, match="iterable of parts"):
                await ws.send_stream("text")
            with pytest.raises(LocalProtocolError, match="at least one part"):
                await ws.send_stream(nothing())
            with pytest.raises(TypeError):
                await ws.send_stream([1])  # type: ignore[list-item]
            await ws.send("still here")
            assert await ws.recv() == "still here"

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("kind", ["plain", "deflated"])
def test_memory_stays_flat_while_a_large_message_passes(kind: str) -> None:
    """64 MiB here; ``python tests/bindings/large_message.py 1024`` does a whole GiB."""
    script = Path(__file__).with_name("large_message.py")
    result = subprocess.run(
        [sys.executable, str(script), "64", kind],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
