"""Calls of the system and of coroutines, with nothing around them.

The compiled build has ``quick.pyx`` in place of this file. Tests: ``tests/bindings/test_quick.py``.
"""

import os
import socket
import time
from collections.abc import Coroutine
from contextvars import Context
from threading import get_ident
from time import monotonic
from typing import Any

__all__ = [
    "READY",
    "Ready",
    "Runner",
    "Suspended",
    "Timer",
    "get_ident",
    "has_poll",
    "has_timer",
    "has_wait",
    "is_only_ready",
    "monotonic",
    "part",
    "poll",
    "receive",
    "recv",
    "send",
    "start",
]

_os: Any = os

has_timer = hasattr(os, "timerfd_create")  # from Python 3.13; the compiled build has it earlier
has_poll = False  # poll
has_wait = False  # is_only_ready

READY = 128  # descriptors that are told of at once


def part(buffer: memoryview, size: int) -> memoryview | bytes:
    """The first ``size`` bytes of ``buffer``: a part of it, or if it is small perhaps a copy."""
    return buffer[:size]


def receive(sock: socket.socket, fd: int, buffer: memoryview) -> memoryview | bytes | None:
    """What has come: read into ``buffer`` and a part of it, or if it is small perhaps a copy.

    Empty at the end of the stream, ``None`` if nothing has come. May raise ``OSError``.
    """
    try:
        return buffer[: sock.recv_into(buffer)]
    except (BlockingIOError, InterruptedError):
        return None


def recv(sock: socket.socket, fd: int, size: int) -> bytes | None:
    """What has come, at most ``size`` bytes of it.

    Empty at the end of the stream, ``None`` if nothing has come. May raise ``OSError``.
    """
    try:
        return sock.recv(size)
    except (BlockingIOError, InterruptedError):
        return None


def send(sock: socket.socket, fd: int, data: bytes) -> int:
    """Write: how many bytes the system took, 0 if none now. May raise ``OSError``."""
    try:
        return sock.send(data)
    except (BlockingIOError, InterruptedError):
        return 0


class Suspended:
    """What a coroutine that waits has given: something for its task."""

    __slots__ = ("given",)

    def __init__(self, given: object) -> None:
        self.given = given


def start(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run ``coroutine`` up to where it waits: ``Suspended``, or else what it returned.

    What it raises passes through.
    """
    try:
        return Suspended(coroutine.send(None))
    except StopIteration as end:
        return end.value


class Runner:
    """Who runs something in a context of its own: ``_run``, a subclass's. (No ABC: a compiled class
    can be none.)"""

    __slots__ = ()

    def _run(self, session: Any, driver: Any) -> None:
        raise NotImplementedError("a subclass's")

    def _run_in(self, context: Context, session: Any, driver: Any) -> None:
        context.run(self._run, session, driver)


class Timer:
    """A timer of the system, which a loop can watch: its descriptor is readable when it rings."""

    def __init__(self) -> None:
        self.fd: int = _os.timerfd_create(
            time.CLOCK_MONOTONIC, flags=_os.TFD_NONBLOCK | _os.TFD_CLOEXEC
        )

    def set(self, at: float) -> None:
        """Ring at ``at``, in seconds of ``time.monotonic()``, and not before; 0: never."""
        _os.timerfd_settime(self.fd, flags=_os.TFD_TIMER_ABSTIME, initial=at)

    def close(self) -> None:
        """Give it back. It must not be watched any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


class Ready:
    """Which descriptors of an epoll are ready, when it was asked last."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []

    def ask(self, epoll: Any, fd: int) -> int:
        """Ask ``epoll``, a ``select.epoll`` of the descriptor ``fd``, without waiting; returns how
        many are ready, ``READY`` at most."""
        self._found = epoll.poll(0, READY)
        return len(self._found)

    def fd(self, at: int) -> int:
        """The descriptor of one of them."""
        return self._found[at][0]

    def events(self, at: int) -> int:
        """What it is ready for."""
        return self._found[at][1]


def is_only_ready(epoll: int, fd: int) -> bool:
    """Wait until something of ``epoll`` is ready: whether that is ``fd`` alone.

    May say no before, after a signal.
    """
    raise NotImplementedError("only in the compiled build, see has_wait")


def poll(fd: int, mask: int, other: int, timeout: int) -> int:
    """Wait for ``mask`` of ``fd``, until ``other`` is readable or ``timeout`` milliseconds have
    passed (below 0: for ever): what ``fd`` is ready for, as ``select.poll`` has it.

    May return before, after a signal.
    """
    raise NotImplementedError("only in the compiled build, see has_poll")
