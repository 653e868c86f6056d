"""Whose fault it is, as a type.

``LocalProtocolError`` is the caller's, ``ProtocolError`` the peer's, ``HandshakeError`` says that
no connection came about, ``PeerTimeout`` that the peer was silent too long, ``ConnectionClosed``
that somebody was faster. Messages name what was expected and what came.

Tests: ``tests/core/test_errors.py``.
"""

from typing import TYPE_CHECKING

from .enums import CloseCode

if TYPE_CHECKING:
    from .events import Closed
    from .headers import Response

__all__ = [
    "ConnectionClosed",
    "ExtensionError",
    "HandshakeError",
    "HookError",
    "LocalProtocolError",
    "PayloadTooBig",
    "PeerTimeout",
    "ProtocolError",
    "WebSocketError",
]


class WebSocketError(Exception):
    """The base of every error of this library."""


class LocalProtocolError(WebSocketError):
    """The caller broke a rule. Nothing was written, nothing changed; the connection still works."""


class ProtocolError(WebSocketError):
    """The peer broke a rule.

    Never raised by an input of ``Connection``: it is ``Closed.error``. Views raise it where they
    wait for something that can no longer come.
    """

    close_code: int
    """The code of the Close frame that answers it."""

    rule: str
    """Where the rule stands, such as ``"RFC 6455 5.5"``."""

    def __init__(
        self, message: str, *, close_code: int = CloseCode.PROTOCOL_ERROR, rule: str = ""
    ) -> None:
        super().__init__(f"{message} ({rule})" if rule else message)
        self.close_code = int(close_code)
        self.rule = rule


class PayloadTooBig(ProtocolError):
    """A frame or a message is over its limit; answered with 1009."""

    def __init__(
        self,
        message: str,
        *,
        close_code: int = CloseCode.MESSAGE_TOO_BIG,
        rule: str = "RFC 6455 10.4",
    ) -> None:
        super().__init__(message, close_code=close_code, rule=rule)


class ExtensionError(ProtocolError):
    """A payload that its extension cannot decode, or an extension answer that does not fit."""

    def __init__(
        self, message: str, *, close_code: int = CloseCode.INVALID_PAYLOAD, rule: str = ""
    ) -> None:
        super().__init__(message, close_code=close_code, rule=rule)


class PeerTimeout(WebSocketError, TimeoutError):
    """The peer let a deadline pass. Also a ``TimeoutError``."""

    close_code: int
    """The code of the Close frame that tells the peer, or 1006 where none could be sent."""

    timer: str
    """Which deadline it was: the name of a member of ``timers.Timer`` in lower case."""

    def __init__(self, message: str, *, timer: str, close_code: int) -> None:
        super().__init__(message)
        self.timer = timer
        self.close_code = int(close_code)


class HookError(WebSocketError):
    """A hook of the application raised; ``__cause__`` is what it raised. Answered with 1011."""

    close_code: int = int(CloseCode.INTERNAL_ERROR)


class HandshakeError(WebSocketError):
    """The opening handshake failed: no connection came about."""

    response: "Response | None"
    """What the server answered (client), or what we answered (server); ``None`` if nothing came."""

    def __init__(self, message: str, response: "Response | None" = None) -> None:
        super().__init__(message)
        self.response = response

    @property
    def status(self) -> int | None:
        """The HTTP status of ``response``, or ``None``."""
        return self.response.status if self.response is not None else None


class ConnectionClosed(WebSocketError, ConnectionError):
    """The command came too late: the end was faster. Also a ``ConnectionError``."""

    closed: "Closed | None"
    """How it ended, with both sides' codes; ``None`` while the closing handshake still runs."""

    def __init__(
        self, message: str, closed: "Closed | None" = None, so_far: "Closed | None" = None
    ) -> None:
        """``so_far``: how it stands, where it has not ended yet."""
        super().__init__(message)
        self.closed = closed
        self._known = closed if closed is not None else so_far

    @property
    def code(self) -> int:
        """The peer's close code: 1005 without one, 1006 without a Close frame."""
        return self._known.code if self._known is not None else int(CloseCode.ABNORMAL_CLOSURE)

    @property
    def reason(self) -> str:
        """The peer's close reason, or an empty string."""
        return self._known.reason if self._known is not None else ""

    @property
    def sent(self) -> tuple[int, str] | None:
        """Code and reason of the Close that we sent, or ``None``."""
        if self._known is None or self._known.sent is None:
            return None
        return self._known.sent.code, self._known.sent.reason

    @property
    def received(self) -> tuple[int, str] | None:
        """Code and reason of the Close that the peer sent, or ``None``."""
        if self._known is None or self._known.received is None:
            return None
        return self._known.received.code, self._known.received.reason
