"""Lets the k-th await fail: with a cancellation, or because its time is over.

A coroutine is stepped through from outside. At its k-th suspension, in any depth, what is around it
is cancelled in the runtime's own way, and then the suspension takes its course. So no place of ours
is named: it may be any at which the runtime can tell of a cancellation.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

import anyio
import trio

from tests.bindings.runtimes import Runtime

__all__ = ["AWAITS", "Awaits"]

T = TypeVar("T")


class Awaits:
    """Counts suspensions, and lets one of them fail. Without ``way`` it only counts."""

    def __init__(self, runtime: Runtime, way: str | None, k: int) -> None:
        """``way``: ``cancel`` or ``timeout``."""
        self.runtime = runtime
        self.way = way
        self.count = 0
        self.reached = False  # it came to the k-th
        self.struck = False  # ... and that failed
        self._k = k
        self._lock = threading.Lock()

    def is_due(self) -> bool:
        """Count one more; whether it is the one."""
        with self._lock:
            self.count += 1
            if self.way is None or self.count != self._k:
                return False
            self.reached = True
            return True

    async def run(self, function: Callable[[], Awaitable[T]]) -> T | None:
        """Run a whole piece of code. If it is hit: ``None``, or the runtime's own exception."""
        raise NotImplementedError

    async def one(self, function: Callable[[], Awaitable[T]]) -> T | None:
        """Make one call of the library's, inside of ``run``."""
        return await function()

    @coroutine
    def _step(
        self, steps: Coroutine[Any, Any, T], strike: Callable[[], object]
    ) -> Generator[Any, Any, T]:
        resume: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            try:
                trap = resume(value)
            except StopIteration as end:
                result: T = end.value
                return result
            if self.is_due():
                self.struck = True
                strike()
            try:
                value = yield trap
            except BaseException as error:  # noqa: BLE001 - it passes through
                resume, value = steps.throw, error
            else:
                resume = steps.send


async def _as_coroutine(function: Callable[[], Awaitable[T]]) -> T:
    return await function()


class AsyncioAwaits(Awaits):
    """A cancelled task, or ``asyncio.timeout``."""

    async def run(self, function: Callable[[], Awaitable[T]]) -> T | None:
        steps = _as_coroutine(function)
        if self.way != "timeout":
            task = asyncio.current_task()
            assert task is not None
            return await self._step(steps, task.cancel)
        now = asyncio.get_running_loop().time
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                return await self._step(steps, lambda: timeout.reschedule(now()))
        except TimeoutError:
            if not timeout.expired():
                raise
            return None


class TrioAwaits(Awaits):
    """A cancel scope."""

    def _scope(self) -> tuple[trio.CancelScope | anyio.CancelScope, float]:
        return trio.CancelScope(), trio.current_time()

    async def run(self, function: Callable[[], Awaitable[T]]) -> T | None:
        scope, now = self._scope()

        def strike() -> None:
            if self.way == "cancel":
                scope.cancel()
            else:
                scope.deadline = now

        with scope:
            return await self._step(_as_coroutine(function), strike)
        return None


class AnyioAwaits(TrioAwaits):
    """A cancel scope of anyio's."""

    def _scope(self) -> tuple[trio.CancelScope | anyio.CancelScope, float]:
        return anyio.CancelScope(), anyio.current_time()


class ThreadAwaits(Awaits):
    """A thread cannot be cancelled: a call that may wait gets a ``timeout`` of nothing."""

    async def run(self, function: Callable[[], Awaitable[T]]) -> T | None:
        return await function()

    async def one(self, function: Callable[[], Awaitable[T]]) -> T | None:
        if not self.is_due():
            return await function()
        done = False

        async def hurried() -> T:
            nonlocal done
            value = await function()
            done = True
            return value

        value = await self.runtime.within(0.0, hurried)
        self.struck = not done  # what need not wait is in time
        return value


AWAITS: dict[str, tuple[type[Awaits], tuple[str, ...]]] = {
    "asyncio": (AsyncioAwaits, ("cancel", "timeout")),
    "asyncio-eager": (AsyncioAwaits, ("cancel", "timeout")),
    "asyncio-without-epoll": (AsyncioAwaits, ("cancel", "timeout")),
    "uvloop": (AsyncioAwaits, ("cancel", "timeout")),
    "uvloop-transports": (AsyncioAwaits, ("cancel", "timeout")),
    "trio": (TrioAwaits, ("cancel", "timeout")),
    "anyio-asyncio": (AnyioAwaits, ("cancel", "timeout")),
    "anyio-trio": (AnyioAwaits, ("cancel", "timeout")),
    "threads": (ThreadAwaits, ("timeout",)),
}
"""For each runtime: how its awaits fail."""
