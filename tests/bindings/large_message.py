"""Pass one large message through a client and a server, and measure what it costs in memory.

    python tests/bindings/large_message.py MEGABYTES [plain|deflated]

One process has both ends, on loopback. The peak of resident memory above the idle process must stay
below 2 MiB for each end; the exit status says whether it did.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from wsproto_asyncio import OpCode, PerMessageDeflate, WebSocketView, connect, serve

PART = 1 << 16
BOUND = 2 * (2 << 20)  # two ends


class Sink(WebSocketView):
    MAX_FRAME_SIZE = None
    MAX_MESSAGE_SIZE = None

    async def on_open(self) -> None:
        self.size = 0

    async def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
        self.size += len(data)
        if final:
            await self.send(str(self.size))
            self.size = 0


def peak() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmHWM in /proc/self/status")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def parts(megabytes: int) -> AsyncIterator[bytes]:
    part = bytes(range(256)) * (PART // 256)
    for _ in range(megabytes * (1 << 20) // PART):
        yield part


async def main(megabytes: int, deflated: bool) -> int:
    extensions = (PerMessageDeflate(),) if deflated else ()
    async with serve(Sink) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with connect(url, extensions=extensions, receive_timeout=None) as ws:
            await ws.send_stream(parts(1))  # code and buffers that any message needs
            assert await ws.recv() == str(1 << 20)
            forget_peak()
            idle = peak()
            await ws.send_stream(parts(megabytes))
            assert await ws.recv() == str(megabytes << 20)
            grown = peak() - idle
    sys.stdout.write(
        f"{megabytes} MiB passed; {grown / (1 << 20):.2f} MiB above the idle process\n"
    )
    return 0 if grown < BOUND else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2:] == ["deflated"])))
