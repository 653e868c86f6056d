"""Sections 6 and 7 of the conformance matrix: framing and fragmentation. One test for each row."""

import random
from collections.abc import Callable, Iterator

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import by_bytes, by_size
from tests.core.wire import (
    KEY,
    MakeRig,
    Repeater,
    Rig,
    close_body,
    frame,
    header,
    mask,
    parse,
    text,
    with_codec,
)
from wsproto_core import (
    Agreement,
    Close,
    Closed,
    Config,
    Connection,
    Event,
    LocalProtocolError,
    Message,
    OpCode,
    PayloadTooBig,
    Phase,
    Ping,
    Pong,
    Role,
)


def binary(data: bytes) -> Message:
    return Message(data, OpCode.BINARY)


def send_everything(rig: Rig) -> list[int]:
    """Each way to make a frame go out; returns their first bytes."""
    connection = rig.connection
    connection.send_text("text")
    connection.send_binary(b"binary")
    connection.send_binary(b"x" * 70_000)
    connection.send_text("")
    connection.send_text("a", final=False)
    connection.ping(b"ping", rig.now)
    connection.send_text("b", final=False)
    connection.pong(b"pong")
    connection.send_text("c")
    rig.feed(rig.frame(0x89, b"answer me"))  # the pong is automatic
    connection.close(1000, "bye", now=rig.now)
    return [0x81, 0x82, 0x82, 0x81, 0x01, 0x89, 0x00, 0x8A, 0x80, 0x8A, 0x88]


# ------------------------------------------------------------------------------- 5.1 masking


def test_ws_5_1_mask_client(bytewise: bool) -> None:
    rig = Rig(Role.CLIENT, bytewise=bytewise)
    expected = send_everything(rig)
    rig.look()
    assert [first for first, _ in parse(bytes(rig.output), masked=True)] == expected


def test_ws_5_1_mask_server(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    expected = send_everything(rig)
    rig.look()
    assert [first for first, _ in parse(bytes(rig.output), masked=False)] == expected


@pytest.mark.parametrize("data", ["81 02 68 69", "89 00", "88 00", "82 7e"])
def test_ws_5_1_rx_unmasked(data: str, bytewise: bool) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.feed(bytes.fromhex(data)[:2])
    error = rig.assert_fails(1002)
    assert error.rule == "RFC 6455 5.1"


@pytest.mark.parametrize(
    "data", ["81 82 61 62 63 64 09 0b", "89 80", "81 80 00 00 00 00", "88 80", "82 fe"]
)
def test_ws_5_1_rx_masked(data: str, bytewise: bool) -> None:
    rig = Rig(Role.CLIENT, bytewise=bytewise)
    rig.feed(bytes.fromhex(data)[:2])
    error = rig.assert_fails(1002)
    assert error.rule == "RFC 6455 5.1"


# ----------------------------------------------------------------------- 5.2 the base protocol


@pytest.mark.parametrize("first", [0xC1, 0xA1, 0x91, 0xB1, 0xD2, 0xE9, 0xF8])
def test_ws_5_2_rsv(rig: Rig, first: int) -> None:
    rig.feed(bytes([first]))  # one byte is enough
    assert rig.assert_fails(1002).rule == "RFC 6455 5.2"


def test_ws_5_2_rsv_tx(rig: Rig) -> None:
    send_everything(rig)
    assert all(first & 0x70 == 0 for first, _ in rig.sent())


@pytest.mark.parametrize("first", [0xA1, 0x91, 0xE1, 0xD1, 0xF1])
def test_ws_5_2_rsv23(make_rig: MakeRig, first: int) -> None:
    """The check is a mask of agreed bits, so any codec with RSV1 stands in for deflate."""
    rig = make_rig(**with_codec(Repeater(1)))
    rig.feed(bytes([first]))
    rig.assert_fails(1002)


def test_an_agreed_bit_is_taken(make_rig: MakeRig) -> None:
    rig = make_rig(**with_codec(Repeater(2)))
    rig.feed(rig.frame(0xC1, b"ab") + rig.frame(0x81, b"ab"))
    assert rig.take() == [text("aabb"), text("ab")]


@pytest.mark.parametrize("inside", [False, True], ids=["idle", "in a message"])
@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("first", [0x83, 0x84, 0x85, 0x86, 0x87])
def test_ws_5_2_opcode_data(rig: Rig, first: int, payload: bytes, inside: bool) -> None:
    if inside:
        rig.feed(rig.frame(0x01, b"a"))
    rig.feed(rig.frame(first, payload)[:1])
    rig.assert_fails(1002)


@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("first", [0x8B, 0x8C, 0x8D, 0x8E, 0x8F])
def test_ws_5_2_opcode_ctrl(rig: Rig, first: int, payload: bytes) -> None:
    rig.feed(rig.frame(first, payload)[:1])
    rig.assert_fails(1002)


@pytest.mark.parametrize("bad", [0x83, 0x8B, 0xC1, 0x80, 0x09])
def test_ws_5_2_prior(rig: Rig, bad: int) -> None:
    rig.feed(rig.frame(0x81, b"a") + rig.frame(bad) + rig.frame(0x89))
    rig.assert_fails(1002, before=[text("a")])


def test_the_answer_to_what_came_before_garbage_still_goes_out(rig: Rig) -> None:
    """Order is kept: the message is given first, and the Close is written only at the next look."""
    connection = rig.connection
    connection.receive_data(rig.frame(0x81, b"question") + b"\xff", rig.now)
    assert connection.ending
    assert connection.phase is Phase.OPEN
    assert connection.events() == [text("question")]
    connection.send_text("answer")
    assert connection.phase is Phase.OPEN
    rig.look()
    frames = rig.sent()
    assert frames[0] == (0x81, b"answer")
    assert frames[1][0] == 0x88
    assert frames[1][1][:2] == b"\x03\xea"
    assert len(frames) == 2


LENGTHS = [0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537]


@pytest.mark.parametrize("length", LENGTHS)
def test_ws_5_2_len_rx(make_rig: MakeRig, length: int) -> None:
    rig = make_rig()
    payload = random.Random(length).randbytes(length)
    rig.feed(rig.frame(0x82, payload))
    assert rig.take() == [binary(payload)]


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "82 00"),
        (125, "82 7d"),
        (126, "82 7e 00 7e"),
        (256, "82 7e 01 00"),
        (65535, "82 7e ff ff"),
        (65536, "82 7f 00 00 00 00 00 01 00 00"),
    ],
)
def test_ws_5_2_len_tx(role: Role, length: int, head: str) -> None:
    rig = Rig(role)
    rig.connection.send_binary(bytes(length))
    rig.look()
    expected = bytearray.fromhex(head)
    if role is Role.CLIENT:
        expected[1] |= 0x80
    assert rig.output[: len(expected)] == expected
    assert len(rig.output) == len(expected) + (4 if role is Role.CLIENT else 0) + length
    assert rig.sent() == [(0x82, bytes(length))]


@pytest.mark.parametrize("first", ["81", "82"])
@pytest.mark.parametrize("length", ["00 00", "00 01", "00 7d"])
def test_ws_5_2_len_min_16(rig: Rig, first: str, length: str) -> None:
    rig.feed(rig.raw(f"{first} 7e {length}")[:4])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.2"


def test_ws_5_2_len_min_16_accepts_126(rig: Rig) -> None:
    rig.feed(rig.raw("82 7e 00 7e" + "61" * 126))
    assert rig.take() == [binary(b"a" * 126)]


@pytest.mark.parametrize("length", ["0000000000000000", "000000000000007d", "000000000000ffff"])
def test_ws_5_2_len_min_64(make_rig: MakeRig, length: str) -> None:
    rig = make_rig(Config(max_frame_size=1, max_message_size=1))  # no limit comes first
    rig.feed(rig.raw(f"82 7f {length}")[:10])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.2"


def test_ws_5_2_len_min_64_accepts_65536(rig: Rig) -> None:
    rig.feed(rig.raw("82 7f 0000000000010000" + "61" * 65536))
    assert rig.take() == [binary(b"a" * 65536)]


@pytest.mark.parametrize("length", ["8000000000000000", "ffffffffffffffff", "8000000000000001"])
def test_ws_5_2_len_msb(rig: Rig, length: str) -> None:
    rig.feed(rig.raw(f"82 7f {length}")[:10])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.2"


@pytest.mark.parametrize("length", ["7fffffffffffffff", "0000100000000000", "0000000000100001"])
def test_ws_5_2_len_huge(make_rig: MakeRig, length: str) -> None:
    rig = make_rig(Config(max_message_size=1 << 20, max_frame_size=1 << 20))
    with measured() as memory:
        rig.feed(rig.raw(f"82 7f {length}")[:10])
    assert memory.peak < 64 << 10
    assert isinstance(rig.assert_fails(1009), PayloadTooBig)


def corpus(role: Role) -> bytes:
    """A stream with every kind of frame, its last message before the Close inside a character."""
    rng = random.Random(7)
    rig = Rig(role)
    parts = [
        rig.frame(0x81, "Hello-µ@ßöäüàá-UTF-8!!".encode()),
        rig.frame(0x82, rng.randbytes(126)),
        rig.frame(0x01, "κ".encode()[:1]),
        rig.frame(0x89, b"between"),
        rig.frame(0x00, "κ".encode()[1:]),
        rig.frame(0x00),
        rig.frame(0x8A, b"pong"),
        rig.frame(0x80, "όσμε".encode()),
        rig.frame(0x81),
        rig.frame(0x02),
        rig.frame(0x80, rng.randbytes(300)),
        rig.frame(0x02, rng.randbytes(65_536)),
        rig.frame(0x80, rng.randbytes(1)),
        rig.frame(0x82, rng.randbytes(10_000)),
        rig.frame(0x89),
        rig.frame(0x88, close_body(3000, "bye")),
        rig.frame(0x81, b"too late"),
    ]
    return b"".join(parts)


def outcome(role: Role, parts: Iterator[bytes]) -> tuple[list[Event], bytes]:
    rig = Rig(role)
    for part in parts:
        rig.feed(part)
    rig.eof()
    return rig.events, bytes(rig.output)


@pytest.mark.parametrize("size", [1, 2, 7, 997, 4096])
def test_ws_5_2_chunk(role: Role, size: int) -> None:
    data = corpus(role)
    expected = outcome(role, iter([data]))
    assert [type(event) for event in expected[0]] == [
        *[Message] * 2,
        *[Ping, Pong],
        *[Message] * 5,
        Ping,
        Close,
        Closed,
    ]
    assert outcome(role, by_size(size)(data)) == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_ws_5_2_chunk_in_header(role: Role, length: int) -> None:
    """A header cut at every position, with frames before and behind it in the same reads."""
    rig = Rig(role)
    before, behind = rig.frame(0x81, b"before"), rig.frame(0x89, b"behind")
    data = before + rig.frame(0x82, b"a" * length) + behind
    expected = outcome(role, iter([data]))
    assert expected[0][:3] == [text("before"), binary(b"a" * length), Ping(b"behind")]
    for cut in range(len(before), len(before) + 16):
        assert outcome(role, iter([data[:cut], data[cut:]])) == expected


def test_ws_5_2_batch(rig: Rig) -> None:
    rig.feed(b"".join(rig.frame(0x81, str(i).encode()) for i in range(10_000)))
    assert rig.take() == [text(str(i)) for i in range(10_000)]


def test_ws_5_2_incomplete(rig: Rig) -> None:
    data = rig.frame(0x81, b"abc")
    rig.feed(data[:-1])
    assert rig.take() == []
    rig.connection.receive_data(b"", rig.now)
    rig.look()
    assert rig.take() == []
    assert rig.sent() == []
    rig.feed(data[-1:])
    assert rig.take() == [text("abc")]


def test_ws_5_2_incomplete_empty_feed_changes_nothing(rig: Rig) -> None:
    rig.connection.receive_data(b"", rig.now)
    rig.look()
    assert rig.take() == []
    assert rig.sent() == []
    assert rig.connection.phase is Phase.OPEN


# --------------------------------------------------------------------------------- 5.3 the mask

HELLO = "81 85 37 fa 21 3d 7f 9f 4d 51 58"


def test_ws_5_3_algo_in(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.feed(bytes.fromhex(HELLO))
    assert rig.take() == [text("Hello")]


def test_ws_5_3_algo_out() -> None:
    rig = Rig(Role.CLIENT, random=lambda size: KEY[:size])
    rig.connection.send_text("Hello")
    rig.look()
    assert rig.output == bytes.fromhex(HELLO)


@pytest.mark.exhaustive
@pytest.mark.parametrize("length", [*range(18), 65533, 65534, 65535, 65536, 65537, 65538, 65539])
def test_ws_5_3_algo(length: int, bytewise: bool) -> None:
    payload = random.Random(length).randbytes(length)
    client, server = Rig(Role.CLIENT), Rig(Role.SERVER, bytewise=bytewise)
    client.connection.send_binary(payload)
    client.look()
    key = client.output[-length - 4 : len(client.output) - length]
    assert client.output[len(client.output) - length :] == mask(payload, bytes(key))
    server.feed(bytes(client.output))
    assert server.take() == [binary(payload)]


@pytest.mark.parametrize("offset", range(12))
def test_ws_5_3_offset(offset: int) -> None:
    """The phase of the key goes on over reads, whatever offset mod 4 they end at."""
    rng = random.Random(offset)
    payload = rng.randbytes(1003)
    data = frame(0x82, payload, KEY)
    start = len(data) - 1003
    server = Rig(Role.SERVER)
    for cut in range(start + offset, start + offset + 4):
        server.feed(data[:start])
        server.feed(data[start : start + offset])
        server.feed(data[start + offset : cut])
        server.feed(data[cut:])
    assert server.take() == [binary(payload)] * 4


def test_ws_5_3_offset_restarts_at_each_frame(bytewise: bool) -> None:
    server = Rig(Role.SERVER, bytewise=bytewise)
    first, second = b"\x01\x02\x03\x04", b"\xf0\xe0\xd0\xc0"
    server.feed(frame(0x81, b"hello", first) + frame(0x81, b"world", second))
    server.feed(frame(0x01, b"hello", first) + frame(0x80, b"world", second))
    assert server.take() == [text("hello"), text("world"), text("helloworld")]


def keys(data: bytes) -> list[bytes]:
    """The masking key of each frame; payloads are under 126 bytes."""
    found = []
    while data:
        found.append(data[2:6])
        data = data[6 + (data[1] & 0x7F) :]
    return found


def test_ws_5_3_key_fresh() -> None:
    connection = Connection.after_handshake(Role.CLIENT, Config(), Agreement(), now=0.0)
    connection.events()
    for _ in range(250):
        connection.send_text("same", final=False)
        connection.send_text("same")
        connection.ping(b"same", 0.0)
        connection.pong(b"same")
    found = keys(b"".join(connection.data_to_send()))
    assert len(found) == 1000
    assert len(set(found)) >= 999


def test_ws_5_3_key_entropy() -> None:
    drawn: list[bytes] = []

    def source(size: int) -> bytes:
        drawn.append(bytes([len(drawn)] * size))
        return drawn[-1]

    rig = Rig(Role.CLIENT, random=source)
    rig.connection.send_text("\0" * 8)
    rig.connection.send_binary(b"x", final=False)
    rig.connection.send_binary(b"y")
    rig.connection.pong(b"z")
    rig.connection.close(1000, now=rig.now)
    rig.look()
    assert drawn == [bytes([i] * 4) for i in range(5)]
    assert keys(bytes(rig.output)) == drawn


def test_ws_5_3_key_entropy_default() -> None:
    """By default the keys come from the system's source, whatever ``random`` was seeded with."""
    keys = set()
    for _ in range(2):
        random.seed(1)
        client = Connection.after_handshake(Role.CLIENT, Config(), Agreement(), now=0.0)
        for _ in range(100):
            client.send_text("x")
        keys |= {frame[2:6] for frame in client.data_to_send()}
    assert len(keys) == 200


@pytest.mark.parametrize("key", ["00000000", "ffffffff", "000000ff", "00ff00ff"])
@pytest.mark.parametrize("length", [0, 1, 5, 126, 5000])
def test_ws_5_3_key_any(key: str, length: int, bytewise: bool) -> None:
    payload = random.Random(length).randbytes(length)
    rig = Rig(Role.SERVER, bytewise=bytewise)
    rig.feed(frame(0x82, payload, bytes.fromhex(key)))
    assert rig.take() == [binary(payload)]


# ---------------------------------------------------------------------------- 5.7 the examples


@pytest.mark.parametrize(
    ("data", "events"),
    [
        ("81 05 48 65 6c 6c 6f", [text("Hello")]),
        ("01 03 48 65 6c 80 02 6c 6f", [text("Hello")]),
        ("89 05 48 65 6c 6c 6f", [Ping(b"Hello")]),
        ("8a 05 48 65 6c 6c 6f", [Pong(b"Hello", None)]),
        ("82 7e 01 00" + "ab" * 256, [binary(b"\xab" * 256)]),
        ("82 7f 00 00 00 00 00 01 00 00" + "cd" * 65536, [binary(b"\xcd" * 65536)]),
    ],
)
def test_ws_5_7_vectors(data: str, events: list[Event], bytewise: bool) -> None:
    client = Rig(Role.CLIENT, bytewise=bytewise)
    client.feed(bytes.fromhex(data))
    assert client.take() == events
    if client.connection.has_output or client.output:
        assert client.sent() == [(0x8A, b"Hello")]


@pytest.mark.parametrize(
    ("send", "data"),
    [
        (lambda c: c.send_text("Hello"), "81 05 48 65 6c 6c 6f"),
        (
            lambda c: (c.send_text("Hel", final=False), c.send_text("lo")),
            "01 03 48 65 6c 80 02 6c 6f",
        ),
        (lambda c: c.ping(b"Hello", 100.0), "89 05 48 65 6c 6c 6f"),
        (lambda c: c.send_binary(b"\xab" * 256), "82 7e 01 00" + "ab" * 256),
        (lambda c: c.send_binary(bytes(65536)), "82 7f 00 00 00 00 00 01 00 00" + "00" * 65536),
    ],
)
def test_ws_5_7_vectors_out(send: Callable[[Connection], object], data: str) -> None:
    server = Rig(Role.SERVER)
    send(server.connection)
    server.look()
    assert server.output == bytes.fromhex(data)


def test_ws_5_7_vectors_pong() -> None:
    client = Rig(Role.CLIENT, random=lambda size: KEY[:size])
    client.feed(bytes.fromhex("89 05 48 65 6c 6c 6f"))
    assert client.output == bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")


# ---------------------------------------------------------------------------- 5.4 fragmentation


def test_ws_5_4_frag(rig: Rig) -> None:
    rig.feed(rig.frames((0x01, b"a"), (0x00, b"b"), (0x80, b"c")))
    rig.feed(rig.frames((0x02, b"a"), (0x00, b"b"), (0x80, b"c")))
    assert rig.take() == [text("abc"), binary(b"abc")]


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([b"", b"", b""], ""),
        ([b"", b"x", b""], "x"),
        ([b"x", b"", b""], "x"),
        ([b"", b"", b"x"], "x"),
        ([b"", b""], ""),
    ],
)
def test_ws_5_4_empty(rig: Rig, parts: list[bytes], whole: str) -> None:
    for first, value in ((0x01, text(whole)), (0x02, binary(whole.encode()))):
        opcodes = [first, *[0x00] * (len(parts) - 2), 0x80]
        rig.feed(rig.frames(*zip(opcodes, parts, strict=True)))
        assert rig.take() == [value]


@pytest.mark.parametrize("first", [0x80, 0x00])
@pytest.mark.parametrize("payload", [b"x", b""])
def test_ws_5_4_cont_first(rig: Rig, first: int, payload: bytes) -> None:
    rig.feed(rig.frame(first, payload)[:1])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.4"


def test_ws_5_4_cont_after(rig: Rig) -> None:
    rig.feed(rig.frames((0x01, b"a"), (0x80, b"b"), (0x00, b"c")))
    rig.assert_fails(1002, before=[text("ab")])


def test_ws_5_4_cont_after_control(rig: Rig) -> None:
    rig.feed(rig.frames((0x81, b"a"), 0x89, 0x80))
    rig.assert_fails(1002, before=[text("a"), Ping(b"")])


@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x02])
def test_ws_5_4_interleave(rig: Rig, first: int) -> None:
    rig.feed(rig.frame(0x01, b"a"))
    rig.feed(rig.frame(first, b"b")[:1])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.4"


@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x02])
def test_ws_5_4_interleave_empty(rig: Rig, first: int) -> None:
    rig.feed(rig.frame(0x01))
    rig.feed(rig.frame(first, b"b")[:1])
    assert rig.assert_fails(1002).rule == "RFC 6455 5.4"


def test_ws_5_4_ctrl_between(rig: Rig) -> None:
    rig.feed(rig.frames((0x01, b"a"), (0x89, b"p"), (0x00, b"b")))
    assert rig.sent() == [(0x8A, b"p")]
    rig.feed(rig.frames((0x8A, b"q"), (0x80, b"c")))
    assert rig.take() == [Ping(b"p"), Pong(b"q", None), text("abc")]
    assert rig.sent() == []


@pytest.mark.parametrize("size", [1, 2, 5, 11, 22, 4096])
def test_ws_5_4_no_meaning(rig: Rig, size: int) -> None:
    payload = "κόσμε, 😀 world".encode()
    parts = [*by_size(size)(payload), b""]
    opcodes = [0x01, *[0x00] * (len(parts) - 2), 0x80]
    rig.feed(rig.frames(*zip(opcodes, parts, strict=True)))
    rig.feed(rig.frame(0x81, payload))
    first, second = rig.take()
    assert first == second == text(payload.decode())


@pytest.mark.exhaustive
@pytest.mark.parametrize("payload", [b"a", b""], ids=["one byte", "empty"])
def test_ws_5_4_many(role: Role, payload: bytes) -> None:
    def run(count: int) -> None:
        rig = Rig(role)
        rig.feed(rig.frame(0x02))
        rig.feed(rig.frame(0x00, payload) * count)
        rig.feed(rig.frame(0x80))
        assert rig.take() == [binary(payload * count)]

    assert_linear(run, 20_000)


@pytest.mark.exhaustive
def test_ws_5_4_many_are_accepted(role: Role) -> None:
    """There is no limit on the number of fragments: 1 MiB of one-byte ones is one message."""
    rig = Rig(role)
    rig.feed(rig.frame(0x02))
    for _ in range(64):
        rig.feed(rig.frame(0x00, b"a") * (1 << 14))
    rig.feed(rig.frame(0x80))
    assert rig.take() == [binary(b"a" * (1 << 20))]


def test_ws_5_4_tx(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("ab", final=False)
    rig.connection.send_text("", final=False)
    rig.connection.send_text("c", final=True)
    assert rig.sent() == [(0x01, b"ab"), (0x00, b""), (0x80, b"c")]


def test_ws_5_4_tx_type(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("a", final=False)
    rig.sent()
    for final in (False, True):
        with pytest.raises(LocalProtocolError, match="next part of a TEXT message"):
            rig.connection.send_binary(b"b", final=final)
    assert rig.sent() == []
    assert rig.connection.sending is OpCode.TEXT
    rig.connection.send_text("b")
    assert rig.sent() == [(0x80, b"b")]
    rig.connection.send_binary(b"a", final=False)
    with pytest.raises(LocalProtocolError, match="next part of a BINARY message"):
        rig.connection.send_text("b")
    rig.connection.send_binary(b"b")
    assert rig.sent() == [(0x02, b"a"), (0x80, b"b")]
    assert rig.connection.sending is None


def test_ws_5_4_tx_ctrl(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("a", final=False)
    rig.connection.ping(b"p", rig.now)
    rig.connection.pong(b"q")
    rig.connection.send_text("b")
    assert rig.sent() == [(0x01, b"a"), (0x89, b"p"), (0x8A, b"q"), (0x80, b"b")]


def test_ws_5_4_auto(role: Role) -> None:
    rig = Rig(role, Config(max_frame_size=1300))
    payload = random.Random(0).randbytes(65_536).hex()[:65_536]
    rig.connection.send_text(payload)
    frames = rig.sent()
    assert [first for first, _ in frames] == [0x01, *[0x00] * 49, 0x80]
    assert [len(data) for _, data in frames] == [*[1300] * 50, 536]
    assert b"".join(data for _, data in frames) == payload.encode()


def test_ws_5_4_auto_exact(role: Role) -> None:
    """A multiple of the size has no empty fragment at its end, and a part none with FIN."""
    rig = Rig(role, Config(max_frame_size=4))
    rig.connection.send_binary(b"12345678")
    rig.connection.send_binary(b"1234", final=False)
    rig.connection.send_binary(b"567890", final=False)
    rig.connection.send_binary(b"")
    assert rig.sent() == [
        (0x02, b"1234"),
        (0x80, b"5678"),
        (0x02, b"1234"),
        (0x00, b"5678"),
        (0x00, b"90"),
        (0x80, b""),
    ]


def test_headers_of_this_suite_are_independent() -> None:
    """The suite's own codec agrees with the examples of RFC 6455 section 5.7."""
    assert frame(0x81, b"Hello", KEY) == bytes.fromhex(HELLO)
    assert header(0x82, 65536) == bytes.fromhex("827f0000000000010000")
    assert frame(0x82, b"ab" * 4000, KEY)[8:] == mask(b"ab" * 4000, KEY)
    assert list(by_bytes(b"ab")) == [b"a", b"b"]
