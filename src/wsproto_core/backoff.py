"""When a client connects again, and whether it should: no clock, no sleep, no random source.

RFC 6455 section 7.2.3 asks for a random delay before the first new attempt and for longer ones
after that, so that the clients of a server that went down do not come back all at once.
Tests: ``tests/core/test_backoff.py``.
"""

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from .errors import HandshakeError
from .headers import Response

__all__ = ["Backoff", "is_worth_retrying", "retry_after_untrusted"]

FIRST: Final = 5.0
"""Seconds: the first delay is random from 0 to this (RFC 6455 section 7.2.3)."""

CAP: Final = 60.0
"""Seconds: the most that delays are drawn from; who was connected so long begins anew."""

MAX_RETRY_AFTER: Final = 3600.0
"""Seconds: a server that asks for more patience is asked again after so many all the same."""

_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Backoff:
    """The delays of one client: full jitter over a span that doubles up to a cap."""

    def __init__(
        self, random: Callable[[], float], *, first: float = FIRST, cap: float = CAP
    ) -> None:
        """``random`` gives numbers from 0 up to 1, such as ``random.random``."""
        self._random = random
        self._first = first
        self._cap = cap
        self._span = first
        self._opened: float | None = None

    def opened(self, now: float) -> None:
        """The connection is open since ``now``."""
        self._opened = now

    def delay(self, now: float, error: Exception | None = None) -> float | None:
        """Seconds to wait before the next attempt; ``None``: another one would not help.

        Call it once after each end: ``error`` is what kept the connection from opening, ``None``
        says that it was open. A server's Retry-After comes on top, so that not all clients return
        in the same moment.
        """
        if error is not None and not is_worth_retrying(error):
            return None
        if self._opened is not None and now - self._opened >= self._cap:
            self._span = self._first
        self._opened = None
        delay = self._random() * self._span
        self._span = min(self._span * 2, self._cap)
        if isinstance(error, HandshakeError) and error.status in (429, 503):
            assert error.response is not None
            delay += retry_after_untrusted(error.response)
        return delay


def is_worth_retrying(error: Exception) -> bool:
    """Whether what kept a connection from opening may be gone at the next attempt.

    Yes: no answer, half an answer, no way to the host, a name that is not found now, and the
    statuses 408, 425, 429, 500, 502, 503, 504 of a server or a proxy. No: every other answer, a
    certificate that is not trusted, and mistakes of the caller.
    """
    if isinstance(error, HandshakeError):
        return error.response is None or error.response.status in _PASSING
    # PeerTimeout is an OSError too; a certificate that fails its check is also a ValueError.
    return isinstance(error, OSError) and not isinstance(error, ValueError)


def retry_after_untrusted(response: Response) -> float:
    """Seconds that a Retry-After asks for (RFC 9110 section 10.2.3), 0 if it cannot be read.

    A date counts from the Date of the same response: no clock is asked, ours may be wrong.
    """
    lines = response.headers.get_all("Retry-After")
    if len(lines) != 1:
        return 0.0
    if _SECONDS.fullmatch(lines[0]) is not None:
        return min(float(lines[0]), MAX_RETRY_AFTER)
    at, sent = _date_untrusted(lines), _date_untrusted(response.headers.get_all("Date"))
    if at is None or sent is None:
        return 0.0
    return min(max(at - sent, 0.0), MAX_RETRY_AFTER)


_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_DATE: Final = re.compile(r"[A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9:]{8} GMT")


def _date_untrusted(lines: list[str]) -> float | None:
    """Read an HTTP date in its one current form (RFC 9110 section 5.6.7)."""
    if len(lines) != 1 or _DATE.fullmatch(lines[0]) is None:
        return None
    try:
        return parsedate_to_datetime(lines[0]).timestamp()
    except (ValueError, OverflowError):
        return None
