"""Sections 11 and 13 of the conformance matrix: closing, failing, limits. One test for each row."""

import random
from collections.abc import Callable

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import Pair, React
from tests.core.wire import MakeRig, Repeater, Rig, close_body, text, with_codec
from wsproto_core import (
    Close,
    Config,
    Connection,
    ConnectionClosed,
    ExtensionError,
    LocalProtocolError,
    Message,
    OpCode,
    PayloadTooBig,
    Phase,
    Ping,
    Response,
    Role,
    Transport,
)

SENDABLE = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
UNSENDABLE = [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535, 65536]
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)

# ------------------------------------------------------------------ 7.1 the closing handshake


def test_ws_7_1_1_server_eof(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.feed(rig.frame(0x88, close_body(1000)))
    assert rig.connection.transport is Transport.SHUT_WRITE
    assert rig.sent() == [(0x88, close_body(1000))]


def test_ws_7_1_1_server_eof_answered(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.connection.close(1000, now=rig.now)
    rig.look()
    assert rig.connection.transport < Transport.SHUT_WRITE
    rig.feed(rig.frame(0x88, close_body(1000)))
    assert rig.connection.transport is Transport.SHUT_WRITE


@pytest.mark.parametrize("ours_first", [True, False])
def test_ws_7_1_1_client_wait(ours_first: bool, bytewise: bool) -> None:
    rig = Rig(Role.CLIENT, bytewise=bytewise)
    if ours_first:
        rig.connection.close(1000, now=rig.now)
    rig.feed(rig.frame(0x88, close_body(1000)))
    assert rig.connection.phase is Phase.DRAINING
    assert rig.connection.transport < Transport.SHUT_WRITE
    rig.take()
    rig.sent()
    rig.eof()
    assert rig.assert_closed().clean
    assert rig.connection.transport is Transport.CLOSE


def test_ws_7_1_1_client_wait_ends(role: Role) -> None:
    """A client that waits in vain, and a server whose client never ends, stop at a deadline."""
    rig = Rig(role, Config(close_timeout=7.0))
    rig.feed(rig.frame(0x88, close_body(1000)))
    assert rig.connection.next_deadline() == rig.now + 7.0
    rig.take()
    rig.sent()
    rig.connection.handle_timeout(rig.now + 7.0)
    rig.look()
    closed = rig.assert_closed()
    assert (closed.code, closed.clean, closed.error) == (1000, True, None)
    assert rig.connection.transport is Transport.ABORT


@pytest.mark.parametrize("ours_first", [True, False])
def test_ws_7_1_1_discard(role: Role, ours_first: bool) -> None:
    rig = Rig(role)
    if ours_first:
        rig.connection.close(1000, now=rig.now)
    rig.feed(rig.frame(0x88, close_body(1000)))
    rig.take()
    rig.sent()
    data = random.Random(0).randbytes(1 << 16)
    with measured() as memory:
        for _ in range(16):
            rig.feed(data)
    assert memory.held < 4096
    assert memory.peak < 4096
    assert rig.take() == []
    assert rig.sent() == []


def test_ws_7_1_2_start(role: Role) -> None:
    rig = Rig(role)
    rig.connection.close(4000, "x", now=rig.now)
    assert rig.sent() == [(0x88, bytes.fromhex("0f a0 78"))]
    assert rig.connection.close_sent == Close(4000, "x")


def test_ws_7_1_3_state(rig: Rig) -> None:
    rig.connection.close(1000, now=rig.now)
    assert rig.connection.phase is Phase.CLOSE_SENT
    rig.eof()
    rig.sent()
    rig.assert_closed()


def test_ws_7_1_3_state_receiving(rig: Rig) -> None:
    rig.feed(rig.frame(0x88, close_body(1000)))
    assert rig.connection.phase is Phase.DRAINING
    rig.take()
    rig.sent()
    rig.eof()
    rig.assert_closed()


def test_ws_7_1_4_clean(make_rig: MakeRig) -> None:
    both = make_rig()
    both.connection.close(1000, now=both.now)
    both.feed(both.frame(0x88, close_body(1000)))
    both.eof()
    assert both.connection.closed is not None
    assert both.connection.closed.clean

    only_sent = make_rig()
    only_sent.connection.close(1000, now=only_sent.now)
    only_sent.eof()
    assert only_sent.connection.closed is not None
    assert not only_sent.connection.closed.clean

    none = make_rig()
    none.eof()
    assert none.connection.closed is not None
    assert not none.connection.closed.clean


def test_ws_7_1_4_clean_not_if_received_but_not_answered(rig: Rig) -> None:
    """The stream was lost both ways before our answer could be queued."""
    connection = rig.connection
    connection.receive_data(rig.frame(0x81, b"x") + rig.frame(0x88, close_body(1000)), rig.now)
    connection.lost(None, rig.now)
    rig.look()
    assert rig.events[0] == text("x")
    closed = connection.closed
    assert closed is rig.events[-1]
    assert closed is not None
    assert (closed.code, closed.received, closed.sent) == (1000, Close(1000), None)
    assert not closed.clean
    assert rig.output == b""


def test_ws_7_1_5_code(make_rig: MakeRig) -> None:
    for body, code in ((close_body(1001), 1001), (b"", 1005)):
        rig = make_rig()
        rig.feed(rig.frame(0x88, body) + rig.frame(0x88, close_body(1003)))
        rig.take()
        rig.sent()
        rig.eof()
        assert rig.assert_closed().code == code
    rig = make_rig()
    rig.eof()
    assert rig.assert_closed().code == 1006
    rig = make_rig()
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    rig.eof()
    assert rig.assert_closed().code == 1006


def test_ws_7_1_5_cross() -> None:
    pair = Pair(latency=0.1)
    pair.client.close(3001, "client", now=pair.now)
    pair.server.close(3002, "server", now=pair.now)
    pair.run_until_quiet()
    client, server = pair.client_end.closed, pair.server_end.closed
    assert client is not None
    assert server is not None
    assert (client.code, client.reason, client.clean) == (3002, "server", True)
    assert (server.code, server.reason, server.clean) == (3001, "client", True)
    assert client.sent == server.received == Close(3001, "client")


def test_ws_7_1_6_reason(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.feed(rig.frame(0x88, close_body(1000)))
    rig.take()
    rig.sent()
    rig.eof()
    assert rig.assert_closed().reason == ""
    rig = make_rig()
    rig.eof()
    assert rig.assert_closed().reason == ""
    rig = make_rig()
    rig.feed(rig.frame(0x88, close_body(1000, "one")) + rig.frame(0x88, close_body(1000, "two")))
    rig.take()
    rig.sent()
    rig.eof()
    assert rig.assert_closed().reason == "one"


# -------------------------------------------------------------------------- 7.1.7 failing

CAUSES: list[tuple[int, Callable[[Rig], bytes]]] = [
    (1002, lambda rig: rig.frame(0x83)),
    (1007, lambda rig: rig.frame(0x81, b"\xff")),
    (1009, lambda rig: rig.frame(0x82, bytes(1001))),
]


@pytest.mark.parametrize(("code", "cause"), CAUSES, ids=["1002", "1007", "1009"])
def test_ws_7_1_7_fail_close(make_rig: MakeRig, code: int, cause: Callable[[Rig], bytes]) -> None:
    rig = make_rig(Config(max_message_size=1000))
    rig.feed(cause(rig))
    rig.assert_fails(code)


@pytest.mark.parametrize(("code", "cause"), CAUSES, ids=["1002", "1007", "1009"])
def test_a_failed_connection_ends_without_the_peer(
    role: Role, code: int, cause: Callable[[Rig], bytes]
) -> None:
    rig = Rig(role, Config(max_message_size=1000))
    rig.feed(cause(rig))
    rig.sent()
    deadline = rig.connection.next_deadline()
    assert deadline == rig.now + 10.0
    rig.connection.handle_timeout(deadline)
    rig.look()
    closed = rig.assert_closed()
    assert closed.sent is not None
    assert (closed.code, closed.sent.code, closed.clean) == (1006, code, False)
    assert rig.connection.transport is Transport.ABORT


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x88\x02\x03\xe8" * 20,
    ],
    ids=["refused", "no accept key", "frames"],
)
def test_ws_7_1_7_fail_hs(answer: bytes, bytewise: bool) -> None:
    connection = Connection(Role.CLIENT, now=0.0, target="ws://h/")
    connection.data_to_send()
    for place in range(0, len(answer), 1 if bytewise else len(answer)):
        connection.receive_data(answer[place : place + (1 if bytewise else len(answer))], 0.0)
        connection.events()
    assert connection.data_to_send() == []
    assert connection.close_sent is None
    connection.receive_eof(0.0)
    assert connection.phase is Phase.CLOSED
    assert connection.transport >= Transport.CLOSE
    assert connection.data_to_send() == []


@pytest.mark.parametrize("how", ["bad request", "rejected", "close", "fail"])
def test_ws_7_1_7_fail_hs_server(how: str) -> None:
    connection = Connection(Role.SERVER, now=0.0)
    if how == "bad request":
        connection.receive_data(b"GET / HTTP/1.1\r\n\r\n", 0.0)
    else:
        connection.receive_data(REQUEST, 0.0)
        connection.events()
        if how == "rejected":
            connection.reject(Response(403), 0.0)
        elif how == "close":
            connection.close(1000, now=0.0)
        else:
            connection.fail(RuntimeError("boom"), 0.0)
    connection.events()
    output = b"".join(connection.data_to_send())
    assert b"\x88" not in output
    assert output.startswith(b"HTTP/1.1 4") == (how in ("bad request", "rejected"))
    assert connection.close_sent is None


@pytest.mark.parametrize("later", [False, True], ids=["same read", "next read"])
def test_ws_7_1_7_fail_stop(rig: Rig, later: bool) -> None:
    behind = rig.frame(0x88, close_body(1000)) + rig.frame(0x81, b"x") + rig.frame(0x89)
    rig.feed(rig.frame(0x8B) + (b"" if later else behind))
    if later:
        rig.feed(behind)
    rig.assert_fails(1002)
    assert rig.connection.close_received is None


def test_ws_7_1_7_fail_code(rig: Rig) -> None:
    rig.feed(rig.frame(0x83))
    frames = rig.sent()
    rig.eof()
    closed = rig.assert_closed()
    assert closed.sent is not None
    assert (closed.code, closed.sent.code, closed.clean) == (1006, 1002, False)
    assert frames == [(0x88, close_body(1002, closed.sent.reason))]


@pytest.mark.parametrize("bad", ["ff", "83 00", "81 01 ff"])
def test_ws_7_1_7_fail_closing(rig: Rig, bad: str) -> None:
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    rig.feed(rig.raw(bad))
    assert rig.connection.phase is Phase.DRAINING
    expected = Transport.SHUT_WRITE if rig.role is Role.SERVER else Transport.OPEN
    assert rig.connection.transport is expected
    rig.assert_deaf()
    rig.eof()
    closed = rig.assert_closed()
    assert (closed.code, closed.sent, closed.clean) == (1006, Close(1000), False)
    assert closed.error is not None


# ----------------------------------------------------------------------- 7.2.1 end of stream

PARTS = ["", "81", "81 05", "81 05 68 65", "82 7e 01", "01 02 68 69", "01 02 68 69 80", "89 02 61"]


@pytest.mark.parametrize("data", PARTS)
def test_ws_7_2_1_lost(rig: Rig, data: str) -> None:
    rig.feed(rig.raw(data))
    rig.eof()
    closed = rig.assert_closed()
    assert (closed.code, closed.clean, closed.sent, closed.received) == (1006, False, None, None)


def test_ws_7_2_1_lost_in_chunks_has_no_final(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, Config(deliver="chunks"), bytewise=bytewise)
    rig.feed(rig.frame(0x01, b"ab"))
    rig.eof()
    assert rig.events[-1] is rig.connection.closed
    assert not any(getattr(event, "final", False) for event in rig.events)


def test_ws_7_2_1_after_eof(rig: Rig) -> None:
    rig.eof()
    rig.assert_closed()
    rig.connection.receive_eof(rig.now)
    rig.look()
    assert rig.take() == []
    with pytest.raises(LocalProtocolError, match="after receive_eof"):
        rig.connection.receive_data(b"x", rig.now)
    with pytest.raises(ConnectionClosed) as caught:
        rig.connection.send_text("x")
    assert caught.value.closed is rig.connection.closed
    assert rig.sent() == []


# ----------------------------------------------------------------------------- 7.4 the codes


@pytest.mark.parametrize("code", SENDABLE)
def test_ws_7_4_1_tx(role: Role, code: int) -> None:
    rig = Rig(role)
    rig.connection.close(code, now=rig.now)
    assert rig.sent() == [(0x88, close_body(code))]


@pytest.mark.parametrize("code", UNSENDABLE)
def test_ws_7_4_1_tx_reserved(role: Role, code: int) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError, match=f"got {code}"):
        rig.connection.close(code, now=rig.now)
    assert rig.sent() == []
    assert rig.connection.phase is Phase.OPEN


@pytest.mark.parametrize("code", SENDABLE)
def test_ws_7_4_1_rx(make_rig: MakeRig, code: int) -> None:
    rig = make_rig()
    rig.feed(rig.frame(0x88, close_body(code)))
    assert rig.take() == [Close(code)]
    assert rig.sent() == [(0x88, close_body(code))]


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015])
def test_ws_7_4_1_rx_reserved(make_rig: MakeRig, code: int) -> None:
    rig = make_rig()
    rig.feed(rig.frame(0x88, close_body(code)))
    assert rig.assert_fails(1002).rule == "RFC 6455 7.4"


@pytest.mark.parametrize("code", [0, 1, 999, 1016, 1100, 2000, 2999, 5000, 65535])
def test_ws_7_4_2_rx_range(make_rig: MakeRig, code: int) -> None:
    rig = make_rig()
    rig.feed(rig.frame(0x88, close_body(code, "why")))
    assert rig.assert_fails(1002).rule == "RFC 6455 7.4"


def test_ws_7_4_1_1003(rig: Rig) -> None:
    """There is no such option; an application that takes one type only closes by itself."""
    rig.feed(rig.frame(0x82, b"x"))
    assert rig.take() == [Message(b"x", OpCode.BINARY)]
    rig.connection.close(1003, "text only", now=rig.now)
    assert rig.sent() == [(0x88, close_body(1003, "text only"))]


# ---------------------------------------------------------------------- 13 limits, security


def test_ws_10_3_snapshot(role: Role) -> None:
    for kind in (bytearray, lambda data: memoryview(bytearray(data))):
        rig = Rig(role)
        for size in (5, 500, 100_000):
            data = kind(b"a" * size)
            rig.connection.send_binary(data)
            rig.connection.send_text(data)
            rig.connection.ping(data[:5], rig.now)
            rig.connection.pong(data[:5])
            data[:] = b"b" * size
        assert not any(b"b" in payload for _, payload in rig.sent())


def test_ws_10_4_frame(make_rig: MakeRig) -> None:
    for config in (Config(max_frame_size=1000), Config(max_message_size=1000)):
        rig = make_rig(config)
        rig.feed(rig.frame(0x82, bytes(1001))[:4])
        assert isinstance(rig.assert_fails(1009), PayloadTooBig)


def test_ws_10_4_message(make_rig: MakeRig) -> None:
    rig = make_rig(Config(max_message_size=1000))
    rig.feed(rig.frame(0x01, b"a" * 600))
    rig.feed(rig.frame(0x80, b"a" * 401)[:4])
    assert isinstance(rig.assert_fails(1009), PayloadTooBig)


def test_ws_10_4_exact(make_rig: MakeRig) -> None:
    rig = make_rig(Config(max_message_size=1000, max_frame_size=1000))
    whole = Message(b"a" * 1000, OpCode.BINARY)
    for _ in range(3):
        rig.feed(rig.frame(0x82, b"a" * 1000))
        rig.feed(rig.frames((0x02, b"a" * 600), (0x00, b"a" * 400), (0x80, b"")))
    assert rig.take() == [whole] * 6


def test_ws_10_4_exact_after_a_codec(make_rig: MakeRig) -> None:
    rig = make_rig(Config(max_message_size=1000), **with_codec(Repeater(10, piece=64)))
    rig.feed(rig.frame(0xC2, b"a" * 100))
    rig.feed(rig.frames((0x42, b"a" * 60), (0x80, b"a" * 40)))
    assert rig.take() == [Message(b"a" * 1000, OpCode.BINARY)] * 2
    rig.feed(rig.frames((0x42, b"a" * 60), (0x80, b"a" * 41)))
    rig.assert_fails(1009)


def test_ws_10_4_exact_none_is_no_limit(role: Role) -> None:
    rig = Rig(role, Config(max_message_size=None, max_frame_size=None))
    size = (1 << 20) + 1
    rig.feed(rig.frame(0x02, b"a" * size) + rig.frame(0x80, b"a" * 16 * size))
    (message,) = rig.take()
    assert isinstance(message, Message)
    assert len(message.data) == 17 * size
    rig.feed(rig.raw("82 7f 7fffffffffffffff"))
    assert rig.connection.phase is Phase.OPEN


def test_ws_10_4_control(make_rig: MakeRig) -> None:
    rig = make_rig(Config(max_message_size=10, max_frame_size=10))
    rig.feed(rig.frames((0x01, b"123456789"), (0x89, b"p" * 125), (0x80, b"0")))
    assert rig.take() == [Ping(b"p" * 125), text("1234567890")]


@pytest.mark.exhaustive
def test_ws_10_4_buffer_time(role: Role) -> None:
    def run(count: int) -> None:
        rig = Rig(role, Config(max_frame_size=None), bytewise=True)
        rig.feed(rig.frame(0x82, b"a" * count))
        assert len(rig.take()) == 1

    assert_linear(run, 20_000)


@pytest.mark.exhaustive
def test_ws_10_4_buffer(role: Role) -> None:
    limit = 100_000
    rig = Rig(role, Config(max_message_size=limit), bytewise=True)
    data = rig.frame(0x82, bytes(limit))
    with measured() as memory:
        rig.feed(data)
    assert len(rig.take()) == 1
    assert memory.peak < 3 * limit


JUNK = random.Random(1)


@pytest.mark.parametrize("phase", ["opening", "deciding", "open", "close_sent", "draining"])
def test_ws_10_7_no_escape(role: Role, phase: str) -> None:
    """Random and mutated input in every phase: nothing escapes, and the end comes once."""
    rng = random.Random(phase + role.value)
    if role is Role.CLIENT and phase == "deciding":
        phase = "opening"
    for _ in range(150):
        connection = in_phase(role, phase)
        seen: list[object] = []
        stream = bytearray(valid_stream(role, rng, opening=phase in ("opening", "deciding")))
        for _ in range(rng.randrange(4)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        if rng.random() < 0.2:
            stream[:] = rng.randbytes(200)
        place = 0
        while place < len(stream):
            size = rng.choice((1, 3, 40, 1000))
            connection.receive_data(bytes(stream[place : place + size]), 1.0)
            place += size
            while events := connection.events():
                seen += events
            connection.data_to_send()
        connection.receive_eof(2.0)
        while events := connection.events():
            seen += events
        if connection.phase is not Phase.CLOSED:
            deadline = connection.next_deadline()
            assert deadline is not None
            connection.handle_timeout(deadline)
            seen += connection.events()
        assert connection.phase is Phase.CLOSED
        assert [event for event in seen if event is connection.closed] == [seen[-1]]


def in_phase(role: Role, phase: str) -> Connection:
    if phase in ("opening", "deciding"):
        target = "ws://h/" if role is Role.CLIENT else None
        connection = Connection(role, now=0.0, target=target)
        if phase == "deciding":
            connection.receive_data(REQUEST, 0.0)
            connection.events()
            assert connection.phase is Phase.DECIDING
        return connection
    rig = Rig(role)
    if phase in ("close_sent", "draining"):
        rig.connection.close(1000, now=0.0)
    if phase == "draining":
        rig.feed(rig.frame(0x88))
    assert rig.connection.phase.value == phase
    return rig.connection


def valid_stream(role: Role, rng: random.Random, *, opening: bool) -> bytes:
    rig = Rig(role, key=rng.randbytes(4))
    frames = rig.frames(
        (0x81, "héllo".encode()),
        (0x02, rng.randbytes(200)),
        (0x89, b"ping"),
        (0x00, rng.randbytes(9)),
        (0x8A, b""),
        (0x80, b""),
        (0x88, close_body(1000, "bye")),
    )
    if not opening:
        return frames
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    return (REQUEST if role is Role.SERVER else answer) + frames


# --------------------------------------------------------------- endings that wait, and fail()


def test_an_extension_error_ends_as_a_violation(rig: Rig) -> None:
    rig.connection.fail(ExtensionError("bad stream", close_code=1007), rig.now)
    rig.look()
    rig.assert_fails(1007)


def test_a_failed_hook_tells_the_peer_nothing_of_it(rig: Rig) -> None:
    rig.connection.fail(RuntimeError("secret"), rig.now)
    rig.look()
    ((first, body),) = rig.sent()
    assert first == 0x88
    assert body == close_body(1011, "internal error")
    rig.eof()
    assert isinstance(rig.assert_closed().error, RuntimeError)


def test_a_pair_ends_by_either_side() -> None:
    for closer in ("client", "server"):
        pair = Pair(latency=0.25)
        getattr(pair, closer).close(1000, "bye", now=pair.now)
        began = pair.now
        pair.run_until_quiet()
        assert pair.now - began == pytest.approx(0.75 if closer == "server" else 0.5, abs=0.26)
        for end in pair.ends:
            assert end.closed is not None
            assert end.closed.clean
            assert end.connection.transport is Transport.CLOSE


def test_a_message_sent_while_the_close_is_read_is_late() -> None:
    """The application answers a message that came before the peer's Close: it still goes out."""

    def echo(connection: Connection, event: object, now: float) -> None:
        if isinstance(event, Message):
            connection.send_text(str(event.data))
        elif isinstance(event, Close):
            with pytest.raises(ConnectionClosed):
                connection.send_text("too late")

    react: React = echo
    pair = Pair(react_client=react)
    pair.server.send_text("hello")
    pair.server.close(1000, now=pair.now)
    pair.run_until_quiet()
    assert [event for event in pair.server_end.events if isinstance(event, Message)] == [
        text("hello")
    ]
