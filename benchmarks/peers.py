"""Who is measured: how each server is started, and its settings in words."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from .loadgen import Unavailable

__all__ = ["PEERS", "ROOT", "Peer", "is_compiled"]

ROOT = Path(__file__).parents[1]
SERVERS = Path(__file__).parent / "servers"


@dataclass(frozen=True)
class Peer:
    """One implementation as a server."""

    name: str
    script: str
    """A module of ``benchmarks.servers``, or a file there that node runs."""
    needs: tuple[str, ...]
    """Distributions on PyPI; their versions are stored."""
    settings: str
    """What it is set to, beyond what the case asks for."""
    pure: bool = False
    """Ours without its compiled part."""

    def command(self, program: str) -> list[str]:
        """Return the start of the command line, for a case of that program."""
        if program == "sansio":
            return [sys.executable, "-m", "benchmarks.sansio", f"--who={self.needs[0]}"]
        if self.script.endswith(".mjs"):
            return [_node(), str(SERVERS / self.script)]
        return [sys.executable, "-m", f"benchmarks.servers.{self.script}"]

    def environment(self) -> dict[str, str]:
        """Return the variables of its process."""
        return {**os.environ, "WSPROTO_PURE": "1"} if self.pure else dict(os.environ)

    def versions(self) -> dict[str, str]:
        """Return the version of all it needs. Raises ``Unavailable`` for what is not there."""
        if self.script.endswith(".mjs"):
            return _node_versions()
        found = {}
        for name in self.needs:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                raise Unavailable(f"the package {name} (make bench installs it)") from None
        return found


@cache
def is_compiled() -> bool:
    """Whether a process of this Python gets our compiled build."""
    code = "import wsproto_core; print(wsproto_core.COMPILED)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@cache
def _node() -> str:
    if found := shutil.which("node"):
        return found
    raise Unavailable("node")


@cache
def _node_versions() -> dict[str, str]:
    code = (
        "const {version} = require('ws/package.json'); let addons = 'none';"
        "try { addons = require('bufferutil/package.json').version } catch {}"
        "console.log(process.versions.node, version, addons)"
    )
    done = subprocess.run(
        [_node(), "-e", code], cwd=SERVERS, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable("the npm package ws (make bench installs it)")
    node, ws, addons = done.stdout.split()
    return {"node": node, "ws": ws, "bufferutil": addons}


_OURS = (
    "A view's defaults (heartbeat every 20 s, all timeouts and checks); limits on size raised to "
    "64 MiB, any origin. Text is checked to be UTF-8 and handed over as bytes."
)
_WEBSOCKETS = (
    "Its defaults (pings every 20 s, C speed-ups on); `max_size` 64 MiB. Messages go through "
    "`async for` and `send`, as its documentation shows it."
)

PEERS = {
    peer.name: peer
    for peer in (
        Peer("wsproto-core", "ours", ("wsproto-core",), _OURS),
        Peer(
            "wsproto-core, pure",
            "ours",
            ("wsproto-core",),
            "The same with `WSPROTO_PURE=1`.",
            pure=True,
        ),
        Peer(
            "bare Connection",
            "bare",
            ("wsproto-core",),
            "A `Connection` in a minimal `asyncio.Protocol`: the checks of the core, no timers, no "
            "backpressure, no view.",
        ),
        Peer(
            "raw TCP", "raw", (), "An `asyncio.Protocol` that writes what it reads. No WebSocket."
        ),
        Peer(
            "picows",
            "peer_picows",
            ("picows", "aiofastnet"),
            "Its defaults: its own transports (aiofastnet) instead of the loop's, no pings. "
            "`max_frame_size` 64 MiB. Frames are sent back from the memory they were read into, "
            "one by one and not joined to messages; UTF-8 is not checked.",
        ),
        Peer("websockets", "peer_websockets", ("websockets",), _WEBSOCKETS),
        Peer(
            "trio-websocket",
            "peer_trio_websocket",
            ("trio-websocket", "wsproto"),
            "On wsproto. Its defaults; `max_message_size` 64 MiB, no pings of its own.",
        ),
        Peer(
            "wsproto",
            "",
            ("wsproto",),
            "Sans-IO only. Its `Connection`, fragments joined by whoever uses it.",
        ),
        Peer(
            "aiohttp",
            "peer_aiohttp",
            ("aiohttp",),
            "Its defaults (C reader, no pings); `max_msg_size` 64 MiB, no access log.",
        ),
        Peer(
            "uWebSockets",
            "peer_socketify",
            ("socketify",),
            "Through socketify, on its own loop (libuv), whichever loop the others use. No "
            "compression, limits at 64 MiB, `idle_timeout` 120 s.",
        ),
        Peer(
            "node ws",
            "node_ws.mjs",
            (),
            "On node's own loop, with the native addons bufferutil and utf-8-validate. "
            "`maxPayload` 64 MiB.",
        ),
    )
}
