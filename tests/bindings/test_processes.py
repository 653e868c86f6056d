"""Rows that need a process of their own: signals, too few descriptors, forks, the end of Python."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, fork and rlimits")

VIEW = """
from wsproto_asyncio import WebSocketView

class Echo(WebSocketView):
    CLOSE_TIMEOUT = 60

    async def on_receive(self, message, opcode):
        await self.send(message, opcode)
"""


@contextmanager
def running(
    *arguments: str, cwd: Path = ROOT, strict: bool = True, log: IO[str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Python with our packages on its path; it must end by itself.

    ``strict``: warnings count. ``log``: a file for more complaints than a pipe holds.
    """
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "src" / "bindings")])
    with subprocess.Popen(
        [sys.executable, *(["-X", "dev", "-W", "error"] if strict else []), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if log is None else log,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def served(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """``wsview serve`` with an echo view; its port."""
    pytest.importorskip("typer")
    (folder / "echoes.py").write_text(VIEW)
    with running("-m", "wsview", "serve", "echoes:Echo", "--port", "0", cwd=folder) as process:
        announced = line(process)
        yield process, int(announced.partition("127.0.0.1:")[2].partition("/")[0])


def opened(port: int) -> Peer:
    peer = Peer(connect_tcp(port), is_client=True)
    assert peer.request().status == 101
    return peer


# -------------------------------------------------------------------------------------- signals


def test_h1_sigterm_closes_every_connection_with_1001(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port):
        peers = [opened(port) for _ in range(50)]
        for peer in peers:
            peer.text("under load")
        process.send_signal(signal.SIGTERM)
        for peer in peers:
            assert peer.message() == "under load"
            assert peer.reply()[0] == 1001
        assert process.wait(DEADLINE) == 0
        with pytest.raises(ConnectionRefusedError):
            connect_tcp(port)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_h2_a_second_signal_does_not_wait(tmp_path: Path, second: signal.Signals) -> None:
    """The peer never answers the Close, and the view would give it a minute."""
    with served(tmp_path) as (process, port), opened(port) as peer:
        process.send_signal(signal.SIGTERM)
        assert peer.closed()[0] == 1001
        begin = time.monotonic()
        process.send_signal(second)
        code = process.wait(DEADLINE)
        assert time.monotonic() - begin < 2.0
        assert code in (-second, 130)


# ---------------------------------------------------------------------------------- descriptors


def test_a27_no_descriptors_left(tmp_path: Path) -> None:
    """The listener pauses, costs next to nothing, and goes on when some are free again."""
    script = tmp_path / "server.py"
    script.write_text(
        VIEW
        + textwrap.dedent("""
        import asyncio, resource, sys, time
        from wsproto_asyncio import serve

        async def main():
            async with serve(Echo) as server:
                free = len(__import__("os").listdir("/proc/self/fd")) + 10
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
                print(server.port)
                loop = asyncio.get_running_loop()
                while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
                    print(time.process_time())

        asyncio.run(main())
        """)
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("no way to count descriptors here")
    log = tmp_path / "log"
    with log.open("w") as file, running(str(script), log=file) as process:
        port = int(line(process))
        peers = [Peer(connect_tcp(port), is_client=True) for _ in range(20)]
        assert peers[0].request().status == 101
        assert peers[-1].is_silent(0.05)  # it waits in the queue of the kernel

        def cpu() -> float:
            assert process.stdin is not None
            process.stdin.write("cpu\n")
            process.stdin.flush()
            return float(line(process))

        before, begin = cpu(), time.monotonic()
        assert peers[-1].is_silent(1.2)
        used = (cpu() - before) / (time.monotonic() - begin)
        assert used < 0.2  # the row says 5 %; -X dev and a shared machine take more
        peers[0].text("still here")
        assert peers[0].message() == "still here"
        for peer in peers[:-1]:
            peer.sock.close()
        begin = time.monotonic()
        assert peers[-1].request().status == 101
        assert time.monotonic() - begin < 4.0
        peers[-1].sock.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE) == 0
    assert log.read_text().count("out of system resource") < 200


# ------------------------------------------------------------------------------- how Python ends


def ends_quietly(script: str, listener: Listener) -> None:
    """No word on the screen, unless somebody asked Python for warnings."""
    for strict in (False, True):
        with running("-c", textwrap.dedent(script), listener.url(), strict=strict) as process:
            with listener.accept() as peer:
                peer.answer()
                peer.rest()
            assert process.stderr is not None
            complaints = process.stderr.read()
            assert process.wait(DEADLINE) == 0, complaints
            assert ("ResourceWarning" in complaints) if strict else complaints == ""


def test_g8_the_program_ends_with_a_connection_open() -> None:
    with Listener() as listener:
        ends_quietly(
            """
            import asyncio, sys
            from wsproto_asyncio import connect

            async def main():
                return await connect(sys.argv[1])

            view = asyncio.run(main())
            """,
            listener,
        )


def test_g8_a_connection_that_nobody_holds() -> None:
    """The loop holds it: it lives on, answers pings, and ends with the loop."""
    with Listener() as listener:
        ends_quietly(
            """
            import asyncio, gc, sys
            from wsproto_asyncio import connect

            async def main():
                await connect(sys.argv[1])
                gc.collect()
                await asyncio.sleep(0)

            asyncio.run(main())
            """,
            listener,
        )


def test_g11_a_fork_does_not_disturb_the_parent() -> None:
    """The child ends without a word on the socket; the keys of the parent go on being new."""
    script = """
        import asyncio, os, sys
        from wsproto_asyncio import connect

        async def main():
            async with connect(sys.argv[1], extensions=()) as ws:
                await ws.send("before")
                child = os.fork()
                if child == 0:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                await ws.send("after")
                assert await ws.recv() == "heard"

        asyncio.run(main())
        """
    with Listener() as listener, running("-c", textwrap.dedent(script), listener.url()) as process:
        with listener.accept() as peer:
            peer.answer()
            assert [peer.message(), peer.message()] == ["before", "after"]
            peer.text("heard")
            assert peer.reply() == (1000, "")
        assert process.wait(DEADLINE) == 0, process.stderr.read() if process.stderr else ""
