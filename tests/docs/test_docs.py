"""Every code block of the documents does what it says.

The marks behind ``python`` in a fence, or behind ``<!--`` for a block that readers do not see:

- ``run``: a whole program, run to its end. An ``output`` block right behind it is what it prints.
- ``serve``: a whole program that listens; it runs in the background until the next of its page.
- no mark: a part of something. It must be Python, and that is all.

Port 8765 stands for a free one.
"""

import ast
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.support import (
    EXAMPLES,
    PORT,
    ROOT,
    Block,
    background,
    blocks,
    environment,
    free_port,
    pages,
)

MARKS = {"", "run", "serve"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


PROGRAMS = [page for page in pages() if any(block.mark for block in blocks(page))]


@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_programs_run(page: Path, tmp_path: Path) -> None:
    port = free_port()
    found = blocks(page)
    with contextlib.ExitStack() as servers:
        for place, block in enumerate(found):
            if block.language != "python":
                continue
            if block.mark == "serve":
                servers.close()
                servers.enter_context(background(block.text, port, tmp_path))
            elif block.mark == "run":
                output = run(block, port, tmp_path)
                following = found[place + 1] if place + 1 < len(found) else None
                if following is not None and following.mark == "output":
                    assert output == following.text, f"{name_of(page)}:{following.line}"


def run(block: Block, port: int, folder: Path) -> str:
    file = folder / f"line_{block.line}.py"
    file.write_text(block.text.replace(PORT, str(port)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}:\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_python_blocks_are_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            assert block.mark in MARKS, f"{name_of(page)}:{block.line}: {block.mark}"
            compile(
                block.text,
                f"{name_of(page)}:{block.line}",
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                dont_inherit=True,
            )


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        where, _, anchor = target.partition("#")
        file = (page.parent / where).resolve() if where else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        words = re.sub(r"[^\w\- ]", "", plain.lower(), flags=re.UNICODE)
        found.add(words.strip().replace(" ", "-"))
    return found


def test_every_page_can_be_reached() -> None:
    linked = set()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s#]+)", text):
            linked.add((page.parent / target).resolve())
    lost = [name_of(page) for page in pages() if page not in linked and page.name != "README.md"]
    assert not lost


# Which pages show which example, word for word.
SHOWN = {
    "README.md": ["selectors_server.py"],
    "docs/howto/embed.md": ["selectors_server.py"],
    "docs/howto/new-runtime.md": ["selectors_views.py"],
    "docs/howto/extensions.md": ["checksum_extension.py"],
    "docs/howto/routes.md": ["own_page.py"],
    "docs/howto/client.md": ["view_client.py"],
    "docs/tutorial.md": ["chat_server.py"],
}


@pytest.mark.parametrize(
    ("page", "example"), [(page, name) for page, names in SHOWN.items() for name in names]
)
def test_shown_examples_are_the_files(page: str, example: str) -> None:
    shown = [block.text for block in blocks(ROOT / page) if block.language == "python"]
    assert (EXAMPLES / example).read_text(encoding="utf-8") in shown


def test_the_selectors_example_stays_short() -> None:
    assert len((EXAMPLES / "selectors_server.py").read_text().splitlines()) < 60


def test_tests_that_pages_name_exist() -> None:
    known = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    for file in (ROOT / "tests").rglob("test_*.py"):
        known.update(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for name, more in re.findall(r"`(?:[\w/]*/)?(test_\w+)(\.\.\.)?(?:\.py)?`", text):
            found = any(item.startswith(name) for item in known) if more else name in known
            assert found, f"{name_of(page)}: {name}"
