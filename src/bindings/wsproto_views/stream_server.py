"""``serve`` for every runtime with nurseries: listening, TLS, and the tasks of connections.

No runtime: what it is, ``streams.Runtime`` says. Tests: ``tests/bindings/test_contract.py``,
``test_endpoints.py``.
"""

import logging
import socket
import ssl as ssl_module
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar

from . import sockets
from .endpoints import Service
from .serving import AsyncServer
from .streams import CancelScope, Event, Nest, OwnNest, Runtime, StreamDriver
from .tls import TlsWire
from .views import AsyncView
from .wires import SocketWire, Wire

__all__ = ["Serving", "StreamServer"]

logger = logging.getLogger("wsproto_core")

ViewT = TypeVar("ViewT", bound=AsyncView)

_PAUSE = 1.0  # seconds without accepting, when the machine is short of something
_TLS_TIMEOUT = 60.0  # seconds for the handshake of TLS, where OPEN_TIMEOUT is none


class StreamServer(AsyncServer[ViewT]):
    """A listening server and its live connections. Made by ``serve``."""

    def __init__(
        self,
        service: Service[ViewT],
        nest: Nest,
        listeners: Sequence[socket.socket],
        *,
        ssl: ssl_module.SSLContext | None,
        unix: str | None,
    ) -> None:
        super().__init__(service)
        self._nest = nest
        self._listeners = list(listeners)
        self._ssl = ssl
        self._unix = unix
        self._opening: set[CancelScope] = set()  # handshakes of TLS
        for sock in self._listeners:
            nest.nursery.start_soon(self._accept, sock)

    @property
    def sockets(self) -> Sequence[Any]:
        """The listening sockets; empty once closed."""
        return tuple(self._listeners)

    def _new_event(self) -> Event:
        return self._nest.runtime.event()

    def _shield(self) -> AbstractContextManager[Any]:
        return self._nest.runtime.scope(shield=True)

    def _stop_listening(self) -> None:
        while self._listeners:
            sock = self._listeners.pop()
            self._nest.runtime.notify_closing(sock)
            sock.close()
            if self._unix is not None:
                sockets.unlink_unix(self._unix)
        for scope in self._opening:
            scope.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        runtime = self._nest.runtime
        while not self._closing:
            try:
                await runtime.wait_readable(listener)
                found, trouble = sockets.accept(listener)
            except runtime.broken:
                if listener in self._listeners:
                    raise
                return
            for sock, where in found:
                self._nest.spawn(self._serve_one, sock, where)
            if trouble is not None:
                logger.error("out of system resource, accepting again in %g s: %s", _PAUSE, trouble)
                await runtime.sleep(_PAUSE)

    async def _serve_one(self, sock: socket.socket, where: Any) -> None:
        sockets.ready(sock)
        runtime = self._nest.runtime
        wire: Wire = SocketWire(sock, runtime)
        if self._ssl is not None:
            wire = secure = TlsWire(sock, runtime, self._ssl)
            if not await self._open_tls(secure):
                return
        driver = StreamDriver(
            self._nest, wire, self._begin, server=self, peer=where, on_gone=self._forget
        )
        await driver.work()

    async def _open_tls(self, wire: TlsWire) -> bool:
        runtime = self._nest.runtime
        limit = self._service.open_timeout or _TLS_TIMEOUT
        scope = runtime.scope(deadline=runtime.now() + limit, shield=True)
        self._opening.add(scope)
        opened = False
        try:
            with scope:
                if self._closing:
                    scope.cancel()
                await wire.handshake()
                opened = True
        except OSError as error:
            logger.debug("a handshake of TLS failed: %s", error)
        finally:
            self._opening.discard(scope)
            if not opened:
                wire.sock.close()
        return opened


class Serving(Generic[ViewT]):
    """What ``serve`` gives: a context to enter, or a function for ``nursery.start``."""

    def __init__(
        self,
        service: Service[ViewT],
        make_runtime: Callable[[], Runtime],
        *,
        host: str | None,
        port: int,
        sock: socket.socket | None,
        unix: str | None,
        ssl: ssl_module.SSLContext | None,
        backlog: int,
    ) -> None:
        self._service = service
        self._make_runtime = make_runtime
        self._place = (host, port, sock, unix)
        self._ssl = ssl
        self._backlog = backlog
        self._server: StreamServer[ViewT] | None = None
        self._nest: OwnNest | None = None

    async def __aenter__(self) -> StreamServer[ViewT]:
        runtime = self._make_runtime()
        listeners = await self._listen(runtime)
        try:
            self._nest = OwnNest(runtime)
            nest = await self._nest.__aenter__()
        except BaseException:
            for sock in listeners:
                sock.close()
            raise
        self._server = StreamServer(
            self._service, nest, listeners, ssl=self._ssl, unix=self._place[3]
        )
        return self._server

    async def _listen(self, runtime: Runtime) -> list[socket.socket]:
        host, port, sock, unix = self._place
        if unix is not None:
            return [sockets.listen_unix(unix, self._backlog)]
        if sock is not None:
            sock.setblocking(False)
            sock.listen(self._backlog)
            return [sock]
        found = await runtime.resolve(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return sockets.listen_with(found, self._backlog)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._server is not None
        assert self._nest is not None
        with self._server._shield():
            await self._server.close()
        return await self._nest.__aexit__(kind, error, traceback)

    async def __call__(self, *, task_status: Any = None) -> None:
        """Serve until closed or cancelled: ``server = await nursery.start(serve(...))``."""
        async with self as server:
            if task_status is not None:
                task_status.started(server)
            await server.wait_closed()

    def __await__(self) -> Generator[Any, None, NoReturn]:
        nursery = self._make_runtime().nursery_name
        raise TypeError(
            "serve() is not awaited here, for no task may outlive the block that it belongs to: "
            f"expected 'async with serve(...) as server' or 'await {nursery}.start(serve(...))'"
        )
