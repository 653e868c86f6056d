"""TLS over a socket that does not block, as a ``Wire``: ``ssl.SSLObject`` between two buffers.

``SSLObject`` does no I/O: bytes in, bytes out. So a write costs no turn of a scheduler here either,
and the stream's end can be what the protocol asks for: our direction ends with a ``close_notify``
and a FIN while the other is read on to its end, which a runtime's own TLS stream cannot do.

Tests: ``tests/bindings/test_contract.py`` over TLS, ``test_endpoints.py``.
"""

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .wires import JOIN, READ_SIZE, SocketWire

if TYPE_CHECKING:
    from .streams import Runtime, StreamDriver

__all__ = ["TlsWire", "client_context"]


def client_context(context: ssl.SSLContext | None) -> ssl.SSLContext:
    """``context``, or the default one, which verifies the certificate and its name."""
    return context if context is not None else ssl.create_default_context()


class TlsWire(SocketWire):
    """A socket with TLS on it. ``handshake`` comes first."""

    __slots__ = ("_begun", "_cipher", "_deaf", "_ending", "_incoming", "_outgoing", "_tls")

    def __init__(
        self,
        sock: Any,
        runtime: "Runtime",
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
    ) -> None:
        """With ``server_hostname`` a client, which sends (SNI) and verifies it; else a server."""
        super().__init__(sock, runtime)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._cipher = b""  # encrypted, and not taken by the socket
        self._begun = 0  # bytes given to send_now that are in _cipher
        self._ending = False  # our close_notify is written
        self._deaf = False  # what comes is not decrypted any more

    async def handshake(self) -> None:
        """Raises ``ssl.SSLError`` or another ``OSError``."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError:
                self._drain()  # the alert
                raise
            else:
                await self._flush()
                return

    # ------------------------------------------------------------------ reading

    async def receive(self) -> bytes:
        while not self._deaf:
            data = self._decrypt()
            if data is not None:
                return data
            await self._feed()
        while await super().receive():
            pass  # closing with bytes unread would reset the connection, and that can eat a Close
        return b""

    def _decrypt(self) -> bytes | None:
        """What can be read of what is here; empty at the end, ``None`` if more must come first."""
        parts: list[bytes] = []
        size, ended = 0, False
        try:
            while size < READ_SIZE and not ended:  # a record holds 16 KiB at most
                data = self._tls.read(READ_SIZE)
                parts.append(data)
                size += len(data)
                ended = not data
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # An end without close_notify is not told apart: a WebSocket has its own Close.
            ended = True
        except ssl.SSLError:
            if self._ending:
                self._deaf = True  # nothing that comes counts any more
            elif not parts:
                raise
        with suppress(OSError):  # who reads is told what is there; who writes hears of it
            self._drain()  # new keys, tickets
        return b"".join(parts) if parts or ended else None

    async def _feed(self) -> None:
        data = await super().receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    # ------------------------------------------------------------------ writing

    def send_now(self, data: Any) -> int:
        view = memoryview(data)
        done = 0
        while self._drain():
            done += self._begun
            self._begun = 0
            if done == len(view):
                break
            self._begun = self._tls.write(view[done : done + JOIN])
        return done

    def _drain(self) -> bool:
        """Give the socket what is encrypted; whether it took all of it."""
        if self._outgoing.pending:
            more = self._outgoing.read()
            self._cipher = self._cipher + more if self._cipher else more
        while self._cipher:
            taken = super().send_now(self._cipher)
            if not taken:
                return False
            self._cipher = self._cipher[taken:]
        return True

    async def _flush(self) -> None:
        while not self._drain():
            await self._runtime.wait_writable(self.sock)

    # ------------------------------------------------------------------ the end

    def shut_write(self, driver: "StreamDriver") -> None:
        self._say_goodbye()
        if self._drain():
            super().shut_write(driver)
        else:
            driver.nest.spawn(self._shut_later, driver)

    async def _shut_later(self, driver: "StreamDriver") -> None:
        with suppress(*self._runtime.broken):  # closed meanwhile, or the peer is gone
            await self._flush()
            super().shut_write(driver)

    def close(self, driver: "StreamDriver") -> None:
        with suppress(OSError):
            self._say_goodbye()
            self._drain()
        super().close(driver)

    def _say_goodbye(self) -> None:
        if not self._ending:
            self._ending = True
            with suppress(ssl.SSLError):  # it would wait for the peer's
                self._tls.unwrap()
