"""Listening on trio: ``serve``. Tests: ``tests/bindings/test_contract.py``, ``test_trio.py``."""

import socket
import ssl as ssl_module
from collections.abc import Iterable
from typing import TypeAlias

from wsproto_views import OnRequest, Route, Service, check_place
from wsproto_views.stream_server import Serving, StreamServer

from .runtime import runtime
from .view import WebSocketView

__all__ = ["Server", "serve"]

Server: TypeAlias = StreamServer[WebSocketView]
"""What ``serve`` gives inside its block."""

Views: TypeAlias = type[WebSocketView] | Route[WebSocketView] | Iterable[Route[WebSocketView]]


def serve(
    views: Views,
    host: str | None = "127.0.0.1",
    port: int = 0,
    *,
    ssl: ssl_module.SSLContext | None = None,
    sock: socket.socket | None = None,
    unix: str | None = None,
    on_request: OnRequest | None = None,
    backlog: int = 1024,
) -> Serving[WebSocketView]:
    """Listen and run a view for each connection.

    ``views`` is a ``WebSocketView`` class that serves every path, or routes made by ``path``.
    ``host`` and ``port`` name a TCP address (port 0: a free one, see ``Server.port``; host
    ``None``: all interfaces); or give a listening ``sock``, or the path of a ``unix`` socket.
    ``ssl`` makes it ``wss``. ``on_request(request)`` sees every request first, plain GETs too, and
    returns ``None`` to go on, ``Accept`` to go on with particulars, or a ``Response``; it may be a
    coroutine function.

    Use ``async with serve(...) as server:``, or ``server = await nursery.start(serve(...))``. At
    the end of the block, and when it is cancelled, the server closes gracefully: each connection
    has its ``CLOSE_TIMEOUT``, and then no task is left. Raises ``OSError`` if the address is taken,
    ``NotImplementedError`` for a view that takes no messages.
    """
    service = Service(views, on_request)
    check_place(sock, unix)
    return Serving(
        service,
        runtime,
        host=host,
        port=port,
        sock=sock,
        unix=unix,
        ssl=ssl,
        backlog=backlog,
    )
