"""``Connection``: what its docstrings promise beyond the rows of the matrix.

Making one, commands that are refused, looking lazily, output and its marks, what it shows of
itself. The lifecycle, time and the handshake have files of their own.
"""

from collections.abc import Callable

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import Pair
from tests.core.wire import MakeRig, Repeater, Rig, close_body, frame, parse, text, with_codec
from wsproto_core import (
    Agreement,
    Chunk,
    Close,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    ExtensionNegotiated,
    HandshakeError,
    LocalProtocolError,
    Message,
    OpCode,
    Opened,
    PeerTimeout,
    Phase,
    Ping,
    ProtocolError,
    Refused,
    Request,
    Response,
    Role,
    Transport,
    parse_uri,
)
from wsproto_core.extensions import Agreed, Codec, Params, PerMessageDeflate

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


def test_a_batch_is_so_many_bytes_or_frames(role: Role) -> None:
    connection = Rig(role).connection
    assert not connection.has_batch()
    for _ in range(15):
        connection.send_text("hello")
        assert not connection.has_batch()
    connection.send_text("hello")
    assert connection.has_batch()
    connection.data_to_send()
    assert not connection.has_batch()
    connection.send_binary(bytes((16 << 10) - 8))
    assert connection.has_batch() is (role is Role.CLIENT)  # whose header has a mask of 4 bytes
    connection.data_to_send()
    connection.send_binary(bytes((16 << 10) - 4))
    assert connection.has_batch()


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
    def live(rig: Rig) -> None:
        rig.feed(rig.frame(0x02, bytes(1 << 20)) + rig.frame(0x00, bytes(5))[:-1])
        rig.feed(b"\xff" * 10)
        rig.eof()
        rig.take()

    live(Rig(role, Config(max_message_size=None)))  # what is made once, such as coverage's notes
    rig = Rig(role, Config(max_message_size=None))
    with measured() as memory:
        live(rig)
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

    def live(times: int) -> None:
        for _ in range(times):
            rig.now += 20.0
            connection.receive_data(rig.frame(0x82), rig.now)
            connection.handle_timeout(rig.now)
            rig.look()
            rig.take()
            rig.output.clear()

    live(10)  # what is made once, such as coverage's notes
    with measured() as memory:
        live(1000)
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


TEXTS = "send_text(): expected str, bytes, bytearray or a memoryview of bytes, "
MEMORY = "send_binary(): expected bytes, bytearray or a memoryview of bytes, "

WRONG_TYPES: list[tuple[Callable[[Connection], object], str]] = [
    (lambda c: c.send_text(5), TEXTS + "got int"),  # type: ignore[arg-type]
    (lambda c: c.send_binary("x"), MEMORY + "got str"),  # type: ignore[arg-type]
    (lambda c: c.ping("x", 0.0), "ping" + MEMORY[11:] + "got str"),  # type: ignore[arg-type]
    (lambda c: c.pong(None), "pong" + MEMORY[11:] + "got NoneType"),  # type: ignore[arg-type]
    (lambda c: c.close("x", now=0.0), "expected a close code as int, got str"),  # type: ignore[arg-type]
    (lambda c: c.close(True, now=0.0), "expected a close code as int, got bool"),
    (lambda c: c.close(1000, b"x", now=0.0), "expected a close reason as str, got bytes"),  # type: ignore[arg-type]
    (
        lambda c: c.send_binary(memoryview(bytes(8)).cast("I")),
        MEMORY + "got a memoryview of format 'I' with 1 dimensions",
    ),
    (
        lambda c: c.send_binary(memoryview(bytes(8)).cast("B", (2, 4))),
        MEMORY + "got a memoryview of format 'B' with 2 dimensions",
    ),
    (
        lambda c: c.send_binary(memoryview(bytes(8))[::2]),
        MEMORY + "got a memoryview of format 'B' with 1 dimensions and gaps",
    ),
]


@pytest.mark.parametrize(("call", "words"), WRONG_TYPES)
def test_arguments_of_wrong_types(call: Callable[[Connection], object], words: str) -> None:
    rig = Rig(Role.SERVER)
    with pytest.raises(TypeError) as caught:
        call(rig.connection)
    assert str(caught.value) == words
    assert rig.sent() == []
    assert rig.connection.phase is Phase.OPEN


def test_any_buffer_of_bytes_is_copied(role: Role) -> None:
    rig = Rig(role)
    kept = bytearray(b"abc")
    rig.connection.send_binary(kept)
    rig.connection.send_binary(memoryview(kept))
    rig.connection.send_text(kept)
    rig.connection.send_text(memoryview(kept), final=False)
    rig.connection.send_text(b"")
    rig.connection.pong(kept)
    rig.connection.pong()
    assert rig.connection.ping(memoryview(kept), rig.now) == b"abc"
    kept[:] = b"xyz"
    assert rig.sent() == [
        (0x82, b"abc"),
        (0x82, b"abc"),
        (0x81, b"abc"),
        (0x01, b"abc"),
        (0x80, b""),
        (0x8A, b"abc"),
        (0x8A, b""),
        (0x89, b"abc"),
    ]
    data = bytearray(rig.frame(0x81, b"abc"))
    rig.connection.receive_data(memoryview(data), rig.now)
    rig.connection.receive_data(data, rig.now)
    rig.look()
    assert rig.take() == [text("abc")] * 2


def test_control_payloads_have_125_bytes_at_most(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    connection.pong(bytes(125))
    connection.ping(bytes(125), rig.now)
    with pytest.raises(LocalProtocolError, match=r"^pong\(\): expected at most 125 .* got 126 \("):
        connection.pong(bytes(126))
    with pytest.raises(LocalProtocolError, match=r"^ping\(\): expected at most 125 .* got 126 \("):
        connection.ping(bytes(126), rig.now)
    assert rig.sent() == [(0x8A, bytes(125)), (0x89, bytes(125))]


OPEN_ONLY: list[tuple[Callable[[Connection], object], str]] = [
    (lambda c: c.ping(b"", 0.0), "ping()"),
    (lambda c: c.pong(), "pong()"),
    (lambda c: c.send_text("x"), "a message"),
    (lambda c: c.send_binary(b"x"), "a message"),
]


@pytest.mark.parametrize(("call", "name"), OPEN_ONLY)
def test_what_an_open_connection_only_can_do(
    call: Callable[[Connection], object], name: str
) -> None:
    early = Connection(Role.SERVER, now=0.0)
    with pytest.raises(LocalProtocolError) as caught:
        call(early)
    expected = f"{name} in state opening: expected it while the connection is open"
    assert str(caught.value) == expected
    rig = Rig(Role.SERVER)
    rig.connection.close(1000, "bye", now=rig.now)
    rig.sent()
    with pytest.raises(ConnectionClosed) as late:
        call(rig.connection)
    expected = f"{name} came too late: the connection is closing (we sent 1000 'bye')"
    assert str(late.value) == expected
    assert late.value.closed is None
    assert rig.sent() == []


@pytest.mark.parametrize("command", COMMANDS, ids=["accept", "reject", "configure"])
def test_decisions_name_themselves(
    command: Callable[[Connection], None], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        command(Connection(Role.SERVER, now=0.0))
    name = request.node.callspec.id
    expected = f"{name}() in state opening: expected it while a request waits for its answer"
    assert str(caught.value) == expected


TELL_THE_TIME: list[Callable[[Connection], object]] = [
    lambda c: c.receive_data(b"", 200.0),
    lambda c: c.receive_eof(200.0),
    lambda c: c.lost(None, 200.0),
    lambda c: c.handle_timeout(200.0),
    lambda c: c.write_blocked(0, 200.0),
    lambda c: c.set_reading(False, 200.0),
    lambda c: c.ping(b"", 200.0),
    lambda c: c.close(now=200.0),
    lambda c: c.fail(ValueError(), 200.0),
    lambda c: c.abort(200.0),
]


@pytest.mark.parametrize("tell", TELL_THE_TIME)
def test_every_input_tells_the_time(tell: Callable[[Connection], object]) -> None:
    config = Config(ping_interval=None, receive_timeout=None)
    connection = Rig(Role.SERVER, config).connection
    tell(connection)
    assert connection.time == 200.0


@pytest.mark.parametrize("command", COMMANDS, ids=["accept", "reject", "configure"])
def test_every_decision_tells_the_time(command: Callable[[Connection], None]) -> None:
    connection = deciding()
    command(connection)
    assert connection.time == 1.0


def test_bytes_after_the_end_are_the_callers_mistake() -> None:
    rig = Rig(Role.SERVER)
    rig.eof()
    with pytest.raises(LocalProtocolError, match=r"^receive_data\(\) after receive_eof\(\)"):
        rig.feed(b"x")
    rig.eof()
    rig.connection.lost(OSError(), rig.now)
    rig.look()
    assert rig.take()[-1] == rig.connection.closed
    assert rig.connection.error is None


# What a Close may say.


@pytest.mark.parametrize(
    ("code", "reason", "why"),
    [
        (None, "x", "close() with a reason needs a code (RFC 6455 5.5.1)"),
        (999, "", "expected a close code of 1000 to 1003, 1007 to 1014 or 3000 to 4999, got 999"),
        (1005, "", "expected a close code of 1000 to 1003, 1007 to 1014 or 3000 to 4999, got 1005"),
        (5000, "", "expected a close code of 1000 to 1003, 1007 to 1014 or 3000 to 4999, got 5000"),
        (1000, "é" * 62, "expected a close reason of at most 123 bytes in UTF-8, got 124 (RFC"),
        (1000, "\ud800", "expected a close reason that UTF-8 can encode"),
    ],
)
def test_what_a_close_cannot_say(role: Role, code: int | None, reason: str, why: str) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError) as caught:
        rig.connection.close(code, reason, now=rig.now)
    assert str(caught.value).startswith(why)
    assert rig.connection.phase is Phase.OPEN


@pytest.mark.parametrize(
    ("code", "reason", "body"),
    [(None, "", b""), (1000, "", b"\x03\xe8"), (4999, "x" * 123, b"\x13\x87" + b"x" * 123)],
)
def test_what_a_close_says(role: Role, code: int | None, reason: str, body: bytes) -> None:
    rig = Rig(role)
    rig.connection.close(code, reason, now=rig.now)
    assert rig.sent() == [(0x88, body)]
    assert rig.connection.close_sent == Close(code or 1005, reason)
    rig.connection.close(1001, "again", now=rig.now)
    assert rig.sent() == []
    rig.feed(rig.frame(0x88, body))
    rig.eof()
    assert rig.take()[0] == Close(code or 1005, reason)
    closed = rig.connection.closed
    expected = Close(code or 1005, reason)
    assert closed == Closed(expected.code, reason, True, expected, expected, None)


@pytest.mark.parametrize(
    ("body", "code", "words", "rule"),
    [
        (b"\x03", 1002, "expected a Close body of two bytes or more", "RFC 6455 5.5.1"),
        (b"\x03\xed", 1002, "a close code that may be on the wire, got 1005", "RFC 6455 7.4"),
        (b"\x00\x00", 1002, "got 0", "RFC 6455 7.4"),
        (b"\x03\xe8\xff", 1007, "expected a close reason in UTF-8", "RFC 6455 8.1"),
    ],
)
def test_a_close_that_says_something_wrong(
    role: Role, body: bytes, code: int, words: str, rule: str
) -> None:
    rig = Rig(role)
    rig.feed(rig.frame(0x88, body))
    error = rig.assert_fails(code)
    assert words in str(error)
    assert error.rule == rule
    assert error.__cause__ is None


# Frames in and out.


def test_limits_make_payload_too_big(role: Role) -> None:
    for config in (Config(max_frame_size=10), Config(max_message_size=10)):
        rig = Rig(role, config)
        rig.feed(rig.frame(0x82, bytes(10)))
        assert len(rig.take()) == 1
        rig.feed(rig.frame(0x82, bytes(11)))
        error = rig.assert_fails(1009)
        assert type(error).__name__ == "PayloadTooBig"
    rig = Rig(role)
    rig.feed(b"\xff")
    assert type(rig.assert_fails(1002)) is ProtocolError


def test_pings_count_against_the_read_mark(role: Role) -> None:
    rig = Rig(role, Config(read_high_water=200))
    rig.connection.receive_data(rig.frame(0x89, bytes(36)) * 10, rig.now)
    assert [len(rig.connection.events()) for _ in range(5)] == [2] * 5
    rig.connection.receive_data(rig.frame(0x8A) * 10, rig.now)
    assert len(rig.connection.events()) == 4


@pytest.mark.parametrize(
    ("size", "sizes"), [(0, [0]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])]
)
def test_fragments_are_as_large_as_they_may_be(role: Role, size: int, sizes: list[int]) -> None:
    rig = Rig(role, Config(max_frame_size=4))
    rig.connection.send_binary(bytes(size))
    rig.connection.send_binary(bytes(size), final=False)
    rig.connection.send_binary(b"")
    frames = rig.sent()
    firsts = [0x02, *[0x00] * (len(sizes) - 1)]
    whole = [*firsts[:-1], firsts[-1] | 0x80]
    assert [(first, len(data)) for first, data in frames] == [
        *zip(whole, sizes, strict=True),
        *zip(firsts, sizes, strict=True),
        (0x80, 0),
    ]


def test_parts_of_two_kinds_are_not_mixed(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    connection.send_text("a", final=False)
    assert connection.sending is OpCode.TEXT
    with pytest.raises(LocalProtocolError) as caught:
        connection.send_binary(b"b")
    expected = "expected the next part of a TEXT message, got BINARY (RFC 6455 5.4)"
    assert str(caught.value) == expected
    connection.send_text("b")
    sending: OpCode | None = connection.sending
    assert sending is None
    assert rig.sent() == [(0x01, b"a"), (0x80, b"b")]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([b"ab\xc3"], "got the byte c3 at position 2 (RFC 6455 5.6)"),
        ([b"ab\xff", b"x"], "got the byte ff at position 2 (RFC 6455 5.6)"),
        ([b"ab\xed\xa0", b"x"], "got the byte ed at position 2 (RFC 6455 5.6)"),
        ([b"ab\xc3", b"x"], "got the byte c3 at position 0 (RFC 6455 5.6)"),
        ([b"ab\xc3", b""], "got the byte c3 at position 0 (RFC 6455 5.6)"),
    ],
)
def test_bytes_that_are_no_text(role: Role, parts: list[bytes], why: str) -> None:
    rig = Rig(role)
    for part in parts[:-1]:
        if not part.endswith((b"\xc3", b"b")):
            break
        rig.connection.send_text(part, final=False)
    else:
        part = parts[-1]
    with pytest.raises(LocalProtocolError) as caught:
        rig.connection.send_text(part, final=part is parts[-1])
    assert str(caught.value) == f"expected text in UTF-8, {why}"
    assert caught.value.__cause__ is None


def test_text_that_cannot_be_encoded(role: Role) -> None:
    rig = Rig(role)
    with pytest.raises(LocalProtocolError) as caught:
        rig.connection.send_text("ab\ud800c")
    assert str(caught.value).startswith("expected text that UTF-8 can encode, got '\\ud800' at pos")
    rig.connection.send_text(b"\xc3", final=False)
    with pytest.raises(LocalProtocolError, match="the part before this one ended inside a charact"):
        rig.connection.send_text("x")
    rig.connection.send_text(b"\xa9", final=False)
    rig.connection.send_text("x")
    assert rig.sent() == [(0x01, b"\xc3"), (0x00, b"\xa9"), (0x80, b"x")]


class Watched(Repeater):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls: list[tuple[object, ...]] = []
        self.rests = 0

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        self.calls.append((opcode, payload, first, final, compress))
        return payload, 0

    def idle(self) -> None:
        self.rests += 1


def test_a_codec_is_told_what_goes_out(role: Role) -> None:
    codec = Watched()
    rig = Rig(role, **with_codec(codec))
    rig.connection.send_text("a", final=False, compress=True)
    rig.connection.send_text("b")
    rig.connection.send_binary(b"c", compress=False)
    assert codec.calls == [
        (1, b"a", True, False, True),
        (1, b"b", False, True, None),
        (2, b"c", True, True, False),
    ]


def test_a_codec_rests_after_a_heartbeat_without_messages(role: Role) -> None:
    codec = Watched()
    config = Config(ping_interval=10.0, pong_timeout=None, receive_timeout=None)
    rig = Rig(role, config, **with_codec(codec))

    def beat() -> int:
        rig.now += 10.0
        rig.connection.handle_timeout(rig.now)
        rig.look()
        return codec.rests

    assert [beat(), beat()] == [1, 2]
    rig.connection.send_text("x")
    assert [beat(), beat()] == [2, 3]
    rig.feed(rig.frame(0x81, b"x"))
    assert [beat(), beat()] == [3, 4]


# The handshake.


def client(config: Config | None = None) -> Connection:
    connection = Connection(Role.CLIENT, config, now=0.0, target="ws://h/", random=bytes)
    connection.data_to_send()
    return connection


ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)


def test_a_server_that_says_no() -> None:
    connection = client()
    connection.receive_data(
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nno\nentry",
        1.0,
    )
    refused, closed = connection.events()
    assert isinstance(refused, Refused)
    assert refused.response.status == 403
    assert isinstance(closed, Closed)
    error = closed.error
    assert isinstance(error, HandshakeError)
    assert error.response is refused.response
    assert str(error) == "expected status 101, the server answered 403: 'no'"
    assert connection.transport is Transport.CLOSE


def test_a_server_that_says_no_in_a_page() -> None:
    connection = client()
    connection.receive_data(
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>!", 1.0
    )
    assert str(connection.error) == "expected status 101, the server answered 403"


def test_an_answer_that_does_not_fit() -> None:
    connection = client()
    connection.receive_data(ANSWER.replace(b"ICX+", b"XXXX"), 1.0)
    refused, closed = connection.events()
    assert isinstance(refused, Refused)
    assert refused.response.status == 101
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, HandshakeError)
    assert closed.error.response is refused.response


def test_an_answer_that_lacks_what_is_required() -> None:
    connection = client(
        Config(extensions=(PerMessageDeflate(),), required_extensions=("permessage-deflate",))
    )
    connection.receive_data(ANSWER, 1.0)
    assert connection.events() == []
    assert connection.phase is Phase.DRAINING
    assert connection.close_sent == Close(1010, "permessage-deflate")
    assert connection.next_deadline() == 1.0 + Config().close_timeout  # type: ignore[operator]
    error = connection.error
    assert isinstance(error, HandshakeError)
    assert str(error) == "expected the server to accept permessage-deflate, it did not"
    assert error.response is not None
    assert error.response.status == 101
    ((first, body),) = parse(b"".join(connection.data_to_send()), masked=True)
    assert (first, body) == (0x88, close_body(1010, "permessage-deflate"))
    connection.receive_data(b"\xff", 2.0)
    connection.receive_eof(2.0)
    (closed,) = connection.events()
    assert isinstance(closed, Closed)
    assert closed.error is error


def test_an_answer_that_is_not_complete() -> None:
    connection = client()
    connection.receive_data(ANSWER[:20], 1.0)
    connection.receive_eof(2.0)
    assert connection.phase is Phase.CLOSED
    assert isinstance(connection.error, HandshakeError)
    expected = "the server ended the stream before its answer was complete"
    assert str(connection.error) == expected
    assert isinstance(connection.events()[-1], Closed)
    server = Connection(Role.SERVER, now=0.0)
    server.receive_data(REQUEST[:20], 1.0)
    server.receive_eof(2.0)
    expected = "the client ended the stream before its request was complete"
    assert isinstance(server.error, HandshakeError)
    assert str(server.error) == expected


@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_whose_body_ends_with_the_stream_or_not_at_all(late: bool) -> None:
    connection = client()
    connection.receive_data(b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\nwhy", 1.0)
    assert connection.events() == []
    if late:
        connection.handle_timeout(10.0)
    else:
        connection.receive_eof(2.0)
    refused, closed = connection.events()
    assert isinstance(refused, Refused)
    assert refused.response.status == 500
    assert isinstance(closed, Closed)
    assert str(closed.error) == "expected status 101, the server answered 500: 'why'"


def test_an_answer_that_opens_with_bytes_behind_it() -> None:
    connection = client()
    connection.receive_data(ANSWER + frame(0x81, b"hi"), 1.0)
    opened, message = connection.events()
    assert isinstance(opened, Opened)
    assert opened.response.status == 101
    assert message == text("hi")
    assert connection.agreement == Agreement()
    assert connection.next_deadline() == 21.0


def test_a_request_that_is_refused() -> None:
    connection = Connection(Role.SERVER, now=0.0)
    connection.receive_data(REQUEST.replace(b"Version: 13", b"Version: 12"), 1.0)
    assert connection.phase is Phase.DRAINING
    error = connection.error
    assert isinstance(error, HandshakeError)
    assert error.response is not None
    assert error.response.status == 426
    output = b"".join(connection.data_to_send())
    assert output.startswith(b"HTTP/1.1 426 ")
    assert connection.events() == []
    assert connection.next_deadline() is not None
    connection.receive_data(REQUEST, 2.0)
    connection.receive_eof(3.0)
    (closed,) = connection.events()
    assert isinstance(closed, Closed)
    assert closed.error is error


def test_a_rejection_is_the_error() -> None:
    connection = deciding()
    connection.reject(Response(404), 1.0)
    assert isinstance(connection.error, HandshakeError)
    assert str(connection.error) == "the request was answered with status 404"
    assert connection.error.status == 404


def test_an_extension_through_the_whole_handshake() -> None:
    config = Config(
        extensions=(PerMessageDeflate(threshold=0),), ping_interval=None, receive_timeout=None
    )
    pair = Pair(config, config)
    pair.run_until_quiet()
    for end in pair.ends:
        assert end.connection.agreement is not None
        assert [e.name for e in end.connection.agreement.extensions] == ["permessage-deflate"]
    pair.client.send_text("a" * 1000, compress=True)
    assert pair.client.bytes_to_send < 100
    pair.run_until_quiet()
    assert any(text("a" * 1000) in end.events for end in pair.ends)


# Time.


@pytest.mark.parametrize(
    ("config", "act", "why", "timer", "code"),
    [
        (
            Config(ping_interval=10.0, pong_timeout=5.0, max_missed_pongs=2),
            None,
            "2 pings in a row without a sign of life",
            "pong",
            1001,
        ),
        (
            Config(ping_interval=None, receive_timeout=7.0),
            None,
            "no byte from the peer in 7 s",
            "receive",
            1001,
        ),
        (
            Config(ping_interval=None, receive_timeout=7.0),
            lambda rig: rig.feed(b"\x81"),
            "a frame took longer than 7 s to arrive",
            "receive",
            1001,
        ),
        (
            Config(ping_interval=None, receive_timeout=None, close_timeout=3.0),
            lambda rig: rig.connection.close(now=rig.now),
            "no Close from the peer in 3 s",
            "close",
            1006,
        ),
        (
            Config(ping_interval=None, receive_timeout=None, send_timeout=4.0),
            lambda rig: rig.connection.write_blocked(9, rig.now),
            "the peer took none of 9 bytes in 4 s",
            "send",
            1006,
        ),
    ],
)
def test_a_timeout_says_which(
    config: Config, act: Callable[[Rig], object] | None, why: str, timer: str, code: int
) -> None:
    rig = Rig(Role.CLIENT, config)
    if act is not None:
        act(rig)
    while rig.connection.error is None:
        deadline = rig.connection.next_deadline()
        assert deadline is not None
        rig.connection.handle_timeout(deadline)
    error = rig.connection.error
    assert isinstance(error, PeerTimeout)
    assert (str(error), error.timer, error.close_code) == (why, timer, code)


def test_what_an_acceptance_hands_on() -> None:
    roles: list[Role] = []

    class Noting(PerMessageDeflate):
        def accept(self, offer: Params) -> Agreed | None:
            agreed = super().accept(offer)
            assert agreed is not None

            def codec(role: Role) -> Codec:
                roles.append(role)
                return agreed.codec(role)

            return Agreed(agreed.parameters, codec)

    connection = Connection(Role.SERVER, Config(extensions=(Noting(),)), now=0.0)
    more = b"Sec-WebSocket-Extensions: permessage-deflate\r\nExpect: 100-continue\r\n\r\n"
    connection.receive_data(REQUEST[:-2] + more, 0.0)
    connection.events()
    connection.accept(1.0, headers=[("X-Color", "red")])
    output = b"".join(connection.data_to_send())
    assert output.startswith(b"HTTP/1.1 100 ")
    assert b"\r\n\r\nHTTP/1.1 101 " in output
    assert b"\r\nX-Color: red\r\n" in output
    assert roles == [Role.SERVER]
    opened = connection.events()[-1]
    assert isinstance(opened, Opened)
    assert opened.response.status == 101
    assert opened.response.headers["X-Color"] == "red"


def test_after_a_loss_nothing_can_come() -> None:
    rig = Rig(Role.SERVER)
    rig.connection.lost(None, rig.now)
    with pytest.raises(LocalProtocolError, match="after receive_eof"):
        rig.connection.receive_data(b"x", rig.now)


def test_going_on_to_read_while_reading_is_no_sign_of_life() -> None:
    rig = Rig(Role.SERVER, Config(ping_interval=None, receive_timeout=10.0))
    rig.connection.set_reading(True, rig.now + 9.0)
    rig.connection.handle_timeout(rig.now + 10.0)
    assert isinstance(rig.connection.error, PeerTimeout)
    rig = Rig(Role.SERVER, Config(ping_interval=None, receive_timeout=10.0))
    rig.connection.set_reading(False, rig.now + 1.0)
    rig.connection.set_reading(True, rig.now + 9.0)
    rig.connection.handle_timeout(rig.now + 10.0)
    assert rig.connection.error is None
    assert rig.connection.next_deadline() == rig.now + 19.0


def test_a_ping_of_ours_is_eight_random_bytes() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    rig = Rig(Role.SERVER, random=random)
    assert rig.connection.ping(None, rig.now) == bytes(8)
    assert asked == [8]


def test_text_as_bytes_goes_to_the_codec_with_its_wish(role: Role) -> None:
    codec = Watched()
    rig = Rig(role, **with_codec(codec))
    rig.connection.send_text(b"a", compress=True)
    rig.connection.send_text(b"b", compress=False)
    assert codec.calls == [(1, b"a", True, True, True), (1, b"b", True, True, False)]


def test_what_was_given_before_counts_as_taken() -> None:
    """Progress is what left the transport over all, not since the last write."""
    config = Config(send_timeout=10.0, ping_interval=None, receive_timeout=None)
    rig = Rig(Role.SERVER, config)
    connection = rig.connection
    for at in (0.0, 5.0):
        connection.send_binary(bytes(98))
        connection.data_to_send()
        connection.write_blocked(100, rig.now + at)  # the second time, the first hundred left
        assert connection.next_deadline() == rig.now + at + 10.0
    connection.send_binary(bytes(98))
    connection.data_to_send()
    connection.write_blocked(200, rig.now + 8.0)  # nothing left
    assert connection.next_deadline() == rig.now + 15.0


def test_the_write_mark_counts_what_the_transport_holds(role: Role) -> None:
    rig = Rig(role, Config(write_high_water=1000))
    connection = rig.connection
    connection.write_blocked(1000, rig.now)
    assert connection.below_mark
    connection.write_blocked(1001, rig.now)
    assert not connection.below_mark


def test_an_error_of_what_came_too_late_has_the_end_or_how_it_stands(role: Role) -> None:
    rig = Rig(role)
    rig.feed(rig.frame(0x88, close_body(1001, "off")))
    so_far = rig.connection.closed_error("x")
    assert so_far.closed is None
    assert so_far.code == 1001
    rig.eof()
    over = rig.connection.closed_error("x")
    assert over.closed is rig.connection.closed
    assert over.code == 1001


def test_a_failure_before_the_end_of_the_handshake_is_the_error() -> None:
    error = ValueError("x")
    for connection in (deciding(), Connection(Role.SERVER, now=0.0)):
        connection.fail(error, 1.0)
        assert connection.phase is Phase.CLOSED
        assert connection.error is error


def test_nothing_but_the_close_timeout_runs_after_our_close() -> None:
    config = Config(ping_interval=5.0, pong_timeout=2.0, receive_timeout=7.0, close_timeout=100.0)
    rig = Rig(Role.SERVER, config)
    rig.connection.handle_timeout(rig.now + 5.0)
    assert rig.connection.next_deadline() == rig.now + 7.0
    rig.connection.close(now=rig.now + 5.0)
    assert rig.connection.next_deadline() == rig.now + 105.0


# ------------------------------------------------------------ what further mutants have shown


def test_an_ending_that_waits_has_one_deadline() -> None:
    """No ping, no judgement of silence: what ends it has come."""
    config = Config(ping_interval=20.0, pong_timeout=10.0, receive_timeout=50.0, close_timeout=200)
    for wait, deadline in ((0.0, 20.0), (20.0, 30.0)):
        rig = Rig(Role.SERVER, config)
        connection = rig.connection
        connection.handle_timeout(rig.now + wait)
        assert connection.next_deadline() == rig.now + deadline
        connection.receive_data(rig.frame(0x88), rig.now + 25.0)
        assert connection.ending
        assert connection.next_deadline() == rig.now + 225.0


def test_an_ending_that_was_applied_waits_no_more() -> None:
    rig = Rig(Role.SERVER, Config(close_timeout=10.0))
    connection = rig.connection
    connection.receive_data(rig.frame(0x88), rig.now)
    assert connection.next_deadline() == rig.now + 10.0
    connection.handle_timeout(rig.now + 4.0)
    while connection.events():
        pass
    assert connection.next_deadline() == rig.now + 14.0


def test_why_a_handshake_failed_is_its_error() -> None:
    client = Connection(Role.CLIENT, now=0.0, target="ws://h/")
    client.receive_data(b"HTTP/1.1 101 X\r\nno field\r\n\r\n", 1.0)
    assert client.closed is not None
    assert isinstance(client.closed.error, HandshakeError)
    server = Connection(Role.SERVER, now=0.0)
    server.receive_data(REQUEST.replace(b"GET", b"PUT"), 1.0)
    assert isinstance(server.error, HandshakeError)
    assert server.error.status == 405
    assert "PUT" in str(server.error)
    late = Connection(Role.SERVER, Config(open_timeout=3.0), now=0.0)
    late.handle_timeout(3.0)
    assert str(late.error) == "no open connection after 3 s"


def test_a_client_that_does_not_wait_is_told_how_much_it_sent() -> None:
    connection = deciding(Config(read_high_water=1))
    size = (256 << 10) + 2
    connection.receive_data(bytes(size), 0.0)
    output = b"".join(connection.data_to_send())
    assert output.startswith(b"HTTP/1.1 400 ")
    assert f"expected no data before the 101, got {size} bytes".encode() in output


def answer(*fields: bytes) -> bytes:
    """A 101 for a client whose key is sixteen zeros."""
    accept = b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="
    lines = [b"HTTP/1.1 101 X", b"Upgrade: websocket", b"Connection: Upgrade", accept, *fields]
    return b"\r\n".join([*lines, b"", b""])


def test_a_client_makes_its_codecs_as_a_client() -> None:
    roles: list[Role] = []

    class Noting(PerMessageDeflate):
        def confirm(self, offers: object, answer: Params) -> Agreed:
            def codec(role: Role) -> Codec:
                roles.append(role)
                return Repeater(1)

            return Agreed(answer, codec)

    config = Config(extensions=(Noting(),))
    client = Connection(Role.CLIENT, config, now=0.0, target="ws://h/", random=bytes)
    client.receive_data(answer(b"Sec-WebSocket-Extensions: permessage-deflate"), 0.0)
    assert client.phase is Phase.OPEN
    assert roles == [Role.CLIENT]


@pytest.mark.parametrize("size", [122, 123, 124, 200])
def test_the_names_that_lack_are_cut_to_what_a_close_holds(size: int) -> None:
    config = Config(required_extensions=["x" * size])
    client = Connection(Role.CLIENT, config, now=0.0, target="ws://h/", random=bytes)
    client.receive_data(answer(), 0.0)
    assert client.close_sent == Close(1010, "x" * min(size, 123))


def test_the_bits_of_all_codecs_are_known(role: Role) -> None:
    for first in (0x81, 0xC1, 0xA1, 0xE1):
        rig = Rig(role, **with_codec(Repeater(1), Repeater(1)))
        rig.feed(rig.frame(first, b"a"))
        assert rig.take() == [text("a")]
    rig = Rig(role, **with_codec(Repeater(1), Repeater(1)))
    rig.feed(rig.frame(0x91, b"a"))
    assert rig.assert_fails(1002).rule == "RFC 6455 5.2"


def test_all_that_there_is_room_for_comes_at_once(role: Role) -> None:
    """Also with a codec, before which less is read at a time."""
    rig = Rig(role, **with_codec(Repeater(1)))
    rig.connection.receive_data(rig.frame(0x81, b"a" * 20) * 500, rig.now)
    assert len(rig.connection.events()) == 500


@pytest.mark.parametrize(("held", "pongs"), [(1000, 2), (1001, 0)])
def test_the_mark_itself_is_not_over_the_mark(role: Role, held: int, pongs: int) -> None:
    """There the first of two pings is answered for itself, and not by the pong of the second."""
    rig = Rig(role, Config(write_high_water=1000))
    rig.connection.write_blocked(held, rig.now)
    rig.connection.receive_data(rig.frame(0x89, b"p") + rig.frame(0x89, b"q"), rig.now)
    assert len(parse(b"".join(rig.connection.data_to_send()), role is Role.CLIENT)) == pongs


def test_text_as_bytes_may_go_on_as_str(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text(b"ab", final=False)
    rig.connection.send_text("cd")
    assert rig.sent() == [(0x01, b"ab"), (0x80, b"cd")]


def test_a_ping_that_is_sent_again_is_the_latest(role: Role) -> None:
    rig = Rig(role)
    for payload in (b"a", b"b", b"a"):
        rig.connection.ping(payload, rig.now)
    rig.feed(rig.frame(0x8A, b"b"))
    assert rig.connection.awaits_pong(b"a")
    assert not rig.connection.awaits_pong(b"b")


@pytest.mark.parametrize("size", [1 << 14, (1 << 14) + 1, 0xFFFF, 0x10000])
def test_large_payloads_have_proper_headers(role: Role, size: int) -> None:
    rig = Rig(role)
    rig.connection.send_binary(bytes(size))
    assert rig.sent() == [(0x82, bytes(size))]


def test_a_heartbeat_is_eight_bytes(role: Role) -> None:
    rig = Rig(role)
    rig.connection.handle_timeout(rig.now + 20.0)
    ((first, payload),) = rig.sent()
    assert (first, len(payload)) == (0x89, 8)


def refused(body: bytes) -> str:
    """What a client says of a refusal with this body."""
    client = Connection(Role.CLIENT, now=0.0, target="ws://h/")
    head = b"HTTP/1.1 403 X\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    client.receive_data(head + body, 0.0)
    return str(client.error)


def test_a_refusal_is_shown_in_part_and_escaped() -> None:
    assert refused(b"a" * 201).endswith(f"403: '{'a' * 200}'")
    assert refused(b"caf\xe9\nmore").endswith("403: 'caf\\\\xe9'")
    assert refused(b"").endswith("answered 403")


@pytest.mark.parametrize(
    ("close", "shown"),
    [(b"", "1005"), (close_body(1001), "1001"), (close_body(1001, "off"), "1001 'off'")],
)
def test_what_came_too_late_says_what_the_peer_sent(role: Role, close: bytes, shown: str) -> None:
    rig = Rig(role)
    rig.feed(rig.frame(0x88, close))
    with pytest.raises(ConnectionClosed) as caught:
        rig.connection.send_text("late")
    assert f"(the peer sent {shown}; we sent {shown})" in str(caught.value)


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_news_are_told_of_until_all_is_read(role: Role) -> None:
    rig = Rig(role, Config(read_high_water=100))
    connection = rig.connection
    assert not connection.has_news()
    rig.connection.receive_data(rig.frame(0x82, b"x" * 90) * 3, rig.now)
    seen = 0
    while connection.has_news():
        seen += len(connection.events())
    assert seen == 3
    assert connection.events() == []
    connection.receive_data(rig.frame(0x82, b"x"), rig.now)
    assert connection.has_news()  # an event that is made, with nothing behind it
    assert len(connection.events()) == 1
    assert not connection.has_news()
    connection.receive_data(rig.frame(0x88, close_body(1000)), rig.now)
    assert connection.has_news()  # the Close waits for somebody to look
    while connection.events():
        pass
    assert connection.has_news()  # nobody knows, once it is not open


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_what_is_still_to_be_inflated_is_news(role: Role) -> None:
    config = Config(deliver="chunks", max_message_size=None, read_high_water=1000)
    rig = Rig(role, config, **with_codec(Repeater(100, piece=1000)))
    connection = rig.connection
    connection.receive_data(rig.frame(0xC2, b"a" * 100), rig.now)
    looks = size = 0
    while connection.has_news():
        size += sum(len(event.data) for event in connection.events() if isinstance(event, Chunk))
        looks += 1
    assert size == 10_000
    assert looks > 5


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_giving_up_after_the_end_adds_no_blame(role: Role) -> None:
    """The stream ended by itself; that what we had queued was not taken changes no word of it."""
    rig = Rig(role)
    connection = rig.connection
    connection.write_blocked(100, rig.now)
    connection.receive_eof(rig.now)
    rig.look()
    words = []
    for wanted in (Transport.CLOSE, Transport.ABORT):
        assert connection.transport is wanted
        with pytest.raises(ConnectionClosed) as caught:
            connection.send_text("late")
        words.append(str(caught.value))
        connection.handle_timeout(connection.next_deadline() or rig.now)
    assert words[0] == words[1]


# --------------------------------------------------------------------------------- large reads


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("text", [True, False])
def test_large_messages_come_whole_however_the_reads_are_cut(
    role: Role, text: bool, wrap: Callable[[bytes], bytes | bytearray | memoryview]
) -> None:
    """Through the middle of a large frame bytes go another way than through its ends."""
    unit = "aé€😀".encode() if text else bytes(range(256))
    sizes = (40_000, 0, 5, 16_383, 16_384, 16_385, 100_003)
    payloads = [unit * (size // len(unit)) for size in sizes]
    rig = Rig(role, Config(text_as_bytes=True))
    first = 0x81 if text else 0x82
    stream = b"".join(rig.frame(first, data) for data in payloads)
    stream += rig.frame(first & 0x0F, payloads[0]) + rig.frame(0x80, payloads[-1])
    opcode = OpCode.TEXT if text else OpCode.BINARY
    expected = [Message(data, opcode) for data in (*payloads, payloads[0] + payloads[-1])]
    for size in (16_384, 16_385, 20_001, 50_000, 65_536, len(stream)):
        rig.events.clear()
        for start in range(0, len(stream), size):
            rig.connection.receive_data(wrap(stream[start : start + size]), rig.now)
            rig.look()
        assert rig.events == expected


def test_a_message_may_change_its_buffer_but_not_itself(role: Role) -> None:
    rig = Rig(role)
    data = bytearray(rig.frame(0x82, bytes(50_000)))
    half = len(data) // 2
    rig.connection.receive_data(memoryview(data)[:half], rig.now)
    data[:half] = b"x" * half
    rig.connection.receive_data(memoryview(data)[half:], rig.now)
    rig.look()
    assert rig.events == [Message(bytes(50_000), OpCode.BINARY)]


@pytest.mark.parametrize("place", [20_000, 40_000, 69_999])
def test_bad_text_inside_a_large_frame_fails_where_it_stands(role: Role, place: int) -> None:
    """Not only when the frame is there as a whole (RFC 6455 section 8.1)."""
    rig = Rig(role)
    payload = b"a" * place + b"\xff" + b"b" * (80_000 - place)
    data = rig.frame(0x81, payload)
    rig.feed(data[:70_100])
    error = rig.connection.error
    assert isinstance(error, ProtocolError)
    assert error.close_code == 1007
    assert "ff" in str(error)
    rig.feed(data[70_100:])
    assert not any(isinstance(event, Message) for event in rig.events)


def test_a_large_frame_is_read_on_only_when_what_is_before_it_was_taken(role: Role) -> None:
    """Bytes that wait unread must not be overtaken."""
    rig = Rig(role, Config(read_high_water=100))
    first = rig.frame(0x82, b"a" * 90)
    large = rig.frame(0x82, b"b" * 60_000)
    rig.connection.receive_data(first * 300 + large[:30_000], rig.now)
    rig.connection.receive_data(large[30_000:], rig.now)
    rig.look()
    assert rig.events == [
        *[Message(b"a" * 90, OpCode.BINARY)] * 300,
        Message(b"b" * 60_000, OpCode.BINARY),
    ]


def test_a_message_is_sent_by_its_opcode(role: Role) -> None:
    one, two = Rig(role), Rig(role)
    one.connection.send_message("a", OpCode.TEXT)
    one.connection.send_message(b"b", 1, False)
    one.connection.send_message("c", 1)
    one.connection.send_message(b"d", 2)
    two.connection.send_text("a")
    two.connection.send_text(b"b", final=False)
    two.connection.send_text("c")
    two.connection.send_binary(b"d")
    one.look()
    two.look()
    assert one.output == two.output
    with pytest.raises(LocalProtocolError, match="expected opcode TEXT or BINARY, got 9"):
        one.connection.send_message(b"", 9)
    with pytest.raises(TypeError, match="expected bytes for a BINARY message, got str"):
        one.connection.send_message("e", OpCode.BINARY)


def test_what_is_coming_of_a_large_frame_is_told(role: Role) -> None:
    assert Connection(Role.SERVER, now=0.0).bytes_coming() == 0
    rig = Rig(role)
    data = rig.frame(0x82, bytes(1000))
    for part, coming in ((data[:-900], 900), (data[-900:-1], 1), (data[-1:], 0), (data[:1], 0)):
        rig.feed(part)
        assert rig.connection.bytes_coming() == coming
