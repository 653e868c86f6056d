# cython: annotation_typing=False, wraparound=False
"""Frames: bytes to pieces of messages (RFC 6455 section 5).

Only integers and bytes cross this file's border: no enums, no events, no errors with logic.
It decides what the header of a frame decides, at the first byte that decides it: reserved bits,
opcode and fragment order at byte 1, masking and length class at byte 2, size at the last length
byte. What a payload means is ``messages.py``'s business. A violation does not raise: the decoder
stops, gives what came before it, and leaves ``(close code, message, rule)`` in ``fault``.

The source of both builds: ``framing.pxd`` adds the C types of the compiled one. So an integer from
the wire is bounded before it is stored. Tests: ``tests/core/test_framing.py``.
"""

from functools import lru_cache
from typing import Any, Final

from .octets import apply_mask, unmask

__all__ = ["CONTINUED", "FIN", "FrameDecoder"]

# A piece is a control frame or a part of a data message: its head, and its payload, unmasked. The
# head is the first byte of the frame as on the wire, but for the parts of a message: each has the
# opcode (1 or 2) and the reserved bits of the first, and the last one FIN.
_FIN: Final = 0x80
_CONTINUED: Final = 0x100
FIN: Final[int] = _FIN
"""In a head: ends a message; set on control frames too."""
CONTINUED: Final[int] = _CONTINUED
"""In a head: not the first piece of its message."""

# What a first header byte is, by its value; see _kinds().
_ILLEGAL: Final = 0
_WHOLE: Final = 1  # a whole message in one frame
_BEGIN: Final = 2  # the first fragment
_MIDDLE: Final = 3  # a further fragment
_END: Final = 4  # the last fragment
_CONTROL: Final = 5

_COST: Final = 64  # what a piece costs beside its payload when counting against a budget
_UNLIMITED: Final = (1 << 63) - 1  # the largest length a frame can declare


@lru_cache(maxsize=16)  # a table costs 40 µs, and there are no more than these
def _kinds(rsv: int, in_message: bool) -> bytes:
    """What each of the 256 first bytes is, where ``rsv`` are the reserved bits agreed on.

    RFC 6455 5.2 (reserved bits and opcodes), 5.4 (fragment order), 5.5 (control frames are never
    fragmented). Agreed bits belong to a message: they may stand on its first frame only (RFC 7692
    6.1).
    """
    table = bytearray(256)
    for byte in range(256):
        fin, bits, opcode = byte & 0x80, byte & 0x70, byte & 0x0F
        if opcode in (8, 9, 10):
            if fin and not bits:
                table[byte] = _CONTROL
        elif in_message:
            if opcode == 0 and not bits:
                table[byte] = _END if fin else _MIDDLE
        elif opcode in (1, 2) and not bits & ~rsv:
            table[byte] = _WHOLE if fin else _BEGIN
    return bytes(table)


def _why_illegal(byte: int, rsv: int, in_message: bool) -> tuple[int, str, str]:
    """The fault of a first byte that is not in the table."""
    opcode, bits = byte & 0x0F, byte & 0x70
    if opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        return 1002, f"expected an opcode of 0, 1, 2, 8, 9 or 10, got {opcode}", "RFC 6455 5.2"
    if opcode >= 8:
        if bits:
            return 1002, "a control frame must not set a reserved bit", "RFC 6455 5.2"
        return 1002, "a control frame must not be fragmented", "RFC 6455 5.5"
    if bits & ~rsv:
        names = ", ".join(f"RSV{4 - shift}" for shift in (3, 2, 1) if bits & ~rsv & (8 << shift))
        return 1002, f"reserved bit without an extension that uses it: {names}", "RFC 6455 5.2"
    if in_message and opcode:
        return 1002, "expected a continuation frame, got a new message", "RFC 6455 5.4"
    if not in_message and not opcode:
        return 1002, "got a continuation frame with nothing to continue", "RFC 6455 5.4"
    return 1002, "only the first frame of a message may set a reserved bit", "RFC 7692 6.1"


class FrameDecoder:
    """Turns the byte stream of an open connection into pieces. Takes any cut of the stream."""

    fault: tuple[int, str, str] | None
    """The violation that stopped it: close code, message, rule. Nothing is read after it."""

    serial: int
    """Counts the frames begun, so that a caller can tell one unfinished frame from the next."""

    pending: bool
    """Whether bytes were fed that ``decode`` has not looked at, for want of a call or of budget."""

    mid_frame: bool
    """Whether, after ``decode``, a frame has begun of which bytes are still to come."""

    coming: int
    """Payload bytes that are still to come of the frame in progress."""

    def __init__(self, masked: bool, rsv: int, max_frame: int, max_message: int) -> None:
        """Begin at a frame's first byte.

        ``masked``: whether the peer masks (it is a client). ``rsv``: the reserved bits agreed on, a
        mask within 0x70. ``max_frame``, ``max_message``: bytes, or -1 for no limit.
        """
        self.fault = None
        self.serial = 0
        self.pending = False
        self.mid_frame = False
        self._mask_bit = 0x80 if masked else 0
        self._rsv = rsv
        self._max_frame = max_frame if max_frame >= 0 else _UNLIMITED
        self._max_message = max_message if max_message >= 0 else _UNLIMITED
        self._idle_kinds = _kinds(rsv, False)
        self._message_kinds = _kinds(rsv, True)
        self._kinds = self._idle_kinds
        self._head = 0  # of the next piece of the message in progress, without FIN
        self._size = 0  # its payload bytes so far, as on the wire
        self.coming = 0
        self._last = False  # the frame in progress ends its message
        self._key = b""  # its masking key, turned to the next byte
        self._data = b""  # bytes given; those before _pos are decoded
        self._pos = 0
        self._more: bytearray | None = None  # bytes given since
        self._counted = False  # the frame whose header stands at _pos was counted in serial

    @property
    def in_message(self) -> bool:
        """Whether a data message has begun and not ended."""
        return self._kinds is self._message_kinds

    @property
    def opcode(self) -> int:
        """The opcode of the message in progress, or of the last one."""
        return self._head & 0x0F

    def feed(self, data: bytes) -> None:
        """Take more of the stream. Ignored after a fault."""
        if self.fault is not None:
            return
        if not self._data:
            self._data = data
        elif self.pending:
            if self._more is None:
                self._more = bytearray()
            self._more += data
        else:
            # Only the beginning of a frame is left, a few bytes: one copy, not two.
            self._data += data
        self.pending = True

    def skip(self, size: int) -> bytes:
        """Leave to the caller the next ``size`` bytes of the frame in progress, but not its last.

        None of them was fed. Returns the masking key, turned to them; empty without masking.
        """
        key = self._key
        turn = size & 3
        if self._mask_bit and turn:
            self._key = key[turn:] + key[:turn]
        self.coming -= size
        self._head |= _CONTINUED
        return key

    def decode(self, budget: int) -> list[Any]:
        """The next pieces, about ``budget`` bytes of them (payload, and 64 for each): the head of
        each and then its payload, without tuples, for those would be one more for every message.

        With ``pending`` false after it more bytes are needed, or ``fault`` is set. An empty list
        alone says neither: a fragment may be empty.
        """
        pieces: list[Any] = []
        if not self.pending:
            return pieces
        data = self._data
        pos = self._pos
        if self._more:
            data = data[pos:] + self._more
            pos = 0
            self._more = None
        end = len(data)
        mask_bit = self._mask_bit
        kinds = self._kinds

        while budget > 0:
            if self.coming:
                # Inside a data frame whose payload did not come at once.
                start = pos
                taken = end - pos
                if taken > self.coming:
                    taken = self.coming
                pos += taken
                self.coming -= taken
                if mask_bit:
                    part = apply_mask(data, start, pos, self._key)
                    turn = taken & 3
                    if turn:
                        self._key = self._key[turn:] + self._key[:turn]
                else:
                    part = data[start:pos]
                if self.coming:
                    if taken:
                        pieces.append(self._head)
                        pieces.append(part)
                        self._head |= _CONTINUED
                    break
                if self._last:
                    pieces.append(self._head | _FIN)
                    pieces.append(part)
                    kinds = self._kinds = self._idle_kinds
                else:
                    pieces.append(self._head)
                    pieces.append(part)
                    self._head |= _CONTINUED
                budget -= taken + _COST
                continue

            left = end - pos
            if left < 2:
                if left and not kinds[data[pos]]:
                    self._fail_first_byte(data[pos])
                    return pieces
                break
            first = data[pos]
            kind = kinds[first]
            if kind == _ILLEGAL:
                self._fail_first_byte(first)
                return pieces
            length = data[pos + 1] ^ mask_bit
            if length > 127:
                self._fail_mask()
                return pieces
            start = pos + 2
            if length > 125:
                if kind == _CONTROL:
                    self._fail(
                        1002,
                        "a control frame must not have more than 125 bytes of payload",
                        "RFC 6455 5.5",
                    )
                    return pieces
                start = pos + (4 if length == 126 else 10)
                if end < start:
                    break
                length = self._long_length(data, pos)
                if length < 0:
                    return pieces
            if kind != _CONTROL and not self._within_limits(kind, length):
                return pieces
            if mask_bit:
                start += 4
                if end < start:
                    break
            if length > end - start:
                if kind == _CONTROL:
                    break
                # A data frame whose payload is still to come: give what is there.
                self._begin(first, kind, length)
                if mask_bit:
                    self._key = data[start - 4 : start]
                self._count()
                self._counted = False
                pos = start
                if pos == end:
                    break
                continue

            # The whole frame is here.
            stop = start + length
            if mask_bit and length:
                payload = unmask(data, start, stop)
            else:
                payload = data[start:stop]
            if self._counted:
                self._counted = False
            else:
                self.serial += 1
            pos = stop
            if kind in (_WHOLE, _CONTROL):
                pieces.append(first)
                pieces.append(payload)
            else:
                if kind == _BEGIN:
                    self._head = first
                    self._size = 0
                    kinds = self._kinds = self._message_kinds
                self._size += length
                if kind == _END:
                    pieces.append(self._head | _FIN)
                    pieces.append(payload)
                    kinds = self._kinds = self._idle_kinds
                elif length:
                    pieces.append(self._head)
                    pieces.append(payload)
                    self._head |= _CONTINUED
                else:
                    budget -= 1
                    continue
            budget -= length + _COST

        self.mid_frame = self.coming > 0
        if pos == end:
            self._data = b""
            self._pos = 0
            self.pending = False
        elif budget > 0:
            # Everything was looked at; what is left is the beginning of a frame, a few bytes.
            self._data = data[pos:]
            self._pos = 0
            self.pending = False
            self.mid_frame = True
            self._count()
        else:
            # Nothing is copied here: a large read may take many calls.
            self._data = data
            self._pos = pos
        return pieces

    def _count(self) -> None:
        if not self._counted:
            self._counted = True
            self.serial += 1

    def _begin(self, first: int, kind: int, length: int) -> None:
        if kind <= _BEGIN:
            self._head = first & ~_FIN
            self._size = 0
            self._kinds = self._message_kinds
        self._size += length
        self.coming = length
        self._last = kind in (_WHOLE, _END)

    def _long_length(self, data: bytes, pos: int) -> int:
        """The 16-bit or 64-bit length at ``pos + 2``, or -1 with the fault set.

        The 64-bit one is bounded before it is used for anything (RFC 6455 5.2: the top bit is 0,
        and the shortest form must be used; a 1002 comes before any limit counts).
        """
        if data[pos + 1] & 0x7F == 126:
            length = data[pos + 2] << 8 | data[pos + 3]
            least = 126
        else:
            if data[pos + 2] & 0x80:
                self._fail(1002, "a 64-bit length must have its top bit clear", "RFC 6455 5.2")
                return -1
            length = int.from_bytes(data[pos + 2 : pos + 10], "big")
            least = 0x10000
        if length < least:
            self._fail(
                1002,
                f"expected the shortest form of the length, got {length} in a longer one",
                "RFC 6455 5.2",
            )
            return -1
        return length

    def _within_limits(self, kind: int, length: int) -> bool:
        """Whether a data frame fits; else the fault is set, before any payload byte is read."""
        if length > self._max_frame:
            self._fail(
                1009,
                f"frame of {length} bytes is over the limit of {self._max_frame}",
                "RFC 6455 10.4",
            )
            return False
        before = 0 if kind <= _BEGIN else self._size
        if length > self._max_message - before:  # the sum could be more than 63 bits hold
            self._fail_message(before, length)
            return False
        return True

    def _fail_message(self, before: int, length: int) -> None:
        self._fail(
            1009,
            f"message of {before + length} bytes or more is over the limit of {self._max_message}",
            "RFC 6455 10.4",
        )

    def _fail_first_byte(self, byte: int) -> None:
        self._fail(*_why_illegal(byte, self._rsv, self.in_message))

    def _fail_mask(self) -> None:
        if self._mask_bit:
            self._fail(
                1002, "expected a masked frame from a client, got it unmasked", "RFC 6455 5.1"
            )
        else:
            self._fail(
                1002, "expected an unmasked frame from a server, got it masked", "RFC 6455 5.1"
            )

    def _fail(self, code: int, message: str, rule: str) -> None:
        self.fault = (code, message, rule)
        self.pending = False
        self._data = b""
        self._more = None
