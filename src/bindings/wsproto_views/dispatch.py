# cython: annotation_typing=False
"""Running the session's calls: which one is next is the session's decision.

Coroutines, no runtime. Tests: ``tests/bindings/test_contract.py``.
"""

import inspect
from collections.abc import Awaitable, Generator
from types import CoroutineType
from typing import Any, Protocol

from wsproto_core import Call, Session

__all__ = [
    "TURN",
    "Begun",
    "DispatchDriver",
    "dispatch",
    "failed",
    "next_call",
    "report",
    "returned",
]

TURN = 256  # calls after which others get the loop: a few milliseconds of small messages


class DispatchDriver(Protocol):
    """What ``dispatch`` needs of a driver."""

    cancelled: bool
    """Whether no further call is to begin here: a hook that overran was told to stop, and what it
    runs in stays cancelled."""

    def now(self) -> float:
        """Seconds of the runtime's monotonic clock."""

    def publish(self) -> None:
        """The session changed."""

    def flush(self) -> None:
        """Write what is queued now, as far as the stream takes it without waiting."""

    def checkpoint(self) -> Awaitable[Any]:
        """Let others run."""


class Begun(Protocol):
    """A hook that runs already, and what to await for the rest of it."""

    call: Call

    def __await__(self) -> Generator[Any, Any, object]:
        """Go on with the hook; gives what it returns."""


async def dispatch(session: Session, driver: DispatchDriver, begun: Begun | None = None) -> None:
    """Run calls until none may start, after what was ``begun``. Several may run at once; the
    session says when.

    A cancellation is reported to the session and passes through.
    """
    count = 0
    while (call := next_call(session, driver) if begun is None else begun.call) is not None:
        try:
            value = call.begin() if begun is None else begun
            begun = None
            # A plain function is taken as a hook too.
            if type(value) is CoroutineType or inspect.isawaitable(value):
                value = await value
        except BaseException as error:
            failed(session, call, error, driver)
            if not isinstance(error, Exception):
                raise
        else:
            returned(session, call, value, driver)
        count += 1
        if count == TURN:
            count = 0
            await driver.checkpoint()


# Functions, for they have C types in the compiled build, which a coroutine cannot have.


def next_call(session: Session, driver: DispatchDriver) -> Call | None:
    """The next call that may start here."""
    if not session.attended and driver.cancelled:
        return None  # nobody is cancelled who has not waited
    return session.next_call()


def report(session: Session, call: Call, value: object, driver: Any) -> None:
    """Tell the session what the hook returned; the time only if that may change something."""
    if not session.call_passed(call):
        session.call_returned(call, value, driver.now())


def returned(session: Session, call: Call, value: object, driver: DispatchDriver) -> None:
    """The hook has come to its end."""
    report(session, call, value, driver)
    if not session.attended:
        driver.publish()
    if session.has_batch():
        driver.flush()


def failed(session: Session, call: Call, error: BaseException, driver: DispatchDriver) -> None:
    """The hook has raised ``error``."""
    session.call_failed(call, error, driver.now())
    driver.publish()
