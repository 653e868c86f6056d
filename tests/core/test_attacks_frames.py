"""The attack catalogue's rows about frames, text and closing: V1 to V17, V22, V23, V42, V44 to V49,
B1 to B13, C1 to C13, E6. One test for each row, named after it.

``MSG`` is the message limit of the catalogue's tests. Masked frames have a zero key where their
bytes are written out, so that the payload is readable.
"""

import array
import gc
import itertools
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import by_bytes, by_size
from tests.core.pieces import decode
from tests.core.wire import (
    MakeRig,
    Repeater,
    Rig,
    close_body,
    frame,
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
    HandshakeError,
    Hooks,
    LocalProtocolError,
    Message,
    OpCode,
    PayloadTooBig,
    PeerTimeout,
    Phase,
    Ping,
    Pong,
    ProtocolError,
    Role,
    Session,
    Transport,
    is_usable_close_code,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_core.framing import FrameDecoder
from wsproto_core.headers import HeadersLike
from wsproto_core.messages import MessageReader

MSG = 1 << 20
KIB = 1 << 10
LIMITED = Config(max_message_size=MSG, max_frame_size=MSG)
UNLIMITED = Config(max_message_size=None, max_frame_size=None)


def frozen(role: Role, config: Config = LIMITED) -> Connection:
    """An open connection without heartbeat; the cheapest there is."""
    connection = Connection.after_handshake(role, config, Agreement(), now=0.0)
    connection.events()
    return connection


def steps(run: Callable[[], object]) -> int:
    """How many lines of Python ran: a measure that no other process disturbs."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(old)
    return count


# ------------------------------------------------------- V1 to V10: lengths, allocation, loops


@pytest.mark.parametrize(
    ("data", "code"), [("82ff 8000000000000005", 1002), ("82ff 7fffffffffffffff", 1009)]
)
def test_v1_length_that_wraps(bytewise: bool, data: str, code: int) -> None:
    rig = Rig(Role.SERVER, LIMITED, bytewise=bytewise)
    with measured() as memory:
        rig.feed(bytes.fromhex(data))  # ten bytes, no key
    assert memory.peak <= 64 * KIB
    rig.assert_fails(code)


def test_v1_sum_of_fragments_does_not_wrap(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, LIMITED, bytewise=bytewise)
    rig.feed(rig.frame(0x02, b"a" * 5))
    rig.feed(bytes.fromhex("00ff 7fffffffffffffff"))
    rig.assert_fails(1009)


def test_v1_sum_of_fragments_without_limit(bytewise: bool) -> None:
    """Two frames that declare more together than 63 bits hold are over any limit."""
    rig = Rig(Role.SERVER, UNLIMITED, bytewise=bytewise)
    rig.feed(rig.frame(0x02, b"a" * 5))
    rig.feed(bytes.fromhex("00ff 7ffffffffffffffb"))
    rig.assert_fails(1009)


def test_v1_sum_of_fragments_up_to_63_bits(bytewise: bool) -> None:
    rig = Rig(Role.SERVER, UNLIMITED, bytewise=bytewise)
    rig.feed(rig.frame(0x02, b"a" * 5))
    rig.feed(bytes.fromhex("00ff 7ffffffffffffffa 00000000 61"))
    assert rig.connection.phase is Phase.OPEN
    assert rig.connection.partial_message == (OpCode.BINARY, b"aaaaaa")


HOSTILE = [
    "82ff 8000000000000005 00000000",
    "82ff 7fffffffffffffff 00000000",
    "827f ffffffffffffffff",
    "83ff 0000000000ffffff 00000000",
    "81fe 0001",
    "89fe 0100",
    "88ff ffff",
    "0080 00000000",
]


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("config", [LIMITED, UNLIMITED], ids=["limits", "no limits"])
def test_v2_every_call_makes_progress(role: Role, data: str, config: Config) -> None:
    """A call with n bytes takes at most a * n + b steps, whatever the bytes are."""
    connection = frozen(role, config)
    stream = bytes.fromhex(data) * 50
    for part in by_size(7)(stream):

        def run(part: bytes = part) -> None:
            connection.receive_data(part, 1.0)
            connection.events()

        assert steps(run) <= 60 * len(part) + 400


def test_v2_random_input_makes_progress(role: Role) -> None:
    rng = random.Random(2)
    for _ in range(200):
        connection = frozen(role)
        stream = rng.randbytes(100)

        def run(connection: Connection = connection, stream: bytes = stream) -> None:
            connection.receive_data(stream, 1.0)
            while connection.events():
                pass

        assert steps(run) <= 60 * len(stream) + 400


@pytest.mark.parametrize(
    ("data", "code"), [("827f ffffffffffffffff", 1002), ("827f 7fffffffffffffff", 1009)]
)
def test_v3_length_over_the_range(bytewise: bool, data: str, code: int) -> None:
    rig = Rig(Role.CLIENT, LIMITED, bytewise=bytewise)
    rig.feed(bytes.fromhex(data))
    rig.assert_fails(code)


@pytest.mark.parametrize("config", [LIMITED, UNLIMITED], ids=["limits", "no limits"])
def test_v4_pointer_and_length(bytewise: bool, config: Config) -> None:
    rig = Rig(Role.CLIENT, config, bytewise=bytewise)
    rig.feed(bytes.fromhex("817f ffffffffffffffff 41"))
    rig.assert_fails(1002)


def test_v5_nothing_is_reserved_for_a_promise(bytewise: bool) -> None:
    head = bytes.fromhex("82ff 0000000040000000 00000000")
    rig = Rig(Role.SERVER, LIMITED, bytewise=bytewise)
    with measured() as memory:
        rig.feed(head[:10])
    assert memory.peak <= 64 * KIB
    assert isinstance(rig.assert_fails(1009), PayloadTooBig)
    rig = Rig(Role.SERVER, UNLIMITED, bytewise=bytewise)
    with measured() as memory:
        rig.feed(head + bytes(KIB))
    assert memory.peak <= 128 * KIB
    assert rig.connection.phase is Phase.OPEN


def test_v6_size_is_judged_at_the_header(role: Role, bytewise: bool) -> None:
    rig = Rig(role, LIMITED, bytewise=bytewise)
    rig.feed(rig.frame(0x82, bytes(MSG + 1))[:10])
    rig.assert_fails(1009)


def test_v6_a_dribbled_frame_is_bounded(role: Role) -> None:
    rig = Rig(role, LIMITED, key=bytes(4))
    data = rig.frame(0x82, bytes(MSG))
    tail = 2000
    with measured() as memory:
        rig.feed(data[: MSG - 60_000])
        for part in by_size(30)(data[MSG - 60_000 : -tail]):
            rig.feed(part)
        for part in by_bytes(data[-tail:-1]):
            rig.feed(part)
    assert memory.held <= MSG * 1.2 + 64 * KIB
    rig.feed(data[-1:])
    assert rig.take() == [Message(bytes(MSG), OpCode.BINARY)]


def test_v7_a_head_without_end(bytewise: bool) -> None:
    connection = Connection(Role.CLIENT, now=0.0, target="ws://h/")
    size = 1 if bytewise else 4096
    stream = b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Pad: 0123456789\r\n" * 5000
    fed = 0
    for part in by_size(size)(stream):
        connection.receive_data(part, 0.0)
        fed += len(part)
        if connection.phase is Phase.CLOSED:
            break
    assert fed <= 33 * KIB
    assert connection.closed is not None
    assert isinstance(connection.closed.error, HandshakeError)


def test_v7_a_dripping_head_meets_the_deadline() -> None:
    connection = Connection(Role.CLIENT, Config(open_timeout=10.0), now=0.0, target="ws://h/")
    for second, byte in enumerate(b"HTTP/1.1 101 Switching"):
        connection.receive_data(bytes([byte]), float(second))
        connection.handle_timeout(float(second))
        if connection.phase is Phase.CLOSED:
            break
    assert connection.closed is not None
    assert connection.closed.error is not None
    assert isinstance(connection.closed.error, PeerTimeout)
    assert second == 10


def test_v7_endless_fragments(role: Role) -> None:
    rig = Rig(role, LIMITED)
    rig.feed(rig.frame(0x02, bytes(KIB)))
    for _ in range(KIB - 1):
        rig.feed(rig.frame(0x00, bytes(KIB)))
    assert rig.connection.phase is Phase.OPEN
    rig.feed(rig.frame(0x00, b"x")[:2])
    rig.assert_fails(1009)


def test_v8_a_large_frame_of_unknown_type(bytewise: bool) -> None:
    data = bytes.fromhex("83ff 0000000000ffffff 00000000")
    for config in (LIMITED, UNLIMITED):
        rig = Rig(Role.SERVER, config, bytewise=bytewise)
        with measured() as memory:
            rig.feed(data[:1])
        assert memory.peak <= 64 * KIB
        rig.assert_fails(1002)


@pytest.mark.parametrize("data", HOSTILE)
def test_v9_the_hostile_corpus_without_limits(role: Role, data: str, bytewise: bool) -> None:
    """What breaks the protocol fails with and without limits; the rest just waits for its bytes."""
    codes = []
    for config in (LIMITED, UNLIMITED):
        rig = Rig(role, config, bytewise=bytewise)
        rig.feed(bytes.fromhex(data))
        error = rig.connection.error
        codes.append(error.close_code if isinstance(error, ProtocolError) else None)
    assert codes in ([1002, 1002], [1009, None])


def test_v10_pings_while_a_send_is_blocked() -> None:
    rig = Rig(Role.CLIENT, LIMITED)
    rig.connection.send_binary(bytes(1 << 18))
    rig.sent()
    rig.connection.write_blocked(1 << 18, rig.now)
    pings = rig.frame(0x89, b"p" * 125) * 20

    def run() -> None:
        rig.connection.receive_data(pings, rig.now)
        while rig.connection.events():
            pass

    assert steps(run) <= 20 * 150
    assert rig.connection.data_to_send() == []


# --------------------------------------------------- V11 to V17: fragments and small pieces


def test_v11_endless_continuations(role: Role) -> None:
    rig = Rig(role, LIMITED)
    piece = rig.frame(0x00, b"a" * KIB)
    with measured() as memory:
        rig.feed(rig.frame(0x01, b"a" * 100))
        sent = 100
        while rig.connection.phase is Phase.OPEN:
            rig.feed(piece)
            sent += KIB
    assert sent - KIB <= MSG < sent
    assert memory.peak <= MSG * 1.2 + 128 * KIB
    rig.assert_fails(1009)


def fragments(rig: Rig, payload: bytes, count: int, read: int) -> None:
    """``count`` continuations in reads of about ``read`` bytes, inside an open binary message."""
    one = rig.frame(0x00, payload)
    each = max(1, read // len(one))
    for _ in range(count // each):
        rig.feed(one * each)
    rig.feed(one * (count % each))


def held_by_fragments(role: Role, payload: bytes, count: int, bytewise: bool) -> None:
    rig = Rig(role, LIMITED, bytewise=bytewise)
    rig.feed(rig.frame(0x02))
    with measured() as memory:
        fragments(rig, payload, count, 16 * KIB)
    assert memory.held <= 2 * len(payload) * count + 64 * KIB
    rig.feed(rig.frame(0x80))
    assert rig.take() == [Message(payload * count, OpCode.BINARY)]


FRAGMENTS = [(b"a", 200_000, False), (b"", 200_000, False), (b"a", 9_000, True), (b"", 9_000, True)]
FRAGMENT_IDS = ["one byte", "empty", "one byte dribbled", "empty dribbled"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("payload", "count", "bytewise"), FRAGMENTS, ids=FRAGMENT_IDS)
def test_v12_tiny_fragments(payload: bytes, count: int, bytewise: bool) -> None:
    held_by_fragments(Role.SERVER, payload, count, bytewise)


def test_v13_many_fragments_are_legal(role: Role) -> None:
    rig = Rig(role, Config(max_message_size=4 * MSG))
    rig.feed(rig.frame(0x02))
    fragments(rig, b"a" * 64, 65_536, 64 * KIB)
    rig.feed(rig.frame(0x80))
    assert rig.take() == [Message(b"a" * 4 * MSG, OpCode.BINARY)]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("payload", "count", "bytewise"), FRAGMENTS, ids=FRAGMENT_IDS)
def test_v14_tiny_fragments_to_a_client(payload: bytes, count: int, bytewise: bool) -> None:
    held_by_fragments(Role.CLIENT, payload, count, bytewise)


@pytest.mark.exhaustive
@pytest.mark.parametrize("deliver", ["messages", "chunks"])
@pytest.mark.parametrize("payload", [b"a", b""], ids=["one byte", "empty"])
def test_v15_fragments_take_linear_time(role: Role, payload: bytes, deliver: str) -> None:
    config = Config(deliver="chunks") if deliver == "chunks" else LIMITED

    def run(count: int) -> None:
        rig = Rig(role, config)
        rig.feed(rig.frame(0x01))
        fragments(rig, payload, count, 4 * KIB)

    assert_linear(run, 20_000)


@pytest.mark.exhaustive
def test_v16_one_frame_in_single_bytes(role: Role) -> None:
    size = 128 * KIB
    connection = frozen(role)
    key = b"" if role is Role.CLIENT else bytes(4)
    data = frame(0x82, bytes(size), key)
    with measured() as memory:
        for place in range(len(data) - 1):
            connection.receive_data(data[place : place + 1], 1.0)
    assert memory.held <= 1.25 * size + 64 * KIB
    connection.receive_data(data[-1:], 1.0)
    assert connection.events() == [Message(bytes(size), OpCode.BINARY)]


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("opcode", [0x01, 0x02])
def test_v17_no_path_around_the_limit(
    make_rig: MakeRig, opcode: int, compressed: bool, place: str
) -> None:
    """Each frame of a message may be the one that crosses the limit, and control frames never."""
    limit = 4000
    config = Config(max_message_size=limit)
    rig = make_rig(config, **with_codec(Repeater(2, piece=512)))
    unit = limit // 2 if compressed else limit
    first = opcode | (0x40 if compressed else 0)
    control = rig.frame(0x89, b"p" * 125)
    pings = [Ping(b"p" * 125)]
    if place == "first":
        rig.feed(control)
        rig.feed(rig.frame(first, b"a" * (unit + 1)))
    elif place == "middle":
        rig.feed(rig.frame(first, b"a" * (unit - 5)) + control)
        rig.feed(rig.frame(0x00, b"a" * 6))
    else:
        rig.feed(rig.frame(first, b"a" * (unit - 5)) + rig.frame(0x00, b"a" * 5) + control)
        rig.feed(rig.frame(0x80, b"a"))
    rig.assert_fails(1009, before=pings)


# -------------------------------------------------------------- V22, V23: bits nobody agreed on


def test_v22_compressed_without_agreement(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was inflated")

    monkeypatch.setattr("zlib.decompressobj", never)
    rig.feed(rig.frame(0xC1, bytes.fromhex("f248cdc9c90700"))[:1])
    rig.assert_fails(1002)


@pytest.mark.parametrize(
    ("before", "bad"),
    [
        ((0x41, b"ab"), 0xC0),
        ((0x41, b"ab"), 0x40),
        ((0x01, b"ab"), 0xC0),
        ((0x01, b"ab"), 0x40),
        (None, 0xC9),
        (None, 0xCA),
        (None, 0xC8),
        ((0x41, b"ab"), 0xC9),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_v23_rsv1_where_it_has_no_meaning(
    make_rig: MakeRig, before: tuple[int, bytes] | None, bad: int, split: bool
) -> None:
    rig = make_rig(**with_codec(Repeater(2)))
    stream = (rig.frame(*before) if before else b"") + rig.frame(bad, b"x")
    if split:
        cut = stream.rindex(bytes([bad])) + 1
        rig.feed(stream[:cut])
        rig.feed(stream[cut:])
    else:
        rig.feed(stream)
    rig.assert_fails(1002)


FLOODS = {
    "one byte fragments": (0x02, 0x00, b"a"),
    "empty fragments": (0x02, 0x00, b""),
    "deflated fragments": (0x42, 0x00, b"\x00\x00\x00\xff\xff"),
    "pings": (0x89, 0x89, b"p"),
    "pongs": (0x8A, 0x8A, b""),
}


def flooded(role: Role, flood: str, config: Config) -> tuple[int, int, bool]:
    """A session whose hook never comes back: bytes held, bytes of the wire, and whether it read."""
    first, then, payload = FLOODS[flood]
    agreed = PerMessageDeflate().accept(())
    assert agreed is not None
    rig = Rig(role, config, **with_codec(agreed.codec(role)))
    session = Session(rig.connection, Hooks(on_chunk=print, on_message=print))
    session.tick(rig.now)
    read = rig.frame(then, payload) * 500
    wire = 0
    with measured() as memory:
        session.received(rig.frame(first, payload), rig.now)
        session.next_call()
        for _ in range(40):
            session.received(read, rig.now)
            session.take_output()
            wire += len(read)
            if not session.wants_read:
                break
    assert rig.connection.phase is Phase.OPEN
    return memory.held, wire, session.wants_read


@pytest.mark.exhaustive
@pytest.mark.parametrize("flood", FLOODS)
def test_e6_small_pieces_hold_at_most_twice_their_bytes(role: Role, flood: str) -> None:
    held, wire, reads = flooded(role, flood, LIMITED)
    assert reads
    assert held <= 2 * wire


@pytest.mark.exhaustive
@pytest.mark.parametrize("flood", ["one byte fragments", "empty fragments", "deflated fragments"])
def test_e6_chunks_hold_at_most_the_mark(role: Role, flood: str) -> None:
    """A chunk is an event and costs more than its byte, so here the mark is the bound."""
    config = Config(deliver="chunks")
    held, wire, reads = flooded(role, flood, config)
    assert held <= 2 * wire + 3 * config.read_high_water
    assert reads is (flood != "one byte fragments")


@pytest.mark.exhaustive
def test_e6_one_byte_reads_hold_at_most_twice_their_bytes(role: Role) -> None:
    connection = frozen(role)
    session = Session(connection, Hooks(on_message=print))
    data = frame(0x82, bytes(50_000), b"" if role is Role.CLIENT else bytes(4))
    with measured() as memory:
        for place in range(len(data) - 1):
            session.received(data[place : place + 1], 1.0)
    assert memory.held <= 2 * len(data)


# ----------------------------------------------------- V42 to V49: what goes out, and how much


def test_v42_a_reason_cannot_leave_its_frame(role: Role) -> None:
    """A close reason is text inside a frame: line ends and NULs are data there, no more."""
    reason = "a\r\nX: y\r\n\r\n\0\x7f"
    rig = Rig(role)
    rig.connection.close(1000, reason, now=rig.now)
    assert rig.sent() == [(0x88, close_body(1000, reason))]


@pytest.mark.parametrize("wrong", [*map(chr, range(0x20)), "\x7f"], ids=lambda c: f"{ord(c):02x}")
def test_v42_no_control_byte_in_what_a_client_writes(wrong: str) -> None:
    value = f"a{wrong}b"
    makers: list[Callable[[], object]] = [
        lambda: client(target=f"ws://{value}/"),
        lambda: client(target=f"ws://h/{value}"),
        lambda: client(target=f"ws://h/?{value}"),
        lambda: client(config=Config(subprotocols=[value])),
        lambda: client(headers=[(value, "x")]),
    ]
    if wrong != "\t":  # a tab is allowed inside a value (RFC 9110 section 5.5)
        makers.append(lambda: client(headers=[("X-Name", value)]))
    for make in makers:
        with pytest.raises((LocalProtocolError, ValueError)):
            make()


def client(
    target: str = "ws://h/", config: Config | None = None, headers: HeadersLike = ()
) -> Connection:
    return Connection(Role.CLIENT, config, now=0.0, target=target, headers=headers)


def test_v44_a_peer_that_does_not_read(role: Role) -> None:
    rig = Rig(role)
    message = bytes(10_000)
    sent = 0
    while rig.connection.below_mark:
        rig.connection.send_binary(message)
        sent += 1
        assert sent < 100
    assert rig.connection.bytes_to_send <= 64 * KIB + len(message) + 14
    # The transport takes it all and hands nothing on: the mark counts what it holds, too.
    held = sum(map(len, rig.connection.data_to_send()))
    rig.connection.write_blocked(held, rig.now)
    assert rig.connection.bytes_to_send == 0
    assert not rig.connection.below_mark
    rig.connection.write_blocked(100, rig.now)
    assert rig.connection.below_mark


@pytest.mark.exhaustive
def test_v45_a_million_pings_leave_nothing(role: Role) -> None:
    """A tenth of a million: what is kept for each would show as well."""
    connection = frozen(role)
    rig = Rig(role)
    read = (rig.frame(0x89, b"p" * 20) + rig.frame(0x8A, b"q" * 20)) * 250

    def run(reads: int) -> None:
        for _ in range(reads):
            connection.receive_data(read, 1.0)
            while connection.events():
                pass
            connection.data_to_send()

    run(10)
    gc.collect()
    before = sys.getallocatedblocks()
    run(200)
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000


def test_v45_unanswered_pings_of_ours_are_forgotten(role: Role) -> None:
    """A peer that answers only the newest ping; the older ones count as answered."""
    connection = frozen(role)
    rig = Rig(role)
    for _ in range(50):
        payloads = [connection.ping(None, 1.0) for _ in range(20)]
        connection.data_to_send()
        connection.receive_data(rig.frame(0x8A, payloads[-1]), 2.0)
        (pong,) = connection.events()
        assert isinstance(pong, Pong)
        assert pong.rtt == 1.0
    assert not connection._pings


@pytest.mark.exhaustive
def test_v46_one_pong_may_wait(role: Role) -> None:
    rig = Rig(role)
    connection = rig.connection
    connection.send_binary(bytes(128 * KIB))
    rig.sent()
    connection.write_blocked(128 * KIB, rig.now)
    read = rig.frame(0x89, b"p" * 125) * 400
    with measured() as memory:
        for _ in range(100):
            connection.receive_data(read, rig.now)
            while connection.events():
                pass
    assert memory.held <= 64 * KIB
    assert connection.data_to_send() == []
    connection.receive_data(rig.frame(0x89, b"the newest"), rig.now)
    connection.write_blocked(0, rig.now)
    assert rig.sent() == [(0x8A, b"the newest")]


def test_v46_pings_that_nobody_looks_at(role: Role) -> None:
    """Neither events nor pongs pile up while nobody looks: parsing stops."""
    rig = Rig(role)
    connection = rig.connection
    connection.receive_data(rig.frame(0x89, b"p" * 125) * 5000, rig.now)
    assert connection.bytes_to_send <= 64 * KIB + 131
    first = connection.events()
    assert len(first) * (125 + 64) <= 64 * KIB + 189
    rig.look()
    assert len(first) + len(rig.events) == 5000


def test_v48_masks_are_new_and_even() -> None:
    connection = frozen(Role.CLIENT)
    for _ in range(10_000):
        connection.send_binary(b"")
    data = b"".join(connection.data_to_send())
    keys = [data[place + 2 : place + 6] for place in range(0, len(data), 6)]
    assert len(keys) == 10_000
    assert len(set(keys)) >= 9_998  # two may be equal by chance, once in a hundred runs
    counts = [0] * 256
    for byte in b"".join(keys):
        counts[byte] += 1
    expected = 40_000 / 256
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert 130 < chi_square < 420  # 255 degrees of freedom: beyond one in a million


def test_v48_a_seed_does_not_matter() -> None:
    keys = []
    for _ in range(2):
        random.seed(0)
        connection = frozen(Role.CLIENT)
        connection.send_binary(b"")
        keys.append(b"".join(connection.data_to_send()))
    assert keys[0] != keys[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_v48_parent_and_child_differ() -> None:
    connection = frozen(Role.CLIENT)
    connection.send_binary(b"")
    connection.data_to_send()
    reading, writing = os.pipe()
    child = os.fork()
    connection.send_binary(b"")
    mine = b"".join(connection.data_to_send())
    if not child:
        os.write(writing, mine)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == len(mine) == 6
    assert theirs != mine


NOT_BYTES = [
    5,
    True,
    [1, 2],
    1.5,
    object(),
    array.array("f", [1.0]),
    memoryview(array.array("f", [1.0])),
    memoryview(b"abcd")[::2],
    memoryview(b"abcd").cast("B", (2, 2)),
    memoryview(b"a").cast("B", ()),
]
NOT_BYTES_IDS = [
    *("int", "bool", "list", "float", "object", "array", "floats", "strided", "2-d", "0-d")
]


@pytest.mark.parametrize("value", NOT_BYTES, ids=NOT_BYTES_IDS)
def test_v49_only_bytes_are_bytes(role: Role, value: object) -> None:
    rig = Rig(role)
    connection = rig.connection
    for call in (
        lambda: connection.send_binary(value),  # type: ignore[arg-type]
        lambda: connection.send_text(value),  # type: ignore[arg-type]
        lambda: connection.ping(value, rig.now),  # type: ignore[arg-type]
        lambda: connection.pong(value),  # type: ignore[arg-type]
        lambda: connection.close(1000, value, now=rig.now),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="expected"):
            call()
    for call in (
        lambda: connection.ping("text", rig.now),  # type: ignore[arg-type]
        lambda: connection.pong(None),  # type: ignore[arg-type]
        lambda: connection.close(1000.0, now=rig.now),  # type: ignore[arg-type]
        lambda: connection.close(True, now=rig.now),
        lambda: connection.close("1000", now=rig.now),  # type: ignore[arg-type]
        lambda: connection.close(1000, b"why", now=rig.now),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="expected"):
            call()
    assert rig.sent() == []
    assert connection.phase is Phase.OPEN


# --------------------------------------------------------------------------- B: framing faults


def test_b1_masking(bytewise: bool) -> None:
    for role, data in ((Role.SERVER, "8105"), (Role.CLIENT, "8185")):
        rig = Rig(role, bytewise=bytewise)
        rig.feed(bytes.fromhex(data))
        rig.assert_fails(1002)


@pytest.mark.parametrize("bits", range(0x10, 0x80, 0x10))
@pytest.mark.parametrize("first", [0x81, 0x02, 0x88, 0x89, 0x8A])
def test_b2_reserved_bits(rig: Rig, first: int, bits: int) -> None:
    rig.feed(bytes([first | bits]))
    rig.assert_fails(1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [0x80, 0])
def test_b3_unknown_opcodes(rig: Rig, opcode: int, fin: int) -> None:
    rig.feed(bytes([fin | opcode]))
    rig.assert_fails(1002)


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_b4_control_frames(make_rig: MakeRig, opcode: int) -> None:
    for length in ("7e", "7f"):
        rig = make_rig()
        rig.feed(rig.raw(f"8{opcode:x} {length}"))
        rig.assert_fails(1002)
    rig = make_rig()
    rig.feed(bytes([opcode]))
    rig.assert_fails(1002)


@pytest.mark.parametrize("byte", ["80", "81", "c0", "ff"])
def test_b5_top_bit_of_a_length(rig: Rig, byte: str) -> None:
    rig.feed(rig.raw(f"82 7f {byte}00000000000000"))
    rig.assert_fails(1002)


@pytest.mark.parametrize("head", ["82 7e 0000", "82 7e 007d", "82 7f 0000000000000000"])
def test_b6_longer_than_needed(rig: Rig, head: str) -> None:
    rig.feed(rig.raw(head))
    rig.assert_fails(1002)


@pytest.mark.parametrize("length", [1001, 65_535, 65_536, 1 << 40])
def test_b7_over_the_limit(make_rig: MakeRig, length: int) -> None:
    rig = make_rig(Config(max_frame_size=1000))
    key = b"" if rig.role is Role.CLIENT else bytes(4)
    size = 4 if length < 65_536 else 10
    head = bytes([0x82, (126 if size == 4 else 127) | (0x80 if key else 0)])
    rig.feed(head + length.to_bytes(size - 2, "big"))
    rig.assert_fails(1009)


def test_b8_order_of_fragments(make_rig: MakeRig) -> None:
    for stream in ([0x80], [0x00], [0x01, 0x81], [0x01, 0x02], [0x81, 0x80], [0x02, 0x80, 0x00]):
        rig = make_rig()
        rig.feed(rig.frames(*stream))
        events = rig.take()
        assert all(isinstance(event, Message) for event in events)
        rig.assert_fails(1002)


def test_b9_a_hundred_control_frames_between(rig: Rig) -> None:
    pings = [str(i).encode() for i in range(100)]
    between = b"".join(rig.frame(0x89, ping) for ping in pings)
    rig.feed(rig.frame(0x01, b"a") + between + rig.frame(0x8A) + rig.frame(0x80, b"b"))
    assert rig.take() == [*map(Ping, pings), Pong(b"", None), text("ab")]
    assert rig.sent() == [(0x8A, ping) for ping in pings]


def test_b10_a_message_without_end(rig: Rig) -> None:
    """Its bytes are bounded by the limit on messages; time is, by the receive timeout, frames."""
    rig = Rig(rig.role, Config(max_message_size=10_000), bytewise=rig.bytewise)
    rig.feed(rig.frame(0x01, b"a"))
    for _ in range(102):
        rig.feed(rig.frame(0x00, b"a" * 99))
    rig.assert_fails(1009)


# B11. The oracle is written from RFC 6455 section 5.2, 5.4 and 5.5; it knows no code of ours.


def oracle(first: int, second: int, *, server: bool, message: bool, agreed: int) -> bool:
    """Whether the first two bytes of a frame can be right."""
    fin = first >= 0x80
    reserved = first & 0b0111_0000
    opcode = first & 0b0000_1111
    masked = second >= 0x80
    length = second & 0b0111_1111
    if opcode not in (0x0, 0x1, 0x2, 0x8, 0x9, 0xA):
        return False  # 5.2: an unknown opcode
    if masked != server:
        return False  # 5.1: a client masks, a server does not
    if opcode in (0x8, 0x9, 0xA):
        # 5.5: at most 125 bytes, never fragmented; no extension of ours marks control frames
        return fin and length <= 125 and not reserved
    if opcode == 0x0:
        return message and not reserved  # 5.4; RFC 7692 6.1: only the first frame is marked
    return not message and reserved | agreed == agreed  # 5.4, 5.2


BEFORE = {
    "idle": (b"", 0),
    "in text": (b"\x01", 0),
    "in binary": (b"\x02", 0),
    "in compressed": (b"\x41", 0x40),
    "idle with an extension": (b"", 0x70),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
def test_b11_every_header(role: Role, state: str, split: bool) -> None:
    before, agreed = BEFORE[state]
    server = role is Role.SERVER
    opening = frame(before[0], b"", b"key!" if server else b"") if before else b""
    wrong = []
    for first in range(256):
        for second in range(256):
            decoder = FrameDecoder(server, agreed, 1 << 40, 1 << 40)
            if opening:
                decoder.feed(opening)
                decoder.decode(1 << 16)
            if split:
                decoder.feed(bytes((first,)))
                decoder.decode(1 << 16)
                decoder.feed(bytes((second,)))
            else:
                decoder.feed(bytes((first, second)))
            decoder.decode(1 << 16)
            legal = oracle(first, second, server=server, message=bool(before), agreed=agreed)
            fault = decoder.fault
            if legal != (fault is None) or (fault is not None and fault[0] != 1002):
                wrong.append((first, second, fault))
    assert wrong == []


# Every second byte; under a tracer, which makes seconds minutes, those that differ in kind.
SECONDS = (
    [half | length for half in (0, 0x80) for length in (0, 1, 2, 124, 125, 126, 127)]
    if sys.gettrace()
    else range(256)
)


@pytest.mark.exhaustive
@pytest.mark.parametrize("phase", ["idle", "in text", "closing", "draining", "closed"])
def test_b11_every_header_in_every_phase_of_a_connection(role: Role, phase: str) -> None:
    """All 65,536 through ``Connection``, and with both directions of closing."""
    server = role is Role.SERVER
    rig = Rig(role)
    opening = rig.frame(0x01) if phase == "in text" else b""
    if phase in ("draining", "closed"):
        connection = frozen(role)
        if phase == "draining":
            connection.receive_data(rig.frame(0x88), 0.0)
        else:
            connection.abort(0.0)
        while connection.events():
            pass
        connection.data_to_send()
        for first, second in itertools.product(range(256), SECONDS):
            connection.receive_data(bytes((first, second)), 1.0)
            assert not connection.events()
            assert not connection.data_to_send()
            assert connection.phase.name == phase.upper()
        return
    for first, second in itertools.product(range(256), SECONDS):
        connection = frozen(role)
        if phase == "closing":
            connection.close(1000, now=0.0)
            connection.data_to_send()
        connection.receive_data(opening, 0.0)
        phase_before = connection.phase
        connection.receive_data(bytes((first, second)), 1.0)
        events = connection.events() + connection.events()
        sent = parse(b"".join(connection.data_to_send()), masked=not server)
        legal = oracle(first, second, server=server, message=bool(opening), agreed=0)
        expected: list[Event] = []
        if legal and not server and second == 0:
            whole = text("") if phase == "in text" else Message(b"", OpCode.BINARY)
            complete: dict[int, Event] = {
                0x80: whole,
                0x81: text(""),
                0x82: Message(b"", OpCode.BINARY),
                0x88: Close(1005),
                0x89: Ping(b""),
                0x8A: Pong(b"", None),
            }
            expected = [complete[first]] if first in complete else []
        assert events == expected, (hex(first), hex(second))
        if not legal:
            assert connection.phase is Phase.DRAINING
            assert [head for head, _ in sent] == ([] if phase == "closing" else [0x88])
            assert all(body[:2] == b"\x03\xea" for _, body in sent)
        elif expected == [Close(1005)]:
            assert connection.phase is Phase.DRAINING
            assert sent == ([] if phase == "closing" else [(0x88, b"")])
        else:
            assert connection.phase is phase_before
            assert sent == ([(0x8A, b"")] if expected == [Ping(b"")] else [])


def session(role: Role) -> bytes:
    """A short stream with each kind of frame, so short that every pair of cuts can be tried."""
    rig = Rig(role, key=b"\x01\x02\x03\x04")
    return rig.frames(
        (0x81, "é".encode()),
        (0x01, b"\xf0\x9f"),
        (0x89, b"p"),
        0x00,
        (0x80, b"\x98\x80"),
        (0x82, b"\xff" * 126),
        0x8A,
        (0x88, close_body(1000, "x")),
        0x81,
    )


def outcome(role: Role, parts: Iterable[bytes]) -> tuple[list[Event], bytes]:
    rig = Rig(role)
    for part in parts:
        rig.feed(part)
    rig.eof()
    return rig.events, bytes(rig.output)


@pytest.mark.exhaustive
def test_b12_every_split(role: Role) -> None:
    data = session(role)
    expected = outcome(role, [data])
    assert expected[0] == [
        text("é"),
        Ping(b"p"),
        text("😀"),
        Message(b"\xff" * 126, OpCode.BINARY),
        Pong(b"", None),
        Close(1000, "x"),
        Closed(1000, "x", True, Close(1000, "x"), Close(1000, "x"), None),
    ]
    for size in range(1, 10):
        assert outcome(role, by_size(size)(data)) == expected
    # Inside the long payload one cut is like the other.
    places = [at for at in range(len(data) + 1) if not 60 < at < 160 or at % 20 == 0]
    for one, two in itertools.combinations_with_replacement(places, 2):
        assert outcome(role, [data[:one], data[one:two], data[two:]]) == expected, (one, two)


@pytest.mark.parametrize("cut", [61, 100, 128, 1 << 16])
def test_b12_every_budget(role: Role, cut: int) -> None:
    """However little is looked at in one go, the same comes of it."""
    data = session(role)
    server = role is Role.SERVER
    expected: list[tuple[int, bytes, int]] = []
    for budget in (1 << 20, 1, 2, 64, 65, 100, cut):
        decoder = FrameDecoder(server, 0, 1 << 20, 1 << 20)
        pieces: list[tuple[int, bytes, int]] = []
        for part in by_size(cut)(data):
            decoder.feed(part)
            while decoder.pending:
                pieces += decode(decoder, budget)
        joined = join(pieces)
        expected = expected or joined
        assert joined == expected
    assert len(expected) == 7


def join(pieces: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes, int]]:
    """Pieces of one message put together; control frames before the message they interrupt."""
    joined: list[tuple[int, bytes, int]] = []
    data, flags = b"", 0
    for opcode, part, bits in pieces:
        if opcode >= 8:
            joined.append((opcode, part, bits))
            continue
        assert bool(bits & 1) == (not flags)
        data += part
        flags |= bits
        if bits & 2:
            joined.append((opcode, data, flags))
            data, flags = b"", 0
    return joined


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400\r\n", b"\x16\x03\x01\x02\x00\x01\x00", bytes(64)],
    ids=["request", "response", "tls", "zeros"],
)
def test_b13_garbage_behind_good_frames(rig: Rig, garbage: bytes) -> None:
    good = rig.frame(0x81, b"one") + rig.frame(0x82, b"two")
    rig.feed(good + garbage)
    rig.assert_fails(1002, before=[text("one"), Message(b"two", OpCode.BINARY)])


# ------------------------------------------------------------------------- C: text and closing

# RFC 3629 section 4, as a machine: state -> [(from byte, to byte, next state)]; 0 is "between".
UTF8: dict[str, list[tuple[int, int, str]]] = {
    "": [
        (0x00, 0x7F, ""),
        (0xC2, 0xDF, "t"),
        (0xE0, 0xE0, "E0"),
        (0xE1, 0xEC, "tt"),
        (0xED, 0xED, "ED"),
        (0xEE, 0xEF, "tt"),
        (0xF0, 0xF0, "F0"),
        (0xF1, 0xF3, "ttt"),
        (0xF4, 0xF4, "F4"),
    ],
    "t": [(0x80, 0xBF, "")],
    "tt": [(0x80, 0xBF, "t")],
    "ttt": [(0x80, 0xBF, "tt")],
    "E0": [(0xA0, 0xBF, "t")],
    "ED": [(0x80, 0x9F, "t")],
    "F0": [(0x90, 0xBF, "tt")],
    "F4": [(0x80, 0x8F, "tt")],
}
STEP = {
    (state, byte): following
    for state, rules in UTF8.items()
    for low, high, following in rules
    for byte in range(low, high + 1)
}


def first_wrong(data: Iterable[int]) -> int | None:
    """The index of the first byte that cannot be right; the length if only the end is wrong;
    ``None`` for valid text.
    """
    state: str | None = ""
    count = 0
    for byte in data:
        state = STEP.get((state or "", byte))
        if state is None:
            return count
        count += 1
    return None if state == "" else count


# Each border of the table above, with the byte before and behind it.
BORDERS = sorted(
    {
        byte
        for rules in UTF8.values()
        for low, high, _ in rules
        for byte in (low - 1, low, high, high + 1)
        if 0 <= byte <= 255
    }
)


def sequences() -> Iterator[bytes]:
    yield from (bytes((one,)) for one in range(256))
    yield from map(bytes, itertools.product(range(256), repeat=2))
    yield from map(bytes, itertools.product(BORDERS, repeat=3))
    leads = [byte for byte in BORDERS if byte >= 0xC0]
    yield from map(bytes, itertools.product(leads, BORDERS, BORDERS, BORDERS))


@pytest.mark.exhaustive
def test_c1_all_short_sequences() -> None:
    """Against a machine made from the RFC's table: all of one and two bytes, borders of more."""
    reader = MessageReader(Config())
    as_bytes = MessageReader(Config(text_as_bytes=True))
    wrong = []
    for data in sequences():
        valid = first_wrong(data) is None
        for one in (reader, as_bytes):
            out: list[Event] = []
            try:
                one.add(0x81, data, out)
            except ProtocolError as error:
                if valid or out or error.close_code != 1007:
                    wrong.append(data)
            else:
                if not valid or len(out) != 1:
                    wrong.append(data)
    assert wrong == []


@pytest.mark.exhaustive
def test_c2_every_scalar_over_every_cut() -> None:
    """All 1,112,064 in one text, in pieces whose size and the characters' have no common factor."""
    everything = "".join(map(chr, itertools.chain(range(0xD800), range(0xE000, 0x110000))))
    assert len(everything) == 1_112_064
    data = everything.encode()
    for size in (7, 4093):
        reader = MessageReader(Config())
        out: list[Event] = []
        for part in by_size(size)(data):
            reader.add(0x101, part, out)
        assert out == []
        reader.add(0x181, b"", out)
        assert out == [text(everything)]


def test_c2_scalars_at_each_border_and_cut(role: Role) -> None:
    edges = (0, 0x80, 0x800, 0xD800, 0xE000, 0xFFFE, 0x10000, 0x110000)
    scalars = sorted(
        {edge + off for edge in edges for off in (-2, -1, 0, 1)}
        & ({*range(0xD800)} | {*range(0xE000, 0x110000)})
    )
    rig = Rig(role)
    for scalar in scalars:
        data = ("a" + chr(scalar) + "b").encode()
        for one, two in itertools.combinations(range(len(data) + 1), 2):
            stream = rig.frames((0x01, data[:one]), (0x00, data[one:two]), (0x80, data[two:]))
            rig.feed(stream)
            for cut in range(len(stream)):
                rig.connection.receive_data(stream[:cut], rig.now)
                rig.connection.receive_data(stream[cut:], rig.now)
            rig.look()
            assert rig.take() == [text("a" + chr(scalar) + "b")] * (1 + len(stream))


def test_c3_at_the_first_wrong_byte(role: Role) -> None:
    """Inside an unfinished frame it fails on the very byte, never before and never behind it."""
    rng = random.Random(3)
    rig = Rig(role, key=bytes(4))
    head = rig.frame(0x01, b"x" * 50)[:-50]
    samples = [*map(bytes, itertools.product(BORDERS, repeat=3))]
    for body in rng.sample(samples, 1500):
        data = b"ab" + body + b"c" * 4
        place = first_wrong(data)
        connection = frozen(role)
        connection.receive_data(head, 0.0)
        for count in range(len(data)):
            assert connection.error is None, (data, count)
            connection.receive_data(data[count : count + 1], 0.0)
            if count == place:
                break
        error = connection.error
        if place is None:
            assert error is None
        else:
            assert isinstance(error, ProtocolError), data
            assert error.close_code == 1007
            at_once = frozen(role)
            at_once.receive_data(head + data, 0.0)
            assert str(at_once.error) == str(error), data


def test_c4_wrong_only_after_inflation(make_rig: MakeRig) -> None:
    rig = make_rig(**with_codec(Repeater(2)))
    rig.feed(rig.frame(0xC1, "é".encode()))  # each byte twice is no text
    rig.assert_fails(1007)
    agreed = PerMessageDeflate().accept(())
    assert agreed is not None
    codec = agreed.codec(rig.role)
    rig = make_rig(**with_codec(codec))
    rig.feed(rig.frame(0xC1, bytes.fromhex("fb07 00")))  # stored as one fixed block: ff
    rig.assert_fails(1007)


def test_c5_a_close_body_of_one_byte(make_rig: MakeRig) -> None:
    for byte in range(0, 256, 5):
        rig = make_rig()
        rig.feed(rig.frame(0x88, bytes([byte])))
        rig.assert_fails(1002)


def usable(code: int) -> bool:
    """From the table of close codes in the conformance matrix."""
    return code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code < 5000


@pytest.mark.exhaustive
def test_c6_every_code_received(role: Role) -> None:
    head = Rig(role, key=bytes(4)).frame(0x88, b"xx")[:-2]
    for code in range(65_536):
        connection = frozen(role)
        connection.receive_data(head + code.to_bytes(2, "big"), 0.0)
        events = connection.events()
        assert connection.phase is Phase.DRAINING
        sent = connection.close_sent
        assert sent is not None
        if usable(code):
            assert events == [Close(code)]
            assert sent == Close(code)
        else:
            assert events == []
            assert sent.code == 1002


@pytest.mark.exhaustive
def test_c6_every_code_sent(role: Role) -> None:
    for code in range(-1, 65_537):
        assert is_usable_close_code(code) == usable(code)
        connection = frozen(role)
        if usable(code):
            connection.close(code, now=0.0)
            assert connection.close_sent == Close(code)
        else:
            with pytest.raises(LocalProtocolError):
                connection.close(code, now=0.0)
            assert connection.phase is Phase.OPEN
            assert connection.bytes_to_send == 0


def test_c7_reasons(make_rig: MakeRig) -> None:
    for body in (b"\xff", b"\xed\xa0\x80", b"ok\xe2\x82", b"r" * 122 + b"\xc3"):
        rig = make_rig()
        rig.feed(rig.frame(0x88, close_body(1000, body)))
        rig.assert_fails(1007)
    rig = make_rig()
    for reason in ("r" * 124, "é" * 62):
        with pytest.raises(LocalProtocolError):
            rig.connection.close(1000, reason, now=rig.now)
    assert rig.sent() == []


def test_c8_an_empty_close(rig: Rig) -> None:
    rig.feed(rig.frame(0x88))
    assert rig.sent() == [(0x88, b"")]
    assert rig.take() == [Close(1005)]


def test_c9_what_follows_a_close(role: Role) -> None:
    rig = Rig(role)
    rig.feed(rig.frame(0x88, close_body(1000)))
    rig.take()
    rig.sent()
    read = rig.frame(0x81, bytes(KIB)) + rig.frame(0x89, b"p") + rig.frame(0x88)
    with measured() as memory:
        for _ in range(200):
            rig.connection.receive_data(read, rig.now)
    assert memory.held < 2 * KIB
    rig.look()
    assert rig.take() == []
    assert rig.sent() == []


def test_c10_closes_that_cross() -> None:
    """Both close, in any order of what arrives when; both end clean and know both codes."""
    rng = random.Random(10)
    for _ in range(2000):
        client, server = frozen(Role.CLIENT), frozen(Role.SERVER)
        ends = {"client": client, "server": server}
        wires: dict[str, list[bytes]] = {"client": [], "server": []}
        todo = ["close client", "close server"] + ["carry"] * 6
        rng.shuffle(todo)
        for what in [*todo, *["carry all"] * 3]:
            if what == "close client":
                client.close(3001, now=0.0)
            elif what == "close server":
                server.close(3002, now=0.0)
            for name, end in ends.items():
                while end.events():
                    pass
                wires[name] += end.data_to_send()
            for name, other in (("client", server), ("server", client)):
                if wires[name] and (what == "carry all" or rng.random() < 0.5):
                    other.receive_data(wires[name].pop(0), 0.0)
        for end, other in ((server, client), (client, server)):
            while end.events():
                pass
            other.receive_eof(0.0)
            while other.events():
                pass
        assert client.closed is not None
        assert server.closed is not None
        assert client.closed.clean
        assert server.closed.clean
        assert client.closed.sent == server.closed.received
        assert server.closed.sent == client.closed.received


def test_c11_a_close_inside_a_message(rig: Rig) -> None:
    rig.feed(rig.frames((0x02, b"a"), (0x00, b"b"), (0x88, close_body(1001, "off"))))
    assert rig.take() == [Close(1001, "off")]
    assert rig.sent() == [(0x88, close_body(1001, "off"))]


@pytest.mark.parametrize("how", ["silent", "keeps the stream", "keeps talking"])
def test_c12_a_close_that_never_ends(role: Role, how: str) -> None:
    rig = Rig(role, Config(close_timeout=5.0))
    connection = rig.connection
    connection.close(1000, now=rig.now)
    began = rig.now
    if how == "keeps the stream":
        rig.feed(rig.frame(0x88, close_body(1000)))
        assert connection.transport is (
            Transport.SHUT_WRITE if role is Role.SERVER else Transport.OPEN
        )
    while connection.phase is not Phase.CLOSED:
        assert rig.now <= began + 5.0
        rig.now += 0.5
        if how == "keeps talking":
            rig.feed(rig.frame(0x82, bytes(100)))
        connection.handle_timeout(rig.now)
    rig.look()
    assert rig.now == began + 5.0
    assert connection.transport is Transport.ABORT
    closed = connection.closed
    assert closed is not None
    if how == "keeps the stream":
        assert (closed.code, closed.clean) == (1000, True)
    else:
        assert (closed.code, closed.clean) == (1006, False)
        assert isinstance(closed.error, PeerTimeout)
        assert closed.error.timer == "close"


@pytest.mark.parametrize("data", ["", "81", "8105", "810568", "010161", "0101 61 80"])
@pytest.mark.parametrize("how", ["eof", "reset"])
def test_c13_an_end_without_close(rig: Rig, data: str, how: str) -> None:
    rig.feed(rig.raw(data))
    if how == "eof":
        rig.eof()
        expected = None
    else:
        expected = ConnectionResetError("reset by peer")
        rig.connection.lost(expected, rig.now)
        rig.connection.lost(OSError("again"), rig.now)
        rig.look()
    closed = rig.assert_closed()
    assert (closed.code, closed.clean, closed.sent, closed.received) == (1006, False, None, None)
    assert closed.error is expected
