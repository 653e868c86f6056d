"""Calls of the system and of coroutines, with nothing around them.

The compiled build has ``quick.pyx`` in place of this file. Tests: ``tests/bindings/test_quick.py``.
"""

import socket
from collections.abc import Coroutine
from threading import get_ident as thread_ident
from typing import Any

__all__ = ["Suspended", "receive", "send", "start", "thread_ident"]


def receive(sock: socket.socket, fd: int, buffer: memoryview) -> int:
    """Read into ``buffer``: how many bytes, 0 at the end of the stream, -1 if there is nothing now.

    May raise ``OSError``.
    """
    try:
        return sock.recv_into(buffer)
    except (BlockingIOError, InterruptedError):
        return -1


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
