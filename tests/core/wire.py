"""What tests put on the wire and read from it: an independent codec, and ``Rig``.

Written from RFC 6455 section 5.2 and not from the code under test: the tests judge by this file.
``Rig`` is one open connection driven by hand, with the checks that many rows share.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from wsproto_core import (
    Agreement,
    Close,
    Closed,
    Codec,
    Config,
    Connection,
    Event,
    ExtensionNegotiated,
    Message,
    OpCode,
    Opened,
    PayloadTooBig,
    Phase,
    ProtocolError,
    Role,
    Transport,
)

__all__ = [
    "KEY",
    "MakeRig",
    "Repeater",
    "Rig",
    "close_body",
    "frame",
    "header",
    "mask",
    "parse",
    "text",
    "with_codec",
]

KEY = bytes.fromhex("37fa213d")  # the key of the RFC's examples


def mask(data: bytes, key: bytes) -> bytes:
    """Octet i XORed with key octet i mod 4 (RFC 6455 section 5.3), the slow and obvious way."""
    return bytes(byte ^ key[place % 4] for place, byte in enumerate(data))


def header(first: int, length: int, key: bytes = b"") -> bytes:
    """A frame's header in the shortest form, with the key where there is one."""
    bit = 0x80 if key else 0
    if length <= 125:
        head = bytes([first, bit + length])
    elif length <= 0xFFFF:
        head = bytes([first, bit + 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, bit + 127]) + length.to_bytes(8, "big")
    return head + key


def frame(first: int, payload: bytes = b"", key: bytes = b"") -> bytes:
    """A frame: its first byte, its payload, masked if a key is given."""
    if len(payload) > 4096 and key not in (b"", bytes(4)):
        pad = (key * (len(payload) // 4 + 1))[: len(payload)]
        body = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(
            len(payload), "big"
        )
    else:
        body = mask(payload, key) if key and any(key) else payload
    return header(first, len(payload), key) + body


def parse(data: bytes, masked: bool) -> list[tuple[int, bytes]]:
    """First byte and payload of each frame in ``data``; it must be whole, shortest form, and
    masked just where it should be.
    """
    frames: list[tuple[int, bytes]] = []
    while data:
        first, second = data[0], data[1]
        assert bool(second & 0x80) == masked, "the MASK bit is wrong"
        length, start = second & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
            assert length > 125, "not the shortest form"
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
            assert length > 0xFFFF, "not the shortest form"
        key = data[start : start + 4] if masked else b""
        start += len(key)
        payload = data[start : start + length]
        assert len(payload) == length, "a frame is cut off"
        frames.append((first, mask(payload, key) if masked else payload))
        data = data[start + length :]
    return frames


def close_body(code: int, reason: str | bytes = b"") -> bytes:
    """The payload of a Close frame."""
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)


def text(data: str) -> Message:
    """The event of a text message."""
    return Message(data, OpCode.TEXT)


class Repeater:
    """A codec for tests: a message with its bit comes out with each byte ``times`` times, in
    slices of at most ``piece``; going out, ``compress`` sets the bit and takes every n-th byte.
    """

    def __init__(self, times: int, *, piece: int = 64 << 10, bit: int = 0x40) -> None:
        self.times = times
        self.piece = piece
        self.bit = bit
        self.total = 0
        self.given = 0  # slices that somebody took

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        if not compress:
            return payload, 0
        return payload[:: self.times], self.bit

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        times = self.times if rsv else 1
        self.total = len(payload) * times + (0 if first else self.total)
        if limit >= 0 and self.total > limit:
            raise PayloadTooBig(f"message of {self.total} bytes or more is over {limit}")
        step = max(1, self.piece // times)
        for start in range(0, len(payload), step):
            self.given += 1
            yield b"".join(bytes([byte]) * times for byte in payload[start : start + step])

    def idle(self) -> None:
        pass


def with_codec(*codecs: Codec, rsv: int = 0x40) -> dict[str, Any]:
    """Arguments of ``Rig`` for a connection that agreed on ``codecs``.

    The first claims ``rsv``, each further one the next lower bit.
    """
    agreed = tuple(
        ExtensionNegotiated(f"x-{place}", (), rsv >> place) for place in range(len(codecs))
    )
    return {"agreement": Agreement(extensions=agreed), "codecs": codecs}


class Rig:
    """An open connection, one direction of each wire, and a clock that stands still.

    ``feed`` gives bytes (at once, or one by one with ``bytewise``) and looks until there is nothing
    more to see; ``events`` and ``output`` collect. Keys and ping payloads are counted up, so that
    two rigs that do the same write the same.
    """

    def __init__(
        self,
        role: Role,
        config: Config | None = None,
        *,
        bytewise: bool = False,
        random: Callable[[int], bytes] | None = None,
        agreement: Agreement | None = None,
        codecs: Sequence[Codec] = (),
        key: bytes = KEY,
    ) -> None:
        counter = itertools.count(1)
        self.role = role
        self.bytewise = bytewise
        self.now = 100.0
        self.events: list[Event] = []
        self.output = bytearray()
        self.key = key if role is Role.SERVER else b""
        self.connection = Connection.after_handshake(
            role,
            config if config is not None else Config(),
            agreement if agreement is not None else Agreement(),
            now=self.now,
            codecs=codecs,
            random=random if random is not None else lambda n: next(counter).to_bytes(n, "big"),
        )
        self.look()
        assert isinstance(self.events[-1], Opened)
        self.events.clear()

    # What the peer writes.

    def frame(self, first: int, payload: bytes = b"") -> bytes:
        """A frame as the peer of this role sends it."""
        return frame(first, payload, self.key)

    def frames(self, *items: tuple[int, bytes] | int) -> bytes:
        """Several: a first byte alone means an empty payload."""
        return b"".join(
            self.frame(item) if isinstance(item, int) else self.frame(*item) for item in items
        )

    def raw(self, text: str) -> bytes:
        """Bytes in hex as a server sends them; for a server's peer the MASK bit and a zero key are
        put in (only a header, possibly cut off, and an unmasked payload: with key 0 it stays).
        """
        data = bytes.fromhex(text)
        if self.role is Role.CLIENT or len(data) < 2:
            return data
        size = {126: 4, 127: 10}.get(data[1] & 0x7F, 2)
        head = bytes([data[0], data[1] | 0x80]) + data[2:size]
        if len(head) < size:
            return head
        return head + bytes(4) + data[size:]

    # What happens.

    def feed(self, data: bytes) -> None:
        """The peer's bytes arrive."""
        if self.bytewise:
            for place in range(len(data)):
                self.connection.receive_data(data[place : place + 1], self.now)
                self.look()
        else:
            self.connection.receive_data(data, self.now)
            self.look()

    def eof(self) -> None:
        """The peer's direction ends."""
        self.connection.receive_eof(self.now)
        self.look()

    def look(self) -> None:
        """Drain events until there are none, then the output."""
        while events := self.connection.events():
            self.events += events
        for data in self.connection.data_to_send():
            self.output += data

    # What is to be seen.

    def take(self) -> list[Event]:
        """The events since the last ``take``."""
        events, self.events = self.events, []
        return events

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames written since the last call, unmasked; their masking is checked."""
        self.look()
        frames = parse(bytes(self.output), masked=self.role is Role.CLIENT)
        self.output.clear()
        return frames

    def closes(self) -> list[Close]:
        """The ``Close`` events so far."""
        return [event for event in self.events if isinstance(event, Close)]

    def assert_fails(self, code: int, *, before: Iterable[Event] = ()) -> ProtocolError:
        """FAIL(code): nothing but ``before`` was given, one Close goes out, nothing follows, and
        ``Closed`` says what happened. Returns the error.
        """
        connection = self.connection
        assert connection.phase is Phase.DRAINING
        assert self.take() == list(before)
        frames = self.sent()
        assert [first for first, _ in frames if first & 0x0F == 8] == [0x88]
        assert frames[-1][0] == 0x88, "something was written after the Close"
        assert frames[-1][1][:2] == code.to_bytes(2, "big")
        assert connection.close_sent is not None
        if self.role is Role.SERVER:
            assert connection.transport is Transport.SHUT_WRITE
        else:
            assert connection.transport is Transport.OPEN
            assert connection.next_deadline() is not None
        self.assert_deaf()
        self.eof()
        closed = self.assert_closed()
        assert closed.sent is not None
        assert closed.sent.code == code
        assert (closed.code, closed.reason, closed.clean) == (1006, "", False)
        error = closed.error
        assert isinstance(error, ProtocolError)
        assert error.close_code == code
        assert error.rule in str(error)
        return error

    def assert_deaf(self) -> None:
        """Nothing that comes now has an effect."""
        for junk in (
            self.frame(0x81, b"x"),
            self.frame(0x89, b"p"),
            self.frame(0x88, close_body(1000)),
            b"\xff" * 40,
        ):
            self.feed(junk)
        assert self.take() == []
        assert self.sent() == []

    def assert_closed(self) -> Closed:
        """Exactly one event since the last ``take``: ``Closed``. It is also what stays to see."""
        events = self.take()
        assert len(events) == 1, events
        closed = events[0]
        assert isinstance(closed, Closed)
        assert self.connection.closed is closed
        assert self.connection.phase is Phase.CLOSED
        assert self.connection.transport >= Transport.CLOSE
        assert self.connection.next_deadline() is None
        assert self.sent() == []
        return closed


MakeRig: TypeAlias = Callable[..., Rig]
"""The type of the fixture ``make_rig``: a ``Rig`` but for the role and the cut."""
