# cython: annotation_typing=False
"""``Session``: what a view must do next, as data. It decides and never performs.

A ``Connection`` knows the protocol; a ``Session`` knows hooks: which runs next, which may overlap,
what a failing one means, when to stop reading, when ``send`` may return, which ping was answered.
It holds the queue of events and the accounts, and calls nothing. A driver (a binding) reports what
happened and reads levels: looking twice or late is harmless. It must not know how hooks are run,
how one waits, or what a socket is.

Order is a rule here. The hooks of the handshake, ``on_open``, ``on_error`` and ``on_close`` run
alone; up to ``Config.concurrent_hooks`` message hooks overlap, started in order; ``on_close`` comes
after all of them. An ending that the connection has latched (see ``connection.py``) is applied when
everything before it was handled.

Tests: ``tests/core/test_session.py``.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

from .config import Config
from .connection import Buffer, Connection
from .enums import CloseCode, OpCode, Phase, Role, Transport, is_usable_close_code
from .errors import (
    ConnectionClosed,
    HookError,
    LocalProtocolError,
    PeerTimeout,
    ProtocolError,
    WebSocketError,
)
from .events import Chunk, Close, Closed, Event, HttpRequest, Message, Opened, Ping, Pong, Request
from .frames import Frame
from .headers import Headers, HeadersLike, Response
from .outgoing import PreparedMessage

__all__ = ["Accept", "Call", "CallKind", "Hook", "Hooks", "Session", "Target"]

logger = logging.getLogger("wsproto_core")

Hook: TypeAlias = Callable[..., Any]

_COST: Final = 64  # what a queued event costs beside its payload (a count of bytes, as in framing)


@dataclass(frozen=True, slots=True)
class Accept:
    """A value for ``on_request``: take the request, with these particulars."""

    subprotocol: str | None = ""
    """One that the client offered; ``None`` for none; empty: the first of ``SUBPROTOCOLS`` that was
    offered."""

    headers: HeadersLike = ()
    """Further header fields of the 101, such as ``Set-Cookie``."""


@dataclass(slots=True, kw_only=True)  # not frozen: made for each connection, in half the time
class Hooks:
    """The hooks of one view, bound; ``None`` where the view has none. Read once per connection."""

    on_request: Hook | None = None
    """``(event)``: judge the ``Request``; gives ``None`` or ``Accept``, or a ``Response``."""

    on_open: Hook | None = None
    """``()``."""

    on_text: Hook | None = None
    """``(str)``: a text message; before ``on_message``."""

    on_binary: Hook | None = None
    """``(bytes)``: a binary message; before ``on_message``."""

    on_message: Hook | None = None
    """``(bytes, OpCode)``: any message that the two above do not take."""

    on_chunk: Hook | None = None
    """``(data, OpCode, final)``: a part of a message."""

    on_ping: Hook | None = None
    """``(payload)``."""

    on_pong: Hook | None = None
    """``(payload, latency or None)``."""

    on_error: Hook | None = None
    """``(exception)``."""

    on_close: Hook | None = None
    """``(Frame or None)``: the peer's Close."""

    run: Hook | None = None
    """``()``: a view that lives by its own code instead of by hooks. It is started when the request
    was let through (client, or with the handshake done already: at once), beside the hooks, and
    answers the request itself."""

    @property
    def takes_messages(self) -> bool:
        """Whether messages go to hooks; else they wait for ``take_message``."""
        return (
            self.on_text is not None
            or self.on_binary is not None
            or self.on_message is not None
            or self.on_chunk is not None
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What serves a request: the outcome of routing."""

    hooks: Hooks
    config: Config


@unique
class CallKind(IntEnum):
    """Which hook a ``Call`` runs."""

    GATE = 0
    REQUEST = 1
    OPEN = 2
    MESSAGE = 3
    ERROR = 4
    CLOSE = 5
    RUN = 6


class Call:
    """One hook to run, given out by ``next_call`` and handed back with its outcome."""

    __slots__ = ("_arguments", "_data", "_opcode", "hook", "kind")

    def __init__(self, kind: CallKind, hook: Hook, arguments: tuple[Any, ...] | None) -> None:
        self.kind = kind
        self.hook = hook
        self._arguments = arguments  # None: a message's, which make no tuple
        self._data: str | bytes | None = None
        self._opcode: OpCode | None = None  # None: the hook takes the data alone

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the hook is called with."""
        if self._arguments is not None:
            return self._arguments
        return (self._data,) if self._opcode is None else (self._data, self._opcode)

    def begin(self) -> Any:
        """Call the hook; what it gives may have to be awaited."""
        if self._arguments is not None:
            return self.hook(*self._arguments)
        if self._opcode is None:
            return self.hook(self._data)
        return self.hook(self._data, self._opcode)

    @property
    def beside(self) -> bool:
        """Whether it goes on beside the hooks, for as long as it likes: a view's own ``run``."""
        return self.kind is _RUN

    def __repr__(self) -> str:
        return f"<Call {self.kind.name} {getattr(self.hook, '__qualname__', self.hook)}>"


class _Trouble:
    """In the queue: ``on_error`` is to be told."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Start:
    """In the queue: ``Hooks.run`` is to be started."""

    __slots__ = ()


_Item: TypeAlias = Event | _Trouble | _Start

_Posted: TypeAlias = str | bytes | PreparedMessage

_NO_HOOKS: Final = Hooks()
_AS_USUAL: Final = Accept()

_EMPTY: Final[deque[_Item]] = deque(maxlen=0)
"""The queue where nothing waits: a deque of its own takes more memory than all the rest of a
session. Nothing can be put in here."""

# Asked for every message: to look for an attribute of a class takes as long as all of framing.
_append: Final = deque.append
_extend: Final = deque.extend
_popleft: Final = deque.popleft
_OPEN: Final = Phase.OPEN
_CLOSED: Final = Phase.CLOSED
_DECIDING: Final = Phase.DECIDING
_CLOSE_SENT: Final = Phase.CLOSE_SENT
_TEXT: Final = OpCode.TEXT
_BINARY: Final = OpCode.BINARY
_GATE: Final = CallKind.GATE
_REQUEST: Final = CallKind.REQUEST
_MESSAGE: Final = CallKind.MESSAGE
_RUN: Final = CallKind.RUN

_NEVER: Final = math.inf
_PATIENCE: Final = 1.0
"""Seconds: for so long an ending waits for a reader that took a message and may answer it, and
``on_close`` for hooks that were cancelled and may clean up. Hooks, which tell when they are done,
are waited for up to ``close_timeout``."""
_MUTE: Final = (Phase.DRAINING, Phase.CLOSED)  # nothing that the peer says counts any more


class Session:
    """The life of one view over one connection.

    The driver reports: ``received``, ``eof``, ``lost``, ``tick``, ``write_blocked``, and for each
    call ``call_returned`` or ``call_failed``. Then it reads ``transport``, ``wants_read``,
    ``next_deadline``, ``take_output``, ``next_call``, ``take_cancel`` and ``is_finished``, in any
    order and as often as it likes. The view commands and waits for a predicate.
    """

    # As in Connection.
    __slots__ = (
        "_alone",
        "_cancel",
        "_choice",
        "_close_timed",
        "_closing",
        "_cost",
        "_deaf",
        "_full",
        "_gate",
        "_given_up",
        "_hold_until",
        "_in_hand",
        "_keeps_control",
        "_listening",
        "_mark",
        "_on_binary",
        "_on_message",
        "_on_text",
        "_over",
        "_overdue",
        "_overheard",
        "_overlap",
        "_pinged",
        "_posted",
        "_queue",
        "_quiet",
        "_read_at",
        "_reader",
        "_reads",
        "_route",
        "_running",
        "_spare",
        "_stragglers",
        "_takes_messages",
        "_told",
        "attended",
        "connection",
        "hooks",
        "opened",
        "wants_read",
    )

    connection: Connection
    """The protocol below; ``phase``, ``agreement``, ``closed`` and the like are read there."""

    hooks: Hooks
    """Who is told; on a server from routing on."""

    opened: bool
    """Whether ``on_open`` was entered (or would have been, were there one)."""

    wants_read: bool
    """Whether to read from the stream: false while too much waits for the application."""

    attended: int
    """For the driver: the identifier of the thread in which it runs calls and will look at the
    levels afterwards, so that who changes something meanwhile need not have it look; else 0."""

    def __init__(
        self,
        connection: Connection,
        hooks: Hooks | None = None,
        *,
        gate: Hook | None = None,
        route: Callable[[Request | HttpRequest], Target | Response] | None = None,
    ) -> None:
        """``hooks``: of a client, or of a server with one view. ``gate``: a server's ``(event)``
        hook before routing, for plain HTTP too; gives ``None`` or ``Accept`` to go on, or a
        ``Response``. ``route``: says which view serves a request, or the refusal; it does no I/O
        and may make the view.
        """
        self.connection = connection
        self._use(hooks if hooks is not None else _NO_HOOKS, connection.config)
        self.opened = False
        self.attended = 0
        self._gate = gate
        self._route = route
        self._queue = _EMPTY
        self._cost = 0  # of the queue
        self._spare: Call | None = None  # a message hook's that came back
        self._running = 0  # message hooks
        self._alone = False  # a hook that runs alone is running
        self.wants_read = True
        self._full = False  # too much waits; ends at half of what began it
        self._listening = False  # reading on nevertheless, for a sign of the peer's life
        self._overheard = 0  # bytes that were read so
        self._deaf = False  # nobody is left to take messages: a hook failed, or run() ended
        self._over = False  # all that the peer said was taken, and nothing more will come
        self._told: tuple[BaseException, ...] = ()  # the errors that on_error knows
        self._closing = 0  # callers that wait in close()
        self._reader = False  # somebody waits for a message
        self._reads = False  # somebody did, and may come back for more
        self._in_hand = False  # a message was taken, and its reader did not come back yet
        self._read_at = -_NEVER  # when the reader was last heard of
        self._hold_until = _NEVER  # when a reader that does not come back holds up no ending
        self._keeps_control = False  # the reader wants control frames too
        # Pings somebody waits for, if ever: when they were sent, and what the round trip took.
        self._pinged: dict[bytes, tuple[float, float | None]] | None = None
        self._overdue = _NEVER  # when running hooks are given up after the end
        self._given_up = False
        self._stragglers = 0  # hooks that were given up and did not come back
        self._close_timed = False  # on_close has its own time
        self._cancel = False
        self._quiet = False
        self._posted: deque[tuple[_Posted, OpCode]] | None = None  # wait for can_begin
        self._choice = _AS_USUAL
        # A server's waits for the request; but where somebody else did the handshake none comes.
        at_once = connection.role is Role.CLIENT or connection.agreement is not None
        if self.hooks.run is not None and at_once:
            self._put(_Start())

    def _use(self, hooks: Hooks, config: Config) -> None:
        """Keep at hand what is asked for every message."""
        self.hooks = hooks
        self._takes_messages = hooks.takes_messages
        self._on_text = hooks.on_text
        self._on_binary = hooks.on_binary
        self._on_message = hooks.on_message
        self._mark = config.read_high_water
        self._overlap = config.concurrent_hooks

    # ------------------------------------------------------------------ the driver reports

    def received(self, data: Buffer, now: float) -> None:
        """Bytes came from the peer."""
        if self._listening:
            self._listening = False
            self._overheard += len(data)
        self.connection.receive_data(data, now)
        self._look(now)

    def eof(self, now: float) -> None:
        """The peer ended its direction of the stream."""
        self.connection.receive_eof(now)
        self._look(now)

    def lost(self, error: Exception | None, now: float) -> None:
        """The stream is gone both ways; ``error`` says why, if it is known."""
        self.connection.lost(error, now)
        self._look(now)

    def tick(self, now: float) -> None:
        """It is ``now``. Early and repeated calls do nothing."""
        self.connection.handle_timeout(now)
        if now >= self._overdue:
            self._give_up_hooks(now)
        if now >= self._hold_until:
            self._hold_until = _NEVER
        if not self._queue:  # the heartbeat comes by: let go of what is empty
            self._queue = _EMPTY
        if not self._posted:
            self._posted = None
        self._spare = None
        self._look(now)

    def write_blocked(self, pending: int, now: float) -> None:
        """The transport holds ``pending`` bytes that the peer has not taken; 0: it caught up."""
        self.connection.write_blocked(pending, now)

    def call_returned(self, call: Call, value: object, now: float) -> None:
        """A hook returned; ``value`` counts for those of the handshake."""
        kind = call.kind
        self._came_back(kind)
        if kind is _GATE or kind is _REQUEST:
            self._answer(kind, value, now)
        elif kind is _RUN:
            self._run_ended(now)
        self._look(now)

    def call_passed(self, call: Call) -> bool:
        """As ``call_returned``, for the many hooks whose return changes nothing, and whose time
        nobody needs. The call is the session's again, and may be given out anew. False: this one
        may change something, and nothing was done."""
        connection = self.connection
        if (
            call.kind is not _MESSAGE
            or self._given_up
            or not self.wants_read
            or connection.phase is not _OPEN
            or connection.has_news()
        ):
            return False
        self._running -= 1
        call._arguments = ()
        call._data = None
        self._spare = call
        return True

    def call_failed(self, call: Call, error: BaseException, now: float) -> None:
        """A hook raised. Logged with its traceback; the peer learns only that it failed.

        An ``error`` that is no ``Exception`` (a cancellation) is not logged.
        """
        kind = call.kind
        self._came_back(kind)
        if not self._is_ending(error):
            if isinstance(error, Exception):
                logger.error(
                    "exception in %s", getattr(call.hook, "__qualname__", call.hook), exc_info=error
                )
            if kind is not CallKind.ERROR and kind is not CallKind.CLOSE:
                self._fail(error, now, kind)
        if kind is _RUN:
            self._forget_reader()
        self._look(now)

    def _came_back(self, kind: CallKind) -> None:
        if kind is _RUN:
            return  # nobody waits for it
        if self._given_up and kind is not CallKind.CLOSE:
            self._stragglers = max(self._stragglers - 1, 0)
        elif kind is _MESSAGE:
            self._running -= 1
        else:
            self._alone = False

    # ------------------------------------------------------------------ the driver reads

    @property
    def transport(self) -> Transport:
        """What is wanted of the stream."""
        return self.connection.transport

    def next_deadline(self) -> float | None:
        """When to call ``tick`` at the latest; ``None`` if nothing is waited for."""
        ours = min(self._overdue, self._hold_until)
        at = self.connection.next_deadline()
        if ours == _NEVER:
            return at
        return ours if at is None else min(at, ours)

    def has_output(self) -> bool:
        """Whether ``take_output`` would give anything."""
        return self.connection.has_output

    def has_batch(self) -> bool:
        """Whether to write what is queued although more hooks are to run, see
        ``Connection.has_batch``."""
        return self.connection.has_batch()

    def take_output(self) -> list[bytes]:
        """What to write, in order. From here on the bytes are the driver's to deliver."""
        return self.connection.data_to_send()

    def has_call(self) -> bool:
        """Whether ``next_call`` would give one."""
        return self._next_at() >= 0

    def has_more(self) -> bool:
        """Whether something waits for a hook, be it that none may start now."""
        return bool(self._queue)

    def next_call(self) -> Call | None:
        """The next hook to run, or ``None`` while none may start.

        It makes room: read ``wants_read`` after it.
        """
        at = self._next_at()
        if at < 0:
            return None
        if at:
            item = self._queue[at]
            del self._queue[at]
        else:
            item = _popleft(self._queue)
        if type(item) is not Message:
            self._cost -= _cost_of(item)
            return self._rare_call(item)
        message = item
        self._cost -= len(message.data) + _COST
        self._running += 1
        if not self.wants_read:
            self._look(self.connection.time)
        opcode, data = message.opcode, message.data
        if opcode is _TEXT:
            if self._on_text is not None:
                return self._message_call(self._on_text, data, None)
        elif self._on_binary is not None:
            return self._message_call(self._on_binary, data, None)
        assert self._on_message is not None
        raw = data if isinstance(data, bytes) else data.encode()
        return self._message_call(self._on_message, raw, opcode)

    def _message_call(self, hook: Hook, data: str | bytes, opcode: OpCode | None) -> Call:
        call, self._spare = self._spare, None
        if call is None:
            call = Call(_MESSAGE, hook, None)
        else:
            call.hook = hook
            call._arguments = None
        call._data = data
        call._opcode = opcode
        return call

    def is_finished(self) -> bool:
        """Whether the connection is closed and every hook, ``on_close`` too, has come to its end.

        A ``run`` that still runs does not count: it may wait for this.
        """
        return (
            self.connection.phase is _CLOSED
            and not self._alone
            and self._running == 0
            and not any(self._has_hook(item) for item in self._queue)
        )

    def take_cancel(self) -> bool:
        """Whether hooks overran ``close_timeout`` after the end, since this was last asked: cancel
        every hook that is running, or where that cannot be done leave it alone.
        """
        cancel, self._cancel = self._cancel, False
        return cancel

    # ------------------------------------------------------------------ the view commands

    def accept(self, choice: Accept | None, now: float) -> None:
        """Answer the request with a 101; ``None``: with what ``on_request`` chose.

        Raises ``LocalProtocolError`` if that does not fit.
        """
        self._send_101(self._choice if choice is None else choice, now)
        self._look(now)

    def reject(self, response: Response, now: float) -> None:
        """Answer the request with a refusal."""
        self.connection.reject(response, now)
        self._look(now)

    def send(
        self,
        data: str | Buffer | PreparedMessage,
        opcode: OpCode | int,
        final: bool = True,
        compress: bool | None = None,
    ) -> None:
        """Queue a message or a part of one; then wait for ``is_writable``.

        As ``Connection.send_message``. A prepared message brings its own ``opcode`` and
        ``compress``, and is no part of another one.
        """
        if isinstance(data, PreparedMessage):
            if not final:
                raise TypeError("expected a part of a message, got a PreparedMessage")
            self.connection.send_prepared(data)
        else:
            self.connection.send_message(data, opcode, final, compress)
        while self._posted and self.can_begin():
            self.post(*self._posted.popleft())

    def send_frame(self, frame: Frame, now: float) -> None:
        """Queue one frame, checked against the fragment sequence (RFC 6455 section 5.4).

        A control frame becomes a ping, pong or Close. Reserved bits belong to the extensions, which
        set them where they are due.
        """
        opcode = frame.opcode
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise LocalProtocolError(
                "expected a frame without reserved bits: the extensions set them (RFC 6455 5.2)"
            )
        if opcode >= OpCode.CLOSE and not frame.fin:
            raise LocalProtocolError("a control frame must not be fragmented (RFC 6455 5.5)")
        if opcode == OpCode.PING:
            self.connection.ping(frame.payload, now)
        elif opcode == OpCode.PONG:
            self.connection.pong(frame.payload)
        elif opcode == OpCode.CLOSE:
            self.close(_code_in(frame), frame.close_reason or "", now)
        else:
            sending = self.connection.sending
            if opcode == OpCode.CONTINUATION:
                if sending is None:
                    raise LocalProtocolError(
                        "a continuation frame with nothing to continue (RFC 6455 5.4)"
                    )
                opcode = sending
            elif sending is not None:
                raise LocalProtocolError(
                    f"expected a continuation frame, got {opcode.name}: the message before is "
                    "unfinished (RFC 6455 5.4)"
                )
            self.send(frame.payload, opcode, final=frame.fin)

    def post(self, data: _Posted, opcode: OpCode) -> None:
        """As ``send``, for a caller who is gone: it goes out once a message may begin; one that
        cannot be sent is logged.
        """
        if not self.can_begin():
            if self._posted is None:
                self._posted = deque()
            self._posted.append((data, opcode))
            return
        try:
            self.send(data, opcode)
        except (WebSocketError, TypeError) as error:
            logger.debug("a posted message was dropped: %s", error)

    def break_off(self, error: BaseException, now: float) -> None:
        """A message of ours was begun and will not be finished: the connection ends with 1011.

        Nothing happens if none is unfinished.
        """
        if not self.can_begin():
            self._end_with("a message of ours was broken off", error, now)
            self._look(now)

    def can_begin(self) -> bool:
        """Whether a new message may begin: no message of ours is unfinished, or all ended."""
        return self.connection.can_begin()

    def is_writable(self) -> bool:
        """Whether the queue to the peer is below ``write_high_water`` (or nothing more will go)."""
        return self.connection.is_writable()

    def check_sent(self) -> None:
        """After waiting for ``is_writable``: raise if what was queued was dropped instead."""
        connection = self.connection
        # Open and over the mark is no end: another sender was faster to come back.
        if connection.transport is Transport.ABORT or (
            connection.phase is _CLOSED and not connection.below_mark
        ):
            raise self._ended()

    def ping(self, payload: Buffer | None, now: float) -> bytes:
        """Queue a ping whose pong is waited for; then wait for ``pong_arrived``."""
        key = self.connection.ping(payload, now)
        if self._pinged is None:
            self._pinged = {}
        self._pinged[key] = now, None
        self._look(now)
        return key

    def pong_arrived(self, key: bytes) -> bool:
        """Whether the ping is answered, or never will be."""
        return self._over or self._rtt(key) is not None

    def take_rtt(self, key: bytes) -> float:
        """Seconds of the round trip; raises what ended the connection if there was none."""
        rtt = self._rtt(key)
        self.forget_ping(key)
        if rtt is None:
            raise self._ended()
        return rtt

    def forget_ping(self, key: bytes) -> None:
        """Nobody waits for this pong any more."""
        if self._pinged is not None:
            self._pinged.pop(key, None)

    def close(self, code: int | None, reason: str, now: float) -> None:
        """Start the closing handshake; then wait for ``is_closed``."""
        self.connection.close(code, reason, now=now)
        self._reads = False  # who closes need not read the rest
        self._look(now)

    def close_kindly(self, code: object, reason: object, now: float) -> None:
        """As ``close``, for callers who want no error: a reason over 123 bytes is cut at a
        character, and a code that must not be sent becomes 1011 and is logged.
        """
        if not (isinstance(code, int) and is_usable_close_code(code)):
            logger.error("expected a close code that may be sent, got %r; sending 1011", code)
            code = CloseCode.INTERNAL_ERROR
        text = str(reason).encode(errors="replace")[:123].decode(errors="ignore")
        self.close(int(code), text, now)

    def go_away(self, code: int, reason: str, now: float) -> None:
        """The server ends: close an open connection kindly, drop an unfinished handshake."""
        if self.connection.agreement is None:
            self.abort(now)
        else:
            self.close_kindly(code, reason, now)

    def wait_for_close(self, waiting: bool, now: float) -> None:
        """Somebody begins or stops waiting in ``close()``: messages that find no room are dropped
        meanwhile, for nobody may be there to take them, and the peer's Close is behind them.
        """
        self._closing += 1 if waiting else -1
        self._look(now)

    def is_closed(self) -> bool:
        """Whether the connection is closed. Hooks may still be running."""
        return self.connection.phase is _CLOSED

    def is_settled(self) -> bool:
        """Whether the opening handshake is over, one way or the other."""
        return self.connection.phase not in (Phase.OPENING, _DECIDING)

    @property
    def close_frame(self) -> Frame | None:
        """The peer's Close as a frame, or ``None``."""
        close = self.connection.close_received
        return None if close is None else Frame(OpCode.CLOSE, payload=close_payload(close))

    def mute(self, *, logging: bool, on_close: bool) -> None:
        """From here on keep the ending out of the log, or ``on_close`` out of the calls."""
        self._quiet = self._quiet or logging
        if on_close:
            self.hooks = replace(self.hooks, on_close=None)
            self._queue = deque(item for item in self._queue if not isinstance(item, Closed))

    def failure(self) -> Exception:
        """What to raise to somebody who wanted the connection to open, and it did not."""
        closed = self.connection.closed
        error = closed.error if closed is not None else self.connection.error
        return error if error is not None else self._ended()

    def abort(self, now: float) -> None:
        """Give the connection up at once, without a closing handshake."""
        self.connection.abort(now)
        self._look(now)

    def begin_read(self, now: float, *, control: bool = False) -> None:
        """Somebody wants the next message (``control``: or control frame); then wait for
        ``has_message``. Raises ``LocalProtocolError`` if somebody else waits already.
        """
        if self._reader:
            raise LocalProtocolError(
                "expected one reader at a time: another task or thread already waits for a message"
            )
        self._reader = True
        self._reads = True
        self._read_at = now
        self._in_hand = False
        self._keep_control(control)
        self._look(now)

    def has_message(self) -> bool:
        """Whether ``take_message`` gives something at once, be it the error that ended it all."""
        if self._readable_at() >= 0:
            return True
        # The error tells both sides' codes, so it waits for the end of it all; but not for a hook
        # that holds the end back, for the reader may be that hook.
        connection = self.connection
        over = connection.phase is _CLOSED or connection.ending
        return self._over and over and not any(self._is_readable(item) for item in self._queue)

    def ends_cleanly(self) -> bool:
        """Whether the closing handshake ended it, or will when the running hooks have returned."""
        closed = self.connection.closed
        if closed is None:
            return self.connection.ending_is_close
        return closed.clean

    def take_message(self, now: float) -> Message | Chunk | Ping | Pong | Close:
        """The next message for the reader. Raises what ended the connection when there is none."""
        at = self._readable_at()
        if at < 0:
            raise self._ended()
        item = self._queue[at]
        del self._queue[at]
        assert isinstance(item, (Message, Chunk, Ping, Pong, Close))
        self._cost -= _cost_of(item)
        self._in_hand = True
        self._read_at = now
        self._look(now)
        return item

    def end_read(self, now: float) -> None:
        """The reader got its message, or stopped waiting."""
        self._reader = False
        if self._takes_messages:
            self._keep_control(False)  # they would stand in the way of the hooks
        self._look(now)

    # ------------------------------------------------------------------ decisions: events

    def _look(self, now: float) -> None:
        """Take what the connection has to tell, as far as there is room for it."""
        connection = self.connection
        while self._has_room() or self._drops() or connection.phase is _CLOSED:
            if not connection.has_news():
                self._over = False
                break
            events = connection.events(True)
            if not events:
                self._over = connection.ending or connection.phase in _MUTE
                if not connection.ending:
                    break
                if connection.phase is _OPEN and (
                    self._is_busy(now) or self._tell(connection.error)
                ):
                    break
                events = connection.events()
            if not self._take_messages(events):
                for event in events:
                    self._take(event, now)
        if connection.phase is _CLOSED:
            self._await_hooks(now)
        self._balance(now)

    def _has_room(self) -> bool:
        return self._cost < self._mark

    def _is_busy(self, now: float) -> bool:
        """Whether what came before is still being handled."""
        if self._running or self._alone:
            return True
        if self._reads and not self._takes_messages:
            # Nobody knows whether a reader will come back, so it is waited for, but not for long:
            # the peer waits for the answer to its Close.
            if not (self._queue or self._in_hand) or now >= self._read_at + _PATIENCE:
                return False
            self._hold_until = self._read_at + _PATIENCE
            return True
        return any(self._has_hook(item) for item in self._queue)

    def _drops(self) -> bool:
        """Whether messages that find no room are dropped: the only way on to the peer's Close."""
        return self._closing > 0 and self.connection.phase is _CLOSE_SENT

    def _take_messages(self, events: list[Event]) -> bool:
        """Queue ``events`` in one go if they are messages that all go to hooks, as most do."""
        by_type = self._on_text is not None and self._on_binary is not None
        if self._deaf or self._closing or not (by_type or self._on_message is not None):
            return False
        cost = 0
        for event in events:
            if type(event) is not Message:
                return False
            message = event
            cost += len(message.data) + _COST
        if self._queue is _EMPTY:
            self._queue = deque()
        _extend(self._queue, events)
        self._cost += cost
        return True

    def _take(self, event: Event, now: float) -> None:
        kind = type(event)
        if kind is Message or kind is Chunk:
            if self._deaf:
                return
            if kind is Message and not self._takes(event):
                self._refuse(event, now)
                return
            self._enqueue(event)
        elif kind is Ping or kind is Pong or kind is Close:
            if isinstance(event, Pong):
                self._note_pong(event, now)
            if self._keeps_control or self._has_hook(event):
                self._enqueue(event)
        elif kind is Opened:
            if self.hooks.on_open is not None:
                self._put(event)
            else:
                self.opened = True
        elif isinstance(event, Closed):
            self._take_closed(event)
        elif isinstance(event, (Request, HttpRequest)):
            if self._gate is not None:
                self._put(event)
            else:
                self._go_on(event, now)

    def _take_closed(self, event: Closed) -> None:
        # A hook's error was logged with its traceback; an answered plain GET is no failure.
        told = event.error is None or isinstance(event.error, HookError)
        if not (self._quiet or told or isinstance(self.connection.request, HttpRequest)):
            logger.info("the connection failed: %s", event.error)
        if self.connection.agreement is not None:
            self._tell(event.error)
            if self.hooks.on_close is not None:
                self._put(event)

    def _takes(self, message: Event) -> bool:
        """Whether some hook takes this type of message, or no hook takes any."""
        if self._on_message is not None or not self._takes_messages:
            return True
        assert isinstance(message, Message)
        hook = self._on_text if message.opcode is _TEXT else self._on_binary
        return hook is not None

    def _refuse(self, message: Event, now: float) -> None:
        """The view takes the other type only: 1003 (RFC 6455 section 7.4.1)."""
        assert isinstance(message, Message)
        self._deaf = True
        self.connection.fail(
            ProtocolError(
                f"expected no {message.opcode.name} message: this endpoint takes the other type",
                close_code=CloseCode.UNSUPPORTED_DATA,
                rule="RFC 6455 7.4.1",
            ),
            now,
        )

    def _enqueue(self, event: Event) -> None:
        if self._has_room() or not self._drops():
            self._put(event)
            self._cost += _cost_of(event)

    def _put(self, item: _Item, ahead: bool = False) -> None:
        if self._queue is _EMPTY:
            self._queue = deque()
        if ahead:
            self._queue.appendleft(item)
        else:
            _append(self._queue, item)

    def _tell(self, error: Exception | None, *, ahead: bool = False) -> bool:
        """Have ``on_error`` told of ``error``, once. Whether it is now in the queue."""
        if self.hooks.on_error is None or error is None:
            return False
        told = error.__cause__ if isinstance(error, HookError) else error
        if any(item is told for item in self._told):
            return False
        assert told is not None
        self._told = (*self._told, told)
        self._put(_Trouble(told if isinstance(told, Exception) else error), ahead)
        return True

    def _note_pong(self, pong: Pong, now: float) -> None:
        """Answer those who wait for this pong or, if it is later, for one before it."""
        pinged = self._pinged
        if pong.rtt is None or not pinged:
            return
        for key, (at, rtt) in pinged.items():
            if key == pong.payload:
                pinged[key] = at, pong.rtt  # now may be later than its coming
            elif rtt is None and not self.connection.awaits_pong(key):
                pinged[key] = at, now - at

    def _rtt(self, key: bytes) -> float | None:
        if self._pinged is None or key not in self._pinged:
            return None
        return self._pinged[key][1]

    def _balance(self, now: float) -> None:
        """Stop reading above the mark, go on at half of it."""
        if self.connection.phase is _DECIDING:
            wants = self.connection.early_bytes < self._mark
        elif self.connection.phase is _OPEN or self.connection.phase is _CLOSE_SENT:
            wants = self._may_read()
        else:
            wants = True
        if wants != self.wants_read:
            self.wants_read = wants
            self.connection.set_reading(wants, now)

    def _may_read(self) -> bool:
        """Whether there is room, or the peer's life is in question.

        The latter is answered by the next bytes, so they are read, to be kept as they are: up to
        the mark once more, for who holds a hook for ever must not make this grow.
        """
        mark = self._mark
        if not self._full:
            self._full = self._cost >= mark and not self._drops()
        elif self._cost <= mark // 2 or self._drops():
            self._full = self._listening = False
            self._overheard = 0
        elif self.connection.in_doubt and self._overheard < mark:
            self._listening = True
        return not self._full or self._listening

    # ------------------------------------------------------------------ decisions: calls

    def _next_at(self) -> int:
        """Where the next item for a hook stands in the queue; -1 while none may start.

        What waits for a reader holds up the hooks behind it only while a reader may come back.
        """
        queue = self._queue
        if not queue or self._alone or self._stragglers:
            return -1
        at = 0
        item = queue[0]
        if not self._has_hook(item):
            if self._reads and not self._takes_messages:
                return -1
            at = self._hooked_at()
            if at < 0:
                return -1
            item = queue[at]
        kind = type(item)
        if kind is Message or kind is Chunk or kind is Ping or kind is Pong:
            if self._reader and self._is_readable(item):
                return -1
            limit = 1 if kind is Chunk else self._overlap
            return at if self._running < limit else -1
        return at if kind is _Start or self._running == 0 else -1

    def _hooked_at(self) -> int:
        # Apart, for its generator costs each call of the function that has it.
        return next((place for place, item in enumerate(self._queue) if self._has_hook(item)), -1)

    def _has_hook(self, item: _Item) -> bool:
        kind = type(item)
        if kind is Message:
            return self._takes_messages
        hooks = self.hooks
        if kind is Chunk:
            return hooks.on_chunk is not None
        if kind is Ping:
            return hooks.on_ping is not None
        if kind is Pong:
            return hooks.on_pong is not None
        return kind is not Close

    def _rare_call(self, item: _Item) -> Call:
        hooks = self.hooks
        if isinstance(item, Chunk):
            assert hooks.on_chunk is not None
            self._running += 1
            data = item.data if isinstance(item.data, bytes) else item.data.encode()
            return Call(_MESSAGE, hooks.on_chunk, (data, item.opcode, item.final))
        if isinstance(item, Ping):
            assert hooks.on_ping is not None
            self._running += 1
            return Call(_MESSAGE, hooks.on_ping, (item.payload,))
        if isinstance(item, Pong):
            assert hooks.on_pong is not None
            self._running += 1
            return Call(_MESSAGE, hooks.on_pong, (item.payload, item.rtt))
        if isinstance(item, _Start):
            assert hooks.run is not None
            return Call(_RUN, hooks.run, ())
        self._alone = True
        if isinstance(item, Opened):
            assert hooks.on_open is not None
            self.opened = True
            return Call(CallKind.OPEN, hooks.on_open, ())
        if isinstance(item, _Trouble):
            assert hooks.on_error is not None
            return Call(CallKind.ERROR, hooks.on_error, (item.error,))
        if isinstance(item, Closed):
            assert hooks.on_close is not None
            return Call(CallKind.CLOSE, hooks.on_close, (self.close_frame,))
        if self._gate is not None:
            gate, self._gate = self._gate, None
            return Call(_GATE, gate, (item,))
        assert hooks.on_request is not None
        return Call(_REQUEST, hooks.on_request, (item,))

    def _answer(self, kind: CallKind, value: object, now: float) -> None:
        """What a hook of the handshake gave becomes the answer."""
        if self.connection.phase is not _DECIDING:
            return  # too late: the client went away, or the open timeout ended it
        request = self.connection.request
        assert request is not None
        if isinstance(value, Response):
            self._reject(value, now)
        elif value is None or isinstance(value, Accept):
            if isinstance(value, Accept):
                self._choice = value
            if kind is _GATE:
                self._go_on(request, now)
            else:
                self._serve(now)
        else:
            error = TypeError(
                f"expected None, Accept or Response from on_request, got {type(value).__name__}"
            )
            logger.error("wrong value of on_request", exc_info=error)
            self.connection.reject(_internal_error(), now)

    def _go_on(self, request: Request | HttpRequest, now: float) -> None:
        """The gate lets the request through: which view serves it?"""
        route, self._route = self._route, None  # asked once; it may hold much
        if route is not None:
            try:
                target = route(request)
            except Exception as error:  # the view's __init__ is the application's code
                logger.error("exception while a request was routed", exc_info=error)
                self.connection.reject(_internal_error(), now)
                return
            if isinstance(target, Response):
                self._reject(target, now)
                return
            self._use(target.hooks, target.config)
            if isinstance(request, Request):
                self.connection.configure(target.config, now)
                if self.connection.phase is not _DECIDING:
                    return  # the view's origin rule refused it
        if isinstance(request, HttpRequest):
            self._reject(request.refusal, now)
        elif self.hooks.on_request is not None:
            self._put(request)
        else:
            self._serve(now)

    def _serve(self, now: float) -> None:
        """Nobody has anything against the request. A view's own ``run`` answers it itself."""
        if self.hooks.run is not None:
            self._put(_Start())
        else:
            self._accept(now)

    def _send_101(self, choice: Accept, now: float) -> None:
        subprotocol = ... if choice.subprotocol == "" else choice.subprotocol
        self.connection.accept(now, subprotocol=subprotocol, headers=choice.headers)

    def _accept(self, now: float) -> None:
        try:
            self._send_101(self._choice, now)
        except Exception as error:  # headers and extensions are the application's
            logger.error("the request cannot be accepted like this", exc_info=error)
            self.connection.reject(_internal_error(), now)

    def _reject(self, response: Response, now: float) -> None:
        try:
            self.connection.reject(response, now)
        except Exception as error:  # the response is the application's
            logger.error("the request cannot be answered like this", exc_info=error)
            self.connection.reject(_internal_error(), now)

    def _is_ending(self, error: BaseException) -> bool:
        """Whether a hook raised nothing but what ended the connection under it."""
        connection = self.connection
        if not self.is_settled() or (connection.phase is _OPEN and not connection.ending):
            return False
        cause = connection.error
        return isinstance(error, ConnectionClosed) or (
            cause is not None and (error is cause or error is cause.__cause__)
        )

    def _fail(self, error: BaseException, now: float, kind: CallKind = _MESSAGE) -> None:
        """A hook failed: 500 to a request, Close 1011 later; on_error is told, if it may be."""
        phase = self.connection.phase
        if phase is _DECIDING:
            self.connection.reject(_internal_error(), now)
        elif phase in (Phase.OPENING, _OPEN) and not self._deaf:
            self._end_with("a hook raised an exception", error, now)
        elif kind is _RUN and phase is _CLOSED:
            pass  # it may have outlived on_close
        elif self.opened and not self._given_up:
            self._stop_messages()
            if isinstance(error, Exception):
                self._tell(error, ahead=True)  # it ends already

    def _end_with(self, why: str, error: BaseException, now: float) -> None:
        failure = HookError(why)
        failure.__cause__ = error
        self._stop_messages()
        self.connection.fail(failure, now)

    def _stop_messages(self) -> None:
        """Nobody is left to take messages."""
        self._deaf = True
        self._keep(lambda item: not isinstance(item, (Message, Chunk)))

    def _keep(self, wanted: Callable[[_Item], bool]) -> None:
        self._queue = deque(filter(wanted, self._queue))
        self._cost = sum(map(_cost_of, self._queue))

    def _run_ended(self, now: float) -> None:
        """A view that lives by its own code came to its end: so does the connection."""
        self._forget_reader()
        if self.connection.phase is _DECIDING:
            self.connection.reject(_internal_error(), now)
        elif not self.connection.ending:
            self.connection.close(int(CloseCode.NORMAL_CLOSURE), now=now)

    def _await_hooks(self, now: float) -> None:
        """After the end: how long what still runs or waits may take, and then ``on_close``."""
        self._hold_until = _NEVER  # nothing is held up any more
        timeout = self.connection.config.close_timeout
        if timeout is None or self.is_finished():
            self._overdue = _NEVER
            return
        if self._stragglers:
            return
        at = self._next_at()
        close_next = at >= 0 and type(self._queue[at]) is Closed
        if self._overdue == _NEVER or (close_next and not self._close_timed):
            self._close_timed = close_next
            self._overdue = now + timeout

    def _give_up_hooks(self, now: float) -> None:
        """The time for hooks is over. What waits is dropped, but for ``on_close``, which then gets
        its own time, when those that are cancelled have come back (or do not).
        """
        if self._stragglers:
            self._stragglers = 0
            self._overdue = _NEVER
            return
        opened = self.opened
        self._keep(lambda item: opened if isinstance(item, Closed) else not self._has_hook(item))
        if not self._given_up:
            self._stragglers = self._running + self._alone
        self._given_up = True
        self._cancel = True
        self._alone = False
        self._running = 0
        self._reads = False
        self._overdue = now + _PATIENCE if self._stragglers else _NEVER

    # ------------------------------------------------------------------ decisions: the reader

    def _is_readable(self, item: _Item) -> bool:
        if isinstance(item, (Message, Chunk)):
            return True
        return self._keeps_control and isinstance(item, (Ping, Pong, Close))

    def _readable_at(self) -> int:
        """Where the next item for a reader stands in the queue, or -1; none before on_open."""
        for at, item in enumerate(self._queue):
            if self._is_readable(item):
                return at
            if type(item) is Opened:
                break
        return -1

    def _keep_control(self, control: bool) -> None:
        """Whether control frames wait for a reader. If not, those that do are passed over."""
        if self._keeps_control and not control:
            self._keep(lambda item: self._has_hook(item) or isinstance(item, (Message, Chunk)))
        self._keeps_control = control

    def _forget_reader(self) -> None:
        """The view's own code came to its end: it does not read any more."""
        self._reads = False
        if not self._takes_messages:
            self._stop_messages()
            self._keep_control(False)

    def _ended(self) -> Exception:
        """What to raise to somebody who waited for something that cannot come."""
        connection = self.connection
        error = connection.error
        if isinstance(error, (ProtocolError, PeerTimeout)):
            return error
        message = f"the connection is {'closing' if connection.closed is None else 'closed'}"
        received = connection.close_received
        if received is not None:
            message += f": the peer's code is {received.code}"
            message += f" {received.reason!a}" if received.reason else ""
        elif connection.closed is not None:
            message += ": no Close came from the peer"
        ended = connection.closed_error(message + (f" ({error})" if error is not None else ""))
        ended.__cause__ = error
        return ended


def _cost_of(item: object) -> int:
    if type(item) is Message:
        message = item
        return len(message.data) + _COST
    if isinstance(item, Chunk):
        return len(item.data) + _COST
    if isinstance(item, (Ping, Pong)):
        return len(item.payload) + _COST
    return _COST if isinstance(item, Close) else 0


def close_payload(close: Close) -> bytes:
    """The body of a Close frame (RFC 6455 section 5.5.1)."""
    if close.code == CloseCode.NO_STATUS_RECEIVED:
        return b""
    return close.code.to_bytes(2) + close.reason.encode()


def _code_in(frame: Frame) -> int | None:
    if not frame.payload:
        return None
    if len(frame.payload) == 1:
        raise LocalProtocolError(
            "expected a Close body of two bytes or more, or none, got one (RFC 6455 5.5.1)"
        )
    return int.from_bytes(frame.payload[:2])


def _internal_error() -> Response:
    body = b"500 Internal Server Error: the server failed while it looked at the request.\n"
    return Response(500, Headers([("Content-Type", "text/plain; charset=utf-8")]), body)
