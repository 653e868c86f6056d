# cython: annotation_typing=False
"""The task that runs the hooks of a connection.

Waking a task for every read would cost more than the protocol does, and starting one nearly as
much. So a connection keeps the task that its first hook brought: between hooks it waits for its
``Worker``. Where bytes arrive, hooks are begun at once in the task's name and context, but not by
its machinery, which costs as much as all the rest: asyncio has calls for this, for other kinds of
tasks. A hook that does not wait has returned by then; one that does is handed to the task, and
lives on in it like any other coroutine.

Tests: ``tests/bindings/test_contract.py``, ``tests/bindings/test_asyncio.py``.
"""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from wsproto_core import Session
from wsproto_views.dispatch import (
    TURN,
    Begun,
    DispatchDriver,
    failed,
    next_call,
    returned,
)
from wsproto_views.quick import Runner, Suspended, start

if TYPE_CHECKING:
    from wsproto_core import Call

__all__ = ["Worker"]

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}

_enter_task = asyncio._enter_task
_leave_task = asyncio._leave_task


class Worker(Runner):
    """A task, and what it waits for between hooks: as far as asyncio can tell, a future."""

    _asyncio_future_blocking: bool
    """What ``asyncio.Task`` asks of a future that it is given to wait for."""

    stopped: bool
    """Whether there will be no more hooks."""

    begun: Begun | None
    """A hook that waits, for the task to go on with."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: "Callable[[Worker], Coroutine[Any, Any, None]]",
    ) -> None:
        """``work(worker)`` runs hooks and awaits the worker between them; then it goes on with
        ``begun``. It begins at once where Python has eager tasks (3.12), on the next turn of the
        loop elsewhere."""
        self._loop = loop
        self._asyncio_future_blocking = False
        self._wake_up: Callable[[Worker], None] | None = None
        self._context: Context | None = None  # the task's, when the task waits
        self._running = False  # a hook, here
        self._error: BaseException | None = None
        self.stopped = False
        self.begun = None
        self.task: asyncio.Task[None] = asyncio.Task(work(self), loop=loop, **_EAGER)

    def run(self, session: Session, driver: DispatchDriver) -> bool:
        """Run calls here and now, until none may start. Not from inside a task.

        False: a hook waits, or was cancelled, so the task is at it.
        """
        if self._error is None:
            self._running = True
            _enter_task(self._loop, self.task)
            try:
                assert self._context is not None  # it waits
                self._run_in(self._context, session, driver)
            except BaseException as error:  # noqa: BLE001 - the task ends with it
                self._error = error
            finally:
                _leave_task(self._loop, self.task)
                self._running = False
            if self.begun is None and self._error is None:
                return True
        self._step()
        return False

    def _run(self, session: Session, driver: DispatchDriver) -> None:
        for _ in range(TURN):
            call = next_call(session, driver)
            if call is None:
                return
            try:
                value = call.begin()
                if type(value) is CoroutineType:
                    coroutine = value
                    value = start(coroutine)
                    if type(value) is Suspended:
                        self.begun = _Rest(call, coroutine, value.given, self._error)
                        self._error = None
                        return
                elif inspect.isawaitable(value):
                    self.begun = _Whole(call, value)
                    return
            except BaseException as error:
                failed(session, call, error, driver)
                if not isinstance(error, Exception):
                    raise
            else:
                returned(session, call, value, driver)
            if self._error is not None:
                return

    def _step(self) -> None:
        """Let the task go on, here and now, to its next suspension."""
        wake_up, self._wake_up = self._wake_up, None
        if wake_up is not None:
            assert self._context is not None
            self._context.run(wake_up, self)

    def stop(self) -> None:
        """Let the task come to its end. Not from inside a task."""
        self.stopped = True
        self._step()

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
        assert context is not None  # a task always gives its own
        self._context = context

    def result(self) -> None:
        """What the waiting gave: nothing, or why the task has to end."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def cancel(self, msg: object = None) -> bool:
        """Somebody cancels the task while it waits, such as ``asyncio.run`` in the end, or a hook
        that runs here its own."""
        if self._error is None:
            self._error = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
            if not self._running:
                self._loop.call_soon(self._step)
        return True


class _Rest:
    """The rest of a hook that was begun and waits."""

    def __init__(
        self,
        call: "Call",
        coroutine: "CoroutineType[Any, Any, object]",
        given: Any,
        error: BaseException | None,
    ) -> None:
        """``given`` is what the task is to wait for first; ``error``: what it was cancelled with
        meanwhile."""
        self.call = call
        self._coroutine = coroutine
        self._given = given
        self._error = error

    def __await__(self) -> Generator[Any, None, object]:
        coroutine, given, error = self._coroutine, self._given, self._error
        # As asyncio does: a cancelled task cancels what it comes to wait for, or is told after it.
        if error is not None and given is not None and given.cancel(*error.args):
            error = None
        while True:
            try:
                yield given
                if error is not None:
                    raise error
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - the hook's to handle
                error = None
                try:
                    given = coroutine.throw(thrown)
                except StopIteration as end:
                    return end.value
            else:
                return (yield from coroutine.__await__())


class _Whole:
    """What a hook gave to be awaited, when it is no coroutine."""

    def __init__(self, call: "Call", awaitable: Awaitable[object]) -> None:
        self.call = call
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, object]:
        return self._awaitable.__await__()
