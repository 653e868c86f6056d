"""``Config``: every knob of a connection with its unit, its default and the reason for it.

A value object, checked once when it is made. It holds settings only; what they do is decided where
they are read. Tests: ``tests/core/test_config.py``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from .enums import is_usable_close_code
from .headers import TOKEN_CHARS

if TYPE_CHECKING:
    from .extensions.base import Extension

__all__ = ["Config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one connection. Frozen: make a new one with ``dataclasses.replace``.

    Sizes are in bytes, times in seconds; ``None`` switches a limit off where that is allowed.
    Raises ``ValueError`` or ``TypeError`` with the field's name for a value that cannot be meant.
    """

    max_message_size: int | None = 16 << 20
    """Bytes of one message after reassembly and inflation; more is closed with 1009. 16 MiB takes
    any reasonable document. Lower it for chat, raise it for uploads (or use ``deliver="chunks"``).
    ``None``: no limit."""

    max_frame_size: int | None = 1 << 20
    """Bytes of one incoming frame's payload; more is closed with 1009 at its header. Outgoing
    messages above it go out as fragments of this size. 1 MiB keeps a control frame from waiting
    long behind data. ``None``: no limit, and messages go out in one frame."""

    read_high_water: int = 1 << 16
    """Bytes of events (payload, and 64 for each) held for the application before reading pauses;
    it resumes at half. 64 KiB covers a burst of small messages. Raise it for throughput on fast
    links, lower it where thousands of connections wait on slow handlers."""

    write_high_water: int = 1 << 16
    """Bytes queued for a slow peer before ``send`` waits. 64 KiB fills a usual socket buffer."""

    open_timeout: float | None = 10.0
    """Seconds from the start to the 101, however slowly the head drips in. 10 s is what browsers'
    users still wait for. ``None``: off."""

    close_timeout: float | None = 10.0
    """Seconds for the peer's Close and end of stream after ours, and for running hooks. 10 s is
    several round trips of the worst link, and what a shutdown can wait for. ``None``: off, and then
    a peer that never answers is never dropped."""

    send_timeout: float | None = 60.0
    """Seconds in which a peer must take at least one byte while some are queued. 60 s outlasts a
    phone that changes networks, not one that is gone. ``None``: off."""

    ping_interval: float | None = 20.0
    """Seconds from ping to ping. 20 s stays below the 60 s at which proxies drop an idle
    connection, with room for two lost ones. ``None`` or 0: no heartbeat. If no message came or
    went from one ping to the next, extensions drop what they can make again (deflate contexts)."""

    pong_timeout: float | None = 10.0
    """Seconds after a ping in which any byte must come. 10 s is far above any round trip; longer
    than ``ping_interval`` makes no sense. ``None``: never count a miss."""

    max_missed_pongs: int = 3
    """Misses in a row that end the connection. 3 forgives a short loss of the network; lower it
    to notice a vanished peer sooner."""

    max_backoff: float = 45.0
    """Seconds: after misses the next ping waits ``ping_interval * 2**misses``, at most this.
    45 s keeps the end of a vanished peer (at 115 s with the defaults) below two minutes."""

    receive_timeout: float | None = 120.0
    """Seconds of silence that end the connection, and the longest that one frame may take to
    arrive (so that a byte now and then does not hold it open). 120 s lets the heartbeat judge
    first. ``None``: off."""

    timeout_close_code: int = 1001
    """The close code of a heartbeat or receive timeout; the reason is
    ``"WebSocket Timeout Error"``."""

    max_head_size: int = 32 << 10
    """Bytes of an HTTP head, all interim responses together; more is a 431 (server) or a failed
    handshake (client). 32 KiB is more than any browser sends."""

    max_line_size: int = 8 << 10
    """Bytes of one line of an HTTP head. A longer request line is a 414, a longer header a 431.
    RFC 9112 section 3 asks for 8,000 at least; 8 KiB is what common proxies take."""

    max_headers: int = 100
    """Header lines of an HTTP head, repeated names counted each time; more is a 431. Browsers
    send about 15; 100 is the usual limit of servers."""

    max_body_size: int = 64 << 10
    """Client: bytes of a refusal's body that are kept; the rest is dropped. 64 KiB holds any error
    page that somebody may want to read."""

    concurrent_hooks: int = 1
    """Message hooks that may run at once. 1 keeps messages in order; n starts them in order."""

    deliver: Literal["messages", "chunks"] = "messages"
    """``"messages"``: whole ones. ``"chunks"``: parts as they arrive, never buffered whole."""

    text_as_bytes: bool = False
    """Give text as bytes (checked to be UTF-8) instead of ``str``: for those who parse bytes."""

    extensions: Sequence["Extension"] = ()
    """Offered (client) or accepted (server), in order of preference."""

    required_extensions: Sequence[str] = ()
    """Client: names of offered extensions without which the connection is of no use. If the server
    leaves one out, it is closed with 1010 before it opens (RFC 6455 section 7.4.1). None by
    default: an extension is an offer."""

    subprotocols: Sequence[str] = ()
    """Offered (client) or accepted (server), in order of preference."""

    origins: Sequence[str] | None = None
    """Server: the Origin values allowed, compared exactly; ``"*"`` allows any. ``None``: the same
    origin as Host, or no Origin at all (not a browser). Others get a 403."""

    plain_http: bool = False
    """Server: turn a GET without an upgrade into an ``HttpRequest`` event instead of a 426."""

    def __post_init__(self) -> None:
        for name in ("max_message_size", "max_frame_size"):
            _integer(self, name, 1, optional=True)
        for name in (
            "max_head_size",
            "max_line_size",
            "max_headers",
            "read_high_water",
            "write_high_water",
            "concurrent_hooks",
            "max_missed_pongs",
        ):
            _integer(self, name, 1)
        _integer(self, "max_body_size", 0)
        for name in (
            "open_timeout",
            "close_timeout",
            "send_timeout",
            "pong_timeout",
            "receive_timeout",
        ):
            _seconds(self, name, zero=False)
        _seconds(self, "ping_interval", zero=True)
        _seconds(self, "max_backoff", zero=False, optional=False)
        _integer(self, "timeout_close_code", 0)
        if not is_usable_close_code(self.timeout_close_code):
            raise ValueError(
                "timeout_close_code must be a close code that may be sent, "
                f"not {self.timeout_close_code}"
            )
        if self.deliver not in ("messages", "chunks"):
            raise ValueError(f"deliver must be 'messages' or 'chunks', not {self.deliver!r}")
        for name in ("subprotocols", "required_extensions"):
            _strings(self, name)
        if self.origins is not None:
            _strings(self, "origins")
        for protocol in self.subprotocols:
            if not protocol or not TOKEN_CHARS.issuperset(protocol):
                raise ValueError(
                    f"a subprotocol must be a token (RFC 6455 4.1: letters, digits and "
                    f"!#$%&'*+-.^_`|~), not {protocol!r}"
                )
        if len(set(self.subprotocols)) != len(self.subprotocols):
            raise ValueError(f"subprotocols must not repeat a name: {self.subprotocols!r}")
        extensions: object = self.extensions
        if isinstance(extensions, str) or not isinstance(extensions, Iterable):
            raise TypeError(f"extensions must be a sequence of extensions, not {extensions!r}")
        object.__setattr__(self, "extensions", tuple(self.extensions))


def _strings(config: Config, name: str) -> None:
    value: object = getattr(config, name)
    if isinstance(value, str):
        raise TypeError(f"{name} must be a sequence of strings, not the string {value!r}")
    items = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} must be a sequence of strings, not {value!r}")
    # Kept as a tuple so that a list changed later cannot change a live connection.
    object.__setattr__(config, name, items)


_MOST = (1 << 63) - 1  # what the compiled build can count, and the longest frame there can be


def _integer(config: Config, name: str, least: int, *, optional: bool = False) -> None:
    value = getattr(config, name)
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    if value > _MOST:
        raise ValueError(f"{name} must be at most 2**63 - 1, not {value}")


# Seconds. On a clock of any size a deadline must lie after now: floats tell a millisecond apart up
# to 2**42 seconds, and shorter times are no settings that can be meant.
_LEAST = 0.001


def _seconds(config: Config, name: str, *, zero: bool, optional: bool = True) -> None:
    value = getattr(config, name)
    if value is None:
        if optional:
            return
        raise TypeError(f"{name} must be a number of seconds, not None")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{name} must be {least} seconds, not {value}")
    if 0 < value < _LEAST:
        raise ValueError(f"{name} must be at least {_LEAST} seconds, not {value}")


# The names of all settings, for those who build a Config from something else (views, commands).
FIELD_NAMES = tuple(item.name for item in fields(Config))
