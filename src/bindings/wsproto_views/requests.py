"""``UpgradeRequest``: the opening request as views and ``on_request`` see it.

Read-only, made from the core's event or from what a client asked for. Tests:
``tests/bindings/test_requests.py``.
"""

from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

from wsproto_core import Headers, HttpRequest, Request

__all__ = ["UpgradeRequest"]

_QUOTING: SimpleCookie = SimpleCookie()  # knows how a quoted value is read


class UpgradeRequest:
    """The request that opened the connection, or a plain HTTP GET given to ``on_request``."""

    method: str
    """Always ``GET``."""

    target: str
    """Path and query as sent, percent-encoded."""

    headers: Headers
    """The header fields: names without regard to case, repeated lines kept."""

    host: str
    """The authority asked for."""

    origin: str | None
    """The Origin field, or ``None``."""

    subprotocols: tuple[str, ...]
    """Offered by the client, in its order."""

    client_address: Any
    """Where the peer is: ``(host, port, ...)`` for TCP, a path for a Unix socket, or ``None``."""

    is_upgrade: bool
    """Whether it asks for a WebSocket; false for a plain GET."""

    def __init__(
        self,
        target: str,
        headers: Headers,
        *,
        host: str = "",
        origin: str | None = None,
        subprotocols: tuple[str, ...] = (),
        client_address: Any = None,
        is_upgrade: bool = True,
    ) -> None:
        self.method = "GET"
        self.target = target
        self.headers = headers
        self.host = host
        self.origin = origin
        self.subprotocols = subprotocols
        self.client_address = client_address
        self.is_upgrade = is_upgrade

    @classmethod
    def from_event(
        cls, event: Request | HttpRequest, client_address: Any = None
    ) -> "UpgradeRequest":
        """Wrap what the core tells."""
        if isinstance(event, Request):
            return cls(
                event.target,
                event.headers,
                host=event.host,
                origin=event.origin,
                subprotocols=event.subprotocols,
                client_address=client_address,
            )
        return cls(
            event.target,
            event.headers,
            host=event.host,
            origin=event.headers.get("origin"),
            client_address=client_address,
            is_upgrade=False,
        )

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded, without the query."""
        return unquote(self.target.partition("?")[0])

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters, each with its values in order."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies by name. Of two with one name the first counts: its path is the longer one
        (RFC 6265 section 5.4). What is no ``name=value`` is passed over."""
        # Not SimpleCookie.load(): one odd cookie makes it lose them all, and it takes names such as
        # "path" for attributes, which a request has not.
        cookies: dict[str, str] = {}
        for line in self.headers.get_all("cookie"):
            for pair in line.split(";"):
                name, equals, value = pair.partition("=")
                if equals and name.strip():
                    cookies.setdefault(name.strip(), _QUOTING.value_decode(value.strip())[0])
        return cookies

    def __repr__(self) -> str:
        return f"<UpgradeRequest {self.method} {self.target}>"
