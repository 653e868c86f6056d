"""Masking, whole frames and UTF-8, on both builds, and that both say the same.

What is expected is written anew here, from the RFCs, octet by octet.
"""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.measure import measured
from tests.core.wire import KEY, frame, header, mask
from wsproto_core.octets import (
    Gather,
    apply_mask,
    encode_frame,
    encode_header,
    unmask,
    utf8_rest,
)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_frames_are_written_in_the_shortest_form(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    for first in (0x81, 0x02, 0x00, 0xC2, 0x8A):
        assert encode_frame(first, payload, b"") == frame(first, payload)
        assert encode_frame(first, payload, KEY) == frame(first, payload, KEY)
        assert encode_header(first, size, 0) == header(first, size)
        assert encode_header(first, size, 0x80) + KEY == header(first, size, KEY)


def test_a_length_of_63_bits_is_written() -> None:
    assert encode_header(0x82, (1 << 63) - 1, 0) == bytes.fromhex("827f7fffffffffffffff")


@pytest.mark.parametrize("size", [*range(70), 599, 600, 601, 602, 603, 4099])
def test_the_mask_is_its_own_inverse(size: int) -> None:
    rng = random.Random(size)
    data = rng.randbytes(size)
    for key in (KEY, bytes(4), b"\xff" * 4, rng.randbytes(4), b"\x01\x00\x00\x80"):
        hidden = apply_mask(data, 0, size, key)
        assert type(hidden) is bytes
        assert hidden == mask(data, key)
        assert apply_mask(hidden, 0, size, key) == data


@given(
    st.binary(max_size=80),
    st.integers(0, 80),
    st.integers(0, 80),
    st.binary(min_size=4, max_size=4),
)
def test_a_part_is_masked_from_the_first_octet_of_the_key(
    data: bytes, one: int, other: int, keys: bytes
) -> None:
    key = keys[:4]
    start, stop = sorted((min(one, len(data)), min(other, len(data))))
    assert apply_mask(data, start, stop, key) == mask(data[start:stop], key)


@given(st.binary(max_size=80), st.binary(min_size=4, max_size=4), st.integers(0, 80))
def test_a_key_may_stand_before_what_it_masks(data: bytes, key: bytes, size: int) -> None:
    size = min(size, len(data))
    assert unmask(b"ab" + key + data, 6, 6 + size) == mask(data[:size], key)


# ------------------------------------------------------------------------------------ gathering

_parts = st.lists(
    st.tuples(
        st.one_of(st.binary(max_size=50), st.integers(0, 40_000).map(bytes)),
        st.sampled_from([b"", KEY]),
        st.integers(0, 100_000),
    ),
    max_size=12,
)


@given(_parts)
def test_parts_are_gathered_in_order_masked_or_not(parts: list[tuple[bytes, bytes, int]]) -> None:
    gather = Gather()
    for _ in range(2):  # it can be used again
        whole = b""
        for part, key, coming in parts:
            data = mask(part, key) if key else part
            if key:
                is_ascii = gather.add_masked(memoryview(part + b"more"), len(part), key, coming)
                assert is_ascii is data.isascii()
            else:
                gather.add(part, coming)
            whole += data
            assert gather.size == len(whole)
            for size in {0, 1, min(3, len(data)), len(data)}:
                if 0 < size <= len(data):
                    assert gather.last(size) == whole[-size:]
                    assert gather.rest(b"", size) == utf8_rest(b"", whole[-size:], False)
        assert gather.peek() == whole
        assert gather.take() == whole
        assert gather.size == 0
        assert gather.peek() == gather.take() == b""


def test_a_part_without_a_mask_may_come_from_a_buffer() -> None:
    gather = Gather()
    assert gather.add_masked(bytearray(b"abc\xff"), 3, b"", 0) is True
    assert gather.take() == b"abc"


def test_what_was_taken_stays_as_it_is() -> None:
    gather = Gather()
    gather.add(b"a" * 20_000, 100_000)
    first = gather.take()
    gather.add(b"b" * 20_000, 100_000)
    assert first == b"a" * 20_000
    assert gather.take() == b"b" * 20_000


def test_an_announcement_takes_little_room() -> None:
    """No more room is taken for what is announced than three times what is there."""
    gather = Gather()
    with measured() as memory:
        gather.add(bytes(10_000), 1 << 40)
    assert memory.held < 50_000


# -------------------------------------------------------------------------------------- UTF-8


def _verdict(data: bytes, final: bool) -> int:
    """RFC 3629 section 4, as sets of octets: -1, or how many octets of half a character."""
    tail = range(0x80, 0xC0)
    forms = [
        [range(0x80)],
        [range(0xC2, 0xE0), tail],
        [range(0xE0, 0xE1), range(0xA0, 0xC0), tail],
        [range(0xE1, 0xED), tail, tail],
        [range(0xED, 0xEE), range(0x80, 0xA0), tail],
        [range(0xEE, 0xF0), tail, tail],
        [range(0xF0, 0xF1), range(0x90, 0xC0), tail, tail],
        [range(0xF1, 0xF4), tail, tail, tail],
        [range(0xF4, 0xF5), range(0x80, 0x90), tail, tail],
    ]
    at = 0
    while at < len(data):
        for form in forms:
            part = data[at : at + len(form)]
            if all(octet in allowed for octet, allowed in zip(part, form, strict=False)):
                if len(part) < len(form):
                    return -1 if final else len(part)
                at += len(form)
                break
        else:
            return -1
    return 0


# One octet on each side of every border of the table.
_BORDERS = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_sequence_of_border_octets(size: int) -> None:
    """24 to the fourth: 331,776 sequences, and each octet of every class is among them."""
    for octets in product(_BORDERS, repeat=size):
        data = bytes(octets)
        assert utf8_rest(b"", data, True) == _verdict(data, True), data.hex(" ")
        assert utf8_rest(b"", data, False) == _verdict(data, False), data.hex(" ")


@settings(deadline=None)
@given(st.text(), st.binary(max_size=6), st.text(max_size=40), st.data())
def test_a_cut_changes_nothing(before: str, odd: bytes, behind: str, choose: st.DataObject) -> None:
    data = before.encode(errors="ignore") + odd + behind.encode(errors="ignore")
    place = choose.draw(st.integers(0, len(data)))
    first, second = data[:place], data[place:]
    rest = utf8_rest(b"", first, False)
    if rest < 0:
        assert _verdict(data, False) == -1
    else:
        held = first[len(first) - rest :]
        assert utf8_rest(held, second, True) == _verdict(data, True)
        assert utf8_rest(held, second, False) == _verdict(data, False)


@pytest.mark.parametrize("place", [*range(70), *range(500, 530), 1023, 1024, 1025])
def test_what_is_not_ascii_is_seen_at_every_place_of_a_long_text(place: int) -> None:
    """The search goes by words of eight octets, one or sixty-four at a time."""
    good = b"a" * place + "é".encode() + b"b" * (1100 - place)
    bad = b"a" * place + b"\xc3" + b"b" * (1100 - place)
    assert utf8_rest(b"", good, True) == 0
    assert utf8_rest(b"", bad, True) == -1
    assert utf8_rest(b"\xc3", b"\xa9" + good, True) == 0


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("place", [*range(20), *range(500, 530), 1023, 1024, 1025, 1099])
def test_unmasking_sees_what_is_not_ascii_at_every_place(place: int, key: bytes) -> None:
    for octet in (0x7F, 0x80, 0xFF):
        data = b"a" * place + bytes([octet]) + b"b" * (1099 - place)
        gather = Gather()
        assert gather.add_masked(mask(data, key) if key else data, 1100, key, 0) is (octet < 0x80)
        assert gather.take() == data
