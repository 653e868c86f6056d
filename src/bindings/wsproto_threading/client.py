"""Connecting on threads: ``connect``.

Addresses and TLS; nothing of the protocol. Tests: ``tests/bindings/test_endpoints.py``,
``tests/bindings/test_threading.py``.
"""

import socket
import ssl as ssl_module
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from wsproto_core import Session
from wsproto_views import Dial, HeadersLike, check_place
from wsproto_views.sockets import begin_unix
from wsproto_views.socks import check_socks

from .dial import Late, open_socket, secure
from .driver import Driver
from .stream import Stream
from .view import WebSocketView

__all__ = ["connect"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


class _Connect(Generic[ViewT]):
    """What ``connect`` gives: enter it, ``open`` it, or iterate over connections, one at a time."""

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

    def open(self) -> ViewT:
        """Connect, once; closing is left to you."""
        dial, view = self._dial, self._dial.view
        # One deadline for all of it: name, TCP, TLS and the handshake.
        begun = time.monotonic()
        session = dial.begin(begun)
        timeout = view.OPEN_TIMEOUT
        try:
            driver = self._connect(session, None if timeout is None else begun + timeout)
        except Late:
            raise dial.too_late() from None
        try:
            with driver.lock:
                driver.settle(session.is_settled)
        finally:
            if not view.initiated_upgrade:
                driver.abort()
        if not view.initiated_upgrade:
            _await_release(driver)
            raise session.failure()
        return view

    def __enter__(self) -> ViewT:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(1000 if error is None else 1011)

    def __iter__(self) -> Iterator[ViewT]:
        """Connect, and again whenever the connection is over; see ``connect``."""
        dial, now = self._dial, time.monotonic
        if self._sock is not None:
            raise ValueError("expected an address to connect to again and again, got a socket")
        while True:
            try:
                view = self.open()
            except Exception as error:
                delay = dial.retry_in(now(), error)
                if delay is None:
                    raise
            else:
                dial.opened(now())
                try:
                    yield view
                finally:
                    self._end(1000)
                delay = dial.retry_in(now())
                assert delay is not None
            time.sleep(delay)

    def _end(self, code: int) -> None:
        """Close, and return when everything is let go of."""
        view = self._dial.view
        view.close(code)
        _await_release(view._driver)

    def _connect(self, session: Session, until: float | None) -> Driver:
        uri, view = self._dial.uri, self._dial.view
        tail = b""
        if self._unix is not None:
            sock = begin_unix(self._unix)
        elif self._sock is not None:
            sock = self._sock
        else:
            sock, tail = open_socket(self._dial, until)
        if uri.secure:
            context = self._ssl if self._ssl is not None else ssl_module.create_default_context()
            stream = secure(sock, context, self._server_hostname or uri.host, until)
        else:
            stream = Stream(sock)

        def begin(driver: Driver) -> Session:
            view._attach(session, driver)
            return session

        try:
            driver = Driver(stream, begin)
        except BaseException:
            stream.close()
            raise
        if tail:
            driver.feed(tail)
        driver.start()
        return driver


def _await_release(driver: Any) -> None:
    with driver.lock:
        driver.settle(driver.is_released)


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

    Without ``view`` the result is for ``send``, ``recv`` and ``for``; with a subclass of
    ``WebSocketView`` its hooks run, in a thread of the connection's own. ``with connect(url) as
    ws:`` closes at the end; ``ws = connect(url).open()`` leaves that to you. ``for ws in
    connect(url):`` connects again and again, with random and growing delays, until you leave the
    loop; it raises only what another attempt would not change.

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
