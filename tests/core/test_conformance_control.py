"""Section 8 of the conformance matrix: ping, pong, close frames. One test for each row."""

import random

import pytest

from tests.core.pair import Pair
from tests.core.wire import Rig, close_body, text
from wsproto_core import (
    Close,
    Config,
    Connection,
    ConnectionClosed,
    LocalProtocolError,
    Phase,
    Ping,
    Pong,
    Role,
    Transport,
)

# ------------------------------------------------------------------------------- 5.5 all of them


@pytest.mark.parametrize("data", ["89 7e", "8a 7e", "88 7e", "89 7f", "8a 7f", "88 7f"])
def test_ws_5_5_len_rx(rig: Rig, data: str) -> None:
    rig.feed(rig.raw(data))  # two bytes are enough
    assert rig.assert_fails(1002).rule == "RFC 6455 5.5"


def test_ws_5_5_len_tx(role: Role) -> None:
    rig = Rig(role)
    for payload in (bytes(126), bytearray(126), bytes(70_000)):
        with pytest.raises(LocalProtocolError, match=f"125 bytes of payload, got {len(payload)}"):
            rig.connection.ping(payload, rig.now)
        with pytest.raises(LocalProtocolError, match="125"):
            rig.connection.pong(payload)
    assert rig.sent() == []
    rig.connection.ping(b"p" * 125, rig.now)
    rig.connection.pong(b"q" * 125)
    assert rig.sent() == [(0x89, b"p" * 125), (0x8A, b"q" * 125)]


@pytest.mark.parametrize("first", [0x09, 0x0A, 0x08])
def test_ws_5_5_frag_rx(rig: Rig, first: int) -> None:
    rig.feed(rig.frame(first)[:1])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.5"


def test_ws_5_5_frag_rx_continued(rig: Rig) -> None:
    rig.feed(rig.frames((0x09, b"a"), (0x80, b"b")))
    rig.assert_fails(1002)


# ----------------------------------------------------------------------------------- 5.5.2 ping


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe", bytes(range(125))])
def test_ws_5_5_2_pong(rig: Rig, payload: bytes) -> None:
    rig.feed(rig.frame(0x89, payload))
    assert rig.take() == [Ping(payload)]
    assert rig.sent() == [(0x8A, payload)]


def test_ws_5_5_2_many(rig: Rig) -> None:
    payloads = [str(i).encode() for i in range(10)]
    rig.feed(b"".join(rig.frame(0x89, payload) for payload in payloads))
    assert rig.take() == [Ping(payload) for payload in payloads]
    assert rig.sent() == [(0x8A, payload) for payload in payloads]


def test_ws_5_5_2_sent_close(rig: Rig) -> None:
    """RFC 6455 5.5.2 exempts from answering only who has *received* a Close.

    But 5.5.1 forbids only data frames after a Close of ours, so the pong may follow it.
    """
    rig.connection.close(1000, now=rig.now)
    assert rig.sent() == [(0x88, close_body(1000))]
    rig.feed(rig.frame(0x89, b"p"))
    assert rig.take() == [Ping(b"p")]
    assert rig.sent() == [(0x8A, b"p")]


def test_ws_5_5_2_rcvd_close(rig: Rig) -> None:
    rig.feed(rig.frames((0x88, close_body(1000)), (0x89, b"p")))
    assert rig.take() == [Close(1000)]
    assert rig.sent() == [(0x88, close_body(1000))]


def test_ws_5_5_2_tx(role: Role) -> None:
    rig = Rig(role)
    assert rig.connection.ping(b"", rig.now) == b""
    assert rig.connection.ping(b"x", rig.now) == b"x"
    assert rig.connection.ping(bytearray(b"y" * 125), rig.now) == b"y" * 125
    assert rig.sent() == [(0x89, b""), (0x89, b"x"), (0x89, b"y" * 125)]


def test_ws_5_5_2_tx_raw() -> None:
    server = Rig(Role.SERVER)
    server.connection.ping(b"", server.now)
    server.connection.ping(b"x", server.now)
    server.look()
    assert server.output == bytes.fromhex("89 00 89 01 78")


def test_ws_5_5_2_tx_needs_an_open_connection(role: Role) -> None:
    target = "ws://h/" if role is Role.CLIENT else None
    connection = Connection(role, now=0.0, target=target)
    connection.data_to_send()
    with pytest.raises(LocalProtocolError, match="in state opening"):
        connection.ping(b"x", 0.0)
    with pytest.raises(LocalProtocolError, match="in state opening"):
        connection.pong(b"x")
    assert connection.data_to_send() == []

    rig = Rig(role)
    rig.eof()
    with pytest.raises(ConnectionClosed) as caught:
        rig.connection.ping(b"x", rig.now)
    assert caught.value.closed is rig.connection.closed
    with pytest.raises(ConnectionClosed):
        rig.connection.pong()
    assert rig.sent() == []


# ----------------------------------------------------------------------------------- 5.5.3 pong


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_ws_5_5_3_unsolicited(rig: Rig, payload: bytes) -> None:
    rig.feed(rig.frame(0x8A, payload))
    assert rig.take() == [Pong(payload, None)]
    assert rig.sent() == []
    assert rig.connection.latency is None
    rig.feed(rig.frame(0x89, b"p"))
    assert rig.take() == [Ping(b"p")]
    assert rig.sent() == [(0x8A, b"p")]


def test_ws_5_5_3_tx(role: Role) -> None:
    rig = Rig(role)
    rig.connection.pong(b"x")
    rig.connection.pong()
    if role is Role.SERVER:
        rig.look()
        assert rig.output == bytes.fromhex("8a 01 78 8a 00")
    assert rig.sent() == [(0x8A, b"x"), (0x8A, b"")]


def test_a_pong_answers_the_pings_before_it_too(rig: Rig) -> None:
    """RFC 6455 5.5.3: who gets several pings may answer the newest only."""
    connection = rig.connection
    for payload in (b"1", b"2", b"3"):
        connection.ping(payload, rig.now)
        rig.now += 1.0
    rig.feed(rig.frame(0x8A, b"2"))
    assert rig.take() == [Pong(b"2", 2.0)]
    assert connection.latency == 2.0
    rig.feed(rig.frames((0x8A, b"1"), (0x8A, b"2"), (0x8A, b"3")))
    assert rig.take() == [Pong(b"1", None), Pong(b"2", None), Pong(b"3", 1.0)]


def test_a_ping_payload_used_twice_counts_from_the_second(rig: Rig) -> None:
    connection = rig.connection
    connection.ping(b"same", rig.now)
    connection.ping(b"other", rig.now)
    rig.now += 5.0
    connection.ping(b"same", rig.now)
    rig.now += 1.0
    rig.feed(rig.frame(0x8A, b"same"))
    assert rig.take() == [Pong(b"same", 1.0)]


def test_a_ping_without_payload_gets_a_random_one() -> None:
    rig = Rig(Role.SERVER, random=random.Random(1).randbytes)
    first = rig.connection.ping(None, rig.now)
    second = rig.connection.ping(None, rig.now)
    assert len(first) == len(second) == 8
    assert first != second
    assert rig.sent() == [(0x89, first), (0x89, second)]


# ---------------------------------------------------------------------------------- 5.5.1 close


@pytest.mark.parametrize("code", [0x03E8, 0x03E9, 0x0BB8, 0x1387])
def test_ws_5_5_1_reply(rig: Rig, code: int) -> None:
    rig.feed(rig.frame(0x88, close_body(code)))
    assert rig.take() == [Close(code, "")]
    assert rig.sent() == [(0x88, close_body(code))]
    assert rig.connection.close_received == rig.connection.close_sent == Close(code)


def test_ws_5_5_1_empty(rig: Rig) -> None:
    rig.feed(rig.frame(0x88))
    assert rig.take() == [Close(1005, "")]
    assert rig.sent() == [(0x88, b"")]
    rig.eof()
    closed = rig.assert_closed()
    assert (closed.code, closed.reason, closed.clean) == (1005, "", True)


@pytest.mark.parametrize("byte", [b"\x03", b"\x00", b"\xff"])
def test_ws_5_5_1_len1(rig: Rig, byte: bytes) -> None:
    rig.feed(rig.frame(0x88, byte))
    assert rig.assert_fails(1002).rule == "RFC 6455 5.5.1"


@pytest.mark.parametrize("reason", ["bye", "r" * 123, "é€😀", "\N{BOM}x", "\0"])
def test_ws_5_5_1_reason(rig: Rig, reason: str) -> None:
    rig.feed(rig.frame(0x88, close_body(1000, reason)))
    assert rig.take() == [Close(1000, reason)]
    assert rig.sent() == [(0x88, close_body(1000, reason))]
    rig.eof()
    assert rig.assert_closed().reason == reason


@pytest.mark.parametrize("reason", ["ff fe", "ed a0 80", "61 e2 82", "c0 80"])
def test_ws_5_5_1_reason_utf8(rig: Rig, reason: str) -> None:
    rig.feed(rig.frame(0x88, close_body(1000, bytes.fromhex(reason))))
    assert rig.assert_fails(1007).rule == "RFC 6455 8.1"


def test_ws_5_5_1_reason_long(rig: Rig) -> None:
    rig.feed(rig.frame(0x88, close_body(1000, "r" * 124)))
    rig.assert_fails(1002)


@pytest.mark.parametrize("reason", ["r" * 124, "é" * 62, "😀" * 31])
def test_ws_5_5_1_reason_long_out(role: Role, reason: str) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError, match="at most 123 bytes"):
        rig.connection.close(1000, reason, now=rig.now)
    assert rig.sent() == []
    assert rig.connection.phase is Phase.OPEN
    rig.connection.close(1000, "é" * 61 + "e", now=rig.now)
    assert rig.sent() == [(0x88, close_body(1000, "é" * 61 + "e"))]


def test_ws_5_5_1_tx_body() -> None:
    server = Rig(Role.SERVER)
    server.connection.close(1000, "bye", now=server.now)
    server.look()
    assert server.output == bytes.fromhex("88 05 03 e8 62 79 65")


def test_ws_5_5_1_tx_body_empty() -> None:
    server = Rig(Role.SERVER)
    server.connection.close(now=server.now)
    server.look()
    assert server.output == bytes.fromhex("88 00")
    assert server.connection.close_sent == Close(1005)


@pytest.mark.parametrize(
    ("code", "reason", "match"),
    [(None, "why", "needs a code"), (1000, "\ud800", "UTF-8"), (1000, "a\udfff", "UTF-8")],
)
def test_ws_5_5_1_tx_body_refused(role: Role, code: int | None, reason: str, match: str) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError, match=match):
        rig.connection.close(code, reason, now=rig.now)
    assert rig.sent() == []
    assert rig.connection.phase is Phase.OPEN


def test_ws_5_5_1_no_data_after(role: Role) -> None:
    rig = Rig(role)
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    with pytest.raises(ConnectionClosed, match="closing"):
        rig.connection.send_text("x")
    with pytest.raises(ConnectionClosed, match="closing"):
        rig.connection.send_binary(b"x")
    with pytest.raises(ConnectionClosed, match="closing"):
        rig.connection.ping(b"x", rig.now)
    with pytest.raises(ConnectionClosed, match="closing"):
        rig.connection.pong(b"x")
    assert rig.sent() == []


def test_ws_5_5_1_no_data_after_continuation(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("a", final=False)
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    with pytest.raises(ConnectionClosed) as caught:
        rig.connection.send_text("b")
    assert caught.value.closed is None
    assert "we sent 1000" in str(caught.value)
    assert rig.sent() == []


def test_ws_5_5_1_once(rig: Rig) -> None:
    rig.connection.close(1000, "first", now=rig.now)
    rig.connection.close(1001, "second", now=rig.now)
    rig.feed(rig.frame(0x88, close_body(1002)))
    rig.connection.close(1003, now=rig.now)
    assert rig.sent() == [(0x88, close_body(1000, "first"))]
    rig.eof()
    rig.connection.close(1003, now=rig.now)
    assert rig.sent() == []


def test_ws_5_5_1_once_when_answered(rig: Rig) -> None:
    rig.feed(rig.frame(0x88, close_body(1000)))
    rig.connection.close(1001, now=rig.now)
    assert rig.sent() == [(0x88, close_body(1000))]


def test_ws_5_5_1_simult(rig: Rig) -> None:
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    rig.feed(rig.frame(0x88, close_body(1001)))
    assert rig.take() == [Close(1001)]
    assert rig.sent() == []
    rig.eof()
    closed = rig.assert_closed()
    assert (closed.code, closed.clean, closed.error) == (1001, True, None)
    assert (closed.sent, closed.received) == (Close(1000), Close(1001))


def test_ws_5_5_1_in_message(rig: Rig) -> None:
    rig.feed(rig.frames((0x01, b"a"), (0x88, close_body(1000)), (0x80, b"b")))
    assert rig.take() == [Close(1000)]
    assert rig.sent() == [(0x88, close_body(1000))]
    rig.eof()
    assert rig.assert_closed().clean


def test_ws_5_5_1_tx_in_message(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("a", final=False)
    rig.connection.close(1000, now=rig.now)
    assert rig.sent() == [(0x01, b"a"), (0x88, close_body(1000))]


def test_ws_5_5_1_after_sent(rig: Rig) -> None:
    rig.connection.close(1000, now=rig.now)
    rig.feed(rig.frames((0x81, b"late"), (0x88, close_body(1000))))
    assert rig.take() == [text("late"), Close(1000)]
    assert rig.sent() == [(0x88, close_body(1000))]


@pytest.mark.parametrize("split", [False, True], ids=["same read", "later reads"])
def test_ws_5_5_1_discard(rig: Rig, split: bool) -> None:
    close = rig.frame(0x88, close_body(1000))
    behind = [
        rig.frame(0x81, b"text"),
        rig.frame(0x88, close_body(1001)),
        bytes.fromhex("81 02 68 69"),
        random.Random(0).randbytes(500),
    ]
    if split:
        rig.feed(close)
        for data in behind:
            rig.feed(data)
    else:
        rig.feed(close + b"".join(behind))
    assert rig.take() == [Close(1000)]
    assert rig.sent() == [(0x88, close_body(1000))]
    assert rig.connection.close_received == Close(1000)


# ------------------------------------------------------------------------ pongs and a slow peer


def test_only_the_newest_ping_is_answered_above_the_mark(role: Role) -> None:
    """RFC 6455 5.5.3 allows it; a peer that pings and reads nothing must not fill our memory."""
    rig = Rig(role, Config(write_high_water=1000))
    connection = rig.connection
    connection.send_binary(bytes(2000))
    for _ in range(3):
        connection.receive_data(rig.frames((0x89, b"1"), (0x89, b"2")), rig.now)
    size = connection.bytes_to_send
    assert size < 2020
    assert len(connection.events()) == 6
    rig.look()  # the transport took all: now the newest is answered, once
    assert [frame for frame in rig.sent() if frame[0] == 0x8A] == [(0x8A, b"2")]
    assert not connection.has_output


def test_a_blocked_transport_holds_the_pong_back(role: Role) -> None:
    rig = Rig(role, Config(write_high_water=1000))
    connection = rig.connection
    connection.send_binary(bytes(2000))
    rig.sent()
    connection.write_blocked(2000, rig.now)
    rig.feed(rig.frames((0x89, b"1"), (0x89, b"2")))
    assert rig.sent() == []
    assert not connection.has_output
    connection.write_blocked(0, rig.now)
    assert rig.connection.has_output
    assert rig.sent() == [(0x8A, b"2")]


def test_a_pong_held_back_goes_out_before_our_close(role: Role) -> None:
    rig = Rig(role, Config(write_high_water=1000))
    connection = rig.connection
    connection.send_binary(bytes(2000))
    rig.sent()
    connection.write_blocked(2000, rig.now)
    rig.feed(rig.frame(0x89, b"p"))
    connection.close(1000, now=rig.now)
    assert rig.sent() == [(0x8A, b"p"), (0x88, close_body(1000))]


def test_pings_of_both_sides_at_once() -> None:
    pair = Pair(latency=0.5)
    pair.client.ping(b"from client", pair.now)
    pair.server.ping(b"from server", pair.now)
    pair.flow()
    assert pair.client_end.take() == [Ping(b"from server"), Pong(b"from client", 1.0)]
    assert pair.server_end.take() == [Ping(b"from client"), Pong(b"from server", 1.0)]
    assert pair.client.latency == pair.server.latency == 1.0
    assert pair.client.transport is Transport.OPEN


# ------------------------------------------------------- what browsers do when they close


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (close_body(1000), 1000),
        (close_body(1001), 1001),
        (b"", 1005),
        (close_body(3000), 3000),
        (close_body(4999), 4999),
    ],
)
def test_wg_close_code(bytewise: bool, body: bytes, code: int) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.feed(rig.frame(0x88, body))
    assert rig.take() == [Close(code)]
    assert rig.sent() == [(0x88, body)]
    rig.eof()
    assert rig.assert_closed().clean


def test_wg_close_empty() -> None:
    rig = Rig(Role.CLIENT)
    rig.connection.close(now=rig.now)
    rig.look()
    assert rig.output[:2] == bytes.fromhex("88 80")
    assert len(rig.output) == 6  # the masking key, and no body
