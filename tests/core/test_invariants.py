"""The invariants of the core, by Hypothesis: random bytes, mutated streams, cuts, commands, clocks.

``Driven`` obeys the contract of ``Connection`` and checks after each step what must always hold.
Pure against compiled is in ``test_framing.py``, which runs every case on both builds.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.core.stage import REQUEST
from tests.core.wire import KEY, close_body, frame, parse
from wsproto_core import (
    Agreement,
    Call,
    CallKind,
    Chunk,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    Event,
    ExtensionNegotiated,
    Hooks,
    LocalProtocolError,
    Message,
    OpCode,
    Opened,
    PeerTimeout,
    Phase,
    Ping,
    ProtocolError,
    Response,
    Role,
    Session,
    Transport,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_core.handshake import accept_key
from wsproto_core.session import _cost_of

ALLOWED = (LocalProtocolError, ConnectionClosed, TypeError, ValueError)
bounded = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

CONFIGS = [
    Config(),
    Config(
        read_high_water=200,
        write_high_water=100,
        max_frame_size=50,
        max_message_size=120,
        ping_interval=3,
        pong_timeout=2,
        max_missed_pongs=2,
        max_backoff=7,
        receive_timeout=11,
        open_timeout=5,
        close_timeout=4,
        send_timeout=6,
    ),
    Config(deliver="chunks", read_high_water=1, text_as_bytes=True),
]

# ---------------------------------------------------------------------- what a peer may say


def legal(key: bytes) -> list[bytes]:
    """Frames that are legal in this order, of every kind."""
    first_bytes = [
        (0x81, "text €".encode()),
        (0x82, bytes(60)),
        (0x01, b"frag"),
        (0x89, b"ping"),
        (0x00, b""),
        (0x80, "ment €".encode()),
        (0x8A, b"pong"),
        (0x81, b"x" * 130),
        (0x88, close_body(4000, "bye")),
    ]
    return [frame(first, payload, key) for first, payload in first_bytes]


@st.composite
def streams(draw: st.DrawFn, role: Role) -> bytes:
    """Bytes of a peer: some legal frames, shuffled and mutated at times, or noise."""
    frames = legal(KEY if role is Role.SERVER else b"")
    kind = draw(st.sampled_from(["order", "any", "mutated", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=300))
    chosen: Sequence[bytes] = frames[: draw(st.integers(0, len(frames)))]
    if kind != "order":
        chosen = draw(st.lists(st.sampled_from(frames), max_size=12))
    data = bytearray(b"".join(chosen))
    if kind == "mutated" and data:
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(data) - 1))
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    places = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]


roles = st.sampled_from(list(Role))
configs = st.sampled_from(CONFIGS)


# ---------------------------------------------------------------------- one connection, checked


def begin(role: Role, config: Config, now: float, opened: bool) -> Connection:
    counter = itertools.count(1)

    def random(size: int) -> bytes:
        return next(counter).to_bytes(size, "big")

    if opened:
        return Connection.after_handshake(role, config, Agreement(), now=now, random=random)
    target = "ws://server.example/chat" if role is Role.CLIENT else None
    return Connection(role, config, now=now, target=target, random=random)


class Driven:
    """A connection under the rules; every step ends in ``check``."""

    def __init__(self, role: Role, config: Config, opened: bool) -> None:
        self.now = 1000.0
        self.connection = begin(role, config, self.now, opened)
        self.config = config
        self.events: list[Event] = []
        self.output = bytearray()
        self.transport = Transport.OPEN
        self.eof = False
        self.read = 0  # bytes of the largest read
        self.said = 0  # bytes that the application asked to send and that are not yet taken
        self.check()

    def step(self, name: str, value: Any) -> None:
        connection = self.connection
        if name == "data":
            if not self.eof:
                self.read = max(self.read, len(value))
                connection.receive_data(value, self.now)
        elif name == "eof":
            self.eof = True
            connection.receive_eof(self.now)
        elif name == "lost":
            self.eof = True
            connection.lost(OSError("gone"), self.now)
        elif name == "time":
            self.now += value
            connection.handle_timeout(self.now)
            at = connection.next_deadline()
            assert at is None or at > self.now, "a busy loop"
        elif name == "deadline":
            at = connection.next_deadline()
            if at is not None:
                self.now = max(self.now, at)
                connection.handle_timeout(self.now)
        elif name == "look":
            self.look()
        elif name == "blocked":
            connection.write_blocked(min(value, connection.bytes_to_send), self.now)
        elif name == "reading":
            connection.set_reading(value, self.now)
        else:
            self.command(name, value)
        self.check()

    def command(self, name: str, value: Any) -> None:
        """A command raises what it may, and then nothing has happened."""
        connection, now = self.connection, self.now
        commands: dict[str, Callable[[], object]] = {
            "text": lambda: connection.send_text(value[0], final=value[1]),
            "binary": lambda: connection.send_binary(value[0], final=value[1]),
            "ping": lambda: connection.ping(value, now),
            "pong": lambda: connection.pong(value),
            "close": lambda: connection.close(value[0], value[1], now=now),
            "accept": lambda: connection.accept(now, headers=value),
            "reject": lambda: connection.reject(Response(value), now),
            "configure": lambda: connection.configure(value, now),
            "fail": lambda: connection.fail(RuntimeError("hook"), now),
            "abort": lambda: connection.abort(now),
        }
        before = connection.phase, connection.bytes_to_send, connection.transport
        try:
            commands[name]()
        except ALLOWED as error:
            note(f"{name}: {error!r}")
            assert (connection.phase, connection.bytes_to_send, connection.transport) == before
        if name in ("text", "binary") and isinstance(value[0], (str, bytes)):
            self.said += len(value[0]) * 4 + 14

    def look(self) -> None:
        while events := self.connection.events():
            self.events += events
        self.output += b"".join(self.connection.data_to_send())
        self.said = 0

    def check(self) -> None:
        connection = self.connection
        assert connection.transport >= self.transport, "transport fell"
        self.transport = connection.transport
        assert (connection.phase is Phase.CLOSED) == (connection.closed is not None)
        assert connection.bytes_to_send == sum(map(len, connection._out))
        limit = self.config.write_high_water + self.said + 1024
        assert connection.bytes_to_send <= limit + 2 * len(connection._pings or ()) * 200
        assert held(connection) <= 4 * (
            self.read
            + self.config.read_high_water
            + (self.config.max_frame_size or 0)
            + (self.config.max_message_size or 0)
            + self.config.max_head_size
            + 8192
        )

    def finish(self) -> None:
        """After all: what was told, as a whole."""
        self.look()
        closed = [event for event in self.events if isinstance(event, Closed)]
        if self.connection.closed is None:
            assert closed == []
        else:
            assert closed == [self.connection.closed]
            assert self.events[-1] is closed[0]
            assert self.connection.next_deadline() is None or self.connection._blocked
        assert sum(isinstance(event, Opened) for event in self.events) <= 1


def held(connection: Connection) -> int:
    """Bytes of the peer that are held, wherever they are."""
    seen: set[int] = set()
    total = 0
    stack: list[object] = [connection]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, (type, Config, str, int, float)):
            continue
        seen.add(id(item))
        if isinstance(item, (bytes, bytearray)):
            total += len(item)
        elif isinstance(item, dict):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack += item
        elif type(item).__module__.startswith("wsproto_core"):
            stack += getattr(item, "__dict__", {}).values()
            for kind in type(item).__mro__:
                slots = getattr(kind, "__slots__", ())
                stack += [getattr(item, name, None) for name in slots]
    return (
        total
        - sum(map(len, connection._out))
        + sum(
            len(event.data) for event in connection._events if isinstance(event, (Message, Chunk))
        )
    )


def heads() -> list[bytes]:
    accept = accept_key("AAAAAAAAAAAAAAAAAAAAAQ==")
    answer = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!"
    return [REQUEST, REQUEST[:50], answer, refusal, b"HTTP/1.1 100 Continue\r\n\r\n"]


small = st.binary(max_size=130)
steps = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.5, 2.0, 5.0, 30.0, 1e5])),
    st.tuples(st.just("deadline"), st.none()),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.sampled_from(["eof", "lost", "fail", "abort"]), st.none()),
    st.tuples(st.just("data"), small | st.sampled_from([*heads(), *legal(KEY), *legal(b"")])),
    st.tuples(st.just("blocked"), st.integers(0, 500)),
    st.tuples(st.just("reading"), st.booleans()),
    st.tuples(
        st.sampled_from(["text", "binary"]),
        st.tuples(small | st.text(max_size=60) | st.just(5), st.booleans()),
    ),
    st.tuples(st.sampled_from(["ping", "pong"]), small | st.sampled_from([None, 5, b"same"])),
    st.tuples(
        st.just("close"),
        st.tuples(st.sampled_from([None, 1000, 1005, 4999, -1, True, "1"]), st.text(max_size=60)),
    ),
    st.tuples(st.just("accept"), st.sampled_from([(), [("X", "1")], [("X", "\r\n")], 5])),
    st.tuples(st.just("reject"), st.sampled_from([403, 200, 101, 999])),
    st.tuples(st.just("configure"), configs),
)


@bounded
@given(role=roles, config=configs, opened=st.booleans(), plan=st.lists(steps, max_size=30))
def test_no_sequence_of_inputs_and_commands_breaks_a_rule(
    role: Role, config: Config, opened: bool, plan: list[tuple[str, Any]]
) -> None:
    """1: only commands raise, and only what they may. 4, 5, 7: see ``check`` and ``finish``."""
    driven = Driven(role, config, opened)
    for name, value in plan:
        driven.step(name, value)
    driven.finish()


@bounded
@given(data=st.data(), role=roles, config=configs)
def test_no_stream_of_bytes_raises(data: st.DataObject, role: Role, config: Config) -> None:
    """1, with bytes that reach deeper."""
    driven = Driven(role, config, opened=True)
    for part in data.draw(cuts(data.draw(streams(role)))):
        driven.step("data", part)
        if data.draw(st.booleans()):
            driven.look()
    driven.step("eof", None)
    driven.finish()
    assert driven.connection.phase is Phase.CLOSED


def whole(events: list[Event]) -> list[Event]:
    """Chunks joined: how a message is cut into them depends on the reads, and may."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Chunk) and isinstance(last, Chunk) and not last.final:
            value: Any = last.data
            joined[-1] = Chunk(value + event.data, last.opcode, last.first, event.final)
        else:
            joined.append(event)
    return joined


def comparable(events: list[Event]) -> list[Event]:
    """With chunks, what may depend on the cut is left out.

    A ping between two parts of a message comes before or after a chunk of it, and of a message that
    is not UTF-8 more is given the later its fault was seen.
    """
    joined = whole([event for event in events if not isinstance(event, Ping)])
    return [event for event in joined if not isinstance(event, Chunk) or event.final]


@bounded
@given(data=st.data(), role=roles, config=configs, compressed=st.booleans())
def test_any_cut_of_the_same_bytes_gives_the_same(
    data: st.DataObject, role: Role, config: Config, compressed: bool
) -> None:
    """2: the same events, the same output; what is a chunk may differ, but not their sum."""
    stream = data.draw(streams(role))
    if compressed:
        stream = data.draw(st.sampled_from(deflated(role))) + stream
    seen = []
    for parts in ([stream], data.draw(cuts(stream)), [bytes([byte]) for byte in stream]):
        driven = Driven(role, config, opened=True)
        if compressed:
            driven.connection = with_deflate(role, config)
        for part in parts:
            driven.step("data", part)
            driven.look()
        partial = driven.connection.partial_message
        driven.step("eof", None)
        driven.finish()
        chunks = config.deliver == "chunks"
        events = comparable(driven.events) if chunks else driven.events
        pings = [event for event in driven.events if isinstance(event, Ping)]
        seen.append((repr(events), pings, bytes(driven.output), partial))
    assert seen[0] == seen[1]
    assert seen[0] == seen[2]


def with_deflate(role: Role, config: Config) -> Connection:
    extension = PerMessageDeflate()
    if role is Role.SERVER:
        agreed = extension.accept(extension.offers()[0])
        assert agreed is not None
    else:
        agreed = extension.confirm(extension.offers(), ())
    agreement = Agreement(
        None, (ExtensionNegotiated(extension.name, agreed.parameters, extension.rsv),)
    )
    counter = itertools.count(1)
    return Connection.after_handshake(
        role,
        config,
        agreement,
        now=1000.0,
        codecs=[agreed.codec(role)],
        random=lambda size: next(counter).to_bytes(size, "big"),
    )


def deflated(role: Role) -> list[bytes]:
    """What a peer with the extension writes."""
    peer = with_deflate(Role.CLIENT if role is Role.SERVER else Role.SERVER, Config())
    peer.send_text("compress me " * 9, compress=True)
    peer.send_binary(bytes(90), final=False, compress=True)
    peer.send_binary(bytes(20))
    peer.send_text("€" * 10, compress=False)
    return [b"".join(peer.data_to_send())]


class Scripted:
    """A whole session, from the request to the last Close; ``heard`` is what each side got."""

    def __init__(self, config: Config) -> None:
        self.ends = {role: fresh(role, config) for role in Role}
        self.heard = dict.fromkeys(Role, b"")
        self.carry()
        for one, other in itertools.permutations(self.ends.values()):
            one.send_text("κόσμε", compress=True)
            one.send_binary(bytes(200))
            one.ping(b"are you there?", 1.0)
            one.send_text("in ", final=False)
            one.pong(b"unasked")
            one.send_text("three ", final=False)
            other.ping(b"", 1.0)
            one.send_text("parts")
            one.send_binary(b"")
            self.carry()
        self.ends[Role.CLIENT].close(4000, "enough, 谢谢", now=1.0)
        self.carry()

    def carry(self) -> None:
        """Carry bytes to and fro until there are none."""
        moved = True
        while moved:
            moved = False
            for role, end in self.ends.items():
                other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
                look_and_accept(end)
                if data := b"".join(end.data_to_send()):
                    moved = True
                    self.heard[other] += data
                    self.ends[other].receive_data(data, 1.0)


def fresh(role: Role, config: Config) -> Connection:
    counter = itertools.count(1)
    target = "ws://server.example/" if role is Role.CLIENT else None
    return Connection(
        role,
        config,
        now=0.0,
        target=target,
        random=lambda size: next(counter).to_bytes(size, "big"),
    )


def look_and_accept(connection: Connection) -> list[Event]:
    told: list[Event] = []
    while events := connection.events():
        told += events
        if connection.phase is Phase.DECIDING:
            connection.accept(1.0)
    return told


def replayed(role: Role, config: Config, parts: Sequence[bytes]) -> tuple[list[Event], bytes]:
    """All that one side tells and writes when it gets these parts, and then the end."""
    connection = fresh(role, config)
    told: list[Event] = []
    for part in parts:
        connection.receive_data(part, 1.0)
        told += look_and_accept(connection)
    connection.receive_eof(1.0)
    told += look_and_accept(connection)
    written = b"".join(connection.data_to_send())
    return comparable(told) if config.deliver == "chunks" else told, written


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("deliver", ["messages", "chunks"])
@pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(threshold=0),)])
def test_every_cut_of_a_whole_session_gives_the_same(
    role: Role, deliver: Any, extensions: tuple[PerMessageDeflate, ...]
) -> None:
    """At each byte, the opening handshake and both Close frames included; and byte by byte."""
    config = Config(extensions=extensions, deliver=deliver)
    data = Scripted(config).heard[role]
    told, written = expected = replayed(role, config, [data])
    assert isinstance(told[-1], Closed)
    assert told[-1].clean
    kinds = [type(event) for event in told]
    assert kinds.count(Message if deliver == "messages" else Chunk) == 4
    assert kinds.count(Ping) == (2 if deliver == "messages" else 0)
    assert len(written) > 150
    for at in range(1, len(data)):
        assert replayed(role, config, [data[:at], data[at:]]) == expected, at
    assert replayed(role, config, [bytes([byte]) for byte in data]) == expected


@pytest.mark.parametrize("bad", [0x40, 0x20, 0x80])
def test_the_cut_test_can_fail(bad: int) -> None:
    """Two streams that differ are told apart by what it compares."""
    good, other = ([frame(0x81, b"ab", KEY)], [frame(0x81, bytes([0x61 ^ (bad >> 6), 98]), KEY)])
    seen = []
    for parts in (good, other):
        driven = Driven(Role.SERVER, Config(), opened=True)
        for part in parts:
            driven.step("data", part)
        driven.finish()
        seen.append(repr(driven.events))
    assert (seen[0] == seen[1]) is (bad == 0x20)


@bounded
@given(role=roles, config=configs, opened=st.booleans(), plan=st.lists(steps, max_size=15))
def test_time_alone_ends_every_connection(
    role: Role, config: Config, opened: bool, plan: list[tuple[str, Any]]
) -> None:
    """6: from any state, by obeying the deadlines and hearing nothing."""
    driven = Driven(role, config, opened)
    for name, value in plan:
        if name != "configure":
            driven.step(name, value)
    driven.step("reading", True)
    driven.step("blocked", 0)
    end = driven.now + 1000
    for _ in range(200):
        driven.look()
        at = driven.connection.next_deadline()
        if at is None:
            break
        driven.step("deadline", None)
    driven.finish()
    assert driven.connection.phase is Phase.CLOSED
    assert driven.connection.transport >= Transport.CLOSE
    assert driven.now <= end


# ---------------------------------------------------------------------- the output of both


@bounded
@given(data=st.data(), role=roles)
def test_what_is_written_is_legal_whatever_is_heard(data: st.DataObject, role: Role) -> None:
    """One Close, nothing but pongs between ours and the peer's, nothing after it; masked as due."""
    driven = Driven(role, CONFIGS[1], opened=True)
    for part in data.draw(cuts(data.draw(streams(role)))):
        driven.step("data", part)
        name, value = data.draw(steps)
        if name not in ("data", "configure"):
            driven.step(name, value)
        driven.look()
    frames = [first for first, _ in parse(bytes(driven.output), masked=role is Role.CLIENT)]
    closes = [place for place, first in enumerate(frames) if first == 0x88]
    assert len(closes) <= 1
    if closes:
        assert set(frames[closes[0] + 1 :]) <= {0x8A}
    for first in frames:
        assert first in (0x01, 0x02, 0x00, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A)


# ---------------------------------------------------------------------- a session


class Hosted:
    """A session whose hooks are started and ended in any order, checked after each step."""

    def __init__(self, hooks: set[str], concurrent: int) -> None:
        self.now = 1000.0
        self.concurrent = concurrent
        self.hooks = hooks
        config = Config(
            concurrent_hooks=concurrent,
            read_high_water=150,
            close_timeout=4,
            ping_interval=3,
            pong_timeout=2,
            receive_timeout=9,
        )
        self.connection = Connection(Role.SERVER, config, now=self.now)
        self.session = Session(self.connection, Hooks(**dict.fromkeys(hooks, print)))
        self.names: list[str] = []
        self.running: list[Call] = []
        self.gave_up = False
        self.closers = 0
        self.reading = False
        self.eof = False
        self.session.received(REQUEST, self.now)

    def step(self, name: str, value: Any) -> None:
        try:
            getattr(self, name)(value)
        except ALLOWED as error:
            note(f"{name}: {error!r}")
            assert name in ("command", "read"), "a report raised"
        self.check()

    # Reports.

    def data(self, value: bytes) -> None:
        if not self.eof:
            self.session.received(value, self.now)

    def end(self, how: str) -> None:
        self.eof = True
        if how == "eof":
            self.session.eof(self.now)
        else:
            self.session.lost(OSError("gone"), self.now)

    def time(self, seconds: float) -> None:
        self.now += seconds
        self.session.tick(self.now)
        self.gave_up = self.session.take_cancel() or self.gave_up

    def start(self, _: object) -> None:
        call = self.session.next_call()
        if call is not None:
            self.names.append(call.kind.name)
            self.running.append(call)

    def outcome(self, value: tuple[int, BaseException | None]) -> None:
        if self.running:
            call = self.running.pop(value[0] % len(self.running))
            if value[1] is None:
                self.session.call_returned(call, None, self.now)
            else:
                self.session.call_failed(call, value[1], self.now)

    # Commands.

    def command(self, name: str) -> None:
        commands: dict[str, Callable[[], object]] = {
            "abort": lambda: self.session.abort(self.now),
            "close": lambda: self.session.close(1000, "", self.now),
            "send": lambda: self.session.send("x", OpCode.TEXT),
            "part": lambda: self.session.send("x", OpCode.TEXT, final=False),
            "post": lambda: self.session.post("x", OpCode.TEXT),
            "ping": lambda: self.session.ping(None, self.now),
        }
        commands[name]()

    def closing(self, begins: bool) -> None:
        if begins or self.closers:
            self.closers += 1 if begins else -1
            self.session.wait_for_close(begins, self.now)

    def read(self, control: bool) -> None:
        """Begin a read, or end the one that was begun."""
        self.reading = not self.reading
        if self.reading:
            self.session.begin_read(self.now, control=control)
            return
        try:
            if self.session.has_message():
                self.session.take_message(self.now)
        except (ProtocolError, PeerTimeout) as error:
            note(f"{error!r} ended it")
        finally:
            self.session.end_read(self.now)

    # What must always hold.

    def check(self) -> None:
        kinds = [call.kind for call in self.running if call.kind is not CallKind.RUN]
        if not self.gave_up:
            assert kinds.count(CallKind.MESSAGE) <= self.concurrent
            if any(kind is not CallKind.MESSAGE for kind in kinds):
                assert len(kinds) == 1, "a hook that runs alone does not"
        names = [name for name in self.names if name != "RUN"]
        assert names.count("OPEN") <= 1
        assert names.count("CLOSE") <= 1
        if "OPEN" in names:
            assert set(names[: names.index("OPEN")]) <= {"REQUEST"}
        if "CLOSE" in names:
            assert names[-1] == "CLOSE"
            assert "OPEN" in names or "on_open" not in self.hooks
        session = self.session
        assert session._cost == sum(map(_cost_of, session._queue))
        assert session._running >= 0
        at = session.next_deadline()
        assert at is None or at > self.now or not self.names, "a deadline that was passed over"

    def finish(self, reads: bool) -> None:
        """Every hook returns at once, and nobody talks: it must come to an end.

        Whether or not somebody ``reads``: a silent peer is found dead though its messages wait.
        """
        for _ in range(300):
            while self.session.has_call():
                self.start(None)
                self.outcome((-1, None))
            while self.running:
                self.outcome((0, None))
            if self.reading is not reads:
                self.step("read", False)
            for _ in range(40 if reads else 0):
                if self.session.is_closed() or not self.session.has_message():
                    break
                self.read(False)
                self.read(False)
            if not self.session.has_call():
                self.session.take_output()
                at = self.session.next_deadline()
                if at is None:
                    break
                self.time(max(at - self.now, 0))
            self.check()
        assert self.session.is_closed()
        assert self.session.is_finished()
        assert not self.session.has_call()
        if self.connection.agreement is not None and "on_close" in self.hooks:
            assert self.names.count("CLOSE") == 1


session_steps = st.one_of(
    st.tuples(st.just("data"), st.sampled_from([*legal(KEY), b"\xff", frame(0x88, b"", KEY)])),
    st.tuples(st.just("start"), st.none()),
    st.tuples(
        st.just("outcome"),
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(
                [None, None, RuntimeError(), KeyboardInterrupt(), ConnectionClosed("")]
            ),
        ),
    ),
    st.tuples(st.just("time"), st.sampled_from([0.1, 3.0, 40.0])),
    st.tuples(st.just("end"), st.sampled_from(["eof", "lost"])),
    st.tuples(
        st.just("command"), st.sampled_from(["abort", "close", "send", "part", "post", "ping"])
    ),
    st.tuples(st.sampled_from(["read", "closing"]), st.booleans()),
)
HOOKS = [
    "on_request", "on_open", "on_text", "on_binary", "on_message", "on_ping", "on_pong",
    "on_error", "on_close", "run",
]  # fmt: skip


@bounded
@given(
    concurrent=st.integers(1, 3),
    hooks=st.sets(st.sampled_from(HOOKS)),
    plan=st.lists(session_steps, max_size=40),
    reads=st.booleans(),
)
def test_no_sequence_of_reports_breaks_the_order_of_hooks(
    concurrent: int, hooks: set[str], plan: list[tuple[str, Any]], reads: bool
) -> None:
    """Alone is alone, overlap is bounded, on_open first, on_close last and once; it always ends."""
    hosted = Hosted(hooks, concurrent)
    for name, value in plan:
        hosted.step(name, value)
    hosted.finish(reads)
