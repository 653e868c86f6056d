# cython: annotation_typing=False
"""The task that runs the hooks of a connection.

Waking a task for every read would cost more than the protocol does, and starting one nearly as
much. So a connection keeps the task that its first hook brought: between hooks it waits for its
``Worker``, and the driver steps it at once where bytes arrive. A hook that does not suspend has
returned when ``step`` does; one that suspends lives on in a task like any other.

Tests: ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

__all__ = ["Worker"]

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Worker:
    """A task, and what it waits for between hooks: as far as asyncio can tell, a future."""

    _asyncio_future_blocking: bool
    """What ``asyncio.Task`` asks of a future that it is given to wait for."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: "Callable[[Worker], Coroutine[Any, Any, None]]",
    ) -> None:
        """``work(worker)`` runs hooks and awaits the worker between them. It begins at once where
        Python has eager tasks (3.12), on the next turn of the loop elsewhere."""
        self._loop = loop
        self._asyncio_future_blocking = False
        self._wake_up: Callable[[Worker], None] | None = None
        self._context: Context | None = None
        self._cancelled = False
        self.stopped = False
        self.task: asyncio.Task[None] = asyncio.Task(work(self), loop=loop, **_EAGER)

    stopped: bool
    """Whether there will be no more hooks."""

    def step(self) -> None:
        """Let the task go on, here and now, to its next suspension. Not from inside a task."""
        wake_up, context = self._wake_up, self._context
        assert wake_up is not None and context is not None
        self._wake_up = None
        context.run(wake_up, self)

    def stop(self) -> None:
        """Let the task come to its end. Not from inside a task."""
        self.stopped = True
        self.step()

    # ------------------------------------------------------------------ what a task asks of it

    def __await__(self) -> "Generator[Worker, None, None]":
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop

    def add_done_callback(
        self, wake_up: "Callable[[Worker], None]", *, context: Context | None = None
    ) -> None:
        """The task waits: ``wake_up`` steps it."""
        self._wake_up = wake_up
        self._context = context

    def result(self) -> None:
        """What the waiting gave: nothing, or a cancellation."""
        if self._cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: object = None) -> bool:
        """Somebody cancels the task while it waits, such as ``asyncio.run`` in the end."""
        self._cancelled = True
        self._loop.call_soon(self.step)
        return True
