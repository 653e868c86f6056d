"""Messages in parts, both ways: nothing is buffered whole, whatever its size."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bindings.runtimes import Link, Log, Runtime, View
from wsproto_core import ConnectionClosed, LocalProtocolError, OpCode
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_views import AsyncView

PART = 1 << 16


class Count(AsyncView):
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


class Echo(AsyncView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


async def pieces(count: int, size: int = PART) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


@contextmanager
def client_of(runtime: Runtime, view: View, **options: Any) -> Iterator[Any]:
    """A client of ours, connected to ``view``."""
    link = Link(runtime, "server", None)
    port, _ = link.serve(runtime.adopt(view))
    try:
        ws = runtime.call(lambda: runtime.opened(f"ws://127.0.0.1:{port}/", **options))
        yield ws
        runtime.call(ws.close)
    finally:
        link.end()


@pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(),)], ids=["plain", "deflated"])
def test_a_message_goes_out_in_parts_and_arrives_in_parts(
    runtime: Runtime, extensions: tuple[PerMessageDeflate, ...]
) -> None:
    with client_of(runtime, Count, extensions=extensions) as ws:
        runtime.call(ws.send_stream, pieces(64))
        kind, size, parts, largest = str(runtime.call(ws.recv)).split()
        assert (kind, int(size)) == ("BINARY", 64 * PART)
        assert int(parts) > 8
        assert int(largest) <= 1 << 18
        runtime.call(ws.send_stream, ["a", "ü" * 10, "b"])
        assert str(runtime.call(ws.recv)).startswith("TEXT 22 ")


def test_parts_of_one_huge_frame_arrive_before_its_end(runtime: Runtime) -> None:
    with client_of(runtime, Count, extensions=(), max_frame_size=None) as ws:
        runtime.call(ws.send_binary, bytes(8 << 20))
        _, size, parts, _ = str(runtime.call(ws.recv)).split()
        assert int(size) == 8 << 20
        assert int(parts) > 8


def test_other_messages_wait_until_the_last_part_is_out(runtime: Runtime, log: Log) -> None:
    gate = runtime.gate()

    async def slowly() -> AsyncIterator[str]:
        yield "one "
        log.add("begun")
        await gate.wait()
        yield "two"

    with client_of(runtime, Echo) as ws:
        stream = runtime.spawn(ws.send_stream, slowly())
        log.wait("begun")
        other = runtime.spawn(ws.send, "other")
        assert runtime.call(ws.ping) >= 0  # control frames go between
        assert not other.done()
        gate.open()
        stream.result()
        other.result()
        assert [runtime.call(ws.recv), runtime.call(ws.recv)] == ["one two", "other"]


def test_g3_a_message_broken_off_ends_the_connection(runtime: Runtime) -> None:
    async def failing() -> AsyncIterator[str]:
        yield "begun"
        raise KeyError("the source failed")

    with client_of(runtime, Echo) as ws:
        with pytest.raises(KeyError):
            runtime.call(ws.send_stream, failing())
        with pytest.raises(ConnectionClosed) as caught:
            runtime.call(ws.recv)
        assert caught.value.sent == (1011, "internal error")


def test_what_is_no_stream_is_refused_and_changes_nothing(runtime: Runtime) -> None:
    def nothing() -> Iterator[str]:
        yield from ()

    with client_of(runtime, Echo) as ws:
        with pytest.raises(TypeError, match="iterable of parts"):
            runtime.call(ws.send_stream, "text")
        with pytest.raises(LocalProtocolError, match="at least one part"):
            runtime.call(ws.send_stream, nothing())
        with pytest.raises(TypeError):
            runtime.call(ws.send_stream, [1])
        runtime.call(ws.send, "still here")
        assert runtime.call(ws.recv) == "still here"


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
