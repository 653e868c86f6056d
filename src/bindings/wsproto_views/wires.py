"""Wires: streams as ``StreamDriver`` wants them, so that a write costs no turn of a scheduler.

A ``Wire`` reads by waiting and writes without: what it does not take at once, the driver keeps. Two
kinds are here: a socket of the standard library that does not block, and a stream that somebody
else opened. The third, TLS over such a socket, is in ``tls.py``.

No runtime: how one waits for a socket is the runtime's. Tests: ``tests/bindings``.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from .buffers import JOIN

if TYPE_CHECKING:
    from .streams import CancelScope, Runtime, StreamDriver

logger = logging.getLogger("wsproto_core")

__all__ = ["SocketWire", "StreamWire", "Wire"]

READ_SIZE = 1 << 16  # bytes asked for in one read; memory for more costs more than the read
READ_MORE = 1 << 17  # the same, while as much comes; it costs several times itself in a flood


class Wire(Protocol):
    """A stream of bytes, both ways."""

    sock: Any
    """The socket below, or ``None``."""

    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end of the peer's direction."""

    def send_now(self, data: Any) -> int:
        """Write without waiting; returns how many bytes of ``data`` are through with.

        The rest is to be given again.
        """

    async def wait_to_send(self, pending: list[Any]) -> None:
        """Wait until ``send_now`` takes more, or write some of ``pending`` and take it out."""

    def shut_write(self, driver: "StreamDriver") -> None:
        """End our direction; all is written. Or tell ``driver`` to ``end_whole``."""

    def close(self, driver: "StreamDriver") -> None:
        """Close at once, and wake who waits in ``receive``. Never raises."""


class SocketWire:
    """A connected, non-blocking stream socket."""

    __slots__ = ("_runtime", "_size", "_wait_readable", "sock")

    def __init__(self, sock: Any, runtime: "Runtime") -> None:
        self.sock = sock
        self._runtime = runtime
        self._wait_readable = runtime.wait_readable
        self._size = READ_SIZE

    async def receive(self) -> bytes:
        sock = self.sock
        while True:
            # Waiting first is a checkpoint, so a busy connection lets others run; and bytes that
            # came meanwhile are read in one go.
            await self._wait_readable(sock)
            try:
                data: bytes = sock.recv(self._size)
            except (BlockingIOError, InterruptedError):
                continue
            self._size = READ_MORE if len(data) >= READ_SIZE else READ_SIZE
            return data

    def send_now(self, data: Any) -> int:
        try:
            taken: int = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        return taken

    async def wait_to_send(self, pending: list[Any]) -> None:
        await self._runtime.wait_writable(self.sock)

    def shut_write(self, driver: "StreamDriver") -> None:
        self.sock.shutdown(1)

    def close(self, driver: "StreamDriver") -> None:
        self._runtime.notify_closing(self.sock)
        self.sock.close()


class StreamWire:
    """A stream of the runtime's own kind, opened by somebody else.

    It has no write that does not wait, so each goes through a task.
    """

    def __init__(
        self,
        runtime: "Runtime",
        *,
        sock: Any,
        receive: Callable[[], Awaitable[bytes | bytearray]],
        send: Callable[[bytes], Awaitable[Any]],
        send_eof: Callable[[], Awaitable[Any]] | None,
        close: Callable[[], Awaitable[Any]],
    ) -> None:
        """``receive`` gives nothing at the end; ``send_eof`` is ``None`` if the stream cannot do
        that, or raises ``NotImplementedError``."""
        self.sock = sock
        self._runtime = runtime
        self._receive = receive
        self._send = send
        self._send_eof = send_eof
        self._close = close
        self._doing: set[CancelScope] = set()
        self._done = runtime.event()

    async def receive(self) -> bytes:
        return bytes(await self._do(self._receive) or b"")

    def send_now(self, data: Any) -> int:
        return 0

    async def wait_to_send(self, pending: list[Any]) -> None:
        # In parts, so that the session sees the peer take them.
        data = pending[0]
        part = bytes(memoryview(data)[:JOIN])
        await self._do(self._send, part)
        if not pending:
            return  # it was given up meanwhile
        if len(part) == len(data):
            del pending[0]
        else:
            pending[0] = memoryview(data)[len(part) :]

    async def _do(self, call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Use the stream; ``None`` if it was closed meanwhile. Whatever it raises is an end."""
        scope = self._runtime.scope()
        self._doing.add(scope)
        try:
            with scope:
                return await call(*arguments)
        except Exception as error:
            raise _cause_of(error) from error
        finally:
            self._doing.discard(scope)
            if not self._doing:
                self._done.set()
                self._done = self._runtime.event()
        return None

    def shut_write(self, driver: "StreamDriver") -> None:
        if self._send_eof is None:
            driver.end_whole()
        else:
            driver.nest.spawn(self._end_writing, driver, self._send_eof)

    async def _end_writing(
        self, driver: "StreamDriver", send_eof: Callable[[], Awaitable[Any]]
    ) -> None:
        try:
            with self._patience():
                await send_eof()
        except NotImplementedError:
            driver.end_whole()
        except Exception as error:  # noqa: BLE001 - a stream of any kind; reading finds its end
            logger.debug("a stream could not end its direction: %r", error)

    def close(self, driver: "StreamDriver") -> None:
        driver.nest.spawn(self._end)

    async def _end(self) -> None:
        # Streams of TLS read and write as they close, and must be the only ones.
        for scope in self._doing:
            scope.cancel()
        try:
            with self._patience():
                if self._doing:
                    await self._done.wait()
                await self._close()
        except Exception as error:  # noqa: BLE001 - a stream of any kind; it is closed all the same
            logger.debug("a stream could not be closed: %r", error)

    def _patience(self) -> "CancelScope":
        return self._runtime.scope(deadline=self._runtime.now() + 5.0, shield=True)


def _cause_of(error: Exception) -> OSError:
    """The system's own error below that of a stream."""
    cause = error.__cause__
    return cause if isinstance(cause, OSError) else ConnectionError(str(error))
