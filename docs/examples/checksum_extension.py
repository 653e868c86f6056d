"""An extension of one's own: each message ends with a CRC-32, and RSV2 says so."""

import zlib
from dataclasses import dataclass

from wsproto_core import Agreed, ExtensionError, PayloadTooBig

RSV2 = 0x20
SLICE = 64 << 10  # a codec hands out no more at a time


@dataclass(frozen=True)
class Checksum:
    """The setting: an `Extension`. Immutable, so any number of connections may share it."""

    name = "x-checksum"
    rsv = RSV2

    def offers(self):
        """A client makes one offer, without parameters."""
        return ((),)

    def accept(self, offer):
        """A server takes it, and declines what it does not know."""
        return None if offer else Agreed((), lambda role: ChecksumCodec())

    def confirm(self, offers, answer):
        """A client looks at what the server made of the offer."""
        if answer:
            raise ExtensionError(f"expected x-checksum without parameters, got {answer}")
        return Agreed((), lambda role: ChecksumCodec())


class ChecksumCodec:
    """What one connection does to its payloads: a `Codec`. Messages come in pieces of any size."""

    def encode(self, opcode, payload, first, final, compress):
        """Count, and add the sum to the last piece."""
        self.sent = zlib.crc32(payload, 0 if first else self.sent)
        return payload + self.sent.to_bytes(4, "big") if final else payload, RSV2

    def decode(self, payload, rsv, first, final, limit):
        """Hold four bytes back: they may be the sum."""
        if first:
            self.received, self.size, self.held = 0, 0, b""
        if rsv:
            payload = self.held + payload
            payload, self.held = payload[:-4], payload[-4:]
            self.received = zlib.crc32(payload, self.received)
        self.size += len(payload)
        if 0 <= limit < self.size:
            raise PayloadTooBig(f"expected a message of at most {limit} bytes, got more")
        for start in range(0, len(payload), SLICE):
            yield payload[start : start + SLICE]
        if final and rsv and self.held != self.received.to_bytes(4, "big"):
            raise ExtensionError(
                f"expected the CRC-32 {self.received:08x} at the end of the message, "
                f"got {self.held.hex() or 'nothing'}"
            )

    def idle(self):
        """Nothing here can be made again."""
