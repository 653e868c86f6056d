"""Sockets that do not block: where a name leads, connecting, listening. Nothing here waits.

What is done once for all runtimes, with the texts of the errors. Waiting is the caller's.
Tests: ``tests/bindings/test_io_rows.py``, ``tests/bindings/test_endpoints.py``.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

__all__ = [
    "ACCEPTS",
    "LEAD",
    "SHORT",
    "Address",
    "accept",
    "begin_connect",
    "begin_unix",
    "end_connect",
    "in_turn",
    "listen_unix",
    "listen_with",
    "numeric",
    "port_of",
    "unlink_unix",
    "unreachable",
]

Address: TypeAlias = tuple[Any, ...]  # as getaddrinfo gives it

LEAD = 0.25  # seconds before the next address is tried beside the one before (RFC 8305 section 8)

ACCEPTS = 16  # new connections in one turn of the loop

# What accept() reports of a connection that is gone already, or of a machine that is short.
_UNIX = getattr(socket, "AF_UNIX", None)
_PASSING = {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH}
SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""The errors of a machine that is short of something: it helps to wait."""


# ---------------------------------------------------------------------------------- connecting


def numeric(host: str, port: int) -> list[Address] | None:
    """The address that ``host`` is, if it is one: that needs no look-up, and so no thread."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
    except socket.gaierror:
        return None


def in_turn(found: list[Address]) -> list[Address]:
    """The same addresses, the families in turn (RFC 8305 section 4)."""
    first = [item for item in found if item[0] == found[0][0]]
    others = [item for item in found if item[0] != found[0][0]]
    turns = chain.from_iterable(zip_longest(first, others))
    return [item for item in turns if item is not None]


def begin_connect(address: Address) -> tuple[socket.socket, bool]:
    """A socket that connects, and whether it is through; else wait until it is writable, and
    ``end_connect``. Raises ``OSError``."""
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.connect(where)
    except (BlockingIOError, InterruptedError):
        return sock, False
    except OSError as error:
        sock.close()
        raise refused(address, error) from None
    return sock, True


def end_connect(sock: socket.socket, address: Address) -> None:
    """See how it went. Raises ``OSError``; the socket is the caller's to close."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise refused(address, OSError(number, os.strerror(number)))


def refused(address: Address, error: OSError) -> OSError:
    """The same error with the address and the cause in its text."""
    if error.errno is None:
        return error
    where = address[4]
    reason = f"{where[0]} port {where[1]}: {os.strerror(error.errno)}"
    return type(error)(error.errno, reason)


def unreachable(host: str, errors: list[OSError]) -> OSError:
    """One error for those of all addresses of ``host``."""
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else errno.EHOSTUNREACH
    why = "; ".join(str(error.strerror) for error in errors)
    return OSError(number, f"none of {len(errors)} addresses of {host} can be reached: {why}")


def begin_unix(place: str) -> socket.socket:
    """A socket that is connected to a Unix socket. Raises ``OSError``."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


# ---------------------------------------------------------------------------------- listening


def listen_with(found: list[Address], backlog: int) -> list[socket.socket]:
    """Listen at every address of ``found``; with port 0 all get the same. Raises ``OSError``."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that this machine does not have
            sockets.append(sock)
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if where[1] == 0 and len(sockets) > 1:
                where = (where[0], sockets[0].getsockname()[1], *where[2:])  # noqa: PLW2901
            try:
                sock.bind(where)
            except OSError as error:
                if error.errno is None:
                    raise
                reason = f"{where[0]} port {where[1]}: {os.strerror(error.errno)}"
                raise OSError(error.errno, reason) from None
            _listen(sock, backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, "expected an address that this machine has, found none")
    return sockets


def listen_unix(place: str, backlog: int) -> socket.socket:
    """Listen at a Unix socket; one that was left behind is replaced. Raises ``OSError``."""
    if not place.startswith("\0"):
        unlink_unix(place)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(place)
        _listen(sock, backlog)
    except OSError as error:
        sock.close()
        if error.errno is None:
            raise
        raise OSError(error.errno, f"{place}: {os.strerror(error.errno)}") from None
    return sock


def unlink_unix(place: str) -> None:
    """Remove a Unix socket, if it is one."""
    with suppress(OSError):
        if stat.S_ISSOCK(Path(place).stat().st_mode):
            Path(place).unlink()


def _listen(sock: socket.socket, backlog: int) -> None:
    sock.setblocking(False)
    sock.listen(backlog)


def accept(sock: socket.socket) -> tuple[list[tuple[socket.socket, Any]], OSError | None]:
    """The connections that wait, at most ``ACCEPTS``, and why there were no more if that is
    trouble: the machine is short of something, and it helps to wait. Raises ``OSError`` if the
    listening socket is broken."""
    found: list[tuple[socket.socket, Any]] = []
    for _ in range(ACCEPTS):
        try:
            one, where = sock.accept()
        except (BlockingIOError, InterruptedError):
            break
        except OSError as error:
            if error.errno in SHORT:
                return found, error
            if error.errno in _PASSING:
                continue
            raise
        ready(one)
        found.append((one, where or None))
    return found, None


def ready(sock: socket.socket) -> socket.socket:
    """A connected socket made ready for a ``Wire``."""
    sock.setblocking(False)
    if sock.family != _UNIX:
        with suppress(OSError):  # a socket that is no TCP one
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def port_of(sockets: list[socket.socket]) -> int | None:
    """The TCP port of the first of them."""
    for sock in sockets:
        name = sock.getsockname()
        if isinstance(name, tuple):
            return int(name[1])
    return None
