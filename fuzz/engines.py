# ruff: noqa: T201
"""The engines: random mutation without instrumentation, and Atheris with it.

Both run one target for so many inputs or seconds, keep their corpus under ``fuzz/work`` (ignored by
git), and save every input that fails there. The random engine has a little feedback as well: what
``check`` returns tells a new behaviour from an old one, and inputs with a new one are kept.
"""

import hashlib
import importlib
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsproto_core import COMPILED

from .harness import MAX_SIZE, Target, load, run_one

__all__ = ["Result", "crashes", "mutate", "run_atheris", "run_random", "work_folder"]

_SLOW = 2.0  # seconds for one input: far above any bound, also on a busy machine
_KEEP = 4000  # inputs kept for their behaviour
_MOST = 20  # findings, then a run stops


def work_folder(name: str) -> Path:
    """Where a target keeps its corpus and its findings."""
    return Path(__file__).parent / "work" / name


def crashes(name: str) -> list[Path]:
    """The inputs that failed so far."""
    return sorted((work_folder(name) / "crashes").glob("*"))


@dataclass
class Result:
    """What a run did."""

    target: str
    engine: str
    runs: int = 0
    seconds: float = 0.0
    kept: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.runs / self.seconds if self.seconds else 0.0
        return (
            f"{self.target}: {self.runs:,} runs in {self.seconds:.0f} s ({rate:,.0f}/s, "
            f"{self.engine}), {self.kept} behaviours, slowest {self.slowest * 1000:.0f} ms, "
            f"{len(self.findings)} findings"
        )


# ------------------------------------------------------------------------------ mutation

_BOUNDARY = (0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 124, 125, 126, 127, 128, 129, 131, 132, 136, 137,
             138, 192, 224, 240, 253, 254, 255)  # fmt: skip


def mutate(data: bytes, other: bytes, tokens: Sequence[bytes], chooser: random.Random) -> bytes:
    """Change ``data`` in one to six places; ``other`` is a second input to take from."""
    draw = chooser.random
    made = bytearray(data)
    for _ in range(1 + int(draw() * draw() * 6)):
        size = len(made)
        at = int(draw() * (size + 1))
        kind = int(draw() * 12)
        if kind == 0 and at < size:
            made[at] ^= 1 << int(draw() * 8)
        elif kind == 1 and at < size:
            made[at] = int(draw() * 256)
        elif kind == 2 and at < size:
            made[at] = _BOUNDARY[int(draw() * len(_BOUNDARY))]
        elif kind == 3:
            made[at:at] = chooser.randbytes(1 + int(draw() * 8))
        elif kind == 4:
            del made[at : at + 1 + int(draw() * draw() * 40)]
        elif kind == 5:
            stop = at + 1 + int(draw() * 40)
            made[at:at] = made[at:stop]
        elif kind == 6:
            start = int(draw() * (len(other) + 1))
            made[at:at] = other[start : start + int(draw() * 80)]
        elif kind == 7:
            made[at:] = other[int(draw() * (len(other) + 1)) :]
        elif kind == 8 and tokens:
            made[at:at] = tokens[int(draw() * len(tokens))]
        elif kind == 9 and tokens:
            token = tokens[int(draw() * len(tokens))]
            made[at : at + len(token)] = token
        elif kind == 10:
            del made[at:]
        elif made:
            # The options in front are worth more than one place in a thousand.
            made[int(draw() * min(3, size))] = int(draw() * 256)
    return bytes(made[:MAX_SIZE])


def run_random(
    name: str,
    *,
    runs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    report: Callable[[Result], None] | None = None,
) -> Result:
    """Mutate seeds until ``runs`` inputs or ``seconds`` are done; ``None`` for both: for ever."""
    target = load(name)
    chooser = random.Random(f"{name}/{seed}")  # noqa: S311 - repeatable
    result = Result(name, "random")
    corpus: list[bytes] = []
    seen: dict[Hashable, None] = {}
    known: set[str] = set()
    clock = time.perf_counter
    began = last = clock()
    waiting = [*target.SEEDS, *_saved(name)]
    tokens = target.TOKENS
    draw = chooser.random
    while runs is None or result.runs < runs:
        if waiting:
            data = waiting.pop()
        else:
            # New behaviours are looked at more often than old ones.
            count = len(corpus)
            place = int((1 - draw() * draw()) * count) if draw() < 0.5 else int(draw() * count)
            data = mutate(
                corpus[min(place, count - 1)], corpus[int(draw() * count)], tokens, chooser
            )
        result.runs += 1
        started = clock()
        try:
            outcome = run_one(target, data)
        except Exception as error:  # noqa: BLE001 - that is what we look for
            if _save(name, data, error, known):
                result.findings.append(f"{type(error).__name__}: {str(error)[:200]}")
            if not corpus:
                corpus.append(data)
            if len(result.findings) >= _MOST:
                break
            continue
        now = clock()
        spent = now - started
        if spent > result.slowest:
            result.slowest = spent
            if spent > _SLOW and _is_slow(target, data):
                _save(name, data, TimeoutError("slow"), known)
                result.findings.append(f"slow: {spent:.1f} s for {len(data)} bytes")
        if outcome not in seen and len(corpus) < _KEEP + len(target.SEEDS):
            seen[outcome] = None
            corpus.append(data)
        if now - last > 30:
            last = now
            result.seconds, result.kept = now - began, len(seen)
            if report is not None:
                report(result)
        if seconds is not None and now - began > seconds:
            break
    result.seconds, result.kept = clock() - began, len(seen)
    _store(name, corpus)
    return result


def _is_slow(target: Target, data: bytes) -> bool:
    """Whether it is the input that is slow and not the machine."""
    started = time.process_time()
    target.check(data)
    return time.process_time() - started > _SLOW / 2


def _place_of(error: BaseException) -> str:
    """Where an exception comes from: the same place is the same finding."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    inner = next((item for item in reversed(frames) if "/fuzz/" in item.filename), last)
    words = str(error).partition(":")[0][:60]
    return f"{type(error).__name__} {words} {inner.lineno} {last.filename}:{last.lineno}"


def _save(name: str, data: bytes, error: BaseException, known: set[str]) -> bool:
    """Keep an input that failed; whether it failed in a new way."""
    place = _place_of(error)
    if place in known:
        return False
    known.add(place)
    folder = work_folder(name) / "crashes"
    folder.mkdir(parents=True, exist_ok=True)
    stem = hashlib.sha256(place.encode()).hexdigest()[:12]
    (folder / stem).write_bytes(data)
    text = "".join(traceback.format_exception(error))
    (folder / f"{stem}.txt").write_text(f"{data.hex()}\n\n{text}", "utf-8")
    return True


def _saved(name: str) -> list[bytes]:
    folder = work_folder(name) / "corpus"
    return [file.read_bytes() for file in sorted(folder.glob("*"))] if folder.is_dir() else []


def _store(name: str, corpus: Sequence[bytes]) -> None:
    folder = work_folder(name) / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for data in corpus:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


# ------------------------------------------------------------------------------ Atheris


def run_atheris(name: str, *, runs: int | None = None, seconds: float | None = None) -> int:
    """Run under Atheris (libFuzzer with coverage of our Python code), in the pure build.

    libFuzzer ends the process itself, so each target needs its own.
    """
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print(
            "The engine atheris needs the package of that name: pip install atheris "
            "(CPython 3.11 to 3.13 on Linux), or use --engine random.",
            file=sys.stderr,
        )
        return 2
    if COMPILED:
        # Compiled code has no coverage to guide by, and cannot be imported a second time.
        command = [sys.executable, "-m", "fuzz", name, "--engine", "atheris"]
        for option, value in (("--runs", runs), ("--seconds", seconds)):
            command += [] if value is None else [option, str(value)]
        pure = {**os.environ, "WSPROTO_PURE": "1"}
        return subprocess.run(command, env=pure, check=False).returncode  # noqa: S603
    # Its finder is in place; a second one would stand before that of Atheris.
    os.environ.pop("WSPROTO_PURE", None)
    for module in [item for item in sys.modules if item.partition(".")[0] == "wsproto_core"]:
        del sys.modules[module]
    for module in [item for item in sys.modules if item.startswith("fuzz.") and item != __name__]:
        if module != "fuzz.__main__":
            del sys.modules[module]
    with atheris.instrument_imports(include=["wsproto_core"]):
        from .harness import load as load_again
        from .harness import run_one as run_again

        target: Any = load_again(name)
    folder = work_folder(name)
    corpus, found = folder / "corpus", folder / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    _store(name, target.SEEDS)
    tokens = folder / "tokens.dict"
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in token) + '"' for token in target.TOKENS]
    tokens.write_text("\n".join(lines) + "\n", "ascii")
    arguments = [
        name,
        str(corpus),
        f"-dict={tokens}",
        f"-artifact_prefix={found}/",
        f"-max_len={MAX_SIZE}",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-runs={-1 if runs is None else runs}",
    ]
    if seconds is not None:
        arguments.append(f"-max_total_time={int(seconds)}")
    atheris.Setup(arguments, lambda data: (run_again(target, data), None)[1])
    atheris.Fuzz()
    return 0
