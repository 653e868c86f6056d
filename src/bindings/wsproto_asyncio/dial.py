"""From a name to a connected socket on asyncio: all addresses of a host, and through a proxy.

A socket and not a transport, so that a SOCKS library, TLS and every kind of loop can go on with it.
Whoever waits has the deadline. Tests: ``tests/bindings/test_io_rows.py``, ``test_proxy.py``.
"""

import asyncio
import socket
from typing import Any

from wsproto_views import Dial, sockets
from wsproto_views.socks import through_socks

__all__ = ["open_socket"]


async def open_socket(dial: Dial[Any]) -> tuple[socket.socket, bytes]:
    """A socket whose other end is the server, and what the server sent through a tunnel already.

    Raises ``OSError``, or ``HandshakeError`` if a proxy refuses.
    """
    loop = asyncio.get_running_loop()
    proxy = dial.proxy
    if proxy is None:
        return await _open_tcp(loop, dial.uri.host, dial.uri.port), b""
    if proxy.is_socks:
        return await through_socks(dial, "asyncio"), b""
    sock = await _open_tcp(loop, proxy.host, proxy.port)
    try:
        tunnel = dial.tunnel()
        await loop.sock_sendall(sock, tunnel.request)
        while True:
            data = await loop.sock_recv(sock, 1 << 16)
            if not data:
                raise tunnel.receive_eof()
            if tunnel.receive_data(data):
                dial.check_tail(tunnel.tail)
                return sock, tunnel.tail
    except BaseException:
        sock.close()
        raise


async def _open_tcp(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Connect to the first address that answers; each gets a short lead over the next.

    Raises ``OSError``, with the cause of each address if there are several.
    """
    addresses = sockets.numeric(host, port)
    if addresses is None:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = sockets.in_turn(found)
    if len(addresses) == 1:
        return await _try(loop, addresses[0])
    tasks: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        for address in addresses:
            tasks.add(loop.create_task(_try(loop, address)))
            last = address is addresses[-1]
            while tasks:
                done, _ = await asyncio.wait(
                    tasks,
                    timeout=None if last else sockets.LEAD,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    tasks.remove(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, OSError):
                        raise error
                    errors.append(error)
                if not last:
                    break  # it has had its lead, or needs none any more
    finally:
        for task in tasks:
            task.add_done_callback(_drop)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
    raise sockets.unreachable(host, errors)


def _drop(task: "asyncio.Task[socket.socket]") -> None:
    """Close what a task that lost the race has connected all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _try(loop: asyncio.AbstractEventLoop, address: sockets.Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            # asyncio's own text names the address and not the cause.
            raise sockets.refused(address, error) from None
        raise
    return sock
