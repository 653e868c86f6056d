"""The guard against getting slower: what it counts is the same every time, and it tells of more.

The compiled build is counted by a command of its own, ``make guard``.
"""

import json
from pathlib import Path

import pytest

from benchmarks import guard


def test_what_is_counted_does_not_depend_on_chance() -> None:
    assert guard.calls("send") == guard.calls("send")


def test_figures_are_stored_for_every_path_on_both_builds() -> None:
    assert {kind: set(figures) for kind, figures in guard.stored().items()} == {
        "calls": set(guard.PATHS),
        "instructions": set(guard.PATHS),
    }


def test_it_fails_at_more_than_the_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "guard.json"
    monkeypatch.setattr(guard, "FIGURES", figures)
    monkeypatch.setattr("sys.argv", ["guard"])
    monkeypatch.setattr("wsproto_core.COMPILED", False)
    real = {path: guard.calls(path) for path in guard.PATHS}
    figures.write_text(json.dumps({"calls": real}), "utf-8")
    assert guard.main() == 0
    assert "MORE" not in capsys.readouterr().out
    figures.write_text(json.dumps({"calls": {**real, "send": real["send"] / 1.2 - 0.1}}), "utf-8")
    assert guard.main() == 1
    assert "send" in capsys.readouterr().out.split("MORE")[0].splitlines()[-1]
