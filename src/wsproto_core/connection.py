# cython: annotation_typing=False
"""``Connection``: the whole protocol of one connection, without I/O and without a clock.

It joins the other files: heads (``http11``, ``handshake``), frames (``framing``), messages
(``messages``), deadlines (``timers``), and moves by the table of ``lifecycle``. It is the one
mutable protocol object. It must not know hooks, tasks or sockets: who calls what is decided in
``session.py`` and below.

Theory of operation. An input (bytes, end of stream, time) or a command (send, ping, close) changes
the state and queues events and output; nothing is called back. What *ends* an open connection (a
violation, the peer's Close, the end of the stream) does not act at once: it is latched, reading of
frames stops there, and the first ``events()`` that finds nothing else to give applies it. So what
the peer sent before garbage is delivered first, and the answers to it still go out before the
Close. Where nothing more can be said (``CLOSE_SENT``) it acts at once. If the application never
looks again, the HOOKS deadline applies it.

Tests: ``tests/core/test_connection.py``, ``test_timers.py``, ``test_conformance_*.py``,
``test_invariants.py``.
"""

import math
import os
from collections.abc import Callable, Hashable, Sequence
from types import EllipsisType
from typing import Final, TypeAlias, cast

from . import handshake
from .config import Config
from .entropy import MaskKeys
from .enums import CloseCode, OpCode, Phase, Role, Transport, is_usable_close_code
from .errors import (
    ConnectionClosed,
    HandshakeError,
    LocalProtocolError,
    PayloadTooBig,
    PeerTimeout,
    ProtocolError,
)
from .events import (
    Agreement,
    Close,
    Closed,
    Event,
    HttpRequest,
    Opened,
    Ping,
    Pong,
    Refused,
    Request,
)
from .extensions.base import Codec, Preparer
from .framing import FrameDecoder
from .headers import HeadersLike, RequestHead, Response
from .http11 import Refusal, RequestReader, ResponseReader, write_request, write_response
from .lifecycle import TABLE, Action, Input
from .messages import MessageReader, text_fault
from .octets import encode_frame, encode_header, utf8_rest
from .outgoing import Buffer, PreparedMessage, encode_text, snapshot
from .timers import Timer, Timers
from .uri import Uri, parse_uri

__all__ = ["Buffer", "Connection"]

_TEXT: Final = int(OpCode.TEXT)
_BINARY: Final = int(OpCode.BINARY)
_CLOSE: Final = int(OpCode.CLOSE)
_PING: Final = int(OpCode.PING)
_PONG: Final = int(OpCode.PONG)
_FIN: Final = 0x80
_RSV: Final = 0x70
_OPCODE: Final = 0x0F
# Looked up for every message or connection: an attribute of an enum's class takes longer.
_OP_TEXT: Final = OpCode.TEXT
_OP_BINARY: Final = OpCode.BINARY
_OPENING: Final = Phase.OPENING
_DECIDING: Final = Phase.DECIDING
_OPEN: Final = Phase.OPEN
_CLOSE_SENT: Final = Phase.CLOSE_SENT
_CLOSED: Final = Phase.CLOSED
_SERVER: Final = Role.SERVER
_START: Final = Action.START
_TIMER_OPEN: Final = Timer.OPEN
_TIMER_PING: Final = Timer.PING
_TIMER_PONG: Final = Timer.PONG
_NEVER: Final = math.inf
_LONG_AGO: Final = -math.inf
_COST: Final = 64  # what an event costs beside its payload

_NO_LIMIT: Final = (1 << 63) - 1

_BEATS: Final = 8  # heartbeats whose pong we wait for: some peers talk, and never answer a ping

_LATE: Final = 1.0
"""Seconds: a liveness deadline that is looked at so late means that we slept, not the peer."""

_COPY: Final = 16 << 10
"""Bytes: a payload up to this is joined with its header (a copy costs less than a second buffer in
the list); above, it is queued as it is."""

_BATCH: Final = 16 << 10
"""Bytes: so much is written before the rest of a read is handled. The peer, on its own processor,
begins with it meanwhile, and what a write costs is little beside what it writes."""

_BATCH_FRAMES: Final = 16
"""The same for small ones: so many take longer than a write."""

_PIECE: Final = 16 << 10
"""Bytes: larger reads are decoded in pieces of this size, which fit into the processor's cache, but
for what is of the middle of a large frame."""

_CODED_PIECE: Final = 64 << 10
"""The same with an extension: each piece goes through it in one call, and those take longer than
what the cache gains."""

_TIMEOUT_REASON: Final = "WebSocket Timeout Error"
_HOOK_REASON: Final = "internal error"

_Ending: TypeAlias = tuple[Input, Close | Exception | None]


class Connection:
    """One WebSocket connection, either role: bytes, time and commands in; events and bytes out.

    The contract. *Call one input or command. Then look: deliver the events and let the application
    answer them; look again until* ``events()`` *is empty; send the data, note the deadline, obey*
    ``transport``. *Then wait for one of: bytes, the deadline, the application.* Looking twice is
    harmless.

    Inputs (``receive_data``, ``receive_eof``, ``handle_timeout``, ``lost``) never raise for
    anything the peer did. Commands raise ``LocalProtocolError`` where the caller broke a rule and
    ``ConnectionClosed`` where the connection ended first, ``TypeError`` or ``ValueError`` for
    arguments of a wrong kind; then nothing has happened. ``now`` is in seconds of any clock that
    never goes back; only differences matter.
    """

    # More attributes than CPython shares the names of: without slots each connection would hold a
    # table of its own, and look into it for every one of them.
    __slots__ = (
        "__weakref__",
        "_beats",
        "_blocked",
        "_codecs",
        "_decoder",
        "_early",
        "_ends",
        "_eof",
        "_error",
        "_events",
        "_fragment_size",
        "_frame_began",
        "_frame_serial",
        "_given",
        "_in_doubt",
        "_keys",
        "_last_miss",
        "_last_ping",
        "_last_received",
        "_late_pong",
        "_messages",
        "_misses",
        "_now",
        "_out",
        "_out_size",
        "_pings",
        "_pong_since",
        "_random",
        "_read_mark",
        "_reading",
        "_received",
        "_request",
        "_request_reader",
        "_response_reader",
        "_room",
        "_send_checked",
        "_sending",
        "_sent",
        "_sent_head",
        "_slept_until",
        "_stirred",
        "_taken",
        "_timers",
        "_write_mark",
        "agreement",
        "closed",
        "config",
        "latency",
        "phase",
        "role",
        "transport",
    )

    role: Role
    """Which side we are."""

    config: Config
    """The settings in force."""

    phase: Phase
    """Where the connection stands."""

    agreement: Agreement | None
    """What the handshake settled; ``None`` before ``Opened``."""

    transport: Transport
    """What is wanted of the byte stream. Only ever rises."""

    closed: Closed | None
    """The ``Closed`` event once the phase is ``CLOSED``."""

    latency: float | None
    """Seconds of the last round trip of a ping of ours; ``None`` before the first."""

    _request_reader: RequestReader | None
    _response_reader: ResponseReader | None

    def __init__(
        self,
        role: Role,
        config: Config | None = None,
        *,
        now: float,
        target: Uri | str | None = None,
        headers: HeadersLike = (),
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Begin at the opening handshake; a client's request is queued at once.

        ``target`` (client only, required there) is the address; ``headers`` are further request
        header fields. ``random`` gives that many random bytes; it must be a cryptographic source
        (RFC 6455 section 10.3). Raises ``LocalProtocolError`` for a bad address or header.
        """
        self._prepare(role, config if config is not None else Config(), now, random)
        if role is _SERVER:
            if target is not None:
                raise LocalProtocolError("a server takes no target: it learns it from the request")
            self._request_reader = RequestReader(self.config)
        else:
            if target is None:
                raise LocalProtocolError("a client needs a target: an address such as ws://host/")
            uri = parse_uri(target) if isinstance(target, str) else target
            head = handshake.build_request(uri, self.config, handshake.new_key(random), headers)
            self._sent_head: RequestHead = head
            self._response_reader = ResponseReader(self.config)
            self._write(write_request(head))
        if self.config.open_timeout is not None:
            self._timers.start(_TIMER_OPEN, now + self.config.open_timeout)

    @classmethod
    def after_handshake(
        cls,
        role: Role,
        config: Config,
        agreement: Agreement,
        *,
        now: float,
        codecs: Sequence[Codec] = (),
        data: Buffer = b"",
        random: Callable[[int], bytes] = os.urandom,
    ) -> "Connection":
        """An open connection whose handshake somebody else did (HTTP/2, another HTTP server).

        ``codecs`` are those of ``agreement.extensions``, in that order; ``data`` is what came
        behind the handshake. Look at the outputs next, as after any input.
        """
        if len(codecs) != len(agreement.extensions):
            raise LocalProtocolError(
                f"expected a codec for each of {len(agreement.extensions)} extensions, "
                f"got {len(codecs)}"
            )
        self = cls.__new__(cls)
        self._prepare(role, config, now, random)
        bits = [item.rsv for item in agreement.extensions]
        pairs = list(zip(codecs, bits, strict=True))
        self._open(Input.RESPONSE, agreement, pairs, Response(101), now)
        self._feed(data)
        return self

    def _prepare(
        self, role: Role, config: Config, now: float, random: Callable[[int], bytes]
    ) -> None:
        self.role = role
        self._use(config)
        self.phase = _OPENING
        self.agreement = None
        self.transport = Transport.OPEN
        self.closed = None
        self.latency = None
        self._random = random
        self._keys = MaskKeys(random) if role is Role.CLIENT else None
        self._timers = Timers()
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self._out_size = 0
        self._blocked = 0  # bytes that the transport holds, as it told
        self._taken = 0  # bytes that the transport passed on, as of its last word
        self._given = 0  # bytes ever given to the transport
        self._late_pong: bytes | None = None  # the newest pong owed while output is over the mark
        self._now = now  # the latest time heard of
        self._last_received = now
        self._last_ping = now
        self._last_miss = _LONG_AGO
        self._pong_since = now  # when the ping was sent that the PONG timer judges
        self._misses = 0
        self._slept_until = _LONG_AGO  # when deadlines looked at late were put off; -inf: not yet
        self._reading = True
        self._in_doubt = False  # a liveness deadline came while we did not read
        # Ours, unanswered, if any: payload -> when it was sent.
        self._pings: dict[bytes, float] | None = None
        self._beats: tuple[bytes, ...] = ()  # the payloads of the latest heartbeats
        self._frame_serial = -1  # the unfinished frame that _frame_began belongs to
        self._frame_began = _NEVER
        self._eof = False
        self._room = self._read_mark  # what events may still be queued before a look
        self._ends: tuple[
            _Ending, ...
        ] = ()  # what will end the connection when all before it is done
        self._error: Exception | None = None
        self._sent: Close | None = None
        self._received: Close | None = None
        self._fragment_size = _NO_LIMIT  # payload bytes of one outgoing frame
        self._sending = 0  # the opcode of our unfinished message, or 0
        self._send_checked = b""  # its trailing bytes that are half a character (text as bytes)
        self._codecs: tuple[tuple[Codec, int], ...] = ()
        self._stirred = False  # a message of ours went through them since the last heartbeat
        self._request: Request | HttpRequest | None = None
        self._early: bytearray | None = None  # what came behind the request
        self._decoder: FrameDecoder | None = None
        self._messages: MessageReader | None = None
        self._request_reader = None
        self._response_reader = None

    def _use(self, config: Config) -> None:
        self.config = config
        self._read_mark = config.read_high_water
        self._write_mark = config.write_high_water

    # ---------------------------------------------------------- from the network and the clock

    def receive_data(self, data: Buffer, now: float) -> None:
        """Take bytes from the peer, cut anywhere.

        Frames are read until events worth ``read_high_water`` wait; what is left is read by the
        next ``events()``. Bytes that come when nothing counts any more are dropped. Raises
        ``LocalProtocolError`` after ``receive_eof``: the caller's mistake.
        """
        if self._eof:
            raise LocalProtocolError("receive_data() after receive_eof(): the stream has ended")
        self._now = now
        self._last_received = now
        phase = self.phase
        if phase is _OPEN or phase is _CLOSE_SENT:
            self._feed(data)
        elif phase is _OPENING:
            self._receive_head(bytes(data), now)
        elif phase is _DECIDING:
            self._receive_early(bytes(data), now)

    def receive_eof(self, now: float) -> None:
        """Take the end of the peer's direction of the stream. Idempotent."""
        if self._eof:
            return
        self._eof = True
        self._now = now
        if self.phase is _OPENING:
            self._eof_in_head(now)
        elif self.phase is _OPEN:
            self._latch(Input.EOF, None)
        elif self.phase is _CLOSE_SENT and self._has_unread:
            # The peer's Close may be among what is unread.
            self._ends = (*self._ends, (Input.EOF, None))
        else:
            self._step(Input.EOF, now)

    def lost(self, error: Exception | None, now: float) -> None:
        """Take that the stream is gone both ways: a reset, a broken pipe, a TLS failure.

        Idempotent. What was received before is still given by ``events()``. ``error`` is shown as
        ``Closed.error``.
        """
        self._eof = True
        self._now = now
        if self.phase is _CLOSED:
            return
        if self._has_unread:
            # Nobody looks again before the end. No more is made of it than one message may be.
            most = self.config.max_message_size
            self._room = _NO_LIMIT if most is None else max(most, self._room)
            self._read_frames()
        if self._both_closed:
            # After both Close frames a reset takes nothing away from anybody.
            error = None
        sent = self._sent
        self._apply_ends(now)
        self._sent = sent  # a Close queued just now goes nowhere
        self._finish_with(Input.LOST, error, now)

    def handle_timeout(self, now: float) -> None:
        """Take that it is ``now``. Calls that come early do nothing, and so do repeated ones."""
        self._now = now
        timers = self._timers
        while now >= timers.next:
            at = timers.next
            self._expire(timers.pop(), at, now)

    # ------------------------------------------------------------------ from the transport

    def write_blocked(self, pending: int, now: float) -> None:
        """Take that the transport still holds ``pending`` bytes that the peer has not taken.

        Call it when that is more than nothing after a write, when it changes, and with 0 when the
        transport has caught up. The send timeout runs while bytes wait and none is taken. Who never
        calls it has no send timeout.
        """
        self._now = now
        taken = self._given - pending
        progress = taken > self._taken
        self._taken = taken
        self._blocked = pending
        if self.phase is _CLOSED:
            self._await_writing(now)
        elif not pending:
            self._timers.stop(Timer.SEND)
        elif self.config.send_timeout is not None and (
            progress or not self._timers.is_set(Timer.SEND)
        ):
            self._timers.start(Timer.SEND, now + self.config.send_timeout)

    def set_reading(self, reading: bool, now: float) -> None:
        """Take that the caller stopped reading the stream on purpose, or goes on.

        While it does not read, the peer's silence is our own doing, and no deadline blames it; see
        ``in_doubt``.
        """
        self._now = now
        if reading and not self._reading:
            self._in_doubt = False
            self._last_received = now
            if self._frame_began < _NEVER:
                self._frame_began = now
        self._reading = reading

    # ------------------------------------------------------------------ from the application

    def configure(self, config: Config, now: float) -> None:
        """Server, while deciding: from here on ``config`` counts.

        For servers that learn from the ``Request`` which settings serve it. The origin rule of the
        new settings is applied: if it refuses, the 403 is queued and the phase is ``DRAINING``.
        """
        self._now = now
        if self.phase is not _DECIDING or self._request is None:
            raise self._illegal("configure()", "while a request waits for its answer")
        self._use(config)
        if isinstance(self._request, Request):
            try:
                handshake.check_origin(self._request, config)
            except Refusal as refusal:
                self._reject(refusal.response(), now)

    def accept(
        self,
        now: float,
        *,
        subprotocol: str | EllipsisType | None = ...,
        headers: HeadersLike = (),
    ) -> None:
        """Server, once: answer the ``Request`` with a 101.

        ``subprotocol`` must be one that the client offered; ``None`` chooses none, and if it is not
        given the first of ``Config.subprotocols`` that was offered is taken. ``headers`` are
        further response header fields.
        """
        self._now = now
        if self.phase is not _DECIDING:
            raise self._illegal("accept()", "while a request waits for its answer")
        request = self._request
        if not isinstance(request, Request):
            raise LocalProtocolError(
                "accept() of a plain HTTP request: expected reject(), for it asked for no WebSocket"
            )
        if subprotocol is ...:
            subprotocol = handshake.choose_subprotocol(request, self.config)
        response, agreement, agreed = handshake.answer_request(
            request, self.config, subprotocol, headers
        )
        codecs = [
            (item.codec(self.role), extension.rsv)
            for item, extension in zip(agreed, agreement.extensions, strict=True)
        ]
        self._write(handshake.interim_response(request))
        self._write(write_response(response))
        self._open(Input.ACCEPT, agreement, codecs, response, now)
        request.headers._pack()
        early, self._early = self._early, None
        if early is not None:
            self._feed(bytes(early))

    def reject(self, response: Response, now: float) -> None:
        """Server, once: answer with ``response`` and end the connection.

        ``Connection: close`` and ``Content-Length`` are set here. The status must be final and must
        not mean success, except for an ``HttpRequest``, where any final status will do.
        """
        self._now = now
        if self.phase is not _DECIDING:
            raise self._illegal("reject()", "while a request waits for its answer")
        handshake.check_rejection(response, plain=isinstance(self._request, HttpRequest))
        self._reject(response, now)

    def send_text(
        self, text: str | Buffer, *, final: bool = True, compress: bool | None = None
    ) -> None:
        """Queue a text message, or with ``final=False`` the first or a further part of one.

        Bytes must be UTF-8. ``compress`` asks an extension to compress this message or not; it
        counts at the first part. A message longer than ``max_frame_size`` goes out in fragments.
        """
        self._send_text(text, final, compress)

    def send_binary(
        self, data: Buffer, *, final: bool = True, compress: bool | None = None
    ) -> None:
        """Queue a binary message, or a part of one. As ``send_text``."""
        self._send_binary(data, final, compress)

    def send_message(
        self,
        data: str | Buffer,
        opcode: OpCode | int,
        final: bool = True,
        compress: bool | None = None,
    ) -> None:
        """``send_text`` or ``send_binary``, for who has the type of the message as ``opcode``.

        ``str`` goes with ``TEXT`` only; as ``BINARY`` it is a ``TypeError``.
        """
        if opcode is _OP_TEXT or opcode == _OP_TEXT:
            self._send_text(data, final, compress)
        elif opcode != _OP_BINARY:
            raise LocalProtocolError(f"expected opcode TEXT or BINARY, got {opcode!r}")
        elif isinstance(data, str):
            raise TypeError("expected bytes for a BINARY message, got str")
        else:
            self._send_binary(data, final, compress)

    def send_prepared(self, message: PreparedMessage) -> None:
        """Queue a whole message that many connections share. Otherwise as ``send_text``.

        A server takes the frames that another one made, if both encode alike; else it makes and
        leaves them. With a codec that encodes nothing for others, and in a client, the message goes
        the ordinary way.
        """
        if self.phase is not _OPEN:
            raise self._illegal("a message", "while the connection is open")
        if self._sending:
            raise LocalProtocolError(
                f"expected the next part of a {OpCode(self._sending).name} message, "
                "got a prepared one (RFC 6455 5.4)"
            )
        self._put_prepared(message)

    def offer(self, message: PreparedMessage) -> bool:
        """As ``send_prepared``, if the message can go out at once; whether it was queued.

        For callers that wait for nobody. Where it was not, nothing has happened: the connection is
        not open, a message of ours is unfinished, or what waits for the peer is over
        ``Config.write_high_water``.
        """
        if self.phase is not _OPEN or self._sending or not self._is_below_mark():
            return False
        self._put_prepared(message)
        return True

    def ping(self, payload: Buffer | None, now: float) -> bytes:
        """Queue a ping; returns the payload that identifies it (``None``: a random one).

        Its pong comes as ``Pong`` with ``rtt``. At most 125 bytes (RFC 6455 section 5.5).
        """
        data = self._random(8) if payload is None else _control_payload(payload, "ping()")
        if self.phase is not _OPEN:
            raise self._illegal("ping()", "while the connection is open")
        self._now = now
        self._queue_ping(data, now)
        return data

    def pong(self, payload: Buffer = b"") -> None:
        """Queue a pong that nobody asked for (RFC 6455 section 5.5.3)."""
        data = _control_payload(payload, "pong()")
        if self.phase is not _OPEN:
            raise self._illegal("pong()", "while the connection is open")
        self._frame(_FIN | _PONG, data)

    def close(self, code: int | None = None, reason: str = "", *, now: float) -> None:
        """Start the closing handshake; before the connection is open, give it up.

        ``code`` ``None`` sends a Close without a code, which the peer reads as 1005. Raises
        ``LocalProtocolError`` for a code that must not be sent or a reason over 123 bytes.
        Idempotent: once closing or closed it does nothing.
        """
        if code is None and reason:
            raise LocalProtocolError("close() with a reason needs a code (RFC 6455 5.5.1)")
        if code is not None:
            _check_type(code, int, "a close code")
            if not is_usable_close_code(code):
                raise LocalProtocolError(
                    f"expected a close code of 1000 to 1003, 1007 to 1014 or 3000 to 4999, "
                    f"got {code} (RFC 6455 7.4)"
                )
        _check_type(reason, str, "a close reason")
        try:
            size = len(reason.encode())
        except UnicodeEncodeError:
            raise LocalProtocolError("expected a close reason that UTF-8 can encode") from None
        if size > 123:
            raise LocalProtocolError(
                f"expected a close reason of at most 123 bytes in UTF-8, got {size} (RFC 6455 5.5)"
            )
        self._now = now
        self._step(
            Input.SEND_CLOSE,
            now,
            Close(int(CloseCode.NO_STATUS_RECEIVED) if code is None else int(code), reason),
        )
        # Nothing can be said any more, so what waited for the application waits no longer; but an
        # end of the stream still comes after the frames before it.
        if not self._has_unread:
            self._apply_ends(now)

    def fail(self, error: Exception, now: float) -> None:
        """End the connection because of ``error``, which becomes ``Closed.error``.

        The Close carries ``error.close_code`` (a ``HookError`` or any other error: 1011 with a
        fixed reason, so that nothing inside is told to the peer). Like a violation it is applied by
        the first ``events()`` that has nothing else to give.
        """
        self._now = now
        if self.phase is _OPEN:
            self._latch(Input.FAULT, error, first=True)
        elif self.phase in (_OPENING, _DECIDING):
            self._finish_with(Input.LATE, error, now)
        else:
            if self._error is None and self.phase is not _CLOSED:
                self._error = error
            self._step(Input.FAULT, now)

    def abort(self, now: float) -> None:
        """Give the connection up at once: no closing handshake, what is queued is dropped."""
        self._now = now
        self._step(Input.LATE, now)

    # ------------------------------------------------------------------ outputs

    def events(self, hold: bool = False) -> list[Event]:
        """Drain what has happened, in order. Look again until it is empty.

        With ``hold`` an ending that is latched stays so: somebody is still at what came before it.
        """
        self._room = self._read_mark
        if not self._events:
            decoder, messages = self._decoder, self._messages
            if decoder is not None and messages is not None and (decoder.pending or messages.busy):
                self._read_frames()
            if not self._events and self._ends and not hold:
                self._apply_ends(self._now)
        events = self._events
        self._events = []
        return events

    def has_news(self) -> bool:
        """Whether ``events()`` may have something to do; false only if all was told and read.

        For who looks after every message: it costs less than an empty list.
        """
        decoder, messages = self._decoder, self._messages
        return (
            self.phase is not _OPEN
            or bool(self._events)
            or bool(self._ends)
            or (decoder is not None and decoder.pending)
            or (messages is not None and messages.busy)
        )

    def bytes_coming(self) -> int:
        """Payload bytes that are still to come of the data frame in progress, as it announced: for
        who chooses how much to read at once."""
        return 0 if self._decoder is None else self._decoder.coming

    def data_to_send(self) -> list[bytes]:
        """Drain the bytes to write, in order. Joining them is the caller's choice."""
        if self._late_pong is not None and self._blocked <= self._write_mark:
            payload, self._late_pong = self._late_pong, None
            self._frame(_FIN | _PONG, payload)
        out = self._out
        if not out:
            return []
        self._out = []
        self._given += self._out_size
        self._out_size = 0
        return out

    def has_batch(self) -> bool:
        """Whether 16 KiB or 16 frames are to be sent, or more: then a write of its own is worth it,
        though more is to come, for the peer begins with this while we go on."""
        return self._out_size >= _BATCH or len(self._out) >= _BATCH_FRAMES

    @property
    def bytes_to_send(self) -> int:
        """How many bytes ``data_to_send`` would give."""
        return self._out_size

    @property
    def has_output(self) -> bool:
        """Whether ``data_to_send`` would give anything."""
        return bool(self._out) or (
            self._late_pong is not None and self._blocked <= self._write_mark
        )

    @property
    def below_mark(self) -> bool:
        """Whether what waits for the peer, here and in the transport, is within
        ``Config.write_high_water``."""
        return self._is_below_mark()

    def can_begin(self) -> bool:
        """Whether a new message may begin: none of ours is unfinished, or all has ended."""
        return not self._sending or self.phase is not _OPEN

    def is_writable(self) -> bool:
        """Whether ``below_mark``, or there is nobody to wait for: all has ended."""
        return self._is_below_mark() or self.phase is _CLOSED

    def _is_below_mark(self) -> bool:
        return self._out_size + self._blocked <= self._write_mark

    @property
    def early_bytes(self) -> int:
        """Server: bytes that came behind the request before it was answered."""
        return 0 if self._early is None else len(self._early)

    def next_deadline(self) -> float | None:
        """When to call ``handle_timeout`` at the latest; ``None`` if nothing is waited for.

        Any input or command may change it.
        """
        at = self._timers.next
        return None if at == _NEVER else at

    @property
    def in_doubt(self) -> bool:
        """Whether the peer's life is in question and cannot be judged, as the caller does not read.

        To read a little, or until the next bytes, answers it: without them the peer is found dead.
        Ends when reading goes on (``set_reading``).
        """
        return self._in_doubt

    @property
    def time(self) -> float:
        """The latest time that an input or command told."""
        return self._now

    def awaits_pong(self, payload: bytes) -> bool:
        """Whether a ping of ours with this payload is unanswered, also by a later pong."""
        return self._pings is not None and payload in self._pings

    @property
    def ending(self) -> bool:
        """Whether an ending is latched, to be applied when all before it is done."""
        return bool(self._ends)

    @property
    def ending_is_close(self) -> bool:
        """Whether the ending that is latched is the peer's Close."""
        return bool(self._ends) and self._ends[0][0] is Input.RECV_CLOSE

    @property
    def error(self) -> Exception | None:
        """What ends or ended the connection, other than the closing handshake; also if latched."""
        if self._error is None:
            for _, detail in self._ends:
                if isinstance(detail, Exception):
                    return detail
        return self._error

    def closed_error(self, message: str) -> ConnectionClosed:
        """``ConnectionClosed`` with both sides' codes: how it ended, or how it stands so far."""
        return ConnectionClosed(message, self.closed, self._as_closed())

    @property
    def close_sent(self) -> Close | None:
        """The Close we sent, or ``None``."""
        return self._sent

    @property
    def close_received(self) -> Close | None:
        """The Close the peer sent, or ``None``; also if it waits to be applied."""
        if self._received is None:
            for _, detail in self._ends:
                if isinstance(detail, Close):
                    return detail
        return self._received

    @property
    def request(self) -> Request | HttpRequest | None:
        """Server: the request, once it came."""
        return self._request

    @property
    def sending(self) -> OpCode | None:
        """The type of our own unfinished message (sent with ``final=False``), or ``None``."""
        return OpCode(self._sending) if self._sending else None

    @property
    def partial_message(self) -> tuple[OpCode, bytes] | None:
        """Type and bytes so far of the incoming message in progress, or ``None``."""
        if self._decoder is None or self._messages is None or not self._decoder.in_message:
            return None
        return OpCode(self._decoder.opcode), self._messages.partial or b""

    def __repr__(self) -> str:
        return f"<Connection {self.role.value} {self.phase.value}>"

    # ------------------------------------------------------------------ the lifecycle

    def _step(self, what: Input, now: float, detail: Close | None = None) -> None:
        """Move by the table and carry out the actions."""
        self.phase, actions = TABLE[self.phase, what]
        for action in actions:
            if action is _START:
                self._start(now)
            elif action is Action.WRITE_CLOSE:
                self._write_close(detail)
            elif action is Action.STOP_HEARTBEAT:
                self._timers.stop(_TIMER_PING, _TIMER_PONG, Timer.RECEIVE, Timer.HOOKS)
            elif action is Action.AWAIT_PEER:
                self._timers.stop(_TIMER_OPEN)
                if self.config.close_timeout is not None:
                    self._timers.start(Timer.CLOSE, now + self.config.close_timeout)
            elif action is Action.END_WRITING:
                self._late_pong = None  # nobody reads it; it must not come after our end
                if self.role is _SERVER:
                    self._want(Transport.SHUT_WRITE)
            elif action is Action.CLOSE:
                self._want(Transport.CLOSE)
            elif action is Action.ABORT:
                self._want(Transport.ABORT)
                self._out.clear()
                self._out_size = 0
                self._late_pong = None
            else:
                self._finish()

    def _want(self, transport: Transport) -> None:
        self.transport = max(self.transport, transport)

    def _start(self, now: float) -> None:
        self._timers.stop(_TIMER_OPEN)
        if self.config.ping_interval:
            self._last_ping = now
            self._timers.start(_TIMER_PING, now + self.config.ping_interval)
        if self.config.receive_timeout is not None:
            self._timers.start(Timer.RECEIVE, now + self.config.receive_timeout)

    def _finish(self) -> None:
        self.closed = self._as_closed()
        self._events.append(self.closed)
        self._timers.stop_all()
        self._await_writing(self._now)
        self._ends = ()
        # Nothing is read any more: let go of what a peer may have made large.
        self._decoder = self._messages = None
        self._request_reader = self._response_reader = None
        self._early = None
        self._codecs = ()

    def _as_closed(self) -> Closed:
        received = self.close_received
        return Closed(
            code=received.code if received is not None else int(CloseCode.ABNORMAL_CLOSURE),
            reason=received.reason if received is not None else "",
            clean=self._both_closed and self._error is None,
            sent=self._sent,
            received=received,
            error=self.error,
        )

    def _finish_with(self, what: Input, error: Exception | None, now: float) -> None:
        if self._error is None:
            self._error = error
        self._step(what, now)

    def _await_writing(self, now: float) -> None:
        """After the end: a peer that takes nothing must not hold the stream for ever."""
        if not self._blocked or self.transport is Transport.ABORT:
            self._timers.stop(Timer.CLOSE)
        elif self.config.close_timeout is not None and not self._timers.is_set(Timer.CLOSE):
            self._timers.start(Timer.CLOSE, now + self.config.close_timeout)

    @property
    def _has_unread(self) -> bool:
        """Whether frames were received that nobody had room for yet."""
        return (self._decoder is not None and self._decoder.pending) or (
            self._messages is not None and self._messages.busy
        )

    @property
    def _both_closed(self) -> bool:
        return self._sent is not None and self._received is not None

    # ------------------------------------------------------------------ endings that wait

    def _latch(self, what: Input, detail: Close | Exception | None, *, first: bool = False) -> None:
        """Remember what ends the connection; in ``CLOSE_SENT``, with nothing to say, do it."""
        if what is not Input.EOF:
            self._decoder = self._messages = None  # nothing behind it is read
        place = len(self._ends)
        if first:
            place = 0
        elif what is not Input.EOF and place and self._ends[-1][0] is Input.EOF:
            place -= 1  # it was read after the stream had ended, but it came before
        self._ends = (*self._ends[:place], (what, detail), *self._ends[place:])
        if self.phase is not _OPEN:
            self._apply_ends(self._now)
        elif len(self._ends) == 1:
            self._timers.stop(_TIMER_PING, _TIMER_PONG, Timer.RECEIVE)
            if self.config.close_timeout is not None:
                self._timers.start(Timer.HOOKS, self._now + self.config.close_timeout)

    def _apply_ends(self, now: float) -> None:
        while self._ends:
            what, detail = self._ends[0]
            self._ends = self._ends[1:]
            if what is Input.RECV_CLOSE:
                assert isinstance(detail, Close)
                self._received = detail
                self._events.append(detail)
                self._step(what, now, detail)
            elif what is Input.FAULT:
                assert isinstance(detail, Exception)
                if self._error is None:
                    self._error = detail
                self._step(what, now, _close_for(detail))
            else:
                self._step(what, now)

    # ------------------------------------------------------------------ the opening handshake

    def _receive_head(self, data: bytes, now: float) -> None:
        if self._request_reader is not None:
            self._receive_request(self._request_reader, data, now)
            return
        reader = self._response_reader
        assert reader is not None
        try:
            response = reader.feed(data)
        except HandshakeError as error:
            self._finish_with(Input.FAILED, error, now)
        else:
            if response is not None:
                self._receive_response(response, reader.tail, now)

    def _receive_request(self, reader: RequestReader, data: bytes, now: float) -> None:
        try:
            head = reader.feed(data)
            if head is None:
                return
            request = handshake.check_request(head, self.config)
            if isinstance(request, Request):
                handshake.check_origin(request, self.config)
        except Refusal as refusal:
            response = refusal.response()
            self._error = HandshakeError(refusal.why, response)
            self._write(write_response(response))
            self._step(Input.REFUSED, now)
            self._request_reader = None
            return
        self._request_reader = None
        self._request = request
        self._step(Input.REQUEST, now)
        self._events.append(request)
        self._receive_early(reader.tail, now)

    def _receive_early(self, data: bytes, now: float) -> None:
        """Bytes from a client that did not wait for the 101: kept, but bounded."""
        if not data:
            return
        if self._early is None:
            self._early = bytearray()
        self._early += data
        if len(self._early) > self.config.read_high_water + (256 << 10):
            self._reject(
                Refusal(
                    400, f"expected no data before the 101, got {len(self._early)} bytes"
                ).response(),
                now,
            )

    def _reject(self, response: Response, now: float) -> None:
        self._error = HandshakeError(
            f"the request was answered with status {response.status}", response
        )
        self._early = None
        self._write(write_response(response))
        self._step(Input.REJECT, now)

    def _receive_response(self, response: Response, tail: bytes, now: float) -> None:
        if response.status != 101:
            self._events.append(Refused(response))
            self._finish_with(
                Input.FAILED,
                HandshakeError(
                    f"expected status 101, the server answered {_refusal_text(response)}",
                    response,
                ),
                now,
            )
            return
        try:
            agreement, agreed = handshake.check_response(self._sent_head, response, self.config)
            codecs = [
                (item.codec(self.role), extension.rsv)
                for item, extension in zip(agreed, agreement.extensions, strict=True)
            ]
        except HandshakeError as error:
            self._events.append(Refused(response))
            self._finish_with(Input.FAILED, error, now)
            return
        agreed_names = {extension.name for extension in agreement.extensions}
        lacking = [name for name in self.config.required_extensions if name not in agreed_names]
        if lacking:
            # RFC 6455 7.4.1: 1010, and the Close names what was expected. It never opens.
            self._response_reader = None
            self._error = HandshakeError(
                f"expected the server to accept {', '.join(lacking)}, it did not", response
            )
            why = Close(int(CloseCode.MANDATORY_EXTENSION), ", ".join(lacking)[:123])
            self._step(Input.LACKING, now, why)
            return
        self._open(Input.RESPONSE, agreement, codecs, response, now)
        self._feed(tail)

    def _eof_in_head(self, now: float) -> None:
        if self._response_reader is None:
            error = HandshakeError("the client ended the stream before its request was complete")
        else:
            response = self._response_reader.eof()
            if response is not None:
                # A refusal whose body the end of the stream completes.
                self._receive_response(response, b"", now)
                return
            error = HandshakeError("the server ended the stream before its answer was complete")
        self._finish_with(Input.EOF, error, now)

    def _open(
        self,
        what: Input,
        agreement: Agreement,
        codecs: Sequence[tuple[Codec, int]],
        response: Response,
        now: float,
    ) -> None:
        config = self.config
        rsv = 0
        for _, bits in codecs:
            rsv |= bits
        self._codecs = tuple(codecs)
        self._fragment_size = _NO_LIMIT if config.max_frame_size is None else config.max_frame_size
        self._decoder = FrameDecoder(
            self.role is _SERVER,
            rsv,
            -1 if config.max_frame_size is None else config.max_frame_size,
            -1 if config.max_message_size is None else config.max_message_size,
        )
        self._messages = MessageReader(config, self._codecs)
        self._response_reader = None
        self.agreement = agreement
        self._events.extend(agreement.extensions)
        self._events.append(Opened(agreement, response))
        self._step(what, now)

    # ------------------------------------------------------------------ frames in

    def _feed(self, data: Buffer) -> None:
        decoder = self._decoder
        if decoder is None:
            return
        self._slept_until = _LONG_AGO
        piece = _CODED_PIECE if self._codecs else _PIECE
        if len(data) <= piece:
            decoder.feed(data if type(data) is bytes else bytes(data))
            self._read_frames()
            return
        view = memoryview(data)
        while view and self._decoder is not None:
            size = self._absorb(view)
            if not size:
                size = min(len(view), piece)
                decoder.feed(bytes(view[:size]))
                self._read_frames()
            view = view[size:]

    def _absorb(self, data: memoryview) -> int:
        """Take what is of the middle of a large frame to where it stays; returns how much it is."""
        decoder, messages = self._decoder, self._messages
        assert decoder is not None and messages is not None
        size = min(decoder.coming - 1, len(data))  # its last byte goes the ordinary way
        if size < _PIECE or decoder.pending or not messages.plain:
            return 0
        key = decoder.skip(size)
        messages.coming = decoder.coming
        try:
            messages.absorb(decoder.opcode, data, size, key)
        except ProtocolError as error:
            self._fail_reading(error)
        return size

    def _fail_reading(self, error: ProtocolError) -> None:
        # Whoever keeps the error must not keep our buffers, by the frames that it came through.
        error.__traceback__ = error.__context__ = None
        self._latch(Input.FAULT, error)

    def _read_frames(self) -> None:
        """Read frames until events worth ``read_high_water`` wait, or the bytes or the life end."""
        decoder, messages = self._decoder, self._messages
        assert decoder is not None and messages is not None
        events = self._events
        room = self._room
        batch = messages.batch
        try:
            while room > 0:
                if messages.busy:
                    room -= messages.resume(events, room)
                    continue
                budget = batch if batch < room else room  # noqa: FURB136  min() is slow here
                pieces = decoder.decode(budget)
                messages.coming = decoder.coming
                for at in range(0, len(pieces), 2):
                    head = pieces[at]
                    data = pieces[at + 1]
                    opcode = head & _OPCODE
                    if opcode < _CLOSE:
                        room -= messages.add(head, data, events)
                        continue
                    room -= len(data) + _COST
                    if opcode == _PING:
                        events.append(Ping(data))
                        self._owe_pong(data)
                    elif opcode == _PONG:
                        events.append(self._match_pong(data))
                    else:
                        self._latch(Input.RECV_CLOSE, _parse_close(data))
                        return
                if not decoder.pending and not messages.busy:
                    if decoder.fault is not None:
                        code, why, rule = decoder.fault
                        error = PayloadTooBig if code == 1009 else ProtocolError
                        raise error(why, close_code=code, rule=rule)
                    break
        except ProtocolError as error:
            self._fail_reading(error)
            return
        finally:
            self._room = room
        if not decoder.mid_frame:
            self._frame_began = _NEVER
        elif decoder.serial != self._frame_serial:
            self._frame_serial = decoder.serial
            self._frame_began = self._now

    def _owe_pong(self, payload: bytes) -> None:
        """Answer a ping; with output over the mark only the newest is answered (RFC 6455 5.5.3)."""
        if self._is_below_mark():
            self._frame(_FIN | _PONG, payload)
        else:
            self._late_pong = payload

    def _match_pong(self, payload: bytes) -> Pong:
        """Pair a pong with our ping; the pings before it count as answered too."""
        pings = self._pings
        sent = None if pings is None else pings.get(payload)
        if pings is None or sent is None:
            return Pong(payload, None)
        order = list(pings)
        for answered in order[: order.index(payload) + 1]:
            del pings[answered]
        self._misses = 0
        if not pings:
            self._pings = None
            self._beats = ()  # answered, or passed over
            self._timers.stop(_TIMER_PONG)
        self.latency = self._now - sent
        return Pong(payload, self.latency)

    # ------------------------------------------------------------------ frames out

    def _send(self, opcode: int, data: bytes, final: bool, compress: bool | None) -> None:
        if self.phase is not _OPEN:
            raise self._illegal("a message", "while the connection is open")
        first = not self._sending
        if not first and self._sending != opcode:
            raise LocalProtocolError(
                f"expected the next part of a {OpCode(self._sending).name} message, "
                f"got {OpCode(opcode).name} (RFC 6455 5.4)"
            )
        head = opcode if first else 0
        for codec, _ in self._codecs:
            self._stirred = True
            data, bits = codec.encode(opcode, data, first, final, compress)
            if first:
                head |= bits
        size = self._fragment_size
        if len(data) > size:
            last = (len(data) - 1) // size * size
            for start in range(0, last, size):
                self._frame(head, data[start : start + size])
                head = 0
            data = data[last:]
        if final:
            head |= _FIN
        if len(data) <= _COPY:
            # As _frame() without the call, for most messages come here.
            keys = self._keys
            frame = encode_frame(head, data, b"" if keys is None else keys.next())
            self._out.append(frame)
            self._out_size += len(frame)
        else:
            self._frame(head, data)
        self._sending = 0 if final else opcode
        self._send_checked = b""

    def _send_text(self, text: str | Buffer, final: bool, compress: bool | None) -> None:
        if isinstance(text, str):
            try:
                data = text.encode()
            except UnicodeEncodeError:
                data = encode_text(text)  # it says what is wrong
            if self._send_checked:
                raise LocalProtocolError("the part before this one ended inside a character")
            self._send(_TEXT, data, final, compress)
            return
        data = snapshot(text, "send_text()", "str, bytes, bytearray or a memoryview of bytes")
        rest = self._check_text(data, final)
        self._send(_TEXT, data, final, compress)
        self._send_checked = rest

    def _send_binary(self, data: Buffer, final: bool, compress: bool | None) -> None:
        payload = snapshot(data, "send_binary()", "bytes, bytearray or a memoryview of bytes")
        self._send(_BINARY, payload, final, compress)

    def _put_prepared(self, message: PreparedMessage) -> None:
        """Queue the frames of ``message``; make them if no connection like this one has."""
        if not isinstance(message, PreparedMessage):
            raise TypeError(f"expected a PreparedMessage, got {type(message).__name__}")
        prepared, codecs = message, self._codecs
        key: Hashable = self._fragment_size
        if codecs:
            key = (key, *[getattr(codec, "prepared_as", None) for codec, _ in codecs])
        frames = prepared.encodings.get(key) if self._keys is None else None
        if frames is None:
            self._encode_prepared(prepared, key)
            return
        self._out.append(frames)
        self._out_size += len(frames)
        if frames[0] & _RSV:
            self._forget_sent()  # the peer's window and ours differ from here on

    def _encode_prepared(self, message: PreparedMessage, key: Hashable) -> None:
        """Encode ``message`` as any other, and leave it for others that encode alike.

        It refers to nothing before it, and nothing behind it refers to it or over it: the window of
        another peer differs.
        """
        shared = self._keys is None and all(
            getattr(codec, "prepared_as", None) is not None for codec, _ in self._codecs
        )
        if shared:
            self._forget_sent()
        place = len(self._out)
        self._send(message.opcode, message.data, True, message.compress)
        if shared:
            frames = message.encodings[key] = b"".join(self._out[place:])
            self._out[place:] = (frames,)
            self._forget_sent()

    def _forget_sent(self) -> None:
        for codec, _ in self._codecs:
            cast("Preparer", codec).forget_sent()

    def _check_text(self, data: bytes, final: bool) -> bytes:
        """Check a part of a text message given as bytes; returns what is half a character."""
        rest = utf8_rest(self._send_checked, data, final)
        if rest < 0:
            fault = text_fault(self._send_checked, data, final)
            raise LocalProtocolError(
                f"expected text in UTF-8, got the byte {fault.object[fault.start]:02x} at position "
                f"{fault.start} (RFC 6455 5.6)"
            ) from None
        return (self._send_checked + data)[-rest:] if rest else b""

    def _queue_ping(self, payload: bytes, now: float) -> None:
        if self._pings is None:
            self._pings = {}
        self._pings.pop(payload, None)
        self._pings[payload] = now
        self._frame(_FIN | _PING, payload)

    def _write_close(self, close: Close | None) -> None:
        assert close is not None
        if self._late_pong is not None:
            payload, self._late_pong = self._late_pong, None
            self._frame(_FIN | _PONG, payload)
        body = b""
        if close.code != CloseCode.NO_STATUS_RECEIVED:
            body = close.code.to_bytes(2) + close.reason.encode()
        self._frame(_FIN | _CLOSE, body)
        self._sent = close

    def _frame(self, first: int, payload: bytes) -> None:
        if self._keys is not None:
            frame = encode_frame(first, payload, self._keys.next())
        elif len(payload) <= _COPY:
            frame = encode_frame(first, payload, b"")
        else:
            self._write(encode_header(first, len(payload), 0))
            frame = payload
        self._out.append(frame)
        self._out_size += len(frame)

    def _write(self, data: bytes) -> None:
        if data:
            self._out.append(data)
            self._out_size += len(data)

    # ------------------------------------------------------------------ time

    def _expire(self, timer: Timer, at: float, now: float) -> None:
        config = self.config
        if timer is _TIMER_PING:
            self._heartbeat(now)
        elif timer is _TIMER_PONG:
            self._judge_pong(at, now)
        elif timer is Timer.RECEIVE:
            self._judge_silence(at, now)
        elif timer is Timer.HOOKS:
            self._apply_ends(now)
        elif timer is _TIMER_OPEN:
            reader = self._response_reader
            response = None if reader is None else reader.eof()
            if response is not None:
                # A refusal whose body does not end: its status is what matters.
                self._receive_response(response, b"", now)
            else:
                self._give_up(timer, f"no open connection after {config.open_timeout:g} s", now)
        elif timer is Timer.SEND:
            self._give_up(
                timer,
                f"the peer took none of {self._blocked} bytes in {config.send_timeout:g} s",
                now,
            )
        elif self._both_closed or self._error is not None or self.phase is _CLOSED:
            self._step(Input.LATE, now)  # the peer left the stream open; there is nothing to blame
        else:
            self._give_up(timer, f"no Close from the peer in {config.close_timeout:g} s", now)

    def _give_up(self, timer: Timer, why: str, now: float) -> None:
        error = PeerTimeout(why, timer=timer.name.lower(), close_code=CloseCode.ABNORMAL_CLOSURE)
        self._finish_with(Input.LATE, error, now)

    def _heartbeat(self, now: float) -> None:
        self._last_ping = now
        if self._codecs:
            self._rest_codecs()
        payload = self._random(8)
        if len(self._beats) == _BEATS:
            assert self._pings is not None  # or there were no beats
            self._pings.pop(self._beats[0], None)
        self._beats = (*self._beats[1 - _BEATS :], payload)
        self._queue_ping(payload, now)
        self._timers.start(_TIMER_PING, now + self._interval())
        timeout = self.config.pong_timeout
        if timeout is not None and not self._timers.is_set(_TIMER_PONG):
            self._pong_since = now
            self._timers.start(_TIMER_PONG, now + timeout)

    def _rest_codecs(self) -> None:
        """Let extensions drop what they can make again, if no message came or went for a while.

        The heartbeat is when we are awake anyway; a timer of its own would wake every idle
        connection once more.
        """
        messages = self._messages
        assert messages is not None
        if self._stirred or messages.stirred:
            self._stirred = messages.stirred = False
        else:
            for codec, _ in self._codecs:
                codec.idle()

    def _interval(self) -> float:
        """Seconds from the last ping to the next: longer after misses, within ``max_backoff``."""
        interval = self.config.ping_interval or 0.0
        # The exponent is bounded so that no setting can overflow a float.
        backoff = interval * 2.0 ** min(self._misses, 60)
        return max(interval, min(backoff, self.config.max_backoff))

    def _judge_pong(self, at: float, now: float) -> None:
        """The pong timeout is over: any byte since the ping is life."""
        timeout = self.config.pong_timeout
        assert timeout is not None
        if self._last_received > self._pong_since:
            self._misses = 0
            return
        if self._cannot_judge(at, now):
            self._timers.start(_TIMER_PONG, now + timeout)
            return
        self._misses = self._misses + 1 if self._last_received <= self._last_miss else 1
        self._last_miss = now
        if self._misses >= self.config.max_missed_pongs:
            self._time_out("pong", f"{self._misses} pings in a row without a sign of life")
        else:
            self._timers.start(_TIMER_PING, max(self._last_ping + self._interval(), now))

    def _judge_silence(self, at: float, now: float) -> None:
        """The receive timeout is over: was it silence, or a frame that takes too long?"""
        timeout = self.config.receive_timeout
        assert timeout is not None
        since = min(self._last_received, self._frame_began)
        if since + timeout > now:
            self._timers.start(Timer.RECEIVE, since + timeout)
        elif self._cannot_judge(at, now):
            self._timers.start(Timer.RECEIVE, now + timeout)
        elif self._frame_began <= self._last_received:
            self._time_out("receive", f"a frame took longer than {timeout:g} s to arrive")
        else:
            self._time_out("receive", f"no byte from the peer in {timeout:g} s")

    def _cannot_judge(self, at: float, now: float) -> bool:
        """Whether the silence may be ours: we do not read, or overslept."""
        if not self._reading:
            self._in_doubt = True
            return True
        return self._overslept(at, now)

    def _overslept(self, at: float, now: float) -> bool:
        """Whether a deadline is looked at so late that we cannot blame the peer; once per silence.

        The process was suspended or its loop blocked: bytes may wait unread. All deadlines that
        are late at the same moment are put off.
        """
        if now - at <= _LATE or _LONG_AGO < self._slept_until < now:
            return False
        self._slept_until = now
        return True

    def _time_out(self, timer: str, why: str) -> None:
        error = PeerTimeout(why, timer=timer, close_code=self.config.timeout_close_code)
        self._latch(Input.FAULT, error)

    # ------------------------------------------------------------------ errors

    def _illegal(self, command: str, expected: str) -> LocalProtocolError | ConnectionClosed:
        if self.phase in (_CLOSE_SENT, Phase.DRAINING, _CLOSED):
            word = "closed" if self.phase is _CLOSED else "closing"
            return self.closed_error(
                f"{command} came too late: the connection is {word}{self._why_closed()}"
            )
        return LocalProtocolError(f"{command} in state {self.phase.value}: expected it {expected}")

    def _why_closed(self) -> str:
        parts = []
        if self._received is not None:
            parts.append(f"the peer sent {_describe(self._received)}")
        if self._sent is not None:
            parts.append(f"we sent {_describe(self._sent)}")
        if self._error is not None:
            parts.append(str(self._error))
        return f" ({'; '.join(parts)})" if parts else ""


def _refusal_text(response: Response) -> str:
    """The status, and the first line of a body in plain text, bounded and printable."""
    line = response.body.partition(b"\n")[0].strip()
    plain = response.headers.get("content-type", "").lower().startswith("text/plain")
    if not line or not plain:
        return str(response.status)
    return f"{response.status}: {line[:200].decode('ascii', 'backslashreplace')!a}"


def _describe(close: Close) -> str:
    return f"{close.code} {close.reason!a}" if close.reason else str(close.code)


def _parse_close(body: bytes) -> Close:
    """Read a Close frame's body (RFC 6455 sections 5.5.1 and 7.4); raises ``ProtocolError``."""
    if not body:
        return Close(int(CloseCode.NO_STATUS_RECEIVED))
    if len(body) == 1:
        raise ProtocolError(
            "expected a Close body of two bytes or more, or none, got one", rule="RFC 6455 5.5.1"
        )
    code = int.from_bytes(body[:2])
    if not is_usable_close_code(code):
        raise ProtocolError(
            f"expected a close code that may be on the wire, got {code}", rule="RFC 6455 7.4"
        )
    try:
        return Close(code, body[2:].decode())
    except UnicodeDecodeError:
        raise ProtocolError(
            "expected a close reason in UTF-8",
            close_code=CloseCode.INVALID_PAYLOAD,
            rule="RFC 6455 8.1",
        ) from None


def _close_for(error: Exception) -> Close:
    """What we tell the peer about ``error``."""
    if isinstance(error, ProtocolError):
        reason = str(error).encode()[:123].decode(errors="ignore")
        return Close(error.close_code, reason)
    if isinstance(error, PeerTimeout):
        return Close(error.close_code, _TIMEOUT_REASON)
    return Close(int(CloseCode.INTERNAL_ERROR), _HOOK_REASON)


def _check_type(value: object, kind: type, what: str) -> None:
    """A bool is no int here: ``close(True)`` is a mistake."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"expected {what} as {kind.__name__}, got {type(value).__name__}")


def _control_payload(payload: object, command: str) -> bytes:
    data = snapshot(payload, command, "bytes, bytearray or a memoryview of bytes")
    if len(data) > 125:
        raise LocalProtocolError(
            f"{command}: expected at most 125 bytes of payload, got {len(data)} (RFC 6455 5.5)"
        )
    return data
