# cython: annotation_typing=False
"""TLS without a stream of its own: ``Tls``, bytes in and bytes out, and the ``Wire`` that uses it.

``ssl.SSLObject`` does no I/O. So a write costs no turn of a scheduler, a read of the socket brings
all its records, and the stream's end can be what the protocol asks for: our direction ends with a
``close_notify`` and a FIN while the other is read on to its end, which a runtime's own TLS stream
cannot do.

Tests: ``tests/bindings/test_contract.py`` over TLS, ``test_endpoints.py``.
"""

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .buffers import JOIN
from .wires import READ_SIZE, SocketWire

if TYPE_CHECKING:
    from .streams import Runtime, StreamDriver

__all__ = ["Tls", "TlsWire", "client_context"]

_RECORD = 1 << 14  # bytes: more does no record hold (RFC 8446 5.1)


def client_context(context: ssl.SSLContext | None) -> ssl.SSLContext:
    """``context``, or the default one, which verifies the certificate and its name."""
    return context if context is not None else ssl.create_default_context()


class Tls:
    """TLS of one stream, over memory. What is said before the handshake waits with the caller."""

    __slots__ = (
        "_eof",
        "_fault",
        "_fed",
        "_feed",
        "_incoming",
        "_object",
        "_over",
        "_pending",
        "_read",
        "_take",
        "_write",
        "is_drained",
        "is_ended",
        "is_open",
    )

    is_open: bool
    """Whether the handshake is through."""

    is_ended: bool
    """Whether our direction has ended."""

    is_drained: bool
    """After ``read_into``: whether it need not be asked again before more is fed."""

    def __init__(self, context: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        """With ``server_hostname`` a client, which sends (SNI) and verifies it; else a server."""
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        # What it reads and writes with: through another layer takes as long as a small record.
        inner: Any = getattr(self._object, "_sslobj", self._object)
        self._read, self._write, self._pending = inner.read, inner.write, inner.pending
        self._feed, self._take = self._incoming.write, outgoing.read
        self.is_open = False
        self.is_ended = False
        self.is_drained = False
        self._fed = False  # something was fed just now, so there is something
        self._eof = False  # and nothing more will be
        self._over = False  # the peer's direction has ended
        self._fault: ssl.SSLError | None = None  # what stands behind the bytes that were read

    def shake(self) -> bool:
        """Go on with the handshake; whether it is through. Raises ``ssl.SSLError``."""
        self._fed = False
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_open = True
        return True

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came from the peer; no bytes are the end."""
        self._fed = bool(data)
        if data:
            self._feed(data)
        else:
            self._eof = True
            self._incoming.write_eof()

    def read(self) -> bytes | None:
        """What can be read of what is here, about 64 KiB; empty at the end, ``None`` if more must
        come first. Raises ``ssl.SSLError``, after what came before the bad record."""
        parts, size = [], 0
        while size < READ_SIZE and self._has_more() and (data := self._record(_RECORD, None)):
            parts.append(data)
            size += len(data)
        if size:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        return b"" if self._at_end() else None

    def read_into(self, room: memoryview) -> int | None:
        """The same, as much as there is room for: how many bytes."""
        size, most = 0, len(room)
        while size < most and self._has_more():
            count = self._record(most - size, room[size:] if size else room)
            if not count:
                break
            size += count
        self.is_drained = size < most and not (self._over or self._eof or self._fault)
        return size if size or self._at_end() else None

    def _has_more(self) -> bool:
        """Whether to ask OpenSSL. Not with nothing there: asked at the end of a stream without
        close_notify, it would not send any more either."""
        if self._fed:
            self._fed = False
            return True
        return not self._over and bool(self._incoming.pending or self._pending())

    def _record(self, size: int, room: memoryview | None) -> Any:
        """At most ``size`` bytes of the next record, or how many went into ``room``. Nothing: it is
        over, or a fault, or more must come."""
        try:
            data = self._read(size) if room is None else self._read(size, room)
        except ssl.SSLWantReadError:
            return 0
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = 0
        except ssl.SSLError as error:
            self._fault = error
            return 0
        if not data:
            self._over = True
        return data

    def _at_end(self) -> bool:
        """With nothing to read: whether nothing will come. Raises the fault, if there is one."""
        if self._fault is not None:
            raise self._fault
        # An end without close_notify is not told apart: a WebSocket has its own Close.
        return bool(self._over or self._incoming.eof)

    def write(self, data: bytes | memoryview) -> int:
        """Encrypt; returns how many bytes."""
        return self._write(data) if data else 0

    def end(self) -> None:
        """Say that we send no more."""
        if not self.is_ended:
            self.is_ended = True
            with suppress(ssl.SSLError):  # it would wait for the peer's
                self._object.unwrap()

    def take(self) -> bytes:
        """What is to be sent; often nothing."""
        return self._take()


class TlsWire(SocketWire):
    """A socket with TLS on it. ``handshake`` comes first."""

    __slots__ = ("_begun", "_cipher", "_deaf", "_tls")

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
        self._tls = Tls(context, server_hostname=server_hostname)
        self._cipher = b""  # encrypted, and not taken by the socket
        self._begun = 0  # bytes given to send_now that are in _cipher
        self._deaf = False  # what comes is not decrypted any more

    async def handshake(self) -> None:
        """Raises ``ssl.SSLError`` or another ``OSError``."""
        try:
            while not self._tls.shake():
                await self._flush()
                await self._feed()
        except ssl.SSLError:
            self._drain()  # the alert
            raise
        await self._flush()

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
        try:
            data = self._tls.read()
        except ssl.SSLError:
            if not self._tls.is_ended:
                raise
            self._deaf = True  # nothing that comes counts any more
            data = None
        with suppress(OSError):  # who reads is told what is there; who writes hears of it
            self._drain()  # new keys, tickets
        return data

    async def _feed(self) -> None:
        self._tls.feed(await super().receive())

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
        if more := self._tls.take():
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
        self._tls.end()
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
            self._tls.end()
            self._drain()
        super().close(driver)
