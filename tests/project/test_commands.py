"""The commands that README, documents and CI name are there.

What the documents' Python does is tested in ``tests/docs``; this is about ``make`` and the entry
point of ``wsview``.
"""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
CI = (ROOT / ".ci" / "run").read_text("utf-8")


def pages() -> list[Path]:
    return [
        page
        for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md")))
        if page.exists()
    ]


def named_targets(text: str) -> set[str]:
    """Return the targets of ``make`` that code in ``text`` names: at the start of a command."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    return {
        target
        for piece in code
        for target in re.findall(r"(?:^|[`$;&|]) ?make ([a-z]+)", piece, re.MULTILINE)
    }


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_targets_that_exist(page: Path) -> None:
    assert named_targets(page.read_text("utf-8")) <= TARGETS


def test_the_readme_names_both_commands() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    assert {"demo", "test"} <= named_targets(readme.read_text("utf-8"))


def test_targets_are_found_in_code_only() -> None:
    text = "make sure\n```\nmake demo\n$ make test ARGS=-x\n```\nor `make lint` and make do"
    assert named_targets(text) == {"demo", "test", "lint"}


def test_ci_runs_the_readme_s_test_command_and_targets_that_exist() -> None:
    named = set(re.findall(r"^\s*make ([a-z]+)", CI, re.MULTILINE))
    assert "test" in named
    assert named <= TARGETS


def test_ci_can_be_started() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_every_target_is_phony_and_described() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS
    assert set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE)) == TARGETS


def test_the_command_line_s_module_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["wsview"].partition(":")
    file = ROOT / "src" / "bindings" / (module.replace(".", "/") + ".py")
    defined = re.compile(rf"^def {function}\(|import .*\b{function}\b", re.MULTILINE)
    assert defined.search(file.read_text("utf-8"))
