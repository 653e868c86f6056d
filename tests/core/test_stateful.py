"""Two connections, a wire that delays, cuts and breaks, a clock that jumps; and a model of both.

Hypothesis chooses what happens and shrinks what fails. The model knows what each side said and what
must arrive: every message once, whole and in order; all of them after a clean end; ``Closed`` once
and last; and whatever happened, time alone ends both sides.

A broken stream is one that ends early: TCP loses nothing in the middle. Garbage is put on the wire
behind what is on its way; what was sent before it must still arrive.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Search
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wsproto_core import (
    Close,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    Event,
    LocalProtocolError,
    Message,
    OpCode,
    Phase,
    Ping,
    Pong,
    ProtocolError,
    Transport,
)
from wsproto_core.extensions import PerMessageDeflate
from wsproto_core.testing import End, Pair, by_bytes, by_size, whole
from wsproto_core.testing.strategies import close_codes, messages, texts

CUTS = {"whole": whole, "bytes": by_bytes, "threes": by_size(3), "blocks": by_size(127)}

sides = st.sampled_from(["client", "server"])


class Model:
    """What one side said, and what it may still say."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.connection = end.connection
        self.said: list[Message] = []  # whole messages that were taken
        self.part: Message | None = None  # the message in progress
        self.pings: list[bytes] = []
        self.closed_itself = False  # by close(), fail() or abort()
        self.transport = Transport.OPEN

    @property
    def heard(self) -> list[Message]:
        return [event for event in self.end.events if isinstance(event, Message)]

    @property
    def is_open(self) -> bool:
        return self.connection.phase is Phase.OPEN


class TwoPeers(RuleBasedStateMachine):
    """Plain connections; the heartbeat runs."""

    config = Config(read_high_water=600, write_high_water=600, max_frame_size=200)

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.config, self.config)
        self.models = {"client": Model(self.pair.client_end), "server": Model(self.pair.server_end)}
        self.broken = False  # the stream ended early, or garbage was put on it

    def other(self, side: str) -> Model:
        return self.models["server" if side == "client" else "client"]

    @initialize(cut=st.sampled_from(sorted(CUTS)), latency=st.sampled_from([0.0, 0.01, 0.4, 4.0]))
    def lay_the_wire(self, cut: str, latency: float) -> None:
        for end in self.pair.ends:
            end.cut, end.latency = CUTS[cut], latency

    # ------------------------------------------------------------------ what applications do

    @rule(
        side=sides,
        message=messages(400),
        compress=st.sampled_from([None, True, False]),
        at_once=st.booleans(),
    )
    def send(self, side: str, message: Message, compress: bool | None, at_once: bool) -> None:
        model = self.models[side]
        send: Any = (
            model.connection.send_text
            if message.opcode is OpCode.TEXT
            else model.connection.send_binary
        )
        if not model.is_open:
            self.refused(send, message.data)
        elif model.part is None:
            send(message.data, compress=compress)
            model.said.append(message)
        elif model.part.opcode is not message.opcode:
            before = model.connection.bytes_to_send
            try:
                send(message.data)
            except LocalProtocolError:
                assert model.connection.bytes_to_send == before, "refused, and yet written"
            else:
                raise AssertionError("a new message inside another")
        if at_once:  # else what is said next goes out in the same write
            self.pair.look()

    @rule(side=sides, message=messages(300), final=st.booleans())
    def fragment(self, side: str, message: Message, final: bool) -> None:
        model = self.models[side]
        part = model.part
        if part is not None and part.opcode is not message.opcode:
            return
        text = message.opcode is OpCode.TEXT
        send: Any = model.connection.send_text if text else model.connection.send_binary
        if not model.is_open:
            self.refused(send, message.data, final=final)
            return
        send(message.data, final=final)
        before: Any = part.data if part is not None else message.data[:0]
        data = before + message.data
        model.part = Message(data, message.opcode)
        if final:
            model.said.append(model.part)
            model.part = None
        self.pair.look()

    @rule(side=sides, payload=st.none() | st.binary(max_size=125))
    def ping(self, side: str, payload: bytes | None) -> None:
        model = self.models[side]
        if not model.is_open:
            self.refused(model.connection.ping, payload, self.pair.now)
            return
        model.pings.append(model.connection.ping(payload, self.pair.now))
        self.pair.look()

    @rule(side=sides, code=st.none() | close_codes(), reason=texts(30))
    def close(self, side: str, code: int | None, reason: str) -> None:
        model = self.models[side]
        model.connection.close(code, reason if code is not None else "", now=self.pair.now)
        model.closed_itself = True
        self.pair.look()

    @precondition(lambda self: self.models["client"].is_open)
    @rule(side=sides)
    def fail(self, side: str) -> None:
        self.models[side].connection.fail(RuntimeError("a hook failed"), self.pair.now)
        self.models[side].closed_itself = True
        self.pair.look()

    @rule(side=sides, reading=st.booleans())
    def read_or_not(self, side: str, reading: bool) -> None:
        self.models[side].connection.set_reading(reading, self.pair.now)

    def refused(self, command: Any, *arguments: Any, **keywords: Any) -> None:
        """Too late: the command says so and does nothing."""
        before = self.pair.client.bytes_to_send, self.pair.server.bytes_to_send
        try:
            command(*arguments, **keywords)
        except ConnectionClosed:
            pass
        else:
            raise AssertionError("a command after the end")
        assert before == (self.pair.client.bytes_to_send, self.pair.server.bytes_to_send)

    # ------------------------------------------------------------------ what networks do

    @rule()
    def flow(self) -> None:
        self.pair.flow()

    @rule(seconds=st.sampled_from([0.001, 0.3, 1.0, 9.0, 21.0, 100.0, 500.0]))
    def pass_time(self, seconds: float) -> None:
        self.pair.run_for(seconds)

    @rule(side=sides, latency=st.sampled_from([0.0, 0.05, 1.0, 9.0]))
    def change_latency(self, side: str, latency: float) -> None:
        self.models[side].end.latency = latency

    @rule(side=sides)
    def stall(self, side: str) -> None:
        self.models[side].end.stalled = True

    @rule(side=sides)
    def release(self, side: str) -> None:
        end = self.models[side].end
        if end.stalled:
            end.release(self.pair.now)

    @rule(side=sides, keep=st.integers(0, 300), reset=st.booleans())
    def drop(self, side: str, keep: int, reset: bool) -> None:
        self.pair.look()
        self.models[side].end.end_early(self.pair.now, keep=keep, reset=reset)
        self.broken = True

    @precondition(lambda self: not self.broken)
    @rule(side=sides, garbage=st.binary(min_size=1, max_size=20))
    def inject(self, side: str, garbage: bytes) -> None:
        self.pair.look()
        self.models[side].end.inject(garbage, self.pair.now)
        self.models[side].end.mute = True  # what is written behind it cannot be told from it
        self.broken = True

    # ------------------------------------------------------------------ what holds

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        for side, model in self.models.items():
            said = self.other(side).said
            heard = model.heard
            if self.broken:
                # The garbage may happen to be a message; what came before it is as it was said.
                heard = heard[: len(said)]
                while heard and heard != said[: len(heard)]:
                    heard = heard[:-1]
                assert len(model.heard) - len(heard) <= 20, "more than the garbage can hold"
            assert heard == said[: len(heard)]

    @invariant()
    def closed_comes_once_and_last(self) -> None:
        for model in self.models.values():
            events = model.end.events
            count = sum(isinstance(event, Closed) for event in events)
            assert count == (model.connection.phase is Phase.CLOSED)
            assert not count or isinstance(events[-1], Closed)
            assert sum(isinstance(event, Close) for event in events) <= 1

    @invariant()
    def the_transport_only_rises(self) -> None:
        for model in self.models.values():
            assert model.connection.transport >= model.transport
            model.transport = model.connection.transport

    @invariant()
    def no_deadline_is_over(self) -> None:
        for model in self.models.values():
            deadline = model.connection.next_deadline()
            assert deadline is None or deadline > self.pair.now

    @invariant()
    def pongs_answer_pings(self) -> None:
        for side, model in self.models.items():
            if self.broken:
                continue
            for event in model.end.events:
                if isinstance(event, Pong):
                    assert event.rtt is None or event.rtt >= 0.0
            pings = [event.payload for event in model.end.events if isinstance(event, Ping)]
            asked = [payload for payload in self.other(side).pings if payload in pings]
            ours = [payload for payload in pings if payload in asked]
            assert len(ours) <= len(self.other(side).pings), "a ping twice"

    def teardown(self) -> None:
        """Nobody does anything any more, and transports take what is given: time ends it all."""
        for model in self.models.values():
            if model.end.stalled:
                model.end.release(self.pair.now)
            model.connection.set_reading(True, self.pair.now)
        self.pair.run_for(0.0)
        for model in self.models.values():
            # With a heartbeat two healthy peers live for ever, so they say goodbye.
            model.connection.close(now=self.pair.now)
        self.pair.run_until_quiet()
        self.nothing_is_lost_doubled_or_out_of_order()
        self.closed_comes_once_and_last()
        self.the_transport_only_rises()
        for side, model in self.models.items():
            closed = model.connection.closed
            assert closed is not None
            assert model.connection.next_deadline() is None
            assert model.connection.transport >= Transport.CLOSE
            if self.broken:
                continue
            assert not isinstance(closed.error, ProtocolError), "a fault of a peer of ours"
            if closed.clean:
                assert model.heard == self.other(side).said, "a clean end, and messages are missing"
            if closed.received is not None:
                assert closed.received == self.other(side).connection.close_sent


class TwoDeflatingPeers(TwoPeers):
    """The same with permessage-deflate, every message compressed that may be."""

    config = Config(
        read_high_water=600,
        write_high_water=600,
        max_frame_size=200,
        extensions=[PerMessageDeflate(threshold=0)],
    )


class TwoForgetfulPeers(TwoPeers):
    """No context takeover, small windows, no heartbeat."""

    config = Config(
        ping_interval=None,
        extensions=[
            PerMessageDeflate(
                threshold=0,
                server_no_context_takeover=True,
                client_no_context_takeover=True,
                server_max_window_bits=9,
                client_max_window_bits=9,
            )
        ],
    )


quick = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestTwoPeers = TwoPeers.TestCase
TestTwoPeers.settings = quick
TestTwoDeflatingPeers = TwoDeflatingPeers.TestCase
TestTwoDeflatingPeers.settings = quick
TestTwoForgetfulPeers = TwoForgetfulPeers.TestCase
TestTwoForgetfulPeers.settings = settings(quick, max_examples=30)


# ------------------------------------------------------------------------ does it notice anything?


def losing(events: list[Event]) -> list[Event]:
    return [event for event in events if not (isinstance(event, Message) and len(event.data) > 3)]


def doubling(events: list[Event]) -> list[Event]:
    return [event for event in events for _ in range(1 + isinstance(event, Message))]


def swapping(events: list[Event]) -> list[Event]:
    return events[::-1] if all(isinstance(event, Message) for event in events) else events


@pytest.mark.parametrize("spoil", [losing, doubling, swapping])
def test_a_fault_is_noticed(spoil: Callable[[list[Event]], list[Event]]) -> None:
    class Spoiling:
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

        def events(self, hold: bool = False) -> list[Event]:
            return spoil(self.connection.events(hold))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

    class Spoiled(TwoPeers):
        def __init__(self) -> None:
            super().__init__()
            end: Any = self.pair.server_end
            end.connection = Spoiling(self.pair.server)

    once = settings(
        quick,
        max_examples=3000,  # the first that shows it is the last
        database=None,
        derandomize=True,
        phases=[Search.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Spoiled, settings=once)
