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

from wsproto_core import Connection, Headers, Role, Session, parse_uri
from wsproto_core.headers import HeadersLike
from wsproto_views import UpgradeRequest, check_view
from wsproto_views.views import apply_settings

from .driver import Driver
from .view import WebSocketView

__all__ = ["connect"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


class _Connect(Generic[ViewT]):
    """What ``connect`` gives: await it, or use it as an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        view: type[ViewT],
        *,
        headers: HeadersLike,
        ssl: ssl_module.SSLContext | None,
        server_hostname: str | None,
        sock: socket.socket | None,
        unix: str | None,
        settings: dict[str, Any],
    ) -> None:
        self._uri = parse_uri(url)
        if ssl is not None and not self._uri.secure:
            raise ValueError(f"expected a wss:// address with ssl, got {url!r}")
        if sock is not None and unix is not None:
            raise ValueError("expected sock or unix, got both")
        self._headers = Headers(headers)
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._sock = sock
        self._unix = unix
        request = UpgradeRequest(
            self._uri.target,
            self._headers,
            host=self._uri.host_header,
            origin=self._headers.get("origin"),
        )
        self._view = view(request)
        apply_settings(self._view, settings)
        self._view._config()  # a wrong setting is an error here and now

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
        began = loop.time()

        def begin(driver: Driver) -> Session:
            connection = Connection(
                Role.CLIENT,
                view._config(),
                now=began,
                target=self._uri,
                headers=self._headers,
            )
            session = Session(connection, view._hooks())
            view._attach(session, driver)
            return session

        try:
            async with asyncio.timeout(view.OPEN_TIMEOUT):
                driver = await self._connect(loop, begin)
        except TimeoutError:
            raise TimeoutError(
                f"no connection to {self._uri.host_header} within {view.OPEN_TIMEOUT:g} s"
            ) from None
        try:
            await driver.settle(driver.session.is_settled)
        except asyncio.CancelledError:
            driver.abort()
            raise
        if not view.initiated_upgrade:
            raise driver.session.failure()
        return view

    async def _connect(self, loop: asyncio.AbstractEventLoop, begin: Any) -> Driver:
        tls: dict[str, Any] = {}
        if self._uri.secure:
            tls = {
                "ssl": self._ssl if self._ssl is not None else ssl_module.create_default_context(),
                "server_hostname": self._server_hostname or self._uri.host,
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
                factory, self._uri.host, self._uri.port, **tls
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
    if view is not None:
        check_view(view)
    extra = list(Headers(headers).raw)
    if origin is not None:
        extra.append(("Origin", origin))
    if subprotocols is not None:
        settings["subprotocols"] = subprotocols
    return _Connect(
        url,
        view if view is not None else WebSocketView,
        headers=extra,
        ssl=ssl,
        server_hostname=server_hostname,
        sock=sock,
        unix=unix,
        settings=settings,
    )
