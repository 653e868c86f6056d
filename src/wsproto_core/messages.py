# cython: annotation_typing=False
"""Pieces to messages: joining, UTF-8, the limit after decoding (RFC 6455 sections 5.4, 5.6, 8.1).

It does not see headers (``framing.py`` has judged them) and sends nothing. UTF-8 is checked while a
message arrives, also inside a frame, so that bad text fails at the first byte that cannot be right.
A message in progress is a ``Gather``: its memory is bounded by its bytes, not by how it was cut.
Tests: ``tests/core/test_messages.py``.
"""

from codecs import utf_8_decode
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .config import Config
from .enums import CloseCode, OpCode
from .errors import PayloadTooBig, ProtocolError
from .events import Chunk, Event, Message
from .framing import CONTINUED, FIN
from .octets import Gather, utf8_rest
from .outgoing import Buffer

if TYPE_CHECKING:
    from .extensions.base import Codec

__all__ = ["MessageReader", "text_fault"]

_TEXT: Final = int(OpCode.TEXT)
_OP_TEXT: Final = OpCode.TEXT
_OP_BINARY: Final = OpCode.BINARY
_FIN: Final[int] = FIN
_CONTINUED: Final[int] = CONTINUED
_PART: Final[int] = FIN | CONTINUED
_OPCODE: Final = 0x0F
_COST: Final = 64  # what an event costs beside its payload, as in framing
_BATCH: Final = 2 << 10  # inflates to 2 MiB at most, where a read of 64 KiB would give 64 MiB
_NO_BATCH: Final = 1 << 62
_NO_SLICES: Final[Iterator[tuple[bytes, bool]]] = iter(())

# Large messages come and go. glibc's malloc gives what lies free at the end of the heap back to the
# system if it is more than twice the largest block that was ever mapped and freed, and to get such
# pages back takes several times as long as to fill them. So one is mapped and freed, untouched.
bytearray(4 << 20)


class MessageReader:
    """Makes ``Message`` or ``Chunk`` events of the pieces of one connection."""

    batch: int
    """Bytes of pieces to read before looking at what came of them. What an extension makes of a
    piece is not known before, so little with one; and with chunks, which are made as ``resume``
    asks for them, a single piece."""

    busy: bool
    """Whether ``resume`` has more to give of the last piece."""

    coming: int
    """For the caller to set: bytes that are still to come of the frame in progress."""

    plain: bool
    """Whether messages are delivered whole, as they come: without extensions. Most are."""

    stirred: bool
    """Whether a piece has gone through an extension since this was last set to false."""

    def __init__(self, config: Config, codecs: Sequence["tuple[Codec, int]"] = ()) -> None:
        """``codecs``: each with the reserved bits it claims, in the order of the response."""
        self._codecs = tuple(reversed(codecs))  # undone in reverse (RFC 6455 9.1)
        self._chunks = config.deliver == "chunks"
        self._text_as_bytes = config.text_as_bytes
        self._limit = -1 if config.max_message_size is None else config.max_message_size
        self.batch = _NO_BATCH if not codecs else 1 if self._chunks else _BATCH
        self._only = self._codecs[0] if len(self._codecs) == 1 and not self._chunks else None
        self.plain = not codecs and not self._chunks  # what most connections are
        self.busy = False
        self.stirred = False
        self.coming = 0
        self._gather = Gather()  # of the message in progress
        self._size = 0  # bytes of the message in progress, decoded
        self._held = b""  # half a character that its text ends with so far
        self._first = True  # the next chunk is the first of its message
        self._slices = _NO_SLICES  # what a codec has still to give
        self._opcode = 0

    @property
    def partial(self) -> bytes | None:
        """What is there of the message in progress; ``None`` outside a message or with chunks."""
        return self._gather.peek() if self._gather.size else None

    def add(self, head: int, data: bytes, out: list[Event]) -> int:
        """Take one piece of a data message and append to ``out`` what it completes.

        ``head``: as ``framing`` gives it. Returns what the events cost (payload, and 64 for each).
        Raises ``ProtocolError`` for text that is not UTF-8, ``PayloadTooBig`` or ``ExtensionError``
        from an extension: all the peer's. While ``busy``, call ``resume`` before the next piece.
        """
        opcode = head & _OPCODE
        if self.plain and head & _PART == _FIN:  # whole in one piece
            out.append(self._message(opcode, data))
            return len(data) + _COST
        if self._codecs:
            self._opcode = opcode
            self.stirred = True
            if self._only is not None:
                # What most pieces are: of one slice, through one extension.
                codec, rsv = self._only
                last = bool(head & _FIN)
                first = not head & _CONTINUED
                slices = codec.decode(data, rsv & head, first, last, self._limit)
                if type(slices) is tuple and len(slices) == 1:
                    return self._take(opcode, slices[0], last, out)
                self._slices = _mark_last(slices, last)
            else:
                self._slices = self._decoded(data, head)
            self.busy = True
            return self.resume(out, _COST if self._chunks else -1)
        return self._take(opcode, data, bool(head & _FIN), out)

    def absorb(self, opcode: int, data: Buffer, size: int, key: bytes) -> None:
        """Take the first ``size`` bytes of ``data``, masked with ``key``, from inside a frame.

        If ``plain``, and not the last of their frame: where much comes, it is written once.
        """
        gather = self._gather
        is_ascii = gather.add_masked(data, size, key, self.coming)
        self._size += size
        if opcode == _TEXT and (self._held or not is_ascii):
            rest = gather.rest(self._held, size)
            if rest < 0:
                raise _bad_text(text_fault(self._held, gather.last(size), False)) from None
            self._held = (self._held + gather.last(min(size, 3)))[-rest:] if rest else b""

    def resume(self, out: list[Event], budget: int) -> int:
        """Go on with the last piece, for about ``budget`` bytes of events (-1: to its end)."""
        cost = 0
        while self.busy and (budget < 0 or cost < budget):
            try:
                data, final = next(self._slices)
            except StopIteration:
                self.busy = False
            else:
                cost += self._take(self._opcode, data, final, out)
        return cost

    def _take(self, opcode: int, data: bytes, final: bool, out: list[Event]) -> int:
        """One decoded slice of the message in progress."""
        self._size += len(data)
        if self._limit >= 0 and self._size > self._limit:
            raise PayloadTooBig(
                f"message of {self._size} bytes or more is over the limit of {self._limit}"
            )
        if self._chunks:
            return self._take_chunk(opcode, data, final, out)
        if final and not self._gather.size:
            # It came in one slice after all.
            self._size = 0
            out.append(self._message(opcode, data))
            return len(data) + _COST
        if opcode == _TEXT:
            self._check_text(data, final)
        coming = self.coming
        if self._codecs:
            # What an extension makes of the rest is not known: as much again, for a guess.
            coming = max(coming, self._gather.size)
            if self._limit >= 0:
                coming = min(coming, self._limit - self._size)
        self._gather.add(data, coming)
        if not final:
            return 0
        whole = self._gather.take()
        self._size = 0
        value: str | bytes = whole
        if opcode == _TEXT and not self._text_as_bytes:
            value = whole.decode()
        out.append(Message(value, _OP_TEXT if opcode == _TEXT else _OP_BINARY))
        return len(whole) + _COST

    def _take_chunk(self, opcode: int, data: bytes, final: bool, out: list[Event]) -> int:
        value: str | bytes = data
        if opcode == _TEXT:
            held = self._held
            self._check_text(data, final)
            if not self._text_as_bytes:
                whole = held + data
                value = whole[: len(whole) - len(self._held)].decode()
        first = self._first
        self._first = final
        if final:
            self._size = 0
        elif not value:
            # Nothing to show yet: half a character, or an empty slice.
            self._first = first
            return 0
        out.append(Chunk(value, _OP_TEXT if opcode == _TEXT else _OP_BINARY, first, final))
        return len(data) + _COST

    def _message(self, opcode: int, data: bytes) -> Message:
        """The event of a message that came in one slice."""
        if opcode != _TEXT:
            return _made(data, _OP_BINARY)
        if self._text_as_bytes:
            self._check_text(data, True)
            return _made(data, _OP_TEXT)
        try:
            return _made(data.decode(), _OP_TEXT)
        except UnicodeDecodeError as error:
            raise _bad_text(error) from None

    def _check_text(self, data: bytes, final: bool) -> None:
        rest = utf8_rest(self._held, data, final)
        if rest < 0:
            raise _bad_text(text_fault(self._held, data, final)) from None
        self._held = (self._held + data)[-rest:] if rest else b""

    def _decoded(self, data: bytes, head: int) -> Iterator[tuple[bytes, bool]]:
        """The slices of a piece after all codecs, each with whether it ends the message."""
        last = bool(head & _FIN)
        slices: Iterable[bytes] = (data,)
        for codec, rsv in self._codecs:
            slices = self._through(codec, rsv & head, slices, not head & _CONTINUED, last)
        return _mark_last(slices, last)

    def _through(
        self, codec: "Codec", rsv: int, slices: Iterable[bytes], first: bool, last: bool
    ) -> Iterator[bytes]:
        held: bytes | None = None
        for item in slices:
            if held is not None:
                yield from codec.decode(held, rsv, first, False, self._limit)
                first = False
            held = item
        yield from codec.decode(held or b"", rsv, first, last, self._limit)


def _made(data: str | bytes, opcode: OpCode) -> Message:
    message = Message.__new__(Message)  # in C an allocation and no more, unlike Message()
    message.data = data  # type: ignore[misc]  # final once it is out
    message.opcode = opcode  # type: ignore[misc]  # final once it is out
    return message


def _mark_last(slices: Iterable[bytes], last: bool) -> Iterator[tuple[bytes, bool]]:
    """Each slice of a piece, with whether it ends the message.

    The last slice of a last piece must be known as such, so one slice is held back; it is bounded,
    as is all that a codec gives at once.
    """
    held: bytes | None = None
    for item in slices:
        if held is not None:
            yield held, False
        held = item
    if held is not None or last:
        yield held or b"", last


def text_fault(held: bytes, data: bytes, final: bool) -> UnicodeDecodeError:
    """What is wrong with a text for which ``utf8_rest(held, data, final)`` is negative."""
    whole = held + data
    try:
        _, used = utf_8_decode(whole, "strict", final)
    except UnicodeDecodeError as error:
        return error
    # A surrogate whose third byte did not come yet.
    return UnicodeDecodeError("utf-8", whole, used, used + 1, "invalid continuation byte")


def _bad_text(error: UnicodeDecodeError) -> ProtocolError:
    # Up to the byte that cannot be right and no further: the rest may not have come yet, and the
    # text goes out in our Close, which must not depend on how the stream was cut.
    end = error.end + (error.reason == "invalid continuation byte")
    wrong = error.object[error.start : end]
    return ProtocolError(
        f"expected text in UTF-8, got the bytes {wrong.hex(' ')}: {error.reason}",
        close_code=CloseCode.INVALID_PAYLOAD,
        rule="RFC 6455 8.1",
    )
