"""``Stage``: a session between a peer made of bytes and hooks that a test finishes by hand.

What a binding does, without I/O: it reports, reads levels, and runs a call where the test says so.
"""

from collections.abc import Callable
from typing import Any

from tests.core.wire import KEY, close_body, frame, parse
from wsproto_core import (
    Agreement,
    Call,
    CallKind,
    Config,
    Connection,
    Hooks,
    HttpRequest,
    Request,
    Response,
    Role,
    Session,
    Target,
)

__all__ = ["REQUEST", "Log", "Stage", "head"]

Log = list[tuple[Any, ...]]

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"
)


def head(data: bytes) -> tuple[int, list[str]]:
    """Status and header lines of a response."""
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), lines[1:]


class Stage:
    """One session, at a time that the test moves.

    The hooks named in ``hooks`` note ``(name, *arguments)`` in ``log`` when they are run; those
    given in ``does`` are run as they are. A server starts open, or with ``opened=False`` before its
    request; a client likewise.
    """

    def __init__(
        self,
        *hooks: str,
        role: Role = Role.SERVER,
        config: Config | None = None,
        opened: bool = True,
        gate: Callable[..., Any] | None = None,
        route: Callable[[Request | HttpRequest], Target | Response] | None = None,
        **does: Callable[..., Any],
    ) -> None:
        self.now = 100.0
        self.log: Log = []
        self.role = role
        settings = config if config is not None else Config()
        self.hooks = Hooks(**{name: self._noting(name) for name in hooks}, **does)
        if opened:
            connection = Connection.after_handshake(role, settings, Agreement(), now=self.now)
        else:
            target = "ws://server.example/chat" if role is Role.CLIENT else None
            connection = Connection(role, settings, now=self.now, target=target)
        self.connection = connection
        self.session = Session(connection, self.hooks, gate=gate, route=route)
        self.session.tick(self.now)

    def _noting(self, name: str) -> Callable[..., None]:
        def hook(*arguments: Any) -> None:
            self.log.append((name, *arguments))

        hook.__qualname__ = name
        return hook

    # The peer.

    def frame(self, first: int, payload: bytes = b"") -> bytes:
        """A frame as the peer sends it."""
        return frame(first, payload, KEY if self.role is Role.SERVER else b"")

    def text(self, data: str) -> bytes:
        """A text message of the peer."""
        return self.frame(0x81, data.encode())

    def close(self, code: int = 1000) -> bytes:
        """A Close of the peer."""
        return self.frame(0x88, close_body(code))

    def feed(self, *data: bytes, bytewise: bool = False) -> None:
        """Bytes arrive in one read, or one by one."""
        whole = b"".join(data)
        for part in [bytes([b]) for b in whole] if bytewise else [whole]:
            self.session.received(part, self.now)

    def pass_time(self, seconds: float) -> None:
        """Time passes, with one look at its end."""
        self.now += seconds
        self.session.tick(self.now)

    def reads(self) -> bool:
        """Whether the driver would read now."""
        return self.session.wants_read

    # The driver.

    def start(self, kind: CallKind) -> Call:
        """Take the next call, which must be of this kind."""
        assert self.session.has_call()
        call = self.session.next_call()
        assert call is not None
        assert call.kind is kind, call
        return call

    def nothing_starts(self) -> bool:
        """Whether no call may start."""
        assert (self.session.next_call() is None) is not self.session.has_call()
        return not self.session.has_call()

    def end(self, call: Call, value: object = None) -> None:
        """The hook returned."""
        self.session.call_returned(call, value, self.now)

    def fail(self, call: Call, error: BaseException) -> None:
        """The hook raised."""
        self.session.call_failed(call, error, self.now)

    def run(self) -> list[str]:
        """Run each call to its end, one by one; the names of the hooks, in order."""
        names = []
        while (call := self.session.next_call()) is not None:
            names.append(call.hook.__qualname__)
            try:
                value = call.begin()
            except Exception as error:  # noqa: BLE001 - what a driver does
                self.fail(call, error)
            else:
                self.end(call, value)
        return names

    # What is written.

    def output(self) -> bytes:
        """All that is to be written since the last look."""
        return b"".join(self.session.take_output())

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames written since the last look."""
        return parse(self.output(), masked=self.role is Role.CLIENT)
