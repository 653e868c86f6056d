"""One connection over a stream that somebody else opened: ``serve_stream`` and ``upgraded``.

No runtime: what it is, ``streams.Runtime`` says. Tests: ``test_trio.py``, ``test_anyio.py``.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from wsproto_core import Connection, Role, Session
from wsproto_core.events import Agreement
from wsproto_core.extensions.base import Codec

from .endpoints import Service
from .streams import OwnNest, Runtime, StreamDriver
from .views import AsyncView
from .wires import Wire

__all__ = ["Upgraded", "serve_wire"]

ViewT = TypeVar("ViewT", bound=AsyncView)


async def serve_wire(
    service: Service[ViewT], runtime: Runtime, wire: Wire, client_address: Any
) -> None:
    """Live through one connection, from the request on; returns when all is over."""
    async with OwnNest(runtime) as nest:
        driver = StreamDriver(
            nest, wire, service.session, peer=client_address, on_gone=service.forget
        )
        nest.spawn(driver.work)
        try:
            await driver.settle(driver.is_released)
        except runtime.cancelled:
            driver.session.go_away(1001, "the server is going away", driver.now())
            with runtime.scope(shield=True):
                await driver.settle(driver.is_released)
            raise


class Upgraded(Generic[ViewT]):
    """What ``upgraded`` gives: a block in which the connection is open."""

    def __init__(
        self,
        view: ViewT,
        make_runtime: Callable[[], Runtime],
        wire: Callable[[], Wire],
        *,
        agreement: Agreement | None,
        codecs: Sequence[Codec],
        data: bytes,
        client: bool,
    ) -> None:
        self._view = view
        self._make_runtime = make_runtime
        self._wire = wire
        self._agreement = agreement if agreement is not None else Agreement()
        self._codecs = codecs
        self._data = data
        self._role = Role.CLIENT if client else Role.SERVER

    async def __aenter__(self) -> ViewT:
        view, runtime = self._view, self._make_runtime()
        # Made first: it refuses what does not fit.
        connection = Connection.after_handshake(
            self._role,
            view._config(),
            self._agreement,
            now=runtime.now(),
            codecs=self._codecs,
            data=self._data,
        )
        session = Session(connection, view._hooks())

        def begin(driver: StreamDriver) -> Session:
            view._attach(session, driver)
            session.tick(driver.now())
            return session

        self._nest = OwnNest(runtime)
        nest = await self._nest.__aenter__()
        nest.spawn(StreamDriver(nest, self._wire(), begin).work)
        return view

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        driver = self._view._driver
        assert isinstance(driver, StreamDriver)
        with driver.runtime.scope(shield=True):
            await self._view.close(1000 if error is None else 1011)
            await driver.settle(driver.is_released)
        return await self._nest.__aexit__(kind, error, traceback)
