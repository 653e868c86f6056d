"""``wsview connect``: lines go out as messages, messages come in as lines.

The WebSocket side of the command; ``terminal.py`` has the other one, ``display.py`` makes what
came harmless. Tests: ``tests/wsview/test_connect.py``.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext

from wsproto_asyncio import (
    ConnectionClosed,
    Frame,
    OpCode,
    WebSocketError,
    WebSocketView,
    connect,
)
from wsproto_core import is_usable_close_code

from .display import describe_close, escape, hex_dump, milliseconds, size
from .terminal import Screen

__all__ = ["Target", "talk"]

HELP = """\
/ping                   measure the round trip
/binary HEX             send a binary message, such as /binary 00 ff
/close [CODE [REASON]]  close the connection (Ctrl-D and Ctrl-C close with 1000)
/help                   show this
//text                  send a text that begins with a slash"""

MOST_SHOWN = 4000  # characters of one message on a terminal; a pipe gets all


@dataclass(frozen=True)
class Target:
    """Where to connect, and how."""

    url: str
    ssl: SSLContext | None = None
    subprotocols: Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = ()
    origin: str | None = None
    timeout: float = 10.0
    linger: float = 1.0
    """Seconds without a message after which a pipe's connection is closed, once its input has
    ended: the answers to what was sent last are still wanted."""


class Mistake(Exception):
    """A line cannot be carried out; the text says why."""


async def talk(target: Target, screen: Screen) -> int:
    """Connect and talk until either side closes; the exit code says whether it ended in order.

    Raises what ``connect`` raises where no connection comes about, and ``ValueError`` for input
    that is not text.
    """
    async with connect(
        target.url,
        ssl=target.ssl,
        subprotocols=target.subprotocols,
        headers=target.headers,
        origin=target.origin,
        open_timeout=target.timeout,
    ) as view:
        return await Conversation(target, view, screen).run()


class Conversation:
    """One connection between a server and a screen."""

    def __init__(self, target: Target, view: WebSocketView, screen: Screen) -> None:
        self.target = target
        self.view = view
        self.screen = screen
        self.loop = asyncio.get_running_loop()
        self.heard = self.loop.time()
        self.interrupted = asyncio.Event()

    async def run(self) -> int:
        """Show what comes and send what is entered, until the end."""
        self.on_interrupt(self.interrupted.set)
        self.greet()
        hearing = asyncio.create_task(self.hear())
        saying = asyncio.create_task(self.say())
        waiting = asyncio.create_task(self.interrupted.wait())
        tasks = [hearing, saying, waiting]
        try:
            # Whichever comes first: the connection ends, the input ends, Ctrl-C.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Another Ctrl-C does not wait for the peer's answer.
            self.on_interrupt(self.pull_the_plug)
            await self.view.close()
            if saying.done():
                saying.result()
            return await hearing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def on_interrupt(self, action: Callable[[], None]) -> None:
        """Do that on Ctrl-C. On Windows, Ctrl-C ends the program the short way."""
        with suppress(NotImplementedError):
            self.loop.add_signal_handler(signal.SIGINT, action)

    def pull_the_plug(self) -> None:
        """End the byte stream, and so all that waits for it."""
        with suppress(OSError):
            self.view.sock.shutdown(socket.SHUT_RDWR)

    def greet(self) -> None:
        """Say what was negotiated."""
        extensions = ", ".join(extension.name for extension in self.view.extensions) or "none"
        self.screen.note(
            f"connected to {escape(self.target.url)}"
            f" (subprotocol: {escape(self.view.subprotocol or 'none')}, extensions: {extensions})",
            "bold",
        )
        if self.screen.interactive:
            self.screen.note("type a line to send it; /help lists the commands, Ctrl-D closes")
        self.show_latency()

    def show_latency(self) -> None:
        """Keep the last round trip before the line being typed."""
        latency = self.view.latency
        self.screen.prompt("> " if latency is None else f"{milliseconds(latency)} > ")

    # ------------------------------------------------------------------------------- incoming

    async def hear(self) -> int:
        """Show every frame until the connection ends; say how it ended."""
        try:
            while True:
                self.show(await self.view.read_frame())
                self.heard = self.loop.time()
        except ConnectionClosed:
            pass
        except WebSocketError as error:
            self.screen.note(f"the connection failed: {escape(str(error))}", "bold red")
            return 1
        if self.view.close_frame is None:
            self.screen.note("the connection was lost without a Close", "bold red")
            return 1
        closed = describe_close(self.view.close_code, self.view.close_reason)
        self.screen.note(f"closed with {closed}", "bold")
        return 0

    def show(self, frame: Frame) -> None:
        """Show one message or control frame."""
        if frame.opcode is OpCode.TEXT:
            most = MOST_SHOWN if self.screen.interactive else None
            self.screen.message([escape(bytes(frame.payload).decode(), most)])
        elif frame.opcode is OpCode.BINARY:
            dump = hex_dump(frame.payload)
            self.screen.message([f"binary, {size(len(frame.payload))}", *dump])
        elif frame.opcode is OpCode.PING:
            payload = escape(bytes(frame.payload).decode("latin-1"))
            self.screen.note(f"ping from the server{f': {payload}' if payload else ''} (answered)")
        elif frame.opcode is OpCode.PONG:
            self.show_latency()

    # ------------------------------------------------------------------------------- outgoing

    async def say(self) -> None:
        """Send every line until the input ends."""
        with suppress(WebSocketError):  # what ended the connection; ``hear`` tells of it
            async for line in self.screen.lines():
                try:
                    if await self.carry_out(line):
                        return
                except Mistake as mistake:
                    self.screen.note(str(mistake), "red")
            while not self.screen.interactive:
                left = self.heard + self.target.linger - self.loop.time()
                if left <= 0:
                    return
                await asyncio.sleep(left)

    async def carry_out(self, line: str) -> bool:
        """Send a line, or do what it says; true means that it was the last one."""
        if not line.startswith("/") or line.startswith("//"):
            await self.view.send(line[1:] if line.startswith("//") else line)
            return False
        command, _, rest = line.partition(" ")
        match command:
            case "/ping":
                await self.ping()
            case "/binary":
                await self.view.send(from_hex(rest), OpCode.BINARY)
            case "/close":
                code, reason = read_close(rest)
                await self.view.close(code, reason)
                return True
            case "/help":
                for help_line in HELP.splitlines():
                    self.screen.note(help_line)
            case _:
                raise Mistake(f"unknown command {escape(command)}; /help lists the commands")
        return False

    async def ping(self) -> None:
        """Measure a round trip."""
        try:
            async with asyncio.timeout(self.target.timeout):
                latency = await self.view.ping()
        except TimeoutError:
            raise Mistake(f"no pong came within {self.target.timeout:g} s") from None
        self.screen.note(f"pong after {milliseconds(latency)}")
        self.show_latency()


def from_hex(digits: str) -> bytes:
    """Read pairs of hexadecimal digits."""
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise Mistake("/binary needs pairs of hexadecimal digits, such as: /binary 00 ff") from None


def read_close(rest: str) -> tuple[int, str]:
    """Read the code and the reason of ``/close``."""
    code, _, reason = rest.strip().partition(" ")
    if not code:
        return 1000, ""
    if not code.isdecimal() or not is_usable_close_code(int(code[:5])):
        raise Mistake(f"{escape(code)} is no close code: use 1000 to 1014 or 3000 to 4999")
    return int(code), reason.strip()
