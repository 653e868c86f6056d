"""Our side of an Autobahn run: an echo server, or a client that echoes to a fuzzing server.

    python tests/autobahn/peer.py serve              # prints its address; ends with its input
    python tests/autobahn/peer.py run URL AGENT      # runs every case that the server at URL has

``run.py`` starts it. The limits are raised: the suite's messages have up to 16 MiB, in one frame,
and it asks for the echo in one frame too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from wsproto_asyncio import (
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    WebSocketView,
    connect,
    serve,
)

if TYPE_CHECKING:
    from wsproto_asyncio import OpCode


class Echo(WebSocketView):
    """Sends back what comes, in as many frames as a sender without limits needs: one."""

    MAX_MESSAGE_SIZE = 32 << 20
    MAX_FRAME_SIZE = 32 << 20

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


async def serving() -> None:
    async with serve(Echo, "127.0.0.1", 0) as server:
        print(f"ws://127.0.0.1:{server.port}", flush=True)
        # The runner holds our input: when it is gone, so are we.
        await asyncio.to_thread(sys.stdin.read)


async def run(url: str, agent: str) -> None:
    async with connect(f"{url}/getCaseCount") as asking:
        count = int(await asking.recv())
    for number in range(1, count + 1):
        try:
            view = await connect(f"{url}/runCase?case={number}&agent={agent}", Echo)
            await view.run_forever()
        except (ProtocolError, ConnectionClosed, HandshakeError) as error:
            # Many cases break the protocol on purpose. What we made of it is in the report.
            print(f"case {number}: {error}", flush=True)
    async with connect(f"{url}/updateReports?agent={agent}"):
        pass


def main() -> None:
    # One line for each broken connection is expected and tells nothing here.
    logging.disable(logging.CRITICAL)
    words = sys.argv[1:]
    if words == ["serve"]:
        asyncio.run(serving())
    elif len(words) == 3 and words[0] == "run":
        asyncio.run(run(words[1], words[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
