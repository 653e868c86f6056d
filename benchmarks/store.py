"""Results as JSON, one file for each case: what was measured, on what, and the ratios.

Everything that tables and plots show is read from these files. A file has no date, host name or
path in it; ``machine`` says what kind it was.
"""

import json
import os
import platform
import ssl
import subprocess
import zlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from .cases import HIGHER_IS_BETTER, Case
from .measure import Measured
from .peers import PEERS, ROOT, is_compiled
from .stats import better_by, spread

__all__ = ["RESULTS", "environment", "load", "record", "save"]

RESULTS = Path(__file__).parent / "results"
SCHEMA = 1


def environment(case: Case) -> dict[str, Any]:
    """What it was measured on, without a name of the machine."""
    pure = PEERS[case.contestants[0].peer].pure or not is_compiled()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "build": "pure" if pure else "compiled",
        "commit": _commit(),
        "system": platform.system(),
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


@cache
def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    virtual = any("hypervisor" in line for line in lines if line.startswith("flags"))
    return (names[0] if names else "unknown processor") + (" (virtual)" if virtual else "")


def record(case: Case, measured: Measured, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Return what is stored for a case."""
    ours = case.contestants[0].name
    ratios: dict[str, dict[str, Any]] = {}
    differences: dict[str, dict[str, Any]] = {}
    for peer, pairs in measured.pairs.items():
        for metric in case.metrics:
            values = [
                (measured.runs[ours][mine][metric], measured.runs[peer][its][metric])
                for mine, its in pairs
            ]
            higher = metric in HIGHER_IS_BETTER
            ratio = spread([better_by(a, b, higher_is_better=higher) for a, b in values])
            ratios.setdefault(peer, {})[metric] = asdict(ratio)
            difference = spread([a - b for a, b in values])
            differences.setdefault(peer, {})[metric] = asdict(difference)
    return {
        "schema": SCHEMA,
        "case": case.name,
        "title": case.title,
        "ours": ours,
        "metrics": list(case.metrics),
        "environment": environment(case),
        "settings": {
            "program": case.program,
            "load": list(case.load),
            "seconds": seconds,
            "rounds": rounds,
            "servers": {
                contestant.name: {
                    "options": list(contestant.options),
                    "load": list(contestant.load),
                    "words": PEERS[contestant.peer].settings,
                    "versions": measured.versions.get(contestant.name, {}),
                }
                for contestant in case.contestants
                if contestant.name in measured.runs
            },
        },
        "figures": {
            name: {
                metric: asdict(spread([run[metric] for run in runs]))
                for metric in runs[0]
                if metric in case.metrics or metric in _TELLING
            }
            for name, runs in measured.runs.items()
        },
        "times_as_good": ratios,
        "ours_minus_theirs": differences,
        "missing": dict(measured.missing),
    }


# Stored beside what is compared: they explain it.
_TELLING = frozenset({"megabytes_per_s", "p50_us", "p99_us", "cpu_share", "bytes_back"})


def save(result: dict[str, Any], folder: Path) -> None:
    """Write the file of a case."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(result), indent=1, ensure_ascii=False)
    (folder / f"{result['case']}.json").write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all files of a folder."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["schema"] != SCHEMA:
            raise ValueError(f"{file.name}: expected schema {SCHEMA}, not {result['schema']}")
        found[result["case"]] = result
    return found


def _rounded(value: Any) -> Any:
    """Four digits: more would be noise, and would change with every run."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
