"""The scripted session: a raw peer and a view of ours, one fault, and what must hold after it.

The peer talks in the thread that runs the session; ours lives in a runtime of its own. Whatever the
fault: every frame arrives whole or not at all, ``on_close`` runs exactly once, what was received
before the end is handled, and nothing is left behind (``leftovers.py`` sees to the last).
"""

import concurrent.futures
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.bindings.peer import DEADLINE
from tests.bindings.runtimes import Gate, Runtime, Tls, eventually
from tests.faults.awaits import AWAITS, Awaits
from tests.faults.calls import Calls, Effect, Op
from tests.faults.peer import Talker
from wsproto_core import ConnectionClosed, Frame, HandshakeError, OpCode
from wsproto_views import AsyncView

__all__ = ["NOTHING", "Fault", "Session", "Variant"]

BIG = 300_000  # bytes: more than the system takes at once
HASTE = 0.1  # seconds: the timeouts of a view whose peer is to be found dead


@dataclass(frozen=True)
class Fault:
    """What goes wrong; at which place of its kind, ``Session`` is told."""

    where: str
    """``call``: a call on the socket. ``hook``, ``block``: an await in a hook or in the block of
    ``serve`` or ``connect``. ``peer``: one of the peer's writings. ``none``."""

    what: str = ""
    op: Op = Op.READ
    effect: Effect = Effect.NONE
    harmless: bool = False
    """Nothing may come of it."""

    def __str__(self) -> str:
        return f"{self.where} {self.what}".strip()


NOTHING = Fault("none", harmless=True)


@dataclass(frozen=True)
class Variant:
    """How our side is written, and who closes."""

    style: str
    """``hooks``: with ``on_receive``; ``reader``: a ``run_forever`` of its own that iterates."""

    closer: str
    """``peer`` or ``ours``."""

    tls: bool = False

    def __str__(self) -> str:
        return f"{self.style}, {self.closer} closes{', TLS' if self.tls else ''}"


@dataclass
class Ours:
    """What our side did, in order."""

    opened: int = 0
    closed: int = 0
    handled: list[bytes] = field(default_factory=list)
    began: list[bytes] = field(default_factory=list)
    """Messages that it began to send."""
    sent: list[bytes] = field(default_factory=list)
    """Those whose ``send`` returned."""
    errors: list[str] = field(default_factory=list)


class Session:
    """One run of the script."""

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        role: str,
        variant: Variant,
        fault: Fault,
        k: int,
        calls: Calls,
    ) -> None:
        """``role``: which side we are. ``k``: at which place ``fault`` comes, from 1."""
        self.runtime = runtime
        self.role = role
        self.variant = variant
        self.fault = fault
        self.k = k
        self.ours = Ours()
        self._calls = calls
        kind, _ = AWAITS[name]
        self._hook = kind(runtime, fault.what if fault.where == "hook" else None, k)
        self._block = kind(runtime, fault.what if fault.where == "block" else None, k)
        self._port: int | None = None
        self._ready = threading.Event()
        self._tls = _certificates() if variant.tls else None
        self._peer = Talker(
            is_client=role == "server", ours_closes=variant.closer == "ours", tls=self._tls
        )
        self._gates: list[Gate] = [runtime.gate() for _ in self._peer.steps]
        self._peer.after_step = lambda step: self._gates[step].open()
        self._peer.while_stalled = self._until_given_up
        if fault.where == "peer":
            self._peer.misbehave_at(fault.what, k)

    def __str__(self) -> str:
        return f"{self.role}, {self.variant}; {self.fault}, {self.k}"

    @property
    def reached(self) -> bool:
        """Whether there was a k-th place at all."""
        if self.fault.where == "call":
            return self._calls.struck
        return self._hook.reached or self._block.reached or self._peer.struck

    @property
    def struck(self) -> bool:
        """Whether the fault came about. (A call that is in time does not time out.)"""
        if self.fault.where == "call":
            return self._calls.struck
        return self._hook.struck or self._block.struck or self._peer.struck

    def places(self, fault: Fault) -> int:
        """How many places for ``fault`` this run had."""
        if fault.where == "call":
            return self._calls.count(fault.op)
        if fault.where == "peer":
            return self._peer.writings
        return self._hook.count if fault.where == "hook" else self._block.count

    def run(self) -> None:
        """Talk, until the peer has nothing more to say and our block is left."""
        k = self.k if self.fault.where == "call" else 0
        with self._calls.armed(self.fault.op, self.fault.effect, k):
            self._run()

    def _run(self) -> None:
        with ExitStack() as stack:
            if self.role == "client":
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                self._port = listener.getsockname()[1]
                running = self.runtime.spawn(self._live)
                self._peer.accept(listener, running.done)
            else:
                running = self.runtime.spawn(self._live)
                while not self._ready.wait(0.001) and not running.done():
                    pass
                if self._port is not None:
                    self._peer.dial(self._port)
            try:
                self._peer.talk()
            finally:
                for gate in self._gates:
                    gate.open()
            with suppress(*self._may_end_with()):
                running.result(2 * DEADLINE)

    def _may_end_with(self) -> tuple[type[BaseException], ...]:
        """What the block of the user's may raise."""
        if self.fault.where == "hook" or self.fault.harmless:
            return ()
        return (OSError, HandshakeError, concurrent.futures.CancelledError)

    def _until_given_up(self) -> None:
        if self.ours.opened:
            eventually(lambda: self.ours.closed > 0, "an end of the connection that is stalled")

    # ------------------------------------------------------------------ our side

    async def _live(self) -> None:
        await self._block.run(self._inside)

    async def _inside(self) -> None:
        view, tls = self.runtime.adopt(_view(self), **self._settings()), self._tls
        if self.role == "server":
            context = self.runtime.serve(view, **({"ssl": tls.server} if tls else {}))
        elif tls is None:
            context = self.runtime.connect(f"ws://127.0.0.1:{self._port}/", view)
        else:
            url = f"wss://localhost:{self._port}/"
            context = self.runtime.connect(url, view, ssl=tls.client)
        async with context as place:
            if self.role == "server":
                self._port = place.port
            self._ready.set()
            for number, gate in enumerate(self._gates):
                await gate.wait()
                views = place.connections if self.role == "server" else [place]
                for one in views:
                    if one.is_open:
                        with suppress(ConnectionClosed):
                            await self._say(one, b"block %d" % number, self._block)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"EXTENSIONS": (), "CLOSE_TIMEOUT": 2.0}
        if self.fault.what == "stalls":
            settings |= {"OPEN_TIMEOUT": HASTE, "PING_INTERVAL": HASTE, "PONG_TIMEOUT": HASTE}
            settings |= {"MAX_MISSED_PONGS": 1, "CLOSE_TIMEOUT": HASTE, "SEND_TIMEOUT": HASTE}
        return settings

    async def handle(self, view: Any, message: bytes) -> None:
        """Do what the peer asks for."""
        self.ours.handled.append(message)
        verb, _, number = message.rstrip(b"\0").partition(b" ")
        await self._hook.run(lambda: self._act(view, verb, message))
        if verb != b"close":
            await self._say(view, b"done " + number, None)

    async def _act(self, view: Any, verb: bytes, message: bytes) -> None:
        one = self._hook.one
        if verb == b"echo":
            await self._say(view, message, self._hook)
        elif verb == b"ping":
            await one(view.ping)
        elif verb == b"pong":
            await one(lambda: view.send_pong(b"by the way"))
        elif verb == b"parts":
            message = b"first " + bytes(1000) + b" last"
            self.ours.began.append(message)
            await one(lambda: view.send_stream(iter([message[:6], message[6:-4], message[-4:]])))
        elif verb == b"big":
            await self._say(view, b"x" * BIG, self._hook)
        elif verb == b"close":
            await one(lambda: view.close(4000, "enough"))

    async def _say(self, view: Any, message: bytes, awaits: Awaits | None) -> None:
        self.ours.began.append(message)
        if awaits is None:
            await view.send(message, OpCode.BINARY)
        else:
            before = awaits.struck
            await awaits.one(lambda: view.send(message, OpCode.BINARY))
            if awaits.struck is not before:
                return
        self.ours.sent.append(message)

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """When nothing of it runs any more. Raises ``AssertionError`` where something is wrong."""
        ours, peer = self.ours, self._peer
        assert ours.opened <= 1, f"on_open ran {ours.opened} times"
        assert ours.closed == ours.opened, f"on_close ran {ours.closed} times"
        if peer.upgraded and self.role == "server":
            assert ours.opened, "a 101 was sent, and on_open did not run"
        self._check_received()
        self._check_sent()
        if self.fault.harmless:
            assert peer.finished, f"the script broke off in step {peer.step}: {ours.errors}"
            assert not ours.errors, ours.errors

    def _check_received(self) -> None:
        """Each message of the peer's once and in order; all that were received."""
        handled, sent = self.ours.handled, [message for message, _ in self._peer.sent]
        assert handled == sent[: len(handled)], f"handled {_brief(handled)} of {_brief(sent)}"
        if self.fault.where == "peer":
            return  # what a reset has eaten was not received
        if self.fault.where in ("hook", "block"):
            return  # whoever gives up may leave some
        if self.variant.tls:
            return  # which bytes were those of a message, only TLS knows
        arrived = [message for message, end in self._peer.sent if end <= self._calls.delivered]
        assert handled == arrived, f"handled {_brief(handled)}, arrived {_brief(arrived)}"

    def _check_sent(self) -> None:
        """What the peer got is what was said, whole, once and in order."""
        peer, ours = self._peer, self.ours
        for label in (True, False):  # two senders at once: each keeps its order
            got = [item for item in peer.got if item.startswith(b"block") is label]
            began = iter([item for item in ours.began if item.startswith(b"block") is label])
            for item in got:
                assert item in began, f"got {_brief([item])}, out of order or twice"
        if not peer.is_broken and self.fault.where != "peer":
            missing = [item for item in ours.sent if item not in peer.got]
            assert not missing, f"sent and not arrived: {_brief(missing)}"
        if self.fault.where in ("hook", "block") or self.fault.harmless:
            assert not peer.torn, "a frame was cut off"
            begun = peer.upgraded and self._ready.is_set()  # else it was dropped while it opened
            assert peer.got_close or not begun, "the connection ended without a Close"


@cache
def _certificates() -> Tls:
    return Tls()


def _brief(messages: list[bytes]) -> list[bytes]:
    return [item[:12] for item in messages]


def _view(session: Session) -> type[AsyncView]:
    ours = session.ours

    class Scripted(AsyncView):
        async def on_open(self) -> None:
            ours.opened += 1
            await session._say(self, b"open", None)

        async def on_error(self, exc: Exception) -> None:
            ours.errors.append(repr(exc))

        async def on_close(self, frame: Frame | None = None) -> None:
            ours.closed += 1

    class Hooks(Scripted):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await session.handle(self, message)

    class Reader(Scripted):
        async def run_forever(self) -> None:
            async for message in self:
                data = message if isinstance(message, bytes) else message.encode()
                with suppress(ConnectionClosed):  # what else was received is taken nevertheless
                    await session.handle(self, data)

    return Hooks if session.variant.style == "hooks" else Reader
