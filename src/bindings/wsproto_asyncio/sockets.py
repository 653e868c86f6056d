# cython: annotation_typing=False
"""The asyncio driver over a socket: bytes without the loop's transports.

The loop only tells when the socket is ready (see ``watch.py``); reading, writing and TLS are done
here, for they are less than a transport does between: one ``recv``, one ``send``. Where a loop
cannot watch sockets, ``transports.py`` serves.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

from wsproto_core import Session, Transport
from wsproto_views.buffers import join_small
from wsproto_views.quick import part, receive, send
from wsproto_views.tls import Tls

from .driver import Driver
from .watch import READ, WRITE, Alarm, has_epoll

__all__ = ["SocketDriver", "watches_sockets"]

_TURN = 1 << 19  # bytes read before others get the loop, while reads come full
_GATHER = 64  # buffers given to the system at once
_ENCRYPT = 1 << 16
"""Bytes encrypted at once: the peer begins to decrypt while we go on, what is written is still in
the processor's cache, and not all of a large message waits as ciphertext."""


def watches_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop tells reliably that a socket is ready.

    Windows' default one cannot watch sockets, and uvloop keeps resets from those who do, but not
    from an epoll of theirs.
    """
    return has_epoll or isinstance(loop, asyncio.SelectorEventLoop)


class SocketDriver(Driver):
    """Runs one session over a connected, non-blocking socket, which it owns."""

    def __init__(
        self,
        sock: socket.socket,
        begin: "Callable[[Driver], Session]",
        *,
        peer: Any = None,
        tls: Tls | None = None,
        server: Any = None,
        on_gone: "Callable[[Driver], None] | None" = None,
    ) -> None:
        """``tls`` may still be before its handshake, a server's, which is then done here."""
        super().__init__(begin, server=server, on_gone=on_gone)
        self.sock = sock
        self.peer = peer
        self._socket = sock
        self._fd = sock.fileno()
        self._buffer = self._hub.buffer
        self._part = self._hub.part
        self._asked = 0  # bytes that the last read had room for
        self._watch = self._hub.watch(self.loop)
        self._tls = tls
        self._came: bytes | None = None  # read, and not handled yet
        self._backlog: deque[memoryview] | None = None  # written, and not taken by the system
        self._plain: deque[memoryview] | None = None  # waits to be encrypted
        self._writing = True  # our direction was not ended
        self._over = False  # nothing is read any more
        self._shut = False

    def start(self, data: bytes = b"") -> None:
        """Begin, with what came already. On the loop; a turn must follow."""
        self.session = self._begin(self)
        self._want(self.wanted | READ)
        if self._tls is not None:
            self._tls.shake()  # a client speaks first
            self._flush_records(self._tls)
        if data:
            self.session.received(data, self.now())

    # ------------------------------------------------------------------ from the loop

    def _call_at(self, at: float) -> asyncio.Handle | Alarm:
        return self._watch.call_at(at, self._on_timer)

    def _want(self, events: int) -> None:
        if events != self.wanted:
            self._watch.want(self._fd, self, events)

    def take_in(self, events: int) -> None:
        """Write what waited, and read: if the socket is broken, both tell of it."""
        if events & ~READ and self.wanted & WRITE:
            self._send_backlog()
        if events & ~WRITE and self.wanted & READ:
            thorough = events != READ  # up to the end of the stream, which may be behind what came
            if self._came is not None:
                # Somebody was interrupted before it was handled.
                self._watch.again(self._fd, self)
                return
            data = self._receive()
            if type(data) is bytes and data and not thorough:
                self._came = data if self._tls is None else self._decrypt(self._tls, data)
            else:
                self._take(data, thorough)

    def handle(self) -> None:
        """Step 2."""
        data, self._came = self._came, None
        if data is not None and not self._gone:
            if self._tls is None:
                self.session.received(data, self.now())
            elif not self._is_deaf():
                self._received_through(self._tls, data, False)
        Driver.handle(self)

    def _receive(self) -> memoryview | bytes | None:
        """Read once."""
        # What is encrypted becomes objects, too, and goes where it came.
        large = self._tls is None and self.session.connection.bytes_coming() >= len(self._buffer)
        room = self._buffer if large else self._part
        self._asked = len(room)
        try:
            return receive(self._socket, self._fd, room)
        except OSError as error:
            self._close(error)
            return None

    def _received(self, data: memoryview | bytes) -> None:
        if self._tls is not None:
            self._received_records(self._tls, data)
        elif len(data):
            self.session.received(data, self.now())
        else:
            self._received_end()

    def _take(self, data: memoryview | bytes | None, thorough: bool) -> None:
        """Handle what was read, and read on while there may be more."""
        taken = 0
        while data is not None:
            size = len(data)
            taken += size
            self._received(data)
            if self._over or self._gone or (size < self._asked and not thorough):
                return
            if taken >= _TURN or not self.session.wants_read:
                self._watch.again(self._fd, self)
                return
            data = self._receive()

    def _received_end(self) -> None:
        """The peer's end: watching goes on for nothing but a reset, which no loop tells of."""
        self._over = True
        self._want(self.wanted & ~READ)
        self.session.eof(self.now())

    def _is_deaf(self) -> bool:
        """Whether our direction has ended: what comes through TLS is not even decrypted."""
        return self._shut or not self._writing

    def _decrypt(self, tls: Tls, data: bytes) -> bytes:
        """What little came, if it can be read: in step 1, for the code of TLS is large."""
        if self._is_deaf():
            return b""
        tls.feed(data)
        try:
            size = tls.read_into(self._buffer) if tls.is_open else None
        except ssl.SSLError:
            size = None  # step 2 hears of it
        return bytes(part(self._buffer, size)) if size else b""

    def _received_records(self, tls: Tls, data: memoryview | bytes) -> None:
        """The same through TLS."""
        if not self._is_deaf():
            tls.feed(data)
            self._received_through(tls, b"", not data)
        elif not data:
            self._received_end()

    def _received_through(self, tls: Tls, data: bytes, ended: bool) -> None:
        """``data`` came, and what else can be read; ``ended``: nothing will be fed any more."""
        was_open, buffer = tls.is_open, self._buffer
        try:
            if was_open or tls.shake():
                # Before anything is sent, for that may be the end of the stream.
                more = True
                if data:
                    self.session.received(data, self.now())
                    more = not tls.is_drained
                while more:
                    size = tls.read_into(buffer)  # what came through it is with TLS by now
                    if size:
                        self.session.received(part(buffer, size), self.now())
                    else:
                        ended = ended or size is not None
                    more = bool(size) and not tls.is_drained
        except ssl.SSLError as error:
            self._flush_records(tls)  # the alert
            self._close(error)
            return
        if not was_open:
            self._encrypt(tls)  # what was said before the handshake was through
            self._flush_records(tls)
        if ended and not (self._over or self._gone):
            self._received_end()

    # ------------------------------------------------------------------ writing

    def _write(self) -> None:
        output = self.session.take_output()
        if self._gone or not self._writing:
            return
        if self._tls is not None:
            if output:
                self._write_through(self._tls, output)
            else:
                self._flush_records(self._tls)  # what TLS itself has to answer
            return
        if not output:
            return
        if len(output) > 1:
            output = join_small(output)
        if self._backlog:
            self._backlog.extend(map(memoryview, output))
            self._look_at_buffer()
        else:
            self._send(output)

    def _send(self, output: "list[bytes]") -> None:
        """Give the system as much as it takes now, and watch for the rest."""
        try:
            if len(output) == 1:
                sent = send(self._socket, self._fd, output[0])
                if sent == len(output[0]):
                    return
            else:
                sent = _send_many(self._socket, output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._close(error)
            self.publish()
            return
        rest: deque[memoryview] = deque()
        for item in output:
            size = len(item)
            if sent < size:
                rest.append(memoryview(item)[sent:])
            sent = max(sent - size, 0)
        if rest:
            self._backlog = rest
            self._want(self.wanted | WRITE)
            self._look_at_buffer()

    def _send_backlog(self) -> None:
        backlog = self._backlog
        try:
            while backlog:
                sent = _send_many(self._socket, list(islice(backlog, _GATHER)))
                while backlog and sent >= len(backlog[0]):
                    sent -= len(backlog.popleft())
                if sent:
                    backlog[0] = backlog[0][sent:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._close(error)
            return
        if not backlog and self.wanted & WRITE:
            self._backlog = None
            self._want(self.wanted & ~WRITE)
            if self._tls is not None and self._plain:
                self._encrypt(self._tls)
        if not self._gone:
            self._look_at_buffer()

    def _write_through(self, tls: Tls, output: "list[bytes]") -> None:
        """The same through TLS; what is one piece, as a small answer is, goes round the queue."""
        waits = self._plain or self._backlog or not tls.is_open
        if not waits and len(output) == 1 and len(output[0]) <= _ENCRYPT:
            tls.write(output[0])
            self._flush_records(tls)
            return
        if self._plain is None:
            self._plain = deque()
        self._plain.extend(map(memoryview, output))
        self._encrypt(tls)

    def _encrypt(self, tls: Tls) -> None:
        """Turn what waits into records, while the system takes them."""
        plain = self._plain
        while plain and tls.is_open and not self._backlog and not self._gone:
            room = _ENCRYPT
            parts = []
            while plain and room > 0:
                part = plain.popleft()
                if len(part) > room:
                    plain.appendleft(part[room:])
                    part = part[:room]
                room -= len(part)
                parts.append(part)
            tls.write(parts[0] if len(parts) == 1 else b"".join(parts))
            self._flush_records(tls)
        if plain or self._backlog:
            self._look_at_buffer()

    def _flush_records(self, tls: Tls) -> None:
        """Send what TLS has to say."""
        records = tls.take()
        if not records or self._gone:
            return
        if self._backlog:
            self._backlog.append(memoryview(records))
        else:
            self._send([records])

    def _look_at_buffer(self) -> None:
        self.pending = sum(map(len, self._backlog or ())) + sum(map(len, self._plain or ()))
        self.session.write_blocked(self.pending, self.now())

    # ------------------------------------------------------------------ ending

    def _end_stream(self, wanted: Transport) -> None:
        if wanted is Transport.ABORT:
            self._close(None)
            self.publish()
            return
        if self._backlog or self._plain:
            return  # asked again when the last of it is gone
        if self._writing:
            self._writing = False
            if self._tls is not None:
                self._tls.end()
                self._flush_records(self._tls)
        if self._backlog or self._gone:
            return
        if wanted is Transport.CLOSE:
            self._close(None)
            self.publish()
        elif not self._shut:
            self._shut = True
            with suppress(OSError):  # the peer has reset it: reading tells
                self._socket.shutdown(socket.SHUT_WR)

    def _close(self, error: Exception | None) -> None:
        """Let go of the socket. A turn must follow."""
        if self._gone:
            return
        self._want(0)
        self._socket.close()
        self._backlog = self._plain = None
        self._lose(error)

    def _set_reading(self, reading: bool) -> None:
        if self._over:
            return
        if reading:
            self._want(self.wanted | READ)
        else:
            self._want(self.wanted & ~READ)


if hasattr(socket.socket, "sendmsg"):

    def _send_many(sock: socket.socket, buffers: "list[Any]") -> int:
        """Send from several buffers at once; returns how many bytes were taken."""
        return sock.sendmsg(buffers[:_GATHER])

else:

    def _send_many(sock: socket.socket, buffers: "list[Any]") -> int:
        """The same where the system has no such call."""
        return sock.send(buffers[0])
