"""A whole view with hooks that wait and fail, over a session, run by hand.

Invariant: hooks come in order (``on_open``, messages, ``on_close``), one at a time unless the view
allows more, ``on_close`` once and last; what was handled before a failure is answered, in order;
no error but what a hook raised comes up; the view ends, whatever the client sends, in bounded time.

Allowed exceptions: ``Deliberate``, which the view's own hook raises.

The first byte chooses the view, the second the cut, the third how long hooks take; the client's
stream begins at the fourth.
"""

import logging
from collections.abc import Hashable
from typing import Any, ClassVar, Final

from wsproto_core import OpCode, Role
from wsproto_core.testing import run_view, sleep
from wsproto_views import AsyncView

from ..harness import cut, require
from ..streams import SEEDS as _STREAMS
from ..streams import TOKENS

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

SEEDS: Final = tuple(
    bytes([place & 7, seed[1], place % 5]) + seed[3:]
    for place, seed in enumerate(_STREAMS[Role.SERVER])
)
STEPS: Final = (6_000, 250)
MEMORY: Final = (120_000, 300)

# A hook that fails is logged with its traceback, which is not what is looked for here.
logging.getLogger("wsproto_core").addHandler(logging.NullHandler())
logging.getLogger("wsproto_core").propagate = False


class Deliberate(Exception):
    """A hook fails on purpose."""


class _Noting(AsyncView):
    """Echoes and notes; waits as long as the class says."""

    MAX_MESSAGE_SIZE = 2048
    EXTENSIONS = ()
    PAUSE: ClassVar[float] = 0.0
    FAILS: ClassVar[bool] = False

    def __init__(self, request: Any, **kwargs: Any) -> None:
        super().__init__(request, **kwargs)
        self.log: list[str] = []
        self.got: list[bytes] = []
        self.running = 0

    async def on_open(self) -> None:
        self.log.append("open")

    async def on_close(self, frame: object = None) -> None:
        self.log.append("close")

    async def on_error(self, exc: Exception) -> None:
        self.log.append("error")

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        require(self.log and self.log[-1] != "close", "a message after on_close", self.log)
        self.running += 1
        require(self.running <= self.CONCURRENT_RECEIVE, "too many hooks at once", self.running)
        if self.PAUSE:
            await sleep(self.PAUSE)
        if self.FAILS and len(message) % 7 == 3:
            self.running -= 1
            raise Deliberate("on purpose")
        self.got.append(message)
        try:
            await self.send(message, opcode)
        finally:
            self.running -= 1


def _view(options: int, pause: int) -> type[_Noting]:
    key = (options, pause)
    if key not in _VIEWS:
        _VIEWS[key] = type(
            f"Noting{options}{pause}",
            (_Noting,),
            {
                "PAUSE": (0.0, 0.25, 3.0, 30.0, 100.0)[pause],
                "FAILS": bool(options & 1),
                "CONCURRENT_RECEIVE": 3 if options & 2 else 1,
                "READ_HIGH_WATER": 1 if options & 4 else 1 << 16,
            },
        )
    return _VIEWS[key]


_VIEWS: dict[tuple[int, int], type[_Noting]] = {}


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    options, pattern = data[0] & 7 if data else 0, data[1] if len(data) > 1 else 0
    pause = data[2] % 5 if len(data) > 2 else 0
    script = cut(data[3:], pattern)
    # Each message may take a hook 100 s, and the shortest has six bytes.
    run = run_view(_view(options, pause), script, raise_errors=False, limit=50_000.0)
    view = run.view
    for error in run.errors:
        require(isinstance(error, Deliberate), "a hook saw an error of ours", error)
    require(view.log[0] == "open" and view.log.count("open") == 1, "on_open", view.log)
    require(view.log[-1] == "close" and view.log.count("close") == 1, "on_close", view.log)
    # Hooks that overlap may fail together, and the peer beside them: each failure is told once.
    most = view.CONCURRENT_RECEIVE + 1
    require(view.log.count("error") <= most, "on_error too often", view.log)
    sent = [item if isinstance(item, bytes) else item.encode() for item in run.messages]
    require(sent == view.got[: len(sent)], "answers out of order", sent, view.got)
    if pause == 0:
        require(sent == view.got, "an answer is missing", sent, view.got)
    end = run.closed
    return options, pause, tuple(view.log[-2:]), end.clean, len(sent).bit_length(), type(end.error)
