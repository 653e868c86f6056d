"""What every server script takes and says: ``python -m benchmarks.servers.NAME --loop uvloop``.

A server listens on a free port of 127.0.0.1, prints the port as a line, and serves until it is
ended. It ends by itself with whoever started it.
"""

import argparse
import asyncio
import cProfile
import ctypes
import os
import signal
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HOST", "LIMIT", "Deflate", "Options", "announce", "parse", "run"]

HOST = "127.0.0.1"
LIMIT = 1 << 26  # bytes of a message: nothing that a case sends is refused


@dataclass(frozen=True)
class Deflate:
    """permessage-deflate as every server of a case is to use it; every message is deflated."""

    level: int
    window_bits: int
    mem_level: int
    backend: str = "zlib"


@dataclass(frozen=True)
class Options:
    """The command line."""

    runtime: str
    loop: str
    backend: str
    mode: str
    tls: Path | None
    deflate: Deflate | None

    def tls_context(self) -> ssl.SSLContext | None:
        """The context of a server, with Python's defaults; ``None`` without ``--tls``."""
        if self.tls is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.tls)
        return context


def parse() -> Options:
    """Read the command line, and see to it that this process does not outlive its parent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime", default="asyncio", help="of those that have several")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--backend", default="asyncio", help="of the runtime anyio")
    parser.add_argument("--mode", choices=("echo", "broadcast"), default="echo")
    parser.add_argument("--tls", type=Path, help="a file with the key and the certificate")
    parser.add_argument("--deflate", help="level,window bits,memory level[,backend]; else off")
    parser.add_argument("--cprofile", type=Path, help="where to write a profile at the end")
    given = parser.parse_args()
    deflate = None
    if given.deflate:
        level, window_bits, mem_level, *rest = given.deflate.split(",")
        deflate = Deflate(int(level), int(window_bits), int(mem_level), *rest)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if given.cprofile:
        profile_until_the_end(given.cprofile)
    return Options(given.runtime, given.loop, given.backend, given.mode, given.tls, deflate)


def profile_until_the_end(file: Path) -> None:
    """Count the calls of this thread until SIGTERM, and write them to ``file``."""
    profile = cProfile.Profile()

    def end(_signal: int, _frame: object) -> None:
        profile.disable()
        profile.dump_stats(file)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    profile.enable()


def announce(port: int) -> None:
    """Tell the starter that the server listens."""
    print(port, flush=True)


def run(main: Callable[[], Coroutine[Any, Any, None]], options: Options) -> None:
    """Run ``main`` on the loop that was asked for."""
    if options.loop == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
