"""Start a coroutine at once, as a task that takes over only if it suspends.

Waking a task for every read would cost more than the protocol does. Python 3.12 has eager tasks;
for 3.11 the same is done with the pure-Python task of the standard library, whose first step is run
here instead of on the next turn of the loop. Tests: ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

__all__ = ["start"]

if sys.version_info >= (3, 12):

    def start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
    ) -> "asyncio.Task[None]":
        """Run ``coroutine`` to its first suspension, or to its end."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    class _FirstStep:
        """Stands for the loop while a task is made, and catches its first step."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.get_debug = loop.get_debug
            self.call_exception_handler = loop.call_exception_handler

        def call_soon(self, step: Callable[[], None], *, context: Context) -> None:
            self.step = step
            self.context = context

    # The C task cannot be stepped from outside. 3.11 gets security fixes only, so what is private
    # here stays as it is.
    _Task = asyncio.tasks._PyTask  # type: ignore[attr-defined]

    def start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
    ) -> "asyncio.Task[None]":
        """Run ``coroutine`` to its first suspension, or to its end. Not from inside a task."""
        catcher = _FirstStep(loop)
        task = _Task(coroutine, loop=catcher)
        task._loop = loop
        catcher.context.run(catcher.step)
        return task  # type: ignore[no-any-return]
