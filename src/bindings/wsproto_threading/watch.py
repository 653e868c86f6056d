"""The watcher: it serves sockets whose owners are in a hook for longer than a moment.

A hook runs in the thread that owns the socket, so that a quick one costs no thread switch. While
one computes or waits, somebody else must answer pings, keep the heartbeat and write what was said:
one thread for all connections of the process, which sleeps as long as every hook is quick. It runs
no hook and never waits for a peer.

How it learns of slow hooks: an owner enters itself before it runs hooks and leaves afterwards, two
dictionary operations. Who finds the watcher asleep wakes it. Awake, it looks every few milliseconds
who is there; who was there at the look before is taken over, and if nobody is there it sleeps.

Tests: ``tests/bindings/test_threading.py``.
"""

import logging
import selectors
import threading
import time
from collections import deque
from typing import Any, ClassVar, Protocol

from .stream import LONGEST, WakeUp

__all__ = ["Watched", "Watcher"]

logger = logging.getLogger("wsproto_core")

_LOOK = 0.005  # seconds between two looks: after one to two of them a hook counts as slow


class Watched(Protocol):
    """A driver, as the watcher sees it. All but ``lock`` with the lock held."""

    lock: Any
    sock: Any

    def adopt(self) -> bool:
        """The watcher is here; false if the owner is back."""

    def attend(self, readable: bool, writable: bool) -> None:
        """Take what came, and carry out what the session wants."""

    def outlook(self) -> tuple[bool, bool, float | None] | None:
        """What to wait for: reading, writing, a time; ``None`` if the owner is back."""

    def let_go(self) -> None:
        """The watcher has left."""

    def give_up(self) -> None:
        """It cannot go on."""


class Watcher:
    """One thread, shared by all connections of the process; it exists as long as one does."""

    _guard: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar["Watcher | None"] = None

    @classmethod
    def hire(cls) -> "Watcher":
        """The process's watcher; give it back with ``leave``."""
        with cls._guard:
            watcher = cls._current
            if watcher is None:
                watcher = cls._current = cls()
            watcher._users += 1
            return watcher

    def leave(self) -> None:
        """One connection less."""
        with self._guard:
            self._users -= 1
            if self._users == 0:
                Watcher._current = None
                self._ending = True
                self._wake.set()

    def __init__(self) -> None:
        self._users = 0
        self._ending = False
        self._asleep = False
        self._wake = WakeUp()
        self._stamp = 0
        self._busy: dict[Watched, int] = {}  # owners in hooks, and since which batch
        self._news: deque[Watched] = deque()  # adopted ones that others changed, or took back
        self._waits: dict[Watched, float | None] = {}  # adopted ones, and their deadlines
        self._masks: dict[Watched, int] = {}  # those of them that are registered
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake.fileno(), selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="wsproto watcher", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ for owners

    def enter(self, driver: Watched) -> None:
        """``driver``'s owner begins to run hooks."""
        self._stamp += 1  # two that take the same one are told apart by their drivers
        self._busy[driver] = self._stamp
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def exit(self, driver: Watched) -> None:
        """The owner is back at its socket."""
        self._busy.pop(driver, None)

    def tell(self, driver: Watched) -> None:
        """Look at ``driver`` again: it was changed, or taken back."""
        self._news.append(driver)
        self._wake.set()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        seen: dict[Watched, int] = {}  # who was there at the last look
        look_at = 0.0
        while not self._ending:
            if not (self._busy or seen):
                self._asleep = True
                if self._busy:  # it came in between, and did not see us sleep
                    self._asleep = False
            awake = not self._asleep
            for key, events in self._selector.select(self._patience(look_at if awake else None)):
                if key.data is None:
                    self._wake.clear()
                else:
                    reads = bool(events & selectors.EVENT_READ)
                    self._serve(key.data, reads, bool(events & selectors.EVENT_WRITE))
            self._serve_others()
            now = time.monotonic()
            if awake and now < look_at:
                continue
            if awake:
                for driver, stamp in list(self._busy.items()):
                    if seen.get(driver) == stamp:
                        self._adopt(driver)
            # Else we were woken: it has begun just now.
            seen, look_at = dict(self._busy), now + _LOOK
        self._selector.close()
        with self._guard:  # whoever told us to end is done with it
            self._wake.close()

    def _patience(self, look_at: float | None) -> float | None:
        """Seconds until there is something to do even if nothing happens."""
        times = [at for at in self._waits.values() if at is not None]
        if look_at is not None:
            times.append(look_at)
        return min(max(0.0, min(times) - time.monotonic()), LONGEST) if times else None

    def _serve_others(self) -> None:
        """Those that were changed, and those whose time has come."""
        changed: dict[Watched, None] = {}
        while self._news:
            changed[self._news.popleft()] = None
        now = time.monotonic()
        for driver, at in self._waits.items():
            if at is not None and at <= now:
                changed[driver] = None
        for driver in changed:
            self._serve(driver, False, False)

    def _adopt(self, driver: Watched) -> None:
        if not driver.lock.acquire(timeout=_LOOK):
            return  # somebody is there; the next look will do
        try:
            if driver.adopt():
                self._busy.pop(driver, None)
                self._attend(driver, False, False)
        finally:
            driver.lock.release()

    def _serve(self, driver: Watched, readable: bool, writable: bool) -> None:
        if not driver.lock.acquire(timeout=_LOOK):
            # Somebody is there with a large message. Others must not wait for that.
            self._waits[driver] = time.monotonic() + _LOOK
            return
        try:
            self._attend(driver, readable, writable)
        finally:
            driver.lock.release()

    def _attend(self, driver: Watched, readable: bool, writable: bool) -> None:
        try:
            outlook = driver.outlook()
            if outlook is not None:
                driver.attend(readable, writable)
                outlook = driver.outlook()
        except Exception:  # a fault of ours must not end the service of the others
            logger.exception("a connection cannot be served")
            driver.give_up()
            outlook = None
        if outlook is None:
            self._waits.pop(driver, None)
            self._register(driver, 0)
            driver.let_go()
            return
        read, write, at = outlook
        self._waits[driver] = at
        mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        self._register(driver, mask)

    def _register(self, driver: Watched, mask: int) -> None:
        before = self._masks.get(driver, 0)
        if mask == before:
            return
        if not before:
            self._selector.register(driver.sock, mask, driver)
        elif not mask:
            self._selector.unregister(driver.sock)
        else:
            self._selector.modify(driver.sock, mask, driver)
        if mask:
            self._masks[driver] = mask
        else:
            del self._masks[driver]
