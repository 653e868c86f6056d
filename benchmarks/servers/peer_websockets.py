"""websockets: ``--runtime`` asyncio, trio or threading."""

import asyncio
import logging
from typing import Any

from .options import HOST, LIMIT, Options, announce, parse, run


def settings(options: Options) -> dict[str, Any]:
    """What every runtime takes."""
    extensions = []
    if (deflate := options.deflate) is not None:
        from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

        extensions.append(
            ServerPerMessageDeflateFactory(
                server_max_window_bits=deflate.window_bits,
                client_max_window_bits=None,
                compress_settings={"level": deflate.level, "memLevel": deflate.mem_level},
            )
        )
    return {"compression": None, "extensions": extensions, "max_size": LIMIT}


async def on_asyncio(options: Options) -> None:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    clients: set[ServerConnection] = set()

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async def to_all(ws: ServerConnection) -> None:
        clients.add(ws)
        try:
            async for message in ws:
                broadcast(clients, message)
        finally:
            clients.discard(ws)

    handler = to_all if options.mode == "broadcast" else echo
    server = await serve(handler, HOST, 0, ssl=options.tls_context(), **settings(options))
    announce(next(iter(server.sockets)).getsockname()[1])
    await asyncio.Event().wait()


async def on_trio(options: Options) -> None:
    import trio
    from websockets.trio.server import ServerConnection, serve

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve(
                echo, 0, host=HOST, task_status=task_status, **settings(options)
            )
        )
        announce(server.listeners[0].socket.getsockname()[1])


def on_threads(options: Options) -> None:
    from websockets.sync.server import ServerConnection, serve

    def echo(ws: ServerConnection) -> None:
        for message in ws:
            ws.send(message)

    with serve(echo, HOST, 0, ssl=options.tls_context(), **settings(options)) as server:
        announce(server.socket.getsockname()[1])
        server.serve_forever()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a load that has ended just closes its connections
    chosen = parse()
    if chosen.runtime == "trio":
        import trio

        trio.run(on_trio, chosen)
    elif chosen.runtime == "threading":
        on_threads(chosen)
    else:
        run(lambda: on_asyncio(chosen), chosen)
