# ruff: noqa: T201
"""``python -m fuzz TARGET``: look for inputs that break an invariant."""

import argparse
import subprocess
import sys
from pathlib import Path

from .engines import Result, run_atheris, run_random
from .harness import NAMES, load, run_one

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 1 if anything was found."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Look for inputs that break an invariant of wsproto-core.",
        epilog="Without --runs and --seconds it goes on until it is stopped: each target in turn "
        "for a minute with 'all'.",
    )
    parser.add_argument("target", choices=[*NAMES, "all"], help="what to fuzz")
    parser.add_argument("--runs", type=int, help="inputs for each target")
    parser.add_argument("--seconds", type=float, help="seconds for each target")
    parser.add_argument("--engine", choices=["random", "atheris"], default="random")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other mutations")
    parser.add_argument(
        "--replay", type=Path, nargs="+", metavar="FILE", help="check these inputs and no others"
    )
    options = parser.parse_args(arguments)
    names = list(NAMES) if options.target == "all" else [options.target]
    if options.replay:
        for file in options.replay:
            print(file.name, run_one(load(options.target), file.read_bytes()))
        return 0
    if options.engine == "atheris":
        return _atheris(names, options)
    if options.target == "all" and options.runs is None and options.seconds is None:
        return _for_ever(names, options.seed)
    found = 0
    for name in names:
        result = run_random(
            name,
            runs=options.runs,
            seconds=options.seconds,
            seed=options.seed,
            report=_report,
        )
        found += _show(result)
    return min(found, 1)


def _for_ever(names: list[str], seed: int) -> int:
    while True:
        for name in names:
            result = run_random(name, seconds=60.0, seed=seed, report=None)
            if _show(result):
                return 1
        seed += 1


def _atheris(names: list[str], options: argparse.Namespace) -> int:
    if len(names) == 1:
        return run_atheris(names[0], runs=options.runs, seconds=options.seconds)
    worst = 0
    while True:
        for name in names:
            command = [sys.executable, "-m", "fuzz", name, "--engine", "atheris"]
            if options.runs is not None:
                command += ["--runs", str(options.runs)]
            if options.seconds is not None or options.runs is None:
                command += ["--seconds", str(options.seconds or 60)]
            worst = max(worst, subprocess.run(command, check=False).returncode)  # noqa: S603
        if worst or options.runs is not None or options.seconds is not None:
            return min(worst, 1)


def _report(result: Result) -> None:
    print(result, flush=True)


def _show(result: Result) -> int:
    print(result, flush=True)
    for finding in result.findings:
        print("  ", finding, flush=True)
    return len(result.findings)


if __name__ == "__main__":
    sys.exit(main())
