"""The peer of the scripted session: says its part, and judges every byte that it gets.

It is a blocking socket in the thread that runs the session. Each step of the script is a request of
the peer's that ends with our ``done``. Nothing of the code under test is used here.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from tests.bindings.peer import DEADLINE, accept_for, connect_tcp
from tests.bindings.runtimes import Tls
from tests.core.wire import KEY, close_body, frame

__all__ = ["MISDEEDS", "Step", "Talker", "script"]

WINDOW = 1 << 14  # bytes that its socket buffers: what is big does not go out at once

MISDEEDS = ("resets", "leaves", "half-closes", "stalls")
"""What the peer may do in the middle of one of its writings."""

Step = list[tuple[int, bytes]]
"""Frames: their first byte and payload."""

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)


def script(*, ours_closes: bool) -> list[Step]:
    """What the peer sends. Each message is a verb and a number; ``Session._act`` does the verb."""
    steps = [
        [(0x81, b"echo 0")],
        [(0x01, b"echo"), (0x89, b"between"), (0x00, b" "), (0x80, b"1")],
        [(0x81, b"ping 2")],
        [(0x82, b"parts 3")],
        [(0x81, b"big 4")],
        [(0x89, b""), (0x8A, b"unasked"), (0x82, b"echo 5" + bytes(70_000))],
        [(0x81, b"echo 6"), (0x81, b"echo 7"), (0x81, b"ping 8")],
        [(0x81, b"pong 9")],
        [(0x81, b"echo 10" + bytes(200))],
        *([(0x81, b"echo %d" % number)] for number in range(11, 19)),
    ]
    if ours_closes:
        steps.append([(0x81, b"close 19")])
    return steps


class Talker:
    """One run of the script. What it saw is in its attributes."""

    def __init__(self, *, is_client: bool, ours_closes: bool, tls: Tls | None) -> None:
        """``ours_closes``: the last step asks us to close, else the peer does."""
        self.is_client = is_client
        self._tls = tls
        self.steps = script(ours_closes=ours_closes)
        self.step = -1
        self.after_step: Callable[[int], None] = lambda _: None
        self.while_stalled: Callable[[], None] = lambda: None
        """Returns when we have given the stalled peer up."""

        self.sent: list[tuple[bytes, int]] = []
        """Its messages, and how many bytes were written when each was whole."""
        self.got: list[bytes] = []
        """Our messages, each whole."""
        self.upgraded = False
        self.finished = False
        """The script came to its end, and both Close frames went through."""
        self.got_close = False
        self.torn = False
        """The stream ended within a frame."""
        self.is_broken = False
        """The stream ended without a Close, or by an error."""
        self.writings = 0
        self.struck = False
        """The misdeed was done."""

        self._misdeed: str | None = None
        self._k = 0
        self._ours_closes = ours_closes
        self._sock: socket.socket | None = None
        self._written = 0
        self._buffer = b""
        self._partial: list[bytes] | None = None
        self._said_close = False

    def misbehave_at(self, misdeed: str, k: int) -> None:
        """Do ``misdeed`` in the middle of the ``k``-th writing."""
        self._misdeed, self._k = misdeed, k

    # ------------------------------------------------------------------ the script

    def dial(self, port: int) -> None:
        """Connect to our server."""
        with suppress(ConnectionError):  # it was cancelled meanwhile
            self._sock = connect_tcp(port, window=WINDOW)

    def accept(self, listener: socket.socket, over: Callable[[], bool]) -> None:
        """Take the connection of our client, if it connects before it is ``over``."""
        listener.settimeout(0.005)
        end = time.monotonic() + DEADLINE
        while self._sock is None and not over():
            assert time.monotonic() < end, "nobody connects"
            with suppress(TimeoutError):
                self._sock, _ = listener.accept()

    def _secure(self) -> bool:
        """Set the socket up, and TLS on it; false if that failed."""
        if self._sock is None:
            return False
        self._sock.settimeout(DEADLINE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return True
        context = self._tls.client if self.is_client else self._tls.server
        name = "localhost" if self.is_client else None
        try:
            self._sock = context.wrap_socket(
                self._sock, server_side=not self.is_client, server_hostname=name
            )
        except OSError as error:
            _close_left_open(error)
            return self._break(error)
        return True

    def _break(self, error: OSError) -> bool:
        """The stream is broken: false. TLS has many words for it, and one for a missing goodbye."""
        if isinstance(error, TimeoutError):
            raise error
        self.is_broken = self._tls is None or not self.got_close
        return False

    def talk(self) -> None:
        """From the handshake to the end of the stream."""
        try:
            if not self._secure() or not self._shake_hands():
                return
            self.upgraded = True
            if not self._until(b"open"):
                return
            for step, frames in enumerate(self.steps):
                self.step = step
                if not self._ask(frames):
                    return
                self.after_step(step)
            if not self._ours_closes and not self._said_close:
                self._say_close(1000)
                self._read_to_end()
            self.finished = self.got_close and not self.is_broken
        finally:
            self.torn = bool(self._buffer)
            if self._sock is not None:
                self._sock.close()

    def _ask(self, frames: Step) -> bool:
        """One step; false if the connection is over."""
        message = b""
        for first, payload in frames:
            data = _encode(first, payload, self.is_client)
            if first & 0x0F < 8:
                message = payload if first & 0x0F else message + payload
                if first & 0x80:
                    self.sent.append((message, self._written + len(data)))
            if not self._write(data):
                return False
        verb, number = message.rstrip(b"\0").split(b" ")
        if verb == b"close":
            self._read_to_end()
            return True
        return self._until(b"done " + number)

    def _shake_hands(self) -> bool:
        if self.is_client:
            if not self._write(REQUEST[:40]) or not self._write(REQUEST[40:]):
                return False
            head = self._head()
            assert not head or head.startswith(b"HTTP/1.1 101 "), head
            return bool(head)
        head = self._head()
        if not head:
            return False
        lines = [line.partition(b": ") for line in head.split(b"\r\n")]
        [key] = [value for name, _, value in lines if name.lower() == b"sec-websocket-key"]
        answer = ANSWER.format(accept_for(key.decode())).encode()
        return self._write(answer[:40]) and self._write(answer[40:])

    # ------------------------------------------------------------------ reading

    def _head(self) -> bytes:
        """A whole head, or nothing at the end of the stream."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return b""
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def _until(self, wanted: bytes) -> bool:
        """Read until ``wanted`` came; false if the connection is over."""
        while self._read():
            if self.got and self.got[-1] == wanted:
                return True
        return False

    def _read_to_end(self) -> None:
        while self._read():
            pass

    def _read(self) -> bool:
        """Take one frame; false at the end."""
        if self.got_close and self._said_close and not self.is_client and self._sock is not None:
            with suppress(OSError):  # the server closes first; TLS without a word, which will do
                socket.socket.shutdown(self._sock, socket.SHUT_WR)
        while (found := _first_frame(self._buffer)) is None:
            if not self._more():
                return False
        first, masked, payload, self._buffer = found
        assert masked is not self.is_client, "the MASK bit is wrong"
        assert not first & 0x70, f"reserved bits: {first:02x}"
        opcode, final = first & 0x0F, bool(first & 0x80)
        if opcode >= 8:
            assert final, "a control frame in fragments"
            assert len(payload) <= 125, "a control frame that is too long"
            self._take_control(opcode, payload)
        else:
            self._take_data(opcode, final, payload)
        return True

    def _take_control(self, opcode: int, payload: bytes) -> None:
        assert opcode in (8, 9, 10), f"opcode {opcode}"
        assert opcode == 10 or not self.got_close, f"opcode {opcode} behind a Close"
        if opcode == 9:
            self._write(_encode(0x8A, payload, self.is_client))
        elif opcode == 8:
            self.got_close = True
            if not self._said_close:
                self._say_close(int.from_bytes(payload[:2]))

    def _take_data(self, opcode: int, final: bool, payload: bytes) -> None:
        assert opcode in (0, 1, 2), f"opcode {opcode}"
        assert not self.got_close, "a message behind a Close"
        assert (self._partial is None) is (opcode != 0), "a fragment out of its order"
        parts = self._partial = self._partial or []
        parts.append(payload)
        if final:
            self.got.append(b"".join(parts))
            self._partial = None

    def _more(self) -> bool:
        """Read; false at the end."""
        if self._sock is None or self.is_broken:
            return False
        try:
            data = self._sock.recv(1 << 16)
        except OSError as error:
            return self._break(error)
        if not data and not self.got_close:
            self.is_broken = True
        self._buffer += data
        return bool(data)

    # ------------------------------------------------------------------ writing

    def _say_close(self, code: int) -> None:
        self._said_close = True
        self._write(_encode(0x88, close_body(code), self.is_client))

    def _write(self, data: bytes) -> bool:
        """Write; false if the stream is broken, or we have broken it."""
        self.writings += 1
        if self._misdeed is not None and self.writings == self._k:
            self.struck = True
            self._misbehave(self._misdeed, data)
            return False
        assert self._sock is not None
        if self.is_broken:
            return False
        self._written += len(data)
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            return bool(self._buffer) or self._more()  # it has said why, perhaps
        return True

    def _misbehave(self, misdeed: str, data: bytes) -> None:
        """Half of ``data`` goes out, and then no more."""
        assert self._sock is not None
        with suppress(OSError):
            self._sock.sendall(data[: len(data) // 2])
        if misdeed == "resets":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if misdeed in ("resets", "leaves"):
            self._sock.close()
            self._sock = None
        else:
            if misdeed == "half-closes":
                with suppress(OSError):
                    socket.socket.shutdown(self._sock, socket.SHUT_WR)
            else:
                self.while_stalled()
            while _drained(self._sock):
                pass
        self.is_broken = True
        self._buffer = b""


def _close_left_open(error: OSError) -> None:
    """``wrap_socket`` of a socket that was reset meanwhile raises, and closes nothing."""
    at = error.__traceback__
    while at is not None:
        left = at.tb_frame.f_locals.get("self")
        if isinstance(left, ssl.SSLSocket):
            left.close()
        at = at.tb_next


@cache
def _encode(first: int, payload: bytes, masked: bool) -> bytes:
    return frame(first, payload, KEY if masked else b"")


def _drained(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 16)
    except TimeoutError:
        raise
    except OSError:
        return b""


def _first_frame(data: bytes) -> tuple[int, bool, bytes, bytes] | None:
    """First byte, whether masked, payload and what is behind it; ``None`` if it is not whole."""
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(data) < at + size:
            return None
        length = int.from_bytes(data[at : at + size])
        assert length > (125 if size == 2 else 0xFFFF), "not the shortest form"
        at += size
    masked = bool(data[1] & 0x80)
    key = data[at : at + 4] if masked else b""
    at += len(key)
    if (masked and len(key) < 4) or len(data) < at + length:
        return None
    payload = data[at : at + length]
    if key:
        pad = (key * (length // 4 + 1))[:length]
        payload = (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(length)
    return data[0], masked, payload, data[at + length :]
