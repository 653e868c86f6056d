"""Deadlines: ``timers.py`` and the timer part of ``connection.py``, on a virtual clock.

``Alone`` is one open connection whose peer is what the test says; ``Pair`` is two that talk.
"""

import itertools
import math

import pytest

from tests.core.pair import Pair
from tests.core.stage import REQUEST
from tests.core.wire import KEY, close_body, frame, parse
from wsproto_core import (
    Agreement,
    Closed,
    Config,
    Connection,
    Event,
    PeerTimeout,
    Phase,
    Pong,
    Response,
    Role,
    Transport,
)
from wsproto_core.timers import Timer, Timers

OFF = Config(
    ping_interval=None, receive_timeout=None, open_timeout=None, close_timeout=None,
    send_timeout=None,
)  # fmt: skip


# ---------------------------------------------------------------------- the table of deadlines


def test_no_timer_is_set_at_first() -> None:
    timers = Timers()
    assert not any(timers.is_set(timer) for timer in Timer)
    assert timers.next == math.inf
    assert not any(timers.is_set(timer) for timer in Timer)


def test_the_earliest_is_next_and_is_popped_first() -> None:
    timers = Timers()
    timers.start(Timer.CLOSE, 3.0)
    timers.start(Timer.PING, 1.0)
    timers.start(Timer.RECEIVE, 2.0)
    assert timers.next == 1.0
    assert [timers.pop() for _ in range(3)] == [Timer.PING, Timer.RECEIVE, Timer.CLOSE]
    assert timers.next == math.inf


def test_starting_again_moves_a_timer_either_way() -> None:
    timers = Timers()
    for at in (5.0, 9.0, 2.0):
        timers.start(Timer.OPEN, at)
        assert timers.next == at
        assert timers.is_set(Timer.OPEN)


def test_stopping_clears_the_named_and_no_other() -> None:
    timers = Timers()
    for timer in Timer:
        timers.start(timer, 10.0 + timer)
    timers.stop(Timer.OPEN, Timer.PONG)
    assert [timer for timer in Timer if not timers.is_set(timer)] == [Timer.OPEN, Timer.PONG]
    timers.stop(Timer.OPEN)
    assert timers.next == 10.0 + Timer.PING
    timers.stop_all()
    assert timers.next == math.inf


# ---------------------------------------------------------------------- one end, by hand


class Alone:
    """An open connection with nobody at the other end but the test. Times count from 0."""

    def __init__(self, role: Role = Role.SERVER, config: Config | None = None) -> None:
        counter = itertools.count(1)
        self.role = role
        self.start = 1e6  # clocks do not begin at 0
        self.time = 0.0
        self.events: list[Event] = []
        self.said: list[tuple[float, int, bytes]] = []
        self.connection = Connection.after_handshake(
            role,
            config if config is not None else Config(),
            Agreement(),
            now=self.start,
            random=lambda size: next(counter).to_bytes(size, "big"),
        )
        self.look()
        self.events.clear()

    @property
    def now(self) -> float:
        return self.start + self.time

    @property
    def deadline(self) -> float | None:
        at = self.connection.next_deadline()
        return None if at is None else at - self.start

    def look(self) -> None:
        while events := self.connection.events():
            self.events += events
        data = b"".join(self.connection.data_to_send())
        for first, payload in parse(data, masked=self.role is Role.CLIENT):
            self.said.append((self.time, first, payload))

    def tick(self, time: float) -> None:
        """One call of handle_timeout, however late."""
        self.time = time
        self.connection.handle_timeout(self.now)
        deadline = self.deadline
        assert deadline is None or deadline > time, "a busy loop"
        self.look()

    def until(self, time: float) -> None:
        """Obey the deadlines up to a time."""
        while (deadline := self.deadline) is not None and deadline <= time:
            self.tick(deadline)
        self.time = time

    def hear(self, data: bytes) -> None:
        """The peer's bytes arrive."""
        self.connection.receive_data(data, self.now)
        self.look()

    def frame(self, first: int, payload: bytes = b"") -> bytes:
        return frame(first, payload, KEY if self.role is Role.SERVER else b"")

    def pings(self) -> list[float]:
        """When pings went out."""
        return [time for time, first, _ in self.said if first == 0x89]

    def ended(self) -> tuple[float, str] | None:
        """When the Close for a timeout went out, and the timer that it was."""
        for time, first, payload in self.said:
            if first == 0x88:
                assert payload == close_body(1001, "WebSocket Timeout Error")
                error = self.connection.error
                assert isinstance(error, PeerTimeout)
                return time, error.timer
        return None


# ---------------------------------------------------------------------- the heartbeat


def test_f1_a_silent_peer_is_found_after_115_seconds_by_default(role: Role) -> None:
    alone = Alone(role)
    alone.until(1000)
    assert alone.pings() == [20, 60, 105]
    assert alone.ended() == (115, "pong")


def test_f1_one_miss_may_be_enough() -> None:
    alone = Alone(config=Config(max_missed_pongs=1))
    alone.until(1000)
    assert alone.pings() == [20]
    assert alone.ended() == (30, "pong")


def test_f1_a_pair_whose_packets_vanish_ends_on_both_sides() -> None:
    pair = Pair()
    began = pair.now
    for end in pair.ends:
        end.mute = True
    pair.run_for(115)
    for end in pair.ends:
        assert end.connection.phase is Phase.DRAINING
    pair.run_for(10)
    for end in pair.ends:
        assert isinstance(end.closed, Closed)
        assert end.closed.code == 1006
        assert isinstance(end.closed.error, PeerTimeout)
    assert pair.now == began + 125


def test_a_healthy_peer_stays_for_an_hour() -> None:
    pair = Pair(latency=0.05)
    pair.run_for(3600)
    for end in pair.ends:
        assert end.connection.phase is Phase.OPEN
        assert end.connection.latency == pytest.approx(0.1)
    pings = [first for first, _ in parse(bytes(pair.server_end.written).partition(b"\r\n\r\n")[2],
                                         masked=False)].count(0x89)  # fmt: skip
    assert pings == 180


def test_a_peer_without_a_heartbeat_stays_for_an_hour_by_its_pongs() -> None:
    pair = Pair(server_config=OFF, latency=1.0)
    pair.run_for(3600)
    assert pair.client.phase is Phase.OPEN
    assert pair.server.phase is Phase.OPEN


def test_a_peer_as_slow_as_the_timeout_stays() -> None:
    """The pong comes in the same moment in which it would be missed."""
    pair = Pair(server_config=OFF, latency=5.0)
    pair.run_for(3600)
    assert pair.client.phase is Phase.OPEN


@pytest.mark.parametrize(
    ("interval", "cap", "gaps"),
    [
        (20, 45, [40, 45, 45, 45]),
        (20, 1000, [40, 80, 160, 320]),
        (20, 25, [25, 25, 25, 25]),
        (20, 5, [20, 20, 20, 20]),
        (3, 45, [10, 12, 24, 45]),  # a miss is known after pong_timeout only
    ],
)
def test_after_misses_the_next_ping_waits_longer_up_to_the_cap(
    interval: float, cap: float, gaps: list[float]
) -> None:
    config = Config(
        ping_interval=interval, max_backoff=cap, max_missed_pongs=9, receive_timeout=None
    )
    alone = Alone(config=config)
    alone.until(2000)
    if interval == 3:  # pings go on while the first pong is awaited
        assert alone.pings()[:4] == [3, 6, 9, 12]
        return
    seen = alone.pings()
    assert seen[0] == interval
    assert [b - a for a, b in itertools.pairwise(seen)][:4] == gaps


def test_a_pong_ends_the_backoff() -> None:
    alone = Alone(config=Config(receive_timeout=None))
    alone.until(106)
    assert alone.pings() == [20, 60, 105]
    alone.hear(alone.frame(0x8A, alone.said[-1][2]))
    for time in (150, 170, 190):  # the wait that had begun goes on
        alone.until(time)
        alone.hear(alone.frame(0x8A, alone.said[-1][2]))
    assert alone.pings()[3:] == [150, 170, 190]
    alone.until(1000)
    assert alone.pings()[6:] == [210, 250, 295]
    assert alone.ended() == (305, "pong")  # three misses anew


def test_misses_that_are_not_in_a_row_do_not_add_up() -> None:
    alone = Alone(config=Config(receive_timeout=None))
    heard = 0
    while alone.time < 3600:
        deadline = alone.deadline
        assert deadline is not None
        alone.until(deadline)
        if len(alone.pings()) // 2 > heard:  # a word after each second ping
            heard += 1
            alone.hear(alone.frame(0x8A, b"unsolicited"))
    assert alone.ended() is None
    assert heard > 10


def test_a_ping_of_the_application_is_no_heartbeat() -> None:
    alone = Alone(config=Config(receive_timeout=None))
    for time in range(1, 15):
        alone.until(time)
        alone.connection.ping(b"mine", alone.now)
    alone.look()
    alone.said.clear()
    alone.until(1000)
    assert alone.pings() == [20, 60, 105]
    assert alone.ended() == (115, "pong")


@pytest.mark.parametrize("interval", [None, 0])
def test_without_an_interval_there_is_no_heartbeat(interval: float | None) -> None:
    alone = Alone(config=Config(ping_interval=interval, receive_timeout=None))
    assert alone.deadline is None
    alone.tick(1e6)
    assert alone.said == []


def test_without_a_pong_timeout_pings_go_on_and_no_miss_counts() -> None:
    alone = Alone(config=Config(pong_timeout=None))
    alone.until(1000)
    assert alone.pings() == [20, 40, 60, 80, 100, 120]
    assert alone.ended() == (120, "receive")


def test_f3_a_peer_that_talks_but_never_pongs_stays() -> None:
    alone = Alone()
    for time in range(0, 3600, 7):
        alone.until(time)
        alone.hear(alone.frame(0x82, b"data"))
    assert alone.ended() is None
    assert alone.pings() == list(range(20, 3590, 20))


def test_f3_a_peer_that_talks_seldom_costs_misses_but_never_three_in_a_row() -> None:
    alone = Alone()
    for time in range(0, 3600, 15):
        alone.until(time)
        alone.hear(alone.frame(0x82, b"data"))
    assert alone.ended() is None


@pytest.mark.parametrize("after", [0.1, 9.9])
def test_any_byte_after_the_ping_is_life(after: float) -> None:
    alone = Alone(config=Config(max_missed_pongs=1, receive_timeout=None))
    alone.until(20 + after)
    alone.hear(alone.frame(0x82, b"data")[:1])
    alone.until(40)
    assert alone.ended() is None
    alone.until(60)
    assert alone.ended() == (50, "pong")


@pytest.mark.parametrize("before", [0.1, 0])
def test_a_byte_before_the_ping_is_none(before: float) -> None:
    alone = Alone(config=Config(max_missed_pongs=1))
    alone.time = 20 - before
    alone.hear(alone.frame(0x82, b"data"))
    assert alone.pings() == []
    alone.until(60)
    assert alone.ended() == (30, "pong")


def test_f2_a_large_frame_at_1_kib_per_second_is_life() -> None:
    """For ten minutes no pong can come between."""
    alone = Alone(config=Config(receive_timeout=601))
    data = alone.frame(0x82, bytes(600 << 10))
    for second in range(601):
        alone.until(second)
        alone.hear(data[second << 10 : (second + 1) << 10])
    assert alone.ended() is None
    assert len(alone.events) == 1
    assert len(alone.pings()) == 30


def test_f4_only_an_exact_match_tells_the_latency() -> None:
    alone = Alone()
    alone.until(20)
    [(_, _, payload)] = alone.said
    alone.until(21)
    alone.hear(alone.frame(0x8A, b"wrong"))
    before = alone.connection.latency
    alone.until(22)
    alone.hear(alone.frame(0x8A, payload))
    assert (before, alone.connection.latency) == (None, 2)
    alone.hear(alone.frame(0x8A, payload))  # a second time it answers nothing
    assert alone.events == [Pong(b"wrong", None), Pong(payload, 2.0), Pong(payload, None)]


def test_f4_a_later_pong_answers_the_pings_before_it() -> None:
    alone = Alone(config=OFF)
    connection = alone.connection
    keys = [connection.ping(None, alone.now) for _ in range(4)]
    alone.until(1)
    alone.hear(alone.frame(0x8A, keys[2]))
    assert [connection.awaits_pong(key) for key in keys] == [False, False, False, True]
    alone.hear(alone.frame(0x8A, keys[0]))
    assert alone.events[-1] == Pong(keys[0], None)


def test_a_pong_leaves_later_pings_awaited() -> None:
    alone = Alone()
    alone.until(20)
    alone.connection.ping(b"later", alone.now)
    alone.until(25)
    alone.hear(alone.frame(0x8A, alone.said[0][2]))
    assert alone.connection.awaits_pong(b"later")
    alone.until(30)  # the timeout is judged: that pong was life
    assert alone.pings() == [20, 25]  # the second is seen when somebody looks
    assert alone.deadline == 40


def test_the_same_ping_twice_is_answered_by_its_latest() -> None:
    alone = Alone(config=OFF)
    alone.connection.ping(b"same", alone.now)
    alone.until(5)
    alone.connection.ping(b"same", alone.now)
    alone.until(6)
    alone.hear(alone.frame(0x8A, b"same"))
    assert alone.connection.latency == 1


# ---------------------------------------------------------------------- silence and slow frames


def test_silence_ends_the_connection(role: Role) -> None:
    alone = Alone(role, Config(ping_interval=None, receive_timeout=30))
    alone.until(25)
    alone.hear(alone.frame(0x8A))
    alone.until(54.9)
    assert alone.ended() is None
    alone.until(99)
    assert alone.ended() == (55, "receive")
    assert "no byte" in str(alone.connection.error)


def test_a_dripping_frame_does_not_renew_its_time() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    data = alone.frame(0x82, bytes(100))
    for step in range(40):
        alone.until(10 + step)
        if alone.ended():
            break
        alone.hear(data[step : step + 1])
    assert alone.ended() == (40, "receive")  # 30 after its first byte
    assert "a frame took longer" in str(alone.connection.error)


def test_each_frame_has_its_own_time() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    whole = b"".join(alone.frame(0x82, bytes([n]) * 50) for n in range(6))
    for step in range(0, len(whole), 4):
        alone.until(step / 4)  # a frame takes 14 seconds
        alone.hear(whole[step : step + 4])
    assert alone.time > 60
    assert alone.ended() is None
    assert len(alone.events) == 6


def test_control_frames_inside_a_message_do_not_hold_a_frame_open() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    alone.hear(alone.frame(0x02, b"part"))  # no frame is in progress: fragments may be far apart
    for time in range(20, 200, 20):
        alone.until(time)
        alone.hear(alone.frame(0x89))
    assert alone.ended() is None


def test_silence_counts_before_the_first_byte() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    assert alone.deadline == 30
    alone.until(30)
    assert alone.ended() == (30, "receive")


# ---------------------------------------------------------------------- our own doing


def test_reading_paused_by_us_blames_nobody() -> None:
    alone = Alone()
    alone.connection.set_reading(False, alone.now)
    alone.until(1000)
    assert alone.ended() is None
    assert len(alone.pings()) >= 40  # the heartbeat goes on
    alone.connection.set_reading(True, alone.now)
    alone.connection.set_reading(True, alone.now)
    alone.until(2000)
    ended = alone.ended()
    assert ended is not None
    assert 1010 <= ended[0] <= 1125


@pytest.mark.parametrize(
    ("config", "at"), [(Config(), 30), (Config(ping_interval=None, receive_timeout=40), 40)]
)
def test_a_peer_that_we_do_not_read_is_in_doubt(config: Config, at: float) -> None:
    """From the first deadline that cannot be judged until reading goes on."""
    alone = Alone(config=config)
    connection = alone.connection
    seen = [connection.in_doubt]
    connection.set_reading(False, alone.now)
    for time in (at - 1, at):
        alone.until(time)
        seen.append(connection.in_doubt)
    for reading in (False, True):
        connection.set_reading(reading, alone.now)
        seen.append(connection.in_doubt)
    alone.until(1000)
    seen.append(connection.in_doubt)
    assert seen == [False, False, True, True, False, False]
    assert alone.ended() is not None


def test_a_frame_that_we_do_not_read_is_not_slow() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    data = alone.frame(0x82, b"data")
    alone.hear(data[:3])
    alone.connection.set_reading(False, alone.now)
    alone.until(500)
    alone.connection.set_reading(True, alone.now)
    alone.until(529)
    assert alone.ended() is None
    alone.hear(data[3:])
    assert len(alone.events) == 1
    alone.until(558)
    assert alone.ended() is None
    alone.until(559)
    assert alone.ended() == (559, "receive")


def test_f5_a_loop_blocked_for_60_s_closes_no_live_connection() -> None:
    """Both at once: their deadlines are late, their bytes unread."""
    pair = Pair()
    pair.run_for(25)
    for _ in range(20):
        pair.now += 60
        for connection in (pair.client, pair.server):
            connection.handle_timeout(pair.now)
        pair.run_for(25)
    assert pair.client.phase is Phase.OPEN
    assert pair.server.phase is Phase.OPEN


@pytest.mark.parametrize("asleep", [12, 60, 200, 1e4, 3e8])
def test_f6_after_a_suspension_the_peer_gets_one_more_time(asleep: float) -> None:
    alone = Alone()
    alone.until(20)  # a ping is out
    alone.tick(20 + asleep)
    assert alone.ended() is None
    assert alone.deadline is not None
    alone.hear(alone.frame(0x8A, alone.said[-1][2]))  # it was there all the time
    alone.until(alone.time + 19)
    assert alone.ended() is None


@pytest.mark.parametrize("asleep", [12, 60, 200, 1e4])
def test_f6_a_dead_peer_is_found_after_a_suspension(asleep: float) -> None:
    alone = Alone()
    alone.until(20)
    alone.tick(20 + asleep)
    alone.until(20 + asleep + 120)
    assert alone.ended() is not None


@pytest.mark.parametrize("role", [Role.SERVER])
def test_f6_who_always_sleeps_too_long_is_not_forgiven_for_ever(role: Role) -> None:
    alone = Alone(role, Config(ping_interval=None, receive_timeout=30))
    for _ in range(2):
        deadline = alone.deadline
        assert deadline is not None
        alone.tick(deadline + 5)
    assert alone.ended() == (70, "receive")


def test_f6_a_word_of_the_peer_renews_the_forgiveness() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    for _ in range(5):
        deadline = alone.deadline
        assert deadline is not None
        alone.tick(deadline + 5)
        alone.hear(alone.frame(0x8A))
    assert alone.ended() is None


@pytest.mark.parametrize(("late", "forgiven"), [(0.9, False), (1.0, False), (1.1, True)])
def test_a_second_late_is_not_asleep(late: float, forgiven: bool) -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30))
    alone.tick(30 + late)
    assert (alone.ended() is None) is forgiven


# ---------------------------------------------------------------------- open, send, close, hooks


def opening(role: Role, config: Config) -> Connection:
    target = "ws://server.example/" if role is Role.CLIENT else None
    return Connection(role, config, now=100.0, target=target)


def test_the_open_timeout_ends_a_handshake(role: Role) -> None:
    connection = opening(role, Config(open_timeout=7))
    assert connection.next_deadline() == 107
    start = b"GET / HTTP/1.1\r\n" if role is Role.SERVER else b"HTTP/1.1 101 Yes\r\n"
    for second in range(7):  # slow headers do not renew it
        connection.receive_data(start[second : second + 1], 100.0 + second)
    connection.handle_timeout(106.9)
    assert connection.phase is Phase.OPENING
    connection.handle_timeout(107.0)
    assert connection.transport is Transport.ABORT
    assert connection.closed is not None
    assert isinstance(connection.closed.error, PeerTimeout)
    assert connection.closed.error.timer == "open"
    assert connection.next_deadline() is None


def test_the_open_timeout_goes_on_while_a_request_waits_and_ends_with_the_101() -> None:
    connection = opening(Role.SERVER, Config(open_timeout=7, ping_interval=20))
    connection.receive_data(REQUEST, 103.0)
    assert connection.next_deadline() == 107
    connection.accept(105.0)
    assert connection.next_deadline() == 125


def test_a_refusal_ends_the_open_timeout() -> None:
    connection = opening(Role.SERVER, Config(open_timeout=7, close_timeout=20))
    connection.receive_data(REQUEST, 103.0)
    connection.reject(Response(403), 105.0)
    assert connection.next_deadline() == 125


def test_all_timeouts_may_be_off(role: Role) -> None:
    connection = opening(role, OFF)
    assert connection.next_deadline() is None
    alone = Alone(role, OFF)
    alone.connection.write_blocked(1, alone.now)
    assert alone.deadline is None
    alone.hear(alone.frame(0x88))
    assert alone.deadline is None
    alone.tick(1e9)
    assert alone.connection.phase is Phase.DRAINING


def test_e3_a_peer_that_takes_nothing_is_dropped() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=None, send_timeout=30))
    alone.connection.send_binary(bytes(1000))
    alone.look()
    alone.connection.write_blocked(1000, alone.now)
    assert alone.deadline == 30
    alone.tick(20)
    alone.connection.write_blocked(999, alone.now)  # one byte was taken
    assert alone.deadline == 50
    alone.tick(40)
    alone.connection.write_blocked(999, alone.now)
    assert alone.deadline == 50
    alone.connection.send_binary(bytes(996))
    alone.look()
    alone.connection.write_blocked(1999, alone.now)  # more is there, but none was taken
    assert alone.deadline == 50
    alone.tick(50)
    assert alone.connection.transport is Transport.ABORT
    assert isinstance(alone.events[-1], Closed)
    error = alone.events[-1].error
    assert isinstance(error, PeerTimeout)
    assert (error.timer, error.close_code) == ("send", 1006)
    assert "1999 bytes" in str(error)


def test_e3_a_peer_that_caught_up_is_left_alone() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=None, send_timeout=30))
    alone.connection.send_binary(bytes(1000))
    alone.look()
    alone.connection.write_blocked(1000, alone.now)
    alone.connection.write_blocked(0, alone.now)
    assert alone.deadline is None


@pytest.mark.parametrize("stall", ["never answers", "answers and stays", "keeps sending"])
def test_c12_a_stalled_close_ends_at_close_timeout(role: Role, stall: str) -> None:
    alone = Alone(role, Config(close_timeout=5))
    alone.connection.close(1000, now=alone.now)
    alone.look()
    if stall == "answers and stays":
        alone.tick(4)
        alone.hear(alone.frame(0x88, close_body(1000)))
    for step in range(1, 50):
        alone.tick(step / 10 if stall == "keeps sending" else 4.9)
        if stall == "keeps sending":
            alone.hear(alone.frame(0x82, bytes(6554)))  # 64 KiB/s
    assert alone.connection.phase is not Phase.CLOSED
    assert alone.deadline == 5
    alone.tick(5)
    assert alone.connection.transport is Transport.ABORT
    closed = alone.connection.closed
    assert closed is not None
    if stall == "answers and stays":
        assert (closed.code, closed.error) == (1000, None)
    else:
        assert closed.code == 1006
        assert isinstance(closed.error, PeerTimeout)
        assert closed.error.timer == "close"
    assert alone.deadline is None


def test_c12_draining_cannot_be_extended(role: Role) -> None:
    alone = Alone(role, Config(close_timeout=5))
    alone.hear(alone.frame(0x88, close_body(1000)))
    for step in range(1, 50):
        alone.tick(step / 10)
        alone.hear(bytes(6554))
    assert alone.deadline == 5
    alone.tick(5)
    assert alone.connection.transport is Transport.ABORT


def test_c12_a_server_closes_first(role: Role) -> None:
    pair = Pair(latency=0.1)
    side = pair.server if role is Role.SERVER else pair.client
    side.close(1000, now=pair.now)
    pair.run_until_quiet(1)
    assert pair.server_end.closed is not None
    assert pair.client_end.closed is not None
    assert pair.server_end.closed.clean
    assert pair.client_end.closed.clean


def test_v52_a_half_open_peer_costs_no_timer_after_the_deadline(role: Role) -> None:
    pair = Pair(Config(close_timeout=5), Config(close_timeout=5))
    side, other = pair.ends if role is Role.CLIENT else reversed(pair.ends)
    other.mute = True
    side.connection.close(1000, now=pair.now)
    pair.run_until_quiet(5)
    assert side.connection.next_deadline() is None
    assert side.connection.transport is Transport.ABORT


def test_an_ending_that_nobody_looks_for_is_applied_by_time(role: Role) -> None:
    alone = Alone(role, Config(close_timeout=5))
    connection = alone.connection
    connection.receive_data(alone.frame(0x82, b"unseen") + alone.frame(0x88), alone.now)
    assert connection.ending
    assert alone.deadline == 5
    phases = []
    for seconds in (4.9, 5, 10):
        connection.handle_timeout(alone.now + seconds)
        phases.append(connection.phase)
    assert phases == [Phase.OPEN, Phase.DRAINING, Phase.CLOSED]
    alone.look()
    assert [type(event).__name__ for event in alone.events] == ["Message", "Close", "Closed"]


def test_a_latched_ending_has_one_deadline_whatever_follows() -> None:
    alone = Alone(config=Config(close_timeout=5))
    connection = alone.connection
    connection.receive_data(alone.frame(0x88), alone.now)
    connection.receive_eof(alone.now + 3)
    connection.fail(RuntimeError(), alone.now + 4)
    assert alone.deadline == 5


def test_without_close_timeout_an_ending_waits_for_a_look() -> None:
    alone = Alone(config=OFF)
    alone.connection.receive_data(alone.frame(0x88), alone.now)
    assert alone.deadline is None
    alone.tick(1e6)  # looks
    assert alone.connection.phase is Phase.DRAINING


@pytest.mark.parametrize("freed", [False, True])
def test_c12_a_transport_that_cannot_write_is_not_waited_for_for_ever(freed: bool) -> None:
    alone = Alone(config=Config(close_timeout=5))
    alone.connection.send_binary(bytes(1000))
    alone.look()
    alone.connection.write_blocked(1000, alone.now)
    alone.connection.receive_eof(alone.now)
    alone.look()
    assert alone.connection.phase is Phase.CLOSED
    assert alone.connection.transport == Transport.CLOSE
    assert alone.deadline == 5
    alone.connection.write_blocked(500, alone.now)
    assert alone.deadline == 5
    if freed:
        alone.connection.write_blocked(0, alone.now)
        assert alone.connection.next_deadline() is None
    else:
        alone.tick(5)
        assert alone.connection.transport == max(Transport)
        alone.connection.write_blocked(500, alone.now)
        assert alone.connection.next_deadline() is None
    assert len([event for event in alone.events if isinstance(event, Closed)]) == 1


def test_without_close_timeout_a_closed_transport_is_waited_for() -> None:
    alone = Alone(config=OFF)
    alone.connection.send_binary(bytes(1000))
    alone.look()
    alone.connection.write_blocked(1000, alone.now)
    alone.connection.receive_eof(alone.now)
    alone.look()
    assert alone.deadline is None


# ---------------------------------------------------------------------- looking at the clock


def test_calls_that_come_early_or_twice_do_nothing() -> None:
    alone = Alone()
    alone.tick(19.999)
    assert alone.said == []
    alone.tick(20)
    alone.tick(20)
    assert alone.pings() == [20]


def test_every_input_may_change_the_deadline() -> None:
    alone = Alone(config=Config(ping_interval=None, receive_timeout=30, close_timeout=5))
    assert alone.deadline == 30
    alone.time = 10
    alone.hear(alone.frame(0x8A))
    assert alone.deadline == 30  # judged when it fires: a read costs one store
    alone.tick(30)
    assert alone.deadline == 40
    alone.connection.close(now=alone.now)
    assert alone.deadline == 35


@pytest.mark.parametrize("step", [0.5, 7, 33, 1000])
@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("pong_timeout", [None, 0.5, 10])
def test_no_state_loops(step: float, reading: bool, pong_timeout: float | None) -> None:
    """``Alone.tick`` checks each time that the deadline moved on."""
    config = Config(ping_interval=3, pong_timeout=pong_timeout, max_missed_pongs=5, max_backoff=4)
    alone = Alone(config=config)
    alone.connection.set_reading(reading, alone.now)
    for count in range(1, 400):
        alone.tick(count * step)
    assert len(alone.pings()) <= 400


@pytest.mark.parametrize("now", [0.0, 1e9, 1e12])
def test_the_shortest_times_that_may_be_set_do_not_loop(now: float) -> None:
    config = Config(ping_interval=0.001, pong_timeout=0.001, receive_timeout=0.001, max_backoff=1)
    connection = Connection.after_handshake(Role.SERVER, config, Agreement(), now=now)
    connection.set_reading(False, now)
    for _ in range(20):
        at = connection.next_deadline()
        assert at is not None
        assert at > now
        now = at
        connection.handle_timeout(now)
    with pytest.raises(ValueError, match="ping_interval"):
        Config(ping_interval=1e-12)
