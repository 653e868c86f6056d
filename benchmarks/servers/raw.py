"""A plain TCP echo, no WebSocket at all: what the loop and the kernel take. ``--runtime`` asyncio,
trio or threading.
"""

import asyncio
import socket
import threading
from typing import cast

from .options import HOST, Options, announce, parse, run

READ_SIZE = 1 << 16


class Echo(asyncio.Protocol):
    """One connection on asyncio."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def on_asyncio(options: Options) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0, ssl=options.tls_context())
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def on_trio() -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(READ_SIZE):
            await stream.send_all(data)

    listeners = await trio.open_tcp_listeners(0, host=HOST)
    announce(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(echo, listeners)


def on_threads() -> None:
    def echo(sock: socket.socket) -> None:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := sock.recv(READ_SIZE):
                sock.sendall(data)

    with socket.create_server((HOST, 0), backlog=1024) as listener:
        announce(listener.getsockname()[1])
        while True:
            threading.Thread(target=echo, args=listener.accept()[:1], daemon=True).start()


if __name__ == "__main__":
    chosen = parse()
    if chosen.runtime == "trio":
        import trio

        trio.run(on_trio)
    elif chosen.runtime == "threading":
        on_threads()
    else:
        run(lambda: on_asyncio(chosen), chosen)
