"""What an extension is, and the grammar of ``Sec-WebSocket-Extensions`` (RFC 6455 section 9).

An ``Extension`` is a setting: it makes offers, judges them, and checks what was answered. An
``Agreed`` is the outcome for one connection, and makes its ``Codec``: the thing that sees payloads.
This file must not know any extension, frames, heads or connections; which extensions of a
connection go together is decided in ``handshake.py``.
Tests: ``tests/core/test_extensions.py``.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from ..enums import Role
from ..events import Offer
from ..headers import TOKEN_CHARS

__all__ = [
    "Agreed",
    "Codec",
    "Extension",
    "Params",
    "Preparer",
    "format_extensions",
    "parse_extensions",
]

Params: TypeAlias = tuple[tuple[str, str | None], ...]
"""Parameters in their order; the value is ``None`` where there is none."""


class Codec(Protocol):
    """What one extension does to the payloads of one connection.

    It sees whole messages in pieces of any size, never a frame header, and no control frames. After
    an error of ``decode`` the connection fails and the codec is not used again.
    """

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        """Change the next piece of an outgoing message.

        ``opcode`` is that of the message (1 or 2), ``first`` and ``final`` say whether the piece
        begins or ends it, ``compress`` is the caller's wish (``None``: as the codec sees fit).
        Returns the payload to send and the RSV bits to set, which count only with ``first``.
        """

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        """Undo the change, for the next piece of an incoming message.

        The piece may be cut anywhere, it need not be a frame. ``rsv`` holds this codec's bits of
        the message's first frame. Gives slices of at most 64 KiB.

        Raises ``PayloadTooBig`` as soon as this message would grow past ``limit`` bytes (of the
        whole message, counted by the codec; -1: no limit), ``ExtensionError`` for data that cannot
        be decoded: both are the peer's fault.
        """

    def idle(self) -> None:
        """Nothing was sent or received for a while: drop what can be made again."""


class Preparer(Codec, Protocol):
    """A codec that prepared messages pass through once for many connections.

    A codec need not be one: without ``prepared_as``, messages are encoded for each connection.
    """

    @property
    def prepared_as(self) -> Hashable:
        """What its output depends on beside the messages before: where it is equal, two codecs that
        have encoded nothing yet encode a message alike. Begins with the extension's name, so that
        no other codec's is equal."""

    def forget_sent(self) -> None:
        """Encode the next message as if it were the first. Called between messages only."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides settled for one extension on one connection."""

    parameters: Params
    """As they stand in the response, in that order."""

    codec: Callable[[Role], Codec]
    """Makes the codec; the role is ours."""


class Extension(Protocol):
    """The settings of one extension: immutable, shared by all connections of a server or client."""

    @property
    def name(self) -> str:
        """The registered name, compared exactly: a token."""

    @property
    def rsv(self) -> int:
        """The header bits it claims: a mask within 0x70 (0x40 is RSV1), or 0."""

    def offers(self) -> Sequence[Params]:
        """Client: what to offer, best first. Each becomes one element of the header."""

    def accept(self, offer: Params) -> Agreed | None:
        """Server: agree to one offer, or ``None`` to decline it (then the next one is tried).

        Never raises for what the peer sent: an offer that cannot be understood is declined.
        """

    def confirm(self, offers: Sequence[Params], answer: Params) -> Agreed:
        """Client: check the server's answer against our offers.

        Raises ``ExtensionError`` if the answer is none that the offers allow: the server's fault.
        """


def parse_extensions(values: Sequence[str]) -> tuple[Offer, ...]:
    """Read the lines of ``Sec-WebSocket-Extensions`` as one list (RFC 6455 section 9.1).

    One pass, linear in the size. Empty elements are skipped (RFC 9110 section 5.6.1), white space
    is allowed around ``,`` ``;`` and ``=``, quoted values are given without quotes and escapes.
    Raises ``ValueError`` if the grammar is broken or the list has no element: the peer's fault.
    """
    offers: list[Offer] = []
    for value in values:
        _parse_line_untrusted(value, offers)
    if not offers:
        raise ValueError("expected at least one extension name, got an empty list")
    return tuple(offers)


def format_extensions(offers: Iterable[Offer | tuple[str, Params]]) -> str:
    """Write extensions as one header value. The names and values must be tokens already."""
    return ", ".join(
        str(offer if isinstance(offer, Offer) else Offer(offer[0], offer[1])) for offer in offers
    )


# Ends every line, so that the scanners need not test for the end. No pattern matches it.
_END: Final = "\0"

# Flat patterns without alternatives to go back to: each is linear, and so are all together.
_TOKEN: Final = re.compile(f"([{re.escape(''.join(sorted(TOKEN_CHARS)))}]+)[ \t]*")
_SPACE: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"[ \t,]*")


def _parse_line_untrusted(value: str, offers: list[Offer]) -> None:
    text = value + _END
    last = len(value)
    at = _skip(_BETWEEN, text, 0)
    while at < last:
        name, at = _token_untrusted(text, at, "an extension name")
        parameters: list[tuple[str, str | None]] = []
        while text[at] == ";":
            key, at = _token_untrusted(text, _skip(_SPACE, text, at + 1), "a parameter name")
            argument: str | None = None
            if text[at] == "=":
                at = _skip(_SPACE, text, at + 1)
                if text[at] == '"':
                    argument, at = _quoted_untrusted(text, at + 1)
                else:
                    argument, at = _token_untrusted(text, at, "a parameter value")
            parameters.append((key, argument))
        if at != last and text[at] != ",":
            raise _unexpected(text, at, "',' or ';'")
        offers.append(Offer(name, tuple(parameters)))
        at = _skip(_BETWEEN, text, at)


def _token_untrusted(text: str, at: int, what: str) -> tuple[str, int]:
    """Return the token at ``at``, and where the text goes on after white space."""
    match = _TOKEN.match(text, at)
    if match is None:
        raise _unexpected(text, at, what)
    return match[1], match.end()


def _quoted_untrusted(text: str, at: int) -> tuple[str, int]:
    """Return the value whose opening quote is just before ``at``, and where the text goes on.

    The value must be a token once the escapes are undone (RFC 6455 section 9.1), so the first
    character that cannot be in one ends the search.
    """
    characters: list[str] = []
    while text[at] != '"':
        if text[at] == "\\":
            at += 1
        if text[at] not in TOKEN_CHARS:
            raise _unexpected(text, at, "a token and the closing quote")
        characters.append(text[at])
        at += 1
    if not characters:
        raise _unexpected(text, at, "a token inside the quotes")
    return "".join(characters), _skip(_SPACE, text, at + 1)


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where the text goes on behind what the pattern, which always matches, takes."""
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _unexpected(text: str, at: int, expected: str) -> ValueError:
    """The error for the character at ``at``; what is shown of the text is escaped and bounded."""
    rest = text[at:-1]
    if not rest:
        return ValueError(f"expected {expected} at position {at}, got the end of the value")
    return ValueError(f"expected {expected} at position {at}, got {rest[:40]!a}")
