"""``wsproto_asyncio.watch``: a loop's sockets and deadlines, and the turns that it takes over."""

import asyncio
import gc
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.bindings.peer import DEADLINE, Peer, connect_tcp
from wsproto_asyncio import WebSocketView, serve, watch
from wsproto_asyncio.watch import (
    READ,
    Alarm,
    EpollWatch,
    Watched,
    has_epoll,
    is_monotonic,
)
from wsproto_views import quick

pytestmark = [
    pytest.mark.skipif(not has_epoll, reason="there is no epoll here"),
    pytest.mark.timeout(60),
]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Reader(Watched):
    """Has a socket watched and reads ``piece`` bytes each time it is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: EpollWatch, piece: int) -> None:
        self.loop = loop
        self.watch = watch
        super().__init__()
        self.piece = piece
        self.got = b""
        self.events = 0
        self.raises: list[BaseException] = []
        self.on_more: Callable[[], None] = loop.stop
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        watch.want(self.sock.fileno(), self, READ)

    def on_ready(self, events: int) -> None:
        if self.raises:
            raise self.raises.pop()
        self.events = events
        data = self.sock.recv(self.piece)
        self.got += data
        if len(data) == self.piece:
            self.watch.again(self.sock.fileno(), self)
        else:
            self.on_more()

    def close(self) -> None:
        self.watch.want(self.sock.fileno(), self, 0)
        self.sock.close()
        self.peer.close()


# ---------------------------------------------------------------------- sockets


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_left_unread_is_told_again(loop: asyncio.AbstractEventLoop, others: int) -> None:
    """The epoll tells of it only once by itself; a lone socket is not even asked for."""
    watching = EpollWatch(loop)
    other = [Reader(loop, watching, 10) for _ in range(others)]
    reader = Reader(loop, watching, 10)
    reader.peer.send(b"0123456789" * 3 + b"end")
    loop.run_forever()
    assert reader.got == b"0123456789" * 3 + b"end"
    for each in (*other, reader):
        each.close()


def test_an_end_behind_the_data_is_told_with_it(loop: asyncio.AbstractEventLoop) -> None:
    """A short read would else be taken for all there is, and the end never told of."""
    watching = EpollWatch(loop)
    other, reader = Reader(loop, watching, 10), Reader(loop, watching, 10)
    reader.peer.send(b"abc")
    reader.peer.shutdown(socket.SHUT_WR)
    loop.run_forever()
    assert reader.events & ~READ
    other.close()
    reader.close()


def test_who_is_interrupted_leaves_the_others_their_errors_on_uvloop() -> None:
    """The epoll tells of them only once by itself."""
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    watching = EpollWatch(loop)
    told: list[Watched] = []

    class Broken(Watched):
        def __init__(self) -> None:
            super().__init__()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.peer = connect_tcp(listener.getsockname()[1])
                self.sock, _ = listener.accept()
            self.sock.setblocking(False)
            watching.want(self.sock.fileno(), self, READ)

        def on_ready(self, events: int) -> None:
            if self in told:
                return
            told.append(self)
            if len(told) == 1:
                raise KeyboardInterrupt
            if len(told) == len(broken):
                loop.stop()

    broken = [Broken() for _ in range(3)]
    for each in broken:
        # No lingering: a reset.
        each.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.peer.close()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.call_later(DEADLINE, loop.stop)
    loop.run_forever()
    for each in broken:
        watching.want(each.sock.fileno(), each, 0)
        each.sock.close()
    loop.close()
    assert len(told) == len(broken)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_who_is_interrupted_leaves_the_others_theirs(
    loop: asyncio.AbstractEventLoop, error: BaseException
) -> None:
    watching = EpollWatch(loop)
    readers = [Reader(loop, watching, 10) for _ in range(3)]
    for reader in readers:
        reader.raises.append(error)
        reader.peer.send(b"abc")
        reader.on_more = lambda: None
    for _ in readers:
        with pytest.raises(type(error)):
            loop.run_forever()

    def on_more() -> None:
        if all(reader.got for reader in readers):
            loop.stop()

    for reader in readers:
        reader.on_more = on_more
    loop.run_forever()
    assert [reader.got for reader in readers] == [b"abc"] * 3
    for reader in readers:
        reader.close()


class Stepped(Reader):
    """Notes its steps. ``handle`` takes ``takes`` seconds, and raises what ``raises`` has."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watch: EpollWatch,
        steps: list[tuple[str, "Stepped"]],
        takes: float = 0.0,
    ) -> None:
        super().__init__(loop, watch, 10)
        self.steps = steps
        self.takes = takes

    def on_ready(self, events: int) -> None:
        Watched.on_ready(self, events)

    def take_in(self, events: int) -> None:
        self.steps.append(("take_in", self))
        with suppress(BlockingIOError):
            self.got += self.sock.recv(10)

    def handle(self) -> None:
        self.steps.append(("handle", self))
        until = time.monotonic() + self.takes
        while time.monotonic() < until:
            pass
        if self.raises:
            raise self.raises.pop()

    def finish(self) -> None:
        self.steps.append(("finish", self))
        if [step for step, _ in self.steps].count("finish") == 20:
            self.loop.stop()


@pytest.mark.parametrize("takes", [0.0, 0.001])
def test_many_are_gone_through_step_by_step(loop: asyncio.AbstractEventLoop, takes: float) -> None:
    """All are read before any is handled; and none waits long for its answer to be written."""
    watching = EpollWatch(loop)
    steps: list[tuple[str, Stepped]] = []
    readers = [Stepped(loop, watching, steps, takes) for _ in range(20)]
    for reader in readers:
        reader.peer.send(b"abc")
    loop.run_forever()
    names = [step for step, _ in steps]
    assert names[:20] == ["take_in"] * 20
    assert sorted(names[20:]) == ["finish"] * 20 + ["handle"] * 20
    for reader in readers:
        assert [step for step, who in steps if who is reader] == ["take_in", "handle", "finish"]
    if takes:
        assert names[-1] == "finish"
        assert names.index("finish") == 21  # the first was late at once
        assert names[names.index("finish") + 1 :].index("finish") == 8
    for reader in readers:
        reader.close()


def test_few_are_gone_through_one_by_one(loop: asyncio.AbstractEventLoop) -> None:
    """Else their peers would wait for each other."""
    watching = EpollWatch(loop)
    steps: list[tuple[str, Stepped]] = []
    readers = [Stepped(loop, watching, steps) for _ in range(8)]
    for reader in readers:
        reader.peer.send(b"abc")
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert [step for step, _ in steps] == ["take_in", "handle", "finish"] * 8
    for reader in readers:
        reader.close()


def test_who_is_interrupted_among_many_leaves_the_others_their_steps(
    loop: asyncio.AbstractEventLoop,
) -> None:
    watching = EpollWatch(loop)
    steps: list[tuple[str, Stepped]] = []
    readers = [Stepped(loop, watching, steps) for _ in range(20)]
    readers[10].raises.append(KeyboardInterrupt())
    for reader in readers:
        reader.peer.send(b"abc")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.run_forever()
    assert {who for step, who in steps if step == "finish"} == set(readers)
    assert [reader.got for reader in readers] == [b"abc"] * 20
    for reader in readers:
        reader.close()


# ---------------------------------------------------------------------- deadlines


@pytest.fixture(params=[True, False], ids=["own-timer", "loop-timers"])
def keeping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there is a timer of the system."""
    if request.param:
        if not quick.has_timer:
            pytest.skip("the pure build has it from Python 3.13 on")
    else:
        monkeypatch.setattr(watch, "has_timer", False)
    return bool(request.param)


def test_alarms_ring_in_order_and_not_before(
    loop: asyncio.AbstractEventLoop, keeping: bool
) -> None:
    watching = EpollWatch(loop)
    start = time.monotonic()
    rung: list[tuple[int, float]] = []

    def ring(number: int, delay: float) -> None:
        rung.append((number, time.monotonic() - start - delay))
        if len(rung) == 4:
            loop.stop()

    delays = [0.03, 0.01, 0.02, -1.0]
    alarms = [
        watching.call_at(start + delay, partial(ring, n, delay)) for n, delay in enumerate(delays)
    ]
    assert all(isinstance(alarm, Alarm) for alarm in alarms) is keeping
    loop.run_forever()
    assert [number for number, _ in rung] == [3, 1, 2, 0]
    assert all(late > -0.001 for _, late in rung)
    watched = loop._selector.get_map()  # type: ignore[attr-defined]
    assert len(watched) == 1  # asyncio's own pipe: the timer was closed


def test_a_cancelled_alarm_does_not_ring(loop: asyncio.AbstractEventLoop, keeping: bool) -> None:
    watching = EpollWatch(loop)
    rung: list[str] = []
    now = time.monotonic()

    def ring() -> None:
        rung.append("first")
        second.cancel()

    first = watching.call_at(now, ring)
    second = watching.call_at(now, lambda: rung.append("second"))
    third = watching.call_at(now, lambda: rung.append("third"))
    watching.call_at(now + 0.01, loop.stop)
    third.cancel()
    third.cancel()
    loop.run_forever()
    first.cancel()
    assert rung == ["first"]
    assert len(loop._selector.get_map()) == 1  # type: ignore[attr-defined]


def test_cancelled_alarms_do_not_stay(loop: asyncio.AbstractEventLoop) -> None:
    """However many come and go beside one that stays, and when the last one goes."""
    watching = EpollWatch(loop)
    if not quick.has_timer:
        pytest.skip("the pure build has it from Python 3.13 on")
    stays = watching.call_at(time.monotonic() + 1000, loop.stop)

    before = len(gc.get_objects())
    for _ in range(10_000):
        watching.call_at(time.monotonic() + 500, lambda: None).cancel()
    assert len(gc.get_objects()) - before < 1000
    live = [watching.call_at(time.monotonic() + 0.001 * n, lambda: None) for n in range(300)]
    for alarm in live[::2]:
        alarm.cancel()
    watching.call_at(time.monotonic() + 0.31, loop.stop)
    loop.run_forever()
    assert all(isinstance(alarm, Alarm) and alarm.call is None for alarm in live)
    assert len(loop._selector.get_map()) == 2  # type: ignore[attr-defined]
    stays.cancel()
    assert len(loop._selector.get_map()) == 1  # type: ignore[attr-defined]


def test_a_clock_of_somebodys_own_is_left_to_the_loop() -> None:
    """Tests that move the time have their loop's timers moved with it."""

    class Moved(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() + 1000

    loop = Moved()
    assert not is_monotonic(loop)
    alarm = EpollWatch(loop).call_at(loop.time() + 0.001, loop.stop)
    assert isinstance(alarm, asyncio.TimerHandle)
    loop.run_forever()
    assert loop.time() >= alarm.when()
    loop.close()


def test_a_server_holds_what_it_will_need(loop: asyncio.AbstractEventLoop) -> None:
    """When its connections have taken all descriptors it is too late to ask for more."""
    watching = EpollWatch(loop)
    opened = 1 + quick.has_timer
    watching.hold()
    assert len(loop._selector.get_map()) == 1 + opened  # type: ignore[attr-defined]
    reader = Reader(loop, watching, 10)
    watching.call_at(time.monotonic(), loop.stop)
    loop.run_forever()
    reader.close()
    assert len(loop._selector.get_map()) == 1 + opened  # type: ignore[attr-defined]
    watching.release()
    assert len(loop._selector.get_map()) == 1  # type: ignore[attr-defined]


def test_what_is_in_use_outlives_the_server(loop: asyncio.AbstractEventLoop) -> None:
    watching = EpollWatch(loop)
    watching.hold()
    reader = Reader(loop, watching, 10)
    watching.release()
    reader.peer.send(b"abc")
    loop.run_forever()
    assert reader.got == b"abc"
    reader.close()
    assert len(loop._selector.get_map()) == 1  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- turns that are taken over


class Turns(asyncio.SelectorEventLoop):
    """Not asyncio's loop to the letter: no turn is taken over."""


class Echo(WebSocketView):
    async def on_receive(self, message: str | bytes, opcode: int) -> None:
        await self.send(message, opcode)


def echo(
    loop: asyncio.AbstractEventLoop,
    messages: int,
    view: type[WebSocketView] = Echo,
    between: Callable[[int], None] = lambda number: None,
) -> int:
    """Round trips from another thread, one after the other; returns the turns of the loop."""
    turns = 0
    once = loop._run_once  # type: ignore[attr-defined]

    def run_once() -> None:
        nonlocal turns
        turns += 1
        once()

    loop._run_once = run_once  # type: ignore[attr-defined]

    def go(port: int) -> None:
        peer = Peer(connect_tcp(port), is_client=True)
        with peer.sock:
            assert peer.request().status == 101
            for number in range(messages):
                between(number)
                peer.send_raw(peer.encode(0x81, f"{number:05}"))
                assert peer.frame() == (0x81, b"%05d" % number)

    async def main() -> None:
        async with serve(view) as server:
            assert server.port is not None
            await asyncio.to_thread(go, server.port)

    loop.run_until_complete(main())
    return turns


def test_messages_close_upon_another_need_no_turns(loop: asyncio.AbstractEventLoop) -> None:
    if not quick.has_wait:
        pytest.skip("only the compiled build, on Linux")
    messages = 500
    assert echo(loop, messages) < messages


def test_a_loop_in_debug_mode_takes_its_turns(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    assert echo(loop, 50) > 50


def test_a_loop_of_somebodys_own_takes_its_turns() -> None:
    loop = Turns()
    assert echo(loop, 50) > 50
    loop.close()


def test_without_epoll_below_the_loop_it_takes_its_turns() -> None:
    loop = asyncio.SelectorEventLoop(selectors.PollSelector())
    assert echo(loop, 50) > 50
    loop.close()


def test_what_a_hook_asks_of_the_loop_comes_in_time(loop: asyncio.AbstractEventLoop) -> None:
    """A callback before the next message, a timer at its time, and another socket."""
    order: list[str] = []
    late: list[float] = []
    one, other = socket.socketpair()
    one.setblocking(False)
    loop.add_reader(one, lambda: order.append(one.recv(10).decode()))

    class Asking(WebSocketView):
        async def on_receive(self, message: str | bytes, opcode: int) -> None:
            number = message.decode() if isinstance(message, bytes) else message
            order.append(number)
            loop.call_soon(order.append, f"soon {number}")
            due = loop.time() + 0.002
            loop.call_at(due, lambda: late.append(loop.time() - due))
            await self.send(message, opcode)

    def between(number: int) -> None:
        if number == 100:
            other.send(b"beside")

    echo(loop, 200, Asking, between)
    for number in range(200):
        at = order.index(f"{number:05}")
        assert f"soon {number:05}" in order[at + 1 : at + 3]
    assert "beside" in order
    assert len(late) >= 100  # the last ones were due after the end
    assert min(late) > -0.001
    one.close()
    other.close()


def test_other_threads_and_signals_are_heard(loop: asyncio.AbstractEventLoop) -> None:
    """While messages follow upon another as well as when none comes any more."""
    heard: list[Any] = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "signal")

    def between(number: int) -> None:
        if number % 50 == 49:
            told = threading.Event()
            loop.call_soon_threadsafe(heard.append, number)
            loop.call_soon_threadsafe(told.set)
            assert told.wait(10)
            signal.raise_signal(signal.SIGUSR1)

    echo(loop, 200, Echo, between)
    assert [number for number in heard if number != "signal"] == [49, 99, 149, 199]
    assert heard.count("signal") >= 1  # those that come at once may be one
    loop.remove_signal_handler(signal.SIGUSR1)
