"""Proxies for clients: their addresses, and the tunnel through an HTTP proxy (CONNECT).

``Tunnel`` is sans-IO: the bytes of the CONNECT out, the proxy's answer in, until the stream belongs
to the server behind it. It must not know the WebSocket that goes through, nor how bytes travel.
SOCKS is spoken by a package of others, in the bindings. Tests: ``tests/core/test_proxy.py``.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from .config import Config
from .errors import HandshakeError
from .headers import Headers, RequestHead, Response
from .http11 import ResponseReader, write_request
from .uri import InvalidUri, Uri, shown_uri, split_authority

__all__ = ["Proxy", "Tunnel", "parse_proxy"]

DEFAULT_PORTS: Final = {
    "http": 80,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
"""The schemes of proxies, and the port that each means when the address names none."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of a proxy in its parts. Made by ``parse_proxy``."""

    scheme: str
    """``http``, or ``socks4``, ``socks4a``, ``socks5``, ``socks5h``; those with a letter behind
    have the proxy resolve names."""

    host: str
    """A name (as A-labels) or an address, an IPv6 one without its brackets."""

    port: int
    """The TCP port, 1 to 65535."""

    user: str | None = None
    """The user name, percent-decoded."""

    password: str | None = None
    """The password, percent-decoded."""

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS instead of HTTP."""
        return self.scheme != "http"

    @property
    def resolves_names(self) -> bool:
        """Whether it is given names to resolve; else the client resolves them."""
        return self.scheme in ("http", "socks4a", "socks5h")

    def __str__(self) -> str:
        """The address without its credentials, as it may be shown."""
        return f"{self.scheme}://{_authority(self.host, self.port)}"


def parse_proxy(text: str) -> Proxy:
    """Take the address of a proxy apart: ``scheme://user:password@host:port``.

    Raises ``InvalidUri``, which is also a ``ValueError``, and never shows the password.
    """
    if not isinstance(text, str):
        raise InvalidUri(f"expected the address of a proxy as str, got {type(text).__name__}")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise InvalidUri(
            f"expected a proxy that starts with one of {', '.join(DEFAULT_PORTS)} and ://, "
            f"got {shown_uri(text)}"
        )
    user, password, host, port = split_authority(rest.removesuffix("/"), text)
    if user is not None and ":" in user:
        # Basic has no way to say it (RFC 7617 section 2), and SOCKS needs none.
        raise InvalidUri("expected a user name without a colon in the address of the proxy")
    return Proxy(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, user, password)


class Tunnel:
    """A tunnel through an HTTP proxy (RFC 9110 section 9.3.6), for one connection.

    Send ``request``, feed what comes to ``receive_data`` until it gives true, then hand ``tail``
    and the stream to whoever speaks with the server.
    """

    request: bytes
    """The CONNECT to send, first of all."""

    tail: bytes
    """What came behind the proxy's answer: it belongs to the tunnel. Empty until then."""

    def __init__(self, proxy: Proxy, uri: Uri, config: Config) -> None:
        """``uri``: the server to reach; of ``config`` the limits of HTTP heads count."""
        target = _authority(uri.host, uri.port)
        fields = [("Host", target)]
        if proxy.user is not None:
            credentials = f"{proxy.user}:{proxy.password or ''}".encode()
            fields.append(("Proxy-Authorization", f"Basic {b64encode(credentials).decode()}"))
        self.request = write_request(RequestHead("CONNECT", target, Headers(fields)))
        self.tail = b""
        self._proxy = proxy
        self._reader = ResponseReader(config, tunnel=True)

    def receive_data(self, data: bytes) -> bool:
        """Take bytes of the proxy; whether the tunnel is there.

        Raises ``HandshakeError``, with the response if it is a refusal. Not to be called again
        after true or an error.
        """
        response = self._reader.feed(data)
        if response is None:
            return False
        if not 200 <= response.status <= 299:
            raise self._refusal(response)
        self.tail = self._reader.tail
        return True

    def receive_eof(self) -> HandshakeError:
        """Take the end of the stream before the tunnel was there; gives what to raise."""
        response = self._reader.eof()
        if response is not None:  # a refusal whose body ends here
            return self._refusal(response)
        return HandshakeError(f"the proxy {self._proxy} ended the stream without an answer")

    def _refusal(self, response: Response) -> HandshakeError:
        return HandshakeError(
            f"expected a 2xx status from the proxy {self._proxy}, got {response.status}", response
        )


def _authority(host: str, port: int) -> str:
    """Host and port as CONNECT names them: the port always (RFC 9112 section 3.2.3)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
