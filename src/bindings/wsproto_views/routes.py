"""Routing: which view serves a path.

``path("/ws/room/<room>", Room, name="room")`` matches one segment for each placeholder and passes
it as a keyword. Pure: no runtime, no I/O. Tests: ``tests/bindings/test_routes.py``.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from wsproto_core import Headers, HttpRequest, Request, Response, Target

from .requests import UpgradeRequest
from .views import BaseView, check_view

__all__ = ["Route", "Router", "path"]

ViewT = TypeVar("ViewT", bound=BaseView)

_PLACEHOLDER = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")


class Route(Generic[ViewT]):
    """One pattern and the view class that serves it. Made by ``path``."""

    def __init__(self, pattern: str, view: type[ViewT], name: str | None = None) -> None:
        if not pattern.startswith("/"):
            raise ValueError(f"expected a pattern that starts with '/', got {pattern!r}")
        check_view(view)
        self.pattern = pattern
        self.view = view
        self.name = name
        parts = _PLACEHOLDER.split(pattern)
        names = parts[1::2]
        for text in parts[0::2]:
            if "<" in text or ">" in text:
                raise ValueError(f"expected placeholders like <room>, got {pattern!r}")
        if len(set(names)) != len(names):
            raise ValueError(f"expected each placeholder once, got {pattern!r}")
        self._names = names
        # Matched against the path as sent, so that an encoded slash stays inside its segment.
        self._regex = re.compile(
            "".join(
                f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
                for index, part in enumerate(parts)
            )
        )

    def match(self, path: str) -> dict[str, str] | None:
        """The placeholders' values for a path as sent, percent-decoded; ``None``: no match."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items()}

    def url(self, **kwargs: object) -> str:
        """The path with each placeholder filled in and percent-encoded."""
        if set(kwargs) != set(self._names):
            raise ValueError(f"expected the names {self._names}, got {sorted(kwargs)}")
        return _PLACEHOLDER.sub(
            lambda found: quote(str(kwargs[found.group(1)]), safe=""), self.pattern
        )

    def __repr__(self) -> str:
        return f"<Route {self.pattern} {self.view.__name__}>"


def path(pattern: str, view: type[ViewT], *, name: str | None = None) -> Route[ViewT]:
    """Serve ``pattern`` with ``view``.

    ``<room>`` in the pattern matches one segment and fills ``view.kwargs["room"]``,
    percent-decoded. Raises ``ValueError`` for a pattern that cannot be read and
    ``NotImplementedError`` for a view that takes no messages.
    """
    return Route(pattern, view, name)


class Router(Generic[ViewT]):
    """What ``serve`` was given: one view for every path, or routes tried in order."""

    def __init__(self, views: type[ViewT] | Route[ViewT] | Iterable[Route[ViewT]]) -> None:
        self.routes: Sequence[Route[ViewT]]
        self._single: type[ViewT] | None = None
        if isinstance(views, type):
            check_view(views)
            self._single = views
            self.routes = ()
        elif isinstance(views, Route):
            self.routes = (views,)
        else:
            self.routes = tuple(views)
            if not self.routes or not all(isinstance(item, Route) for item in self.routes):
                raise TypeError(
                    f"expected a view class or routes made by path(...), got {list(self.routes)!r}"
                )

    @property
    def views(self) -> tuple[type[ViewT], ...]:
        """Every view class that may serve."""
        if self._single is not None:
            return (self._single,)
        return tuple(route.view for route in self.routes)

    def target(
        self,
        event: Request | HttpRequest,
        client_address: Any,
        attach: Callable[[ViewT], None],
    ) -> Target | Response:
        """Make the view that serves ``event``; ``attach`` gets it before its hooks are read.

        A 404 for an unknown path. A plain GET of a known path has no view: its ``refusal`` stands.
        """
        found: tuple[type[ViewT], dict[str, str]] | None = None
        if self._single is not None:
            found = self._single, {}
        else:
            sent_path = event.target.partition("?")[0]
            for route in self.routes:
                kwargs = route.match(sent_path)
                if kwargs is not None:
                    found = route.view, kwargs
                    break
        if found is None:
            return _not_found(event.target)
        if isinstance(event, HttpRequest):
            return event.refusal
        cls, kwargs = found
        view = cls(UpgradeRequest.from_event(event, client_address), **kwargs)
        view.kwargs = {**view.kwargs, **kwargs}
        attach(view)
        return Target(view._hooks(), view._config())


def _not_found(target: str) -> Response:
    shown = target.encode("ascii", "backslashreplace").decode()[:200]
    body = f"404 Not Found: expected the path of a WebSocket view, got {shown}\n".encode()
    return Response(404, Headers([("Content-Type", "text/plain; charset=utf-8")]), body)
