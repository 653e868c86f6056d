"""The conformance page speaks of every row, and every row that claims a test has one."""

import re

from tools import conformance

ROOT = conformance.ROOT


def names_of_tests() -> set[str]:
    found: set[str] = set()
    for folder in conformance.FOLDERS:
        for file in (ROOT / folder).rglob("test_*.py"):
            found |= set(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    return found


def test_every_row_has_its_section_and_its_own_id() -> None:
    rows = conformance.rows()
    assert len({row.id for row in rows}) == len(rows) == 358
    assert len({row.test for row in rows}) == len(rows)
    assert all(row.section for row in rows)


def test_the_page_shows_every_row_and_none_that_failed() -> None:
    page = conformance.PAGE.read_text(encoding="utf-8")
    for row in conformance.rows():
        assert f"| {row.id} | {row.source} |" in page, "run: python tools/conformance.py"
    assert "**failed**" not in page


def test_a_row_that_the_page_calls_tested_still_has_its_test() -> None:
    by_test = {row.test: row for row in conformance.rows()}
    owned = {
        row.id for name in names_of_tests() if (row := conformance.owner(name, by_test)) is not None
    }
    for line in conformance.PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and "passed (" in line:
            row_id = line.split(" | ")[0].removeprefix("| ")
            assert row_id in owned, row_id
