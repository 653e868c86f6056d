"""From a name to a connected socket on asyncio: all addresses of a host, and through a proxy.

A socket and not a transport, so that a SOCKS library, TLS and every kind of loop can go on with it.
Whoever waits has the deadline. Tests: ``tests/bindings/test_io_rows.py``, ``test_proxy.py``.
"""

import asyncio
import errno
import os
import socket
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from wsproto_views import Dial

__all__ = ["check_socks", "open_socket"]

Address: TypeAlias = tuple[Any, ...]  # as getaddrinfo gives it

_DELAY = 0.25  # seconds before the next address is tried beside the one before (RFC 8305 section 8)


async def open_socket(dial: Dial[Any]) -> tuple[socket.socket, bytes]:
    """A socket whose other end is the server, and what the server sent through a tunnel already.

    Raises ``OSError``, or ``HandshakeError`` if a proxy refuses.
    """
    loop = asyncio.get_running_loop()
    proxy = dial.proxy
    if proxy is None:
        return await _open_tcp(loop, dial.uri.host, dial.uri.port), b""
    if proxy.is_socks:
        return await _through_socks(dial), b""
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


# ------------------------------------------------------------------------------------ addresses


async def _open_tcp(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Connect to the first address that answers; each gets a short lead over the next.

    Raises ``OSError``, with the cause of each address if there are several.
    """
    addresses = await _resolve(loop, host, port)
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
                    timeout=None if last else _DELAY,
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
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else errno.EHOSTUNREACH
    why = "; ".join(str(error.strerror) for error in errors)
    raise OSError(number, f"none of {len(errors)} addresses of {host} can be reached: {why}")


def _drop(task: "asyncio.Task[socket.socket]") -> None:
    """Close what a task that lost the race has connected all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Address]:
    """The addresses of ``host``, the families in turn (RFC 8305 section 4)."""
    try:
        # An address needs no look-up, and so no thread.
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric))
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = [item for item in found if item[0] == found[0][0]]
    others = [item for item in found if item[0] != found[0][0]]
    turns = chain.from_iterable(zip_longest(first, others))
    return [item for item in turns if item is not None]


async def _try(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and error.errno is not None:
            # asyncio's own text names the address and not the cause.
            reason = f"{where[0]} port {where[1]}: {os.strerror(error.errno)}"
            raise type(error)(error.errno, reason) from None
        raise
    return sock


# ---------------------------------------------------------------------------------------- SOCKS


def check_socks() -> None:
    """Raise ``ImportError`` with a way out if the package that speaks SOCKS is missing."""
    try:
        import python_socks.async_.asyncio  # noqa: F401, PLC0415
    except ImportError:
        raise ImportError(
            "a SOCKS proxy needs the package python-socks: pip install 'wsproto-core[proxy]'"
        ) from None


async def _through_socks(dial: Dial[Any]) -> socket.socket:
    from python_socks import ProxyError, ProxyType  # noqa: PLC0415
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

    proxy = dial.proxy
    assert proxy is not None
    client = Proxy.create(
        proxy_type=ProxyType[proxy.scheme[:6].upper()],
        host=proxy.host,
        port=proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=proxy.resolves_names,
    )
    try:
        return await client.connect(dial.uri.host, dial.uri.port)
    except ProxyError as error:
        raise dial.proxy_refused(error) from error
