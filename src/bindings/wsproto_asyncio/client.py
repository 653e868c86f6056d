"""Connecting on asyncio: ``connect``.

Addresses and TLS; nothing of the protocol. Tests: ``tests/bindings/test_contract.py``,
``tests/bindings/test_asyncio.py``.
"""

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from wsproto_core import Session
from wsproto_views import Dial, HeadersLike, check_place

from .driver import Driver
from .view import WebSocketView

__all__ = ["connect"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


class _Connect(Generic[ViewT]):
    """What ``connect`` gives: await it, or use it as an asynchronous context manager."""

    def __init__(
        self,
        dial: Dial[ViewT],
        *,
        ssl: ssl_module.SSLContext | None,
        server_hostname: str | None,
        sock: socket.socket | None,
        unix: str | None,
    ) -> None:
        self._dial = dial
        self._view = dial.view
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._sock = sock
        self._unix = unix

    def __await__(self) -> Generator[Any, None, ViewT]:
        return self._open().__await__()

    async def __aenter__(self) -> ViewT:
        return await self._open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._view.close(1000 if error is None else 1011)
        await self._view._driver.settle(self._view._driver.is_released)

    async def _open(self) -> ViewT:
        loop = asyncio.get_running_loop()
        view = self._view
        # One deadline for all of it: name, TCP, TLS and the handshake.
        session = self._dial.begin(loop.time())

        def begin(driver: Driver) -> Session:
            view._attach(session, driver)
            return session

        timeout = asyncio.timeout(view.OPEN_TIMEOUT)
        try:
            async with timeout:
                driver = await self._connect(loop, begin)
        except TimeoutError:
            if not timeout.expired():
                raise  # the system's own
            raise self._dial.too_late() from None
        try:
            await driver.settle(session.is_settled)
        finally:
            if not view.initiated_upgrade:
                driver.abort()
        if not view.initiated_upgrade:
            await driver.settle(driver.is_released)
            raise session.failure()
        return view

    async def _connect(self, loop: asyncio.AbstractEventLoop, begin: Any) -> Driver:
        uri = self._dial.uri
        tls: dict[str, Any] = {}
        if uri.secure:
            tls = {
                "ssl": self._ssl if self._ssl is not None else ssl_module.create_default_context(),
                "server_hostname": self._server_hostname or uri.host,
                "ssl_shutdown_timeout": 5.0,
            }

        def factory() -> Driver:
            return Driver(begin)

        if self._unix is not None:
            _, driver = await loop.create_unix_connection(factory, self._unix, **tls)
        elif self._sock is not None:
            _, driver = await loop.create_connection(factory, sock=self._sock, **tls)
        else:
            _, driver = await loop.create_connection(
                factory, uri.host, uri.port, **tls
            )
        return driver


@overload
def connect(
    url: str,
    view: type[ViewT],
    *,
    subprotocols: Sequence[str] | None = ...,
    origin: str | None = ...,
    headers: HeadersLike = ...,
    ssl: ssl_module.SSLContext | None = ...,
    server_hostname: str | None = ...,
    sock: socket.socket | None = ...,
    unix: str | None = ...,
    **settings: Any,
) -> _Connect[ViewT]: ...


@overload
def connect(
    url: str,
    view: None = None,
    *,
    subprotocols: Sequence[str] | None = ...,
    origin: str | None = ...,
    headers: HeadersLike = ...,
    ssl: ssl_module.SSLContext | None = ...,
    server_hostname: str | None = ...,
    sock: socket.socket | None = ...,
    unix: str | None = ...,
    **settings: Any,
) -> _Connect[WebSocketView]: ...


def connect(
    url: str,
    view: type[WebSocketView] | None = None,
    *,
    subprotocols: Sequence[str] | None = None,
    origin: str | None = None,
    headers: HeadersLike = (),
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    sock: socket.socket | None = None,
    unix: str | None = None,
    **settings: Any,
) -> _Connect[Any]:
    """Connect to ``url`` (``ws://`` or ``wss://``).

    Without ``view`` the result is for ``send``, ``recv`` and ``async for``; with a subclass of
    ``WebSocketView`` its hooks run. ``async with connect(url) as ws:`` closes at the end;
    ``ws = await connect(url)`` leaves that to you.

    ``headers`` are further request header fields, ``origin`` is a short form for one of them.
    ``ssl`` replaces the default context, which verifies the certificate and its name;
    ``server_hostname`` is the name to verify if it is not that of the URL. ``sock`` is a connected
    socket, ``unix`` the path of a Unix socket; the URL then gives Host and target only. Further
    keywords are settings of the view in lower case, such as ``ping_interval=5``.

    Raises ``HandshakeError`` (with the response) if the server says no, ``TimeoutError`` after
    ``OPEN_TIMEOUT``, ``OSError`` if there is no connection, ``ssl.SSLError`` for a bad certificate,
    ``LocalProtocolError`` or ``TypeError`` for arguments that cannot be meant.
    """
    check_place(sock, unix)
    if subprotocols is not None:
        settings["subprotocols"] = subprotocols
    dial = Dial(
        url,
        view if view is not None else WebSocketView,
        headers=headers,
        origin=origin,
        tls=ssl is not None,
        settings=settings,
    )
    return _Connect(dial, ssl=ssl, server_hostname=server_hostname, sock=sock, unix=unix)
