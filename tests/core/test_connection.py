"""``Connection``: what its docstrings promise beyond the rows of the matrix.

Making one, commands that are refused, looking lazily, output and its marks, what it shows of
itself. The lifecycle, time and the handshake have files of their own.
"""

from collections.abc import Callable

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import Pair
from tests.core.wire import MakeRig, Repeater, Rig, close_body, text, with_codec
from wsproto_core import (
    Agreement,
    Chunk,
    Close,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    ExtensionNegotiated,
    LocalProtocolError,
    Message,
    OpCode,
    Opened,
    Phase,
    Ping,
    ProtocolError,
    Request,
    Response,
    Role,
    Transport,
    parse_uri,
)

REQUEST = (
    b"GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nOrigin: http://server.example.com\r\n"
    b"Sec-WebSocket-Protocol: a, b\r\n\r\n"
)


def deciding(config: Config | None = None) -> Connection:
    connection = Connection(Role.SERVER, config, now=0.0)
    connection.receive_data(REQUEST, 0.0)
    assert connection.phase is Phase.DECIDING
    return connection


# ------------------------------------------------------------------------------- making one


def test_a_client_needs_a_target_and_a_server_takes_none() -> None:
    with pytest.raises(LocalProtocolError, match="a client needs a target"):
        Connection(Role.CLIENT, now=0.0)
    with pytest.raises(LocalProtocolError, match="a server takes no target"):
        Connection(Role.SERVER, now=0.0, target="ws://h/")


def test_a_target_may_be_parsed_before() -> None:
    one = Connection(Role.CLIENT, now=0.0, target="ws://h/x", random=bytes)
    two = Connection(Role.CLIENT, now=0.0, target=parse_uri("ws://h/x"), random=bytes)
    assert one.data_to_send() == two.data_to_send()


def test_the_first_deadline_is_that_of_the_handshake() -> None:
    assert Connection(Role.SERVER, now=5.0).next_deadline() == 15.0
    patient = Connection(Role.SERVER, Config(open_timeout=None), now=5.0)
    assert patient.next_deadline() is None


def test_a_new_connection_shows_what_it_is(role: Role) -> None:
    target = "ws://h/" if role is Role.CLIENT else None
    connection = Connection(role, now=5.0, target=target)
    assert repr(connection) == f"<Connection {role.value} opening>"
    assert connection.role is role
    assert connection.phase is Phase.OPENING
    assert connection.transport is Transport.OPEN
    assert connection.config == Config()
    assert connection.agreement is None
    assert connection.closed is None
    assert connection.latency is None
    assert connection.request is None
    assert connection.error is None
    assert connection.close_sent is None
    assert connection.close_received is None
    assert connection.sending is None
    assert connection.partial_message is None
    assert not connection.ending
    assert connection.early_bytes == 0
    assert connection.has_output == (role is Role.CLIENT)
    assert connection.events() == []


def test_after_a_handshake_of_others(role: Role) -> None:
    agreement = Agreement("chat", (ExtensionNegotiated("x", (), 0x40),))
    rig = Rig(role)
    connection = Connection.after_handshake(
        role,
        Config(),
        agreement,
        now=0.0,
        codecs=[Repeater(2)],
        data=memoryview(rig.frame(0xC1, b"ab")),
    )
    assert connection.phase is Phase.OPEN
    assert connection.agreement == agreement
    assert connection.events() == [
        agreement.extensions[0],
        Opened(agreement, Response(101)),
        text("aabb"),
    ]
    assert connection.next_deadline() == 20.0


def test_each_extension_has_a_codec() -> None:
    agreement = Agreement(extensions=(ExtensionNegotiated("x", (), 0x40),))
    with pytest.raises(LocalProtocolError, match="a codec for each of 1 extensions, got 0"):
        Connection.after_handshake(Role.SERVER, Config(), agreement, now=0.0)


# ------------------------------------------------------------------------ the server decides


def test_a_request_is_shown_and_accepted() -> None:
    connection = deciding(Config(subprotocols=["b"]))
    (request,) = connection.events()
    assert isinstance(request, Request)
    assert connection.request is request
    assert (request.target, request.subprotocols) == ("/chat?x=1", ("a", "b"))
    connection.accept(1.0)
    assert connection.agreement is not None
    assert connection.agreement.subprotocol == "b"
    (opened,) = connection.events()
    assert isinstance(opened, Opened)
    assert opened.agreement is connection.agreement


COMMANDS: list[Callable[[Connection], None]] = [
    lambda connection: connection.accept(1.0),
    lambda connection: connection.reject(Response(403), 1.0),
    lambda connection: connection.configure(Config(), 1.0),
]


@pytest.mark.parametrize("command", COMMANDS, ids=["accept", "reject", "configure"])
def test_decisions_are_for_deciding(command: Callable[[Connection], None]) -> None:
    early = Connection(Role.SERVER, now=0.0)
    with pytest.raises(LocalProtocolError, match="in state opening: expected it while a request"):
        command(early)
    opened = Rig(Role.SERVER)
    with pytest.raises(LocalProtocolError, match="in state open"):
        command(opened.connection)
    over = deciding()
    over.reject(Response(404), 0.0)
    with pytest.raises(ConnectionClosed, match="closing"):
        command(over)
    for connection in (early, opened.connection):
        assert connection.data_to_send() == []


def test_new_settings_count_from_the_request_on() -> None:
    connection = deciding()
    connection.events()
    connection.configure(Config(max_message_size=3, subprotocols=["a"]), 1.0)
    assert connection.phase is Phase.DECIDING
    connection.accept(1.0)
    connection.data_to_send()
    rig = Rig(Role.SERVER)
    connection.receive_data(rig.frame(0x81, b"four"), 2.0)
    connection.events()
    connection.events()
    assert isinstance(connection.error, ProtocolError)
    assert connection.error.close_code == 1009


def test_new_settings_may_refuse_the_origin() -> None:
    connection = deciding()
    connection.configure(Config(origins=["https://other.example"]), 1.0)
    assert connection.phase is Phase.DRAINING
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 403 ")
    assert connection.transport is Transport.SHUT_WRITE


def test_new_settings_for_a_plain_request() -> None:
    connection = Connection(Role.SERVER, Config(plain_http=True), now=0.0)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0.0)
    connection.configure(Config(origins=[]), 1.0)
    assert connection.phase is Phase.DECIDING
    with pytest.raises(LocalProtocolError, match="accept\\(\\) of a plain HTTP request"):
        connection.accept(1.0)
    connection.reject(Response(200, body=b"hi"), 1.0)
    assert b"".join(connection.data_to_send()).endswith(b"\r\n\r\nhi")


def test_bytes_before_the_answer_are_kept_and_bounded() -> None:
    rig = Rig(Role.SERVER)
    early = rig.frame(0x81, b"early")
    connection = deciding()
    connection.receive_data(early[:3], 0.0)
    connection.receive_data(early[3:], 0.0)
    assert connection.early_bytes == len(early)
    connection.events()
    connection.accept(1.0)
    assert connection.early_bytes == 0
    assert connection.events()[-1] == text("early")

    connection = deciding(Config(read_high_water=1000))
    connection.receive_data(bytes(1000 + (256 << 10)), 0.0)
    assert connection.early_bytes == 1000 + (256 << 10)
    connection.receive_data(b"x", 0.0)
    assert connection.phase is Phase.DRAINING
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 400 ")
    assert not connection.early_bytes


# --------------------------------------------------------------------------- looking lazily


def test_parsing_stops_at_the_read_mark(role: Role) -> None:
    rig = Rig(role, Config(read_high_water=1000))
    connection = rig.connection
    stream = b"".join(rig.frame(0x81, str(i).encode()) for i in range(500))
    connection.receive_data(stream, rig.now)
    first = connection.events()
    assert first == [text(str(i)) for i in range(len(first))]
    assert 10 <= len(first) <= 17
    connection.receive_data(rig.frame(0x81, b"last"), rig.now)
    rig.look()
    rest = rig.take()
    assert [*first, *rest] == [*(text(str(i)) for i in range(500)), text("last")]


def test_a_violation_behind_the_mark_waits_its_turn(role: Role) -> None:
    rig = Rig(role, Config(read_high_water=1))
    connection = rig.connection
    connection.receive_data(rig.frame(0x81, b"a") * 3 + b"\xff", rig.now)
    for _ in range(3):
        assert connection.events() == [text("a")]
        assert connection.phase is Phase.OPEN
        assert connection.error is None
    assert connection.events() == []
    rig.assert_fails(1002)


def test_looking_does_not_matter_without_news(rig: Rig) -> None:
    for _ in range(3):
        assert rig.connection.events() == []
        assert rig.connection.data_to_send() == []
    assert rig.connection.bytes_to_send == 0


def test_chunks_are_inflated_as_they_are_looked_at(role: Role) -> None:
    codec = Repeater(1000, piece=10_000)
    config = Config(deliver="chunks", max_message_size=None, read_high_water=20_000)
    rig = Rig(role, config, **with_codec(codec))
    connection = rig.connection
    stream = rig.frame(0xC2, b"a" * 1000) + rig.frame(0x82, b"next") + b"\xff"
    connection.receive_data(stream, rig.now)
    assert codec.given <= 4
    sizes = []
    with measured() as memory:
        while chunks := connection.events():
            sizes.append(sum(len(chunk.data) for chunk in chunks if isinstance(chunk, Chunk)))
            del chunks[:]
    assert memory.peak < 200_000
    assert sum(sizes) == 1_000_004
    assert max(sizes) <= 30_000
    rig.assert_fails(1002)


def test_a_close_behind_chunks_that_are_still_to_be_made(role: Role) -> None:
    config = Config(deliver="chunks", max_message_size=None, read_high_water=1000)
    rig = Rig(role, config, **with_codec(Repeater(100, piece=1000)))
    rig.feed(rig.frame(0xC2, b"a" * 100) + rig.frame(0x88, close_body(1000)))
    events = rig.take()
    assert sum(len(event.data) for event in events if isinstance(event, Chunk)) == 10_000
    assert events[-1] == Close(1000)
    final = [event for event in events if isinstance(event, Chunk)][-1]
    assert final.final


def partial(rig: Rig) -> tuple[OpCode, bytes] | None:
    return rig.connection.partial_message


def test_frames_of_others_are_not_mixed_up_with_a_partial_message(rig: Rig) -> None:
    assert partial(rig) is None
    rig.feed(rig.frame(0x01))
    assert partial(rig) == (OpCode.TEXT, b"")
    rig.feed(rig.frame(0x00, b"abc") + rig.frame(0x89, b"p"))
    assert partial(rig) == (OpCode.TEXT, b"abc")
    rig.feed(rig.frame(0x80, b"d"))
    assert partial(rig) is None
    assert rig.take() == [Ping(b"p"), text("abcd")]
    rig.feed(rig.frame(0x02, b"x"))
    rig.eof()
    assert partial(rig) is None


# --------------------------------------------------------------------------------- sending


def test_the_parts_of_a_message_pass_the_codec_and_the_first_has_its_bit(role: Role) -> None:
    rig = Rig(role, Config(max_frame_size=3), **with_codec(Repeater(2)))
    rig.connection.send_text("aabbccddee", compress=True)
    rig.connection.send_text("aabb", final=False, compress=True)
    rig.connection.send_text("ccdd", compress=True)
    rig.connection.send_text("plain", compress=False)
    assert rig.sent() == [
        (0x41, b"abc"),
        (0x80, b"de"),
        (0x41, b"ab"),
        (0x80, b"cd"),
        (0x01, b"pla"),
        (0x80, b"in"),
    ]


def test_codecs_are_applied_in_the_order_of_the_response(role: Role) -> None:
    class Marking(Repeater):
        def encode(
            self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
        ) -> tuple[bytes, int]:
            return payload + bytes([self.times]), self.bit

    rig = Rig(role, **with_codec(Marking(ord("x")), Marking(ord("y"), bit=0x20)))
    rig.connection.send_text("a")
    assert rig.sent() == [(0xE1, b"axy")]


def test_a_large_payload_is_queued_as_it_is() -> None:
    server = Rig(Role.SERVER).connection
    payload = bytes(100_000)
    server.send_binary(payload)
    header, queued = server.data_to_send()
    assert len(header) == 10
    assert queued is payload
    server.send_binary(bytes(100))
    assert len(server.data_to_send()) == 1


def test_bytes_to_send_is_what_is_given(role: Role) -> None:
    connection = Rig(role).connection
    assert not connection.has_output
    connection.send_text("hello")
    connection.send_binary(bytes(70_000))
    size = connection.bytes_to_send
    assert Rig(role).connection.has_output is False
    assert size == sum(map(len, connection.data_to_send()))
    assert connection.bytes_to_send == 0


def test_the_write_mark(role: Role) -> None:
    connection = Rig(role, Config(write_high_water=1000)).connection
    assert connection.below_mark
    connection.send_binary(bytes(980))
    assert connection.below_mark
    connection.send_binary(bytes(20))
    over = Rig(role).connection
    assert over.below_mark
    assert not connection.below_mark


def test_half_a_surrogate_is_no_beginning_of_text(role: Role) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError, match="expected text in UTF-8"):
        rig.connection.send_text(b"a\xed\xa0", final=False)
    assert rig.sent() == []
    rig.connection.send_text(b"a\xed\x9f", final=False)
    rig.connection.send_text(b"\xbf")
    assert rig.sent() == [(0x01, b"a\xed\x9f"), (0x80, b"\xbf")]


# ---------------------------------------------------------------------------------- ending


def test_the_reason_of_a_violation_fits_a_close_frame(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.connection.fail(ProtocolError("é" * 100, close_code=1002, rule="x"), rig.now)
    rig.look()
    ((_, body),) = rig.sent()
    assert body == close_body(1002, "é" * 61)


def test_what_came_too_late_says_why(role: Role) -> None:
    rig = Rig(role)
    rig.feed(rig.frame(0x88, close_body(1001, "off")))
    with pytest.raises(ConnectionClosed, match=r"closing \(the peer sent 1001 'off'; we sent 100"):
        rig.connection.send_text("x")
    rig.eof()
    with pytest.raises(ConnectionClosed, match="is closed") as caught:
        rig.connection.send_text("x")
    assert caught.value.code == 1001
    rig = Rig(role)
    rig.eof()
    with pytest.raises(ConnectionClosed, match=r"is closed$"):
        rig.connection.send_text("x")
    rig = Rig(role)
    rig.feed(b"\xff")
    with pytest.raises(ConnectionClosed, match=r"we sent 1002 .*; expected an opcode"):
        rig.connection.send_text("x")


def test_a_latched_error_is_shown_before_it_is_applied(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    connection.receive_data(rig.frame(0x81, b"a") + b"\xff", rig.now)
    assert (connection.ending, connection.phase) == (True, Phase.OPEN)
    assert isinstance(connection.error, ProtocolError)
    connection.send_text("still open")
    rig.look()
    assert (connection.ending, connection.phase) == (False, Phase.DRAINING)


def test_giving_up_drops_what_is_queued(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("queued")
    rig.connection.abort(rig.now)
    assert rig.connection.transport is Transport.ABORT
    assert rig.connection.bytes_to_send == 0
    rig.look()
    closed = rig.assert_closed()
    assert (closed.code, closed.sent, closed.error) == (1006, None, None)
    rig.connection.abort(rig.now)
    rig.look()
    assert rig.take() == []


def test_a_closed_connection_lets_go_of_its_buffers(role: Role) -> None:
    rig = Rig(role, Config(max_message_size=None))
    with measured() as memory:
        rig.feed(rig.frame(0x02, bytes(1 << 20)) + rig.frame(0x00, bytes(5))[:-1])
        rig.feed(b"\xff" * 10)
        rig.eof()
        rig.take()
    assert memory.held < 20_000


def test_what_was_received_before_a_reset_is_given(role: Role) -> None:
    """Also what stood behind the read mark when the reset was told."""
    rig = Rig(role, Config(read_high_water=1))
    rig.connection.receive_data(rig.frame(0x81, b"a") * 5, rig.now)
    rig.connection.lost(ConnectionResetError("reset"), rig.now)
    rig.look()
    events = rig.take()
    assert events[:5] == [text("a")] * 5
    assert isinstance(events[5], Closed)
    assert isinstance(events[5].error, ConnectionResetError)
    assert len(events) == 6


def test_a_reset_with_a_close_behind_the_mark(role: Role) -> None:
    rig = Rig(role, Config(read_high_water=1))
    stream = rig.frame(0x81, b"a") * 3 + rig.frame(0x88, close_body(1000))
    rig.connection.receive_data(stream, rig.now)
    rig.connection.lost(None, rig.now)
    rig.look()
    *messages, close, closed = rig.take()
    assert (messages, close) == ([text("a")] * 3, Close(1000))
    assert isinstance(closed, Closed)
    assert (closed.code, closed.sent, closed.clean) == (1000, None, False)


def test_what_a_reset_leaves_is_inflated_within_the_limit(role: Role) -> None:
    config = Config(deliver="chunks", max_message_size=20_000, read_high_water=1)
    rig = Rig(role, config, **with_codec(Repeater(1000, piece=1000)))
    rig.connection.receive_data(rig.frame(0xC2, b"a" * 15) * 10, rig.now)
    rig.connection.lost(None, rig.now)
    rig.look()
    sizes = [len(event.data) for event in rig.take() if isinstance(event, Chunk)]
    assert 15_000 <= sum(sizes) <= 25_000


def test_early_bytes_in_small_reads_take_linear_time() -> None:
    def run(count: int) -> None:
        connection = deciding()
        for _ in range(count):
            connection.receive_data(b"123456", 0.0)

    assert_linear(run, 20_000)


def test_a_peer_that_never_pongs_is_not_remembered_for_it(role: Role) -> None:
    """It talks, so it is alive; the heartbeat must not keep each ping for ever."""
    rig = Rig(role)
    connection = rig.connection
    ours = connection.ping(None, rig.now)
    with measured() as memory:
        for _ in range(1000):
            rig.now += 20.0
            connection.receive_data(rig.frame(0x82), rig.now)
            connection.handle_timeout(rig.now)
            rig.look()
            rig.take()
            rig.output.clear()
    assert memory.held < 10_000
    assert connection.phase is Phase.OPEN
    assert connection.awaits_pong(ours)


def test_the_transport_never_falls() -> None:
    pair = Pair()
    pair.client.close(1000, now=pair.now)
    pair.run_until_quiet()
    for end in pair.ends:
        level = end.connection.transport
        assert level is Transport.CLOSE
        for late in (end.connection.receive_eof, end.connection.abort, end.connection.receive_eof):
            late(pair.now)
            assert end.connection.transport >= level
            level = end.connection.transport


def test_text_as_bytes(make_rig: MakeRig) -> None:
    rig = make_rig(Config(text_as_bytes=True))
    rig.feed(rig.frame(0x81, "é".encode()))
    assert rig.take() == [Message("é".encode(), OpCode.TEXT)]


def test_time_is_the_latest_told(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    assert connection.time == rig.now
    connection.receive_data(b"", rig.now + 1)
    assert connection.time == rig.now + 1
    connection.handle_timeout(rig.now + 2)
    assert connection.time == rig.now + 2


def test_a_ping_is_awaited_until_it_or_a_later_one_is_answered(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    for payload in (b"1", b"2", b"3"):
        connection.ping(payload, rig.now)
    assert connection.awaits_pong(b"1")
    rig.feed(rig.frame(0x8A, b"2"))
    assert [connection.awaits_pong(one) for one in (b"1", b"2", b"3")] == [False, False, True]


# ------------------------------------------------------------------ what mutants have shown


def test_a_client_sends_the_headers_that_it_is_given() -> None:
    client = Connection(Role.CLIENT, now=7.0, target="ws://h/", headers=[("X-Color", "red")])
    assert b"\r\nX-Color: red\r\n" in b"".join(client.data_to_send())
    assert client.time == 7.0


def test_without_a_frame_limit_a_message_is_one_frame(role: Role) -> None:
    rig = Rig(role, Config(max_frame_size=None, max_message_size=None))
    rig.connection.send_binary(bytes(3 << 20))
    assert rig.sent() == [(0x82, bytes(3 << 20))]
    rig.feed(rig.frame(0x82, bytes(3 << 20)))
    assert rig.take() == [Message(bytes(3 << 20), OpCode.BINARY)]


def test_payloads_up_to_16_kib_are_joined_with_their_header() -> None:
    server = Rig(Role.SERVER).connection
    for size, buffers in ((16 << 10, 1), ((16 << 10) + 1, 2)):
        server.send_binary(bytes(size))
        assert len(server.data_to_send()) == buffers


def test_the_last_eight_heartbeats_are_remembered(role: Role) -> None:
    rig = Rig(role, Config(ping_interval=10.0, pong_timeout=None, receive_timeout=None))
    beats: list[bytes] = []
    for _ in range(10):
        rig.now += 10.0
        rig.connection.handle_timeout(rig.now)
        beats += [payload for _, payload in rig.sent()]
    assert len(beats) == 10
    assert [rig.connection.awaits_pong(beat) for beat in beats] == [False] * 2 + [True] * 8


@pytest.mark.parametrize(("pending", "closed_at"), [(99, 15.0), (100, 10.0)])
def test_one_byte_taken_is_progress(pending: int, closed_at: float) -> None:
    config = Config(send_timeout=10.0, ping_interval=None, receive_timeout=None)
    rig = Rig(Role.SERVER, config)
    connection = rig.connection
    connection.send_binary(bytes(98))
    connection.data_to_send()
    connection.write_blocked(100, rig.now)
    assert connection.next_deadline() == rig.now + 10.0
    connection.write_blocked(pending, rig.now + 5.0)
    assert connection.next_deadline() == rig.now + closed_at
