"""The table of ``lifecycle.py``: every phase with every input, as data and in a real connection."""

import itertools
from collections.abc import Callable

import pytest

from tests.core.stage import REQUEST
from tests.core.wire import KEY, close_body, frame, parse
from tools import draw_lifecycle
from wsproto_core import (
    Agreement,
    Close,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    Event,
    HookError,
    LocalProtocolError,
    Phase,
    ProtocolError,
    Refused,
    Response,
    Role,
    Transport,
)
from wsproto_core.handshake import accept_key
from wsproto_core.lifecycle import TABLE, Action, Input

EVERY = list(itertools.product(Phase, Input))
ENDED = (Phase.CLOSE_SENT, Phase.DRAINING, Phase.CLOSED)
CONFIG = Config(ping_interval=7, receive_timeout=30, close_timeout=5, open_timeout=11)


# ---------------------------------------------------------------------- the table as data

# What may not happen, written out: a row that is missing by mistake is a difference to this.
ILLEGAL = {
    Phase.OPENING: {Input.ACCEPT, Input.REJECT, Input.RECV_CLOSE, Input.FAULT},
    Phase.DECIDING: {
        Input.REQUEST, Input.REFUSED, Input.RESPONSE, Input.FAILED, Input.LACKING,
        Input.RECV_CLOSE, Input.FAULT,
    },
    Phase.OPEN: {
        Input.REQUEST, Input.REFUSED, Input.RESPONSE, Input.FAILED, Input.LACKING,
        Input.ACCEPT, Input.REJECT,
    },
}  # fmt: skip
ILLEGAL |= dict.fromkeys(ENDED, ILLEGAL[Phase.OPEN])


@pytest.mark.parametrize(("phase", "what"), EVERY, ids=str)
def test_every_pair_is_a_row_or_an_error(phase: Phase, what: Input) -> None:
    assert ((phase, what) in TABLE) is (what not in ILLEGAL[phase])


@pytest.mark.parametrize(("phase", "what"), list(TABLE), ids=str)
def test_every_row_keeps_the_rules_of_all_rows(phase: Phase, what: Input) -> None:
    after, actions = TABLE[phase, what]
    assert list(Phase).index(after) >= list(Phase).index(phase), "no way back"
    assert (Action.FINISH in actions) is (after is Phase.CLOSED and phase is not Phase.CLOSED)
    assert (Action.START in actions) is (after is Phase.OPEN and phase is not Phase.OPEN)
    leaves_open = phase is Phase.OPEN and after not in (Phase.OPEN, Phase.CLOSED)
    lacks = what is Input.LACKING  # the 101 is good, so frames may follow it: one, the Close
    assert (Action.WRITE_CLOSE in actions) is (leaves_open or lacks), "one Close, never in silence"
    if after is Phase.DRAINING and phase is not Phase.DRAINING:
        assert Action.END_WRITING in actions
    if Action.FINISH in actions:
        assert actions[-1] is Action.FINISH
        assert actions[0] in (Action.CLOSE, Action.ABORT)
    if after in (Phase.CLOSE_SENT, Phase.DRAINING) and phase not in ENDED:
        assert Action.AWAIT_PEER in actions, "nothing else would end it"


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_but_the_last_has_a_way_to_the_end(phase: Phase) -> None:
    for what in (Input.EOF, Input.LATE, Input.LOST):
        assert TABLE[phase, what][0] is Phase.CLOSED


def test_the_drawing_is_current() -> None:
    drawn = draw_lifecycle.PAGE.read_text(encoding="utf-8")
    assert drawn == draw_lifecycle.draw(), "run: python tools/draw_lifecycle.py"


def test_the_drawing_shows_every_row_and_explains_every_word() -> None:
    page = draw_lifecycle.draw()
    for (phase, what), (after, actions) in TABLE.items():
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in page.splitlines()
            if line.startswith(f"| {phase.name} |")
        ]
        (row,) = [row for row in rows if what.value in row[1].split(", ")]
        assert row[2:] == [after.name, ", ".join(action.value for action in actions) or "-"]
    for word in (*(phase.name for phase in Phase), *(w.value for w in (*Input, *Action))):
        (line,) = [line for line in page.splitlines() if line.startswith(f"* **{word}**: ")]
        assert line.endswith((".", ").")), "its docstring was not found"


# ---------------------------------------------------------------------- a real connection


class Subject:
    """One connection in a given phase, with all that it told and wrote since."""

    def __init__(self, role: Role, phase: Phase) -> None:
        self.now = 100.0
        target = "ws://server.example/chat" if role is Role.CLIENT else None
        self.connection = Connection(role, CONFIG, now=self.now, target=target, random=bytes)
        self.events: list[Event] = []
        self.key = KEY if role is Role.SERVER else b""
        self.look()
        if phase in (Phase.DECIDING, Phase.OPEN, *ENDED) and role is Role.SERVER:
            self.feed(REQUEST)
            if phase is not Phase.DECIDING:
                self.connection.accept(self.now)
        elif phase in (Phase.OPEN, *ENDED):
            self.feed(answer(101))
        self.look()
        if phase is Phase.CLOSE_SENT:
            self.connection.close(4001, now=self.now)
        elif phase is Phase.DRAINING:
            self.feed(b"\xff" * 4)
        elif phase is Phase.CLOSED:
            self.connection.abort(self.now)
        self.look()
        assert self.connection.phase is phase
        self.events.clear()

    def feed(self, data: bytes) -> None:
        self.connection.receive_data(data, self.now)

    def frame(self, first: int, payload: bytes) -> bytes:
        return frame(first, payload, self.key)

    def look(self) -> bytes:
        """Drain the events; returns the output."""
        while events := self.connection.events():
            self.events += events
        return b"".join(self.connection.data_to_send())


def answer(status: int) -> bytes:
    accept = accept_key("AAAAAAAAAAAAAAAAAAAAAA==")
    return (
        f"HTTP/1.1 {status} Any\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def late(subject: Subject) -> None:
    """Let the deadline pass that ends this phase."""
    connection = subject.connection
    wait = {Phase.OPENING: 11, Phase.DECIDING: 11, Phase.CLOSE_SENT: 5, Phase.DRAINING: 5}
    if connection.phase is Phase.OPEN:
        connection.data_to_send()
        connection.write_blocked(1, subject.now)
        subject.now += 60  # the send timeout
        connection.set_reading(False, subject.now - 60)  # and no other
    else:
        subject.now += wait.get(connection.phase, 99)
    connection.handle_timeout(subject.now)


Act = Callable[[Subject], None]

ACTS: list[tuple[str, Input, Act]] = [
    ("request", Input.REQUEST, lambda s: s.feed(REQUEST)),
    ("bad request", Input.REFUSED, lambda s: s.feed(b"BREW / HTTP/1.1\r\n\r\n")),
    ("101", Input.RESPONSE, lambda s: s.feed(answer(101))),
    ("404", Input.FAILED, lambda s: s.feed(answer(404))),
    ("wrong 101", Input.FAILED, lambda s: s.feed(answer(101).replace(b"Accept: ", b"Accept: A"))),
    ("accept()", Input.ACCEPT, lambda s: s.connection.accept(s.now)),
    ("reject()", Input.REJECT, lambda s: s.connection.reject(Response(403), s.now)),
    ("close()", Input.SEND_CLOSE, lambda s: s.connection.close(4002, "bye", now=s.now)),
    ("close", Input.RECV_CLOSE, lambda s: s.feed(s.frame(0x88, close_body(4003)))),
    ("garbage", Input.FAULT, lambda s: s.feed(b"\xff" * 4)),
    ("fail()", Input.FAULT, lambda s: s.connection.fail(HookError("a hook"), s.now)),
    ("eof", Input.EOF, lambda s: s.connection.receive_eof(s.now)),
    ("late", Input.LATE, late),
    ("abort()", Input.LATE, lambda s: s.connection.abort(s.now)),
    ("lost", Input.LOST, lambda s: s.connection.lost(OSError("gone"), s.now)),
]
HEADS = (Input.REQUEST, Input.REFUSED, Input.RESPONSE, Input.FAILED)


def expected(role: Role, phase: Phase, name: str, what: Input) -> Input | None:
    """The input that this act is here; ``None``: it must be refused, or have no effect."""
    if what in (Input.REQUEST, Input.REFUSED) and role is Role.CLIENT and phase is Phase.OPENING:
        return Input.FAILED  # it is no response
    if what in (Input.RESPONSE, Input.FAILED) and role is Role.SERVER and phase is Phase.OPENING:
        return Input.REFUSED  # it is no request
    if name == "close" and phase is Phase.OPENING:
        return Input.REFUSED if role is Role.SERVER else Input.FAILED
    if name == "garbage" and phase is Phase.OPENING:
        return Input.REFUSED if role is Role.SERVER else Input.FAILED
    if name == "fail()" and phase in (Phase.OPENING, Phase.DECIDING):
        return Input.LATE
    if what in HEADS and phase in (Phase.OPEN, Phase.CLOSE_SENT):
        return Input.FAULT  # the bytes of a head are no frames
    if (phase, what) in TABLE:
        return what
    return None


PLACES = [
    (role, phase)
    for role, phase in itertools.product(Role, Phase)
    if (role, phase) != (Role.CLIENT, Phase.DECIDING)
]


@pytest.mark.parametrize(("name", "what", "act"), ACTS, ids=[name for name, _, _ in ACTS])
@pytest.mark.parametrize(("role", "phase"), PLACES, ids=str)
def test_a_connection_moves_by_the_table(
    role: Role, phase: Phase, name: str, what: Input, act: Act
) -> None:
    subject = Subject(role, phase)
    connection = subject.connection
    before = connection.transport, connection.next_deadline()
    is_what = expected(role, phase, name, what)
    if what in (Input.ACCEPT, Input.REJECT) and is_what is None:
        kind = ConnectionClosed if phase in ENDED else LocalProtocolError
        with pytest.raises(kind):
            act(subject)
        assert (connection.transport, connection.next_deadline()) == before
    else:
        act(subject)
    output = subject.look()
    after, actions = (phase, ()) if is_what is None else TABLE[phase, is_what]
    assert connection.phase is after
    check_transport(connection, before[0], actions)
    check_written(subject, name, actions, output)
    check_deadline(subject, actions, before[1])
    check_closed(subject, phase, after)


def check_transport(connection: Connection, before: Transport, actions: tuple[Action, ...]) -> None:
    wanted = before
    if Action.END_WRITING in actions and connection.role is Role.SERVER:
        wanted = Transport.SHUT_WRITE
    if Action.CLOSE in actions:
        wanted = Transport.CLOSE
    if Action.ABORT in actions:
        wanted = Transport.ABORT
    assert connection.transport is max(before, wanted)


def check_closed(subject: Subject, before: Phase, after: Phase) -> None:
    told = [event for event in subject.events if isinstance(event, Closed)]
    if after is Phase.CLOSED and before is not Phase.CLOSED:
        assert told == [subject.connection.closed]
        assert subject.events[-1] is told[0]
        if any(isinstance(event, Refused) for event in subject.events):
            assert before is Phase.OPENING
    else:
        assert told == []
    # And nothing brings another one.
    subject.connection.receive_eof(subject.now)
    subject.connection.lost(None, subject.now)
    subject.connection.handle_timeout(subject.now + 1e6)
    subject.connection.close(now=subject.now)
    subject.connection.abort(subject.now)
    output = subject.look()
    assert len([event for event in subject.events if isinstance(event, Closed)]) == (
        before is not Phase.CLOSED
    )
    assert output == b"" or after is Phase.OPEN


def check_written(subject: Subject, name: str, actions: tuple[Action, ...], output: bytes) -> None:
    if Action.ABORT in actions:
        assert output == b""
    if Action.WRITE_CLOSE in actions:
        ((first, body),) = parse(output, masked=subject.connection.role is Role.CLIENT)
        assert first == 0x88
        code = {"close()": 4002, "close": 4003, "fail()": 1011}.get(name, 1002)
        assert int.from_bytes(body[:2], "big") == code
        assert subject.connection.close_sent is not None
    if name == "close" and Close(4003) in subject.events:
        assert subject.connection.close_received == Close(4003)


def check_deadline(subject: Subject, actions: tuple[Action, ...], before: float | None) -> None:
    wanted = before
    if Action.START in actions:
        wanted = subject.now + 7
    if Action.AWAIT_PEER in actions:
        wanted = subject.now + 5
    if Action.FINISH in actions:
        wanted = None
    assert subject.connection.next_deadline() == wanted


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("act", ["close()", "close", "garbage"])
def test_leaving_open_stops_the_heartbeat_and_awaits_the_peer(role: Role, act: str) -> None:
    subject = Subject(role, Phase.OPEN)
    assert subject.connection.next_deadline() == subject.now + 7
    next(do for name, _, do in ACTS if name == act)(subject)
    subject.look()
    assert subject.connection.next_deadline() == subject.now + 5
    subject.connection.handle_timeout(subject.now + 4)
    assert subject.look() == b""


@pytest.mark.parametrize("role", Role)
def test_the_heartbeat_starts_when_the_connection_opens(role: Role) -> None:
    opening = Subject(role, Phase.OPENING)
    assert opening.connection.next_deadline() == opening.now + 11
    opened = Subject(role, Phase.OPEN)
    assert opened.connection.next_deadline() == opened.now + 7


@pytest.mark.parametrize("act", ["bad request", "reject()"])
def test_a_refused_client_must_end_the_stream_within_close_timeout(act: str) -> None:
    phase = Phase.OPENING if act == "bad request" else Phase.DECIDING
    subject = Subject(Role.SERVER, phase)
    next(do for name, _, do in ACTS if name == act)(subject)
    assert subject.connection.next_deadline() == subject.now + 5
    subject.connection.handle_timeout(subject.now + 5)
    assert subject.connection.transport is Transport.ABORT


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OPEN])
@pytest.mark.parametrize("role", Role)
def test_nothing_is_sent_outside_of_open(role: Role, phase: Phase) -> None:
    if (role, phase) == (Role.CLIENT, Phase.DECIDING):
        phase = Phase.OPENING
    subject = Subject(role, phase)
    connection = subject.connection
    kind = ConnectionClosed if phase in ENDED else LocalProtocolError
    commands: list[Callable[[], object]] = [
        lambda: connection.send_text("x"),
        lambda: connection.send_binary(b"x"),
        lambda: connection.ping(None, subject.now),
        connection.pong,
    ]
    if phase is not Phase.DECIDING:
        commands.append(lambda: connection.configure(Config(), subject.now))
    for command in commands:
        with pytest.raises(kind):
            command()
    assert subject.look() == b""
    assert subject.events == []


# ---------------------------------------------------------------------- endings that wait


class Open:
    """An open connection with a small window for events."""

    def __init__(self, role: Role = Role.SERVER, config: Config | None = None) -> None:
        self.connection = Connection.after_handshake(
            role, config or Config(read_high_water=200), Agreement(), now=0.0
        )
        self.key = KEY if role is Role.SERVER else b""
        self.role = role
        self.connection.events()

    def frames(self, *items: tuple[int, bytes]) -> bytes:
        return b"".join(frame(first, payload, self.key) for first, payload in items)

    def events(self) -> list[str]:
        """The kinds of all events, in order."""
        kinds = []
        while events := self.connection.events():
            kinds += [type(event).__name__ for event in events]
        return kinds

    def endings(self) -> tuple[bool, bool]:
        """Whether an ending waits, and whether it is the peer's Close."""
        return self.connection.ending, self.connection.ending_is_close

    def owes(self) -> bool:
        """Whether there is output."""
        return self.connection.has_output

    def sent(self) -> list[tuple[int, bytes]]:
        return parse(b"".join(self.connection.data_to_send()), masked=self.role is Role.CLIENT)


MANY = [(0x82, bytes(100))] * 20
CLOSE = (0x88, close_body(4003))


@pytest.mark.parametrize("role", Role)
def test_a_close_behind_many_messages_is_found_though_the_stream_has_ended(role: Role) -> None:
    subject = Open(role)
    subject.connection.receive_data(subject.frames(*MANY, CLOSE), 1.0)
    subject.connection.receive_eof(1.0)
    assert subject.events() == ["Message"] * 20 + ["Close", "Closed"]
    closed = subject.connection.closed
    assert closed is not None
    assert (closed.code, closed.clean) == (4003, True)


@pytest.mark.parametrize("role", Role)
def test_a_violation_behind_many_messages_is_found_though_the_stream_has_ended(role: Role) -> None:
    subject = Open(role)
    subject.connection.receive_data(subject.frames(*MANY) + b"\xff" * 4, 1.0)
    subject.connection.receive_eof(1.0)
    assert subject.events() == ["Message"] * 20 + ["Closed"]
    assert subject.connection.closed is not None
    assert isinstance(subject.connection.closed.error, ProtocolError)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("closed_first", [False, True])
def test_our_close_loses_no_message_before_the_end_of_the_stream(
    role: Role, closed_first: bool
) -> None:
    subject = Open(role)
    connection = subject.connection
    connection.receive_data(subject.frames(*MANY, CLOSE), 1.0)
    if closed_first:
        connection.close(4000, now=1.0)
    connection.receive_eof(1.0)
    connection.close(4000, now=1.0)
    assert connection.phase is Phase.CLOSE_SENT
    assert subject.events() == ["Message"] * 20 + ["Close", "Closed"]
    assert connection.closed is not None
    assert connection.closed.clean
    assert connection.closed.sent == Close(4000)


def test_an_end_of_the_stream_with_nothing_unread_ends_close_sent_at_once() -> None:
    subject = Open()
    subject.connection.receive_data(subject.frames(MANY[0]), 1.0)
    subject.connection.close(now=1.0)
    subject.connection.receive_eof(1.0)
    assert subject.connection.phase is Phase.CLOSED
    assert subject.events() == ["Message", "Closed"]


def test_holding_leaves_an_ending_alone() -> None:
    subject = Open()
    connection = subject.connection
    connection.receive_data(subject.frames(*MANY, CLOSE), 1.0)
    seen: list[Event] = []
    while events := connection.events(hold=True):
        seen += events
    assert len(seen) == 20
    assert subject.endings() == (True, True)
    assert connection.phase is Phase.OPEN
    assert subject.events() == ["Close"]
    assert subject.endings() == (False, False)


def test_a_violation_is_no_close() -> None:
    subject = Open()
    subject.connection.receive_data(b"\xff" * 4, 1.0)
    assert subject.endings() == (True, False)
    error = subject.connection.error
    assert isinstance(error, ProtocolError)
    subject.events()
    assert subject.connection.error is error


def test_a_failure_of_ours_goes_before_the_peers_close() -> None:
    subject = Open()
    subject.connection.receive_data(subject.frames(CLOSE), 1.0)
    assert subject.connection.error is None
    subject.connection.fail(HookError("a hook"), 1.0)
    assert subject.events() == ["Close"]
    assert subject.sent() == [(0x88, close_body(1011, "internal error"))]
    subject.connection.receive_eof(1.0)
    closed = subject.connection.closed
    assert closed is not None
    assert (closed.code, closed.clean) == (4003, False)


@pytest.mark.parametrize("phase", [Phase.CLOSE_SENT, Phase.DRAINING, Phase.CLOSED])
def test_a_failure_after_the_close_is_kept_if_it_is_the_first(phase: Phase) -> None:
    subject = Open()
    connection = subject.connection
    connection.close(4000, now=1.0)
    if phase is not Phase.CLOSE_SENT:
        connection.receive_data(subject.frames(CLOSE), 1.0)
    if phase is Phase.CLOSED:
        connection.receive_eof(1.0)
    first = HookError("first")
    connection.fail(first, 1.0)
    connection.fail(HookError("second"), 1.0)
    assert connection.error is (None if phase is Phase.CLOSED else first)
    assert subject.sent() == [(0x88, close_body(4000))]


def test_of_two_failures_that_wait_the_second_is_told() -> None:
    """By a Session the second never comes; a bare driver says by it why it ends it now."""
    subject = Open()
    connection = subject.connection
    errors = [HookError("first"), HookError("second")]
    for error in errors:
        connection.fail(error, 1.0)
    assert subject.events() == []
    assert connection.error is errors[1]
    connection.lost(OSError("gone"), 1.0)
    assert connection.closed is not None
    assert connection.closed.error is errors[1]


@pytest.mark.parametrize("closes", [0, 1, 2])
def test_a_reset_after_both_closes_is_no_error(closes: int) -> None:
    subject = Open()
    connection = subject.connection
    if closes > 0:
        connection.close(4000, now=1.0)
    if closes > 1:
        connection.receive_data(subject.frames(CLOSE), 1.0)
    error = ConnectionResetError("reset")
    connection.lost(error, 1.0)
    connection.lost(OSError("again"), 1.0)
    assert connection.closed is not None
    assert connection.closed.error is (None if closes == 2 else error)
    assert connection.closed.clean is (closes == 2)
    assert connection.transport is Transport.ABORT


def test_a_latched_close_counts_when_the_stream_is_lost() -> None:
    subject = Open()
    subject.connection.receive_data(subject.frames((0x82, b"x"), CLOSE), 1.0)
    subject.connection.lost(ConnectionResetError("reset"), 1.0)
    assert subject.events() == ["Message", "Close", "Closed"]
    assert subject.connection.closed is not None
    assert subject.connection.closed.code == 4003


@pytest.mark.parametrize("end", ["close", "violation"])
def test_an_abort_tells_what_was_read_and_not_applied(end: str) -> None:
    subject = Open()
    connection = subject.connection
    connection.receive_data(subject.frames(CLOSE) if end == "close" else b"\xff" * 4, 1.0)
    if end == "close":
        assert connection.close_received == Close(4003)
    connection.abort(1.0)
    closed = connection.closed
    assert closed is not None
    assert closed.clean is False
    assert closed.code == (4003 if end == "close" else 1006)
    assert isinstance(closed.error, ProtocolError) is (end == "violation")
    assert subject.events() == ["Closed"]


def test_bytes_after_the_end_of_the_stream_are_the_callers_mistake() -> None:
    subject = Open()
    subject.connection.receive_eof(1.0)
    with pytest.raises(LocalProtocolError):
        subject.connection.receive_data(b"x", 1.0)


# ---------------------------------------------------------------------- pongs that are owed


@pytest.mark.parametrize("role", Role)
def test_v46_pings_of_a_peer_that_reads_nothing_leave_one_pong(role: Role) -> None:
    subject = Open(role, Config(write_high_water=1000))
    connection = subject.connection
    connection.send_binary(bytes(1000))
    connection.data_to_send()
    connection.write_blocked(2000, 1.0)
    for number in range(4000):
        connection.receive_data(subject.frames((0x89, b"%125d" % number)), 1.0)
        connection.events()
    assert not subject.owes()
    assert connection.bytes_to_send == 0
    assert subject.sent() == []
    connection.write_blocked(1000, 2.0)
    assert subject.owes()
    assert subject.sent() == [(0x8A, b"%125d" % 3999)]
    assert not subject.owes()


@pytest.mark.parametrize("role", Role)
def test_e1_unread_pongs_stay_within_the_mark(role: Role) -> None:
    subject = Open(role, Config(write_high_water=1000))
    ping = subject.frames((0x89, bytes(125)))
    for _ in range(4000):
        subject.connection.receive_data(ping, 1.0)
        subject.connection.events()
    assert subject.connection.bytes_to_send <= 1000 + 131


def test_the_last_owed_pong_goes_before_our_close() -> None:
    subject = Open(config=Config(write_high_water=10))
    subject.connection.send_binary(bytes(20))
    subject.connection.receive_data(subject.frames((0x89, b"p")), 1.0)
    subject.connection.close(4000, now=1.0)
    assert subject.sent()[1:] == [(0x8A, b"p"), (0x88, close_body(4000))]


def test_v52_no_owed_pong_comes_after_the_end_of_our_direction() -> None:
    subject = Open(config=Config(write_high_water=10))
    connection = subject.connection
    connection.close(4000, now=1.0)
    connection.data_to_send()
    connection.write_blocked(100, 1.0)
    connection.receive_data(subject.frames((0x89, b"p"), CLOSE), 1.0)
    assert connection.transport is Transport.SHUT_WRITE
    connection.write_blocked(0, 1.0)
    assert not subject.owes()
    assert subject.sent() == []


def test_v52_after_close_and_before_the_peers_only_pongs_go_out() -> None:
    subject = Open()
    connection = subject.connection
    connection.close(4000, now=1.0)
    connection.receive_data(subject.frames((0x89, b"p"), (0x82, b"x")), 1.0)
    assert subject.sent() == [(0x88, close_body(4000)), (0x8A, b"p")]
    connection.receive_data(subject.frames(CLOSE, (0x89, b"q")), 1.0)
    assert subject.sent() == []
