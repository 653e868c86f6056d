"""Run a scripted session with its k-th I/O operation or await failing, for every k.

    python -m tests.faults [--runtime NAME] [--role ROLE] [--points N] [--seed N] [--only TEXT]

For each runtime and role: every fault (``faults``) at every place of the script, in five variants
(``VARIANTS``). What must hold after each is in ``session.py``. Prints a table of points; fails at
anything that does not hold, and if a runtime and role had fewer than 1,000 points. With
``--points N`` so many are drawn at random. Linux, with a C compiler.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from itertools import count

from tests.bindings.runtimes import RUNTIMES, Runtime, ours
from tests.faults.awaits import AWAITS
from tests.faults.calls import Calls, Effect, Op, build, is_loaded
from tests.faults.leftovers import Watch, watched
from tests.faults.peer import MISDEEDS
from tests.faults.session import NOTHING, Fault, Session, Variant

LEAST = 1000  # points of each runtime and role
COLLECT = 50  # sessions between two looks at the garbage

VARIANTS = [
    *(Variant(style, closer) for style in ("hooks", "reader") for closer in ("peer", "ours")),
    Variant("hooks", "peer", tls=True),
]

CALLS = [
    Fault("call", f"{op.name.lower()}: {effect.name.lower()}", op, effect, harmless=harmless)
    for op, effect, harmless in (
        (Op.READ, Effect.AGAIN, True),
        (Op.READ, Effect.INTERRUPTED, True),
        (Op.READ, Effect.SHORT, True),
        (Op.READ, Effect.END, False),
        (Op.READ, Effect.RESET, False),
        (Op.READ, Effect.TIMEOUT, False),
        (Op.WRITE, Effect.AGAIN, True),
        (Op.WRITE, Effect.INTERRUPTED, True),
        (Op.WRITE, Effect.SHORT, True),
        (Op.WRITE, Effect.RESET, False),
        (Op.WRITE, Effect.TIMEOUT, False),
        (Op.WRITE, Effect.PIPE, False),
        (Op.SHUTDOWN, Effect.NOT_CONNECTED, False),
        (Op.CONNECT, Effect.REFUSED, False),
        (Op.CONNECT, Effect.TIMEOUT, False),
    )
]


def faults(name: str) -> list[Fault]:
    """All that may happen on a runtime."""
    _, ways = AWAITS[name]
    awaits = [Fault(where, way) for where in ("hook", "block") for way in ways]
    return [*CALLS, *awaits, *(Fault("peer", misdeed) for misdeed in MISDEEDS)]


class Run:
    """One runtime and role."""

    def __init__(self, name: str, role: str, calls: Calls, options: argparse.Namespace) -> None:
        self.points: Counter[str] = Counter()
        self.failures: list[str] = []
        self._name = name
        self._role = role
        self._calls = calls
        self._faults = [fault for fault in faults(name) if options.only in str(fault)]
        self._drawn: int | None = options.points
        self._seed = options.seed

    def run(self) -> None:
        """Everything, in one loop of the runtime."""
        with ours(RUNTIMES[self._name]) as runtime:
            # What a loop opens at its first connection and keeps is not counted: the last variant
            # asks for a name, too, and a loop keeps the thread that looks it up.
            self._session(runtime, VARIANTS[-1], NOTHING, 0).run()
            with watched(runtime) as watch:
                if self._drawn is None:
                    self._every_point(runtime, watch)
                else:
                    self._some_points(runtime, watch, self._drawn)
                try:
                    watch.look(collect=True)
                except AssertionError as error:
                    self.failures.append(f"{self._role}, in the end: {error}")

    def _every_point(self, runtime: Runtime, watch: Watch) -> None:
        for variant in VARIANTS:
            for fault in self._faults:
                for k in count(1):
                    if not self._one(watch, self._session(runtime, variant, fault, k)):
                        break

    def _some_points(self, runtime: Runtime, watch: Watch, number: int) -> None:
        chance = random.Random(f"{self._seed} {self._name} {self._role}")
        places = []
        for variant in VARIANTS:
            session = self._session(runtime, variant, NOTHING, 0)
            self._one(watch, session)
            places += [(variant, fault, session.places(fault)) for fault in self._faults]
        weights = [most for _, _, most in places]
        for variant, fault, most in chance.choices(places, weights, k=number):
            self._one(watch, self._session(runtime, variant, fault, chance.randint(1, most)))

    def _session(self, runtime: Runtime, variant: Variant, fault: Fault, k: int) -> Session:
        return Session(runtime, self._name, self._role, variant, fault, k, self._calls)

    def _one(self, watch: Watch, session: Session) -> bool:
        """Run it; whether there was a k-th place."""
        try:
            session.run()
            watch.look(collect=sum(self.points.values()) % COLLECT == 0)
            session.check()
        except Exception as error:  # noqa: BLE001 - told at the end, with all others
            self.failures.append(f"{session}: {type(error).__name__}: {error}")
        if session.struck:
            self.points[str(session.fault)] += 1
        return session.reached


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runtime", choices=list(RUNTIMES), action="append")
    parser.add_argument("--role", choices=["server", "client"], action="append")
    parser.add_argument("--points", type=int, metavar="N", help="draw so many; else every one")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults with TEXT in the name")
    parser.add_argument("--verbose", action="store_true", help="tell the points of each fault")
    options = parser.parse_args()
    if not is_loaded():
        environment = {**os.environ, "LD_PRELOAD": str(build())}
        python = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.faults"]
        os.execve(sys.executable, [*python, *sys.argv[1:]], environment)  # noqa: S606 - itself
    calls = Calls()
    least = LEAST if options.points is None and not options.only else 1
    failed = False
    for name in options.runtime or RUNTIMES:
        for role in options.role or ["server", "client"]:
            began = time.monotonic()
            run = Run(name, role, calls, options)
            run.run()
            points = sum(run.points.values())
            sys.stdout.write(
                f"{name:<14} {role:<7} {points:>6} points  {len(run.failures):>3} failures  "
                f"{time.monotonic() - began:6.1f} s{'  TOO FEW' if points < least else ''}\n"
            )
            if options.verbose:
                for fault, number in run.points.items():
                    sys.stdout.write(f"    {fault:<28} {number}\n")
            for line in run.failures:
                sys.stdout.write(f"    {line}\n")
            sys.stdout.flush()
            failed = failed or bool(run.failures) or points < least
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
