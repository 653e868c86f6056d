"""What all targets share: bytes as choices, cuts, a record of what a connection did, and bounds.

A target is a module of ``fuzz.targets``. Its docstring begins with the invariant and the exceptions
that are allowed; it has

``check(data)``   raises if the invariant does not hold; returns what happened, in short, so that an
                  engine without instrumentation can tell a new behaviour from an old one
``SEEDS``         valid and nearly valid inputs to begin with
``TOKENS``        pieces worth inserting
``STEPS``         the step bound: function calls at most, as (fixed, for each byte of input)
``MEMORY``        the memory bound: bytes at the peak, as (fixed, for each byte of input)

Checks are deterministic: which of the dear oracles run is decided by a checksum of the input, so
that the input alone reproduces a failure.
"""

import contextlib
import gc
import importlib
import random
import sys
import tracemalloc
from collections.abc import Callable, Hashable, Iterable, Sequence
from types import FrameType
from typing import Any, Protocol, cast
from zlib import crc32

from wsproto_core import Closed, Connection, Event

__all__ = [
    "NAMES",
    "Finding",
    "Source",
    "Target",
    "Trail",
    "cut",
    "load",
    "one_in",
    "require",
    "run_one",
    "watch",
]

NAMES = (
    "request_head",
    "response_head",
    "extension_header",
    "server_frames",
    "client_frames",
    "deflate_payloads",
    "two_peers",
    "timing",
    "view",
)
"""Every target."""

MAX_SIZE = 2048
"""Bytes of one input; longer ones find nothing new and cost time."""

MOST_PARTS = 100
"""Reads that an input is cut into at most."""


_PEERS = (
    "websockets.client",
    "websockets.extensions.permessage_deflate",
    "websockets.server",
    "wsproto",
)


class Finding(AssertionError):
    """The invariant of a target does not hold."""


class Target(Protocol):
    """What a module of ``fuzz.targets`` has."""

    SEEDS: Sequence[bytes]
    TOKENS: Sequence[bytes]
    STEPS: tuple[int, int]
    MEMORY: tuple[int, int]

    def check(self, data: bytes) -> Hashable:
        """Raise ``Finding`` if the invariant does not hold."""


def load(name: str) -> Target:
    """The target called ``name``."""
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}, got {name!r}")
    for peer in _PEERS:
        # Now, for an import inside a check would count as its steps.
        with contextlib.suppress(ImportError):
            importlib.import_module(peer)
    return cast("Target", importlib.import_module(f"fuzz.targets.{name}"))


def require(condition: object, message: str, *details: object) -> None:
    """Raise ``Finding`` unless ``condition``; details are shown only then."""
    if not condition:
        raise Finding(": ".join([message, *map(repr, details)]))


def one_in(data: bytes, rate: int, salt: int = 0) -> bool:
    """Whether a dear oracle is due for this input: for one in ``rate`` of all."""
    return crc32(data, salt) % rate == 0


# ------------------------------------------------------------------------------ bytes as choices


class Source:
    """Reads choices from bytes; zeros when they are used up."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte."""
        at = self._at
        self._at = at + 1
        return self._data[at] if at < len(self._data) else 0

    def number(self) -> int:
        """A number of two bytes."""
        return self.byte() << 8 | self.byte()

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end."""
        at = self._at
        self._at = at + size
        return self._data[at : at + size]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))


_SIZES = (1, 1, 1, 2, 2, 3, 4, 5, 7, 8, 13, 16, 29, 64, 125, 126, 300, 1500)


def _patterns() -> list[tuple[int, ...]]:
    chooser = random.Random(6455)  # noqa: S311 - repeatable
    patterns: list[tuple[int, ...]] = [(1,), (2,), (3,)]
    while len(patterns) < 256:
        patterns.append(tuple(chooser.choices(_SIZES, k=chooser.randint(1, 6))))
    return patterns


_PATTERNS = _patterns()


def cut(data: bytes, pattern: int) -> list[bytes]:
    """Cut ``data`` by one of 256 patterns of sizes; the first is byte by byte.

    After ``MOST_PARTS`` the rest comes at once: more cuts of the same kind find nothing new.
    """
    parts: list[bytes] = []
    sizes = _PATTERNS[pattern]
    at = turn = 0
    end = len(data)
    count = len(sizes)
    while at < end:
        if turn == MOST_PARTS:
            parts.append(data[at:])
            break
        size = sizes[turn % count]
        turn += 1
        parts.append(data[at : at + size])
        at += size
    return parts


# ------------------------------------------------------------------------------ what happened


class Trail:
    """What a connection told and wrote."""

    __slots__ = ("connection", "events", "output")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self.output = bytearray()

    def look(self) -> None:
        """The contract: events until there are none, then the output."""
        connection = self.connection
        before = connection.transport
        while events := connection.events():
            self.events += events
        for data in connection.data_to_send():
            self.output += data
        require(connection.transport >= before, "transport fell", before, connection.transport)

    def feed(self, parts: Iterable[bytes], now: float = 0.0) -> None:
        """Give each part, and look after it."""
        receive = self.connection.receive_data
        for part in parts:
            receive(part, now)
            self.look()

    def end(self, now: float = 0.0) -> Closed:
        """End the stream: there is one ``Closed``, and it is the last event."""
        self.connection.receive_eof(now)
        self.look()
        if self.connection.closed is None:
            # Draining with nothing to wait for but time.
            deadline = self.connection.next_deadline()
            require(deadline is not None, "neither closed nor waiting", self.connection)
            self.connection.handle_timeout(cast("float", deadline))
            self.look()
        closed = self.connection.closed
        require(closed is not None and self.events, "no end", self.connection)
        require(self.events[-1] is closed, "Closed is not the last event", self.events[-3:])
        require(
            sum(isinstance(event, Closed) for event in self.events) == 1, "Closed more than once"
        )
        require(self.connection.next_deadline() is None, "a deadline after the end")
        return cast("Closed", closed)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of events, repeats left out."""
        kinds: dict[str, None] = {}
        for event in self.events:
            kinds[type(event).__name__] = None
        return tuple(kinds)


def watch(events: Iterable[Event]) -> list[object]:
    """Events as values that can be compared: errors by type and text."""
    shown: list[object] = []
    for event in events:
        if type(event) is Closed:
            error = event.error
            shown.append(
                (
                    event.code,
                    event.reason,
                    event.clean,
                    event.sent,
                    event.received,
                    type(error),
                    str(error),
                )
            )
        else:
            shown.append(event)
    return shown


# ------------------------------------------------------------------------------ bounds


def run_one(target: Target, data: bytes) -> Hashable:
    """Check one input; for some of them count the steps or the memory as well."""
    kind = crc32(data, 7) & 1023
    if kind == 0:
        return _count_steps(target, data)
    if kind == 1:
        return _measure_memory(target, data)
    return target.check(data)


def _count_steps(target: Target, data: bytes) -> Hashable:
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call" or (event == "c_call" and not _of_engine(argument)):
            count += 1

    sys.setprofile(profile)
    try:
        outcome = target.check(data)
    finally:
        sys.setprofile(None)
    fixed, each = target.STEPS
    require(count <= fixed + each * len(data), "too many steps", count, len(data))
    return outcome


def _of_engine(function: object) -> bool:
    """Whether it is one of the calls with which Atheris instruments a module."""
    return (getattr(function, "__module__", None) or "").startswith("atheris")


def _measure_memory(target: Target, data: bytes) -> Hashable:
    if tracemalloc.is_tracing():
        return target.check(data)
    gc.collect(0)
    tracemalloc.start()
    try:
        outcome = target.check(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    fixed, each = target.MEMORY
    require(peak <= fixed + each * len(data), "too much memory", peak, len(data))
    return outcome


Check = Callable[[bytes], Hashable]
