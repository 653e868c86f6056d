"""From a name to a connected socket for threads: all addresses of a host, and through a proxy.

Sockets do not block, and each wait ends at the one deadline. Tests:
``tests/bindings/test_io_rows.py``, ``test_proxy.py``.
"""

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from wsproto_views import Dial

from .stream import Stream, secured

__all__ = ["Late", "check_socks", "open_socket", "open_unix", "secure"]

Address: TypeAlias = tuple[Any, ...]  # as getaddrinfo gives it

_DELAY = 0.25  # seconds before the next address is tried beside the one before (RFC 8305 section 8)


class Late(Exception):
    """The deadline has passed."""


def open_socket(dial: Dial[Any], until: float | None) -> tuple[socket.socket, bytes]:
    """A socket whose other end is the server, and what the server sent through a tunnel already.

    Raises ``OSError``, ``HandshakeError`` if a proxy refuses, ``Late``.
    """
    proxy = dial.proxy
    if proxy is None:
        return _open_tcp(dial.uri.host, dial.uri.port, until), b""
    if proxy.is_socks:
        return _through_socks(dial, until), b""
    sock = _open_tcp(proxy.host, proxy.port, until)
    with _closing(sock):
        tunnel = dial.tunnel()
        sock.settimeout(_left(until))
        sock.sendall(tunnel.request)
        while True:
            sock.settimeout(_left(until))
            data = sock.recv(1 << 16)
            if not data:
                raise tunnel.receive_eof()
            if tunnel.receive_data(data):
                dial.check_tail(tunnel.tail)
                return sock, tunnel.tail


def open_unix(place: str, until: float | None) -> socket.socket:
    """A socket that is connected to a Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    with _closing(sock):
        sock.settimeout(_left(until))
        sock.connect(place)
    return sock


def secure(sock: socket.socket, context: ssl.SSLContext, name: str, until: float | None) -> Stream:
    """``sock`` with TLS on it, the handshake done. Raises ``OSError``, ``Late``."""
    with _closing(sock):
        sock.settimeout(_left(until))
        tls = secured(sock, context, server_hostname=name)
    with _closing(tls), selectors.DefaultSelector() as selector:
        stream = Stream(tls, shaking=True)
        selector.register(tls, selectors.EVENT_READ)
        while not stream.shake():
            reads, _ = stream.interest(True)
            selector.modify(tls, selectors.EVENT_READ if reads else selectors.EVENT_WRITE)
            selector.select(_left(until))
    return stream


def _left(until: float | None) -> float | None:
    """Seconds up to the deadline, more than none; raises ``Late`` behind it."""
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise Late
    return left


@contextmanager
def _closing(sock: socket.socket) -> Iterator[None]:
    """Close ``sock`` if this fails. A timeout of its own is the deadline."""
    try:
        yield
    except BaseException as error:
        sock.close()
        if type(error) is TimeoutError and error.errno is None:
            raise Late from None
        raise


# ------------------------------------------------------------------------------------ addresses


def _open_tcp(host: str, port: int, until: float | None) -> socket.socket:
    """Connect to the first address that answers; each gets a short lead over the next.

    Raises ``OSError``, with the cause of each address if there are several.
    """
    addresses = _resolve(host, port, until)
    waiting = list(reversed(addresses))
    errors: list[OSError] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    address = waiting.pop()
                    try:
                        sock = _begin(address)
                    except OSError as error:
                        errors.append(_explained(error, address))
                        continue
                    selector.register(sock, selectors.EVENT_WRITE, address)
                lead = time.monotonic() + _DELAY if waiting else None
                while selector.get_map():
                    ends = [at for at in (lead, until) if at is not None]
                    left = max(0.0, min(ends) - time.monotonic()) if ends else None
                    ready = selector.select(left)
                    _left(until)
                    for key, _ in ready:
                        sock = key.fileobj  # type: ignore[assignment]
                        selector.unregister(sock)
                        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if number == 0:
                            return sock
                        sock.close()
                        errors.append(_explained(OSError(number, ""), key.data))
                    if waiting and (ready or (lead is not None and time.monotonic() >= lead)):
                        break  # it has had its lead, or needs none any more
        finally:
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    if len(errors) == 1:
        raise errors[0]
    numbers = {error.errno for error in errors}
    number = numbers.pop() or 0 if len(numbers) == 1 else errno.EHOSTUNREACH
    why = "; ".join(str(error.strerror) for error in errors)
    raise OSError(number, f"none of {len(errors)} addresses of {host} can be reached: {why}")


def _begin(address: Address) -> socket.socket:
    """A socket on its way to ``address``."""
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    number = sock.connect_ex(where)
    if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
        sock.close()
        raise OSError(number, "")
    return sock


def _explained(error: OSError, address: Address) -> OSError:
    number, where = error.errno or 0, address[4]
    return OSError(number, f"{where[0]} port {where[1]}: {os.strerror(number)}")


def _resolve(host: str, port: int, until: float | None) -> list[Address]:
    """The addresses of ``host``, the families in turn (RFC 8305 section 4)."""
    try:
        # An address needs no look-up.
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric))
    except socket.gaierror:
        found = _look_up(host, port, until)
    first = [item for item in found if item[0] == found[0][0]]
    others = [item for item in found if item[0] != found[0][0]]
    turns = chain.from_iterable(zip_longest(first, others))
    return [item for item in turns if item is not None]


def _look_up(host: str, port: int, until: float | None) -> list[Address]:
    """``getaddrinfo`` knows no deadline, so it has a thread of its own, which may outlive ours."""
    outcome: list[list[Address] | BaseException] = []

    def work() -> None:
        try:
            outcome.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except BaseException as error:  # noqa: BLE001  the caller raises it
            outcome.append(error)

    thread = threading.Thread(target=work, name=f"look up {host}", daemon=True)
    thread.start()
    thread.join(_left(until))
    if not outcome:
        raise Late
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


# ---------------------------------------------------------------------------------------- SOCKS


def check_socks() -> None:
    """Raise ``ImportError`` with a way out if the package that speaks SOCKS is missing."""
    try:
        import python_socks.sync  # noqa: F401, PLC0415
    except ImportError:
        raise ImportError(
            "a SOCKS proxy needs the package python-socks: pip install 'wsproto-core[proxy]'"
        ) from None


def _through_socks(dial: Dial[Any], until: float | None) -> socket.socket:
    from python_socks import ProxyError, ProxyTimeoutError, ProxyType  # noqa: PLC0415
    from python_socks.sync import Proxy  # noqa: PLC0415

    proxy = dial.proxy
    assert proxy is not None
    host, port = dial.uri.host, dial.uri.port
    if not proxy.resolves_names:
        host = str(_resolve(host, port, until)[0][4][0])
    way: Any = _Way(until)  # python-socks connects by itself, with a timeout for each step
    client = Proxy.create(
        proxy_type=ProxyType[proxy.scheme[:6].upper()],
        host=proxy.host,
        port=proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=proxy.resolves_names,
        forward=way,
    )
    try:
        return client.connect(host, port)
    except ProxyTimeoutError:
        raise Late from None
    except ProxyError as error:
        raise dial.proxy_refused(error) from error


class _Way:
    """Stands for a proxy before the proxy: it gives sockets that keep the one deadline."""

    def __init__(self, until: float | None) -> None:
        self._until = until

    def connect(self, dest_host: str, dest_port: int, **_: Any) -> socket.socket:
        sock = _open_tcp(dest_host, dest_port, self._until)
        return _Hurried(self._until, fileno=sock.detach())


class _Hurried(socket.socket):
    """A socket whose reads and writes end at a deadline, all together."""

    def __init__(self, until: float | None, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._until = until

    def recv(self, *arguments: Any) -> bytes:
        self.settimeout(_left(self._until))
        return super().recv(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(_left(self._until))
        super().sendall(*arguments)
