"""trio-websocket: a handler that sends each message back."""

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from .options import HOST, LIMIT, announce, parse


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                echo, HOST, 0, None, max_message_size=LIMIT, task_status=task_status
            )
        )
        announce(server.port)


if __name__ == "__main__":
    parse()
    trio.run(main)
