"""``FrameDecoder`` by itself; on both builds, as all tests of the core.

What the RFC asks of frames is in ``test_conformance_framing.py`` and ``test_attacks_frames.py``;
here is what the rest of the core relies on: pieces, flags, budgets, ``pending``, ``mid_frame`` and
``serial``.
"""

import random
from typing import Any

import pytest

from tests.core.measure import assert_linear, measured
from tests.core.pair import by_bytes, by_size
from tests.core.pieces import BOTH, FIRST, LAST, decode
from tests.core.wire import KEY, frame
from wsproto_core.framing import FrameDecoder

NO_LIMIT = -1


@pytest.fixture(params=[False, True], ids=["from a server", "from a client"])
def masked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Peer:
    """A decoder and the frames that it is to read."""

    def __init__(
        self,
        masked: bool,
        *,
        rsv: int = 0,
        max_frame: int = NO_LIMIT,
        max_message: int = NO_LIMIT,
    ) -> None:
        self.key = KEY if masked else b""
        self.decoder: Any = FrameDecoder(masked, rsv, max_frame, max_message)

    def frame(self, first: int, payload: bytes = b"") -> bytes:
        return frame(first, payload, self.key)

    def read(self, data: bytes, budget: int = 1 << 20) -> list[tuple[int, bytes, int]]:
        self.decoder.feed(data)
        return decode(self.decoder, budget)


@pytest.fixture
def peer(masked: bool) -> Peer:
    return Peer(masked)


# ------------------------------------------------------------------------------------- pieces


def test_a_whole_frame_is_one_piece(peer: Peer) -> None:
    assert peer.read(peer.frame(0x81, b"abc")) == [(1, b"abc", BOTH)]
    assert peer.read(peer.frame(0x82)) == [(2, b"", BOTH)]
    assert peer.read(peer.frame(0x89, b"p")) == [(9, b"p", BOTH)]
    assert not peer.decoder.pending
    assert not peer.decoder.mid_frame
    assert not peer.decoder.in_message


def test_fragments_carry_the_opcode_of_their_message(peer: Peer) -> None:
    data = peer.frame(0x02, b"a") + peer.frame(0x00, b"b") + peer.frame(0x80, b"c")
    assert peer.read(data) == [(2, b"a", FIRST), (2, b"b", 0), (2, b"c", LAST)]


def test_an_empty_fragment_gives_nothing_unless_it_is_the_last(peer: Peer) -> None:
    assert peer.read(peer.frame(0x01) + peer.frame(0x00)) == []
    assert peer.decoder.in_message
    assert peer.decoder.opcode == 1
    assert peer.read(peer.frame(0x00, b"a")) == [(1, b"a", FIRST)]
    assert peer.read(peer.frame(0x80)) == [(1, b"", LAST)]
    assert peer.read(peer.frame(0x01) + peer.frame(0x80)) == [(1, b"", BOTH)]
    assert not peer.decoder.in_message


def test_a_frame_is_given_as_it_arrives(peer: Peer) -> None:
    data = peer.frame(0x82, b"abcdefgh")
    head = len(data) - 8
    assert peer.read(data[:head]) == []
    assert peer.decoder.mid_frame
    assert peer.read(b"") == []
    assert peer.decoder.mid_frame
    assert peer.read(data[head : head + 3]) == [(2, b"abc", FIRST)]
    assert peer.read(data[head + 3 : head + 4]) == [(2, b"d", 0)]
    assert peer.read(data[head + 4 :] + peer.frame(0x89)) == [(2, b"efgh", LAST), (9, b"", BOTH)]


def test_a_fragment_is_given_as_it_arrives(peer: Peer) -> None:
    data = peer.frame(0x02, b"abcd")
    assert peer.read(data[:-2]) == [(2, b"ab", FIRST)]
    assert peer.read(data[-2:]) == [(2, b"cd", 0)]
    assert not peer.decoder.mid_frame
    data = peer.frame(0x80, b"efgh")
    assert peer.read(data[:-2]) == [(2, b"ef", 0)]
    assert peer.read(data[-2:]) == [(2, b"gh", LAST)]


def test_a_control_frame_is_given_whole(peer: Peer) -> None:
    data = peer.frame(0x89, b"payload")
    for byte in by_bytes(data[:-1]):
        assert peer.read(byte) == []
        assert peer.decoder.mid_frame
    assert peer.read(data[-1:]) == [(9, b"payload", BOTH)]


def test_the_reserved_bits_of_a_message_stay_with_its_parts(masked: bool) -> None:
    peer = Peer(masked, rsv=0x60)
    data = peer.frame(0x61, b"a") + peer.frame(0x00, b"b") + peer.frame(0x80, b"c")
    assert peer.read(data) == [(1, b"a", 0x60 | FIRST), (1, b"b", 0x60), (1, b"c", 0x60 | LAST)]
    assert peer.read(peer.frame(0xC2, b"x")) == [(2, b"x", 0x40 | BOTH)]
    assert peer.read(peer.frame(0x82, b"x")) == [(2, b"x", BOTH)]
    partly = peer.frame(0xC2, b"xyz")
    assert peer.read(partly[:-1]) == [(2, b"xy", 0x40 | FIRST)]
    assert peer.read(partly[-1:]) == [(2, b"z", 0x40 | LAST)]


# ------------------------------------------------------------------------------------- budget


def test_a_budget_stops_between_pieces(peer: Peer) -> None:
    data = b"".join(peer.frame(0x82, bytes([i]) * 36) for i in range(10))
    got = peer.read(data, 100)
    assert len(got) == 1
    assert peer.decoder.pending
    got += decode(peer.decoder, 101)
    assert len(got) == 3
    while peer.decoder.pending:
        got += decode(peer.decoder, 1)
    assert [payload for _, payload, _ in got] == [bytes([i]) * 36 for i in range(10)]


def test_more_can_be_fed_while_pending(peer: Peer) -> None:
    frames = [peer.frame(0x82, bytes([i]) * 20) for i in range(6)]
    got = peer.read(frames[0] + frames[1] + frames[2][:10], 1)
    peer.decoder.feed(frames[2][10:])
    peer.decoder.feed(frames[3])
    got += decode(peer.decoder, 1)
    peer.decoder.feed(frames[4] + frames[5])
    got += decode(peer.decoder, 1 << 20)
    assert [payload for _, payload, _ in got] == [bytes([i]) * 20 for i in range(6)]


def test_without_budget_nothing_is_looked_at(peer: Peer) -> None:
    assert peer.read(peer.frame(0x81, b"a"), 0) == []
    assert peer.decoder.pending
    assert peer.decoder.fault is None
    assert decode(peer.decoder, 1) == [(1, b"a", BOTH)]
    assert decode(peer.decoder, 1) == []


def test_whole_frames_that_wait_are_no_unfinished_one(peer: Peer) -> None:
    """Else a receive timeout would blame the peer for what we did not read."""
    peer.read(peer.frame(0x81, b"a") * 3, 1)
    assert peer.decoder.pending
    assert not peer.decoder.mid_frame


def test_empty_fragments_cost_something(peer: Peer) -> None:
    """Or one call could be kept busy for as long as a read is large."""
    assert peer.read(peer.frame(0x01) + peer.frame(0x00) * 100, 10) == []
    assert peer.decoder.pending
    calls = 1
    while peer.decoder.pending:
        decode(peer.decoder, 10)
        calls += 1
    assert calls >= 10


def test_a_large_read_is_not_copied_for_each_call() -> None:
    one = frame(0x82, bytes(60))

    def run(count: int) -> None:
        decoder = FrameDecoder(False, 0, NO_LIMIT, NO_LIMIT)
        decoder.feed(one * count)
        got = 0
        while decoder.pending:
            got += len(decode(decoder, 1))
        assert got == count

    assert_linear(run, 20_000)


def test_a_read_behind_the_beginning_of_a_frame_is_copied_once() -> None:
    """Most reads of small frames end within a header, and a read may be large."""
    one = frame(0x82, bytes(60))
    decoder = FrameDecoder(False, 0, NO_LIMIT, NO_LIMIT)
    decoder.feed(one[:1])
    assert decode(decoder, 1) == []
    rest = one[1:] + one * 5000
    with measured() as memory:
        decoder.feed(rest)
        assert len(decode(decoder, 1)) == 1
    assert memory.peak < 1.2 * len(rest)


# ------------------------------------------------------------------------------------- serial


def test_serial_tells_frames_apart(peer: Peer) -> None:
    decoder = peer.decoder
    assert decoder.serial == 0
    data = peer.frame(0x82, b"abcdef")
    for byte in by_bytes(data):
        peer.read(byte)
        assert decoder.serial == 1
    peer.read(data + data)
    assert decoder.serial == 3
    peer.read(data[:1])
    assert decoder.serial == 4
    peer.read(data[1:])
    assert decoder.serial == 4
    peer.read(peer.frame(0x89)[:1])
    assert decoder.serial == 5
    peer.read(peer.frame(0x89)[1:])
    assert decoder.serial == 5
    peer.read(data[:-1])
    assert decoder.serial == 6


# -------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("first", "before", "words", "rule"),
    [
        (0x83, b"", "opcode of 0, 1, 2, 8, 9 or 10, got 3", "RFC 6455 5.2"),
        (0x8F, b"", "got 15", "RFC 6455 5.2"),
        (0xC9, b"", "control frame must not set a reserved bit", "RFC 6455 5.2"),
        (0x09, b"", "control frame must not be fragmented", "RFC 6455 5.5"),
        (0xC1, b"", "RSV1", "RFC 6455 5.2"),
        (0xA1, b"", "RSV2", "RFC 6455 5.2"),
        (0x91, b"", "RSV3", "RFC 6455 5.2"),
        (0xF1, b"", "RSV1, RSV2, RSV3", "RFC 6455 5.2"),
        (0x81, b"\x01", "expected a continuation frame", "RFC 6455 5.4"),
        (0x80, b"", "nothing to continue", "RFC 6455 5.4"),
    ],
)
def test_a_fault_says_what_and_where(
    peer: Peer, first: int, before: bytes, words: str, rule: str
) -> None:
    if before:
        peer.read(peer.frame(before[0]))
    assert peer.read(bytes([first])) == []
    code, why, where = peer.decoder.fault
    assert code == 1002
    assert words in why
    assert where == rule


def test_only_the_bits_that_are_wrong_are_named(masked: bool) -> None:
    peer = Peer(masked, rsv=0x40)
    peer.read(b"\xe1")
    assert peer.decoder.fault[1].endswith(": RSV2")
    peer = Peer(masked, rsv=0x40)
    peer.read(peer.frame(0x41))
    peer.read(b"\xc0")
    assert peer.decoder.fault == (
        1002,
        "only the first frame of a message may set a reserved bit",
        "RFC 7692 6.1",
    )


def test_nothing_is_read_after_a_fault(peer: Peer) -> None:
    good = peer.frame(0x81, b"good")
    assert peer.read(good + b"\xff" + good) == [(1, b"good", BOTH)]
    fault = peer.decoder.fault
    assert fault is not None
    assert not peer.decoder.pending
    assert peer.read(good) == []
    assert not peer.decoder.pending
    assert decode(peer.decoder, 100) == []
    assert peer.decoder.fault is fault


def test_a_fault_waits_for_the_budget(peer: Peer) -> None:
    assert len(peer.read(peer.frame(0x81, b"good") + b"\xff", 1)) == 1
    assert peer.decoder.fault is None
    assert peer.decoder.pending
    assert decode(peer.decoder, 1) == []
    assert peer.decoder.fault is not None


def test_limits_of_frame_and_message(masked: bool) -> None:
    peer = Peer(masked, max_frame=200, max_message=300)
    assert len(peer.read(peer.frame(0x02, bytes(200)) + peer.frame(0x80, bytes(100)))) == 2
    peer.read(peer.frame(0x02, bytes(200)) + peer.frame(0x80, bytes(101)))
    assert peer.decoder.fault == (
        1009,
        "message of 301 bytes or more is over the limit of 300",
        "RFC 6455 10.4",
    )
    peer = Peer(masked, max_frame=200, max_message=300)
    peer.read(peer.frame(0x02, bytes(201))[:4])
    assert peer.decoder.fault[:2] == (1009, "frame of 201 bytes is over the limit of 200")
    peer = Peer(masked, max_frame=0, max_message=0)
    assert peer.read(peer.frame(0x81) + peer.frame(0x89, b"ping")) == [
        (1, b"", BOTH),
        (9, b"ping", BOTH),
    ]
    peer.read(peer.frame(0x81, b"a"))
    assert peer.decoder.fault[0] == 1009


def test_the_mask_bit() -> None:
    for masked, data in ((True, "8100"), (False, "8180")):
        decoder = FrameDecoder(masked, 0, NO_LIMIT, NO_LIMIT)
        decoder.feed(bytes.fromhex(data))
        assert decode(decoder, 100) == []
        assert decoder.fault is not None
        assert decoder.fault[0] == 1002
        assert decoder.fault[2] == "RFC 6455 5.1"
        assert ("unmasked" in decoder.fault[1].split(",")[0]) is not masked


def test_random_streams_come_back(masked: bool) -> None:
    rng = random.Random(1)
    for _ in range(50):
        peer = Peer(masked, rsv=0x40)
        sent = [
            (rng.choice((1, 2)), rng.randbytes(rng.choice((0, 3, 125, 126, 700, 70_000))))
            for _ in range(5)
        ]
        data = b"".join(peer.frame(0x80 | opcode, payload) for opcode, payload in sent)
        got: list[tuple[int, bytes]] = []
        whole = b""
        for part in by_size(rng.choice((50, 1000, 60_000)))(data):
            peer.decoder.feed(part)
            while peer.decoder.pending:
                for opcode, payload, flags in decode(peer.decoder, rng.choice((1, 500, 100_000))):
                    whole += payload
                    if flags & LAST:
                        got.append((opcode, whole))
                        whole = b""
        assert got == sent


# ----------------------------------------------------------------------------- the whole table


def verdict(byte: int, rsv: int, in_message: bool) -> tuple[str, str] | None:
    """What is wrong with a first byte, as (words, rule), written from RFC 6455 5.2, 5.4 and 5.5."""
    final, opcode = byte >= 128, byte % 16
    reserved = [name for name, bit in (("RSV1", 64), ("RSV2", 32), ("RSV3", 16)) if byte & bit]
    foreign = [name for name in reserved if not rsv & {"RSV1": 64, "RSV2": 32, "RSV3": 16}[name]]
    if opcode not in {0, 1, 2, 8, 9, 10}:
        return f"got {opcode}", "RFC 6455 5.2"
    if opcode >= 8:
        if reserved:
            return "control frame must not set a reserved bit", "RFC 6455 5.2"
        return None if final else ("must not be fragmented", "RFC 6455 5.5")
    if foreign:
        return f": {', '.join(foreign)}", "RFC 6455 5.2"
    if in_message and opcode:
        return "got a new message", "RFC 6455 5.4"
    if not in_message and not opcode:
        return "nothing to continue", "RFC 6455 5.4"
    if in_message and reserved:
        return "only the first frame", "RFC 7692 6.1"
    return None


@pytest.mark.parametrize("rsv", [0, 0x10, 0x20, 0x40, 0x50, 0x70])
@pytest.mark.parametrize("in_message", [False, True])
def test_every_first_byte(rsv: int, in_message: bool) -> None:
    for byte in range(256):
        peer = Peer(False, rsv=rsv)
        if in_message:
            peer.read(b"\x02\x00")
        wrong = verdict(byte, rsv, in_message)
        alone = peer.read(bytes([byte]))
        fault = peer.decoder.fault
        if wrong is None:
            assert alone == []
            assert fault is None, byte
            got = peer.read(b"\x01x")
            opcode = byte % 16 or 2
            # A control frame is whole, and so is a message that begins and ends in this one.
            begins = FIRST if byte % 16 or in_message else 0
            ends = LAST if byte >= 128 else 0
            assert got == [(opcode, b"x", byte & 0x70 | begins | ends)]
            assert peer.decoder.fault is None
            continue
        words, rule = wrong
        assert fault[0] == 1002
        assert fault[1].endswith(words) or words in fault[1].split(":")[0], byte
        assert fault[2] == rule, byte


# ------------------------------------------------------------------ what mutants have shown


def test_a_new_decoder(masked: bool) -> None:
    decoder = FrameDecoder(masked, 0, NO_LIMIT, NO_LIMIT)
    assert decoder.fault is None
    assert (decoder.pending, decoder.mid_frame, decoder.in_message) == (False, False, False)
    assert type(decoder.pending) is type(decoder.mid_frame) is bool
    assert (decoder.serial, decoder.opcode) == (0, 0)
    assert decode(decoder, 100) == []


def test_flags_that_say_yes_or_no_are_bools(peer: Peer) -> None:
    decoder = peer.decoder
    data = peer.frame(0x82, b"abc")
    for part in (data, data[:1], data[1:-1], data[-1:], b"\xff"):
        peer.read(part)
        assert type(decoder.pending) is type(decoder.mid_frame) is bool
    assert decoder.fault is not None


def test_parts_of_a_frame_are_paid_for(peer: Peer) -> None:
    """A part that ends its frame costs its bytes and 64, whether it ends the message or not."""
    control = peer.frame(0x89)
    for first in (0x02, 0x00, 0x80):
        data = peer.frame(first, bytes(20))
        peer.read(data[:-10])
        assert len(peer.read(data[-10:] + control, 74)) == 1
        assert peer.decoder.pending
        assert len(decode(peer.decoder, 100)) == 1
        if first != 0x80:
            continue
        data = peer.frame(0x82, bytes(20))
        peer.read(data[:-10])
        assert len(peer.read(data[-10:] + control * 3, 75)) == 2
        assert len(decode(peer.decoder, 1000)) == 2


def test_a_part_that_does_not_end_its_frame_leaves_nothing_pending(peer: Peer) -> None:
    peer.read(peer.frame(0x82, bytes(100))[:-50])
    for budget in (1, 64, 65):
        assert len(peer.read(bytes(1), budget)) == 1
        assert peer.decoder.mid_frame


def test_the_beginning_of_a_frame_is_not_pending(peer: Peer) -> None:
    """With any budget left it was looked at; with none it was not."""
    peer.read(peer.frame(0x82, b"a") + b"\x82", 66)
    assert not peer.decoder.pending
    assert peer.decoder.mid_frame
    peer.read(peer.frame(0x82, b"a")[1:] + b"\x82", 65)
    assert peer.decoder.pending
    assert not peer.decoder.mid_frame


def test_reserved_bits_outlive_a_fragment_in_parts(masked: bool) -> None:
    peer = Peer(masked, rsv=0x40)
    data = peer.frame(0x41, b"abcd")
    assert peer.read(data[:-2]) == [(1, b"ab", 0x40 | FIRST)]
    assert peer.read(data[-2:]) == [(1, b"cd", 0x40)]
    assert peer.read(peer.frame(0x80, b"e")) == [(1, b"e", 0x40 | LAST)]


@pytest.mark.parametrize("parts", [False, True])
def test_a_message_is_limited_over_all_its_fragments(masked: bool, parts: bool) -> None:
    peer = Peer(masked, max_message=30)

    def read(data: bytes) -> int:
        cuts = (data[:-1], data[-1:]) if parts else (data,)
        return sum(len(payload) for cut in cuts for _, payload, _ in peer.read(cut))

    for _ in range(2):  # the count begins anew with each message
        assert read(peer.frame(0x02, bytes(10))) == 10
        assert read(peer.frame(0x00, bytes(10))) == 10
        assert read(peer.frame(0x80, bytes(10))) == 10
        assert read(peer.frame(0x82, bytes(30))) == 30
    assert read(peer.frame(0x02, bytes(10))) == 10
    assert read(peer.frame(0x00, bytes(11))) == 11
    assert read(peer.frame(0x80, bytes(10))) == 0
    assert peer.decoder.fault == (
        1009,
        "message of 31 bytes or more is over the limit of 30",
        "RFC 6455 10.4",
    )


def test_nothing_of_a_frame_over_a_limit_is_given(masked: bool) -> None:
    for limits in ({"max_frame": 5}, {"max_message": 5}, {"max_frame": 0}, {"max_message": 0}):
        peer = Peer(masked, **limits)
        assert peer.read(peer.frame(0x82, bytes(6)) * 2) == []
        assert peer.decoder.fault[0] == 1009
        assert peer.decoder.fault[2] == "RFC 6455 10.4"
        assert peer.decoder.serial == 0
        assert peer.read(peer.frame(0x82)) == []


@pytest.mark.parametrize(
    ("length", "why"),
    [
        ("0000000000010000", None),
        ("000000000000ffff", "shortest form"),
        ("0000000000000000", "shortest form"),
        ("0080000000000000", None),
        ("0100000000000000", None),
        ("7f00000000000000", None),
        ("7fffffffffffffff", None),
        ("8000000000010000", "top bit"),
        ("ffffffffffffffff", "top bit"),
    ],
)
def test_lengths_of_64_bits(length: str, why: str | None) -> None:
    peer = Peer(False)
    assert peer.read(bytes.fromhex("827f" + length)) == []
    if why is None:
        assert peer.decoder.fault is None
        assert peer.decoder.mid_frame
        return
    code, words, rule = peer.decoder.fault
    assert (code, rule) == (1002, "RFC 6455 5.2")
    assert why in words


def test_a_long_frame_is_measured_by_all_its_length_bytes() -> None:
    size = 1 << 56 | 5
    peer = Peer(False, max_frame=size - 1)
    assert peer.read(b"\x82\x7f" + size.to_bytes(8, "big")) == []
    assert peer.decoder.fault[1] == f"frame of {size} bytes is over the limit of {size - 1}"


@pytest.mark.parametrize("size", [126, 127, 65536])
def test_a_control_frame_over_125_bytes(peer: Peer, size: int) -> None:
    data = peer.frame(0x89, bytes(size))
    assert peer.read(data[:1]) == []
    assert peer.decoder.fault is None
    assert peer.read(data[1:2]) == []
    assert peer.decoder.fault == (
        1002,
        "a control frame must not have more than 125 bytes of payload",
        "RFC 6455 5.5",
    )


def test_a_frame_is_unfinished_until_its_last_byte(peer: Peer) -> None:
    data = peer.frame(0x82, b"abc")
    for end in range(1, len(data)):
        peer.read(data[end - 1 : end])
        assert peer.decoder.mid_frame
    peer.read(data[-1:])
    assert not peer.decoder.mid_frame


@pytest.mark.parametrize("head", ["827e0005", "827f0000000000000005", "827fffffffffffffffff"])
def test_nothing_of_a_frame_with_a_bad_length_is_given(head: str) -> None:
    peer = Peer(False)
    assert peer.read(bytes.fromhex(head) + bytes(300)) == []
    assert peer.decoder.fault[0] == 1002
    assert peer.decoder.serial == 0
    assert not peer.decoder.in_message
