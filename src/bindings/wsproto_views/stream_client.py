"""``connect`` for every runtime with nurseries: addresses, proxies, TLS, and the tasks.

No runtime: what it is, ``streams.Runtime`` says. Tests: ``tests/bindings/test_contract.py``,
``test_endpoints.py``, ``test_reconnect.py``, ``test_proxy.py``.
"""

import socket
import ssl as ssl_module
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from wsproto_core import Session

from . import sockets
from .endpoints import Dial
from .socks import through_socks
from .streams import Event, Nest, Nursery, OwnNest, Runtime, StreamDriver
from .tls import TlsWire, client_context
from .views import AsyncView
from .wires import SocketWire, Wire

__all__ = ["Connecting", "Connections"]

ViewT = TypeVar("ViewT", bound=AsyncView)


class Connecting(Generic[ViewT]):
    """What ``connect`` gives: enter it; or, with a nursery, await it, or iterate over connections,
    one at a time."""

    def __init__(
        self,
        dial: Dial[ViewT],
        make_runtime: Callable[[], Runtime],
        *,
        ssl: ssl_module.SSLContext | None,
        server_hostname: str | None,
        sock: socket.socket | None,
        unix: str | None,
        wire: Callable[[], Wire] | None,
        nursery: Any,
    ) -> None:
        """``wire``: over a stream that is there already. ``nursery``: the user's ``Nursery``."""
        self._dial = dial
        self._make_runtime = make_runtime
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._sock = sock
        self._unix = unix
        self._wire = wire
        self._nursery: Nursery | None = nursery
        self._nest: Nest | None = None
        self._own: OwnNest | None = None

    def __await__(self) -> Generator[Any, None, ViewT]:
        return self._open_in_nursery("await connect(...)").__await__()

    async def __aenter__(self) -> ViewT:
        if self._nursery is not None:
            return await self._open_in_nursery("async with connect(...)")
        self._own = OwnNest(self._make_runtime())
        self._nest = await self._own.__aenter__()
        try:
            return await self._open(self._nest)
        except BaseException as error:
            await self._own.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._nest is not None
        await self._end(1000 if error is None else 1011)
        if self._own is None:
            return False
        return await self._own.__aexit__(kind, error, traceback)

    def __aiter__(self) -> "Connections[ViewT]":
        """Connect, and again whenever the connection is over; see ``connect``."""
        return Connections(self)

    # ------------------------------------------------------------------ opening and ending

    async def _open_in_nursery(self, call: str) -> ViewT:
        runtime = self._make_runtime()
        if self._nursery is None:
            raise TypeError(
                f"{call}: expected {runtime.nursery_name}=..., for no task may outlive the block "
                "that it belongs to; or use 'async with connect(...)', which has its own"
            )
        self._nest = nest = Nest(runtime, self._nursery)
        nest.start()
        try:
            view = await self._open(nest)
        except BaseException:
            nest.nursery.start_soon(_stop_later, nest)
            raise
        nest.nursery.start_soon(_guard, nest, view)
        return view

    async def _open(self, nest: Nest) -> ViewT:
        dial, runtime = self._dial, nest.runtime
        view = dial.view
        # One deadline for all of it: name, TCP, TLS and the handshake.
        begun = runtime.now()
        session = dial.begin(begun)
        scope = runtime.scope()
        if view.OPEN_TIMEOUT is not None:
            scope.deadline = begun + view.OPEN_TIMEOUT
        wire, tail = None, b""
        with scope:
            wire, tail = await self._connect(runtime)
        if wire is None:
            raise dial.too_late()

        def begin(driver: StreamDriver) -> Session:
            view._attach(session, driver)
            if tail:
                session.received(tail, driver.now())  # nothing was read from the socket yet
            return session

        driver = StreamDriver(nest, wire, begin)
        nest.spawn(driver.work)
        try:
            await driver.settle(session.is_settled)
        except BaseException:
            driver.abort()  # it may have opened at the last moment, and nobody would have it
            raise
        if not view.initiated_upgrade:
            driver.abort()
            await driver.settle(driver.is_released)
            raise session.failure()
        return view

    async def _end(self, code: int) -> None:
        """Close, and return when everything is let go of."""
        assert self._nest is not None
        view = self._dial.view
        with self._nest.runtime.scope(shield=True):
            await view.close(code)
            await view._driver.settle(view._driver.is_released)

    # ------------------------------------------------------------------ from an address to a wire

    async def _connect(self, runtime: Runtime) -> tuple[Wire, bytes]:
        if self._wire is not None:
            return self._wire(), b""
        uri = self._dial.uri
        sock, tail = await self._open_socket(runtime)
        try:
            sockets.ready(sock)
            if not uri.secure:
                return SocketWire(sock, runtime), tail
            wire = TlsWire(
                sock,
                runtime,
                client_context(self._ssl),
                server_hostname=self._server_hostname or uri.host,
            )
            await wire.handshake()
        except BaseException:
            sock.close()
            raise
        return wire, tail

    async def _open_socket(self, runtime: Runtime) -> tuple[socket.socket, bytes]:
        """A socket whose other end is the server, and what came through a tunnel already."""
        dial = self._dial
        if self._sock is not None:
            return self._sock, b""
        if self._unix is not None:
            return sockets.begin_unix(self._unix), b""
        proxy = dial.proxy
        if proxy is None:
            return await self._open_tcp(runtime, dial.uri.host, dial.uri.port), b""
        if proxy.is_socks:
            return await through_socks(dial, runtime.socks), b""
        sock = await self._open_tcp(runtime, proxy.host, proxy.port)
        try:
            return sock, await self._open_tunnel(runtime, sock)
        except BaseException:
            sock.close()
            raise

    async def _open_tunnel(self, runtime: Runtime, sock: socket.socket) -> bytes:
        wire = SocketWire(sock, runtime)
        tunnel = self._dial.tunnel()
        request = tunnel.request
        while request:
            await runtime.wait_writable(sock)
            request = request[wire.send_now(request) :]
        while True:
            data = await wire.receive()
            if not data:
                raise tunnel.receive_eof()
            if tunnel.receive_data(data):
                self._dial.check_tail(tunnel.tail)
                return tunnel.tail

    async def _open_tcp(self, runtime: Runtime, host: str, port: int) -> socket.socket:
        """Connect to the first address that answers; each gets a short lead over the next.

        Raises ``OSError``, with the cause of each address if there are several.
        """
        addresses = sockets.numeric(host, port)
        if addresses is None:
            found = await runtime.resolve(host, port, type=socket.SOCK_STREAM, flags=0)
            addresses = sockets.in_turn(list(found))
        if len(addresses) == 1:
            return await _try(runtime, addresses[0])
        race = _Race()
        try:
            async with runtime.open_nursery() as nursery:
                for address in addresses:
                    failed = runtime.event()
                    nursery.start_soon(race.run, runtime, nursery, address, failed)
                    if address is addresses[-1]:
                        break
                    with runtime.scope(deadline=runtime.now() + sockets.LEAD):
                        await failed.wait()
        except BaseException:
            if race.winner is not None:
                race.winner.close()
            raise
        if race.winner is None:
            raise sockets.unreachable(host, race.errors)
        return race.winner


class _Race:
    """Several addresses of one host, tried beside each other."""

    def __init__(self) -> None:
        self.winner: socket.socket | None = None
        self.errors: list[OSError] = []

    async def run(
        self, runtime: Runtime, nursery: Nursery, address: sockets.Address, failed: Event
    ) -> None:
        try:
            sock = await _try(runtime, address)
        except OSError as error:
            self.errors.append(error)
            failed.set()
            return
        if self.winner is None:
            self.winner = sock
            nursery.cancel_scope.cancel()
        else:
            sock.close()


async def _try(runtime: Runtime, address: sockets.Address) -> socket.socket:
    sock, through = sockets.begin_connect(address)
    if not through:
        try:
            await runtime.wait_writable(sock)
            sockets.end_connect(sock, address)
        except BaseException:
            sock.close()
            raise
    return sock


class Connections(Generic[ViewT]):
    """Connections to one place, one at a time; see ``connect``."""

    def __init__(self, connecting: Connecting[ViewT]) -> None:
        self._connecting = connecting
        self._view: ViewT | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ViewT:
        connecting = self._connecting
        dial, runtime = connecting._dial, connecting._make_runtime()
        if connecting._sock is not None or connecting._wire is not None:
            raise ValueError("expected an address to connect to again and again, got a socket")
        if self._view is not None:
            await self.aclose()
            delay = dial.retry_in(runtime.now())
            assert delay is not None
            await runtime.sleep(delay)
        while True:
            try:
                view = await connecting._open_in_nursery("async for ... in connect(...)")
            except Exception as error:
                again = (
                    None if isinstance(error, TypeError) else dial.retry_in(runtime.now(), error)
                )
                if again is None:
                    raise
                await runtime.sleep(again)
            else:
                dial.opened(runtime.now())
                self._view = view
                return view

    async def aclose(self) -> None:
        """Close the connection that is open."""
        if self._view is not None:
            self._view = None
            await self._connecting._end(1000)

    def __del__(self) -> None:
        # The loop was left. Its connection lives in the user's nursery, which waits for its end.
        view = self._view
        if view is not None and view.is_open:
            session, driver = view._session, view._driver
            assert session is not None

            def close() -> None:
                session.close_kindly(1000, "", driver.now())
                driver.publish()

            driver.post(close)


async def _guard(nest: Nest, view: AsyncView) -> None:
    """Close the connection if its nursery is cancelled, and stop the clock at its end."""
    driver = view._driver
    try:
        await driver.settle(driver.is_released)
    except nest.runtime.cancelled:
        session = view._session
        assert session is not None
        session.go_away(1001, "", driver.now())
        with nest.runtime.scope(shield=True):
            await driver.settle(driver.is_released)
        raise
    finally:
        await _stop_later(nest)


async def _stop_later(nest: Nest) -> None:
    with nest.runtime.scope(shield=True):
        await nest.emptied()
    nest.stop()
