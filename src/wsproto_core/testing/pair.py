"""``Pair``: a client and a server, one virtual clock, and a wire that delays and cuts bytes.

After quinn's test driver of that name. No socket, no sleep, no real clock: 115 seconds of heartbeat
cost no time. Each ``End`` does what a binding must do by the contract in ``Connection``: call one
input, look at the events until there are none, write, obey ``transport``. A wire is a byte stream:
it delays, cuts, and may end early, but never loses bytes in the middle.
Tests: ``tests/core/test_testing.py``.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..config import Config
from ..connection import Connection
from ..enums import Phase, Role, Transport
from ..events import Closed, Event, Request

__all__ = ["Cut", "End", "Pair", "React", "accept_all", "by_bytes", "by_size", "whole"]

Cut: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""How a wire cuts what is written at once: the parts that the reader gets."""

React: TypeAlias = Callable[[Connection, Event, float], None]
"""What the application does about an event, at once: ``react(connection, event, now)``."""


def whole(data: bytes) -> Iterable[bytes]:
    """Everything in one read."""
    return (data,)


def by_bytes(data: bytes) -> Iterator[bytes]:
    """One byte for each read."""
    return by_size(1)(data)


def by_size(size: int) -> Callable[[bytes], Iterator[bytes]]:
    """A cut into reads of ``size`` bytes."""

    def cut(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return cut


def accept_all(connection: Connection, event: Event, now: float) -> None:
    """Accept every request; nothing else."""
    if isinstance(event, Request):
        connection.accept(now)


class _Sign:
    """What a wire carries beside bytes."""


_EOF = _Sign()
_RESET = _Sign()


class End:
    """One side: the connection, what it told, and the transport below it."""

    def __init__(self, connection: Connection, react: React, latency: float, cut: Cut) -> None:
        self.connection = connection
        self.events: list[Event] = []
        """Every event so far."""
        self.written = bytearray()
        """Every byte given to the transport so far."""
        self.react = react
        self.latency = latency
        """Seconds that what this end writes is on its way; may be changed at any time."""
        self.cut = cut
        self.mute = False
        """What this end writes vanishes from now on (the network drops it, ends included)."""
        self.stalled = False
        """The peer's window is shut: the transport takes nothing and ``write_blocked`` tells."""
        self._held = bytearray()  # written while stalled
        self._wire: deque[tuple[float, bytes | _Sign]] = deque()  # on its way to the other end
        self._shut = False  # our direction has ended
        self._reset = False  # both have, by force
        self._gone = False  # we read no more

    @property
    def closed(self) -> Closed | None:
        """The last event, if it is ``Closed``."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Closed) else None

    def take(self) -> list[Event]:
        """The events since the last ``take``."""
        events, self.events = self.events, []
        return events

    def look(self, now: float) -> None:
        """What follows every input and command: events until there are none, output, transport."""
        while events := self.connection.events():
            for event in events:
                self.events.append(event)
                self.react(self.connection, event, now)
        data = b"".join(self.connection.data_to_send())
        self.written += data
        self._gone = self.connection.transport >= Transport.CLOSE
        if self.connection.transport is Transport.ABORT:
            self._held.clear()
            if not self._reset:
                self._reset = self._shut = True
                self._post(_RESET, now)
            return
        self._held += data
        if not self.stalled:
            self._flush(now)
        elif self._held:
            self.connection.write_blocked(len(self._held), now)

    def release(self, now: float) -> None:
        """The transport takes everything again."""
        self.stalled = False
        self.connection.write_blocked(0, now)
        self.look(now)

    def _flush(self, now: float) -> None:
        if self._held:
            if self._shut:
                raise AssertionError("output after the end of our direction")
            for part in self.cut(bytes(self._held)):
                self._post(part, now)
            self._held.clear()
        if self.connection.transport is not Transport.OPEN and not self._shut:
            self._shut = True
            self._post(_EOF, now)

    def _post(self, item: bytes | _Sign, now: float) -> None:
        if not self.mute:
            at = now + self.latency
            if self._wire:
                at = max(at, self._wire[-1][0])  # a stream keeps its order
            self._wire.append((at, item))

    def end_early(self, now: float, *, keep: int = 0, reset: bool = False) -> bytes:
        """The stream breaks: of what is on its way ``keep`` bytes arrive, then its end (``reset``:
        a reset). Nothing that is written later arrives. Returns the bytes that were lost.
        """
        kept: list[tuple[float, bytes | _Sign]] = []
        lost = bytearray()
        for at, item in self._wire:
            if isinstance(item, bytes):
                if keep:
                    kept.append((at, item[:keep]))
                lost += item[keep:]
                keep = max(0, keep - len(item))
        self._wire = deque(kept)
        if not self.mute:
            self._post(_RESET if reset else _EOF, now)
        self.mute = True
        return bytes(lost)

    def inject(self, data: bytes, now: float) -> None:
        """Put bytes on the wire that this end did not write, behind what is on its way."""
        if not self._shut:
            self._post(data, now)

    def arriving(self) -> float | None:
        """When the next of what this end wrote arrives at the other; ``None``: nothing is."""
        return self._wire[0][0] if self._wire else None

    def arrive(self, other: "End", now: float) -> None:
        """Hand the other end what is there by ``now``, one read at a time."""
        while self._wire and self._wire[0][0] <= now:
            _, item = self._wire.popleft()
            if other._gone:
                continue
            if isinstance(item, bytes):
                other.connection.receive_data(item, now)
            elif item is _EOF:
                other.connection.receive_eof(now)
            else:
                other.connection.lost(ConnectionResetError("reset by peer"), now)
            other.look(now)


class Pair:
    """A client and a server of this library, joined.

    ``flow()`` carries everything that is on its way and lets pass only the time that it takes.
    ``run_for(seconds)`` also fires each deadline in order. ``run_until_quiet()`` jumps from one
    deadline to the next until nothing is left to happen. Commands are given to ``client`` and
    ``server`` (the connections) directly; look by any of the three.
    """

    def __init__(
        self,
        client_config: Config | None = None,
        server_config: Config | None = None,
        *,
        latency: float = 0.0,
        cut: Cut = whole,
        now: float = 1000.0,
        seed: int = 0,
        target: str = "ws://server.example/chat",
        react_client: React = accept_all,
        react_server: React = accept_all,
        opened: bool = True,
    ) -> None:
        """``opened``: run the opening handshake first and forget its events."""
        client = Connection(
            Role.CLIENT,
            client_config,
            now=now,
            target=target,
            random=random.Random(seed).randbytes,  # noqa: S311 - repeatable
        )
        server = Connection(
            Role.SERVER,
            server_config,
            now=now,
            random=random.Random(seed + 1).randbytes,  # noqa: S311 - repeatable
        )
        self._join(
            client,
            server,
            now,
            End(client, react_client, latency, cut),
            End(server, react_server, latency, cut),
        )
        if opened:
            self.flow()
            if client.phase is not Phase.OPEN or server.phase is not Phase.OPEN:
                raise AssertionError(f"the handshake failed: {client!r}, {server!r}")
            self.client_end.take()
            self.server_end.take()

    @classmethod
    def of(
        cls,
        client: Connection,
        server: Connection,
        *,
        latency: float = 0.0,
        cut: Cut = whole,
        now: float = 1000.0,
        react_client: React = accept_all,
        react_server: React = accept_all,
    ) -> "Pair":
        """Join two connections that are there already, such as two made ``after_handshake``."""
        self = cls.__new__(cls)
        self._join(
            client,
            server,
            now,
            End(client, react_client, latency, cut),
            End(server, react_server, latency, cut),
        )
        return self

    def _join(
        self, client: Connection, server: Connection, now: float, one: End, other: End
    ) -> None:
        self.now = now
        self.client = client
        self.server = server
        self.client_end = one
        self.server_end = other

    @property
    def ends(self) -> tuple[End, End]:
        """Client and server."""
        return self.client_end, self.server_end

    def look(self) -> None:
        """Look at both ends, now; nothing moves on the wires."""
        for end in self.ends:
            end.look(self.now)

    def flow(self) -> None:
        """Carry what is on its way, and what comes of it; deadlines fire only if passed so."""
        self.look()
        while (at := self._next_arrival()) is not None:
            self._go_to(at)

    def run_for(self, seconds: float) -> None:
        """Let ``seconds`` pass: arrivals and deadlines in order."""
        end = self.now + seconds
        self.look()
        while (at := self._next_event()) is not None and at <= end:
            self._go_to(at)
        self._go_to(end)

    def run_until_quiet(self, limit: float = 3600.0) -> None:
        """Jump to the next arrival or deadline until there is none.

        Without a heartbeat or a close that is soon; it fails after ``limit`` seconds.
        """
        end = self.now + limit
        self.look()
        while (at := self._next_event()) is not None:
            if at > end:
                raise AssertionError(
                    f"not quiet after {limit:g} s: {self.client!r}, {self.server!r}"
                )
            self._go_to(at)

    def _next_arrival(self) -> float | None:
        return min((at for end in self.ends if (at := end.arriving()) is not None), default=None)

    def _next_event(self) -> float | None:
        times = [self._next_arrival(), *(end.connection.next_deadline() for end in self.ends)]
        return min((at for at in times if at is not None), default=None)

    def _go_to(self, at: float) -> None:
        self.now = max(self.now, at)
        client, server = self.ends
        client.arrive(server, self.now)
        server.arrive(client, self.now)
        for end in self.ends:
            end.connection.handle_timeout(self.now)
            deadline = end.connection.next_deadline()
            if deadline is not None and deadline <= self.now:
                raise AssertionError(f"a deadline that does not move, a loop: {end.connection!r}")
            end.look(self.now)
