"""Listening on asyncio: ``serve`` and ``Server``.

Addresses, TLS and accepting; nothing of the protocol.
Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, TypeAlias

from wsproto_views import OnRequest, Route, Service, check_place
from wsproto_views.serving import AsyncServer
from wsproto_views.sockets import accept, listen_unix, listen_with, unlink_unix
from wsproto_views.tls import Tls

from .hub import hub
from .sockets import SocketDriver, watches_sockets
from .transports import TransportDriver
from .view import WebSocketView
from .watch import READ, EpollWatch, LoopWatch

__all__ = ["Server", "serve"]

logger = logging.getLogger("wsproto_core")

_PAUSE = 1.0  # seconds without accepting after the system had nothing left to accept with

Views: TypeAlias = type[WebSocketView] | Route[WebSocketView] | Iterable[Route[WebSocketView]]


class Server(AsyncServer[WebSocketView]):
    """A listening server and its live connections. Made by ``serve``."""

    def __init__(
        self,
        service: Service[WebSocketView],
        listeners: list[socket.socket],
        ssl: ssl_module.SSLContext | None,
        unix: str | None,
    ) -> None:
        super().__init__(service)
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._ssl = ssl
        self._unix = unix
        self._watch: EpollWatch | LoopWatch | None = None
        self._transports: list[asyncio.Server] = []  # where the loop cannot watch sockets
        self._resuming: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> Sequence[Any]:
        """The listening sockets; empty once closed."""
        return tuple(self._listeners)

    def _new_event(self) -> asyncio.Event:
        return asyncio.Event()

    def _shield(self) -> AbstractContextManager[Any]:
        return nullcontext()  # asyncio tells of a cancellation once, and it was told

    # ------------------------------------------------------------------ accepting

    async def _start(self, backlog: int) -> None:
        if watches_sockets(self._loop):
            self._watch = hub(self._loop).watch(self._loop)
            self._watch.hold()
            self._resume()
            return
        options: dict[str, Any] = {"backlog": backlog}
        if self._ssl is not None:
            # The opening handshake includes that of TLS, and a close must not hang in it.
            options |= {
                "ssl": self._ssl,
                "ssl_handshake_timeout": self._service.open_timeout or 60.0,
                "ssl_shutdown_timeout": 5.0,
            }
        for listener in self._listeners:
            unix = listener.family == getattr(socket, "AF_UNIX", None)
            create = self._loop.create_unix_server if unix else self._loop.create_server
            self._transports.append(await create(self._new_transport, sock=listener, **options))

    def _new_transport(self) -> asyncio.Protocol:
        return TransportDriver(self._begin, server=self, on_gone=self._forget).as_protocol()

    def _resume(self) -> None:
        self._resuming = None
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _pause(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        found, trouble = accept(listener)
        for sock, peer in found:
            tls = None if self._ssl is None else Tls(self._ssl)
            driver = SocketDriver(
                sock, self._begin, peer=peer, tls=tls, server=self, on_gone=self._forget
            )
            driver.start()
            driver.on_ready(READ)  # as a rule the request is there already
        if trouble is not None and self._resuming is None:
            logger.error("out of system resource, accepting again in %g s: %s", _PAUSE, trouble)
            self._pause()
            self._resuming = self._loop.call_later(_PAUSE, self._resume)

    def _stop_listening(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        elif not self._transports:
            self._pause()
        if self._watch is not None:
            self._watch.release()
            self._watch = None
        for server in self._transports:
            server.close()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
            if self._unix is not None:
                unlink_unix(self._unix)


class _Serve:
    """What ``serve`` gives: await it, or use it as an asynchronous context manager."""

    def __init__(self, start: Callable[[], Awaitable[Server]]) -> None:
        self._start = start
        self._server: Server | None = None

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await self._server.close()


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
) -> _Serve:
    """Listen and run a view for each connection.

    ``views`` is a ``WebSocketView`` class that serves every path, or routes made by ``path``.
    ``host`` and ``port`` name a TCP address (port 0: a free one, see ``Server.port``; host
    ``None``: all interfaces); or give a listening ``sock``, or the path of a ``unix`` socket.
    ``ssl`` makes it ``wss``. ``on_request(request)`` sees every request first, plain GETs too, and
    returns ``None`` to go on, ``Accept`` to go on with particulars, or a ``Response``; it may be a
    coroutine function.

    Use ``async with serve(...) as server:`` or ``server = await serve(...)``. Raises ``OSError`` if
    the address is taken, ``NotImplementedError`` for a view that takes no messages.
    """
    service = Service(views, on_request)
    check_place(sock, unix)

    async def start() -> Server:
        if unix is not None:
            listeners = [listen_unix(unix, backlog)]
        elif sock is not None:
            sock.setblocking(False)
            sock.listen(backlog)
            listeners = [sock]
        else:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            listeners = listen_with(found, backlog)
        server = Server(service, listeners, ssl, unix)
        await server._start(backlog)
        return server

    return _Serve(start)
