# cython: annotation_typing=False
"""permessage-deflate: messages compressed with DEFLATE (RFC 7692), for both roles.

``PerMessageDeflate`` is the setting and the negotiation (sections 5 and 7.1), ``_DeflateCodec``
what is done to the messages of one connection (sections 6 and 7.2). Neither knows frames, heads or
connections; which library deflates is ``_zlib.py``'s business, and no DEFLATE data is read here.

What there is to know before changing it:

* Memory is the cost of this extension, so both windows are small where the peer lets us
  (``DEFAULT_WINDOW_BITS``), contexts are made at first use, and ``idle`` drops all but the last
  2**bits bytes of the peer's output, of which the inflater can be made again.
* A sender may forget its window whenever it likes: what it sends then just does not refer back. So
  a deflater may always be dropped, also with context takeover. An inflater may not.
* zlib stops at a final block (BFINAL). The stream goes on behind it, with its window; hence the
  kept output, which primes the next inflater.
* ``decompress(data, n)`` may hold back output although it used up its input. Less than ``n`` bytes
  is the only sign that there is no more.

Tests: ``tests/core/test_deflate.py``, ``tests/core/test_conformance_deflate.py``.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple, NoReturn

from ..enums import CloseCode, Role
from ..errors import ExtensionError, PayloadTooBig
from ._zlib import Backend, Deflater, Inflater, choose
from .base import Agreed, Params

__all__ = ["DEFAULT_WINDOW_BITS", "PerMessageDeflate"]

DEFAULT_WINDOW_BITS: Final = 12
"""Window of our deflater, and what a server asks of a client, unless the settings say otherwise.

2**12 bytes: a deflater then takes 38 KiB instead of 268, an inflater 11 instead of 40. The price
measured on text: 35 % of the bytes are left instead of 29 %; on small JSON, 25 % instead of 23 %.
"""

_NAME: Final = "permessage-deflate"
_RSV1: Final = 0x40
_SERVER_FRESH: Final = "server_no_context_takeover"
_CLIENT_FRESH: Final = "client_no_context_takeover"
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"

# What a window size may look like on the wire (RFC 7692 section 7.1.2): no zeros in front, no
# signs, no digits of other scripts, so no int().
_BITS: Final = {str(bits): bits for bits in range(8, 16)}
_LARGEST: Final = 15

# zlib makes no window of 2**8 bytes: older versions quietly took 2**9, newer ones refuse.
_NOT_DEFLATED: Final = 8


class _Terms(NamedTuple):
    """The parameters of one offer or answer."""

    server_fresh: bool
    client_fresh: bool
    server_bits: int | None
    client_bits: int | Literal[True] | None  # True: named without a value (offers only)

    @property
    def params(self) -> Params:
        """As they go on the wire."""
        found: list[tuple[str, str | None]] = []
        if self.server_fresh:
            found.append((_SERVER_FRESH, None))
        if self.client_fresh:
            found.append((_CLIENT_FRESH, None))
        if self.server_bits is not None:
            found.append((_SERVER_BITS, str(self.server_bits)))
        if self.client_bits is not None:
            value = None if self.client_bits is True else str(self.client_bits)
            found.append((_CLIENT_BITS, value))
        return tuple(found)


def _read_terms_untrusted(params: Params, *, bare: bool) -> _Terms:
    """Read the parameters of an offer (``bare`` allows client_max_window_bits without value).

    Raises ``ValueError`` for what RFC 7692 section 7 forbids: unknown or repeated parameters, and
    values that are missing, misplaced or not well formed.
    """
    flags = {_SERVER_FRESH: False, _CLIENT_FRESH: False}
    bits: dict[str, int | Literal[True] | None] = {_SERVER_BITS: None, _CLIENT_BITS: None}
    for key, value in params:
        if key in flags:
            if flags[key]:
                raise ValueError(f"expected {key} once, got it twice")
            if value is not None:
                raise ValueError(f"expected {key} without a value, got {value[:40]!a}")
            flags[key] = True
        elif key in bits:
            if bits[key] is not None:
                raise ValueError(f"expected {key} once, got it twice")
            if value is None:
                if not bare or key == _SERVER_BITS:
                    raise ValueError(f"expected a value of {key}, got none")
                bits[key] = True
            elif value in _BITS:
                bits[key] = _BITS[value]
            else:
                raise ValueError(f"expected 8 to 15 as the value of {key}, got {value[:40]!a}")
        else:
            raise ValueError(f"expected parameters of {_NAME}, got {key[:40]!a}")
    server_bits = bits[_SERVER_BITS]
    assert server_bits is not True
    return _Terms(flags[_SERVER_FRESH], flags[_CLIENT_FRESH], server_bits, bits[_CLIENT_BITS])


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMessageDeflate:
    """The settings of permessage-deflate; give it as ``Config(extensions=[PerMessageDeflate()])``.

    The same object serves clients and servers. Several of them in ``Config.extensions`` are offers
    in that order of preference (client), or ways to accept an offer that are tried in that order
    (server). Raises ``TypeError`` or ``ValueError`` with the field's name for what cannot be meant.

    Compressing secrets beside text that an attacker chooses tells him the secrets by the size of
    the frames (RFC 7692 section 8): send such messages with ``compress=False``.
    """

    server_no_context_takeover: bool = False
    """Whether the server is to forget its window after each message: frees its deflater between
    messages, and costs it most of the gain on small ones. Client: asked for, and an answer without
    it is refused. Server: named in every answer."""

    client_no_context_takeover: bool = False
    """The same for the client's messages. Client: done in any case, and told to the server.
    Server: demanded in every answer."""

    server_max_window_bits: int | None = None
    """The window of the server's messages, 8 to 15 (2**n bytes). Client: asked for, and an answer
    without it is refused. Server: the most it uses; named in every answer. ``None``: a client asks
    for nothing (the window may be 15), a server uses ``DEFAULT_WINDOW_BITS`` and names it only if
    asked. A server cannot keep to 8, which zlib does not make, and declines it."""

    client_max_window_bits: int | Literal[True] | None = True
    """The window of the client's messages, 8 to 15. Client: the most it uses, told to the server;
    8 means that it sends its messages plain. Server: demanded of clients that allow it. ``True``: a
    client uses ``DEFAULT_WINDOW_BITS`` and lets the server ask for less, a server demands
    ``DEFAULT_WINDOW_BITS``. ``None``: a client lets the server ask for nothing, a server demands
    nothing."""

    require_client_max_window_bits: bool = False
    """Server: decline offers that do not let ``client_max_window_bits`` be demanded, so that no
    connection can have a larger inflater."""

    accept_client_no_context_takeover: bool = True
    """Server: whether a client that would forget its window is held to it by the answer, which
    frees our inflater between its messages (RFC 7692 section 7.1.1.2)."""

    level: int = 4
    """1 (fast) to 9 (small). 4 is the first with lazy matching: three quarters of the time of
    zlib's usual 6 for 2 % more bytes."""

    mem_level: int = 5
    """1 to 9: 2**(n+9) bytes of each deflater. 5 (16 KiB) is as much as the window of 12; 8, which
    is zlib's usual, takes 128 KiB and gains 1 % of the bytes."""

    threshold: int = 128
    """Bytes: shorter messages (or, of a message in pieces, a shorter first piece) go out plain
    unless ``compress=True`` asks otherwise. Below 128 a message fits the smallest packet anyway,
    whose other headers take 66 bytes; deflating it would cost 4 microseconds."""

    backend: Literal["auto", "zlib", "zlib-ng", "isal"] = "auto"
    """The library: ``"auto"`` takes the fastest that is installed (extra ``speed``), ``"isal"``
    deflates only (zlib inflates). The fast ones take more memory for each deflater in use: isal
    110 KiB, zlib-ng 160, zlib 38. One that is not installed is an ``ImportError``."""

    def __post_init__(self) -> None:
        for name in (
            _SERVER_FRESH,
            _CLIENT_FRESH,
            "require_client_max_window_bits",
            "accept_client_no_context_takeover",
        ):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        self._check_integer(_SERVER_BITS, 8, 15, optional=True)
        if self.client_max_window_bits is not True:
            self._check_integer(_CLIENT_BITS, 8, 15, optional=True)
        self._check_integer("level", 1, 9)
        self._check_integer("mem_level", 1, 9)
        self._check_integer("threshold", 0, None)
        if self.backend != "auto":
            choose(self.backend)  # here rather than at the first connection
        if self.require_client_max_window_bits and self.client_max_window_bits is None:
            raise ValueError(
                "require_client_max_window_bits needs client_max_window_bits: there is nothing to "
                "require where it is None"
            )

    def _check_integer(
        self, name: str, least: int, most: int | None, *, optional: bool = False
    ) -> None:
        value = getattr(self, name)
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if value < least or (most is not None and value > most):
            limits = f"{least} or more" if most is None else f"{least} to {most}"
            raise ValueError(f"{name} must be {limits}, not {value}")

    @property
    def name(self) -> str:
        """The registered name (RFC 7692 section 9)."""
        return _NAME

    @property
    def rsv(self) -> int:
        """RSV1, "per-message compressed" (RFC 7692 section 6)."""
        return _RSV1

    def offers(self) -> Sequence[Params]:
        """Client: one offer, with the parameters as configured (RFC 7692 section 7.1)."""
        return (
            _Terms(
                self.server_no_context_takeover,
                self.client_no_context_takeover,
                self.server_max_window_bits,
                self.client_max_window_bits,
            ).params,
        )

    def accept(self, offer: Params) -> Agreed | None:
        """Server: the answer to one offer, or ``None`` if it is malformed or cannot be met."""
        try:
            asked = _read_terms_untrusted(offer, bare=True)
        except ValueError:
            return None
        server_bits = self.server_max_window_bits
        if asked.server_bits is not None:
            server_bits = min(asked.server_bits, server_bits or _LARGEST)
        if server_bits == _NOT_DEFLATED:
            return None
        client_bits: int | None = None
        if self.client_max_window_bits is not None:
            client_bits = self._client_bits()
            if asked.client_bits is None:
                # Not ours to name then (section 7.1.2.2): it may use the largest.
                if self.require_client_max_window_bits:
                    return None
                client_bits = None
            elif asked.client_bits is not True:
                client_bits = min(client_bits, asked.client_bits)
        return self._agreed(
            _Terms(
                self.server_no_context_takeover or asked.server_fresh,
                self.client_no_context_takeover
                or (asked.client_fresh and self.accept_client_no_context_takeover),
                server_bits,
                client_bits,
            )
        )

    def confirm(self, offers: Sequence[Params], answer: Params) -> Agreed:
        """Client: check the answer against ``offers``, which are those of ``offers()``.

        Raises ``ExtensionError`` for an answer that is not well formed or fits none of them.
        """
        try:
            terms = _read_terms_untrusted(answer, bare=False)
            self._check_fit(terms)
        except ValueError as error:
            raise ExtensionError(
                f"{error} in the answer of {_NAME}",
                close_code=CloseCode.MANDATORY_EXTENSION,
                rule="RFC 7692 7.1",
            ) from None
        return self._agreed(terms)

    def _check_fit(self, terms: _Terms) -> None:
        """Raise ``ValueError`` if the server did not grant what was asked, or took what was not."""
        if self.server_no_context_takeover and not terms.server_fresh:
            raise ValueError(f"expected {_SERVER_FRESH} as asked, got none")
        most = self.server_max_window_bits
        if most is not None and (terms.server_bits is None or terms.server_bits > most):
            raise ValueError(f"expected {_SERVER_BITS} of at most {most}, got {terms.server_bits}")
        if self.client_max_window_bits is None and terms.client_bits is not None:
            raise ValueError(f"expected no {_CLIENT_BITS}, which was not offered, got it")
        # A client_max_window_bits above ours is fine: we stay below it. What is about us and was
        # not asked for, client_no_context_takeover, we obey; what limits the server is its choice.

    def _client_bits(self) -> int:
        bits = self.client_max_window_bits
        return DEFAULT_WINDOW_BITS if bits is True or bits is None else bits

    def _agreed(self, terms: _Terms) -> Agreed:
        return Agreed(terms.params, partial(_make_codec, self, terms))


def _make_codec(settings: PerMessageDeflate, terms: _Terms, role: Role) -> "_DeflateCodec":
    server_bits = terms.server_bits or _LARGEST
    client_bits = terms.client_bits or _LARGEST  # a bool is no answer, so this is a number
    if role is Role.SERVER:
        own = settings.server_max_window_bits or DEFAULT_WINDOW_BITS
        return _DeflateCodec(
            settings,
            out_bits=min(server_bits, own),
            out_fresh=terms.server_fresh,
            in_bits=client_bits,
            in_fresh=terms.client_fresh,
        )
    return _DeflateCodec(
        settings,
        out_bits=min(client_bits, settings._client_bits()),
        # Told to the server is promised, whether its answer repeats it or not.
        out_fresh=terms.client_fresh or settings.client_no_context_takeover,
        in_bits=server_bits,
        in_fresh=terms.server_fresh,
    )


# ------------------------------------------------------------------------------- the payloads

_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sync flush ends with; not sent, and put back by the receiver (section 7.2.1)."""

_EMPTY: Final = b"\x00"
"""The payload of an empty message: the head of an empty block, without ``_TAIL`` (7.2.3.6)."""

_SLICE: Final = 64 << 10
"""Bytes given at once when inflating."""

_STEP: Final = 64 << 10
"""Bytes inflated at once, to begin with: as much as a piece mostly has. What zlib leaves unread it
copies, each time it gives a slice or meets a final block. So a step that was not read to its end is
followed by one of half the size, and the time stays linear."""

_SMALL_STEP: Final = 256
"""Bytes of the step behind a final block, for another may follow, and of the smallest one."""

_FREE_FINALS: Final = 4096
_FINAL_COST: Final = 256
"""A final block costs its receiver a new inflater, 3 microseconds, and may be two bytes long. A
connection may have ``_FREE_FINALS`` of them, four more for each message, and one more for each
``_FINAL_COST`` bytes: about 15 ms, once and then for each MiB."""

_MESSAGE_CREDIT: Final = 4 * _FINAL_COST


_MOST_PARTS: Final = 64
"""Outputs that are kept apart before they are joined: what a list holds beside bytes is bounded."""


class _DeflateCodec:
    """The contexts of one connection, one for each direction. See ``base.Codec``."""

    __slots__ = (
        "_at_end",
        "_backend",
        "_compressed",
        "_deflater",
        "_deflating",
        "_finals",
        "_history",
        "_history_size",
        "_in_bits",
        "_in_fresh",
        "_in_message",
        "_inflater",
        "_last",
        "_level",
        "_mem_level",
        "_out_bits",
        "_out_fresh",
        "_quantum",
        "_read",
        "_sending",
        "_size",
        "_step",
        "_threshold",
        "_window",
        "prepared_as",
    )

    def __init__(
        self,
        settings: PerMessageDeflate,
        *,
        out_bits: int,
        out_fresh: bool,
        in_bits: int,
        in_fresh: bool,
    ) -> None:
        self._backend: Backend = choose(settings.backend)
        self._level = settings.level
        self._mem_level = settings.mem_level
        self._threshold = max(settings.threshold, 1)  # no bytes cannot become fewer
        self._out_bits = out_bits
        self._out_fresh = out_fresh
        # One string for all codecs with these settings: a connection holds no more than a pointer.
        self.prepared_as = sys.intern(
            f"{_NAME} {self._backend.name} {self._level} {self._mem_level} {out_bits} "
            f"{self._threshold}"
        )
        self._deflater: Deflater | None = None
        self._sending = False  # between the pieces of a compressed message of ours
        self._deflating = False  # the message being sent is compressed
        self._in_bits = in_bits
        self._in_fresh = in_fresh
        self._window = 1 << in_bits
        # zlib checks distances against the window and what the same call has given, so that a
        # distance up to twice the window may pass unseen. Larger slices would let more pass.
        self._quantum = _SLICE if in_bits == _LARGEST else self._window
        self._step = _STEP
        self._inflater: Inflater | None = None
        self._history: list[bytes] = []  # at least the last window of what was inflated
        self._history_size = 0
        self._in_message = False  # between the pieces of a message of the peer's
        self._compressed = False  # the message being received is compressed
        self._size = 0  # bytes of it, inflated
        self._last = b""  # its last four bytes at most, deflated
        self._at_end = False  # its last byte so far ended a final block
        self._read = 0  # bytes received deflated, and the credit of the messages
        self._finals = 0  # final blocks received

    # ------------------------------------------------------------------------------- sending

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        """Deflate the next piece of a message, if the message is worth it (section 7.2.1).

        ``compress`` counts with the first piece: ``True`` deflates whatever comes of it, ``False``
        does not, ``None`` does from ``threshold`` bytes on and never sends more than the plain
        bytes. Of a message in pieces only the first can be weighed so, since the bit in its header
        speaks for all; each piece is flushed, so that the peer can read it before the next.
        """
        if first:
            self._deflating = (
                len(payload) >= self._threshold if compress is None else compress
            ) and self._out_bits != _NOT_DEFLATED
        if not self._deflating:
            return payload, 0
        if first and final and not payload:
            # Leaves the deflater as it is: this block stands on its own.
            return _EMPTY, _RSV1
        deflater = self._deflater
        if deflater is None:
            deflater = self._backend.deflater(self._level, self._out_bits, self._mem_level)
            self._deflater = deflater
        data = deflater.compress(payload)
        flushed = deflater.flush(zlib.Z_SYNC_FLUSH)
        if final:
            # Nothing to flush gives nothing, and a last piece of no bytes would leave the message
            # without the end that the receiver counts on.
            data = data + flushed[:-4] if flushed else _EMPTY
        else:
            data += flushed
        if first and compress is None and len(data) >= len(payload):
            # Plain is as short. The deflater has seen what the peer's inflater will not, so it must
            # go; the next one just does not refer back. (Keeping a copy from before instead would
            # cost every message a fifth of its time, for the few that do not shrink.)
            self._deflater = None
            self._deflating = False
            return payload, 0
        self._sending = not final
        if final and self._out_fresh:
            self._deflater = None
        return data, _RSV1 if first else 0

    def forget_sent(self) -> None:
        """See ``base.Preparer``: a fresh deflater refers to nothing."""
        self._deflater = None

    # ------------------------------------------------------------------------------- receiving

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Iterable[bytes]:
        """Inflate the next piece of a message (section 7.2.2); a plain one passes as it is.

        Never holds more than ``limit`` bytes and one slice. Raises ``PayloadTooBig`` (1009),
        ``ExtensionError`` with 1007 for data that does not inflate, also where it refers to bytes
        outside the window, and for a message of no bytes at all; with 1008 for one that is nearly
        all final blocks. A message cut short can often not be told from a whole one.
        """
        if first:
            self._compressed = bool(rsv & _RSV1)
            self._size = 0
            self._last = b""
            self._at_end = False
            if self._compressed:
                self._read += _MESSAGE_CREDIT
        self._in_message = not final
        if not self._compressed:
            self._size += len(payload)
            if 0 <= limit < self._size:
                raise _too_big(limit)
            return (payload,)
        size = len(payload)
        self._last = payload[-4:] if first or size >= 4 else (self._last + payload)[-4:]
        if not size or size > self._step or self._at_end:
            return self._inflate_untrusted(payload, final, limit, None, 0)
        # The fast path: a piece whose output is complete after one call.
        inflater = self._inflater
        if inflater is None:
            inflater = self._next_inflater()
        room = self._quantum
        if 0 <= limit - self._size < room:
            room = limit - self._size + 1
        whole = payload + _TAIL if final and self._last != _TAIL else payload
        try:
            data = inflater.decompress(whole, room)
        except self._backend.error as error:
            self._fail(_why(error))
        if len(data) < room and not inflater.eof:
            self._read += size
            self._size += len(data)
            if not final or not self._in_fresh:
                self._remember(data)
            else:
                self._forget()
            return (data,)
        return self._inflate_untrusted(payload, final, limit, data, room)

    def _inflate_untrusted(
        self,
        payload: bytes,
        final: bool,
        limit: int,
        data: bytes | None,
        room: int,
    ) -> Iterator[bytes]:
        """Inflate the next piece: count its bytes, join what is small.

        ``data`` is what a first call gave, which was asked for ``room`` bytes and was given the
        whole payload and the tail; ``None`` if there was none.
        """
        if final and not self._last:
            # Not even the head of a block: what follows would be read out of step.
            self._fail("got no bytes at all")
        if not payload and (not final or self._at_end):
            # Nothing to do. If a final block ended the piece before, it ended the message too.
            if final:
                self._end_message()
            return
        self._at_end = False
        parts: list[bytes] = []
        gathered = 0
        for part in self._outputs_untrusted(payload, final, limit, data, room):
            self._size += len(part)
            if 0 <= limit < self._size:
                # By one byte: all that may pass is given first.
                self._forget()
                yield b"".join(parts) + part[:-1]
                raise _too_big(limit)
            self._remember(part)
            parts.append(part)
            gathered += len(part)
            if gathered + self._quantum > _SLICE:
                yield b"".join(parts)
                parts.clear()
                gathered = 0
        if parts:
            yield b"".join(parts)
        if final:
            self._end_message()

    def _outputs_untrusted(
        self, payload: bytes, final: bool, limit: int, data: bytes | None, room: int
    ) -> Iterator[bytes]:
        """Give what the piece inflates to, ``_quantum`` bytes at most and one over ``limit``.

        Each part must be counted and remembered before the next is asked for.
        """
        # A proper message never ends with the tail (its last bits are zeros): it was left on.
        tail = _TAIL if final and self._last != _TAIL else b""
        before = self._read
        self._read += len(payload)
        size = len(payload)
        end = size + len(tail)
        at = 0  # how much was read, of the payload and then of the tail
        given = end  # how much was given to an inflater from there on
        step = self._step
        inflater = self._inflater or self._next_inflater()
        while True:
            if data is None:
                if at + step < size:
                    part = payload[at : at + step]
                else:
                    part = payload[at:] + tail if at <= size else tail[at - size :]
                given = len(part)
                room = self._quantum
                if 0 <= limit - self._size < room:
                    room = limit - self._size + 1
                try:
                    data = inflater.decompress(part, room)
                except self._backend.error as reason:
                    self._fail(_why(reason))
            if data:
                yield data
            if inflater.eof:
                at += given - len(inflater.unused_data)
                self._count_final(before + at)
                self._inflater = None
                if at in (size, end):
                    # The final block took all of the payload, so no tail is missing.
                    self._at_end = True
                    return
                inflater = self._next_inflater()
                step = min(step, _SMALL_STEP)
            elif len(data) == room:
                # The inflater may hold more output, also where no input is left.
                at += given - len(inflater.unconsumed_tail)
                step = max(step >> 1, _SMALL_STEP)
            else:
                at += given
                if at == end:
                    return
                step = min(step << 1, _SLICE)
            data = None

    def idle(self) -> None:
        """Drop both contexts, outside of messages; nothing is lost but some of the next one's gain.

        What stays, with context takeover, is the window of the peer's output.
        """
        if not self._sending:
            self._deflater = None
        if not self._in_message:
            self._inflater = None
            self._shorten()

    def _next_inflater(self) -> Inflater:
        """Make the inflater that goes on where the output so far ended."""
        inflater = self._backend.inflater(self._in_bits, self._shorten())
        self._inflater = inflater
        return inflater

    def _remember(self, data: bytes) -> None:
        """Keep at least the last window of the output, by reference where that is cheaper."""
        size = len(data)
        if size >= self._window:
            self._history = [data]
            self._history_size = size
            return
        history = self._history
        history.append(data)
        self._history_size += size
        while self._history_size - len(history[0]) >= self._window:
            self._history_size -= len(history.pop(0))
        if self._history_size > 2 * self._window or len(history) > _MOST_PARTS:
            self._shorten()

    def _shorten(self) -> bytes:
        """Cut the history to exactly the window, and give it."""
        before = b"".join(self._history)[-self._window :]
        self._history = [before]
        self._history_size = len(before)
        return before

    def _end_message(self) -> None:
        if self._in_fresh:
            self._forget()

    def _forget(self) -> None:
        self._inflater = None
        self._history = []
        self._history_size = 0

    def _count_final(self, read: int) -> None:
        """Count a final block that ends at byte ``read``, so that no cut changes the outcome."""
        self._finals += 1
        if (self._finals - _FREE_FINALS) * _FINAL_COST > read:
            self._forget()
            raise ExtensionError(
                f"expected a final block for each {_FINAL_COST} bytes at most, "
                f"got {self._finals} in {read}",
                close_code=CloseCode.POLICY_VIOLATION,
            )

    def _fail(self, why: str) -> NoReturn:
        # The connection fails; what it took need not wait for it to be collected.
        self._forget()
        raise ExtensionError(
            f"expected a message that inflates, {why}", rule="RFC 7692 7.2.2"
        ) from None


def _why(error: Exception) -> str:
    """What the library says, without its "Error -3 while decompressing data:"."""
    return "got " + str(error).rpartition(": ")[2]


def _too_big(limit: int) -> PayloadTooBig:
    return PayloadTooBig(f"message inflates to more than the limit of {limit} bytes")
