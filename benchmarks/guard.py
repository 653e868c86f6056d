"""A guard against getting slower that no noise can flip: it counts, and takes no time.

The compiled build is counted in instructions of the processor, by valgrind, and the pure build in
calls of Python functions. Both are the same however busy the machine is. Each path is run a number
of times and twice that number; the difference belongs to it alone.

    python -m benchmarks.guard              compare with guard.json
    python -m benchmarks.guard --update     store what is counted now

Tests: ``tests/benchmarks/test_guard.py``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

__all__ = ["MARGIN", "PATHS", "calls", "instructions", "stored"]

FIGURES = Path(__file__).with_name("guard.json")
MARGIN = 1.1
"""How many times the stored figure is too much. Compilers and Pythons differ by some per cent."""

TIMES = 500
BATCH = 16  # messages in one read, or one write


def _receive() -> Callable[[], object]:
    """A server reads text messages of 32 bytes, 16 in one read."""
    from wsproto_core import Agreement, Config, Connection, Role
    from wsproto_core.octets import encode_frame

    connection = Connection.after_handshake(Role.SERVER, Config(), Agreement(), now=0.0)
    connection.events()
    data = encode_frame(0x81, b"a" * 32, b"abcd") * BATCH

    def step() -> object:
        connection.receive_data(data, 0.0)
        return connection.events()

    return step


def _send() -> Callable[[], object]:
    """A server sends text messages of 32 characters, 16 in one write."""
    from wsproto_core import Agreement, Config, Connection, Role

    connection = Connection.after_handshake(Role.SERVER, Config(), Agreement(), now=0.0)

    def step() -> object:
        for _ in range(BATCH):
            connection.send_text("a" * 32)
        return connection.data_to_send()

    return step


class _Driver:
    """The least that a view and ``dispatch`` need."""

    server = None
    sock = None
    cancelled = False

    def now(self) -> float:
        return 0.0

    def is_here(self) -> bool:
        return True

    def publish(self) -> None:
        pass

    def flush(self) -> None:
        pass  # each step takes all of it at its end

    async def checkpoint(self) -> None:
        pass


def _echo() -> Callable[[], object]:
    """A view with ``async def on_receive`` echoes text messages of 32 bytes, 16 in one read."""
    from wsproto_core import Agreement, Connection, OpCode, Role, Session
    from wsproto_core.octets import encode_frame
    from wsproto_views import AsyncView, UpgradeRequest, dispatch

    class Echo(AsyncView):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await self.send(message, opcode)

    request: Any = object.__new__(UpgradeRequest)
    view = Echo(request)
    connection = Connection.after_handshake(Role.SERVER, view._config(), Agreement(), now=0.0)
    session = Session(connection, view._hooks())
    driver: Any = _Driver()
    view._attach(session, driver)
    session.tick(0.0)
    session.attended = get_ident()
    data = encode_frame(0x81, b"a" * 32, b"abcd") * BATCH

    def step() -> object:
        session.received(data, 0.0)
        try:
            dispatch(session, driver).send(None)
        except StopIteration:
            return session.take_output()
        raise AssertionError("a hook that waits for nothing was suspended")

    return step


PATHS: dict[str, Callable[[], Callable[[], object]]] = {
    "receive": _receive,
    "send": _send,
    "echo": _echo,
}


def calls(path: str) -> float:
    """Calls of Python functions, for each message of a path, on the build in use."""
    step = PATHS[path]()
    step()
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        for _ in range(TIMES):
            step()
    finally:
        sys.setprofile(None)
    return (count / TIMES - 1) / BATCH  # step() itself is one


def instructions(path: str) -> float:
    """Instructions of the processor, for each message of a path, on the compiled build.

    Raises ``FileNotFoundError`` without valgrind.
    """
    with ThreadPoolExecutor() as pool:  # each waits for a process
        once, twice = pool.map(partial(_collected, path), (TIMES, 2 * TIMES))
    return (twice - once) / TIMES / BATCH


def _collected(path: str, times: int) -> int:
    program = [sys.executable, "-m", "benchmarks.guard", "--run", path, "--times", str(times)]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program]
    # Nothing may depend on chance: not the order of sets, nor where the heap begins.
    environment = dict(os.environ, PYTHONHASHSEED="0", PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def stored() -> dict[str, dict[str, float]]:
    """The figures to compare with: kind of count, path, count."""
    figures: dict[str, dict[str, float]] = json.loads(FIGURES.read_text("utf-8"))
    return figures


def main() -> int:
    """Count, and compare or store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="store what is counted now")
    parser.add_argument("--run", choices=PATHS, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=TIMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        step = PATHS[options.run]()
        for _ in range(options.times):
            step()
        return 0
    import wsproto_core

    if wsproto_core.COMPILED:
        kind, count = "instructions", instructions
    else:
        kind, count = "calls", calls
    counted = {path: round(count(path), 2) for path in PATHS}
    figures = stored() if FIGURES.exists() else {}
    if options.update:
        figures[kind] = counted
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    slower = False
    for path, figure in counted.items():
        before = figures.get(kind, {}).get(path)
        verdict = "new" if before is None else "ok" if figure <= before * MARGIN else "MORE"
        slower |= verdict == "MORE"
        print(f"{path:10} {figure:12.2f} {kind} per message; stored {before}: {verdict}")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
