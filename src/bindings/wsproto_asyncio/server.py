"""Listening on asyncio: ``serve`` and ``Server``.

Addresses, TLS and the set of live connections; nothing of the protocol.
Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, TypeAlias

from wsproto_views import OnRequest, Route, Service, check_place
from wsproto_views.serving import AsyncServer
from wsproto_views.sockets import ACCEPTS

from .driver import Driver
from .view import WebSocketView

__all__ = ["Server", "serve"]

Views: TypeAlias = type[WebSocketView] | Route[WebSocketView] | Iterable[Route[WebSocketView]]


class Server(AsyncServer[WebSocketView]):
    """A listening server and its live connections. Made by ``serve``."""

    _listener: asyncio.Server | None = None

    @property
    def sockets(self) -> Sequence[Any]:
        """The listening sockets; empty once closed."""
        return tuple(self._listener.sockets) if self._listener is not None else ()

    def _new_event(self) -> asyncio.Event:
        return asyncio.Event()

    def _shield(self) -> AbstractContextManager[Any]:
        return nullcontext()  # asyncio tells of a cancellation once, and it was told

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _new_driver(self) -> Driver:
        return Driver(self._begin, server=self, on_gone=self._forget)


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
        server = Server(service)
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if ssl is not None:
            # The opening handshake includes that of TLS, and a close must not hang in it.
            options = {
                "ssl": ssl,
                "ssl_handshake_timeout": service.open_timeout or 60.0,
                "ssl_shutdown_timeout": 5.0,
            }
        # asyncio takes this for two things: how many may wait in the kernel, and how often it tries
        # to accept in one turn. Without descriptors each try is logged, so they are told apart.
        turns = isinstance(loop, asyncio.SelectorEventLoop)
        options["backlog"] = min(backlog, ACCEPTS) if turns else backlog
        if unix is not None:
            listener = await loop.create_unix_server(server._new_driver, unix, **options)
        elif sock is not None:
            listener = await loop.create_server(server._new_driver, sock=sock, **options)
        else:
            listener = await loop.create_server(server._new_driver, host, port, **options)
        server._listener = listener
        if turns:
            for item in listener.sockets:
                with item.dup() as same:
                    same.listen(backlog)
        return server

    return _Serve(start)
