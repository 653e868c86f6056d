"""Listening sockets. Tests: ``tests/bindings/test_contract.py``, ``test_io_rows.py``."""

import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["listen"]


def listen(
    host: str | None, port: int, sock: socket.socket | None, unix: str | None, backlog: int
) -> list[socket.socket]:
    """The sockets to accept from, listening, non-blocking. Raises ``OSError``."""
    if sock is not None:
        found = [sock]
    elif unix is not None:
        found = [_listen_unix(unix)]
    else:
        found = _listen_tcp(host, port)
    for item in found:
        item.setblocking(False)
        item.listen(backlog)
    return found


def _listen_unix(place: str) -> socket.socket:
    # A socket that a server before this one left behind is in nobody's way but ours.
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(place).stat().st_mode):
            Path(place).unlink()
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_tcp(host: str | None, port: int) -> list[socket.socket]:
    addresses = dict.fromkeys(
        (family, kind, protocol, where)
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    )
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, where in addresses:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that getaddrinfo knows and the system does not
            found.append(sock)
            if os.name == "posix" and sys.platform != "cygwin":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and hasattr(socket, "IPPROTO_IPV6"):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
    except BaseException:
        for sock in found:
            sock.close()
        raise
    if not found:
        raise OSError(f"no address of {host} can be listened on")
    return found
