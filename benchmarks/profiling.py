"""Where the time of a server goes during a case: a flame graph and a table of functions.

``py-spy`` samples from outside, compiled code included where it can; without it ``cProfile`` counts
the calls inside, which slows what it counts.
"""

import pstats
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import loadgen
from .cases import Case, Contestant
from .measure import serving
from .plots import flame_graph

__all__ = ["fold", "profile", "shares"]

RATE = 400  # samples per second
SHOWN = 30  # functions
LEAD = 0.5  # seconds before the load, for the profiler to start


def profile(
    case: Case, contestant: Contestant, *, seconds: float, output: Path, native: bool
) -> list[str]:
    """Profile one contestant under the load of a case; returns lines to print.

    The flame graph goes to ``output``. ``native`` shows compiled functions, too.
    """
    program = Path(sys.executable).parent / "py-spy"
    if not program.exists():
        return _count_calls(case, contestant, seconds)
    with tempfile.TemporaryDirectory() as folder, serving(case, contestant) as (pid, run):
        raw = Path(folder) / "stacks"
        command = [str(program), "record", f"--pid={pid}", f"--rate={RATE}", "--format=raw"]
        command += [f"--duration={seconds:.0f}", f"--output={raw}"]
        if native:
            command.append("--native")
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as recorder:
            time.sleep(LEAD)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                run(min(1.0, seconds))
            _, errors = recorder.communicate(timeout=60)
        if not raw.exists():
            raise loadgen.LoadError(f"py-spy: {errors.strip()}")
        stacks = fold(raw.read_text(encoding="utf-8"))
    output.write_text(flame_graph(stacks, f"{contestant.name}: {case.title}"), encoding="utf-8")
    own, whole = shares(stacks)
    lines = ["  itself  with calls  function"]
    for frame, share in own[:SHOWN]:
        lines.append(f"{share:8.1%}  {whole[frame]:10.1%}  {frame}")
    return [*lines, f"flame graph: {output}"]


def fold(raw: str) -> dict[str, int]:
    """Read folded stacks, ``a;b;c count`` in each line; the lines of a function become one."""
    stacks: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        names = []
        for frame in stack.split(";"):
            name, _, place = frame.partition(" (")
            file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
            names.append(f"{name} ({'/'.join(Path(file).parts[-2:])})" if file else name)
        stacks[";".join(names)] += int(count)
    return dict(stacks)


def shares(stacks: dict[str, int]) -> tuple[list[tuple[str, float]], dict[str, float]]:
    """Return the shares of functions: of their own, the largest first; with all they called."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, count in stacks.items():
        frames = stack.split(";")
        own[frames[-1]] += count
        for frame in set(frames):
            whole[frame] += count
    total = sum(stacks.values())
    return (
        [(frame, count / total) for frame, count in own.most_common()],
        {frame: count / total for frame, count in whole.items()},
    )


def _count_calls(case: Case, contestant: Contestant, seconds: float) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls"
        with serving(case, contestant, [f"--cprofile={file}"]) as (_, run):
            run(seconds)
        calls = pstats.Stats(str(file))
    # (file, line, name) -> (primitive calls, calls, own time, time with calls, callers)
    entries = sorted(calls.stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    lines = ["py-spy is missing; these are cProfile's counts", "     calls  own s  function"]
    for (path, _, name), (_, count, own, _, _) in entries[:SHOWN]:
        lines.append(f"{count:10}  {own:5.2f}  {name} ({'/'.join(Path(path).parts[-2:])})")
    return lines
