"""Our side of an Autobahn run: an echo server, or a client that echoes to a fuzzing server.

    python tests/autobahn/peer.py RUNTIME serve          # prints its address; ends with its input
    python tests/autobahn/peer.py RUNTIME run URL AGENT  # every case that the server at URL has

``RUNTIME`` is asyncio, trio, anyio-asyncio, anyio-trio or threads. ``run.py`` starts it. The limits
are raised: the suite's messages have up to 16 MiB, in one frame, and it asks for the echo in one
frame too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import anyio
import trio

import wsproto_anyio
import wsproto_asyncio
import wsproto_threading
import wsproto_trio
from wsproto_core import ConnectionClosed, HandshakeError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsproto_core import OpCode

# Many cases break the protocol on purpose. What we made of it is in the report.
EXPECTED = (ProtocolError, ConnectionClosed, HandshakeError)


class Limits:
    """Large enough that a message goes out in as many frames as it needs without limits: one."""

    MAX_MESSAGE_SIZE: int | None = 32 << 20
    MAX_FRAME_SIZE: int | None = 32 << 20


# ---------------------------------------------------------------------------------- with a loop


def echo_of(binding: Any) -> Any:
    """A view of ``binding`` that sends back what comes."""

    async def on_receive(self: Any, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)

    return type("Echo", (Limits, binding.WebSocketView), {"on_receive": on_receive})


async def serving(binding: Any, in_thread: Callable[..., Awaitable[object]]) -> None:
    async with binding.serve(echo_of(binding), "127.0.0.1", 0) as server:
        print(f"ws://127.0.0.1:{server.port}", flush=True)
        # The runner holds our input: when it is gone, so are we.
        await in_thread(sys.stdin.read)


async def run(binding: Any, url: str, agent: str) -> None:
    connect, echo = binding.connect, echo_of(binding)
    async with connect(f"{url}/getCaseCount") as asking:
        count = int(await asking.recv())
    for number in range(1, count + 1):
        try:
            async with connect(f"{url}/runCase?case={number}&agent={agent}", echo) as view:
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


Side = tuple["Callable[[], object]", "Callable[[str, str], object]"]


def on_anyio(backend: str) -> Side:
    binding, in_thread = wsproto_anyio, anyio.to_thread.run_sync
    return (
        lambda: anyio.run(serving, binding, in_thread, backend=backend),
        lambda url, agent: anyio.run(run, binding, url, agent, backend=backend),
    )


# How each runtime serves, and how it runs the cases of a server.
RUNTIMES: dict[str, Side] = {
    "asyncio": (
        lambda: asyncio.run(serving(wsproto_asyncio, asyncio.to_thread)),
        lambda url, agent: asyncio.run(run(wsproto_asyncio, url, agent)),
    ),
    "trio": (
        lambda: trio.run(serving, wsproto_trio, trio.to_thread.run_sync),
        lambda url, agent: trio.run(run, wsproto_trio, url, agent),
    ),
    "anyio-asyncio": on_anyio("asyncio"),
    "anyio-trio": on_anyio("trio"),
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
