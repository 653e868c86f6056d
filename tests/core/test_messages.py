"""``MessageReader`` by itself: joining, chunks, codecs, limits, and what a piece costs.

UTF-8 and its cuts are in ``test_conformance_text.py`` and ``test_attacks_frames.py``.
"""

from collections.abc import Iterable
from typing import Any, Literal

import pytest

from tests.core.pieces import BOTH, FIRST, LAST, head_of
from tests.core.wire import Repeater, text
from wsproto_core import (
    Chunk,
    Codec,
    Config,
    Event,
    ExtensionError,
    Message,
    OpCode,
    PayloadTooBig,
    ProtocolError,
)
from wsproto_core.messages import MessageReader

TEXT, BINARY = 1, 2


class Reader:
    """A reader with its output."""

    def __init__(
        self, *codecs: Codec, deliver: Literal["messages", "chunks"] = "messages", **settings: Any
    ) -> None:
        config = Config(deliver=deliver, **settings)
        pairs = [(codec, 0x40 >> place) for place, codec in enumerate(codecs)]
        self.reader = MessageReader(config, pairs)
        self.out: list[Event] = []

    def add(self, opcode: int, data: bytes, flags: int) -> int:
        return self.reader.add(head_of(opcode, flags), data, self.out)

    def resume(self, budget: int = -1) -> int:
        return self.reader.resume(self.out, budget)

    def partial(self) -> bytes | None:
        return self.reader.partial

    def busy(self) -> bool:
        return self.reader.busy

    def take(self) -> list[Event]:
        out = self.out[:]
        self.out.clear()
        return out


def binary(data: bytes) -> Message:
    return Message(data, OpCode.BINARY)


# ---------------------------------------------------------------------------- whole messages


@pytest.mark.parametrize("text_as_bytes", [False, True])
def test_a_whole_message_in_one_piece(text_as_bytes: bool) -> None:
    one = Reader(text_as_bytes=text_as_bytes)
    assert one.add(BINARY, b"\xff\xfe", BOTH) == 2 + 64
    assert one.add(TEXT, b"ascii", BOTH) == 5 + 64
    assert one.add(TEXT, "é".encode(), BOTH) == 2 + 64
    texts: list[str | bytes] = [b"ascii", "é".encode()] if text_as_bytes else ["ascii", "é"]
    assert one.take() == [binary(b"\xff\xfe"), *(Message(t, OpCode.TEXT) for t in texts)]


@pytest.mark.parametrize("text_as_bytes", [False, True])
def test_a_message_in_pieces_costs_when_it_is_whole(text_as_bytes: bool) -> None:
    one = Reader(text_as_bytes=text_as_bytes)
    smile = "😀".encode()
    assert one.add(TEXT, smile[:1], FIRST) == 0
    assert one.partial() == smile[:1]
    assert one.add(TEXT, smile[1:], 0) == 0
    assert one.add(TEXT, b"!", LAST) == 5 + 64
    assert one.partial() is None
    whole: str | bytes = b"\xf0\x9f\x98\x80!" if text_as_bytes else "😀!"
    assert one.take() == [Message(whole, OpCode.TEXT)]
    assert one.add(BINARY, b"a", FIRST) == 0
    assert one.add(BINARY, b"b", LAST) == 2 + 64
    assert one.take() == [binary(b"ab")]


@pytest.mark.parametrize("sizes", [(5, 20_000, 7, 7, 30_000, 1), (20_000, 20_000), (16_384, 0)])
def test_large_and_small_pieces_keep_their_order(sizes: tuple[int, ...]) -> None:
    one = Reader()
    parts = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
    for place, part in enumerate(parts[:-1]):
        assert one.add(TEXT, part, 0 if place else FIRST) == 0
        assert one.partial() == b"".join(parts[: place + 1])
    one.add(TEXT, parts[-1], LAST)
    assert one.take() == [Message(b"".join(parts).decode(), OpCode.TEXT)]
    assert one.partial() is None


def test_bytes_are_bytes_and_the_types_are_enums() -> None:
    one = Reader()
    one.add(BINARY, b"a", FIRST)
    one.add(BINARY, b"b", LAST)
    one.add(TEXT, b"c", BOTH)
    first, second = one.take()
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert type(first.data) is bytes
    assert first.opcode is OpCode.BINARY
    assert second.opcode is OpCode.TEXT


def test_a_last_piece_may_be_all_there_is() -> None:
    """After empty fragments, which the decoder does not give, the last piece stands alone."""
    one = Reader()
    assert one.add(TEXT, b"abc", LAST) == 3 + 64
    assert one.add(TEXT, b"", BOTH) == 64
    assert one.take() == [text("abc"), text("")]


@pytest.mark.parametrize("pieces", [[b"\xff"], [b"a", b"\xff"], [b"\xc3", b"x"], [b"a", b"\xc3"]])
@pytest.mark.parametrize("deliver", ["messages", "chunks"])
@pytest.mark.parametrize("text_as_bytes", [False, True])
def test_bad_text(
    pieces: list[bytes], deliver: Literal["messages", "chunks"], text_as_bytes: bool
) -> None:
    one = Reader(deliver=deliver, text_as_bytes=text_as_bytes)
    for place, piece in enumerate(pieces[:-1]):
        one.add(TEXT, piece, 0 if place else FIRST)
    flags = LAST if len(pieces) > 1 else BOTH
    with pytest.raises(ProtocolError, match="expected text in UTF-8, got the bytes") as caught:
        one.add(TEXT, pieces[-1], flags)
    assert caught.value.close_code == 1007
    assert caught.value.rule == "RFC 6455 8.1"
    assert caught.value.__cause__ is None
    assert not any(getattr(event, "final", True) for event in one.take())


def test_an_error_shows_a_few_bytes_only() -> None:
    one = Reader()
    with pytest.raises(ProtocolError) as caught:
        one.add(TEXT, b"secret" * 1000 + b"\xff" + b"secret" * 1000, BOTH)
    assert len(str(caught.value)) < 200
    assert "got the bytes ff" in str(caught.value)


# ------------------------------------------------------------------------------------ chunks


def test_chunks_of_binary() -> None:
    one = Reader(deliver="chunks")
    assert one.add(BINARY, b"ab", FIRST) == 2 + 64
    assert one.add(BINARY, b"c", 0) == 1 + 64
    assert one.add(BINARY, b"", LAST) == 64
    assert one.add(BINARY, b"whole", BOTH) == 5 + 64
    assert one.add(BINARY, b"next", FIRST) == 4 + 64
    assert one.take() == [
        Chunk(b"ab", OpCode.BINARY, True, False),
        Chunk(b"c", OpCode.BINARY, False, False),
        Chunk(b"", OpCode.BINARY, False, True),
        Chunk(b"whole", OpCode.BINARY, True, True),
        Chunk(b"next", OpCode.BINARY, True, False),
    ]
    assert one.partial() is None


def test_chunks_of_text_wait_for_whole_characters() -> None:
    one = Reader(deliver="chunks")
    smile = "😀".encode()
    assert one.add(TEXT, smile[:3], FIRST) == 0
    one.add(TEXT, smile[3:] + b"a", 0)
    one.add(TEXT, b"", LAST)
    assert one.take() == [
        Chunk("😀a", OpCode.TEXT, True, False),
        Chunk("", OpCode.TEXT, False, True),
    ]


def test_chunks_of_text_as_bytes_are_as_they_came() -> None:
    one = Reader(deliver="chunks", text_as_bytes=True)
    smile = "😀".encode()
    one.add(TEXT, smile[:3], FIRST)
    one.add(TEXT, smile[3:], LAST)
    assert one.take() == [
        Chunk(smile[:3], OpCode.TEXT, True, False),
        Chunk(smile[3:], OpCode.TEXT, False, True),
    ]


def test_chunks_are_limited_as_messages_are() -> None:
    one = Reader(deliver="chunks", max_message_size=10)
    for _ in range(2):
        one.add(BINARY, b"a" * 6, FIRST)
        one.add(BINARY, b"a" * 4, LAST)
    one.add(BINARY, b"a" * 6, FIRST)
    with pytest.raises(PayloadTooBig, match="message of 11 bytes or more is over the limit of 10"):
        one.add(BINARY, b"a" * 5, 0)


# ------------------------------------------------------------------------------------ codecs


class Failing(Repeater):
    """Gives one slice and then finds the payload to be bad."""

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        yield b"good"
        raise ExtensionError("bad payload", rule="RFC 7692 7.2.2")


class Suffix(Repeater):
    """Takes a letter off the end of a marked message; the letter tells the order of codecs."""

    def __init__(self, letter: bytes) -> None:
        super().__init__(1)
        self.letter = letter
        self.calls: list[tuple[bytes, int, bool, bool]] = []
        self.held = b""

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        self.calls.append((payload, rsv, first, final))
        self.held += payload
        if not rsv:
            data, self.held = self.held, b""
        elif final:
            assert self.held.endswith(self.letter)
            data, self.held = self.held[:-1], b""
        else:
            data, self.held = self.held[:-1], self.held[-1:]
        for place in range(len(data)):
            yield data[place : place + 1]


class Tuples(Repeater):
    """Gives all its slices in one tuple, as a codec may."""

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        return tuple(super().decode(payload, rsv, first, final, limit))


@pytest.mark.parametrize("kind", [Repeater, Tuples])
@pytest.mark.parametrize("piece", [1 << 16, 4])
def test_a_codec_decodes_marked_messages(kind: type[Repeater], piece: int) -> None:
    one = Reader(kind(2, piece=piece))
    assert one.add(TEXT, b"abc", BOTH | 0x40) == 6 + 64
    assert one.add(TEXT, b"abc", BOTH) == 3 + 64
    assert one.add(BINARY, b"ab", FIRST | 0x40) == 0
    assert one.add(BINARY, b"c", LAST | 0x40) == 6 + 64
    assert one.add(BINARY, b"", BOTH | 0x40) == 64
    assert one.take() == [text("aabbcc"), text("abc"), binary(b"aabbcc"), binary(b"")]
    assert not one.busy()
    assert one.reader.stirred


def test_codecs_are_undone_in_reverse() -> None:
    """RFC 6455 9.1: what the response names last was applied last."""
    x, y = Suffix(b"x"), Suffix(b"y")
    one = Reader(x, y)
    one.add(TEXT, b"one!xy", BOTH | 0x60)
    assert one.take() == [text("one!")]
    assert y.calls == [(b"one!xy", 0x20, True, True)]
    assert x.calls[0] == (b"o", 0x40, True, False)
    assert x.calls[-1] == (b"x", 0x40, False, True)
    one.add(TEXT, b"tw", FIRST | 0x60)
    one.add(TEXT, b"o!x", 0x60)
    one.add(TEXT, b"y", LAST | 0x60)
    one.add(TEXT, b"plain", BOTH)
    one.add(TEXT, b"only xx", BOTH | 0x40)
    assert one.take() == [text("two!"), text("plain"), text("only x")]


def test_a_piece_that_decodes_to_nothing() -> None:
    one = Reader(Suffix(b"x"))
    assert one.add(TEXT, b"x", FIRST | 0x40) == 0
    assert one.add(TEXT, b"", LAST | 0x40) == 64
    assert one.take() == [text("")]


def test_bad_text_behind_a_codec() -> None:
    one = Reader(Repeater(2))
    with pytest.raises(ProtocolError) as caught:
        one.add(TEXT, "é".encode(), BOTH | 0x40)
    assert caught.value.close_code == 1007


@pytest.mark.parametrize("deliver", ["messages", "chunks"])
def test_a_codec_that_fails(deliver: Literal["messages", "chunks"]) -> None:
    one = Reader(Failing(1), deliver=deliver)
    with pytest.raises(ExtensionError, match="bad payload"):
        one.add(BINARY, b"a", BOTH | 0x40)
    assert one.take() == []


def test_the_limit_counts_what_a_codec_gives() -> None:
    one = Reader(Repeater(10, piece=32), max_message_size=100)
    one.add(BINARY, b"a" * 10, BOTH | 0x40)
    assert one.take() == [binary(b"a" * 100)]
    with pytest.raises(PayloadTooBig):
        one.add(BINARY, b"a" * 11, BOTH | 0x40)


def test_a_codec_that_does_not_count_is_counted() -> None:
    """The limit holds even if an extension does not keep its part of the bargain."""

    class Careless(Repeater):
        def decode(
            self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
        ) -> Iterable[bytes]:
            return super().decode(payload, rsv, first, final, -1)

    careless = Careless(1000, piece=1000)
    one = Reader(careless, max_message_size=5000)
    with pytest.raises(PayloadTooBig, match="over the limit of 5000"):
        one.add(BINARY, b"a" * 1000, BOTH | 0x40)
    assert careless.given <= 7


@pytest.mark.parametrize("limit", [None, 3000])
def test_slices_of_a_codec_are_joined(limit: int | None) -> None:
    codec = Repeater(1000, piece=1000)
    one = Reader(codec, max_message_size=limit)
    one.add(BINARY, b"abc", BOTH | 0x40)
    assert codec.given == 3
    assert one.take() == [binary(b"a" * 1000 + b"b" * 1000 + b"c" * 1000)]


# ---------------------------------------------------------------------- chunks out of a codec


def test_chunks_out_of_a_codec_are_made_as_needed() -> None:
    codec = Repeater(1000, piece=1000)
    one = Reader(codec, deliver="chunks", max_message_size=None)
    assert one.reader.batch == 1  # what a piece inflates to is not known before
    assert one.add(BINARY, b"a" * 50, BOTH | 0x40) == 1064
    assert one.busy()
    assert codec.given == 2  # one is held back: it may be the last
    assert one.resume(2000) == 2128
    assert one.resume() == 47 * 1064
    assert not one.busy()
    assert one.resume() == 0
    chunks = one.take()
    assert len(chunks) == 50
    assert chunks[0] == Chunk(b"a" * 1000, OpCode.BINARY, True, False)
    assert chunks[-1] == Chunk(b"a" * 1000, OpCode.BINARY, False, True)
    assert all(isinstance(chunk, Chunk) and not chunk.final for chunk in chunks[:-1])


def test_chunks_of_fragments_out_of_a_codec() -> None:
    one = Reader(Repeater(2), deliver="chunks")
    for data, flags in ((b"a", FIRST), (b"", 0), (b"b", LAST)):
        one.add(TEXT, data, flags | 0x40)
        one.resume()
    assert one.take() == [
        Chunk("aa", OpCode.TEXT, True, False),
        Chunk("bb", OpCode.TEXT, False, True),
    ]


# ------------------------------------------------------------------ what mutants have shown


class Recording(Repeater):
    """Gives payloads as they are, in slices of one byte, and notes how it was called."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls: list[tuple[bytes, int, bool, bool, int]] = []

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        self.calls.append((payload, rsv, first, final, limit))
        return [payload[at : at + 1] for at in range(len(payload))]


def test_a_new_reader() -> None:
    plain, extended = Reader().reader, Reader(Repeater(1)).reader
    for reader in (plain, extended):
        assert reader.stirred is False
        assert reader.busy is False
        assert reader.partial is None
    assert plain.batch >= 1 << 60  # what there is
    assert Reader(deliver="chunks").reader.batch >= 1 << 60
    assert extended.batch == 2048  # deflate makes at most 1032 times as much of it
    Reader().add(BINARY, b"a", BOTH)
    assert plain.stirred is False


def test_a_codec_is_told_where_a_piece_stands() -> None:
    codec = Recording()
    one = Reader(codec, max_message_size=9)
    one.add(BINARY, b"whole", BOTH | 0x40)
    one.add(BINARY, b"plain", BOTH)
    one.add(BINARY, b"a", FIRST)
    one.add(BINARY, b"b", 0)
    one.add(BINARY, b"c", LAST)
    assert codec.calls == [
        (b"whole", 0x40, True, True, 9),
        (b"plain", 0, True, True, 9),
        (b"a", 0, True, False, 9),
        (b"b", 0, False, False, 9),
        (b"c", 0, False, True, 9),
    ]
    assert one.take() == [binary(b"whole"), binary(b"plain"), binary(b"abc")]


def test_each_codec_of_several_is_told_the_limit() -> None:
    inner, outer = Recording(), Recording()
    one = Reader(inner, outer, max_message_size=9)
    one.add(BINARY, b"abc", BOTH | 0x60)
    assert outer.calls == [(b"abc", 0x20, True, True, 9)]
    assert inner.calls == [
        (b"a", 0x40, True, False, 9),
        (b"b", 0x40, False, False, 9),
        (b"c", 0x40, False, True, 9),
    ]


def test_a_budget_ends_with_the_event_that_reaches_it() -> None:
    one = Reader(Repeater(10, piece=10), deliver="chunks")
    assert one.add(BINARY, b"abcdef", BOTH | 0x40) == 74
    assert one.resume(0) == 0
    assert one.resume(74) == 74
    assert one.resume(75) == 148
    assert one.busy()
    assert len(one.take()) == 4


def test_the_count_begins_anew_with_each_message() -> None:
    one = Reader(max_message_size=4)
    for _ in range(2):
        one.add(BINARY, b"abcd", LAST)
        one.add(BINARY, b"ab", FIRST)
        one.add(BINARY, b"cd", LAST)
        one.add(BINARY, b"ab", FIRST)
        one.add(BINARY, b"cd", 0)
        one.add(BINARY, b"", LAST)
    assert one.take() == [binary(b"abcd")] * 6


@pytest.mark.parametrize("deliver", ["messages", "chunks"])
@pytest.mark.parametrize("second", [0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0])
@pytest.mark.parametrize("first", [0xEC, 0xED, 0xEE])
@pytest.mark.parametrize("apart", [False, True])
def test_half_a_surrogate_is_bad_at_its_second_byte(
    deliver: Literal["messages", "chunks"], first: int, second: int, apart: bool
) -> None:
    """RFC 3629 4: after ED only 80 to 9F; Python's decoder waits for the third byte."""
    one = Reader(deliver=deliver)
    data = b"a" + bytes((first, second))
    pieces = [(data[:2], FIRST), (data[2:], 0)] if apart else [(data, FIRST)]
    for piece, flags in pieces[:-1]:
        one.add(TEXT, piece, flags)
    if 0x80 <= second <= (0x9F if first == 0xED else 0xBF):
        one.add(TEXT, *pieces[-1])
        one.add(TEXT, b"\x80", LAST)
        return
    with pytest.raises(ProtocolError) as caught:
        one.add(TEXT, *pieces[-1])
    # What follows is not shown: it depends on the cut, and our Close must not.
    expected = f"{first:02x} {second:02x}: invalid continuation byte"
    assert str(caught.value).startswith(f"expected text in UTF-8, got the bytes {expected}")


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\xff", "ff: invalid start byte"),
        (b"\xc3(x", "c3 28: invalid continuation byte"),
        (b"\xe2\x82(x", "e2 82 28: invalid continuation byte"),
        (b"\xf0\x9f\x98", "f0 9f 98: unexpected end of data"),
    ],
)
@pytest.mark.parametrize("flags", [BOTH, LAST])
@pytest.mark.parametrize("text_as_bytes", [False, True])
def test_the_bytes_that_are_shown(data: bytes, shown: str, flags: int, text_as_bytes: bool) -> None:
    one = Reader(text_as_bytes=text_as_bytes)
    with pytest.raises(ProtocolError) as caught:
        one.add(TEXT, data, flags)
    assert str(caught.value).startswith(f"expected text in UTF-8, got the bytes {shown}")


def test_two_bytes_that_wait_are_no_surrogate_after_others() -> None:
    """Only ED is special, and only with exactly its second byte."""
    one = Reader()
    for data in (b"\xe0\xa0", b"\xee\xa0", b"\xf0\xa0", b"\xf1\xa0\xa0", b"\xed", b"\xed\x80"):
        one.reader = Reader().reader
        assert one.add(TEXT, data, FIRST) == 0
        assert one.add(TEXT, b"", 0) == 0
