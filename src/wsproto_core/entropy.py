"""Masking keys: four random bytes for each frame, drawn in blocks (RFC 6455 sections 5.3 and 10.3).

A system call for each frame would cost more than the rest of a small one. What was drawn and not
yet used is dropped in a forked child, so that it never shares a key with its parent. Nothing here
knows what a frame is. Tests: ``tests/core/test_entropy.py``.
"""

import os
from collections.abc import Callable
from typing import Final

__all__ = ["MaskKeys"]

_BLOCK: Final = 256  # bytes: 64 keys
_KEY: Final = 4

_forks = [0]  # how often this process became the child of a fork


def _note_fork() -> None:
    _forks[0] += 1


def _ignore(**_: Callable[[], None]) -> None:
    """Windows cannot fork."""


getattr(os, "register_at_fork", _ignore)(after_in_child=_note_fork)


class MaskKeys:
    """Gives one key after the other, each from fresh bytes of ``random``, in their order."""

    __slots__ = ("_at", "_block", "_forks", "_random", "_size")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        """``random`` gives that many bytes of a cryptographic source. One of the caller's own is
        asked for just what is used, four bytes for each frame."""
        self._random = random
        self._size = _BLOCK if random is os.urandom else _KEY
        self._block = b""
        self._at = 0
        self._forks = _forks[0]

    def next(self) -> bytes:
        """Four bytes that were never given before."""
        at = self._at
        if at == len(self._block) or self._forks != _forks[0]:
            self._forks = _forks[0]
            self._block = self._random(self._size)
            at = 0
        self._at = at + _KEY
        return self._block[at : at + _KEY]
