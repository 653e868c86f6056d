"""Starts what a case compares and measures it in turns.

A contestant is a process of its own: a server that a load generator talks to, or a worker that
measures the sans-IO layer when told to. All of them are up during a case; those whose turn it is
not wait for input.
"""

import json
import select
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile

from . import loadgen
from .cases import Case, Contestant
from .peers import PEERS, ROOT, is_compiled

__all__ = ["Figures", "Measured", "measure", "order", "serving"]

START_TIMEOUT = 20.0  # seconds
WORK_TIMEOUT = 60.0  # seconds
END_TIMEOUT = 2.0  # seconds

Figures = dict[str, float]
Run = Callable[[float], Figures]
"""Measures once, for about so many seconds."""


@dataclass
class Measured:
    """What came out for a case."""

    runs: dict[str, list[Figures]] = field(default_factory=dict)
    """The figures of all runs of each contestant."""
    pairs: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """For each peer: which of our runs stands beside which of its."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a contestant was not measured."""


@dataclass(frozen=True)
class Server:
    """One that listens."""

    pid: int
    port: int


# ------------------------------------------------------------------ processes


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str]) -> Iterator["_Process"]:
    with TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

        def last_words() -> str:
            process.kill()
            process.wait()
            errors.seek(0)
            return (errors.read().strip().splitlines() or ["it said nothing"])[-1]

        try:
            yield _Process(process, last_words)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@dataclass(frozen=True)
class _Process:
    process: "subprocess.Popen[str]"
    last_words: Callable[[], str]

    def ask(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise loadgen.LoadError(f"it ended: {self.last_words()}") from None

    def answer(self, timeout: float) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise loadgen.LoadError(f"no answer within {timeout:g} s: {self.last_words()}")
        return line


@contextmanager
def serving(
    case: Case, contestant: Contestant, more: Sequence[str] = ()
) -> Iterator[tuple[int, Run]]:
    """Start the contestant; gives its process id and what measures it. It is ended on leaving."""
    peer = PEERS[contestant.peer]
    command = [*peer.command(case.program), *contestant.options, *more]
    if case.program == "sansio":
        command += case.load
    if case.tls:
        command.append(f"--tls={loadgen.certificate()}")
    with _process(command, peer.environment()) as process:
        said = process.answer(START_TIMEOUT)

        def work(seconds: float) -> Figures:
            process.ask(str(seconds))
            figures: Figures = json.loads(process.answer(WORK_TIMEOUT))
            return figures

        def put_load(seconds: float) -> Figures:
            return _put_load(case, contestant, Server(process.process.pid, int(said)), seconds)

        yield process.process.pid, work if case.program == "sansio" else put_load


def _run(case: Case, contestant: Contestant, stack: ExitStack) -> Run:
    """Start the contestant for as long as ``stack`` lives, or for each run afresh."""
    if not case.fresh:
        return stack.enter_context(serving(case, contestant))[1]

    def afresh(seconds: float) -> Figures:
        with serving(case, contestant) as (_, run):
            return run(seconds)

    return afresh


def _put_load(case: Case, contestant: Contestant, server: Server, seconds: float) -> Figures:
    arguments = [*case.load, *contestant.load, f"--port={server.port}", f"--pid={server.pid}"]
    if case.program == "wsload":
        arguments.append(f"--seconds={seconds}")
    if case.tls:
        arguments.append("--tls")
    if case.deflated:
        arguments.append(f"--deflated={loadgen.deflated(case.deflated)}")
    if not case.steps:
        return loadgen.run(case.program, arguments)
    return {
        step: loadgen.run(case.program, [*arguments, *more])[case.step_metric]
        for step, more in case.steps.items()
    }


# ------------------------------------------------------------------ turns


def order(peers: Sequence[str], ours: str) -> list[tuple[str, ...]]:
    """Return the groups of one round: ours in the middle of each two peers."""
    if not peers:
        return [(ours,)]
    return [
        (group[0], ours, *group[1:])
        for group in (peers[index : index + 2] for index in range(0, len(peers), 2))
    ]


class _Turns:
    """The runs of one case."""

    def __init__(self, case: Case, stack: ExitStack) -> None:
        self.ours = case.contestants[0].name
        self.result = Measured()
        self.present: dict[str, Run] = {}
        for contestant in case.contestants:
            name = contestant.name
            try:
                if PEERS[contestant.peer].pure and name != self.ours and not is_compiled():
                    raise loadgen.Unavailable("the compiled build; this is the pure one")
                self.result.versions[name] = PEERS[contestant.peer].versions()
                self.present[name] = _run(case, contestant, stack)
            except (loadgen.Unavailable, loadgen.LoadError) as error:
                self._without(name, error)

    def _without(self, name: str, error: Exception) -> None:
        """Go on without a peer; if it is ours that fails, there is nothing to go on with."""
        if name == self.ours:
            raise error
        self.present.pop(name, None)
        self.result.runs.pop(name, None)
        self.result.pairs.pop(name, None)
        self.result.missing[name] = str(error)

    def group(self, names: Sequence[str], seconds: float) -> None:
        """Measure some, one after the other, and pair them with our run among them."""
        runs = self.result.runs
        for name in names:
            try:
                runs.setdefault(name, []).append(self.present[name](seconds))
            except loadgen.LoadError as error:
                self._without(name, error)
        for name in names:
            if name != self.ours and name in self.present:
                pair = (len(runs[self.ours]) - 1, len(runs[name]) - 1)
                self.result.pairs.setdefault(name, []).append(pair)


def measure(case: Case, *, seconds: float, rounds: int, report: Callable[[str], None]) -> Measured:
    """Measure everybody of a case, in turns.

    A peer that is missing or fails is written down, and the others go on. Raises ``Unavailable`` or
    ``LoadError`` if ours does.
    """
    with ExitStack() as stack:
        turns = _Turns(case, stack)
        for number in range(rounds):
            report(f"{case.name}: round {number + 1} of {rounds}")
            groups = order([name for name in turns.present if name != turns.ours], turns.ours)
            if number % 2:  # the other way round, so that a steady drift cancels out
                groups = [tuple(reversed(group)) for group in reversed(groups)]
            for group in groups:
                turns.group(group, seconds)
        return turns.result
