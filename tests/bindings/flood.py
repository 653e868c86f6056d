"""Flood a view that is slow, or whose answers nobody reads, and measure what it costs in memory.

    python -m tests.bindings.flood                              # everything, 50 MB each
    python -m tests.bindings.flood --runtime trio --flood pings --megabytes 5

For each runtime, role, kind of flood and cause of congestion one process runs the view, and this
one is its peer, a raw socket. The peak of resident memory above the idle process must stay below
both water marks and 1 MiB; the exit status says whether it did everywhere. Linux only.
``test_flood.py`` is a sample of it.

``slow`` is a hook that pauses whenever it was given 128 KiB, and for pings, which need no hook, one
that waits all the time. ``unread`` is an echo (for pings the library's own pongs) to a peer that
reads nothing until it cannot write any more, and then only as much as it must.
"""

import argparse
import itertools
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bindings.peer import Listener, Peer, connect_tcp
from tests.bindings.runtimes import RUNTIMES, Runtime
from tests.core.wire import close_body, mask
from wsproto_core import OpCode
from wsproto_views import AsyncView

FLOODS = ("pings", "messages", "fragments", "endless")
"""Pings of 125 bytes; messages of 1000 bytes; messages of 16 KiB in fragments of 16 bytes; one
message without end in fragments of 1000 bytes, handed over in parts."""

CAUSES = ("slow", "unread")
ROLES = ("server", "client")

BOUND = (1 << 16) + (1 << 16) + (1 << 20)
"""``READ_HIGH_WATER``, ``WRITE_HIGH_WATER`` and a MiB."""

STEP = 128 << 10
PATIENCE = 0.02
"""Seconds without progress after which the peer takes it that nothing is read."""

LIMIT = 120.0
ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------- the process of the view


def peak() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmHWM in /proc/self/status")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def view_for(runtime: Runtime, flood: str, cause: str) -> type[AsyncView]:
    class Flooded(AsyncView):
        EXTENSIONS = ()
        CLOSE_TIMEOUT = 1.0
        MAX_MESSAGE_SIZE = None if flood == "endless" else 1 << 20
        got = 0

        async def take(self, data: bytes, opcode: OpCode) -> None:
            if cause == "unread":
                await self.send(data, opcode)
                return
            self.got += len(data)
            while self.got >= STEP or data == b"wait":
                self.got = 0
                await runtime.pause(0.005)
                if not self.is_open or data != b"wait":
                    break

    class Whole(Flooded):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await self.take(message, opcode)

    class Parts(Flooded):
        async def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
            await self.take(data, opcode)

    return Parts if flood == "endless" else Whole


def run_view(name: str, role: str, flood: str, cause: str, url: str) -> None:
    """Run the view until the input ends; a line of input asks for the peak since the last one."""
    runtime = RUNTIMES[name]()
    runtime.start()
    view = runtime.adopt(view_for(runtime, flood, cause))
    end: Any = None
    if role == "server":
        server = runtime.call(lambda: runtime.served(view))
        end = server.close
        say(server.port)
    else:
        client = runtime.call(lambda: runtime.opened(url, view))
        end = client.abort
    for _ in sys.stdin:
        say(peak())
        forget_peak()
    runtime.call(end)
    runtime.stop()


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


# --------------------------------------------------------------------------------------- the peer


def block_of(peer: Peer, flood: str) -> bytes:
    """Some KiB of the flood, over and over."""
    if flood == "pings":
        return b"".join(peer.encode(0x89, bytes([number]) * 125) for number in range(100))
    if flood == "messages":
        return peer.encode(0x82, bytes(1000)) * 16
    if flood == "fragments":
        return peer.encode(0x02, bytes(16)) + peer.encode(0, bytes(16)) * 1022 + peer.encode(0x80)
    return peer.encode(0, bytes(1000)) * 16


def pour(peer: Peer, data: bytes, *, reads: bool) -> None:
    """Write ``data``. What comes is read at once, or (``reads`` is false) only where the writing is
    stuck.
    """
    sock = peer.sock
    sock.setblocking(False)
    rest = memoryview(data)
    deadline = time.monotonic() + LIMIT
    while rest:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the view has read nothing for {LIMIT:g} s")
        readable, writable, _ = select.select([sock] if reads else [], [sock], [], PATIENCE)
        if readable or not (reads or writable):
            with suppress(BlockingIOError):
                if not sock.recv(1 << 18):
                    raise EOFError("the stream has ended")
        if writable:
            rest = rest[sock.send(rest) :]
    sock.settimeout(LIMIT)


def end(peer: Peer) -> None:
    """Close, and read to the end: what comes last must be the answer to our Close."""
    pour(peer, peer.encode(0x88, close_body(4000)), reads=True)
    peer.half_close()
    tail = b""
    while data := peer.sock.recv(1 << 18):
        tail = (tail + data)[-8:]
    if peer.is_client:
        answered = tail.endswith(b"\x88\x02" + (4000).to_bytes(2))
    else:
        key, code = tail[2:6], tail[6:]
        answered = tail[:2] == b"\x88\x82" and mask(code, key) == (4000).to_bytes(2)
    if not answered:
        raise EOFError(f"expected an answer to our Close at the end, got {tail.hex()}")


class Child:
    """The process of the view. It is gone after the block, however that ends."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bindings.flood", "--view", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process as process:
            try:
                if error is None:
                    process.communicate(timeout=LIMIT)
            finally:
                process.kill()
        if error is None and process.returncode:
            raise RuntimeError(f"the view's process ended with {process.returncode}")

    def number(self) -> int:
        """The next line that it says."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def peak(self) -> int:
        """The peak of its memory since this was last asked, in bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.number()


def measure(name: str, role: str, flood: str, cause: str, megabytes: float) -> int:
    """How far the peak of resident memory rises above the idle process, in bytes."""
    with Listener() as listener, Child(name, role, flood, cause, listener.url()) as child:
        listener.sock.settimeout(LIMIT)  # a busy machine takes seconds to import everything
        if role == "server":
            peer = Peer(connect_tcp(child.number()), is_client=True)
            peer.request()
        else:
            peer = listener.accept()
            peer.answer()
        with peer:
            peer.sock.settimeout(LIMIT)
            if flood == "endless":
                peer.send(0x02, b"begin")
            elif flood == "pings" and cause == "slow":
                peer.text("wait")
            block = block_of(peer, flood)
            # Code and buffers that any message needs: a few of each, and all of it read.
            peer.send_raw(block)
            peer.ping(b"through")
            while peer.frame() != (0x8A, b"through"):
                pass
            child.peak()
            idle = child.peak()
            block *= (1 << 16) // len(block) + 1
            for _ in range(int(megabytes * 1e6) // len(block) + 1):
                pour(peer, block, reads=cause == "slow")
            end(peer)
            return child.peak() - idle


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Flood views and measure their memory.")
    parser.add_argument("--runtime", choices=tuple(RUNTIMES), action="append")
    parser.add_argument("--role", choices=ROLES, action="append")
    parser.add_argument("--flood", choices=FLOODS, action="append")
    parser.add_argument("--cause", choices=CAUSES, action="append")
    parser.add_argument("--megabytes", type=float, default=50.0, help="of each flood (50)")
    parser.add_argument("--view", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.view:
        run_view(*options.view)
        return 0
    bad = 0
    for cell in itertools.product(
        options.runtime or RUNTIMES,
        options.role or ROLES,
        options.flood or FLOODS,
        options.cause or CAUSES,
    ):
        began = time.monotonic()
        try:
            grown = measure(*cell, options.megabytes)
        except (OSError, EOFError, RuntimeError, ValueError) as error:
            bad += 1
            say(f"{' '.join(cell):40}   FAILED: {error!r}")
            continue
        bad += grown > BOUND
        verdict = "" if grown <= BOUND else f"  ABOVE {BOUND / (1 << 20):.3f}"
        say(
            f"{' '.join(cell):40} {grown / (1 << 20):6.2f} MiB above the idle process"
            f" ({time.monotonic() - began:.1f} s){verdict}"
        )
    say("every flood was borne within the bound" if not bad else f"{bad} were not")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
