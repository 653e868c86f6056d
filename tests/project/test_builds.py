"""The two builds: which is in use, that both can be had, and that C does what it is there for."""

import ast
import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wsproto_core

ROOT = Path(__file__).resolve().parents[2]
MODULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
NAMES = [module["name"] for module in MODULES]

needs_compiled = pytest.mark.skipif(not wsproto_core.COMPILED, reason="this is the pure build")


def _ask(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_pure_build_can_be_asked_for() -> None:
    program = (
        "import sys, wsproto_core, wsproto_core.testing, wsproto_asyncio\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.startswith('wsproto_')]\n"
        "print(wsproto_core.COMPILED, {f.rpartition('.')[2] for f in files})"
    )
    assert _ask(program, WSPROTO_PURE="1") == "False {'py'}"


@pytest.mark.parametrize("value", ["", "0"])
def test_it_is_not_forced_by_accident(value: str) -> None:
    program = "import wsproto_core; print(wsproto_core.COMPILED)"
    assert _ask(program, WSPROTO_PURE=value) == _ask(program)


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_module_has_a_pure_source(name: str) -> None:
    root = ROOT / "src" if name.startswith("wsproto_core.") else ROOT / "src" / "bindings"
    assert (root / f"{name.replace('.', '/')}.py").is_file()


@needs_compiled
@pytest.mark.parametrize("name", NAMES)
def test_all_of_it_is_compiled_or_nothing(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert not file.endswith(".py")


@needs_compiled
def test_the_mask_loop_is_vectorised() -> None:
    """Somewhere in it two vector registers are XORed; the scalar tail has none."""
    instruction = {
        "x86_64": r"\bv?p?xorp?s?d?\b.*[xyz]mm\d+.*[xyz]mm\d+",
        "aarch64": r"\beor\s+v\d+",
    }
    pattern = instruction.get(platform.machine())
    if pattern is None or shutil.which("objdump") is None:
        pytest.skip("needs objdump, on x86-64 or AArch64")
    file = importlib.import_module("wsproto_core.octets").__file__
    assert file is not None
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", file], capture_output=True, text=True, check=True
    ).stdout
    # A register XORed with itself is only a zero.
    found = [
        line
        for line in listing.splitlines()
        if re.search(pattern, line) and len(set(re.findall(r"[xyz]mm\d+|v\d+", line))) > 1
    ]
    assert found


def _attributes(source: Path) -> dict[str, set[str]]:
    """For each class that the .pxd beside ``source`` declares: what its methods assign."""
    declared = re.findall(
        r"^cdef class (\w+)", source.with_suffix(".pxd").read_text(), re.MULTILINE
    )
    return {
        item.name: {
            node.attr
            for node in ast.walk(item)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        for item in ast.parse(source.read_text()).body
        if isinstance(item, ast.ClassDef) and item.name in declared
    }


def _declared(pxd: Path, name: str) -> set[str]:
    """What the class and its bases, of this .pxd or of others beside, declare."""
    text = pxd.read_text()
    body = re.split(r"^cdef class ", text, flags=re.MULTILINE)
    block = next(part for part in body if re.match(rf"{name}\b", part))
    lines = re.findall(
        r"^    cdef (?:public |readonly )?(?:long )?[\w.]+(?:\[\d+\])? ([\w, ]+)$",
        block,
        re.MULTILINE,
    )
    known = {word for line in lines for word in line.replace(" ", "").split(",")}
    if base := re.match(rf"{name}\((\w+)\)", block):
        place = re.search(rf"^from (\w*)\.(\w+) cimport .*\b{base[1]}\b", text, re.MULTILINE)
        if place:
            folder = pxd.parent.with_name(place[1]) if place[1] else pxd.parent
            pxd = folder / f"{place[2]}.pxd"
        known |= _declared(pxd, base[1])
    return known


@pytest.mark.parametrize("source", sorted((ROOT / "src").rglob("*.pxd")), ids=lambda p: p.stem)
def test_every_attribute_has_its_c_type(source: Path) -> None:
    """One that is missing in the .pxd would be an AttributeError in the compiled build only."""
    if source.with_suffix(".pyx").exists():
        return  # its types are those of the other source
    for name, attributes in _attributes(source.with_suffix(".py")).items():
        missing = attributes - _declared(source, name)
        assert not missing, f"{source.name} lacks {sorted(missing)}"
