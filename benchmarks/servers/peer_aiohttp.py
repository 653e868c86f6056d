"""aiohttp: a handler that reads and sends messages by their type."""

import asyncio
from importlib import import_module

import aiohttp
from aiohttp import web

from .options import HOST, LIMIT, Options, announce, parse, run


async def main(options: Options) -> None:
    deflate = options.deflate
    if deflate is not None:
        # aiohttp deflates at level 1 with a window of 15, whatever it is asked.
        assert (deflate.level, deflate.window_bits) == (1, 15)
        if deflate.backend != "zlib":
            modules = {"isal": "isal.isal_zlib", "zlib-ng": "zlib_ng.zlib_ng"}
            aiohttp.set_zlib_backend(import_module(modules[deflate.backend]))
    clients: set[web.WebSocketResponse] = set()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=deflate is not None, max_msg_size=LIMIT)
        await ws.prepare(request)
        clients.add(ws)
        try:
            async for message in ws:
                targets = list(clients) if options.mode == "broadcast" else (ws,)
                for target in targets:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        await target.send_str(message.data)
                    elif message.type == aiohttp.WSMsgType.BINARY:
                        await target.send_bytes(message.data)
        finally:
            clients.discard(ws)
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=options.tls_context(), backlog=1024)
    await site.start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    chosen = parse()
    run(lambda: main(chosen), chosen)
