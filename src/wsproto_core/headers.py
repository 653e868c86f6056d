# cython: annotation_typing=False
"""HTTP heads as values: header fields, a request head, a response.

Only data lives here. Bytes are ``http11.py``'s business, meaning is ``handshake.py``'s.
Tests: ``tests/core/test_headers.py``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeAlias

__all__ = ["TOKEN_CHARS", "Headers", "HeadersLike", "RequestHead", "Response"]

TOKEN_CHARS: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
"""What a token is made of (RFC 9110 section 5.6.2): names of fields, subprotocols, extensions."""


class Headers(Mapping[str, str]):
    """Header fields in their order: names without regard to case, repeated lines kept.

    Bytes 80 to FF of a value are shown as the characters U+0080 to U+00FF, so that
    ``value.encode("latin-1")`` gives back what was on the wire.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: "HeadersLike" = ()) -> None:
        self._lines: tuple[tuple[str, str], ...] | str
        if isinstance(lines, Headers):
            self._lines = lines._lines
            return
        # To find out that a list is no Mapping takes as long as all the rest.
        if type(lines) is not list and isinstance(lines, Mapping):
            lines = lines.items()
        self._lines = tuple([(name, value) for name, value in lines])  # of a list: twice as fast

    @property
    def raw(self) -> tuple[tuple[str, str], ...]:
        """Each line as ``(name, value)``, as it was spelled and in its order."""
        lines = self._lines
        if isinstance(lines, str):
            parts = iter(lines.split("\n"))
            return tuple(zip(parts, parts, strict=True))
        return lines

    def _pack(self) -> None:
        """From here on hold the lines as one string, a quarter of the memory: whoever keeps many
        seldom looks at them, and then they are taken apart again."""
        lines = self._lines
        if lines and not isinstance(lines, str):
            packed = "\n".join(chain.from_iterable(lines))
            if packed.count("\n") == 2 * len(lines) - 1:  # no line has a line break in it
                self._lines = packed

    def __getitem__(self, name: str) -> str:
        """The value of ``name``; several lines are joined by a comma (RFC 9110 section 5.3)."""
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """The value of each line named ``name``, in order; an empty list if there is none."""
        wanted, size = name.lower(), len(name)  # most names differ in it
        return [value for key, value in self.raw if len(key) == size and key.lower() == wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        """The distinct names in lower case, in the order of their first line."""
        return iter(dict.fromkeys(key.lower() for key, _ in self.raw))

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.raw})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(k.lower(), v) for k, v in self.raw] == [(k.lower(), v) for k, v in other.raw]

    def __hash__(self) -> int:
        return hash(tuple((k.lower(), v) for k, v in self.raw))

    def __repr__(self) -> str:
        return f"Headers({list(self.raw)!r})"


HeadersLike: TypeAlias = Headers | Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of an HTTP request: what stands before the empty line."""

    method: str
    """The method as sent; methods are case-sensitive (RFC 9110 section 9.1)."""

    target: str
    """The request target as sent: for us an absolute path with its query, or an absolute URI."""

    headers: Headers = field(default_factory=Headers)
    """The header fields, in order."""

    version: str = "1.1"
    """The HTTP version without its name."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: the head, and the body where there is one."""

    status: int
    """The status code."""

    headers: Headers = field(default_factory=Headers)
    """The header fields. ``Connection`` and ``Content-Length`` are set by us when we send it."""

    body: bytes = b""
    """The body; on the client cut at the limit of ``Config.max_body_size``."""

    reason: str = ""
    """The reason phrase; empty means the usual one for the status."""

    version: str = "1.1"
    """The HTTP version without its name."""

    def __post_init__(self) -> None:
        """Take what ``Headers`` takes, too: a mapping or pairs."""
        if type(self.headers) is not Headers:
            object.__setattr__(self, "headers", Headers(self.headers))
