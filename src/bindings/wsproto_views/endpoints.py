"""What listening and connecting have in common on every runtime: from a view to its session.

No runtime, no I/O: a binding brings the stream, the clock and the waiting.
Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_endpoints.py``.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from wsproto_core import (
    Accept,
    Config,
    Connection,
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
from wsproto_core.headers import HeadersLike

from .requests import UpgradeRequest
from .routes import Route, Router
from .views import AsyncDriver, AsyncView, apply_settings, check_view

__all__ = ["Answer", "Dial", "HeadersLike", "OnRequest", "ServerDriver", "Service", "check_place"]

ViewT = TypeVar("ViewT", bound=AsyncView)

Answer: TypeAlias = Accept | Response | None
"""What ``on_request`` may give: go on, go on with particulars, or refuse."""

OnRequest: TypeAlias = Callable[[UpgradeRequest], Awaitable[Answer] | Answer]
"""A server's hook for every request, plain GETs too."""


class ServerDriver(AsyncDriver, Protocol):
    """What a ``Service`` needs of a driver beside what a view needs."""

    peer: Any
    """The peer's address."""


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
        timeouts = [view.OPEN_TIMEOUT for view in self._router.views]
        # What counts until routing has found the view, whose own settings count from there on.
        self._config = Config(
            open_timeout=(
                None if None in timeouts else max(item for item in timeouts if item is not None)
            ),
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
        return [view for view in self._views.values() if view.is_open]

    def session(self, driver: ServerDriver) -> Session:
        """Make the session of an accepted stream."""
        on_request = self._on_request

        def gate(event: Request | HttpRequest) -> Awaitable[Answer] | Answer:
            assert on_request is not None
            return on_request(UpgradeRequest.from_event(event, driver.peer))

        def attach(view: ViewT) -> None:
            view._attach(session, driver)
            self._views[driver] = view

        def route(event: Request | HttpRequest) -> Target | Response:
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

    def __init__(
        self,
        url: str,
        view: type[ViewT],
        *,
        headers: HeadersLike,
        origin: str | None,
        tls: bool,
        settings: dict[str, Any],
    ) -> None:
        """``tls``: TLS settings were given. Raises ``InvalidUri``, ``ValueError`` or ``TypeError``
        for what cannot be meant, ``NotImplementedError`` for a view that takes no messages."""
        if "_is_library" not in vars(view):
            check_view(view)
        self.uri = parse_uri(url)
        if tls and not self.uri.secure:
            raise ValueError(f"expected a wss:// address with ssl, got {url!r}")
        lines = list(Headers(headers).raw)
        if origin is not None:
            lines.append(("Origin", origin))
        self._headers = Headers(lines)
        self.view = view(
            UpgradeRequest(
                self.uri.target,
                self._headers,
                host=self.uri.host_header,
                origin=self._headers.get("origin"),
            )
        )
        apply_settings(self.view, settings)
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
        return TimeoutError(
            f"no connection to {self.uri.host_header} within {self.view.OPEN_TIMEOUT:g} s"
        )


def check_place(sock: object, unix: object) -> None:
    """Refuse two places at once."""
    if sock is not None and unix is not None:
        raise ValueError("expected sock or unix, got both")
