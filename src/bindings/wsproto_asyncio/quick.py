"""Calls of the system and of coroutines, with nothing around them.

The compiled build has ``quick.pyx`` in place of this file. Tests: ``tests/bindings/test_quick.py``.
"""

import socket
from collections.abc import Coroutine
from typing import Any

__all__ = ["Suspended", "receive", "send", "start"]


def receive(sock: socket.socket, fd: int, buffer: memoryview) -> memoryview | bytes | None:
    """What has come: read into ``buffer`` and a part of it, or if it is small perhaps a copy.

    Empty at the end of the stream, ``None`` if nothing has come. May raise ``OSError``.
    """
    try:
        return buffer[: sock.recv_into(buffer)]
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
