"""Our asyncio binding behind the same face as the peers of others: ``peers.Peer``.

The server is a view with hooks, the client is ``connect`` with plain calls, so that both ways of
using the library meet every peer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from tests.interop.peers import Message, Peer
from wsproto_asyncio import Frame, OpCode, WebSocketView, connect, serve

LIMIT = 16 << 20


class Ours:
    """A view of ours, seen as a peer."""

    can_fragment = True
    echoes = True

    def __init__(self, view: WebSocketView) -> None:
        self.view = view

    async def send(self, message: Message) -> None:
        await self.view.send(message, OpCode.TEXT if isinstance(message, str) else OpCode.BINARY)

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        opcode = OpCode.TEXT if isinstance(parts[0], str) else OpCode.BINARY
        for number, part in enumerate(parts, 1):
            payload = part.encode() if isinstance(part, str) else part
            await self.view.send_frame(Frame(opcode, fin=number == len(parts), payload=payload))
            opcode = OpCode.CONTINUATION
            if number == 1:
                await self.view.send_ping(ping)

    async def receive(self) -> Message:
        return await self.view.recv()

    async def ping(self, payload: bytes) -> None:
        assert await self.view.ping() >= 0

    async def close(self, code: int, reason: str) -> None:
        await self.view.close(code, reason)

    async def ended(self) -> tuple[int | None, str]:
        async for message in self.view:
            raise AssertionError(f"a message after the end: {message!r}")
        return self.view.close_code, self.view.close_reason


class Served(WebSocketView):
    """Hands what its hooks are told to the test that holds it."""

    MAX_MESSAGE_SIZE = LIMIT
    MAX_FRAME_SIZE = LIMIT

    accepted: asyncio.Future[Served]  # set by `our_server` on a subclass

    async def on_open(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.over = asyncio.Event()
        self.accepted.set_result(self)

    async def on_text(self, text: str) -> None:
        self.messages.put_nowait(text)

    async def on_binary(self, data: bytes) -> None:
        self.messages.put_nowait(data)

    async def on_close(self, frame: Frame | None = None) -> None:
        self.over.set()


class OursServed(Ours):
    """The same for a view whose messages come by hooks."""

    view: Served

    async def receive(self) -> Message:
        return await self.view.messages.get()

    async def ended(self) -> tuple[int | None, str]:
        await self.view.over.wait()
        assert self.view.messages.empty()
        return self.view.close_code, self.view.close_reason


@contextlib.asynccontextmanager
async def our_client(url: str) -> AsyncIterator[Peer]:
    async with connect(url, max_message_size=LIMIT, max_frame_size=LIMIT) as view:
        yield Ours(view)


class OurListening:
    def __init__(self, url: str, accepted: asyncio.Future[Served]) -> None:
        self.url = url
        self._accepted = accepted

    async def accepted(self) -> Peer:
        return OursServed(await self._accepted)


@contextlib.asynccontextmanager
async def our_server() -> AsyncIterator[OurListening]:
    class View(Served):
        accepted = asyncio.get_running_loop().create_future()

    async with serve(View, "127.0.0.1", 0) as server:
        yield OurListening(f"ws://127.0.0.1:{server.port}", View.accepted)
