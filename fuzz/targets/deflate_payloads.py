"""Payloads of permessage-deflate, inflated; and messages, deflated and inflated again.

Invariant: inflating gives the same bytes or the same close code however a message was cut, never
more than its limit and one slice, and each slice is at most 64 KiB; it gives what a plain inflater
gives where there is no final block. What we deflate, we and a plain inflater read as it was.

Allowed exceptions: ``PayloadTooBig`` and ``ExtensionError`` of ``decode``. A distance over a small
window, but not over two of them, may be refused or not, as the message is cut
(``docs/decisions/0013-permessage-deflate.md``).

The first byte chooses parameters, the second the cut, the third the limit; then messages follow,
each behind its length in two bytes. Odd messages are payloads to inflate, even ones to deflate.
"""

import zlib
from collections.abc import Hashable
from typing import Final

from wsproto_core import Agreed, Codec, ExtensionError, PayloadTooBig, ProtocolError, Role
from wsproto_core.extensions import PerMessageDeflate

from ..harness import Source, cut, require

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_SLICE: Final = 64 << 10
_TAIL: Final = b"\x00\x00\xff\xff"
_LIMITS: Final = (-1, 0, 1, 100, 1000, 70_000, 300_000)


def _agreed(offer: tuple[tuple[str, str | None], ...]) -> Agreed:
    agreed = PerMessageDeflate(backend="zlib", threshold=0).accept(offer)
    assert agreed is not None
    return agreed


_AGREED: Final = (
    _agreed(()),
    _agreed((("client_no_context_takeover", None), ("server_no_context_takeover", None))),
    _agreed((("client_max_window_bits", "9"), ("server_max_window_bits", "9"))),
    _agreed((("server_max_window_bits", "15"),)),
)
_FRESH: Final = (False, True, False, False)


def _deflated(
    data: bytes, *, level: int = 6, bits: int = 9, mode: int = zlib.Z_SYNC_FLUSH
) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -bits)
    made = deflater.compress(data) + deflater.flush(mode)
    return made[:-4] if mode == zlib.Z_SYNC_FLUSH else made


def _messages(*payloads: bytes) -> bytes:
    return b"".join(len(payload).to_bytes(2, "big") + payload for payload in payloads)


_STREAMS: Final = (
    _messages(bytes.fromhex("f248cdc9c90700"), b"hello", bytes.fromhex("f200110000")),
    _messages(bytes.fromhex("f3 48 cd c9 c9 07 00 00"), b"", bytes.fromhex("02 00"), b"abc" * 20),
    _messages(_deflated(b"abcdef" * 50), b"abcdef" * 50, _deflated(b"abcdef" * 50)),
    _messages(_deflated(b"final", mode=zlib.Z_FINISH), b"x", _deflated(b"after")),
    _messages(_deflated(b"a", mode=zlib.Z_FINISH) + _deflated(b"b", mode=zlib.Z_FINISH), b"y" * 70),
    _messages(_deflated(bytes(100_000)), bytes(1000), _deflated(b"", level=0)),
    _messages(_deflated(b"stored" * 9, level=0), b"\xff\x00", bytes(5) + _TAIL + b"\x00"),
    _messages(_deflated(bytes(range(256))), bytes(range(256)), b"\x07" + bytes(9)),
)
SEEDS: Final = tuple(
    bytes([options, (place * 31 + options) & 0xFF, place + options]) + stream
    for place, stream in enumerate(_STREAMS)
    for options in range(4)
)
TOKENS: Final = (
    _TAIL, b"\x00" + _TAIL, b"\x01\x00\x00\xff\xff", b"\x03\x00", b"\x02\x00", b"\x07",
    bytes.fromhex("f248cdc9c90700"), b"\x00\x01\x00\xfe\xffa", b"\x4b\x04\x00", b"\x00\x02\x03\x00",
    _deflated(bytes(5000)), _deflated(b"a", mode=zlib.Z_FINISH), b"\x00\x00",
)  # fmt: skip
STEPS: Final = (1_500, 80)
MEMORY: Final = (1_200_000, 1000)


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    source = Source(data)
    options, pattern = source.byte() & 3, source.byte()
    limit = _LIMITS[source.byte() % len(_LIMITS)]
    agreed = _AGREED[options]
    whole, pieces = agreed.codec(Role.SERVER), agreed.codec(Role.SERVER)
    sender, receiver = agreed.codec(Role.SERVER), agreed.codec(Role.CLIENT)
    bits = 9 if options == 2 else 15 if options == 3 else 12
    plain = None if options == 1 else zlib.decompressobj(-15)
    reader = zlib.decompressobj(-bits)
    outcome: list[Hashable] = [options]
    before = b""
    number = 0
    alive = True
    while source and number < 12:
        payload = source.take(source.number() % 1200)
        number += 1
        if number % 2:
            if not alive:
                continue
            got, code = _inflate(whole, [payload], limit)
            other, other_code = _inflate(pieces, cut(payload, pattern) or [b""], limit)
            if {code, other_code} == {None, 1007} and _is_too_far(payload, before, bits):
                alive = False  # what follows depends on the cut as well
            elif code is None or other_code is None:
                require(code == other_code, "the outcome depends on the cut", code, other_code)
                require(got == other, "the bytes depend on the cut", len(got), len(other))
            else:
                alive = False
            before = (before + got)[-(1 << bits) :]
            if plain is not None:
                plain = _plain_agrees(plain, payload, got, code, limit)
            outcome.append((code, len(got).bit_length()))
        else:
            _round_trip(sender, receiver, reader, payload, pattern, _FRESH[options])
            if _FRESH[options]:
                reader = zlib.decompressobj(-bits)
    return tuple(outcome)


def _inflate(codec: Codec, parts: list[bytes], limit: int) -> tuple[bytes, int | None]:
    """What comes out of one message given in these parts, and the close code if it fails."""
    got = bytearray()
    last = len(parts) - 1
    try:
        for place, part in enumerate(parts):
            for item in codec.decode(part, 0x40, place == 0, place == last, limit):
                require(len(item) <= _SLICE, "a large slice", len(item))
                got += item
                require(limit < 0 or len(got) <= limit, "over the limit", len(got), limit)
    except PayloadTooBig as error:
        return bytes(got), error.close_code
    except ExtensionError as error:
        return bytes(got), error.close_code
    except ProtocolError as error:
        require(False, "an error of another kind", error)
    return bytes(got), None


def _is_too_far(payload: bytes, before: bytes, bits: int) -> bool:
    """Whether a distance passes the window: zlib sees each if it may put out one byte at a time."""
    data = payload if payload.endswith(_TAIL) else payload + _TAIL
    reader = zlib.decompressobj(-bits, zdict=before)
    try:
        while data or reader.unconsumed_tail:
            byte = reader.decompress(data, 1)
            before = (before + byte)[-(1 << bits) :]
            data = reader.unconsumed_tail
            if reader.eof:
                data = reader.unused_data
                reader = zlib.decompressobj(-bits, zdict=before)
            elif not byte and not data:
                return False
    except zlib.error as error:
        return "too far back" in str(error)
    return False


def _plain_agrees(
    plain: "zlib._Decompress", payload: bytes, got: bytes, code: int | None, limit: int
) -> "zlib._Decompress | None":
    """Compare with a plain inflater, up to the first final block or fault."""
    if not payload or payload.endswith(_TAIL):
        return None
    try:
        expected = plain.decompress(payload + _TAIL, 400_000)
    except zlib.error:
        require(code is not None, "inflated what zlib cannot", payload)
        return None
    if plain.eof or plain.unconsumed_tail or len(expected) == 400_000:
        return None
    if 0 <= limit < len(expected):
        require(code is not None, "the limit did not count", len(expected), limit)
        return None
    if code == 1007:
        return None  # a reference beyond the agreed window, or into a message that failed
    require(code is None and got == expected, "inflated otherwise than zlib", code, payload)
    return plain


def _round_trip(
    sender: Codec,
    receiver: Codec,
    reader: "zlib._Decompress",
    message: bytes,
    pattern: int,
    fresh: bool,
) -> None:
    parts = cut(message, pattern) or [b""]
    last = len(parts) - 1
    wire = bytearray()
    got = bytearray()
    bit = 0
    for place, part in enumerate(parts):
        data, rsv = sender.encode(2, part, place == 0, place == last, True)
        bit = rsv if place == 0 else bit
        wire += data
        for item in receiver.decode(data, bit, place == 0, place == last, -1):
            got += item
    require(bit == 0x40, "not compressed", bit)
    require(bytes(got) == message, "not the same message", message, bytes(wire))
    require(not wire.endswith(_TAIL) or not message, "the tail was left on", bytes(wire))
    require(reader.decompress(bytes(wire) + _TAIL) == message, "zlib reads another message", wire)
