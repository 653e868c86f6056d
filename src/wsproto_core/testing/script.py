"""``ScriptedPeer``: a peer that says what a list says, and expects what a list expects.

For tests that read like a dialogue: each line says something, expects something, or lets time pass.
The other side is a ``Connection``, or a whole view by its ``SessionDriver`` or ``Session``.
Tests: ``tests/core/test_testing.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..connection import Connection
from ..enums import OpCode, Role, Transport
from ..events import Event, Request
from ..session import Session
from .frames import KEY, WireFrame, parse_frames

__all__ = [
    "Eof",
    "Expect",
    "ExpectEnd",
    "ExpectNothing",
    "Reset",
    "Say",
    "ScriptedPeer",
    "Step",
    "Wait",
]


class Say:
    """The peer sends these frames (or raw bytes) in one write."""

    def __init__(self, *items: WireFrame | bytes, bytewise: bool = False) -> None:
        """``bytewise``: each byte arrives in a read of its own."""
        self.items = items
        self.bytewise = bytewise

    def __repr__(self) -> str:
        return f"Say{self.items!r}"


class Expect:
    """The peer gets exactly these next: frames, opcodes (a frame with any payload), or raw bytes
    (such as the response of the handshake)."""

    def __init__(self, *items: WireFrame | OpCode | bytes) -> None:
        self.items = items

    def __repr__(self) -> str:
        return f"Expect{self.items!r}"


@dataclass(frozen=True)
class ExpectNothing:
    """Nothing has been written that was not expected yet."""


@dataclass(frozen=True)
class ExpectEnd:
    """The other side has ended its direction of the stream, and nothing was written unexpected."""


@dataclass(frozen=True)
class Wait:
    """Time passes; deadlines are met in order."""

    seconds: float


@dataclass(frozen=True)
class Eof:
    """The peer ends its direction of the stream."""


@dataclass(frozen=True)
class Reset:
    """The stream is gone both ways."""


Step: TypeAlias = Say | Expect | ExpectNothing | ExpectEnd | Wait | Eof | Reset


class ScriptedPeer:
    """The peer of ``other``: runs a script against it, and fails at the first line that differs."""

    def __init__(self, other: Any, *, now: float = 1000.0, key: bytes = KEY) -> None:
        """``other``: a ``Connection``, a ``Session``, or a ``SessionDriver`` (which has its own
        clock). A bare session's hooks are run if they are plain functions; coroutines need a
        ``SessionDriver``. ``key`` masks what the peer of a server says.
        """
        self.other = other
        self.now = now
        self.events: list[Event] = []
        """What a bare ``Connection`` told; requests are accepted at once."""
        self.rest = bytearray()
        """What was written and not expected yet."""
        self._taken = 0
        self._gone = False
        connection = _connection_of(other)
        self._key = key if connection.role is Role.SERVER else b""
        self._masked = connection.role is Role.CLIENT
        self._look()

    def run(self, script: Iterable[Step]) -> None:
        """Run every line. Raises ``AssertionError`` with the line that was not met."""
        for number, step in enumerate(script, 1):
            try:
                self._run(step)
            except AssertionError as error:
                raise AssertionError(f"line {number}, {step!r}: {error}") from None

    def _run(self, step: Step) -> None:
        if isinstance(step, Say):
            data = b"".join(
                item if isinstance(item, bytes) else item.encode(self._key) for item in step.items
            )
            for part in [data[i : i + 1] for i in range(len(data))] if step.bytewise else [data]:
                self._tell("receive", part)
        elif isinstance(step, Wait):
            self._pass(step.seconds)
        elif isinstance(step, Eof):
            self._tell("eof")
        elif isinstance(step, Reset):
            self._tell("lost")
        elif isinstance(step, Expect):
            for item in step.items:
                self._expect(item)
        else:
            if self.rest:
                raise AssertionError(f"got {self._shown()}")
            if isinstance(step, ExpectEnd) and self._transport is Transport.OPEN:
                raise AssertionError("its direction has not ended")

    def _expect(self, item: WireFrame | OpCode | bytes) -> None:
        if isinstance(item, bytes):
            if not self.rest.startswith(item):
                raise AssertionError(f"expected {item!r}, got {self._shown()}")
            del self.rest[: len(item)]
            return
        frames, _ = parse_frames(bytes(self.rest), masked=self._masked)
        if not frames:
            raise AssertionError(f"expected {item!r}, got {self._shown()}")
        got = frames[0]
        same = got == item if isinstance(item, WireFrame) else got.opcode == item
        if not same:
            raise AssertionError(f"expected {item!r}, got {got!r}")
        size = len(got.encode(KEY if self._masked else b""))
        del self.rest[:size]

    def _shown(self) -> str:
        return f"{bytes(self.rest[:200])!r}" if self.rest else "nothing"

    # ------------------------------------------------------------------ the three kinds of others

    @property
    def _transport(self) -> Transport:
        return _connection_of(self.other).transport

    def _tell(self, what: str, data: bytes = b"") -> None:
        other = self.other
        if isinstance(other, (Connection, Session)):
            if self._gone:
                return
            if what == "lost":
                other.lost(ConnectionResetError("reset by peer"), self.now)
            elif isinstance(other, Connection):
                if what == "receive":
                    other.receive_data(data, self.now)
                else:
                    other.receive_eof(self.now)
            elif what == "receive":
                other.received(data, self.now)
            else:
                other.eof(self.now)
        elif what == "receive":
            other.receive(data)
        elif what == "eof":
            other.eof()
        else:
            other.lost(ConnectionResetError("reset by peer"))
        self._look()

    def _pass(self, seconds: float) -> None:
        other = self.other
        if not isinstance(other, (Connection, Session)):
            other.advance(seconds)
            self._look()
            return
        end = self.now + seconds
        while True:
            at = other.next_deadline()
            last = at is None or at > end
            self.now = end if at is None else min(max(at, self.now), end)
            if isinstance(other, Connection):
                other.handle_timeout(self.now)
            else:
                other.tick(self.now)
            self._look()
            if last:
                return

    def _look(self) -> None:
        other = self.other
        if isinstance(other, Connection):
            while events := other.events():
                self.events += events
                if any(isinstance(event, Request) for event in events):
                    other.accept(self.now)
            self.rest += b"".join(other.data_to_send())
        elif isinstance(other, Session):
            while (call := other.next_call()) is not None:
                try:
                    value = call.begin()
                except Exception as error:  # noqa: BLE001 - what a driver does
                    other.call_failed(call, error, self.now)
                else:
                    other.call_returned(call, value, self.now)
            self.rest += b"".join(other.take_output())
        else:
            self.rest += other.output[self._taken :]
            self._taken = len(other.output)
        self._gone = self._transport >= Transport.CLOSE


def _connection_of(other: Any) -> Connection:
    if isinstance(other, Connection):
        return other
    session = other if isinstance(other, Session) else other.session
    connection = session.connection
    if not isinstance(connection, Connection):
        raise TypeError(f"expected a Connection, Session or SessionDriver, got {other!r}")
    return connection
