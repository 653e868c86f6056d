# cython: annotation_typing=False
"""What a ``Connection`` can tell you: one class for each kind of news.

Events are values; they know nothing of the connection they came from. ``Message`` and ``Chunk`` are
made for every message, so they are plain slots classes, which the compiled build makes in C (frozen
dataclasses cost 200 ns each); their fields are ``Final`` for the type checker.
Tests: ``tests/core/test_events.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .enums import OpCode
from .headers import Headers, Response

__all__ = [
    "Agreement",
    "Chunk",
    "Close",
    "Closed",
    "Event",
    "ExtensionNegotiated",
    "HttpRequest",
    "Message",
    "Offer",
    "Opened",
    "Ping",
    "Pong",
    "Refused",
    "Request",
]


@dataclass(frozen=True, slots=True)
class Offer:
    """One element of ``Sec-WebSocket-Extensions`` (RFC 6455 section 9.1)."""

    name: str
    """The extension's name, compared exactly."""

    parameters: tuple[tuple[str, str | None], ...] = ()
    """Each parameter in order; the value is ``None`` where there is none, unquoted otherwise."""

    def __str__(self) -> str:
        parts = [self.name]
        parts += [name if value is None else f"{name}={value}" for name, value in self.parameters]
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Request:
    """Server, once, first of all: a valid handshake. Answer with ``accept`` or ``reject``."""

    target: str
    """Path and query, such as ``/chat?room=1``; percent-encoding is left as it came."""

    headers: Headers
    """All header fields."""

    host: str
    """The authority asked for: the Host field, or that of an absolute target."""

    origin: str | None
    """The Origin field; ``None`` if there is none (not a browser)."""

    subprotocols: tuple[str, ...]
    """Offered by the client, in its order of preference."""

    offers: tuple[Offer, ...]
    """The extension offers, in order."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Server, only with ``Config.plain_http``: a GET that asks for no upgrade.

    Answer with ``reject(response)``; any final status is allowed here.
    """

    target: str
    """Path and query as sent."""

    headers: Headers
    """All header fields."""

    host: str
    """The authority asked for."""

    refusal: Response
    """What to answer if there is nothing better: the 426 that a client without upgrade gets."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Client: the server said no, or gave no WebSocket answer. ``Closed`` follows."""

    response: Response
    """The response, its body cut at ``Config.max_body_size``."""


@dataclass(frozen=True, slots=True)
class ExtensionNegotiated:
    """One extension both sides agreed on; comes before ``Opened``, in the order of use."""

    name: str
    """The extension's name."""

    parameters: tuple[tuple[str, str | None], ...]
    """The agreed parameters, as in the response."""

    rsv: int
    """The header bits it claims: a mask within 0x70."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the opening handshake settled."""

    subprotocol: str | None = None
    """The chosen subprotocol."""

    extensions: tuple[ExtensionNegotiated, ...] = ()
    """The agreed extensions, in order."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Once: the connection is open. Messages may follow in the same batch."""

    agreement: Agreement
    """Subprotocol and extensions."""

    response: Response
    """The 101 (or, over HTTP/2, the 200), received or sent."""


class Message:
    """A complete message: valid, decoded by the extensions, within the limits."""

    __slots__ = ("data", "opcode")
    __match_args__ = ("data", "opcode")

    data: Final[str | bytes]
    """``str`` for text unless ``Config.text_as_bytes``, else ``bytes``."""

    opcode: Final[OpCode]
    """``TEXT`` or ``BINARY``."""

    def __init__(self, data: str | bytes, opcode: OpCode) -> None:
        self.data = data
        self.opcode = opcode

    def __eq__(self, other: object) -> bool:
        if type(other) is not Message:
            return NotImplemented
        return self.data == other.data and self.opcode == other.opcode

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message(data={self.data!r}, opcode={self.opcode!r})"


class Chunk:
    """A part of a message as it arrived, instead of ``Message`` with ``deliver="chunks"``."""

    __slots__ = ("data", "final", "first", "opcode")
    __match_args__ = ("data", "opcode", "first", "final")

    data: Final[str | bytes]
    """The part, decoded and inflated; may be empty where ``final`` is true."""

    opcode: Final[OpCode]
    """``TEXT`` or ``BINARY``: the type of the whole message."""

    first: Final[bool]
    """Whether it begins a message."""

    final: Final[bool]
    """Whether it ends the message."""

    def __init__(self, data: str | bytes, opcode: OpCode, first: bool, final: bool) -> None:
        self.data = data
        self.opcode = opcode
        self.first = first
        self.final = final

    def __eq__(self, other: object) -> bool:
        if type(other) is not Chunk:
            return NotImplemented
        return (self.data, self.opcode, self.first, self.final) == (
            other.data,
            other.opcode,
            other.first,
            other.final,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Chunk(data={self.data!r}, opcode={self.opcode!r}, "
            f"first={self.first!r}, final={self.final!r})"
        )


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer asked for a sign of life. Already answered; for information."""

    payload: bytes
    """At most 125 bytes."""


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong came."""

    payload: bytes
    """At most 125 bytes."""

    rtt: float | None
    """Seconds since our ping with that payload; ``None`` if it answers none of ours."""


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's Close frame; its answer is already queued. Also the shape of what we sent."""

    code: int
    """The code; 1005 if the frame carried none."""

    reason: str = ""
    """The reason, up to 123 bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Once, last, always: how it ended."""

    code: int
    """The peer's code: of its Close; 1005 for a Close without code, 1006 without a Close."""

    reason: str
    """The peer's reason, or an empty string."""

    clean: bool
    """Whether both Close frames went through."""

    sent: Close | None
    """The Close we sent."""

    received: Close | None
    """The Close the peer sent."""

    error: Exception | None
    """What ended the connection, if it was not the closing handshake: a ``ProtocolError``,
    ``PeerTimeout``, ``HandshakeError``, ``HookError`` or an ``OSError`` of the transport."""


Event: TypeAlias = (
    Request
    | HttpRequest
    | Refused
    | ExtensionNegotiated
    | Opened
    | Message
    | Chunk
    | Ping
    | Pong
    | Close
    | Closed
)
Events: TypeAlias = Sequence[Event]
