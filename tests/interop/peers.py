"""WebSocket peers that others wrote, all with one face, as client and as server.

A test holds both ends of one connection: ours and a ``Peer``. So one text serves every peer and
both roles. Each ``*_client(url)`` and ``*_server()`` here is an asynchronous context; a server's
gives its address and takes one connection. All of them are ready to compress; whether it is done
is for our side to say. Nothing of ours is imported in this file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager as Context
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import websockets.asyncio.client
import websockets.asyncio.server
from aiohttp import web
from websockets.asyncio.connection import Connection as WebsocketsConnection

HERE = Path(__file__).resolve().parent
Message = str | bytes


class Peer(Protocol):
    """The other end of the connection."""

    can_fragment: bool
    echoes: bool  # it answers a Close with the same code, and tells the code of our answer

    async def send(self, message: Message) -> None:
        """Send one message in one frame."""

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        """Send one message in several frames, with a ping after the first of them."""

    async def receive(self) -> Message:
        """Return the next message."""

    async def ping(self, payload: bytes) -> None:
        """Send a ping and return when its pong has come."""

    async def close(self, code: int, reason: str) -> None:
        """Close first, and return when the connection is over."""

    async def ended(self) -> tuple[int | None, str | None]:
        """Return the code and reason that it saw in the end."""


class Listening(Protocol):
    """A peer that serves: where it is, and the connection once there is one."""

    url: str

    async def accepted(self) -> Peer:
        """Return the connection."""


class Serving:
    """A ``Listening`` around a future."""

    def __init__(self, port: int, connection: asyncio.Future[Peer]) -> None:
        self.url = f"ws://127.0.0.1:{port}"
        self._connection = connection

    async def accepted(self) -> Peer:
        return await self._connection


# -------------------------------------------------------------------------------------- websockets


class Websockets:
    """The `websockets` library."""

    can_fragment = True
    echoes = True

    def __init__(self, connection: WebsocketsConnection) -> None:
        self._connection = connection

    async def send(self, message: Message) -> None:
        await self._connection.send(message)

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        pongs = []

        async def in_turn() -> AsyncIterator[Any]:
            for number, part in enumerate(parts):
                yield part
                if number == 0:
                    pongs.append(await self._connection.ping(ping))

        await self._connection.send(in_turn())
        for pong in pongs:
            await pong

    async def receive(self) -> Message:
        return await self._connection.recv()

    async def ping(self, payload: bytes) -> None:
        await (await self._connection.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    async def ended(self) -> tuple[int | None, str]:
        await self._connection.wait_closed()
        return self._connection.close_code, self._connection.close_reason or ""


@contextlib.asynccontextmanager
async def websockets_client(url: str) -> AsyncIterator[Peer]:
    async with websockets.asyncio.client.connect(url, max_size=None, proxy=None) as connection:
        yield Websockets(connection)


@contextlib.asynccontextmanager
async def websockets_server() -> AsyncIterator[Listening]:
    connection: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    async def handler(websocket: websockets.asyncio.server.ServerConnection) -> None:
        connection.set_result(Websockets(websocket))
        await websocket.wait_closed()

    async with websockets.asyncio.server.serve(handler, "127.0.0.1", 0, max_size=None) as server:
        yield Serving(next(iter(server.sockets)).getsockname()[1], connection)


# ----------------------------------------------------------------------------------------- aiohttp


class Aiohttp:
    """The `aiohttp` library. Its pongs reach a program only if it reads and answers by itself."""

    can_fragment = False  # it has no call that sends a frame without FIN
    echoes = False  # it answers every Close with 1000

    def __init__(self, connection: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:
        self._connection = connection
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._reason = ""
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            item = await self._connection.receive()
            if item.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self._messages.put_nowait(item.data)
            elif item.type is aiohttp.WSMsgType.PING:
                await self._connection.pong(item.data)
            elif item.type is aiohttp.WSMsgType.PONG:
                self._pongs.put_nowait(bytes(item.data))
            else:
                if item.type is aiohttp.WSMsgType.CLOSE:
                    self._reason = item.extra or ""
                return

    async def send(self, message: Message) -> None:
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        raise NotImplementedError

    async def receive(self) -> Message:
        return await self._messages.get()

    async def ping(self, payload: bytes) -> None:
        await self._connection.ping(payload)
        assert await self._pongs.get() == payload

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code=code, message=reason.encode())

    async def ended(self) -> tuple[int | None, str]:
        await self.reader
        return self._connection.close_code, self._reason


@contextlib.asynccontextmanager
async def aiohttp_client(url: str) -> AsyncIterator[Peer]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, autoping=False, max_msg_size=0, compress=15) as connection,
    ):
        peer = Aiohttp(connection)
        yield peer
        await connection.close()
        await peer.reader


@contextlib.asynccontextmanager
async def aiohttp_server() -> AsyncIterator[Listening]:
    connection: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await response.prepare(request)
        peer = Aiohttp(response)
        connection.set_result(peer)
        await peer.reader
        return response

    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Serving(runner.addresses[0][1], connection)
    finally:
        await runner.cleanup()


# --------------------------------------------------------------------------------------- node's ws


class Node:
    """The `ws` package of node, in a process of its own; see ``node/puppet.mjs``."""

    can_fragment = True
    echoes = True

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: dict[str, asyncio.Queue[dict[str, Any]]] = {
            name: asyncio.Queue()
            for name in ("listening", "open", "message", "ping", "pong", "close", "error")
        }
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            self._events[event["event"]].put_nowait(event)

    async def next(self, name: str) -> dict[str, Any]:
        return await self._events[name].get()

    async def _order(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    @staticmethod
    def _packed(message: Message) -> dict[str, str]:
        if isinstance(message, str):
            return {"text": message}
        return {"base64": base64.b64encode(message).decode()}

    @staticmethod
    def _unpacked(data: dict[str, str]) -> Message:
        return data["text"] if "text" in data else base64.b64decode(data["base64"])

    async def send(self, message: Message) -> None:
        await self._order(do="send", data=self._packed(message), fin=True)

    async def send_fragments(self, parts: Sequence[Message], ping: bytes) -> None:
        for number, part in enumerate(parts, 1):
            await self._order(do="send", data=self._packed(part), fin=number == len(parts))
            if number == 1:
                await self._order(do="ping", data=self._packed(ping))
        await self._ponged(ping)

    async def receive(self) -> Message:
        return self._unpacked((await self.next("message"))["data"])

    async def ping(self, payload: bytes) -> None:
        await self._order(do="ping", data=self._packed(payload))
        await self._ponged(payload)

    async def _ponged(self, payload: bytes) -> None:
        assert self._unpacked((await self.next("pong"))["data"]) == payload

    async def close(self, code: int, reason: str) -> None:
        await self._order(do="close", code=code, reason=reason)
        event = await self.next("close")
        self._events["close"].put_nowait(event)

    async def ended(self) -> tuple[int | None, str]:
        event = await self.next("close")
        assert self._events["error"].empty(), self._events["error"].get_nowait()
        return event["code"], event["reason"]


@contextlib.asynccontextmanager
async def puppet(*arguments: str) -> AsyncIterator[Node]:
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    process = await asyncio.create_subprocess_exec(
        node,
        str(HERE / "node" / "puppet.mjs"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 << 20,  # a message is one line
    )
    peer = Node(process)
    try:
        yield peer
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await peer.reader
        await process.wait()


@contextlib.asynccontextmanager
async def node_client(url: str) -> AsyncIterator[Peer]:
    async with puppet("connect", url) as peer:
        await peer.next("open")
        yield peer


@contextlib.asynccontextmanager
async def node_server() -> AsyncIterator[Listening]:
    async with puppet("listen") as peer:
        port = (await peer.next("listening"))["port"]

        class Once:
            url = f"ws://127.0.0.1:{port}"

            async def accepted(self) -> Peer:
                await peer.next("open")
                return peer

        yield Once()


CLIENTS: dict[str, Callable[[str], Context[Peer]]] = {
    "websockets": websockets_client,
    "aiohttp": aiohttp_client,
    "ws": node_client,
}
SERVERS: dict[str, Callable[[], Context[Listening]]] = {
    "websockets": websockets_server,
    "aiohttp": aiohttp_server,
    "ws": node_server,
}
