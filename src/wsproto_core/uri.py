"""``ws://`` and ``wss://`` addresses (RFC 6455 section 3), and hosts with a port.

Text in, parts out. Nothing here resolves a name, connects, or knows what a header is.
Tests: ``tests/core/test_uri.py``, and section 1 of ``test_conformance_handshake.py``.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote

from .errors import LocalProtocolError

__all__ = ["InvalidUri", "Uri", "parse_uri", "shown_uri", "split_authority", "split_host_untrusted"]

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443, "http": 80, "https": 443}
"""The port that each scheme means when it names none (RFC 6455 section 3, RFC 9110 section 4.2)."""


class InvalidUri(LocalProtocolError, ValueError):
    """An address that is not a WebSocket URI: the caller's fault."""


@dataclass(frozen=True, slots=True)
class Uri:
    """A WebSocket URI in its parts. Made by ``parse_uri``."""

    secure: bool
    """Whether TLS comes first: the scheme was ``wss``."""

    host: str
    """What to connect to: a name (as A-labels) or an address, an IPv6 one without its brackets."""

    port: int
    """The TCP port, 1 to 65535."""

    target: str = "/"
    """The request target: the path, with the query if it is not empty; ASCII only."""

    user: str | None = None
    """The user name, percent-decoded. It is sent as ``Authorization``, never as part of an URI."""

    password: str | None = None
    """The password, percent-decoded; ``None`` if the URI has none."""

    @property
    def host_header(self) -> str:
        """The value of Host: brackets kept, the scheme's default port left out (RFC 6455 4.1)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_uri(text: str, *, allow_http: bool = False) -> Uri:
    """Take a WebSocket URI apart (RFC 6455 section 3).

    With ``allow_http`` the schemes http and https stand for ws and wss, as in browsers. Characters
    beyond ASCII become A-labels in the host and percent-encoded UTF-8 elsewhere (section 11.1.1);
    percent-encoding that is there already stays as it is. Raises ``InvalidUri``, which is also a
    ``ValueError``, and says which part is wrong.
    """
    if not isinstance(text, str):
        raise InvalidUri(f"expected a URI as str, got {type(text).__name__}")
    bad = _NEVER_IN_URI.search(text)
    if bad is not None:
        raise InvalidUri(
            f"expected a URI without spaces and control characters, got {bad.group()!a} "
            f"at position {bad.start()}"
        )
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    allowed = ("ws", "wss", "http", "https") if allow_http else ("ws", "wss")
    if not separator or scheme not in allowed:
        raise InvalidUri(f"expected a URI that starts with ws:// or wss://, got {shown_uri(text)}")
    if "#" in rest:
        raise InvalidUri(
            f"expected a URI without a fragment (RFC 6455 section 3; write %23 for a plain #), "
            f"got {shown_uri(text)}"
        )
    end = _AUTHORITY_END.search(rest)
    cut = end.start() if end is not None else len(rest)
    user, password, host, port = split_authority(rest[:cut], text)
    path, _, query = rest[cut:].partition("?")
    target = f"{path or '/'}?{query}" if query else path or "/"
    try:
        target = quote(target, safe=_VISIBLE)
    except UnicodeEncodeError:
        raise InvalidUri(f"expected Unicode text without surrogates, got {target[:60]!a}") from None
    return Uri(
        secure=scheme in ("wss", "https"),
        host=host,
        port=DEFAULT_PORTS[scheme] if port is None else port,
        target=target,
        user=user,
        password=password,
    )


def split_authority(authority: str, text: str) -> tuple[str | None, str | None, str, int | None]:
    """Take ``user:password@host:port`` of the address ``text`` apart.

    The host is in lower case and without brackets, the port ``None`` if it is absent. Raises
    ``InvalidUri``.
    """
    user, password, hostport = _split_user(authority)
    try:
        host, port = split_host_untrusted(_to_ascii(hostport))
    except ValueError as error:
        raise InvalidUri(f"{error} in the URI {shown_uri(text)}") from None
    if port == 0:
        raise InvalidUri(f"expected a port from 1 to 65535, got 0 in {shown_uri(text)}")
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise InvalidUri(f"expected an IPv6 address in brackets, got {host[:60]!a}") from None
    return user, password, host.lower(), port


def split_host_untrusted(text: str) -> tuple[str, int | None]:
    """Split ``host`` or ``host:port``: what stands in Host and in an Origin.

    Returns the host as written, an IPv6 literal with its brackets, and the port (``None`` if it is
    absent or empty). Raises ``ValueError`` for anything else, and for what the grammar of RFC 3986
    allows but no host name uses: percent-encoding and commas.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a host with an optional port, got {text[:60]!a}")
    digits = match.group(2)
    if not digits:
        return match.group(1), None
    port = int(digits)  # at most five ASCII digits, so says the pattern
    if port > 65535:
        raise ValueError(f"expected a port up to 65535, got {digits}")
    return match.group(1), port


# No part repeats within a part: matching is linear in the length of the text.
_HOST_PORT: Final = re.compile(
    r"([A-Za-z0-9._~!$&'()*+;=-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?"
)
_USER: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*")
_AUTHORITY_END: Final = re.compile(r"[/?]")
_NEVER_IN_URI: Final = re.compile(r"[\x00-\x20\x7f]")
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


def _split_user(authority: str) -> tuple[str | None, str | None, str]:
    """Split ``user:password@host:port``; the user information is percent-decoded."""
    information, at, hostport = authority.rpartition("@")
    if not at:
        return None, None, authority
    # A second @ or a backslash is where programs disagree about which part is the host.
    if _USER.fullmatch(information) is None:
        raise InvalidUri(
            "expected user information of URI characters, others percent-encoded, "
            "before the @ of the URI"
        )
    user, colon, password = information.partition(":")
    return unquote(user), unquote(password) if colon else None, hostport


def _to_ascii(hostport: str) -> str:
    """Turn an internationalised host into A-labels; a plain one stays as it is."""
    if hostport.isascii():
        return hostport
    host, colon, port = hostport.partition(":")
    try:
        return host.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        raise ValueError(
            f"expected a host name that has a form in ASCII, got {host[:60]!a}"
        ) from None


def shown_uri(text: str) -> str:
    """The address as it may stand in an error: bounded, escaped, and no password in it."""
    _, user_information, rest = text.rpartition("@")
    return ascii(f"...@{rest[:60]}" if user_information else text[:60])
