"""The reference is what the docstrings say, today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_says_its_unit_default_and_reason() -> None:
    page = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    for section in page.split("\n### ")[1:]:
        name, _, rest = section.partition("\n")
        assert "Default: `" in rest, name
        assert len(rest.split()) > 8, name
