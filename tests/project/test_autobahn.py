"""The verdict of ``tests/autobahn/run.py``: any difference from what is expected is one."""

import json
from pathlib import Path

import pytest

from tests.autobahn.run import AGENT, HERE, PROFILES, judge, select

EXPECTED = {"1.1.1": "OK", "1.1.2": "OK", "7.1.6": "INFORMATIONAL"}


def reports(folder: Path, verdicts: dict[str, tuple[str, str]]) -> Path:
    """What the suite leaves behind, in two hands."""
    for number, (case, (behavior, close)) in enumerate(verdicts.items()):
        place = folder / f"job{number}"
        place.mkdir()
        outcome = {"behavior": behavior, "behaviorClose": close, "reportfile": "r.json"}
        (place / "index.json").write_text(json.dumps({AGENT: {case: outcome}}), encoding="utf-8")
        (place / "r.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        ({}, 0),
        ({"1.1.2": ("FAILED", "OK")}, 1),
        ({"1.1.2": ("OK", "UNCLEAN")}, 1),
        ({"1.1.2": ("NON-STRICT", "NON-STRICT")}, 1),
        ({"7.1.6": ("OK", "OK")}, 1),
        ({"1.1.1": None}, 1),
        ({"1.1.1": None, "1.1.2": ("FAILED", "FAILED")}, 2),
    ],
)
def test_every_difference_counts(
    tmp_path: Path, changed: dict[str, tuple[str, str] | None], differences: int
) -> None:
    whole = {case: (word, word) for case, word in EXPECTED.items()} | changed
    folder = reports(tmp_path, {case: found for case, found in whole.items() if found is not None})
    assert judge("server", list(EXPECTED), EXPECTED, folder)[0] == differences


def test_the_whole_profile_is_all_517_cases() -> None:
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    assert len(select(PROFILES["full"], list(expected))) == len(expected) == 517
    assert sorted(case for case, word in expected.items() if word != "OK") == [
        "7.1.6",
        "7.13.1",
        "7.13.2",
    ]
    assert set(expected.values()) == {"OK", "INFORMATIONAL"}
