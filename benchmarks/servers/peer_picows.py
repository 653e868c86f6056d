"""picows: a listener that sends each frame back from the memory it was read into."""

import asyncio
from typing import Any

from picows import WSListener, WSMsgType, ws_create_server

from .options import HOST, LIMIT, Options, announce, parse, run

DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
clients: set[Any] = set()


class Echo(WSListener):  # type: ignore[misc, unused-ignore]
    """One connection."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type in DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()


class Broadcast(WSListener):  # type: ignore[misc, unused-ignore]
    """One connection of many: what it sends goes to all."""

    def on_ws_connected(self, transport: Any) -> None:
        clients.add(transport)

    def on_ws_disconnected(self, transport: Any) -> None:
        clients.discard(transport)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type in DATA:
            payload = frame.get_payload_as_bytes()
            for client in clients:
                client.send(frame.msg_type, payload)


async def main(options: Options) -> None:
    listener = Broadcast if options.mode == "broadcast" else Echo
    server = await ws_create_server(
        lambda _request: listener(), HOST, 0, ssl=options.tls_context(), max_frame_size=LIMIT
    )
    announce(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    chosen = parse()
    run(lambda: main(chosen), chosen)
