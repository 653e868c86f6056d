"""Our asyncio binding behind the same face as the peers of others: ``peers.Peer``.

The server is a view with hooks, the client is ``connect`` with plain calls, so that both ways of
using the library meet every peer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from tests.interop.peers import Message
from wsproto_asyncio import Extension, Frame, OpCode, WebSocketView, connect, serve

LIMIT = 16 << 20


class Ours:
    """A view of ours, seen as a peer."""

    can_fragment = True
    echoes = True

    def __init__(
        self, view: WebSocketView, messages: asyncio.Queue[Message], over: asyncio.Event
    ) -> None:
        self._view = view
        self._messages = messages
        self._over = over

    @property
    def extensions(self) -> list[str]:
        return [item.name for item in self._view.extensions]

    async def send(self, message: Message) -> None:
        await self._view.send(message, OpCode.TEXT if isinstance(message, str) else OpCode.BINARY)

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        opcode = OpCode.TEXT if isinstance(parts[0], str) else OpCode.BINARY
        for number, part in enumerate(parts, 1):
            payload = part.encode() if isinstance(part, str) else part
            await self._view.send_frame(Frame(opcode, fin=number == len(parts), payload=payload))
            opcode = OpCode.CONTINUATION
            if number == 1:
                await self._view.send_ping(ping)

    async def receive(self) -> Message:
        return await self._messages.get()

    async def ping(self, payload: bytes) -> None:
        assert await self._view.ping() >= 0

    async def close(self, code: int, reason: str) -> None:
        await self._view.close(code, reason)

    async def ended(self) -> tuple[int | None, str | None]:
        await self._over.wait()
        assert self._messages.empty()
        return self._view.close_code, self._view.close_reason


class Served(WebSocketView):
    """Hands what its hooks are told to the test that holds it."""

    MAX_MESSAGE_SIZE = LIMIT
    MAX_FRAME_SIZE = LIMIT

    accepted: asyncio.Future[Ours]  # set by `our_server` on a subclass

    async def on_open(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.over = asyncio.Event()
        self.accepted.set_result(Ours(self, self.messages, self.over))

    async def on_text(self, text: str) -> None:
        self.messages.put_nowait(text)

    async def on_binary(self, data: bytes) -> None:
        self.messages.put_nowait(data)

    async def on_close(self, frame: Frame | None = None) -> None:
        self.over.set()


@contextlib.asynccontextmanager
async def our_client(url: str, extensions: Sequence[Extension]) -> AsyncIterator[Ours]:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    over = asyncio.Event()

    async def read(view: WebSocketView) -> None:
        try:
            async for message in view:
                messages.put_nowait(message)
        finally:
            over.set()

    async with connect(
        url, max_message_size=LIMIT, max_frame_size=LIMIT, extensions=extensions
    ) as view:
        reader = asyncio.create_task(read(view))
        yield Ours(view, messages, over)
        await view.close()
        await reader


class OurListening:
    def __init__(self, port: int, accepted: asyncio.Future[Ours]) -> None:
        self.url = f"ws://127.0.0.1:{port}"
        self._accepted = accepted

    async def accepted(self) -> Ours:
        return await self._accepted


@contextlib.asynccontextmanager
async def our_server(extensions: Sequence[Extension]) -> AsyncIterator[OurListening]:
    class View(Served):
        EXTENSIONS = extensions
        accepted = asyncio.get_running_loop().create_future()

    async with serve(View, "127.0.0.1", 0) as server:
        assert server.port is not None
        yield OurListening(server.port, View.accepted)
