"""Builds and steers ``calls.c``: which call on a TCP socket fails, and how."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, unique
from pathlib import Path

__all__ = ["Calls", "Effect", "Op", "build", "is_loaded", "lacking"]

SOURCE = Path(__file__).with_name("calls.c")


@unique
class Op(IntEnum):
    """What is called."""

    READ = 0
    WRITE = 1
    SHUTDOWN = 2
    CONNECT = 3


@unique
class Effect(IntEnum):
    """What the call does instead. From ``END`` on the stream stays broken."""

    NONE = 0
    AGAIN = 1
    INTERRUPTED = 2
    SHORT = 3
    END = 4
    RESET = 5
    TIMEOUT = 6
    PIPE = 7
    REFUSED = 8
    NOT_CONNECTED = 9


def lacking() -> str | None:
    """What this machine lacks for it; ``None`` if nothing."""
    if sys.platform != "linux":
        return "LD_PRELOAD is Linux's"
    return None if _compiler() else "no C compiler (cc, gcc or CC=...)"


def _compiler() -> str | None:
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


def build() -> Path:
    """The library, made if it is not there. Raises ``RuntimeError`` where something is lacking."""
    cc = _compiler()
    if cc is None or lacking():
        raise RuntimeError(f"cannot let system calls fail: {lacking()}")
    mark = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    place = SOURCE.parent / ".build" / f"calls-{mark}.so"
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        made = place.with_suffix(f".{os.getpid()}")
        flags = ["-O1", "-Wall", "-Wextra", "-shared", "-fPIC"]
        subprocess.run([cc, *flags, "-o", made, SOURCE, "-ldl"], check=True)
        made.rename(place)
    return place


def is_loaded() -> bool:
    """Whether this process was started with the library of this source."""
    return str(build()) in os.environ.get("LD_PRELOAD", "").split(":")


class Calls:
    """The library in this process. Whoever makes it is exempt from then on: the peer's thread."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(build()))
        self._library.faults_count.restype = ctypes.c_long
        self._library.faults_delivered.restype = ctypes.c_long
        self._library.faults_exempt()

    @contextmanager
    def armed(self, op: Op, effect: Effect, k: int) -> Iterator[None]:
        """Count; the ``k``-th ``op`` from here on meets ``effect``; with 0 none does."""
        self._library.faults_arm(int(op), int(effect), k)
        try:
            yield
        finally:
            self._library.faults_disarm()

    @property
    def struck(self) -> bool:
        """Whether the fault came about."""
        return bool(self._library.faults_struck())

    def count(self, op: Op) -> int:
        """How many there were while it was armed."""
        return int(self._library.faults_count(int(op)))

    @property
    def delivered(self) -> int:
        """Bytes that our side has read meanwhile."""
        return int(self._library.faults_delivered())
