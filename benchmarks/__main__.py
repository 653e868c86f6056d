"""The command: ``python -m benchmarks [CASE ...]``. See ``--help`` and ``README.md`` here."""

import argparse
import sys
from pathlib import Path

from . import documents, loadgen, plots, store, tables
from .cases import CASES, select
from .measure import measure
from .profiling import profile

SECONDS, ROUNDS = 1.0, 5
QUICK_SECONDS, QUICK_ROUNDS = 0.4, 2


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run", help="measure (the default)")
    run.add_argument("cases", nargs="*", help="cases whose name has one of these words; else all")
    run.add_argument("--quick", action="store_true", help="short runs, nothing stored")
    run.add_argument("--seconds", type=float, help=f"of one run; {SECONDS}")
    run.add_argument("--rounds", type=int, help=f"of each case; {ROUNDS}")
    run.add_argument("--output", type=Path, help="a folder for the JSON; benchmarks/results")
    commands.add_parser("list", help="name the cases")
    show = commands.add_parser("show", help="print the tables of stored results")
    show.add_argument("--input", type=Path, default=store.RESULTS)
    draw = commands.add_parser("docs", help="put stored results into the pages and drawings")
    draw.add_argument("--input", type=Path, default=store.RESULTS)
    flame = commands.add_parser("profile", help="see where the time of a server goes in a case")
    flame.add_argument("case", choices=CASES, metavar="CASE")
    flame.add_argument("--who", help="a contestant of the case; ours")
    flame.add_argument("--seconds", type=float, default=5.0)
    flame.add_argument("--native", action="store_true", help="compiled functions, too")
    flame.add_argument("--output", type=Path, help="the SVG; CASE.svg in reports/")
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in {*commands.choices, "-h", "--help"}:
        arguments.insert(0, "run")
    options = parser.parse_args(arguments)
    if options.command == "list":
        for case in CASES.values():
            print(f"{case.name:24} {case.title}")
        return 0
    if options.command == "show":
        for result in store.load(options.input).values():
            print("\n".join(tables.lines(result)), end="\n\n")
        return 0
    if options.command == "docs":
        results = store.load(options.input)
        plots.write(plots.draw(results), documents.PLOTS)
        for page in documents.PAGES:
            text = documents.filled(page.read_text(encoding="utf-8"), results)
            page.write_text(text, encoding="utf-8")
        return 0
    if options.command == "profile":
        return profile_one(options)
    return measure_all(options)


def profile_one(options: argparse.Namespace) -> int:
    """Profile a contestant of a case."""
    case = CASES[options.case]
    who = {contestant.name: contestant for contestant in case.contestants}
    name = options.who or case.contestants[0].name
    if name not in who:
        print(f"--who: expected one of {', '.join(who)}, not {name!r}", file=sys.stderr)
        return 2
    output = options.output or Path("reports") / f"{case.name}.svg"
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        lines = profile(
            case, who[name], seconds=options.seconds, output=output, native=options.native
        )
    except (loadgen.Unavailable, loadgen.LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def measure_all(options: argparse.Namespace) -> int:
    """Measure the chosen cases, print their tables and store them."""
    quick = options.quick
    seconds = options.seconds or (QUICK_SECONDS if quick else SECONDS)
    wanted = options.rounds or (QUICK_ROUNDS if quick else ROUNDS)
    folder = options.output or (None if quick else store.RESULTS)
    try:
        cases = select(options.cases)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    status = 0
    for case in cases:
        rounds = min(wanted, case.most_rounds)
        try:
            measured = measure(case, seconds=seconds, rounds=rounds, report=_progress)
        except (loadgen.Unavailable, loadgen.LoadError) as error:
            print(f"{case.name}: not measured: {error}\n")
            status = 1
            continue
        result = store.record(case, measured, seconds=seconds, rounds=rounds)
        print("\n".join(tables.lines(result)), end="\n\n", flush=True)
        if folder is not None:
            store.save(result, folder)
    return status


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}\033[K", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
