# cython: annotation_typing=False
"""A non-blocking socket, plain or TLS, and where its owner waits for it.

No session and no locks: whoever uses a ``Stream`` holds its driver's lock, so that TLS objects are
used by one thread at a time. Tests: ``tests/bindings/test_contract.py``,
``tests/bindings/test_threading.py``.
"""

import os
import select
import selectors
import socket
import ssl
import sys
from collections import deque
from contextlib import suppress
from itertools import islice
from math import ceil

from wsproto_views.quick import has_poll, poll, recv, send

__all__ = ["LONGEST", "Poller", "Stream", "WakeUp", "secured"]

LONGEST = 86400.0
"""Seconds of one wait: the system takes 24 days at most, and to wake once a day costs nothing."""

_SMALL = 1 << 14  # bytes of a read, as long as messages are small
_LARGE = 1 << 16  # ... and when they are not; in a flood it costs several times itself
_RECORD = 1 << 14  # bytes of a full TLS record
_JOIN = 1 << 16  # bytes: buffers up to this are joined into one write
_BUFFERS = 64  # in one call; the system allows 1024

if sys.platform != "win32":
    _READ, _WRITE = select.POLLIN, select.POLLOUT
else:
    _READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Stream:
    """Reads, writes and ends; never waits. What it would have waited for is in ``interest``."""

    def __init__(self, sock: socket.socket, *, shaking: bool = False) -> None:
        """``shaking``: the TLS handshake is still to be done."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # the peer may have left already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        # For calls without the object; one of a class of its own may have its own calls.
        self._fd = sock.fileno() if type(sock) is socket.socket else -1
        self.pending = 0
        """Bytes that the system did not take yet."""
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._gathers = not self._tls and hasattr(sock, "sendmsg")
        self._shaking = shaking
        self._out: deque[bytes | memoryview] = deque()
        self._size = _SMALL
        self._read_waits_to_write = False  # TLS: a read has something to write first
        self._write_waits_to_read = False
        self._deaf = False  # TLS: our close_notify was sent

    # ------------------------------------------------------------------ readiness

    def interest(self, reads: bool) -> tuple[bool, bool]:
        """What to wait for, reading and writing; ``reads``: whether bytes are wanted."""
        if not self._tls:
            return reads, self.pending > 0
        read = reads and not self._read_waits_to_write
        write = self.pending > 0 and not self._write_waits_to_read
        return (
            read or (self.pending > 0 and self._write_waits_to_read),
            write or (reads and self._read_waits_to_write),
        )

    def may_read(self, readable: bool, writable: bool) -> bool:
        """Whether ``receive`` is worth a try."""
        return readable or (writable and self._read_waits_to_write)

    @property
    def has_more(self) -> bool:
        """Whether bytes wait in TLS, of which the system does not know."""
        sock = self.sock
        return isinstance(sock, ssl.SSLSocket) and not self._deaf and sock.pending() > 0

    # ------------------------------------------------------------------ bytes

    def shake(self) -> bool:
        """Go on with the TLS handshake: whether it is done. May raise ``OSError``."""
        assert isinstance(self.sock, ssl.SSLSocket)
        self._read_waits_to_write = False
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._read_waits_to_write = True
            return False
        self._shaking = False
        return True

    def receive(self) -> bytes | None:
        """What has come: ``b""`` at the end of the stream, ``None`` if nothing. May raise
        ``OSError``."""
        if self._tls:
            return self._receive_tls()
        if self._fd >= 0:
            data = recv(self.sock, self._fd, self._size)
        else:
            try:
                data = self.sock.recv(self._size)
            except BlockingIOError:
                data = None
        if data is not None:
            self._size = _LARGE if len(data) >= _SMALL else _SMALL
        return data

    def _receive_tls(self) -> bytes | None:
        if self._deaf:
            return self._receive_unread()
        if self._shaking and not self.shake():
            return None
        self._read_waits_to_write = False
        parts: list[bytes] = []
        size = 0
        # A read gives one record at most. After a full one there is often another.
        while size < _LARGE:
            try:
                data = self.sock.recv(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLWantWriteError:
                self._read_waits_to_write = True
                break
            except OSError:
                if parts:
                    break  # it comes again
                raise
            if not data:
                return b"".join(parts)  # the end comes again too
            parts.append(data)
            size += len(data)
            if len(data) < _RECORD and not self.has_more:
                break
        return b"".join(parts) if parts else None

    def _receive_unread(self) -> bytes | None:
        """Nothing counts after our end, and OpenSSL would not read it; but to close with bytes
        unread would reset the connection, and that can eat the Close."""
        try:
            data = socket.socket.recv(self.sock, _LARGE)
        except BlockingIOError:
            return None
        return None if data else b""

    def write(self, data: list[bytes]) -> None:
        """Queue ``data`` and give the system as much as it takes. May raise ``OSError``."""
        self._queue(data)
        out = self._out
        while out and not self._shaking:
            sent = self._send(out)
            if not sent:
                return
            self.pending -= sent
            while sent and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = memoryview(out[0])[sent:]

    def _send(self, out: deque[bytes | memoryview]) -> int:
        """How many bytes the system took; 0 if it takes none now."""
        self._write_waits_to_read = False
        first = out[0]
        try:
            if self._gathers and len(out) > 1:
                return self.sock.sendmsg(list(islice(out, _BUFFERS)))
            if self._fd >= 0 and isinstance(first, bytes):
                return send(self.sock, self._fd, first)
            return self.sock.send(first)
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLWantReadError:
            self._write_waits_to_read = True
        return 0

    def _queue(self, data: list[bytes]) -> None:
        # Nothing is added to a buffer that was tried: TLS wants to see the same again.
        if len(data) == 1:
            self.pending += len(data[0])
            self._out.append(data[0])
            return
        size = sum(map(len, data))
        self.pending += size
        if 0 < size <= _JOIN:
            self._out.append(b"".join(data))
        else:
            self._out.extend(data)

    # ------------------------------------------------------------------ endings

    def end_writing(self) -> None:
        """End our direction; the peer's goes on."""
        self._say_goodbye()
        with suppress(OSError):  # the peer has reset it: reading tells
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def shut(self) -> None:
        """End both directions. The descriptor stays until ``close``: somebody may wait for it."""
        self._say_goodbye()
        self.abort()

    def abort(self) -> None:
        """End both directions without a word, and drop what is queued."""
        self._out.clear()
        self.pending = 0
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        self._fd = -1  # the number is soon another's
        self.sock.close()

    def _say_goodbye(self) -> None:
        """TLS: send close_notify (RFC 8446 section 6.1), and do not wait for the peer's."""
        if isinstance(self.sock, ssl.SSLSocket) and not (self._shaking or self._deaf):
            self._deaf = True
            with suppress(OSError, ValueError):  # it wants to read the peer's, or cannot be sent
                self.sock.unwrap()


def secured(
    sock: socket.socket,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> ssl.SSLSocket:
    """``sock`` with TLS on it, the handshake still to be done. May raise ``OSError``."""
    sock.getpeername()  # where the peer has gone, wrap_socket() raises and leaves a socket open
    return context.wrap_socket(
        sock,
        server_side=server_side,
        server_hostname=server_hostname,
        do_handshake_on_connect=False,
    )


class WakeUp:
    """A descriptor that becomes readable when another thread says so."""

    def __init__(self) -> None:
        if sys.platform == "linux":
            self._read = self._write = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            pair = socket.socketpair()
            for end in pair:
                end.setblocking(False)
            self._pair = pair
            self._read, self._write = (end.fileno() for end in pair)

    def fileno(self) -> int:
        """What to wait for."""
        return self._read

    def set(self) -> None:
        """Make it readable. From any thread."""
        if sys.platform == "linux":
            os.eventfd_write(self._write, 1)
        else:
            with suppress(BlockingIOError):  # it is readable then
                self._pair[1].send(b"x")

    def clear(self) -> None:
        """Make it wait again."""
        with suppress(BlockingIOError):
            if sys.platform == "linux":
                os.eventfd_read(self._read)
            else:
                self._pair[0].recv(4096)

    def close(self) -> None:
        """Give the descriptors back."""
        if sys.platform == "linux":
            os.close(self._read)
        else:
            for end in self._pair:
                end.close()


class Poller:
    """Where one thread waits for one socket, and others wake it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock.fileno()
        self._mask = 0  # what the socket is registered for
        self._wake = WakeUp()
        self._heard = self._wake.fileno()
        self._woken = False
        if has_poll:
            return
        if sys.platform != "win32":
            # Not a selector: that costs a descriptor, or a copy of everything for each wait.
            self._place = select.poll()
        else:
            self._place = selectors.DefaultSelector()
        self._place.register(self._wake.fileno(), _READ)

    def wait(self, reads: bool, writes: bool, timeout: float | None) -> tuple[bool, bool]:
        """Wait for the socket, a ``wake`` or ``timeout`` seconds; whether to read and to write.

        A broken or ended stream is ready for all that was asked for. What was not asked for is not
        waited for: a hang-up would be told again and again.
        """
        mask = (_READ if reads else 0) | (_WRITE if writes else 0)
        if has_poll:
            patience = -1 if timeout is None else ceil(timeout * 1000)
            ready = poll(self._sock, mask, self._heard, patience)
        else:
            ready = self._select(mask, timeout)
        if not ready & ~(_READ | _WRITE):
            return ready & _READ != 0, ready & _WRITE != 0
        return reads, writes

    def _select(self, mask: int, timeout: float | None) -> int:
        """As ``quick.poll``, without it."""
        if mask != self._mask:
            if self._mask:
                self._place.unregister(self._sock)
            if mask:
                self._place.register(self._sock, mask)
            self._mask = mask
        ready = 0
        if sys.platform != "win32":
            for fd, events in self._place.poll(None if timeout is None else ceil(timeout * 1000)):
                if fd == self._sock:
                    ready = events
        else:
            for key, events in self._place.select(timeout):
                if key.fd == self._sock:
                    ready = events
        return ready

    def wake(self) -> None:
        """End the wait, or the next one. With the driver's lock held."""
        if not self._woken:
            self._woken = True
            self._wake.set()

    def rest(self) -> None:
        """Be ready for another ``wake``. With the driver's lock held, after each wait."""
        if self._woken:
            self._woken = False
            self._wake.clear()

    def close(self) -> None:
        """Give the descriptors back."""
        self._wake.close()
        if sys.platform == "win32":
            self._place.close()
