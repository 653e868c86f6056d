"""What the tests of the documents share: free ports, programs in the background, fenced blocks."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXAMPLES", "PORT", "ROOT", "Block", "background", "blocks", "free_port", "pages"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"

PORT = "8765"
"""The port that pages and examples name. A test puts a free one in its place."""

_FENCE = re.compile(r"^```(\w*)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(r"<!-- (run|serve)\n(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, or a hidden one in an HTML comment."""

    language: str
    mark: str
    text: str
    line: int


def pages() -> list[Path]:
    """README, the change log and every page below ``docs``."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    return [*found, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = [(m.start(), m.group(1), m.group(2).strip(), m.group(3)) for m in _FENCE.finditer(text)]
    found += [(m.start(), "python", m.group(1), m.group(2)) for m in _HIDDEN.finditer(text)]
    return [
        Block(language, mark, code, text.count("\n", 0, start) + 1)
        for start, language, mark, code in sorted(found)
    ]


def free_port() -> int:
    """A TCP port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """The environment of a program: the packages as this test sees them, installed or not, and the
    examples."""
    path = os.pathsep.join(map(str, (ROOT / "src", ROOT / "src" / "bindings", EXAMPLES)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}


@contextlib.contextmanager
def background(source: str, port: int, folder: Path) -> Iterator[None]:
    """Run a program that listens on ``port`` until the block ends; it must not complain."""
    file = folder / f"server_{port}.py"
    file.write_text(source.replace(PORT, str(port)), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(file)],
        env=environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _await_listener(process, port)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"it did not end on Ctrl-C:\n{output}") from None
    # Ctrl-C ends a program with its traceback; nothing else may be in it.
    lines = output.splitlines()
    assert not lines or "Traceback" not in output or lines[-1] == "KeyboardInterrupt", output


def _await_listener(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"it ended at once:\n{process.communicate()[0]}")
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 5) as probe,
        ):
            # Wait for its end too: a server that is told to stop amid an accept leaves a socket.
            probe.shutdown(socket.SHUT_WR)
            while probe.recv(4096):
                pass
            return
        time.sleep(0.02)
    raise AssertionError("it does not listen")
