"""The engines themselves: they find what is there, keep it, and count honestly."""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fuzz import __main__ as command
from fuzz import engines, harness
from fuzz.harness import Finding, Source, cut, require


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engines, "work_folder", lambda name: tmp_path / name)
    return tmp_path


def target(**more: object) -> SimpleNamespace:
    def check(data: bytes) -> Hashable:
        require(b"\x42\x42" not in data, "two in a row", data[:4])
        return len(data)

    parts: dict[str, object] = {
        "SEEDS": (b"\x41\x42\x43", b"seed"),
        "TOKENS": (b"\x42",),
        "STEPS": (1000, 10),
        "MEMORY": (100_000, 100),
        "check": check,
    }
    return SimpleNamespace(**{**parts, **more})


def test_a_fault_is_found_once_and_kept(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "load", lambda name: target())
    result = engines.run_random("own", runs=3000)
    assert result.runs == 3000
    assert len(result.findings) == 1
    assert "two in a row" in result.findings[0]
    kept = sorted((work / "own" / "crashes").iterdir())
    assert len(kept) == 2
    assert b"\x42\x42" in kept[0].read_bytes()
    assert "Finding" in kept[1].read_text("utf-8")
    assert "3,000 runs" in str(result)


def test_a_run_ends_in_time_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "load", lambda name: target())
    assert engines.run_random("own", seconds=0.05).seconds < 10.0


def test_the_same_seed_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[bytes]] = []
    for _ in range(2):
        inputs: list[bytes] = []

        def check(data: bytes, inputs: list[bytes] = inputs) -> Hashable:
            inputs.append(data)
            return 0

        monkeypatch.setattr(engines, "load", lambda name, check=check: target(check=check))
        monkeypatch.setattr(engines, "_saved", lambda name: [])
        engines.run_random("own", runs=200, seed=3)
        seen.append(inputs)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 100


def test_too_many_steps_are_a_finding() -> None:
    def wasteful(data: bytes) -> Hashable:
        return sum(len(str(number)) for number in range(len(data) ** 2))

    spoiled = target(check=wasteful)
    with pytest.raises(Finding, match="too many steps"):
        harness._count_steps(spoiled, bytes(100))
    assert harness._count_steps(spoiled, bytes(3)) is not None


def test_too_much_memory_is_a_finding() -> None:
    spoiled = target(check=lambda data: len(bytearray(len(data) * 10_000)))
    with pytest.raises(Finding, match="too much memory"):
        harness._measure_memory(spoiled, bytes(100))
    assert harness._measure_memory(spoiled, b"") == 0


def test_mutations_stay_within_the_size() -> None:
    chooser = random.Random(0)
    data = bytes(harness.MAX_SIZE)
    for _ in range(200):
        made = engines.mutate(data, data, (b"token",), chooser)
        assert len(made) <= harness.MAX_SIZE


@pytest.mark.parametrize("pattern", [0, 1, 7, 255])
def test_cuts_lose_nothing(pattern: int) -> None:
    data = bytes(range(256)) * 4
    parts = cut(data, pattern)
    assert b"".join(parts) == data
    assert all(parts)
    assert cut(b"", pattern) == []


def test_a_source_gives_zeros_at_its_end() -> None:
    source = Source(b"\x01\x02\x03\x04")
    assert (source.byte(), source.number(), source.take(9), source.byte()) == (1, 0x203, b"\x04", 0)
    assert not source


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["timing", "--runs", "20"]) == 0
    assert "20 runs" in capsys.readouterr().out
    (tmp_path / "input").write_bytes(b"\x00")
    assert command.main(["timing", "--replay", str(tmp_path / "input")]) == 0
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    with pytest.raises(ValueError, match="expected one of"):
        harness.load("nothing")


def test_findings_are_told_by_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "load", lambda name: target())
    assert command.main(["timing", "--runs", "3000"]) == 1


@pytest.mark.parametrize("pure", ["0", "1"])
def test_atheris_is_guided_by_coverage_with_either_build(pure: str, tmp_path: Path) -> None:
    """Without instrumentation libFuzzer knows two places, whatever it is given."""
    pytest.importorskip("atheris")
    # A copy, so that its corpus stays out of the tree.
    ignored = shutil.ignore_patterns("work", "__pycache__")
    shutil.copytree(Path(engines.__file__).parent, tmp_path / "fuzz", ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "client_frames", "--engine", "atheris", "--runs", "500"],
        cwd=tmp_path,
        env={**os.environ, "WSPROTO_PURE": pure},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    covered = [int(number) for number in re.findall(r" cov: (\d+) ", done.stderr)]
    assert covered[-1] > 50
