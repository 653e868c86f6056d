"""From a name to a connected socket for threads: all addresses of a host, and through a proxy.

Sockets do not block, and each wait ends at the one deadline. Tests:
``tests/bindings/test_io_rows.py``, ``test_proxy.py``.
"""

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from wsproto_views import Dial, sockets

from .stream import Stream, secured

__all__ = ["Late", "open_socket", "secure"]


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
    waiting = _resolve(host, port, until)
    waiting.reverse()
    errors: list[OSError] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    address = waiting.pop()
                    try:
                        sock, through = sockets.begin_connect(address)
                    except OSError as error:
                        errors.append(error)
                        continue
                    if through:
                        return sock
                    selector.register(sock, selectors.EVENT_WRITE, address)
                connected = _first(selector, bool(waiting), until, errors)
                if connected is not None:
                    return connected
        finally:
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    if len(errors) == 1:
        raise errors[0]
    raise sockets.unreachable(host, errors)


def _first(
    selector: selectors.BaseSelector, more: bool, until: float | None, errors: list[OSError]
) -> socket.socket | None:
    """The first that is connected. ``None``: one has failed or, with ``more`` to try, has had its
    lead."""
    lead = time.monotonic() + sockets.LEAD if more else None
    ends = [at for at in (lead, until) if at is not None]
    left = max(0.0, min(ends) - time.monotonic()) if ends else None
    ready = selector.select(left)
    _left(until)
    for key, _ in ready:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        selector.unregister(sock)
        try:
            sockets.end_connect(sock, key.data)
        except OSError as error:
            sock.close()
            errors.append(error)
        else:
            return sock
    return None


def _resolve(host: str, port: int, until: float | None) -> list[sockets.Address]:
    found = sockets.numeric(host, port)
    return sockets.in_turn(_look_up(host, port, until)) if found is None else found


def _look_up(host: str, port: int, until: float | None) -> list[sockets.Address]:
    """``getaddrinfo`` knows no deadline, so it has a thread of its own, which may outlive ours."""
    outcome: list[list[sockets.Address] | BaseException] = []

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


def _through_socks(dial: Dial[Any], until: float | None) -> socket.socket:
    package = import_module("python_socks")
    proxy = dial.proxy
    assert proxy is not None
    host, port = dial.uri.host, dial.uri.port
    if not proxy.resolves_names:
        host = str(_resolve(host, port, until)[0][4][0])
    client = import_module("python_socks.sync").Proxy.create(
        proxy_type=package.ProxyType[proxy.scheme[:6].upper()],
        host=proxy.host,
        port=proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=proxy.resolves_names,
        forward=_Way(until),  # by itself it has a timeout for each step
    )
    try:
        sock = client.connect(host, port)
    except package.ProxyTimeoutError:
        raise Late from None
    except package.ProxyError as error:
        raise dial.proxy_refused(error) from error
    assert isinstance(sock, socket.socket)
    return sock


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
