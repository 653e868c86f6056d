"""A browser, the demo as a process of its own, and pages in it.

Each page has its own context, so two pages are two people. A page's error, in script or against
the security policy, fails the test that opened it.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

DEADLINE = 20.0  # seconds; only reached by a failure

# Chromium is to talk to the demo and nobody else; --no-sandbox because CI runs as root.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Demo:
    """``wsview demo`` as a process; its lines can be waited for."""

    def __init__(self) -> None:
        self.port = 0
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        """Start it, on the same port as before where there was one, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "wsview", "demo", "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # The package as this test sees it, installed or not.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._incoming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        match = self.wait_for(r"http://127\.0\.0\.1:(\d+)/")
        self.url = match[0]
        self.port = int(match[1])

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

    def stop(self) -> None:
        """End it as Ctrl-C's sibling does; it must end by itself."""
        self.process.terminate()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._incoming.put(line)
        self._incoming.put(None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed, and CI must not skip this")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def demo() -> Iterator[Demo]:
    server = Demo()
    yield server
    server.stop()


@pytest.fixture
def open_page(browser: Browser, demo: Demo) -> Iterator[Callable[..., Page]]:
    contexts = []
    errors: list[str] = []

    def open_one(fragment: str = "", **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: _note(message.type, message.text, errors))
        page.goto(f"{demo.url}{fragment}")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


def _note(kind: str, text: str, errors: list[str]) -> None:
    # While the server is away, the browser itself complains about each try to connect.
    if kind == "error" and "ERR_CONNECTION_REFUSED" not in text:
        errors.append(text)
