"""``wsview`` as a user runs it: a process, with pipes or a terminal of its own."""

import contextlib
import io
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsview import cli

DEADLINE = 20.0  # seconds; only reached by a failure
COMMAND = [sys.executable, "-u", "-m", "wsview"]


def environment() -> dict[str, str]:
    """The package as this test sees it, installed or not; no colours, a known width."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }


def run(*arguments: str, stdin: str | bytes = b"", cwd: Path | None = None) -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=DEADLINE,
        env=environment(),
        cwd=cwd,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def talk(url: str, *options: str, lines: str = "") -> tuple[int, str, str]:
    """Send lines, then close: the answers to them come before the answer to the Close."""
    return run("connect", url, *options, stdin=f"{lines}/close\n")


def run_here(*arguments: str) -> tuple[int, str, str]:
    """The same as ``run`` in this process: quicker, for what ends in an error of use."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = cli.run(arguments)
    return code, output.getvalue(), errors.getvalue()


class Running:
    """A command that goes on; its output, of both streams, can be waited for line by line."""

    def __init__(self, *arguments: str, cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            cwd=cwd,
        )
        self._incoming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line that matches; earlier ones are passed over."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._incoming.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {pattern!r}; there came: {self.lines}")
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def enter(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit code; it must end by itself."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(DEADLINE)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._incoming.put(line.rstrip("\n"))
        self._incoming.put(None)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands, and ends those that a failed test has left."""
    running: list[Running] = []

    def begin(*arguments: str, cwd: Path | None = None) -> Running:
        running.append(Running(*arguments, cwd=cwd))
        return running[-1]

    yield begin
    for command in running:
        command.clean_up()


@pytest.fixture
def echo(start: Start) -> str:
    """The address of the demo's echo, served for one test."""
    server = start("serve", "wsview.demo.echo:Echo", "--port", "0")
    return server.wait_for(r"ws://[0-9.:]+/")[0]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``localhost`` and its key, made by OpenSSL."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {key.name} -out {cert.name}".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return cert, key
