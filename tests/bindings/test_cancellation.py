"""Row G10: what is given up or cancelled, in ways that every runtime has.

How long the end of a cancelled block may take is measured with a virtual clock, in ``test_trio.py``
and ``test_anyio.py``.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.bindings.peer import Listener
from tests.bindings.runtimes import Link, Log, Runtime, View
from wsproto_core import OpCode
from wsproto_views import AsyncView


def plain(runtime: Runtime) -> View:
    """A view without hooks: the test reads."""

    class Plain(AsyncView):
        EXTENSIONS = ()
        CLOSE_TIMEOUT = 0.2

        async def run_forever(self) -> None:
            await runtime.released(self)

    return Plain


async def iterate(view: Any) -> None:
    async for _ in view:
        pass


WAITS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "recv": lambda view: view.recv(),
    "read_frame": lambda view: view.read_frame(),
    "iteration": iterate,
    "ping": lambda view: view.ping(),
    "close": lambda view: view.close(),
    "send": lambda view: view.send(bytes(16 << 20), OpCode.BINARY),
}
"""Calls that wait, against a peer that says nothing and reads nothing."""


@pytest.mark.parametrize("seconds", [0, 0.02])
@pytest.mark.parametrize("wait", WAITS)
def test_g10_what_was_given_up_does_not_go_on(
    link: Link, log: Log, wait: str, seconds: float
) -> None:
    """A cancellation is never taken for the end of the wait."""
    runtime = link.runtime
    link.open(plain(runtime), window=4096)

    async def waiting() -> None:
        await WAITS[wait](link.view)
        log.add("went on")

    runtime.call(runtime.within, seconds, waiting)
    assert log.entries == []


def test_g10_scopes_inside_and_around_an_iteration(link: Link, log: Log) -> None:
    """Whether a wait inside of the loop is given up or the loop itself: no message is lost."""
    runtime = link.runtime
    peer = link.open(plain(runtime))

    async def read() -> None:
        async for message in link.view:
            log.add(message)
            await runtime.within(0.01, again)
            log.add("on")

    async def again() -> None:
        log.add(await link.view.recv())

    for _ in range(3):
        runtime.call(runtime.within, 0.01, read)
    assert log.entries == []
    reading = runtime.spawn(read)
    for count, text in enumerate("abc", 1):
        peer.text(text)
        log.wait("on", count)
    peer.bye()
    reading.result()
    assert log.entries == ["a", "on", "b", "on", "c", "on"]


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "never-answers"])
@pytest.mark.parametrize("wait", ["iteration", "ping"])
def test_g10_a_group_fails_around_a_connection(
    runtime: Runtime, log: Log, wait: str, answers: bool
) -> None:
    """What the group raises is the failure alone, and the connection is closed before."""
    if not runtime.cancels:
        pytest.skip("threads have no groups that cancel")
    gate = runtime.gate()
    seen: list[Any] = []

    async def fail() -> None:
        await gate.wait()
        raise LookupError("mine")

    async def use() -> None:
        async with runtime.connect(listener.url(), close_timeout=0.2) as ws:
            seen.append(ws)
            log.add("open")
            await WAITS[wait](ws)
            log.add("went on")

    with Listener() as listener:
        running = runtime.spawn(runtime.together, fail, use)
        with listener.accept() as peer:
            peer.answer()
            log.wait("open")
            if wait == "ping":
                assert peer.frame()[0] == 0x89
            gate.open()
            if answers:
                assert peer.reply()[0] == 1011
            with pytest.raises(ExceptionGroup) as caught:
                running.result()
    (error,) = caught.value.exceptions
    assert type(error) is LookupError
    assert log.entries == ["open"]
    assert seen[0].close_code == (1011 if answers else 1006)
