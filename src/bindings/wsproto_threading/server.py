"""Listening on threads: ``serve`` and ``Server``.

Addresses, TLS and the set of live connections; nothing of the protocol.
Tests: ``tests/bindings/test_endpoints.py``, ``tests/bindings/test_threading.py``.
"""

import logging
import selectors
import socket
import ssl as ssl_module
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from wsproto_core import Session
from wsproto_views import (
    Answer,
    Route,
    Service,
    UpgradeRequest,
    check_place,
    check_plain,
    sockets,
)

from .driver import Driver
from .stream import Stream, WakeUp, secured
from .view import WebSocketView

__all__ = ["Server", "serve"]

logger = logging.getLogger("wsproto_core")

_PAUSE = 1.0  # seconds without accepting after the system had no descriptor or thread to give

Views: TypeAlias = type[WebSocketView] | Route[WebSocketView] | Iterable[Route[WebSocketView]]
OnRequest: TypeAlias = Callable[[UpgradeRequest], Answer]


class Server:
    """A listening server and its live connections. Made by ``serve``."""

    def __init__(
        self,
        service: Service[WebSocketView],
        listeners: list[socket.socket],
        ssl: ssl_module.SSLContext | None,
        unix: str | None,
    ) -> None:
        self._service = service
        self._listeners = listeners
        self._ssl = ssl
        self._unix = unix
        self._drivers: set[Driver] = set()
        self._closing = False
        self._changed = threading.Condition()  # the two above
        self._wake = WakeUp()
        self._accepting = threading.Thread(target=self._accept, name="wsproto accept", daemon=True)
        self._accepting.start()

    # ------------------------------------------------------------------ for users

    @property
    def sockets(self) -> Sequence[Any]:
        """The listening sockets; empty once closed."""
        return tuple(self._listeners)

    @property
    def port(self) -> int | None:
        """The TCP port of the first socket, or ``None`` (a Unix socket, or closed)."""
        return sockets.port_of(self._listeners)

    @property
    def connections(self) -> list[WebSocketView]:
        """The views of the connections that are open now."""
        return self._service.open_views

    def serve_forever(self) -> None:
        """Wait until the server is closed; an exception such as ``KeyboardInterrupt`` closes it
        gracefully and passes on."""
        try:
            self.wait_closed()
        finally:
            self.close()

    def close(self, code: int = 1001, reason: str = "the server is going away") -> None:
        """Stop listening, close every connection with ``code``, wait for their end. Idempotent.

        Each connection has its view's ``CLOSE_TIMEOUT`` for the peer's Close and for its hooks;
        handshakes that are not finished are dropped. From any thread.
        """
        with self._changed:
            if not self._closing:
                self._closing = True
                self._wake.set()
                self._changed.notify_all()  # those in wait_closed()
        self._accepting.join()
        with self._changed:
            drivers = list(self._drivers)
        for driver in drivers:
            with driver.lock:
                driver.session.go_away(code, reason, driver.now())
                driver.publish()
        self.wait_closed()

    def wait_closed(self) -> None:
        """Wait until the server is closed and every connection has ended."""
        with self._changed:
            while not self._closing or self._drivers:
                self._changed.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the accepting thread

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake.fileno(), selectors.EVENT_READ)
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ, listener)
            while not self._closing:
                for key, _ in selector.select():
                    if key.data is not None and not self._accept_from(key.data):
                        self._pause()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        if self._unix is not None:
            sockets.unlink_unix(self._unix)
        with self._changed:  # whoever told us to end is done with it
            self._wake.close()

    def _pause(self) -> None:
        """Accept nothing for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, _PAUSE)

    def _accept_from(self, listener: socket.socket) -> bool:
        """Take the connections that wait; false if the system has no room for them."""
        short: Exception | None
        found, short = sockets.accept(listener)
        for sock, address in found:
            try:
                self._begin(sock, address)
            except (OSError, RuntimeError) as error:
                if not isinstance(error, OSError) or error.errno in sockets.SHORT:
                    short = error
                # Else it has left already.
        if short is not None:
            logger.error("out of system resource, accepting again in %g s: %s", _PAUSE, short)
        return short is None

    def _begin(self, sock: socket.socket, address: Any) -> None:
        """Give the connection to a thread of its own."""
        try:
            if self._ssl is not None:
                sock = secured(sock, self._ssl, server_side=True)
            driver = Driver(
                Stream(sock, shaking=self._ssl is not None),
                self._new_session,
                peer=address,
                server=self,
                on_gone=self._forget,
            )
        except BaseException:
            sock.close()
            raise
        with self._changed:
            self._drivers.add(driver)
        driver.start()

    def _new_session(self, driver: Driver) -> Session:
        return self._service.session(driver)

    def _forget(self, driver: Driver) -> None:
        with self._changed:
            self._drivers.discard(driver)
            self._changed.notify_all()
        self._service.forget(driver)


def serve(
    views: Views,
    host: str | None = "127.0.0.1",
    port: int = 0,
    *,
    ssl: ssl_module.SSLContext | None = None,
    sock: socket.socket | None = None,
    unix: str | None = None,
    on_request: OnRequest | None = None,
    backlog: int = 1024,
) -> Server:
    """Listen and run a view for each connection, in a thread of its own.

    ``views`` is a ``WebSocketView`` class that serves every path, or routes made by ``path``.
    ``host`` and ``port`` name a TCP address (port 0: a free one, see ``Server.port``; host
    ``None``: all interfaces); or give a listening ``sock``, or the path of a ``unix`` socket.
    ``ssl`` makes it ``wss``. ``on_request(request)`` sees every request first, plain GETs too, and
    returns ``None`` to go on, ``Accept`` to go on with particulars, or a ``Response``.

    The server listens when this returns: use ``with serve(...) as server:``, or close it yourself.
    Raises ``OSError`` if the address is taken, ``NotImplementedError`` for a view that takes no
    messages, ``TypeError`` for one with ``async def`` hooks.
    """
    service = Service(views, on_request)
    check_place(sock, unix)
    if on_request is not None:
        check_plain(on_request, "on_request")
    listeners = _listen(host, port, sock, unix, backlog)
    try:
        return Server(service, listeners, ssl, unix)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise


def _listen(
    host: str | None, port: int, sock: socket.socket | None, unix: str | None, backlog: int
) -> list[socket.socket]:
    if unix is not None:
        return [sockets.listen_unix(unix, backlog)]
    if sock is not None:
        sock.setblocking(False)
        sock.listen(backlog)
        return [sock]
    found: list[sockets.Address] = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return sockets.listen_with(found, backlog)
