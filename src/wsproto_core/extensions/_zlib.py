"""Which DEFLATE library does the work: Python's zlib, or a faster one where it is installed.

``zlib-ng`` and ``isal`` (the extra ``speed``) have the interface of ``zlib``. Only this file knows
their names; it knows nothing of WebSocket. Decoding gives the same bytes with each of them; what
they encode differs, and every inflater reads it.

``"auto"`` takes the best of what is there for each direction. Measured on Python 3.11, window 12,
memory level 5, level 4 (isal 2), microseconds for a message of 256 bytes of JSON / 16 KiB of text:

==========  ====================  =========================  ==================
library     deflate               bytes left of 100          inflate
==========  ====================  =========================  ==================
zlib 1.2    4.6 / 216             25 / 35                    0.38 / 45
zlib-ng     4.1 / 160             25 / 34                    0.45 / 22
isal        3.4 / 32              26 / 35                    1.05 / 23
==========  ====================  =========================  ==================

So isal deflates where it is installed, and zlib-ng inflates. isal never does: it is slow on small
messages, and its release 1.7.0 loses its place behind a final block that is cut in two. The price
is memory for each deflater in use: zlib 38 KiB, isal 110 KiB, zlib-ng 160 KiB.
Tests: ``tests/core/test_deflate.py``.
"""

import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Final, NamedTuple, Protocol

__all__ = ["BACKENDS", "Backend", "Deflater", "Inflater", "choose"]

BACKENDS: Final = ("auto", "zlib", "zlib-ng", "isal")
"""The names that ``choose`` knows."""

_MODULES: Final = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}

# In order of preference; what is measured above.
_DEFLATE: Final = ("isal", "zlib-ng", "zlib")
_INFLATE: Final = ("zlib-ng", "zlib")

# Which pair a name stands for; "auto" is looked up.
_PAIRS: Final = {
    "zlib": ("zlib", "zlib"),
    "zlib-ng": ("zlib-ng", "zlib-ng"),
    "isal": ("isal", "zlib"),
}

# isal has four levels, of which 0 compresses worst and is not "stored". Ours are those of zlib.
_ISAL_LEVELS: Final = (1, 1, 1, 1, 2, 2, 2, 3, 3, 3)


class Deflater(Protocol):
    """What ``zlib.compressobj`` makes."""

    def compress(self, data: bytes, /) -> bytes:
        """Take ``data``; gives what is ready."""

    def flush(self, mode: int, /) -> bytes:
        """Give the rest."""


class Inflater(Protocol):
    """What ``zlib.decompressobj`` makes."""

    @property
    def eof(self) -> bool:
        """Whether a final block has ended."""

    @property
    def unused_data(self) -> bytes:
        """What follows the final block."""

    @property
    def unconsumed_tail(self) -> bytes:
        """Input that was not looked at because the output was full."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Take ``data``; gives at most ``max_length`` bytes."""


class Backend(NamedTuple):
    """One way to deflate and one to inflate."""

    name: str
    """For logs and tests, such as ``"isal+zlib-ng"``."""

    deflater: Callable[[int, int, int], Deflater]
    """Level (1 to 9), window bits (9 to 15), memory level (1 to 9) to a fresh deflater, raw."""

    inflater: Callable[[int, bytes], Inflater]
    """Window bits (8 to 15) and the output before (may be empty) to an inflater, raw."""

    error: type[Exception]
    """What the inflater raises for data that is not DEFLATE."""


@cache
def choose(name: str = "auto") -> Backend:
    """Return the backend ``name``, one of ``BACKENDS``.

    Raises ``ValueError`` for another name, ``ImportError`` if that library is not installed
    (``"auto"`` always finds one).
    """
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    one, other = _PAIRS.get(name) or (_installed(_DEFLATE), _installed(_INFLATE))
    inflating = _module(other)
    return Backend(
        name=one if one == other else f"{one}+{other}",
        deflater=_deflater(_module(one), _ISAL_LEVELS if one == "isal" else range(10)),
        inflater=_inflater(inflating),
        error=inflating.error,
    )


def _module(name: str) -> ModuleType:
    # By name: what is optional must not be needed by a type checker either.
    return import_module(_MODULES[name])


def _installed(names: tuple[str, ...]) -> str:
    for name in names[:-1]:
        try:
            _module(name)
        except ImportError:
            continue
        return name
    return names[-1]


def _deflater(
    module: ModuleType, levels: tuple[int, ...] | range
) -> Callable[[int, int, int], Deflater]:
    make: Callable[[int, int, int, int], Deflater] = module.compressobj

    def deflater(level: int, bits: int, mem_level: int) -> Deflater:
        # Negative bits: a raw stream, without zlib's header and checksum (RFC 7692 section 7.2.1).
        return make(levels[level], zlib.DEFLATED, -bits, mem_level)

    return deflater


def _inflater(module: ModuleType) -> Callable[[int, bytes], Inflater]:
    bare: Callable[[int], Inflater] = module.decompressobj
    primed: Callable[[int, bytes], Inflater] = module.decompressobj

    def inflater(bits: int, before: bytes) -> Inflater:
        return primed(-bits, before) if before else bare(-bits)

    return inflater
