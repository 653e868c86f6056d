"""Where ``wsview connect`` reads lines and shows what happens: a terminal, or plain streams.

``Interactive`` keeps the line being typed below what is shown; ``Plain`` is for pipes and files:
messages on standard output, one a line, all else on standard error. Neither knows a WebSocket.
Tests: ``tests/wsview/test_connect.py``.
"""

import asyncio
import codecs
import contextlib
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text

from .display import escape
from .editor import END, EndOfInput, LineEditor

try:
    import termios
    import tty
except ImportError:  # Windows: only plain streams there
    CAN_EDIT = False
else:
    CAN_EDIT = True

__all__ = ["Interactive", "Plain", "Screen", "open_screen"]


class Screen(Protocol):
    """What the client needs of either."""

    @property
    def interactive(self) -> bool:
        """Whether a person looks at it; else a program reads it."""

    def lines(self) -> AsyncIterator[str]:
        """The lines that the user enters, until the end of input."""

    def message(self, lines: Sequence[str]) -> None:
        """Show a message that came: one line, or several for a dump."""

    def note(self, text: str, style: str = "dim") -> None:
        """Show what happened beside messages."""

    def prompt(self, text: str) -> None:
        """Set what stands before the line being typed."""


@contextlib.contextmanager
def open_screen() -> Iterator[Screen]:
    """Give the screen that fits the standard streams; it is put in order again at the end."""
    if CAN_EDIT and sys.stdin.isatty() and sys.stdout.isatty():
        before = termios.tcgetattr(sys.stdin)
        # Keys come one by one and unechoed; Ctrl-C is still a signal and Enter still a newline.
        tty.setcbreak(sys.stdin)
        screen = Interactive()
        try:
            yield screen
        finally:
            screen.wipe()
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    else:
        yield Plain()


class Plain:
    """Standard streams that are no terminal."""

    interactive = False

    async def lines(self) -> AsyncIterator[str]:
        """The lines of standard input. ``ValueError`` says that it is not UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        rest = ""
        async for data in _standard_input():
            try:
                *whole, rest = (rest + decoder.decode(data)).split("\n")
            except UnicodeDecodeError:
                raise ValueError("the standard input is not UTF-8") from None
            for line in whole:
                yield line.removesuffix("\r")
        if decoder.getstate()[0]:
            raise ValueError("the standard input ends within a character")
        if rest:
            yield rest

    def message(self, lines: Sequence[str]) -> None:
        """Print a message to standard output."""
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def note(self, text: str, style: str = "dim") -> None:
        """Print a note to standard error."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def prompt(self, text: str) -> None:
        """Show nothing: nobody is asked."""


class Interactive:
    """A terminal: what is shown scrolls above the line that is being typed."""

    interactive = True

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._editor = LineEditor()
        self._prompt = ""

    async def lines(self) -> AsyncIterator[str]:
        """The lines that are typed, until Ctrl-D."""
        keys: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        descriptor = sys.stdin.fileno()
        loop.add_reader(descriptor, lambda: keys.put_nowait(os.read(descriptor, 4096)))
        try:
            while data := await keys.get():
                entered: list[str | EndOfInput] = self._editor.feed(data)
                self._draw()
                for line in entered:
                    if line is END:
                        return
                    self.show(f"↑ {escape(line)}", "cyan")
                    yield line
        finally:
            loop.remove_reader(descriptor)

    def message(self, lines: Sequence[str]) -> None:
        """Show a message that came."""
        first, *others = lines
        self.show("\n".join([f"↓ {first}", *(f"  {line}" for line in others)]), "green")

    def note(self, text: str, style: str = "dim") -> None:
        """Show what happened beside messages."""
        self.show(f"· {text}", style)

    def prompt(self, text: str) -> None:
        """Set what stands before the line being typed."""
        self._prompt = text
        self._draw()

    def show(self, text: str, style: str) -> None:
        """Write above the line being typed. ``text`` must have been made harmless."""
        self.wipe()
        self._console.print(Text(text, style), soft_wrap=True)
        self._draw()

    def wipe(self) -> None:
        """Take the line being typed off the screen."""
        self._console.file.write("\r\x1b[K")
        self._console.file.flush()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        text, cursor = self._editor.view(max(8, width - len(self._prompt)))
        column = len(self._prompt) + cursor
        move = f"\x1b[{column}C" if column else ""
        self._console.file.write(f"\r\x1b[K{self._prompt}{text}\r{move}")
        self._console.file.flush()


async def _standard_input() -> AsyncIterator[bytes]:
    """Read standard input in a thread: it may be a file, which no event loop can wait for.

    ``os.read`` and not ``sys.stdin``: a thread that waits within the latter holds a lock that the
    interpreter wants when it ends.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    # One piece at a time: a fast writer waits in its pipe, not in our memory.
    wanted = threading.Semaphore(0)

    def read() -> None:
        data = b"-"
        while data:
            wanted.acquire()
            try:
                data = os.read(0, 1 << 16)
            except OSError:  # closed, or no longer ours: nothing more will come
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                loop.call_soon_threadsafe(pieces.put_nowait, data)

    threading.Thread(target=read, name="wsview-stdin", daemon=True).start()
    while True:
        wanted.release()
        data = await pieces.get()
        if not data:
            return
        yield data
