"""Make ``docs/conformance.md``: each requirement, where it stands, and what its tests said.

    python tools/conformance.py

It runs the tests that carry the id of a row and writes down their outcome; nothing is taken on
trust. A test carries a row's id in its name (``WS-5.1-MASK-CLIENT`` is ``test_ws_5_1_mask_client``)
or as a parameter. The rows are ``tests/conformance_rows.tsv``: id, source, role, strength, words.
"""

import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from wsproto_core import COMPILED

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "tests" / "conformance_rows.tsv"
PAGE = ROOT / "docs" / "conformance.md"
FOLDERS = ("tests/core", "tests/bindings")

SECTIONS = {
    "WS-3-": "WebSocket URIs (RFC 6455 section 3)",
    "WS-4.1-REQ": "Client: sending the opening handshake (4.1)",
    "WS-4.1-RESP": "Client: validating the response (4.1)",
    "WS-4.2.1": "Server: reading the opening handshake (4.2.1)",
    "WS-4.2.2": "Server: answering the opening handshake (4.2.2)",
    "WS-5.1": "Framing (5.1 to 5.3, 5.7)",
    "WS-5.2": "Framing (5.1 to 5.3, 5.7)",
    "WS-5.3": "Framing (5.1 to 5.3, 5.7)",
    "WS-5.7": "Framing (5.1 to 5.3, 5.7)",
    "WS-5.4": "Fragmentation (5.4)",
    "WS-5.5": "Control frames (5.5)",
    "WS-5.6": "Data frames and UTF-8 (5.6, 8.1)",
    "WS-8.1": "Data frames and UTF-8 (5.6, 8.1)",
    "WS-6": "Sending and receiving (6)",
    "WS-7": "Closing (7)",
    "WS-9": "Extension negotiation (9)",
    "WS-10": "Security and limits (10)",
    "PMD-": "permessage-deflate (RFC 7692)",
    "WG-": "What browsers do (WHATWG)",
    "IO-": "Outside the sans-IO core",
    "H2-": "WebSocket over HTTP/2 (RFC 8441)",
    "H3-": "WebSocket over HTTP/3 (RFC 9220)",
}


@dataclass(frozen=True)
class Row:
    """One requirement."""

    id: str
    source: str
    role: str
    strength: str
    words: str

    @property
    def test(self) -> str:
        """The name of its test, or the beginning of it."""
        return "test_" + re.sub(r"[^a-z0-9]+", "_", self.id.lower()).strip("_")

    @property
    def section(self) -> str:
        """The heading it stands under."""
        return next(name for prefix, name in SECTIONS.items() if self.id.startswith(prefix))


def rows() -> list[Row]:
    """All requirements, in their order."""
    lines = ROWS.read_text(encoding="utf-8").splitlines()
    return [Row(*line.split("\t")) for line in lines[1:]]


def owner(name: str, by_test: dict[str, Row]) -> Row | None:
    """The row that a test function belongs to: the longest name that begins it."""
    found = [row for test, row in by_test.items() if name == test or name.startswith(test + "_")]
    return max(found, key=lambda row: len(row.test), default=None)


class Collect:
    """A pytest plugin that notes how the tests of each row ended."""

    def __init__(self) -> None:
        self.by_test = {row.test: row for row in rows()}
        self.ids = {row.id: row for row in rows()}
        self.outcomes: dict[str, list[str]] = defaultdict(list)

    def _rows(self, nodeid: str) -> set[str]:
        name, _, parameters = nodeid.rpartition("::")[2].partition("[")
        found = {part for part in parameters.rstrip("]").split("-") if part in self.ids}
        row = owner(name, self.by_test)
        return found | ({row.id} if row is not None else set())

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        items[:] = [item for item in items if self._rows(item.nodeid)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            for row in self._rows(report.nodeid):
                self.outcomes[row].append(report.outcome)


def verdict(outcomes: list[str]) -> str:
    """What the tests of a row said, in a word and a number."""
    if not outcomes:
        return "not tested yet"
    if "failed" in outcomes:
        return f"**failed** ({outcomes.count('failed')} of {len(outcomes)})"
    return f"passed ({outcomes.count('passed')} tests)"


def page(outcomes: dict[str, list[str]]) -> str:
    """The text of the page."""
    everything = rows()
    tested = sum(bool(outcomes.get(row.id)) for row in everything)
    failed = sum("failed" in outcomes.get(row.id, []) for row in everything)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  # git is where the user has it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    builds = "both the compiled and the pure build" if COMPILED else "the pure build"
    lines = [
        "# Conformance",
        "",
        "Each row is one requirement that a test can observe; the source says where to read the",
        "original. † marks what the source leaves open and this project decided. Rows that feed",
        "bytes are tested with all bytes at once and with one byte at a time; rows of role B as",
        "client and as server.",
        "",
        f"Made by `python tools/conformance.py` on Python {sys.version.split()[0]} at {commit}:",
        f"{tested} of {len(everything)} rows tested, {failed} failed. The core's tests were run",
        f"with {builds}.",
    ]
    heading = ""
    for row in everything:
        if row.section != heading:
            heading = row.section
            lines += ["", f"## {heading}", ""]
            lines += ["| row | source | role | strength | requirement | outcome |"]
            lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines.append(
            f"| {row.id} | {row.source} | {row.role} | {row.strength} | {row.words} "
            f"| {verdict(outcomes.get(row.id, []))} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    collect = Collect()
    status = pytest.main(["-q", "-p", "no:cacheprovider", *FOLDERS], plugins=[collect])
    PAGE.write_text(page(collect.outcomes), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
