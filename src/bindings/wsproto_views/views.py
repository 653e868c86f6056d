# cython: annotation_typing=False
"""``WebSocketView``, the part that all runtimes share.

A view is words for a ``Session``: each public method is one session command and one wait. There is
no decision here; if a method grows one, it belongs in ``session.py``. ``AsyncView`` has the long
docstrings and serves asyncio, trio and anyio; ``SyncView`` in ``sync.py`` serves threads.

The seed's ``_receive_loop`` and ``_heartbeat_loop`` do not exist: bytes and time meet in the
sans-IO session, and the driver of each runtime feeds it.

Tests: ``tests/bindings/test_contract.py``, on every runtime, and ``tests/bindings/test_views.py``.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from enum import IntEnum, unique
from functools import lru_cache
from operator import attrgetter, is_
from typing import Any, ClassVar, Final, Protocol, Self

from wsproto_core import (
    Accept,
    Buffer,
    Chunk,
    Close,
    Config,
    Connection,
    ConnectionClosed,
    Extension,
    ExtensionNegotiated,
    Frame,
    HookError,
    Hooks,
    LocalProtocolError,
    Message,
    OpCode,
    Phase,
    Ping,
    Pong,
    PreparedMessage,
    Response,
    Session,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_core.handshake import MAGIC_STRING, accept_key
from wsproto_core.session import Hook, close_payload

from .quick import get_ident
from .requests import UpgradeRequest

__all__ = ["AsyncDriver", "AsyncView", "BaseView", "State", "check_view"]


@unique
class State(IntEnum):
    """Where a view stands."""

    INITIATING = -1
    """The opening handshake runs."""

    CLOSED = 0
    """Not begun, or over."""

    OPEN = 1
    """Data may flow."""

    INITIATED = 2
    """The 101 is through, ``on_open`` was not entered yet."""

    CLOSING = 3
    """A Close was sent or received."""


class AsyncDriver(Protocol):
    """What a view needs of a runtime: a clock, a way to publish, a way to wait."""

    server: Any
    """The server that the view belongs to, or ``None``."""

    sock: Any
    """The socket, where there is one."""

    def now(self) -> float:
        """Seconds of the runtime's monotonic clock."""

    def is_here(self) -> bool:
        """Whether the caller is where the connection lives: in its loop and thread."""

    def publish(self) -> None:
        """The session changed: carry out what it wants, this turn or at once."""

    def flush_soon(self) -> None:
        """As ``publish``, where nothing but output is new: cheap, for many connections at once."""

    def flush(self) -> None:
        """Write now what the stream takes without waiting; nothing, where there is no such way."""

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action`` where the session lives; callable from any thread."""

    async def settle(self, predicate: Callable[[], bool]) -> None:
        """Publish, then wait until ``predicate`` holds. Cancelling stops the waiting, nothing
        else."""

    def is_released(self) -> bool:
        """Whether every hook has ended and the stream is closed."""


class BaseView:
    """Settings, attributes and bookkeeping of a view: the same for every runtime."""

    _is_library = True  # marks the classes whose hooks are defaults, not the user's

    # What views of this class had last: the class and its attributes, and which of them are hooks;
    # the hooks and settings, and the Config of them.
    _known_hooks: ClassVar[tuple[type, list[Any], frozenset[str]] | None] = None
    _known_config: ClassVar[tuple[frozenset[str], tuple[Any, ...], Config] | None] = None

    # ------------------------------------------------------------------ settings

    MAGIC_STRING: ClassVar[str] = MAGIC_STRING
    """The GUID of RFC 6455, for ``get_sec_accept_key``."""

    PING_INTERVAL: float | None = 20
    """Seconds from ping to ping; ``None`` or 0 switches the heartbeat off."""

    PONG_TIMEOUT: float | None = 10
    """Seconds after a ping in which any byte of the peer must come."""

    MAX_BACKOFF: float = 45
    """Seconds: after missed pongs the next ping waits ``PING_INTERVAL * 2**misses``, at most
    this."""

    MAX_MISSED_PONGS: int = 3
    """Misses in a row that end the connection."""

    RECEIVE_TIMEOUT: float | None = 120
    """Seconds of silence that end the connection, and the longest that one frame may take."""

    OPEN_TIMEOUT: float | None = 10
    """Seconds for the opening handshake."""

    CLOSE_TIMEOUT: float | None = 10
    """Seconds for the peer's Close, and for running hooks."""

    SEND_TIMEOUT: float | None = 60
    """Seconds in which the peer must take at least one byte while some are queued."""

    MAX_FRAME_SIZE: int | None = 1 << 20
    """Bytes of an incoming frame's payload, else Close 1009; outgoing messages above it go out in
    fragments of this size."""

    MAX_MESSAGE_SIZE: int | None = 16 << 20
    """Bytes of a message after reassembly and inflation, else Close 1009; ``None``: no limit."""

    TIMEOUT_CLOSE_CODE: int = 1001
    """What a heartbeat or receive timeout closes with."""

    CONCURRENT_RECEIVE: int = 1
    """Message hooks that may run at once; they start in order."""

    ORIGINS: Sequence[str] | None = None
    """Origins allowed; ``None``: the same origin, or none at all. ``"*"``: any. Others get a
    403."""

    SUBPROTOCOLS: Sequence[str] = ()
    """In order of preference."""

    EXTENSIONS: Sequence[Extension] = (PerMessageDeflate(),)
    """Offered (client) or accepted (server), in order of preference."""

    READ_HIGH_WATER: int = 1 << 16
    """Bytes of messages held for slow hooks before reading pauses."""

    WRITE_HIGH_WATER: int = 1 << 16
    """Bytes queued for a slow peer before ``send`` waits."""

    # ------------------------------------------------------------------ attributes

    request: UpgradeRequest
    """The opening request."""

    kwargs: dict[str, Any]
    """The route's placeholders, and what else ``__init__`` was given."""

    def __init__(self, upgrade_request: UpgradeRequest, **kwargs: Any) -> None:
        """Keep the request; no I/O."""
        self.request = upgrade_request
        self.kwargs = kwargs

    # Set when the view is attached to a connection; each flavour says what it needs of a driver.
    _session: Session | None = None
    _driver: Any

    @property
    def server(self) -> Any:
        """The server that the view belongs to; ``None`` for a client."""
        return self._driver.server if self._session is not None else None

    @property
    def sock(self) -> Any:
        """The socket below, where the runtime shows one."""
        return self._driver.sock if self._session is not None else None

    @property
    def connection(self) -> Connection:
        """The sans-IO object below. Raises ``LocalProtocolError`` before the view is connected."""
        return self._attached("connection").connection

    @property
    def state(self) -> State:
        """Where the view stands."""
        if self._session is None:
            return State.CLOSED
        phase = self._session.connection.phase
        if phase is Phase.OPEN:
            return State.OPEN if self._session.opened else State.INITIATED
        if phase is Phase.CLOSED or not self.initiated_upgrade:
            return State.CLOSED if phase in (Phase.CLOSED, Phase.DRAINING) else State.INITIATING
        return State.CLOSING

    @property
    def is_open(self) -> bool:
        """Whether data may be sent."""
        return self._session is not None and self._session.connection.phase is Phase.OPEN

    @property
    def initiated_upgrade(self) -> bool:
        """Whether the handshake succeeded: the 101 was sent or received."""
        return self._session is not None and self._session.connection.agreement is not None

    @property
    def extensions(self) -> tuple[ExtensionNegotiated, ...]:
        """The agreed extensions, in order; empty before the handshake."""
        if self._session is None or self._session.connection.agreement is None:
            return ()
        return self._session.connection.agreement.extensions

    @property
    def subprotocol(self) -> str | None:
        """The agreed subprotocol."""
        if self._session is None or self._session.connection.agreement is None:
            return None
        return self._session.connection.agreement.subprotocol

    @property
    def client_websocket_version(self) -> int | None:
        """The protocol version that the client asked for, which is 13 wherever a view exists."""
        version = self.request.headers.get("sec-websocket-version", "")
        return int(version) if version.isascii() and version.isdigit() else None

    @property
    def fragmented_frame(self) -> Frame | None:
        """The incoming message in progress with what is there of it, or ``None``."""
        if self._session is None:
            return None
        partial = self._session.connection.partial_message
        return None if partial is None else Frame(partial[0], False, partial[1])

    @property
    def close_frame(self) -> Frame | None:
        """The peer's Close frame, or ``None``."""
        return None if self._session is None else self._session.close_frame

    @property
    def close_code(self) -> int | None:
        """The peer's close code: 1005 for a Close without one, 1006 if the connection ended without
        a Close; ``None`` before the end."""
        if self._session is None:
            return None
        closed, received = self.connection.closed, self.connection.close_received
        if received is not None:
            return received.code
        return None if closed is None else closed.code

    @property
    def close_reason(self) -> str | None:
        """The peer's close reason; ``None`` before the end."""
        if self._session is None:
            return None
        closed, received = self.connection.closed, self.connection.close_received
        if received is not None:
            return received.reason
        return None if closed is None else closed.reason

    @property
    def latency(self) -> float | None:
        """Seconds of the last ping's round trip; ``None`` before the first pong."""
        return None if self._session is None else self._session.connection.latency

    def get_sec_accept_key(self, sec_websocket_key: str) -> str:
        """Base64 of the SHA-1 of the key and ``MAGIC_STRING`` (RFC 6455 section 4.2.2)."""
        return accept_key(sec_websocket_key, self.MAGIC_STRING)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request.target} {self.state.name}>"

    # ------------------------------------------------------------------ for the bindings

    def _attach(self, session: Session, driver: Any) -> Self:
        self._session = session
        self._driver = driver
        return self

    def _attached(self, call: str) -> Session:
        if self._session is None:
            raise LocalProtocolError(
                f"{call}: {type(self).__name__} is not connected, expected serve() or connect() "
                "to run it first"
            )
        return self._session

    def _config(self) -> Config:
        """The settings as the core takes them, read from the instance."""
        cls = type(self)
        own = _own_hooks(cls)
        values = _read_settings(self)
        # One Config for all views with the same settings, for to check them takes a while.
        known = cls._known_config
        if known is not None and known[0] is own and all(map(is_, known[1], values)):
            return known[2]
        settings: dict[str, Any] = dict(zip(_SETTINGS, values, strict=True))
        settings["deliver"] = "chunks" if "on_fragment" in own else "messages"
        settings["text_as_bytes"] = not own.isdisjoint(_MESSAGE_HOOKS) and "on_text" not in own
        try:
            config = _shared_config(**settings)
        except TypeError:  # one of them is wrong, or a list, which may change
            return Config(**settings)
        cls._known_config = own, values, config
        return config

    def _offer(self, message: PreparedMessage) -> bool:
        """Queue ``message`` if the session takes it now; for each flavour to say."""
        raise NotImplementedError

    def _hooks(self) -> Hooks:
        """The hooks that the user's class defines, bound."""
        own = _own_hooks(type(self))

        def hook(name: str) -> Hook | None:
            return getattr(self, name) if name in own else None

        judge = hook("on_request")
        framed = "on_new_frame" in own
        return Hooks(
            on_request=None if judge is None else lambda _event: judge(self.request),
            on_open=hook("on_open"),
            on_text=None if framed else hook("on_text"),
            on_binary=None if framed else hook("on_binary"),
            on_message=self._frame_first if framed else hook("on_receive"),
            on_chunk=hook("on_fragment"),
            on_ping=hook("on_ping"),
            on_pong=hook("on_pong"),
            on_error=hook("on_error"),
            on_close=hook("on_close"),
            run=None if own.isdisjoint(_LIFE) else getattr(self, "run"),  # noqa: B009
        )

    def _frame_first(self, data: bytes, opcode: OpCode) -> Any:
        """``on_new_frame``, then the hook that takes the message; for each flavour to say."""
        raise NotImplementedError

    @classmethod
    def _check(cls) -> None:
        """Refuse hooks that this flavour cannot run: ``TypeError``."""

    def _has(self, name: str) -> bool:
        """Whether the user's class defines the hook."""
        return name in _own_hooks(type(self))


_MESSAGE_HOOKS = ("on_receive", "on_text", "on_binary", "on_fragment", "on_new_frame")
_LIFE = ("run", "run_forever")


HOOKS = (
    "on_request",
    "on_open",
    *_MESSAGE_HOOKS,
    "on_ping",
    "on_pong",
    "on_error",
    "on_close",
    *_LIFE,
)
"""What a user's class may define and the library then runs."""


_shared_config = lru_cache(maxsize=64, typed=True)(Config)


_SETTINGS = {
    "max_message_size": "MAX_MESSAGE_SIZE",
    "max_frame_size": "MAX_FRAME_SIZE",
    "read_high_water": "READ_HIGH_WATER",
    "write_high_water": "WRITE_HIGH_WATER",
    "open_timeout": "OPEN_TIMEOUT",
    "close_timeout": "CLOSE_TIMEOUT",
    "send_timeout": "SEND_TIMEOUT",
    "ping_interval": "PING_INTERVAL",
    "pong_timeout": "PONG_TIMEOUT",
    "max_missed_pongs": "MAX_MISSED_PONGS",
    "max_backoff": "MAX_BACKOFF",
    "receive_timeout": "RECEIVE_TIMEOUT",
    "timeout_close_code": "TIMEOUT_CLOSE_CODE",
    "concurrent_hooks": "CONCURRENT_RECEIVE",
    "extensions": "EXTENSIONS",
    "subprotocols": "SUBPROTOCOLS",
    "origins": "ORIGINS",
}
"""What the core calls the settings of a view."""

_read_settings: Callable[[BaseView], tuple[Any, ...]] = attrgetter(*_SETTINGS.values())


def _own_hooks(cls: type[BaseView]) -> frozenset[str]:
    """The hooks that ``cls`` or a user's class above it defines anew.

    To find them takes a while, so a class remembers them, until it gets others.
    """
    found = [getattr(cls, name, None) for name in HOOKS]
    known = cls._known_hooks
    if known is None or known[0] is not cls or known[1] != found:
        known = cls, found, frozenset(name for name in HOOKS if _overrides(cls, name))
        cls._known_hooks = known
    return known[2]


def _overrides(cls: type[BaseView], name: str) -> bool:
    """Whether ``cls`` or a user's class above it defines ``name`` anew."""
    for base in cls.__mro__:
        if name in vars(base):
            return "_is_library" not in vars(base)
    return False


def check_view(cls: object) -> None:
    """Refuse a class that no message could reach: at its use, not at the first message.

    Raises ``TypeError`` if it is no view class or its hooks cannot be run, ``NotImplementedError``
    if it neither has a message hook nor lives by its own ``run``.
    """
    if not (isinstance(cls, type) and issubclass(cls, BaseView)):
        raise TypeError(f"expected a subclass of WebSocketView, got {cls!r}")
    if _own_hooks(cls).isdisjoint((*_MESSAGE_HOOKS, *_LIFE)):
        raise NotImplementedError(
            f"{cls.__name__} takes no messages: expected it to define on_receive(message, opcode), "
            "or on_text, on_binary or on_fragment, or a run_forever() of its own"
        )
    cls._check()


def apply_settings(view: BaseView, settings: dict[str, Any]) -> None:
    """Set settings given in lower case on an instance; ``TypeError`` for an unknown one."""
    for name, value in settings.items():
        attribute = name.upper()
        known = {item for item in vars(BaseView) if item.isupper()} - {"MAGIC_STRING"}
        if name != name.lower() or attribute not in known:
            names = ", ".join(sorted(item.lower() for item in known))
            raise TypeError(f"no setting is called {name!r}; expected one of {names}")
        setattr(view, attribute, value)


class AsyncView(BaseView):
    """A view for loops: ``async def`` hooks and methods. Subclass the one of your runtime.

    Define the hooks you need; each is a coroutine function, and plain functions are taken too.
    Methods may be called from any task of the connection's loop, ``post`` from any thread. A method
    called elsewhere does nothing and raises ``LocalProtocolError``.
    """

    _is_library = True

    _driver: AsyncDriver

    # ------------------------------------------------------------------ hooks

    async def on_request(self, request: UpgradeRequest) -> Accept | Response | None:
        """Judge the request before the 101 (server).

        Return ``None`` to accept, ``Accept(subprotocol=..., headers=...)`` to accept with
        particulars, or a ``Response`` to refuse. Raising answers 500. Bounded by ``OPEN_TIMEOUT``.
        """
        return None

    async def on_open(self) -> None:
        """The connection is open. Messages wait until it returns; pings are answered meanwhile."""

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        """A whole message, reassembled and inflated; text as bytes of valid UTF-8."""
        raise NotImplementedError

    async def on_text(self, text: str) -> None:
        """A text message; used where it is defined, instead of ``on_receive``."""

    async def on_binary(self, data: bytes) -> None:
        """A binary message; used where it is defined, instead of ``on_receive``."""

    async def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
        """A part of a message as it arrives; where it is defined, nothing is buffered whole.

        ``opcode`` is the whole message's. A part of a text may end inside a character.
        """

    async def on_new_frame(self, frame: Frame) -> None:
        """The whole message as one frame, before the hook that takes it."""

    async def on_ping(self, data: bytes) -> None:
        """The peer pinged; the pong is already on its way."""

    async def on_pong(self, data: bytes, latency: float | None) -> None:
        """A pong came; ``latency`` in seconds if it answers a ping of ours."""

    async def on_error(self, exc: Exception) -> None:
        """A hook raised ``exc``, or the peer broke the protocol; the Close goes out after this."""

    async def on_close(self, frame: Frame | None = None) -> None:
        """The connection is over: once, after every message received before was handled.

        ``frame`` is the peer's Close, already answered; ``None`` if there was none.
        """

    # ------------------------------------------------------------------ life

    async def initiate_upgrade_to_ws(self) -> bool:
        """Finish the opening handshake: true if the connection is open.

        A server answers the request with a 101 if nobody has; a client waits for the answer.
        """
        session = _here(self, "initiate_upgrade_to_ws()")
        if session.connection.phase is Phase.DECIDING:
            session.accept(None, self._driver.now())
        await self._driver.settle(session.is_settled)
        return self.initiated_upgrade

    async def run(self) -> None:
        """Live through the handshake and the connection; returns when all is over."""
        if not await self.initiate_upgrade_to_ws():
            return
        try:
            await self.run_forever()
        except Exception:
            # What ended the connection was logged and told to on_error; only a run_forever of the
            # user's own that fails before the end is news.
            if not self._attached("run()").is_closed():
                raise

    async def run_forever(self) -> None:
        """Wait until the connection is over; then raise what ended it, unless it was closed.

        ``ProtocolError``, ``PeerTimeout`` (a ``TimeoutError``), an error of a hook, or the
        transport's ``OSError``.
        """
        session = _here(self, "run_forever()")
        await self._driver.settle(session.is_finished)
        closed = session.connection.closed
        error = closed.error if closed is not None else None
        if isinstance(error, HookError) and error.__cause__ is not None:
            raise error.__cause__
        if error is not None:
            raise error

    async def read_frame(self) -> Frame:
        """The next whole message or control frame, for code without hooks.

        One reader at a time. Raises ``ProtocolError``, ``PayloadTooBig``, ``PeerTimeout`` or
        ``ConnectionClosed`` when there is no more.
        """
        return as_frame(await self._take("read_frame()", control=True))

    async def recv(self) -> str | bytes:
        """The next message: ``str`` for text, ``bytes`` for binary. Raises as ``read_frame``."""
        parts: list[str | bytes] = []
        while True:
            item = await self._take("recv()", control=False)
            assert isinstance(item, (Message, Chunk))
            data = item.data
            if isinstance(item, Message):
                return as_value(data, item.opcode)
            parts.append(data)
            if item.final:
                whole = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
                return as_value(whole, item.opcode)

    async def _take(self, call: str, *, control: bool) -> Message | Chunk | Ping | Pong | Close:
        session, driver = _here(self, call), self._driver
        session.begin_read(driver.now(), control=control)
        try:
            if not session.has_message():
                await driver.settle(session.has_message)
            return session.take_message(driver.now())
        finally:
            session.end_read(driver.now())
            driver.publish()

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over messages until the connection is closed; raises if it was not closed
        cleanly."""
        return _Messages(self)

    # ------------------------------------------------------------------ sending

    async def send(
        self,
        data: str | Buffer | PreparedMessage,
        opcode: OpCode | int = OpCode.TEXT,
        *,
        compress: bool | None = None,
    ) -> None:
        """Send one message; waits while more than ``WRITE_HIGH_WATER`` bytes are queued.

        Bytes with ``TEXT`` must be UTF-8. ``compress`` asks the extension to compress this message
        or not to; a ``PreparedMessage`` has its own ``opcode`` and ``compress``. Raises
        ``ConnectionClosed`` after the close, ``LocalProtocolError`` or ``TypeError`` for what
        cannot be sent. A cancelled ``send`` has sent its message or not, never a part of it.
        """
        sent = _send(self, data, opcode, compress)
        if sent == _SENT:
            return
        session, driver = _here(self, "send()"), self._driver
        while sent == _BUSY:
            await driver.settle(session.can_begin)
            sent = _send(self, data, opcode, compress)
        if sent == _FULL:
            await driver.settle(session.is_writable)
            session.check_sent()

    async def send_text(self, data: str | Buffer, *, compress: bool | None = None) -> None:
        """Send a text message. As ``send``."""
        await self.send(data, OpCode.TEXT, compress=compress)

    async def send_binary(self, data: Buffer, *, compress: bool | None = None) -> None:
        """Send a binary message. As ``send``."""
        await self.send(data, OpCode.BINARY, compress=compress)

    async def send_json(self, data: Any, *, compress: bool | None = None, **dumps: Any) -> None:
        """Send ``data`` as JSON text; ``dumps`` goes to ``json.dumps``."""
        await self.send(json.dumps(data, **dumps), OpCode.TEXT, compress=compress)

    async def send_stream(
        self,
        parts: AsyncIterable[str | Buffer] | Iterable[str | Buffer],
        opcode: OpCode | int | None = None,
        *,
        compress: bool | None = None,
    ) -> None:
        """Send one message in parts, each as the iterator gives it; nothing is held back whole.

        ``opcode`` is by default ``TEXT`` if the first part is a ``str``, else ``BINARY``. Other
        messages wait meanwhile; pings and pongs do not. If the iterator raises or the call is
        cancelled in the middle, the message cannot be finished: the connection ends with 1011.
        """
        session, driver = _here(self, "send_stream()"), self._driver
        kind: OpCode | int | None = None
        try:
            async for part in _Parts(parts):
                if kind is None:
                    while not session.can_begin():
                        await driver.settle(session.can_begin)
                    text = OpCode.TEXT if isinstance(part, str) else OpCode.BINARY
                    kind = text if opcode is None else opcode
                session.send(part, kind, final=False, compress=compress)
                await driver.settle(session.is_writable)
                session.check_sent()
            if kind is None:
                raise LocalProtocolError("send_stream(): expected at least one part, got none")
            session.send(b"", kind)
        except BaseException as error:
            if kind is not None:
                session.break_off(error, driver.now())
            raise
        finally:
            driver.publish()

    async def send_frame(self, frame: Frame) -> None:
        """Send one frame as it is given, checked against the fragment sequence.

        Between the first and the last frame of a message other senders wait. The extensions are
        applied; the frame itself is not changed.
        """
        session, driver = _here(self, "send_frame()"), self._driver
        session.send_frame(frame, driver.now())
        await driver.settle(session.is_writable)
        session.check_sent()

    async def send_ping(self, data: Buffer = b"") -> None:
        """Send a ping of at most 125 bytes and do not wait for its pong."""
        _here(self, "send_ping()").connection.ping(data, self._driver.now())
        self._driver.publish()

    async def send_pong(self, data: Buffer = b"") -> None:
        """Send a pong that nobody asked for."""
        _here(self, "send_pong()").connection.pong(data)
        self._driver.publish()

    async def ping(self) -> float:
        """Send a ping and wait for its pong; returns the seconds between.

        Raises what ended the connection if it ended first.
        """
        session, driver = _here(self, "ping()"), self._driver
        key = session.ping(None, driver.now())
        try:
            await driver.settle(lambda: session.pong_arrived(key))
            return session.take_rtt(key)
        finally:
            session.forget_ping(key)

    def post(
        self, data: str | Buffer | PreparedMessage, opcode: OpCode | int = OpCode.TEXT
    ) -> None:
        """Send one message from any thread; returns at once.

        The message is queued when the loop comes to it; if the connection is closed by then it is
        dropped, and logged at debug level. Nobody waits for a slow peer here: mind the rate.
        """
        session, driver = self._attached("post()"), self._driver
        kind = OpCode(opcode)
        value = as_posted(data)

        def action() -> None:
            session.post(value, kind)
            driver.publish()

        driver.post(action)

    # ------------------------------------------------------------------ closing

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake. Never sends a second Close, and never raises but in the
        wrong loop or thread.

        A reason longer than 123 bytes is cut at a character; a code that must not be sent is
        logged, and 1011 goes out.
        """
        if self._session is not None and not self._session.is_closed():
            _here(self, "send_close()").close_kindly(code, reason, self._driver.now())
            self._driver.publish()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """``send_close``, then wait for the peer, at most ``CLOSE_TIMEOUT`` seconds."""
        await self.send_close(code, reason)
        session = self._session
        if session is None or session.is_closed():
            return
        driver = self._driver
        session.wait_for_close(True, driver.now())
        try:
            await driver.settle(session.is_closed)
        finally:
            session.wait_for_close(False, driver.now())

    async def safe_close(
        self, disable_logging: bool = False, call_on_close_handler: bool = True
    ) -> None:
        """End the connection however it stands and release everything. Idempotent.

        ``disable_logging`` keeps this ending out of the log; without ``call_on_close_handler``
        ``on_close`` is not called any more.
        """
        if self._session is None or self._session.is_closed():
            return
        session = _here(self, "safe_close()")
        session.mute(logging=disable_logging, on_close=not call_on_close_handler)
        if self.initiated_upgrade:
            await self.close()
        else:
            session.abort(self._driver.now())
            self._driver.publish()

    async def abort(self) -> None:
        """Give the connection up at once: no closing handshake, what is queued is dropped.

        ``on_close`` is called with ``None``. For a peer that is not worth ``CLOSE_TIMEOUT``
        seconds.
        """
        if self._session is not None and not self._session.is_closed():
            _here(self, "abort()").abort(self._driver.now())
            self._driver.publish()

    def strictly_async(self) -> bool:
        """Whether the methods are coroutines: true here."""
        return True

    # ------------------------------------------------------------------ for the bindings

    def _offer(self, message: PreparedMessage) -> bool:
        return _offer(self, message)

    async def _frame_first(self, data: bytes, opcode: OpCode) -> None:
        """``on_new_frame``, then the hook that takes the message."""
        await self.on_new_frame(Frame(opcode, True, data))
        if opcode is OpCode.TEXT and self._has("on_text"):
            await self.on_text(data.decode())
        elif opcode is OpCode.BINARY and self._has("on_binary"):
            await self.on_binary(data)
        elif self._has("on_receive"):
            await self.on_receive(data, opcode)


# Functions, for they have C types in the compiled build, which a coroutine cannot have.

_SENT: Final = 0
_FULL: Final = 1  # queued, and more is to wait until there is room
_BUSY: Final = 2  # not yet: another message is unfinished


def _here(view: AsyncView, call: str) -> Session:
    """The session, for a caller in the loop in which it lives."""
    session = view._session
    if session is None:
        return view._attached(call)  # it raises
    # To ask for the running loop is a call of the system, before Python 3.12.
    if session.attended != get_ident() and not view._driver.is_here():
        raise LocalProtocolError(
            f"{call}: expected the loop and thread in which {type(view).__name__} is connected,"
            " got another or none; post() may be called from any thread"
        )
    return session


def _send(
    view: AsyncView,
    data: str | Buffer | PreparedMessage,
    opcode: OpCode | int,
    compress: bool | None,
) -> int:
    """Queue a message if that may be; which of the three above came of it."""
    session = _here(view, "send()")
    if not session.can_begin():
        return _BUSY
    session.send(data, opcode, True, compress)
    if not session.is_writable():
        return _FULL
    if not session.attended:
        view._driver.publish()
    return _SENT


def _offer(view: AsyncView, message: PreparedMessage) -> bool:
    """Queue a message of a broadcast, if the view's peer keeps up; whether it was."""
    if view._session is None:
        return False
    session, driver = _here(view, "broadcast()"), view._driver
    connection = session.connection
    if not connection.offer(message):
        if not connection.has_output:
            return False
        driver.flush()  # what is over the mark may not be the peer's fault
        if not connection.offer(message):
            return False
    driver.flush_soon()
    return True


# Iterators and not asynchronous generators, which are left unfinished when a loop is left, for the
# runtime to clean up: trio takes that for a fault.


class _Messages:
    """The messages of a view, until it is closed."""

    def __init__(self, view: AsyncView) -> None:
        self._view = view

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self._view.recv()
        except ConnectionClosed:
            if self._view._attached("recv()").ends_cleanly():
                raise StopAsyncIteration from None
            raise


class _Parts:
    """The parts of a message, from either kind of iterator."""

    def __init__(self, parts: AsyncIterable[str | Buffer] | Iterable[str | Buffer]) -> None:
        self._later: AsyncIterator[str | Buffer] | None = None
        self._now: Iterator[str | Buffer] = iter(())
        if isinstance(parts, AsyncIterable):
            self._later = aiter(parts)
        else:
            self._now = iter(check_parts(parts))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | Buffer:
        if self._later is not None:
            return await anext(self._later)
        for part in self._now:
            return part
        raise StopAsyncIteration


def check_parts(parts: Iterable[str | Buffer]) -> Iterable[str | Buffer]:
    """Refuse a message where its parts are expected: it is an iterable too, of its characters."""
    if isinstance(parts, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"expected an iterable of parts, got one {type(parts).__name__}")
    return parts


def as_posted(data: str | Buffer | PreparedMessage) -> str | bytes | PreparedMessage:
    """``data`` as nobody can change it."""
    return data if isinstance(data, (str, bytes, PreparedMessage)) else bytes(memoryview(data))


def as_value(data: str | bytes, opcode: OpCode) -> str | bytes:
    return data.decode() if opcode is OpCode.TEXT and isinstance(data, bytes) else data


def as_frame(item: Message | Chunk | Ping | Pong | Close) -> Frame:
    if isinstance(item, Close):
        return Frame(OpCode.CLOSE, payload=close_payload(item))
    if isinstance(item, (Ping, Pong)):
        opcode = OpCode.PING if isinstance(item, Ping) else OpCode.PONG
        return Frame(opcode, payload=item.payload)
    data = item.data if isinstance(item.data, bytes) else item.data.encode()
    if isinstance(item, Chunk):
        opcode = item.opcode if item.first else OpCode.CONTINUATION
        return Frame(opcode, item.final, data)
    return Frame(item.opcode, True, data)
