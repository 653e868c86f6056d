"""What listening and connecting have in common on every runtime: from a view to its session.

No runtime, no I/O: a binding brings the stream, the clock and the waiting.
Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_endpoints.py``.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from random import SystemRandom
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from wsproto_core import (
    Accept,
    Config,
    Connection,
    HandshakeError,
    Headers,
    HttpRequest,
    LocalProtocolError,
    Request,
    Response,
    Role,
    Session,
    Target,
    Uri,
    parse_uri,
)
from wsproto_core.backoff import Backoff
from wsproto_core.headers import HeadersLike
from wsproto_core.proxy import Proxy, Tunnel, parse_proxy

from .requests import UpgradeRequest
from .routes import Route, Router
from .views import BaseView, apply_settings, check_view

__all__ = ["Answer", "Dial", "HeadersLike", "OnRequest", "ServerDriver", "Service", "check_place"]

logger = logging.getLogger("wsproto_core")

ViewT = TypeVar("ViewT", bound=BaseView)

Answer: TypeAlias = Accept | Response | None
"""What ``on_request`` may give: go on, go on with particulars, or refuse."""

OnRequest: TypeAlias = Callable[[UpgradeRequest], Awaitable[Answer] | Answer]
"""A server's hook for every request, plain GETs too."""


class ServerDriver(Protocol):
    """What a ``Service`` needs of a driver, whatever its views need of it."""

    peer: Any
    """The peer's address."""

    def now(self) -> float:
        """Seconds of the runtime's monotonic clock."""


class Service(Generic[ViewT]):
    """What ``serve`` was given, and the views that live now."""

    def __init__(
        self,
        views: type[ViewT] | Route[ViewT] | Iterable[Route[ViewT]],
        on_request: OnRequest | None,
    ) -> None:
        """Raises ``TypeError`` or ``NotImplementedError`` for what cannot serve."""
        self._router = Router(views)
        self._on_request = on_request
        self._views: dict[ServerDriver, ViewT] = {}
        # What counts until routing has found the view, whose own settings count from there on.
        self._config = Config(
            open_timeout=_longest(view.OPEN_TIMEOUT for view in self._router.views),
            close_timeout=_longest(view.CLOSE_TIMEOUT for view in self._router.views),
            origins=("*",),
            plain_http=on_request is not None,
        )

    @property
    def open_timeout(self) -> float | None:
        """Seconds from the accepted stream to the 101, the TLS handshake included."""
        return self._config.open_timeout

    @property
    def open_views(self) -> list[ViewT]:
        """The views of the connections that are open now."""
        # A copy: other threads may come and go.
        return [view for view in list(self._views.values()) if view.is_open]

    def session(self, driver: ServerDriver) -> Session:
        """Make the session of an accepted stream."""
        on_request = self._on_request

        # In quotes, for annotations are evaluated with each def: longer than all else here.
        def gate(event: "Request | HttpRequest") -> "Awaitable[Answer] | Answer":
            assert on_request is not None
            return on_request(UpgradeRequest.from_event(event, driver.peer))

        def attach(view: "ViewT") -> None:
            view._attach(session, driver)
            self._views[driver] = view

        def route(event: "Request | HttpRequest") -> "Target | Response":
            return self._router.target(event, driver.peer, attach)

        connection = Connection(Role.SERVER, self._config, now=driver.now())
        session = Session(connection, gate=gate if on_request is not None else None, route=route)
        return session

    def forget(self, driver: ServerDriver) -> None:
        """The connection is over."""
        self._views.pop(driver, None)


class Dial(Generic[ViewT]):
    """What ``connect`` was given: checked, with its view made."""

    uri: Uri
    """Where to."""

    view: ViewT
    """The view, not connected yet."""

    proxy: Proxy | None
    """Through which proxy, if any."""

    def __init__(
        self,
        url: str,
        view: type[ViewT],
        *,
        headers: HeadersLike,
        origin: str | None,
        tls: bool,
        settings: dict[str, Any],
        proxy: str | None = None,
    ) -> None:
        """``tls``: TLS settings were given. Raises ``InvalidUri``, ``ValueError`` or ``TypeError``
        for what cannot be meant, ``NotImplementedError`` for a view that takes no messages."""
        cls: object = view
        if not (isinstance(cls, type) and "_is_library" in vars(cls)):
            check_view(cls)
        self.uri = parse_uri(url)
        if tls and not self.uri.secure:
            raise ValueError(f"expected a wss:// address with ssl, got {url!r}")
        lines = list(Headers(headers).raw)
        if origin is not None:
            lines.append(("Origin", origin))
        self._headers = Headers(lines)
        self.proxy = None if proxy is None else parse_proxy(proxy)
        self._view = view
        self._settings = settings
        self._backoff = Backoff(SystemRandom().random)
        self.renew()

    def renew(self) -> None:
        """Make a new view, for another connection to the same place."""
        self.view = self._view(
            UpgradeRequest(
                self.uri.target,
                self._headers,
                host=self.uri.host_header,
                origin=self._headers.get("origin"),
            )
        )
        apply_settings(self.view, self._settings)
        self._config = self.view._config()
        self._used = False

    def begin(self, now: float) -> Session:
        """Make the session, before there is a stream; the clock of ``OPEN_TIMEOUT`` starts here.

        Once. Raises ``LocalProtocolError`` for headers that cannot be sent.
        """
        if self._used:
            raise LocalProtocolError("connect(): this one was used before, expected a new one")
        connection = Connection(
            Role.CLIENT, self._config, now=now, target=self.uri, headers=self._headers
        )
        self._used = True
        return Session(connection, self.view._hooks())

    def too_late(self) -> TimeoutError:
        """What to raise if ``OPEN_TIMEOUT`` passed before there was a stream."""
        through = "" if self.proxy is None else f" through {self.proxy}"
        return TimeoutError(
            f"no connection to {self.uri.host_header}{through} within {self.view.OPEN_TIMEOUT:g} s"
        )

    # ------------------------------------------------------------------ through a proxy

    def tunnel(self) -> Tunnel:
        """The tunnel to ask an HTTP proxy for."""
        assert self.proxy is not None
        return Tunnel(self.proxy, self.uri, self._config)

    def proxy_refused(self, why: Exception) -> HandshakeError:
        """What to raise if a SOCKS proxy does not connect."""
        return HandshakeError(
            f"the proxy {self.proxy} does not connect to {self.uri.host_header}: {why}"
        )

    def check_tail(self, tail: bytes) -> None:
        """Refuse what comes out of a tunnel before TLS began: a server never speaks first there."""
        if tail and self.uri.secure:
            raise HandshakeError(
                f"expected nothing from {self.uri.host_header} before TLS, "
                f"got {len(tail)} bytes behind the answer of the proxy"
            )

    # ------------------------------------------------------------------ again and again

    def opened(self, now: float) -> None:
        """The connection is open."""
        self._backoff.opened(now)

    def retry_in(self, now: float, error: Exception | None = None) -> float | None:
        """Seconds until the next attempt; ``None``: raise ``error``, another would not help.

        ``error`` is what kept the connection from opening; without one it was open.
        """
        delay = self._backoff.delay(now, error)
        if delay is not None:
            why = "the connection is over" if error is None else error
            logger.info("%s: %s; next attempt in %.1f s", self.uri.host_header, why, delay)
            self.renew()
        return delay


def _longest(timeouts: Iterable[float | None]) -> float | None:
    """The longest of several timeouts; ``None`` is for ever."""
    known = list(timeouts)
    return None if None in known else max(item for item in known if item is not None)


def check_place(sock: object, unix: object, proxy: object = None, stream: object = None) -> None:
    """Refuse two places at once."""
    given = {"sock": sock, "unix": unix, "proxy": proxy, "stream": stream}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"expected one of sock, unix and proxy, got {' and '.join(names)}")
