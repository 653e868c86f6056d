# cython: annotation_typing=False
"""``SyncView``: the words of ``WebSocketView`` as plain functions, for threads.

The same names as in ``AsyncView``, whose docstrings are the long ones; here stands what differs. A
session is no thread's own, so each method takes the driver's lock, gives one command and waits for
one predicate; the driver lets the lock go while it waits.

Tests: ``tests/bindings/test_contract.py`` and ``tests/bindings/test_threading.py``.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from wsproto_core import (
    Accept,
    Buffer,
    Chunk,
    Close,
    ConnectionClosed,
    Frame,
    HookError,
    LocalProtocolError,
    Message,
    OpCode,
    Phase,
    Ping,
    Pong,
    PreparedMessage,
    Response,
)

from .requests import UpgradeRequest
from .views import HOOKS, BaseView, as_frame, as_posted, as_value, check_parts

__all__ = ["SyncDriver", "SyncView", "check_plain"]


class SyncDriver(Protocol):
    """What a view needs of a driver that serves many threads."""

    server: Any
    """The server that the view belongs to, or ``None``."""

    sock: Any
    """The socket."""

    lock: AbstractContextManager[Any]
    """Held by whoever looks at the session or commands it."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def publish(self) -> None:
        """The session changed: carry out what it wants. With the lock held."""

    def settle(self, predicate: Callable[[], bool], until: float | None = None) -> bool:
        """Publish, then wait until ``predicate`` holds: true; false if it is ``until`` first.

        With the lock held, which is let go while it waits.
        """

    def is_released(self) -> bool:
        """Whether every hook has ended and the stream is closed."""


class SyncView(BaseView):
    """A view for threads: plain ``def`` hooks and methods. Subclass the one of your runtime.

    Define the hooks you need. Methods may be called from any thread. Those that wait take a
    ``timeout`` in seconds (``None``: only the limits of the view count) and raise ``TimeoutError``
    after it; the connection goes on.
    """

    _is_library = True

    _driver: SyncDriver

    @property
    def fragmented_frame(self) -> Frame | None:
        """The incoming message in progress with what is there of it, or ``None``."""
        if self._session is None:
            return None
        with self._driver.lock:
            return super().fragmented_frame

    # ------------------------------------------------------------------ hooks

    def on_request(self, request: UpgradeRequest) -> Accept | Response | None:
        """Judge the request before the 101 (server).

        Return ``None`` to accept, ``Accept(subprotocol=..., headers=...)`` to accept with
        particulars, or a ``Response`` to refuse. Raising answers 500. Bounded by ``OPEN_TIMEOUT``.
        """
        return None

    def on_open(self) -> None:
        """The connection is open. Messages wait until it returns; pings are answered meanwhile."""

    def on_receive(self, message: bytes, opcode: OpCode) -> None:
        """A whole message, reassembled and inflated; text as bytes of valid UTF-8."""
        raise NotImplementedError

    def on_text(self, text: str) -> None:
        """A text message; used where it is defined, instead of ``on_receive``."""

    def on_binary(self, data: bytes) -> None:
        """A binary message; used where it is defined, instead of ``on_receive``."""

    def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
        """A part of a message as it arrives; where it is defined, nothing is buffered whole.

        ``opcode`` is the whole message's. A part of a text may end inside a character.
        """

    def on_new_frame(self, frame: Frame) -> None:
        """The whole message as one frame, before the hook that takes it."""

    def on_ping(self, data: bytes) -> None:
        """The peer pinged; the pong is already on its way."""

    def on_pong(self, data: bytes, latency: float | None) -> None:
        """A pong came; ``latency`` in seconds if it answers a ping of ours."""

    def on_error(self, exc: Exception) -> None:
        """A hook raised ``exc``, or the peer broke the protocol; the Close goes out after this."""

    def on_close(self, frame: Frame | None = None) -> None:
        """The connection is over: once, after every message received before was handled.

        ``frame`` is the peer's Close, already answered; ``None`` if there was none.
        """

    # ------------------------------------------------------------------ life

    def initiate_upgrade_to_ws(self) -> bool:
        """Finish the opening handshake: true if the connection is open.

        A server answers the request with a 101 if nobody has; a client waits for the answer.
        """
        session, driver = self._attached("initiate_upgrade_to_ws()"), self._driver
        with driver.lock:
            if session.connection.phase is Phase.DECIDING:
                session.accept(None, driver.now())
            driver.settle(session.is_settled)
        return self.initiated_upgrade

    def run(self) -> None:
        """Live through the handshake and the connection; returns when all is over."""
        if not self.initiate_upgrade_to_ws():
            return
        try:
            self.run_forever()
        except Exception:
            # As in AsyncView.run.
            if not self._attached("run()").is_closed():
                raise

    def run_forever(self) -> None:
        """Wait until the connection is over; then raise what ended it, unless it was closed.

        ``ProtocolError``, ``PeerTimeout`` (a ``TimeoutError``), an error of a hook, or the
        transport's ``OSError``.
        """
        session, driver = self._attached("run_forever()"), self._driver
        with driver.lock:
            driver.settle(session.is_finished)
        closed = session.connection.closed
        error = closed.error if closed is not None else None
        if isinstance(error, HookError) and error.__cause__ is not None:
            raise error.__cause__
        if error is not None:
            raise error

    def read_frame(self, timeout: float | None = None) -> Frame:
        """The next whole message or control frame, for code without hooks.

        One reader at a time. Raises ``ProtocolError``, ``PayloadTooBig``, ``PeerTimeout`` or
        ``ConnectionClosed`` when there is no more, ``TimeoutError`` if there was none in time.
        """
        return as_frame(self._take("read_frame()", control=True, timeout=timeout))

    def recv(self, timeout: float | None = None) -> str | bytes:
        """The next message: ``str`` for text, ``bytes`` for binary. Raises as ``read_frame``."""
        parts: list[str | bytes] = []
        while True:
            item = self._take("recv()", control=False, timeout=timeout)
            assert isinstance(item, (Message, Chunk))
            data = item.data
            if isinstance(item, Message):
                return as_value(data, item.opcode)
            parts.append(data)
            if item.final:
                whole = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
                return as_value(whole, item.opcode)

    def _take(
        self, call: str, *, control: bool, timeout: float | None
    ) -> Message | Chunk | Ping | Pong | Close:
        session, driver = self._attached(call), self._driver
        with driver.lock:
            now = driver.now()
            session.begin_read(now, control=control)
            try:
                if not session.has_message():
                    self._wait(session.has_message, call, timeout, now)
                return session.take_message(driver.now())
            finally:
                session.end_read(driver.now())
                driver.publish()

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over messages until the connection is closed; raises if it was not closed
        cleanly."""
        while True:
            try:
                message = self.recv()
            except ConnectionClosed:
                session = self._attached("recv()")
                with self._driver.lock:
                    if session.ends_cleanly():
                        return
                raise
            yield message

    # ------------------------------------------------------------------ sending

    def send(
        self,
        data: str | Buffer | PreparedMessage,
        opcode: OpCode | int = OpCode.TEXT,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send one message; waits while more than ``WRITE_HIGH_WATER`` bytes are queued.

        Bytes with ``TEXT`` must be UTF-8. ``compress`` asks the extension to compress this message
        or not to; a ``PreparedMessage`` has its own ``opcode`` and ``compress``. Raises
        ``ConnectionClosed`` after the close, ``LocalProtocolError`` or ``TypeError`` for what
        cannot be sent. A ``send`` that ends with ``TimeoutError`` has sent
        its message or not, never a part of it.

        From a thread of yours the message goes out at once. In a hook it goes out at once too, or
        when the hooks of the messages that came with this one have had their turn.
        """
        session, driver = self._attached("send()"), self._driver
        with driver.lock:
            now = driver.now() if timeout is not None else 0.0
            while not session.can_begin():
                self._wait(session.can_begin, "send()", timeout, now)
            session.send(data, opcode, compress=compress)
            if session.is_writable():
                driver.publish()
            else:
                self._wait(session.is_writable, "send()", timeout, now)
                session.check_sent()

    def send_text(
        self, data: str | Buffer, *, compress: bool | None = None, timeout: float | None = None
    ) -> None:
        """Send a text message. As ``send``."""
        self.send(data, OpCode.TEXT, compress=compress, timeout=timeout)

    def send_binary(
        self, data: Buffer, *, compress: bool | None = None, timeout: float | None = None
    ) -> None:
        """Send a binary message. As ``send``."""
        self.send(data, OpCode.BINARY, compress=compress, timeout=timeout)

    def send_json(
        self,
        data: Any,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        **dumps: Any,
    ) -> None:
        """Send ``data`` as JSON text; ``dumps`` goes to ``json.dumps``."""
        self.send(json.dumps(data, **dumps), OpCode.TEXT, compress=compress, timeout=timeout)

    def send_stream(
        self,
        parts: Iterable[str | Buffer],
        opcode: OpCode | int | None = None,
        *,
        compress: bool | None = None,
    ) -> None:
        """Send one message in parts, each as the iterator gives it; nothing is held back whole.

        ``opcode`` is by default ``TEXT`` if the first part is a ``str``, else ``BINARY``. Other
        messages wait meanwhile; pings and pongs do not. If the iterator raises in the middle, the
        message cannot be finished: the connection ends with 1011.
        """
        session, driver = self._attached("send_stream()"), self._driver
        kind: OpCode | int | None = None
        try:
            for part in check_parts(parts):
                with driver.lock:
                    if kind is None:
                        while not session.can_begin():
                            driver.settle(session.can_begin)
                        text = OpCode.TEXT if isinstance(part, str) else OpCode.BINARY
                        kind = text if opcode is None else opcode
                    session.send(part, kind, final=False, compress=compress)
                    driver.settle(session.is_writable)
                    session.check_sent()
            if kind is None:
                raise LocalProtocolError("send_stream(): expected at least one part, got none")
            with driver.lock:
                session.send(b"", kind)
                driver.publish()
        except BaseException as error:
            if kind is not None:
                with driver.lock:
                    session.break_off(error, driver.now())
                    driver.publish()
            raise

    def send_frame(self, frame: Frame, *, timeout: float | None = None) -> None:
        """Send one frame as it is given, checked against the fragment sequence.

        Between the first and the last frame of a message other senders wait. The extensions are
        applied; the frame itself is not changed.
        """
        session, driver = self._attached("send_frame()"), self._driver
        with driver.lock:
            now = driver.now()
            session.send_frame(frame, now)
            self._wait(session.is_writable, "send_frame()", timeout, now)
            session.check_sent()

    def send_ping(self, data: Buffer = b"") -> None:
        """Send a ping of at most 125 bytes and do not wait for its pong."""
        session, driver = self._attached("send_ping()"), self._driver
        with driver.lock:
            session.connection.ping(data, driver.now())
            driver.publish()

    def send_pong(self, data: Buffer = b"") -> None:
        """Send a pong that nobody asked for."""
        session, driver = self._attached("send_pong()"), self._driver
        with driver.lock:
            session.connection.pong(data)
            driver.publish()

    def ping(self, timeout: float | None = None) -> float:
        """Send a ping and wait for its pong; returns the seconds between.

        Raises what ended the connection if it ended first.
        """
        session, driver = self._attached("ping()"), self._driver
        with driver.lock:
            now = driver.now()
            key = session.ping(None, now)
            try:
                self._wait(lambda: session.pong_arrived(key), "ping()", timeout, now)
                return session.take_rtt(key)
            finally:
                session.forget_ping(key)

    def post(
        self, data: str | Buffer | PreparedMessage, opcode: OpCode | int = OpCode.TEXT
    ) -> None:
        """Send one message and do not wait, neither for other senders nor for a slow peer.

        If the connection is closed the message is dropped, and logged at debug level. Nobody waits
        for a slow peer here: mind the rate.
        """
        session, driver = self._attached("post()"), self._driver
        kind = OpCode(opcode)
        value = as_posted(data)
        with driver.lock:
            session.post(value, kind)
            driver.publish()

    # ------------------------------------------------------------------ closing

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake. Never raises, never sends a second Close.

        A reason longer than 123 bytes is cut at a character; a code that must not be sent is
        logged, and 1011 goes out.
        """
        session = self._session
        if session is not None:
            with self._driver.lock:
                session.close_kindly(code, reason, self._driver.now())
                self._driver.publish()

    def close(self, code: int = 1000, reason: str = "", *, timeout: float | None = None) -> None:
        """``send_close``, then wait for the peer, at most ``CLOSE_TIMEOUT`` seconds.

        After a ``TimeoutError`` the closing goes on by itself.
        """
        self.send_close(code, reason)
        session = self._session
        if session is None or session.is_closed():
            return
        driver = self._driver
        with driver.lock:
            now = driver.now()
            session.wait_for_close(True, now)
            try:
                self._wait(session.is_closed, "close()", timeout, now)
            finally:
                session.wait_for_close(False, driver.now())

    def safe_close(self, disable_logging: bool = False, call_on_close_handler: bool = True) -> None:
        """End the connection however it stands and release everything. Idempotent.

        ``disable_logging`` keeps this ending out of the log; without ``call_on_close_handler``
        ``on_close`` is not called any more.
        """
        session = self._session
        if session is None:
            return
        with self._driver.lock:
            session.mute(logging=disable_logging, on_close=not call_on_close_handler)
            if not self.initiated_upgrade:
                session.abort(self._driver.now())
                self._driver.publish()
                return
        self.close()

    def abort(self) -> None:
        """Give the connection up at once: no closing handshake, what is queued is dropped.

        ``on_close`` is called with ``None``. For a peer that is not worth ``CLOSE_TIMEOUT``
        seconds.
        """
        session = self._session
        if session is not None:
            with self._driver.lock:
                session.abort(self._driver.now())
                self._driver.publish()

    def strictly_async(self) -> bool:
        """Whether the methods are coroutines: false here."""
        return False

    # ------------------------------------------------------------------ for the bindings

    def _offer(self, message: PreparedMessage) -> bool:
        session = self._session
        if session is None:
            return False
        connection, driver = session.connection, self._driver
        with driver.lock:
            if not connection.offer(message):
                if not connection.has_output:
                    return False
                # What is over the mark may not be the peer's fault: write, and wait for nobody.
                driver.settle(session.is_writable, driver.now())
                if not connection.offer(message):
                    return False
            driver.publish()
            return True

    def _wait(
        self, predicate: Callable[[], bool], call: str, timeout: float | None, since: float
    ) -> None:
        """Wait, for at most ``timeout`` seconds after ``since``. With the lock held."""
        if timeout is None:
            self._driver.settle(predicate)
        elif not self._driver.settle(predicate, since + timeout):
            raise TimeoutError(f"{call} took longer than {timeout:g} s")

    def _frame_first(self, data: bytes, opcode: OpCode) -> None:
        """``on_new_frame``, then the hook that takes the message."""
        self.on_new_frame(Frame(opcode, True, data))
        if opcode is OpCode.TEXT and self._has("on_text"):
            self.on_text(data.decode())
        elif opcode is OpCode.BINARY and self._has("on_binary"):
            self.on_binary(data)
        elif self._has("on_receive"):
            self.on_receive(data, opcode)

    @classmethod
    def _check(cls) -> None:
        for name in HOOKS:
            check_plain(getattr(cls, name), f"{cls.__name__}.{name}")


def check_plain(function: object, name: str) -> None:
    """Refuse what a thread cannot run: ``TypeError`` for a coroutine function."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"expected {name} to be a plain function, got an async one: this is a view for threads"
        )
