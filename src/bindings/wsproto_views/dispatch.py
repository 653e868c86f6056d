# cython: annotation_typing=False
"""Running the session's calls: which one is next is the session's decision.

Coroutines, no runtime. Tests: ``tests/bindings/test_contract.py``.
"""

import inspect
from collections.abc import Awaitable
from types import CoroutineType
from typing import Any, Protocol

from wsproto_core import Call, Session

__all__ = ["DispatchDriver", "dispatch"]

_TURN = 256  # calls after which others get the loop: a few milliseconds of small messages


class DispatchDriver(Protocol):
    """What ``dispatch`` needs of a driver."""

    cancelled: bool
    """Whether no further call is to begin here: a hook that overran was told to stop, and what it
    runs in stays cancelled."""

    def now(self) -> float:
        """Seconds of the runtime's monotonic clock."""

    def publish(self) -> None:
        """The session changed."""

    def checkpoint(self) -> Awaitable[Any]:
        """Let others run."""


async def dispatch(session: Session, driver: DispatchDriver) -> None:
    """Run calls until none may start. Several may run at once; the session says when.

    A cancellation is reported to the session and passes through.
    """
    count = 0
    while (call := _next(session, driver)) is not None:
        try:
            value = _begin(call)
            # A plain function is taken as a hook too.
            if type(value) is CoroutineType or inspect.isawaitable(value):
                value = await value
        except BaseException as error:
            session.call_failed(call, error, driver.now())
            driver.publish()
            if not isinstance(error, Exception):
                raise
        else:
            _returned(session, call, value, driver)
        count += 1
        if count == _TURN:
            count = 0
            await driver.checkpoint()


# Functions, for they have C types in the compiled build, which a coroutine cannot have.


def _next(session: Session, driver: DispatchDriver) -> Call | None:
    if not session.attended and driver.cancelled:
        return None  # nobody is cancelled who has not waited
    return session.next_call()


def _begin(call: Call) -> Any:
    return call.hook(*call.arguments)


def _returned(session: Session, call: Call, value: object, driver: DispatchDriver) -> None:
    if not session.call_passed(call):
        session.call_returned(call, value, driver.now())
    if not session.attended:
        driver.publish()
