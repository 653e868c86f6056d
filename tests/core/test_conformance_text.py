"""Sections 9 and 10 of the conformance matrix: text and its UTF-8, binary, sending in general."""

import random

import pytest

from tests.core.pair import Cut, Pair, by_size, whole
from tests.core.wire import MakeRig, Rig, text
from wsproto_core import (
    Chunk,
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
    Role,
)
from wsproto_core.extensions.deflate import PerMessageDeflate

# ------------------------------------------------------------------------------- valid text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Hello-µ@ßöäüàá-UTF-8!!",
        *"\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\U00010000\U0010ffff",
        "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\U00010000\U0010ffff",
    ],
    ids=ascii,
)
def test_ws_5_6_text(make_rig: MakeRig, value: str) -> None:
    rig = make_rig()
    rig.feed(rig.frame(0x81, value.encode()))
    assert rig.take() == [text(value)]
    as_bytes = make_rig(Config(text_as_bytes=True))
    as_bytes.feed(as_bytes.frame(0x81, value.encode()))
    assert as_bytes.take() == [Message(value.encode(), OpCode.TEXT)]


NONCHARACTERS = [
    *(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)),
    *(chr(code) for code in range(0xFFF9, 0xFFFE)),
    *(chr(code) for code in range(0xFDD0, 0xFDF0)),
]


def test_ws_5_6_nonchar(rig: Rig) -> None:
    for value in NONCHARACTERS:
        rig.feed(rig.frame(0x81, value.encode()))
    assert rig.take() == [text(value) for value in NONCHARACTERS]


def test_ws_5_6_bom(rig: Rig) -> None:
    rig.feed(rig.frame(0x81, bytes.fromhex("ef bb bf 61")))
    rig.feed(rig.frames((0x01, bytes.fromhex("ef bb bf")), (0x80, b"a")))
    assert rig.take() == [text("\ufeffa"), text("\ufeffa")]


def test_ws_5_6_split(rig: Rig) -> None:
    payload = "κόσμε".encode()
    rig.feed(rig.frame(0x01))
    rig.feed(b"".join(rig.frame(0x00, part) for part in by_size(1)(payload)))
    rig.feed(rig.frame(0x80))
    assert rig.take() == [text("κόσμε")]


@pytest.mark.parametrize("value", ["😀", "\U00010000", "\U0010ffff", "€", "é", "\ud7ff"], ids=ascii)
def test_ws_5_6_split_in_a_character(rig: Rig, value: str) -> None:
    data = value.encode()
    for cut in range(1, len(data)):
        rig.feed(rig.frames((0x01, data[:cut]), (0x80, data[cut:])))
    assert rig.take() == [text(value)] * (len(data) - 1)


# ----------------------------------------------------------------------------- invalid text


def assert_not_text(make_rig: MakeRig, data: bytes) -> None:
    """It fails in one frame, over fragments, and where text is given as bytes or in chunks."""
    rig = make_rig()
    rig.feed(rig.frame(0x81, data))
    assert rig.assert_fails(1007).rule == "RFC 6455 8.1"
    rig = make_rig(Config(text_as_bytes=True))
    rig.feed(rig.frame(0x81, b"valid" + data))
    rig.assert_fails(1007)
    rig = make_rig()
    rig.feed(rig.frames((0x01, b""), *((0x00, data[i : i + 1]) for i in range(len(data))), 0x80))
    rig.assert_fails(1007)
    rig = make_rig(Config(deliver="chunks"))
    rig.feed(rig.frame(0x81, data))
    rig.take()
    rig.assert_fails(1007)


INVALID = [
    "80",
    "bf",
    "61 80",
    "61 bf 62",
    "c0",
    "c1",
    *(f"{byte:02x}" for byte in range(0xF5, 0x100)),
    "61 c2",
    "e0",
    "f0",
    "c2 61",
    "e1 80 61",
    "f1 80 80 61",
    "e1 61 80",
    "f1 61 80 80",
    "fe fe ff ff",
    "ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64",
]


@pytest.mark.parametrize("data", INVALID)
def test_ws_8_1_invalid(make_rig: MakeRig, data: str) -> None:
    assert_not_text(make_rig, bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    [
        "c0 af",
        "e0 80 af",
        "f0 80 80 af",
        "f8 80 80 80 af",
        "fc 80 80 80 80 af",
        "c1 bf",
        "e0 9f bf",
        "f0 8f bf bf",
        "f8 87 bf bf bf",
        "fc 83 bf bf bf bf",
        "c0 80",
        "e0 80 80",
        "f0 80 80 80",
    ],
)
def test_ws_8_1_overlong(make_rig: MakeRig, data: str) -> None:
    assert_not_text(make_rig, bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    ["ed a0 80", "ed ad bf", "ed ae 80", "ed af bf", "ed b0 80", "ed bf bf", "ed a0 80 ed b0 80"],
)
def test_ws_8_1_surrogate(make_rig: MakeRig, data: str) -> None:
    assert_not_text(make_rig, bytes.fromhex(data))


@pytest.mark.parametrize(
    "data", ["f4 90 80 80", "f7 bf bf bf", "f8 88 80 80 80", "fc 84 80 80 80 80"]
)
def test_ws_8_1_range(make_rig: MakeRig, data: str) -> None:
    assert_not_text(make_rig, bytes.fromhex(data))


@pytest.mark.parametrize("end", ["ce", "e2 82", "f0 9f 98"])
def test_ws_8_1_truncated(make_rig: MakeRig, end: str) -> None:
    data = b"text " + bytes.fromhex(end)
    assert_not_text(make_rig, data)
    rig = make_rig()
    rig.feed(rig.frame(0x01, data))
    assert rig.connection.phase is Phase.OPEN  # it could still become text
    rig.feed(rig.frame(0x80))
    rig.assert_fails(1007)


def test_ws_8_1_fast_frame(rig: Rig) -> None:
    rig.feed(rig.frame(0x01, "κόσμε".encode()))
    rig.feed(rig.frame(0x00, bytes.fromhex("f4 90 80 80")))
    rig.assert_fails(1007)


def test_ws_8_1_fast_byte(rig: Rig) -> None:
    payload = "κόσμε".encode() + bytes.fromhex("f4 90 80 80") + b"edit"
    assert len(payload) == 18
    data = rig.frame(0x81, payload + b"ed!")
    until_f4 = len(data) - 21 + 11
    rig.feed(data[:until_f4])
    assert rig.take() == []
    assert rig.connection.phase is Phase.OPEN
    rig.feed(data[until_f4 : until_f4 + 1])
    rig.assert_fails(1007)


def test_ws_8_1_fast_byte_fed_at_once(rig: Rig) -> None:
    data = rig.frame(0x81, b"\xf4\x90" + bytes(1000))
    rig.feed(data[: len(data) - 1000])
    rig.assert_fails(1007)


def test_ws_8_1_tx(role: Role) -> None:
    rig = Rig(role)
    for value in ("\ud800", "a\udfffb"):
        with pytest.raises(LocalProtocolError, match="UTF-8"):
            rig.connection.send_text(value)
    for data in map(bytes.fromhex, INVALID):
        with pytest.raises(LocalProtocolError, match="UTF-8"):
            rig.connection.send_text(data)
    assert rig.sent() == []
    assert rig.connection.sending is None
    rig.connection.send_text("still works")
    rig.connection.send_text("ö".encode())
    assert rig.sent() == [(0x81, b"still works"), (0x81, "ö".encode())]


def test_ws_8_1_tx_parts(role: Role) -> None:
    """A character may be cut between two parts given as bytes, but not left unfinished."""
    rig = Rig(role)
    smile = "😀".encode()
    rig.connection.send_text(smile[:1], final=False)
    rig.connection.send_text(smile[1:3], final=False)
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        rig.connection.send_text(b"", final=True)
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        rig.connection.send_text(b"a", final=False)
    with pytest.raises(LocalProtocolError, match="inside a character"):
        rig.connection.send_text("a", final=True)
    rig.connection.send_text(smile[3:], final=True)
    assert rig.sent() == [(0x01, smile[:1]), (0x00, smile[1:3]), (0x80, smile[3:])]
    rig.connection.send_text("ä".encode())
    rig.connection.send_text("ä")
    assert rig.sent() == [(0x81, "ä".encode())] * 2


# ---------------------------------------------------------------------------------- binary


def test_ws_5_6_binary(rig: Rig) -> None:
    values = [bytes(range(256)), b"\xff\xfe", b""]
    for value in values:
        rig.feed(rig.frame(0x82, value))
        rig.feed(rig.frames((0x02, value), 0x80))
    assert rig.take() == [Message(value, OpCode.BINARY) for value in values for _ in (1, 2)]


def test_ws_5_6_next(rig: Rig) -> None:
    rig.feed(rig.frame(0x81, "é".encode()))
    rig.feed(rig.frame(0x82, b"\xff"))
    rig.feed(rig.frames((0x01, b"\xc3"), (0x80, b"\xa9")))
    rig.feed(rig.frames((0x02, b"\xc3"), (0x80, b"\xff")))
    rig.feed(rig.frame(0x81, "é".encode()))
    assert rig.take() == [
        text("é"),
        Message(b"\xff", OpCode.BINARY),
        text("é"),
        Message(b"\xc3\xff", OpCode.BINARY),
        text("é"),
    ]


# --------------------------------------------------------------- 10 sending and receiving


def test_ws_6_1_state(role: Role) -> None:
    target = "ws://h/" if role is Role.CLIENT else None
    opening = Connection(role, now=0.0, target=target)
    opening.data_to_send()
    for send in (opening.send_text, opening.send_binary):
        with pytest.raises(LocalProtocolError, match="in state opening"):
            send(b"x")
    assert opening.data_to_send() == []
    assert opening.phase is Phase.OPENING

    closing = Rig(role)
    closing.connection.close(1000, now=closing.now)
    closing.sent()
    draining = Rig(role)
    draining.feed(draining.frame(0x88))
    draining.sent()
    closed = Rig(role)
    closed.eof()
    for rig in (closing, draining, closed):
        for send in (rig.connection.send_text, rig.connection.send_binary):
            with pytest.raises(ConnectionClosed):
                send(b"x")
        assert rig.sent() == []


def test_ws_6_1_opcode(role: Role) -> None:
    rig = Rig(role)
    rig.connection.send_text("x")
    rig.connection.send_binary(b"x")
    rig.connection.send_binary(bytearray(b"x"))
    rig.connection.send_binary(memoryview(b"x"))
    assert rig.sent() == [(0x81, b"x"), *[(0x82, b"x")] * 3]


@pytest.mark.parametrize(
    "value", ["x", 1, None, [1], 1.5, object()], ids=lambda v: type(v).__name__
)
def test_ws_6_1_opcode_other_types(role: Role, value: object) -> None:
    rig = Rig(role)
    with pytest.raises(TypeError, match=type(value).__name__):
        rig.connection.send_binary(value)  # type: ignore[arg-type]
    if not isinstance(value, str):
        with pytest.raises(TypeError, match=type(value).__name__):
            rig.connection.send_text(value)  # type: ignore[arg-type]
    assert rig.sent() == []


def test_ws_6_2_type(rig: Rig) -> None:
    rig.feed(rig.frames((0x02, b"a"), (0x80, b"b"), (0x82, b"ascii")))
    assert rig.take() == [Message(b"ab", OpCode.BINARY), Message(b"ascii", OpCode.BINARY)]


@pytest.mark.parametrize("cut", [whole, by_size(1), by_size(997)], ids=["whole", "1", "997"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("seed", range(3))
def test_ws_6_2_loop(seed: int, cut: Cut, deflate: bool) -> None:
    rng = random.Random(seed)
    config = Config(extensions=[PerMessageDeflate()] if deflate else [])
    pair = Pair(config, config, seed=seed, latency=0.01, cut=cut)
    assert pair.client.agreement == pair.server.agreement
    assert pair.client.agreement is not None
    assert len(pair.client.agreement.extensions) == deflate
    said: dict[Role, list[Event]] = {Role.CLIENT: [], Role.SERVER: []}
    sizes = [0, 1, 125, 126, 5_000, 70_000, 200_000]
    for _ in range(12):
        sender = rng.choice([pair.client, pair.server])
        told = said[sender.role]
        size = rng.choice(sizes[: 5 if cut is not whole else 7])
        if rng.random() < 0.5:
            value: str | bytes = "".join(rng.choices("aäλ€😀", k=size // 3))
            data = str(value)
            middle = rng.randrange(len(data) + 1)
            if rng.random() < 0.5:
                sender.send_text(data[:middle], final=False)
                if rng.random() < 0.5:
                    told.append(Ping(sender.ping(None, pair.now)))
                sender.send_text(data[middle:])
            else:
                sender.send_text(data)
            told.append(text(data))
        else:
            payload = rng.randbytes(size)
            sender.send_binary(payload)
            told.append(Message(payload, OpCode.BINARY))
        if rng.random() < 0.3:
            pair.look()
    pair.flow()
    for end, peer in ((pair.server_end, Role.CLIENT), (pair.client_end, Role.SERVER)):
        heard = [event for event in end.take() if not isinstance(event, Pong)]
        assert heard == said[peer]
    rng.choice([pair.client, pair.server]).close(1000, "done", now=pair.now)
    pair.run_until_quiet()
    for end in pair.ends:
        assert end.closed is not None
        assert end.closed.clean
        assert (end.closed.code, end.closed.reason) == (1000, "done")


# --------------------------------------------------------------------------------- chunks


def test_chunks_never_cut_a_character(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, Config(deliver="chunks"), bytewise=bytewise)
    value = "a😀é€z"
    rig.feed(rig.frame(0x01, value.encode()[:3]))
    rig.feed(rig.frame(0x80, value.encode()[3:]))
    chunks = rig.take()
    assert all(isinstance(chunk, Chunk) and chunk.opcode is OpCode.TEXT for chunk in chunks)
    assert "".join(str(chunk.data) for chunk in chunks if isinstance(chunk, Chunk)) == value
    firsts = [chunk.first for chunk in chunks if isinstance(chunk, Chunk)]
    finals = [chunk.final for chunk in chunks if isinstance(chunk, Chunk)]
    assert firsts == [True] + [False] * (len(chunks) - 1)
    assert finals == [False] * (len(chunks) - 1) + [True]
