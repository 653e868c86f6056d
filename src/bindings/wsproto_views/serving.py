"""``AsyncServer``: what servers on every runtime with ``async`` keep: their live connections.

A binding adds listening. No runtime, no I/O. Tests: ``tests/bindings/test_endpoints.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from wsproto_core import Session

from .endpoints import ServerDriver, Service
from .views import AsyncView

__all__ = ["AsyncServer"]

ViewT = TypeVar("ViewT", bound=AsyncView)


class _Driver(ServerDriver, Protocol):
    session: Session

    def publish(self) -> None: ...


class _Event(Protocol):
    def set(self) -> Any: ...

    async def wait(self) -> Any: ...


class AsyncServer(ABC, Generic[ViewT]):
    """A listening server and its live connections: the ``Server`` that ``serve`` makes."""

    def __init__(self, service: Service[ViewT]) -> None:
        self._service = service
        self._drivers: set[Any] = set()
        self._closing = False
        self._news: list[_Event] = []  # of those who wait for the end

    # ------------------------------------------------------------------ for users

    @property
    @abstractmethod
    def sockets(self) -> Sequence[Any]:
        """The listening sockets; empty once closed."""

    @property
    def port(self) -> int | None:
        """The TCP port of the first socket, or ``None`` (a Unix socket, or closed)."""
        for item in self.sockets:
            name = item.getsockname()
            if isinstance(name, tuple):
                return int(name[1])
        return None

    @property
    def connections(self) -> list[ViewT]:
        """The views of the connections that are open now."""
        return self._service.open_views

    async def serve_forever(self) -> None:
        """Wait until the server is closed; a cancellation closes it gracefully."""
        try:
            await self.wait_closed()
        finally:
            with self._shield():
                await self.close()

    async def close(self, code: int = 1001, reason: str = "the server is going away") -> None:
        """Stop listening, close every connection with ``code``, wait for their end. Idempotent.

        Each connection has its view's ``CLOSE_TIMEOUT`` for the peer's Close and for its hooks;
        handshakes that are not finished are dropped.
        """
        self._closing = True
        self._tell()
        self._stop_listening()
        for driver in list(self._drivers):
            driver.session.go_away(code, reason, driver.now())
            driver.publish()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and every connection has ended."""
        while not self._closing or self._drivers:
            event = self._new_event()
            self._news.append(event)
            await event.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._shield():
            await self.close()

    # ------------------------------------------------------------------ for the bindings

    @abstractmethod
    def _new_event(self) -> _Event: ...

    @abstractmethod
    def _shield(self) -> AbstractContextManager[Any]:
        """Where a cancellation is to wait."""

    @abstractmethod
    def _stop_listening(self) -> None:
        """Accept nobody any more. Again and again."""

    def _begin(self, driver: _Driver) -> Session:
        """Make the session of an accepted stream."""
        session = self._service.session(driver)
        self._drivers.add(driver)
        if self._closing:
            session.abort(driver.now())
        return session

    def _forget(self, driver: _Driver) -> None:
        self._drivers.discard(driver)
        self._service.forget(driver)
        self._tell()

    def _tell(self) -> None:
        while self._news:
            self._news.pop().set()
