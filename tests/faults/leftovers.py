"""Tells what a session leaves behind: tasks, timers, threads, descriptors, warnings, errors."""

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bindings.peer import DEADLINE
from tests.bindings.runtimes import Runtime, descriptors, threads

__all__ = ["Watch", "watched"]

AT_ONCE = 0.5  # seconds for tasks and timers; the shortest timer of ours has 1


class Watch:
    """What was there before, and what nobody caught since."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._complaints: list[str] = []
        self._threads = threads()
        self._descriptors = descriptors()

    def complain(self, text: str) -> None:
        """From hooks of the interpreter and the log; any thread."""
        self._complaints.append(text)

    def look(self, *, collect: bool = False) -> None:
        """After a session: raises ``AssertionError`` if anything is left."""
        _until_empty(self._runtime.leftovers, AT_ONCE)
        _until_empty(self._threads_and_files, DEADLINE)  # the system ends them when it likes
        if collect:
            gc.collect()
        found, self._complaints[:] = self._complaints[:], []
        assert not found, found

    def _threads_and_files(self) -> list[str]:
        return [
            *map(repr, threads() - self._threads),
            *["a descriptor"] * (descriptors() - self._descriptors),
        ]


def _until_empty(look: Callable[[], list[str]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while left := look():
        assert time.monotonic() < end, f"left: {left}"
        time.sleep(0.002)


class _Errors(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.ERROR)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self._watch.complain(f"logged: {record.getMessage()} {cause!r}")


@contextmanager
def watched(runtime: Runtime) -> Iterator[Watch]:
    """Collect what nobody catches: errors in the log, and exceptions in ``__del__``.

    With ``-W error`` a ``ResourceWarning`` is one of those.
    """
    watch = Watch(runtime)
    handler = _Errors(watch)
    logging.getLogger().addHandler(handler)
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda args: watch.complain(f"unraisable: {args.exc_value!r}")
    try:
        yield watch
    finally:
        sys.unraisablehook = unraisable
        logging.getLogger().removeHandler(handler)
