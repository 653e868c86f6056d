"""The loops over octets: masking, whole frames, UTF-8 (RFC 6455 sections 5.2, 5.3 and 8.1).

They are apart because they alone have a second source: ``octets.pyx``, in C, which the compiled
build uses in place of this file. This one is the reference; both give the same for every input. It
knows nothing of connections. Tests: ``tests/core/test_octets.py``.
"""

from codecs import utf_8_decode
from struct import Struct
from typing import Final

__all__ = ["Gather", "apply_mask", "encode_frame", "encode_header", "unmask", "utf8_rest"]

# _XOR[k] maps each byte b to b ^ k, for bytes.translate.
_XOR: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))

# Below this size one big-integer XOR is quicker than four translated slices (measured: 0.3 µs
# against 0.8 µs at 32 bytes, even at about 600, 200 against 70 µs at 64 KiB).
_SMALL: Final = 600
_number: Final = int.from_bytes  # big-endian, which is the default

# For each size: what a key, as a number, is multiplied with to be repeated over it, and the bits
# that are too many then.
_PADS: Final = tuple(
    (sum(1 << 8 * at for at in range(0, size, 4)), -size % 4 * 8) for size in range(126)
)
_short: Final = Struct(">BB").pack
_short_masked: Final = Struct(">BB4s").pack


def apply_mask(data: bytes, start: int, stop: int, key: bytes) -> bytes:
    """``data[start:stop]`` with octet i XORed with ``key[i % 4]``; unmasking is the same.

    ``0 <= start <= stop <= len(data)`` and a key of four bytes are the caller's part.
    """
    part = data[start:stop]
    size = len(part)
    if size < _SMALL:
        pad = (key * ((size >> 2) + 1))[:size]
        return (_number(part) ^ _number(pad)).to_bytes(size)
    result = bytearray(part)
    result[0::4] = result[0::4].translate(_XOR[key[0]])
    result[1::4] = result[1::4].translate(_XOR[key[1]])
    result[2::4] = result[2::4].translate(_XOR[key[2]])
    result[3::4] = result[3::4].translate(_XOR[key[3]])
    return bytes(result)


def unmask(data: bytes, start: int, stop: int) -> bytes:
    """``data[start:stop]`` unmasked with the key that stands right before ``start``."""
    return apply_mask(data, start, stop, data[start - 4 : start])


def encode_header(first: int, length: int, mask_bit: int) -> bytes:
    """A frame's header without the masking key, in the shortest form (RFC 6455 5.2).

    ``mask_bit`` is 0x80 or 0.
    """
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 0x10000:
        return bytes((first, mask_bit | 126, length >> 8, length & 0xFF))
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")


def encode_frame(first: int, payload: bytes, key: bytes) -> bytes:
    """A whole frame; ``key`` is four bytes to mask with, or empty for none."""
    size = len(payload)
    if key:
        if size < 126:  # most frames come here: all in one number, which takes the fewest calls
            repeat, spare = _PADS[size]
            pad = _number(key) * repeat >> spare
            frame = _number(_short_masked(first, 0x80 | size, key) + payload) ^ pad
            return frame.to_bytes(size + 6)
        payload = key + apply_mask(payload, 0, size, key)
        return encode_header(first, size, 0x80) + payload
    if size < 126:
        return _short(first, size) + payload
    return encode_header(first, size, 0) + payload


_LARGE: Final = 16 << 10  # bytes: a part from here on is kept as it is until the end


class Gather:
    """Bytes that come in parts and are wanted whole.

    Small parts are joined as they come, so its memory is bounded by the bytes and not by how they
    were cut. In C all are written where they stay, and none is copied twice.
    """

    __slots__ = ("_parts", "_tail", "size")

    size: int
    """How many there are."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # each followed by ...
        self._tail = bytearray()  # ... what came since
        self.size = 0

    def add(self, data: bytes, coming: int) -> None:
        """Take a part; ``coming`` bytes more are announced, and may never come."""
        self.size += len(data)
        if len(data) < _LARGE:
            self._tail += data
            return
        if self._tail:
            self._parts.append(bytes(self._tail))
            self._tail.clear()
        self._parts.append(data)

    def add_masked(
        self, data: bytes | bytearray | memoryview, size: int, key: bytes, coming: int
    ) -> bool:
        """``add`` the first ``size`` of ``data``, unmasked with ``key`` if there is one. Whether
        they are ASCII, which in C is seen in passing."""
        part = bytes(data[:size])
        if key:
            part = apply_mask(part, 0, size, key)
        self.add(part, coming)
        return part.isascii()

    def last(self, size: int) -> bytes:
        """The last ``size`` of them, which came in one part."""
        return bytes(self._tail[-size:]) if self._tail else self._parts[-1][-size:]

    def rest(self, held: bytes, size: int) -> int:
        """``utf8_rest`` of the last ``size`` of them, which came in one part."""
        return utf8_rest(held, self.last(size), False)

    def peek(self) -> bytes:
        """All of them."""
        return b"".join((*self._parts, self._tail))

    def take(self) -> bytes:
        """All of them; none is left."""
        whole = self.peek()
        self._parts.clear()
        self._tail.clear()
        self.size = 0
        return whole


_NOT_AFTER_ED: Final = range(0xA0, 0xC0)  # second bytes of surrogates (RFC 3629 section 4)


def utf8_rest(held: bytes, data: bytes, final: bool) -> int:
    """Check a part of a text: how many of its last bytes are half a character, or -1 if it is bad.

    ``held`` are the 0 to 3 bytes of half a character that the part before ended with. It is bad at
    the first byte that cannot be right; with ``final``, also if half a character is left.
    """
    if not held and data.isascii():
        return 0
    whole = held + data
    try:
        _, used = utf_8_decode(whole, "strict", final)
    except UnicodeDecodeError:
        return -1
    rest = len(whole) - used
    if rest == 2 and whole[used] == 0xED and whole[used + 1] in _NOT_AFTER_ED:
        return -1  # CPython waits for the third byte of what can only be a surrogate
    return rest
