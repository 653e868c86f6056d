"""Run the Autobahn test suite against our server and client, and judge the outcome.

    python tests/autobahn/run.py                          # both roles, profile "default"
    python tests/autobahn/run.py --role client --groups 5,6.4
    python tests/autobahn/run.py --runtime threads
    python tests/autobahn/run.py --profile full           # all 517 cases
    python tests/autobahn/run.py --profile full --record  # and write it into docs/autobahn.md
    python tests/autobahn/run.py --role server --url ws://127.0.0.1:9001   # somebody else's server

Every selected case must end as ``expected.json`` says, both in its behaviour and in its close; a
case without a result is a difference too. Reports go to
``reports/autobahn/<runtime>/<role>``.

The suite (``autobahntestsuite`` on PyPI) needs Python 2.7. This script makes an environment for it
in ``.venv-autobahn`` once; it finds the interpreter on the PATH or with pyenv, or takes
``AUTOBAHN_PYTHON``. ``peer.py`` beside this file is our side of the wire.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
ENVIRONMENT: Final = ROOT / ".venv-autobahn"
REPORTS: Final = ROOT / "reports" / "autobahn"
PAGE: Final = ROOT / "docs" / "autobahn.md"

# A new release may add cases or judge differently; expected.json belongs to this one.
SUITE: Final = "autobahntestsuite==25.10.1"
# The last releases of virtualenv that can make an environment for Python 2.7.
VIRTUALENV: Final = "virtualenv<20.22"

AGENT: Final = "wsproto-core"
# Of compression one case of each kind; the others are longer messages and more of them.
DEFLATED: Final = (
    "12.1.1,12.2.1,12.3.1,12.4.1,12.5.1,13.1.1,13.2.1,13.3.1,13.4.1,13.5.1,13.6.1,13.7.1"
)
PROFILES: Final = {
    "short": f"1-7,10,9.1.1,9.2.1,9.3.1,9.4.1,9.5.1,9.6.1,9.7.1,9.8.1,{DEFLATED}",
    "default": f"1-7,9,10,{DEFLATED}",
    "full": "1-7,9,10,12,13",
}

RUNTIMES: Final = ("asyncio", "trio", "anyio-asyncio", "anyio-trio", "threads")
ROLES: Final = ("server", "client")

# {"behavior": ..., "behaviorClose": ...} of one case, as the suite names them.
Verdict = tuple[str, str]


class SetupError(Exception):
    """The suite cannot be run here; the text says what to do."""


# ---------------------------------------------------------------------------- the Python 2.7 part


def find_python2() -> Path:
    """Return a working Python 2.7, or raise ``SetupError``."""
    candidates: list[str | Path | None] = [
        os.environ.get("AUTOBAHN_PYTHON"),
        shutil.which("python2.7"),
    ]
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        if root.returncode == 0:
            candidates += sorted(Path(root.stdout.strip()).glob("versions/2.7.*/bin/python2.7"))
    for candidate in candidates:
        if candidate is None:
            continue
        # Asked, not believed: pyenv puts a `python2.7` on the PATH that may only print an error.
        code = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
        try:
            asked = subprocess.run([candidate, "-c", code], capture_output=True, check=False)
        except OSError:
            continue
        if asked.returncode == 0:
            return Path(candidate)
    raise SetupError(
        "the Autobahn test suite needs Python 2.7 and none was found. Install one "
        "(for example: pyenv install 2.7.18) or name it: AUTOBAHN_PYTHON=/path/to/python2.7"
    )


def prepare() -> Path:
    """Return the path of ``wstest``, after making its environment if need be."""
    wstest = ENVIRONMENT / "python2" / "bin" / "wstest"
    stamp = ENVIRONMENT / "installed"
    if stamp.exists() and stamp.read_text() == SUITE and wstest.exists():
        return wstest
    python2 = find_python2()
    say(f"making an environment for {SUITE} with {python2} (once, about a minute)")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    tools = ENVIRONMENT / "tools"
    quiet = ["--quiet", "--disable-pip-version-check"]
    command([sys.executable, "-m", "venv", tools])
    command([tools / "bin" / "python", "-m", "pip", "install", *quiet, VIRTUALENV])
    command([tools / "bin" / "virtualenv", "--quiet", "-p", python2, ENVIRONMENT / "python2"])
    command([ENVIRONMENT / "python2" / "bin" / "python", "-m", "pip", "install", *quiet, SUITE])
    stamp.write_text(SUITE)
    return wstest


def command(words: Sequence[str | Path]) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        line = " ".join(map(str, words))
        raise SetupError(f"this command failed: {line}\n{done.stdout}{done.stderr}")


# ------------------------------------------------------------------------------------- the cases


def case_key(case: str) -> tuple[int, ...]:
    return tuple(int(number) for number in case.split("."))


def select(groups: str, known: Sequence[str]) -> list[str]:
    """Return the cases of ``groups``: ``"1-7,9"``, ``"6.4"`` or ``"9.1.1"``, or a mixture."""
    chosen: set[str] = set()
    for part in groups.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        try:
            prefixes = (
                [(number,) for number in range(int(first), int(last) + 1)]
                if dash
                else [case_key(part)]
            )
        except ValueError:
            raise SetupError(f"not a group or a case: {part!r}") from None
        found = {
            case for case in known for prefix in prefixes if case_key(case)[: len(prefix)] == prefix
        }
        if not found:
            raise SetupError(f"no case of Autobahn is in {part!r}")
        chosen |= found
    return sorted(chosen, key=case_key)


def deal(cases: Sequence[str], jobs: int) -> list[list[str]]:
    """Deal the cases to ``jobs`` hands, so that slow neighbours are not in one hand."""
    return [hand for hand in (list(cases[start::jobs]) for start in range(jobs)) if hand]


# ---------------------------------------------------------------------------------- the processes


@contextlib.asynccontextmanager
async def process(
    *words: str | Path, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a program and see to it that it is gone afterwards. Its output goes to ``log``.

    Without a log its output is a pipe. Its input is a pipe too: a peer of ours ends when it closes.
    """
    with contextlib.ExitStack() as files:
        output = files.enter_context(log.open("wb")) if log else asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT if log else None,
        )
        try:
            yield child
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.terminate()
                try:
                    async with asyncio.timeout(5):
                        await child.wait()
                except TimeoutError:
                    child.kill()
                    await child.wait()


async def finished(child: asyncio.subprocess.Process, what: str, log: Path) -> None:
    status = await child.wait()
    if status:
        raise SetupError(f"{what} ended with exit status {status}; see {log}")


async def test_server(
    wstest: Path, hands: list[list[str]], folder: Path, runtime: str, url: str | None
) -> None:
    """Let the suite's fuzzing clients loose on our server (or on the one at ``url``)."""
    async with contextlib.AsyncExitStack() as stack:
        if url is None:
            words = (sys.executable, HERE / "peer.py", runtime, "serve")
            server = await stack.enter_async_context(process(*words))
            assert server.stdout is not None
            url = (await server.stdout.readline()).decode().strip()
            if not url:
                raise SetupError("our server did not start")

        async def fuzz(place: Path, cases: list[str]) -> None:
            spec = place / "spec.json"
            servers = [{"agent": AGENT, "url": url}]
            spec.write_text(json.dumps({"outdir": str(place), "servers": servers, "cases": cases}))
            log = place / "wstest.log"
            async with process(wstest, "-m", "fuzzingclient", "-s", spec, log=log) as child:
                await finished(child, "wstest", log)

        await each_hand(fuzz, hands, folder)


async def test_client(wstest: Path, hands: list[list[str]], folder: Path, runtime: str) -> None:
    """Start the suite's fuzzing servers and let our client run every case they have."""

    async def serve(place: Path, cases: list[str]) -> None:
        port = free_port()
        url = f"ws://127.0.0.1:{port}"
        spec = place / "spec.json"
        spec.write_text(json.dumps({"outdir": str(place), "url": url, "cases": cases}))
        arguments = ("-m", "fuzzingserver", "--webport", "0", "-s", spec)
        log = place / "peer.log"
        async with process(wstest, *arguments, log=place / "wstest.log") as server:
            await listening(server, port, place / "wstest.log")
            words = (sys.executable, HERE / "peer.py", runtime, "run", url, AGENT)
            async with process(*words, log=log) as client:
                await finished(client, "our client", log)

    await each_hand(serve, hands, folder)


async def each_hand(
    job: Callable[[Path, list[str]], Coroutine[object, object, None]],
    hands: list[list[str]],
    folder: Path,
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, cases in enumerate(hands, 1):
                place = folder / f"job{number}"
                place.mkdir(parents=True)
                tasks.create_task(job(place, cases))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # the others are its consequences


def free_port() -> int:
    # wstest takes port 0 but never tells which port it got.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listening(server: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Return when the port takes connections. wstest says nothing when it is ready, so ask it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise SetupError(f"wstest does not listen; see {log}")


# ------------------------------------------------------------------------------------ the verdict


def collect(folder: Path) -> tuple[dict[str, Verdict], dict[str, Path]]:
    """Return the verdict of each case that was run, and the file of its report."""
    verdicts: dict[str, Verdict] = {}
    files: dict[str, Path] = {}
    for index in sorted(folder.glob("job*/index.json")):
        for case, outcome in json.loads(index.read_text()).get(AGENT, {}).items():
            verdicts[case] = (outcome["behavior"], outcome["behaviorClose"])
            files[case] = index.parent / outcome["reportfile"]
    return verdicts, files


def judge(
    role: str, cases: list[str], expected: dict[str, str], folder: Path
) -> tuple[int, Counter[str]]:
    """Print the counts and every difference; return the number of differences, and the counts."""
    verdicts, files = collect(folder)
    counts: Counter[str] = Counter()
    different = 0
    for case in cases:
        verdict = verdicts.get(case)
        if verdict is None:
            counts["NO RESULT"] += 1
            different += 1
            say(f"  {case}: expected {expected[case]}, but it has no result")
            continue
        behavior, close = verdict
        counts[behavior] += 1
        if (behavior, close) == (expected[case], expected[case]):
            continue
        different += 1
        report = json.loads(files[case].read_text())
        say(f"  {case}: expected {expected[case]}, got {behavior}, close {close}")
        say(f"    {report.get('result')} {report.get('resultClose')}")
        say(f"    {files[case]}")
    table = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    say(f"{role}: {len(cases)} cases: {table}")
    summary = {case: verdicts[case] for case in sorted(verdicts, key=case_key)}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return different, counts


def record(runtime: str, role: str, counts: Counter[str], seconds: float) -> None:
    """Put the outcome of a whole run into its row of the page, in place of the one before."""
    from wsproto_core import COMPILED

    command = ["git", "log", "-1", "--format=%h", "--", "src"]  # the last that changed us
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    others = counts.total() - counts["OK"] - counts["INFORMATIONAL"]
    numbers = (counts.total(), counts["OK"], counts["INFORMATIONAL"], others, round(seconds))
    start = f"| {runtime} | {role} |"
    row = " | ".join(
        (
            start[:-2],
            *map(str, numbers),
            "compiled" if COMPILED else "pure",
            platform.python_version(),
            dt.datetime.now(dt.UTC).date().isoformat(),
            f"{commit.strip()} |",
        )
    )
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("|---")) + 1
    end = next((at for at in range(head, len(lines)) if not lines[at].startswith("|")), len(lines))
    rows = [line for line in lines[head:end] if not line.startswith(start)]
    order = [f"| {name} | {side} |" for name in RUNTIMES for side in ROLES]
    rows = sorted(
        [*rows, row], key=lambda line: next(map(order.index, filter(line.startswith, order)))
    )
    PAGE.write_text("\n".join([*lines[:head], *rows, *lines[end:]]) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------ the command


def say(line: str) -> None:
    print(line, flush=True)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/autobahn/run.py", description="Run the Autobahn test suite and judge it."
    )
    parser.add_argument(
        "--role", choices=(*ROLES, "both"), default="both", help="which of our sides"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="asyncio")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--profile", choices=tuple(PROFILES), default="default")
    what.add_argument("--groups", help="such as 1-7,9,10 or 6.4 or 9.1.1")
    parser.add_argument("--jobs", type=int, default=2, help="suites that run at once (2)")
    parser.add_argument(
        "--limit", type=float, default=1800.0, help="seconds for one role, then it fails (1800)"
    )
    parser.add_argument(
        "--reports",
        type=Path,
        default=REPORTS,
        help="where the reports go (reports/autobahn); each run replaces what is there",
    )
    parser.add_argument(
        "--record", action="store_true", help="write the outcome into docs/autobahn.md"
    )
    parser.add_argument("--url", help="judge another server, one that runs already")
    parser.add_argument(
        "--find-python", action="store_true", help="only say whether Python 2.7 is here"
    )
    options = parser.parse_args(words)
    if options.url and options.role != "server":
        parser.error("--url goes with --role server")
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    if options.record and (options.profile != "full" or options.groups or options.url):
        parser.error("--record goes with --profile full, for a server of ours")
    return options


async def run_role(
    role: str, wstest: Path, hands: list[list[str]], options: argparse.Namespace
) -> None:
    folder = options.reports.resolve() / options.runtime / role
    shutil.rmtree(folder, ignore_errors=True)
    # A `kill` must take our children along, as Ctrl-C does.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with asyncio.timeout(options.limit):
            if role == "server":
                await test_server(wstest, hands, folder, options.runtime, options.url)
            else:
                await test_client(wstest, hands, folder, options.runtime)
    except TimeoutError:
        raise SetupError(f"not done after {options.limit:g} s; see {folder}") from None


def main(words: Sequence[str] | None = None) -> int:
    """Run it; 0: as expected, 1: differences, 2: it could not be run."""
    options = arguments(words)
    expected: dict[str, str] = json.loads((HERE / "expected.json").read_text())
    try:
        if options.find_python:
            say(str(find_python2()))
            return 0
        cases = select(options.groups or PROFILES[options.profile], list(expected))
        wstest = prepare()
        different = 0
        for role in ROLES if options.role == "both" else (options.role,):
            started = time.monotonic()
            say(f"{role}: {len(cases)} cases ...")
            asyncio.run(run_role(role, wstest, deal(cases, options.jobs), options))
            folder = options.reports.resolve() / options.runtime / role
            seconds = time.monotonic() - started
            differences, counts = judge(role, cases, expected, folder)
            different += differences
            say(f"{role}: {seconds:.0f} s")
            if options.record:
                record(options.runtime, role, counts, seconds)
    except SetupError as error:
        say(f"autobahn: {error}")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    if different:
        say(f"autobahn: {different} cases differ from {Path('tests/autobahn/expected.json')}")
        return 1
    say("autobahn: every case is as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
