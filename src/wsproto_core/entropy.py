"""Masking keys: four random bytes for each frame, drawn in blocks (RFC 6455 sections 5.3 and 10.3).

A system call for each frame would cost more than the rest of a small one. What was drawn and not
yet used is dropped in a forked child, so that it never shares a key with its parent. Nothing here
knows what a frame is. Tests: ``tests/core/test_entropy.py``.
"""

import os
from collections.abc import Callable
from struct import Struct
from typing import Final

__all__ = ["MaskKeys"]

_BLOCK: Final = Struct("4s" * 64)
_KEY: Final = Struct("4s")

_forks = [0]  # how often this process became the child of a fork


def _note_fork() -> None:
    _forks[0] += 1


def _ignore(**_: Callable[[], None]) -> None:
    """Windows cannot fork."""


getattr(os, "register_at_fork", _ignore)(after_in_child=_note_fork)


class MaskKeys:
    """Gives one key after the other, each from fresh bytes of ``random``, in their order."""

    __slots__ = ("_cut", "_forks", "_keys", "_random")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        """``random`` gives that many bytes of a cryptographic source. One of the caller's own is
        asked for just what is used, four bytes for each frame."""
        self._random = random
        self._cut = _BLOCK if random is os.urandom else _KEY
        self._keys: list[bytes] = []  # the next one is the last
        self._forks = _forks[0]

    def next(self) -> bytes:
        """Four bytes that were never given before."""
        keys = self._keys
        if not keys or self._forks != _forks[0]:
            self._forks = _forks[0]
            keys = self._keys = list(self._cut.unpack(self._random(self._cut.size)))
            keys.reverse()
        return keys.pop()
