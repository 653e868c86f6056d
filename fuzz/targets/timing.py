"""One connection and a clock that jumps.

Invariant: ``handle_timeout`` moves every deadline past the time it is told; calling it early or
twice does nothing; whatever the peer and the application do, ``Closed`` comes once and last,
``transport`` never falls, and obeying the deadlines ends the connection once the peer is silent:
within a bounded time and a bounded number of deadlines.

Allowed exceptions: ``ConnectionClosed`` and ``LocalProtocolError`` of commands.

The first byte chooses role and settings; each further byte is an action, some with bytes of
their own.
"""

from collections.abc import Hashable
from typing import Final

from wsproto_core import (
    Agreement,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    LocalProtocolError,
    Phase,
    Role,
    Transport,
)

from ..harness import Source, Trail, require
from ..streams import frame

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_CONFIGS: Final = (
    Config(),
    Config(ping_interval=0.5, pong_timeout=0.25, max_missed_pongs=1, max_backoff=1.0),
    Config(ping_interval=3.0, pong_timeout=10.0, max_missed_pongs=5, receive_timeout=None),
    Config(ping_interval=None, receive_timeout=30.0, close_timeout=1.0, send_timeout=2.0),
)
_BOUND: Final = 3600.0  # seconds in which each of these settings ends a silent connection
_MOST_DEADLINES: Final = 500
_HEAD: Final = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SEEDS: Final = tuple(
    bytes([options]) + actions
    for options in range(16)
    for actions in (
        b"\x10\x50\x00\x20\x11\x50\x01\x12",
        b"\x05\x30\x06\x30\x07\x30\x50\x02\x51\x03\x13",
        b"\x14\x40\x15\x41\x50\x04\x0f\x50\x05",
        b"\x20\x21\x22\x50\x08\x23\x50\x10\x02\x50\x7f",
        b"\x03\x10\x16\x50\x20\x17\x52\x01\x08",
    )
)
TOKENS: Final = (b"\x50\x10", b"\x52\x08", b"\x10", b"\x14\x40", b"\x16\x01", b"\x05\x30")
STEPS: Final = (6_000, 150)
MEMORY: Final = (80_000, 300)


class _Clocked(Trail):
    """A trail with a clock, and the checks of every look."""

    now = 100.0

    def step(self) -> None:
        """Look, and check what holds at any time."""
        self.look()
        connection = self.connection
        deadline = connection.next_deadline()
        if connection.phase is Phase.CLOSED:
            require(connection.closed is self.events[-1], "Closed is not last", self.events[-2:])
        elif deadline is None:
            require(
                connection.config.ping_interval is None or connection.phase is not Phase.OPEN,
                "open without a deadline",
                connection,
            )

    def tell(self, now: float) -> None:
        """Time passes: all deadlines up to now are over."""
        self.now = now
        self.connection.handle_timeout(now)
        deadline = self.connection.next_deadline()
        require(deadline is None or deadline > now, "a deadline that does not move", deadline, now)
        self.step()
        events, size = len(self.events), len(self.output)
        self.connection.handle_timeout(now)
        self.look()
        require((events, size) == (len(self.events), len(self.output)), "told twice, done twice")


def _begin(options: int) -> _Clocked:
    config = _CONFIGS[options & 3]
    role = Role.SERVER if options & 4 else Role.CLIENT
    if options & 8:
        target = None if role is Role.SERVER else "ws://h/"
        connection = Connection(role, config, now=100.0, target=target, random=bytes)
    else:
        connection = Connection.after_handshake(role, config, Agreement(), now=100.0, random=bytes)
    trail = _Clocked(connection)
    trail.step()
    return trail


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    source = Source(data)
    options = source.byte() & 15
    trail = _begin(options)
    connection = trail.connection
    ended = False
    steps = 0
    while source and steps < 100:
        steps += 1
        action = source.byte()
        kind = action >> 4
        before = len(trail.events)
        if kind == 0:
            ended = _from_network(trail, action & 15, ended)
        elif kind == 1:
            _from_application(trail, action & 15)
        elif kind == 2:
            connection.write_blocked(action & 15, trail.now)
        elif kind == 3:
            # A little time.
            trail.tell(trail.now + (action & 15) / 16)
        elif kind == 4:
            connection.set_reading(bool(action & 1), trail.now)
        elif kind == 5:
            # To the next deadline, and somewhat beyond.
            deadline = connection.next_deadline()
            late = (0.0, 0.001, 0.9, 1.1, 500.0)[source.byte() % 5]
            trail.tell(max(trail.now, deadline if deadline is not None else trail.now) + late)
        elif kind == 6:
            # Early: nothing happens.
            deadline = connection.next_deadline()
            if deadline is not None:
                trail.tell((trail.now + deadline) / 2)
                require(len(trail.events) == before, "early, and something happened")
        elif not ended:
            connection.receive_data(source.take(action & 15), trail.now)
        trail.step()
    began = trail.now
    if connection.phase is Phase.OPEN and connection.config.ping_interval is None:
        connection.set_reading(True, trail.now)
    _finish(trail)
    end = trail.events[-1]
    assert isinstance(end, Closed)
    return options, trail.kinds(), str(end.error)[:24], int(trail.now - began).bit_length()


def _from_network(trail: _Clocked, what: int, ended: bool) -> bool:
    connection, now = trail.connection, trail.now
    key = bytes(4) if connection.role is Role.SERVER else b""
    if ended and what not in (13, 14):
        return True
    if what == 0:
        connection.receive_data(_HEAD, now)
    elif what == 1:
        connection.receive_data(_HEAD[:20], now)
    elif what == 2:
        connection.receive_data(frame(0x81, b"text", key)[:3], now)
    elif what == 3:
        connection.receive_data(frame(0x88, b"\x03\xe8", key), now)
    elif what == 4:
        connection.receive_data(b"\xff", now)
    elif what == 5:
        connection.receive_data(frame(0x8A, bytes(8), key), now)
    elif what == 6:
        connection.receive_data(frame(0x89, b"ping", key), now)
    elif what == 7:
        connection.receive_data(frame(0x01, b"part", key), now)
    elif what == 8:
        connection.receive_data(b"", now)
    elif what == 13:
        connection.receive_eof(now)
        return True
    elif what == 14:
        connection.lost(ConnectionResetError("reset"), now)
        return True
    else:
        connection.receive_data(frame(0x82, bytes(what), key), now)
    return False


def _from_application(trail: _Clocked, what: int) -> None:
    connection, now = trail.connection, trail.now
    try:
        if what == 0:
            connection.accept(now)
        elif what == 1:
            connection.ping(None, now)
        elif what == 2:
            connection.ping(b"mine", now)
        elif what == 3:
            connection.close(1001, now=now)
        elif what == 4:
            connection.send_text("message")
        elif what == 5:
            connection.send_text("part", final=False)
        elif what == 6:
            connection.fail(ValueError("hook"), now)
        elif what == 7:
            connection.pong(b"")
        elif what == 8:
            connection.abort(now)
    except (ConnectionClosed, LocalProtocolError):
        pass


def _finish(trail: _Clocked) -> None:
    """The peer is silent from here on, and takes all that is written."""
    connection = trail.connection
    if connection.phase is not Phase.CLOSED:
        connection.set_reading(True, trail.now)
    connection.write_blocked(0, trail.now)
    trail.step()
    began = trail.now
    for _ in range(_MOST_DEADLINES):
        deadline = connection.next_deadline()
        if deadline is None:
            break
        trail.tell(max(trail.now, deadline))
        connection.write_blocked(0, trail.now)
        trail.step()
    require(connection.phase is Phase.CLOSED, "time does not end it", connection)
    require(connection.transport >= Transport.CLOSE, "closed, and the stream stays open")
    require(connection.next_deadline() is None, "a deadline after the end", connection)
    require(trail.now - began <= _BOUND, "too late an end", trail.now - began)
    count = sum(isinstance(event, Closed) for event in trail.events)
    require(count == 1, "not one Closed", count)
