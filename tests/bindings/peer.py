"""A WebSocket peer made by hand: a blocking socket in the test's own thread.

It writes any bytes and reads what comes, frame by frame, with a deadline. As raw client against our
server and as raw server against our client. Nothing of the code under test is used here.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.core.wire import KEY, close_body, frame, mask

__all__ = ["DEADLINE", "Head", "Listener", "Peer", "accept_for", "connect_tcp", "frame"]

DEADLINE = 5.0
"""Seconds after which a test that waits has failed."""

Lines = Iterable[tuple[str, str]]


def accept_for(key: str) -> str:
    """What a server answers to ``key`` (RFC 6455 section 4.2.2)."""
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()  # noqa: S324


def connect_tcp(port: int, *, window: int | None = None) -> socket.socket:
    """A connected socket; ``window`` bytes of receive buffer make a slow reader."""
    sock = socket.socket()
    sock.settimeout(DEADLINE)
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    try:
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


class Head:
    """An HTTP head: its first line and its fields."""

    def __init__(self, data: bytes) -> None:
        lines = data.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.fields = [(n.lower(), v.strip()) for n, _, v in (i.partition(":") for i in lines[1:])]

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for key, value in self.fields if key == name.lower())

    def __contains__(self, name: str) -> bool:
        return any(key == name.lower() for key, _ in self.fields)

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


class Peer:
    """One connection. ``is_client`` says which side the peer plays: a client masks."""

    def __init__(self, sock: socket.socket, *, is_client: bool) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self.is_client = is_client
        self._buffer = b""
        self.head: Head | None = None

    # ------------------------------------------------------------------ the handshake

    def request(self, target: str = "/", *, headers: Lines = ()) -> Head:
        """Send an opening handshake and read the head of the answer."""
        lines = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        extra = list(headers)
        self.send_raw(
            f"GET {target} HTTP/1.1\r\n".encode()
            + "".join(f"{n}: {v}\r\n" for n, v in [*lines.items(), *extra]).encode()
            + b"\r\n"
        )
        self.head = self.read_head()
        if self.head.status == 101:
            assert self.head["sec-websocket-accept"] == accept_for(lines["Sec-WebSocket-Key"])
        return self.head

    def answer(self, *, headers: Lines = (), behind: bytes = b"") -> Head:
        """Read a client's request and answer it with a 101; ``behind`` goes out with it."""
        self.head = self.read_head()
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.send_raw(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept_for(self.head['sec-websocket-key'])}\r\n{extra}\r\n"
            ).encode()
            + behind
        )
        return self.head

    def read_head(self) -> Head:
        """Read an HTTP head; what came behind it stays for later."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return Head(head)

    # ------------------------------------------------------------------ writing

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def encode(self, first: int, payload: bytes | str = b"") -> bytes:
        """A frame as this side sends it."""
        data = payload.encode() if isinstance(payload, str) else payload
        return frame(first, data, KEY if self.is_client else b"")

    def send(self, first: int, payload: bytes | str = b"") -> None:
        """Send one frame: its first byte (FIN, RSV and opcode) and its payload."""
        self.send_raw(self.encode(first, payload))

    def text(self, text: str) -> None:
        self.send(0x81, text)

    def binary(self, data: bytes) -> None:
        self.send(0x82, data)

    def ping(self, data: bytes = b"") -> None:
        self.send(0x89, data)

    def pong(self, data: bytes = b"") -> None:
        self.send(0x8A, data)

    def close_frame(self, code: int = 1000, reason: str = "") -> None:
        self.send(0x88, close_body(code, reason))

    def drip(self, data: bytes) -> None:
        """Send byte by byte, each in a segment of its own."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            self.sock.sendall(data[place : place + 1])

    # ------------------------------------------------------------------ reading

    def frame(self) -> tuple[int, bytes]:
        """The next frame: first byte and payload. Raises ``EOFError`` at the end of the stream."""
        first, second = self._take(2)
        assert bool(second & 0x80) is not self.is_client, "the MASK bit is wrong"
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(self._take(2))
            assert length > 125, "not the shortest form"
        elif length == 127:
            length = int.from_bytes(self._take(8))
            assert length > 0xFFFF, "not the shortest form"
        key = b"" if self.is_client else self._take(4)
        payload = self._take(length)
        return first, (_unmask(payload, key) if key else payload)

    def message(self) -> str | bytes:
        """The next message, put together; control frames in between are not expected."""
        first, payload = self.frame()
        assert first & 0x7F in (1, 2), f"expected a message, got {first:02x} {payload[:80]!r}"
        parts, final = [payload], first & 0x80
        while not final:
            begin, payload = self.frame()
            assert begin & 0x7F == 0, f"expected a continuation, got {begin:02x}"
            parts.append(payload)
            final = begin & 0x80
        whole = b"".join(parts)
        return whole.decode() if first & 0x7F == 1 else whole

    def closed(self) -> tuple[int, str]:
        """The next frame, which must be a Close: its code and reason; 1005 without a body."""
        first, payload = self.frame()
        assert first == 0x88, f"expected a Close, got {first:02x} {payload[:80]!r}"
        if not payload:
            return 1005, ""
        return int.from_bytes(payload[:2]), payload[2:].decode()

    def rest(self) -> bytes:
        """Everything up to the end of the stream; a reset counts as its end."""
        try:
            while True:
                self._more()
        except (EOFError, ConnectionError):
            data, self._buffer = self._buffer, b""
            return data

    def is_silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for so long."""
        if self._buffer:
            return False
        self.sock.settimeout(seconds)
        try:
            self._more()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(DEADLINE)
        return False

    def _more(self) -> None:
        data = self.sock.recv(1 << 18)
        if not data:
            raise EOFError("the stream has ended")
        self._buffer += data

    def _take(self, size: int) -> bytes:
        if len(self._buffer) < size:
            parts = [self._buffer]
            missing = size - len(self._buffer)
            while missing > 0:
                data = self.sock.recv(1 << 18)
                if not data:
                    raise EOFError("the stream has ended")
                parts.append(data)
                missing -= len(data)
            self._buffer = b"".join(parts)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    # ------------------------------------------------------------------ endings

    def bye(self, code: int = 1000, reason: str = "") -> None:
        """Close as a peer should, first: Close out, Close in, the stream to its end."""
        self.close_frame(code, reason)
        assert self.closed() == (code, reason)
        if self.is_client:
            assert self.rest() == b""
        self.sock.close()

    def reply(self) -> tuple[int, str]:
        """Be closed as a peer should: read the Close, echo it, read to the end."""
        code, reason = self.closed()
        self.send(0x88, close_body(code, reason) if code != 1005 else b"")
        if self.is_client:
            assert self.rest() == b""
        self.sock.close()
        return code, reason

    def half_close(self) -> None:
        """End our direction only."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()


class Listener:
    """A raw server: a listening socket and, with ``accept``, its connections."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, window: int | None = None, backlog: int = 8
    ) -> None:
        self.sock = socket.socket()
        if window is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(DEADLINE)
        self.sock.listen(backlog)
        self.tls = tls

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def url(self, target: str = "/") -> str:
        scheme, host = ("wss", "localhost") if self.tls is not None else ("ws", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}{target}"

    def accept(self) -> Peer:
        """The next connection, TLS included, before the opening handshake."""
        sock, _ = self.sock.accept()
        sock.settimeout(DEADLINE)
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True)
        return Peer(sock, is_client=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()


def _unmask(payload: bytes, key: bytes) -> bytes:
    if len(payload) < 4096:
        return mask(payload, key)
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(len(payload))
