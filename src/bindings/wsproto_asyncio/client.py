"""Connecting on asyncio: ``connect``.

Addresses and TLS; nothing of the protocol. Tests: ``tests/bindings/test_contract.py``,
``tests/bindings/test_asyncio.py``.
"""

import asyncio
import socket
import ssl as ssl_module
from collections.abc import AsyncIterator, Generator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from wsproto_core import Session
from wsproto_views import Dial, HeadersLike, check_place
from wsproto_views.sockets import ready
from wsproto_views.socks import check_socks
from wsproto_views.tls import Tls, client_context

from .dial import open_socket
from .driver import Driver
from .sockets import SocketDriver, watches_sockets
from .transports import TransportDriver
from .view import WebSocketView

__all__ = ["connect"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


class _Connect(Generic[ViewT]):
    """What ``connect`` gives: await it, enter it, or iterate over connections, one at a time."""

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
        await self._end(1000 if error is None else 1011)

    async def __aiter__(self) -> AsyncIterator[ViewT]:
        """Connect, and again whenever the connection is over; see ``connect``."""
        dial, now = self._dial, asyncio.get_running_loop().time
        if self._sock is not None:
            raise ValueError("expected an address to connect to again and again, got a socket")
        while True:
            try:
                view = await self._open()
            except Exception as error:
                delay = dial.retry_in(now(), error)
                if delay is None:
                    raise
            else:
                dial.opened(now())
                try:
                    yield view
                finally:
                    await self._end(1000)
                delay = dial.retry_in(now())
                assert delay is not None
            await asyncio.sleep(delay)

    async def _end(self, code: int) -> None:
        """Close, and return when everything is let go of."""
        view = self._dial.view
        await view.close(code)
        await view._driver.settle(view._driver.is_released)

    async def _open(self) -> ViewT:
        loop = asyncio.get_running_loop()
        view = self._dial.view
        # One deadline for all of it: name, TCP, TLS and the handshake.
        session = self._dial.begin(loop.time())

        timeout = asyncio.timeout(view.OPEN_TIMEOUT)
        try:
            async with timeout:
                driver = await self._connect(loop, session)
        except TimeoutError:
            if not timeout.expired():
                raise  # the system's own
            raise self._dial.too_late() from None
        try:
            await driver.settle(session.is_settled)
        except BaseException:
            driver.abort()  # it may have opened at the last moment, and nobody would have it
            raise
        if not view.initiated_upgrade:
            driver.abort()
            await driver.settle(driver.is_released)
            raise session.failure()
        return view

    async def _connect(self, loop: asyncio.AbstractEventLoop, session: Session) -> Driver:
        uri, view = self._dial.uri, self._dial.view
        context = client_context(self._ssl) if uri.secure else None
        hostname = self._server_hostname or uri.host
        sock, tail = self._sock, b""
        if sock is not None:
            ready(sock)
        elif self._unix is not None:
            sock = await _open_unix(loop, self._unix)
        else:
            sock, tail = await open_socket(self._dial)
            ready(sock)

        def begin(driver: Driver) -> Session:
            view._attach(session, driver)
            return session

        if watches_sockets(loop):
            tls = None if context is None else Tls(context, server_hostname=hostname)
            driver = SocketDriver(sock, begin, tls=tls)
            driver.start(tail)
            driver.publish()
            return driver
        options: dict[str, Any] = {}
        if context is not None:
            options = {"ssl": context, "server_hostname": hostname, "ssl_shutdown_timeout": 5.0}
        other = TransportDriver(begin)
        await _hand_over(loop, sock, other, options)
        if tail:
            other.data_received(tail)  # nothing was read from the socket yet
        return other


async def _hand_over(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    driver: TransportDriver,
    options: dict[str, Any],
) -> None:
    """Give ``sock`` to a transport of the loop's."""
    closed = False
    try:
        transport, _ = await loop.create_connection(driver.as_protocol, sock=sock, **options)
        closed = transport.is_closing()
    except (OSError, asyncio.CancelledError):
        closed = True
        driver.forget()
        raise
    finally:
        # If the first write fails, libuv has closed the descriptor before uvloop tells the socket
        # that it is not its own any more. The socket would close it again: another's by then.
        if closed and type(loop).__module__ == "uvloop":
            sock.detach()


async def _open_unix(loop: asyncio.AbstractEventLoop, place: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


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
    proxy: str | None = ...,
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
    proxy: str | None = ...,
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
    proxy: str | None = None,
    **settings: Any,
) -> _Connect[Any]:
    """Connect to ``url`` (``ws://`` or ``wss://``).

    Without ``view`` the result is for ``send``, ``recv`` and ``async for``; with a subclass of
    ``WebSocketView`` its hooks run. ``async with connect(url) as ws:`` closes at the end;
    ``ws = await connect(url)`` leaves that to you. ``async for ws in connect(url):`` connects again
    and again, with random and growing delays, until you leave the loop; it raises only what another
    attempt would not change.

    ``headers`` are further request header fields, ``origin`` is a short form for one of them.
    ``ssl`` replaces the default context, which verifies the certificate and its name;
    ``server_hostname`` is the name to verify if it is not that of the URL. ``sock`` is a connected
    socket, ``unix`` the path of a Unix socket; the URL then gives Host and target only. ``proxy``
    is the address of an HTTP or SOCKS proxy, such as ``http://user:password@host:3128`` or
    ``socks5h://host``; none is taken from the environment. Further keywords are settings of the
    view in lower case, such as ``ping_interval=5``.

    Raises ``HandshakeError`` (with the response) if the server or the proxy says no,
    ``TimeoutError`` after ``OPEN_TIMEOUT``, ``OSError`` if there is no connection, ``ssl.SSLError``
    for a bad certificate, ``LocalProtocolError`` or ``TypeError`` for arguments that cannot be
    meant, ``ImportError`` if a SOCKS proxy needs a package that is not installed.
    """
    check_place(sock, unix, proxy)
    if subprotocols is not None:
        settings["subprotocols"] = subprotocols
    dial = Dial(
        url,
        view if view is not None else WebSocketView,
        headers=headers,
        origin=origin,
        tls=ssl is not None,
        settings=settings,
        proxy=proxy,
    )
    if dial.proxy is not None and dial.proxy.is_socks:
        check_socks()
    return _Connect(dial, ssl=ssl, server_hostname=server_hostname, sock=sock, unix=unix)
