"""Connecting on trio: ``connect``. Tests: ``tests/bindings/test_contract.py``, ``test_trio.py``."""

import socket
import ssl as ssl_module
from collections.abc import Sequence
from typing import Any, TypeVar, overload

import trio

from wsproto_views import Dial, HeadersLike, check_place
from wsproto_views.socks import check_socks
from wsproto_views.stream_client import Connecting

from .runtime import runtime, wire_of
from .view import WebSocketView

__all__ = ["connect"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


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
    stream: trio.abc.Stream | None = ...,
    proxy: str | None = ...,
    nursery: trio.Nursery | None = ...,
    **settings: Any,
) -> Connecting[ViewT]: ...


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
    stream: trio.abc.Stream | None = ...,
    proxy: str | None = ...,
    nursery: trio.Nursery | None = ...,
    **settings: Any,
) -> Connecting[WebSocketView]: ...


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
    stream: trio.abc.Stream | None = None,
    proxy: str | None = None,
    nursery: trio.Nursery | None = None,
    **settings: Any,
) -> Connecting[Any]:
    """Connect to ``url`` (``ws://`` or ``wss://``).

    Without ``view`` the result is for ``send``, ``recv`` and ``async for``; with a subclass of
    ``WebSocketView`` its hooks run. ``async with connect(url) as ws:`` closes at the end, also when
    it is cancelled, and leaves no task behind.

    A connection needs tasks, and on trio these live in a nursery. ``async with`` has its own. With
    ``nursery`` they live in that one, and ``ws = await connect(url, nursery=nursery)`` leaves the
    closing to you; if the nursery is cancelled the connection closes with 1001. ``async for ws in
    connect(url, nursery=nursery):`` connects again and again, with random and growing delays, until
    you leave the loop; it raises only what another attempt would not change.

    ``headers`` are further request header fields, ``origin`` is a short form for one of them.
    ``ssl`` replaces the default context, which verifies the certificate and its name;
    ``server_hostname`` is the name to verify if it is not that of the URL. ``sock`` is a connected
    socket, ``unix`` the path of a Unix socket, ``stream`` a stream that is open already, TLS and
    all; the URL then gives Host and target only. ``proxy`` is the address of an HTTP or SOCKS
    proxy, such as ``http://user:password@host:3128`` or ``socks5h://host``; none is taken from the
    environment. Further keywords are settings of the view in lower case, such as
    ``ping_interval=5``.

    Raises ``HandshakeError`` (with the response) if the server or the proxy says no,
    ``TimeoutError`` after ``OPEN_TIMEOUT``, ``OSError`` if there is no connection, ``ssl.SSLError``
    for a bad certificate, ``LocalProtocolError`` or ``TypeError`` for arguments that cannot be
    meant, ``ImportError`` if a SOCKS proxy needs a package that is not installed.
    """
    check_place(sock, unix, proxy, stream)
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
    return Connecting(
        dial,
        runtime,
        ssl=ssl,
        server_hostname=server_hostname,
        sock=sock,
        unix=unix,
        wire=None if stream is None else lambda: wire_of(stream),
        nursery=nursery,
    )
