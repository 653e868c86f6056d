"""Our side of an Autobahn run: an echo server, or a client that echoes to a fuzzing server.

    python tests/autobahn/peer.py RUNTIME serve          # prints its address; ends with its input
    python tests/autobahn/peer.py RUNTIME run URL AGENT  # every case that the server at URL has

``RUNTIME`` is asyncio or threads. ``run.py`` starts it. The limits are raised: the suite's messages
have up to 16 MiB, in one frame, and it asks for the echo in one frame too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import wsproto_asyncio
import wsproto_threading
from wsproto_core import ConnectionClosed, HandshakeError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsproto_core import OpCode

# Many cases break the protocol on purpose. What we made of it is in the report.
EXPECTED = (ProtocolError, ConnectionClosed, HandshakeError)


class Limits:
    """Large enough that a message goes out in as many frames as it needs without limits: one."""

    MAX_MESSAGE_SIZE: int | None = 32 << 20
    MAX_FRAME_SIZE: int | None = 32 << 20


# ---------------------------------------------------------------------------------- asyncio


class Echo(Limits, wsproto_asyncio.WebSocketView):
    """Sends back what comes."""

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


async def serving() -> None:
    async with wsproto_asyncio.serve(Echo, "127.0.0.1", 0) as server:
        print(f"ws://127.0.0.1:{server.port}", flush=True)
        # The runner holds our input: when it is gone, so are we.
        await asyncio.to_thread(sys.stdin.read)


async def run(url: str, agent: str) -> None:
    connect = wsproto_asyncio.connect
    async with connect(f"{url}/getCaseCount") as asking:
        count = int(await asking.recv())
    for number in range(1, count + 1):
        try:
            view = await connect(f"{url}/runCase?case={number}&agent={agent}", Echo)
            await view.run_forever()
        except EXPECTED as error:
            print(f"case {number}: {error}", flush=True)
    async with connect(f"{url}/updateReports?agent={agent}"):
        pass


# ---------------------------------------------------------------------------------- threads


class PlainEcho(Limits, wsproto_threading.WebSocketView):
    """Sends back what comes."""

    def on_receive(self, message: bytes, opcode: OpCode) -> None:
        self.send(message, opcode)


def plain_serving() -> None:
    with wsproto_threading.serve(PlainEcho, "127.0.0.1", 0) as server:
        print(f"ws://127.0.0.1:{server.port}", flush=True)
        sys.stdin.read()


def plain_run(url: str, agent: str) -> None:
    connect = wsproto_threading.connect
    with connect(f"{url}/getCaseCount") as asking:
        count = int(asking.recv())
    for number in range(1, count + 1):
        try:
            view = connect(f"{url}/runCase?case={number}&agent={agent}", PlainEcho).open()
            view.run_forever()
        except EXPECTED as error:
            print(f"case {number}: {error}", flush=True)
    with connect(f"{url}/updateReports?agent={agent}"):
        pass


RUNTIMES: dict[str, tuple[Callable[[], None], Callable[[str, str], None]]] = {
    "asyncio": (
        lambda: asyncio.run(serving()),
        lambda url, agent: asyncio.run(run(url, agent)),
    ),
    "threads": (plain_serving, plain_run),
}


def main() -> None:
    # One line for each broken connection is expected and tells nothing here.
    logging.disable(logging.CRITICAL)
    match sys.argv[1:]:
        case [runtime, "serve"] if runtime in RUNTIMES:
            RUNTIMES[runtime][0]()
        case [runtime, "run", url, agent] if runtime in RUNTIMES:
            RUNTIMES[runtime][1](url, agent)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
