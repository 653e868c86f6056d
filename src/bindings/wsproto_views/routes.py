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
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"  # as they are in a path (RFC 3986 section 3.3)


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
        if taken := {"self", "upgrade_request"}.intersection(names):
            raise ValueError(f"expected other names, __init__ uses {sorted(taken)}: {pattern!r}")
        self._names = names
        self._segments = [_segment_regex(segment) for segment in pattern.split("/")]

    def match(self, path: str) -> dict[str, str] | None:
        """The placeholders' values for a path as sent, percent-decoded; ``None``: no match."""
        # Cut first, decoded then, so that an encoded slash stays inside its segment.
        segments = path.split("/")
        if len(segments) != len(self._segments):
            return None
        values: dict[str, str] = {}
        for regex, segment in zip(self._segments, segments, strict=True):
            found = regex.fullmatch(unquote(segment))
            if found is None:
                return None
            values.update(found.groupdict())
        return values

    def url(self, **kwargs: object) -> str:
        """The path with each placeholder filled in, percent-encoded."""
        if set(kwargs) != set(self._names):
            raise ValueError(f"expected the names {self._names}, got {sorted(kwargs)}")
        if empty := [name for name in self._names if not str(kwargs[name])]:
            raise ValueError(f"expected values that are not empty, got nothing for {empty}")
        parts = _PLACEHOLDER.split(self.pattern)
        parts[0::2] = [quote(text, safe=_PATH_CHARACTERS) for text in parts[0::2]]
        parts[1::2] = [quote(str(kwargs[name]), safe="") for name in parts[1::2]]
        return "".join(parts)

    def __repr__(self) -> str:
        return f"<Route {self.pattern} {self.view.__name__}>"


def _segment_regex(segment: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(segment)
    parts[0::2] = [re.escape(text) for text in parts[0::2]]
    parts[1::2] = [f"(?P<{name}>.+)" for name in parts[1::2]]
    return re.compile("".join(parts), re.DOTALL)


def path(pattern: str, view: type[ViewT], *, name: str | None = None) -> Route[ViewT]:
    """Serve ``pattern`` with ``view``.

    ``<room>`` in the pattern matches one segment, or a part of one, and fills
    ``view.kwargs["room"]``. Pattern and values are plain text: paths as sent are percent-decoded.
    Raises ``ValueError`` for a pattern that cannot be read and ``NotImplementedError`` for a view
    that takes no messages.
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
            try:
                self.routes = tuple(views)
            except TypeError:
                self.routes = ()
            if not self.routes or not all(isinstance(item, Route) for item in self.routes):
                raise TypeError(f"expected a view class or routes made by path(...), got {views!r}")

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
