"""Who may import whom. The dependency rules of ``docs/design.md``, read off the syntax trees.

A decision that is made in two places begins with an import that should not be there, so these
rules are held by a test and not by good will. Nothing is imported here: the files are parsed.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "src" / "wsproto_core"
BINDINGS = ROOT / "src" / "bindings"

# The layers of the core, lowest first. A file may import files above it in this list only.
# Whoever adds a file says here where it stands.
LAYERS = (
    "_pure",
    "entropy",
    "enums",
    "frames",
    "headers",
    "errors",
    "events",
    "config",
    "lifecycle",
    "timers",
    "entropy",
    "octets",
    "outgoing",
    "framing",
    "messages",
    "uri",
    "http11",
    "proxy",
    "backoff",
    "extensions.base",
    "extensions._zlib",
    "extensions._zlib",
    "extensions.deflate",
    "extensions",
    "handshake",
    "connection",
    "session",
    # The public test kit, above all of the core; its package file gathers names.
    "testing.frames",
    "testing.strategies",
    "testing.pair",
    "testing.script",
    "testing.record",
    "testing.drive",
    "testing",
    "",  # the package itself: the public names
)

# What would bring a clock, a socket, a thread or a loop into code that must know none of them.
PERFORMERS = frozenset(
    {
        "asyncio",
        "concurrent",
        "logging.config",
        "multiprocessing",
        "queue",
        "sched",
        "select",
        "selectors",
        "signal",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "threading",
        "time",
    }
)

# Packages of others that a folder of ours may import, and the standard library's runtimes.
THIRD_PARTY = {
    "wsproto_core": {"h11"},
    "wsproto_views": set[str](),
    "wsproto_asyncio": set[str](),
    "wsproto_trio": {"trio"},
    "wsproto_anyio": {"anyio"},
    "wsproto_threading": {"python_socks"},
    "wsview": {"typer", "click", "rich"},
}

# What a file of the views may import beyond the rule of its folder. None of it waits: sockets are
# made there and do not block, and TLS is a function from bytes to bytes. (python-socks is imported
# by name, where a SOCKS proxy is asked for.) Of threads they only ask in which one they are,
# and of time what it is.
VIEWS = {
    "quick": {"socket", "threading", "time"},
    "sockets": {"socket"},
    "socks": {"socket"},
    "tls": {"ssl"},
    "stream_server": {"socket", "ssl"},
    "stream_client": {"socket", "ssl"},
    "streams": {"threading"},
}

# What one file of the test kit may import beyond the rule of its folder. Hypothesis is imported by
# its strategies only, and only by those who ask for them; the kit runs views without a runtime.
TEST_KIT = {
    "testing.strategies": {"hypothesis"},
    "testing.drive": {"wsproto_views"},
}

# All that a driver may need of the core. One more name means that a decision has leaked.
FOR_DRIVERS = frozenset(
    {"Config", "Connection", "Role", "Session", "Transport", "ConnectionClosed", "uri"}
)


@dataclass(frozen=True)
class Import:
    """One imported module, and the name taken from it if there is one."""

    module: str
    name: str | None
    line: int
    types_only: bool

    def is_in(self, *packages: str) -> bool:
        full = f"{self.module}.{self.name}" if self.name else self.module
        return any((full + ".").startswith(package + ".") for package in packages)


def imports(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Return every import in ``source``, wherever it stands, with relative ones resolved."""
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        types_only = id(node) in for_types
        if isinstance(node, ast.Import):
            found += [Import(item.name, None, node.lineno, types_only) for item in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + is_package
                base = ".".join([*parts[:keep], *([node.module] if node.module else [])])
            found += [Import(base, item.name, node.lineno, types_only) for item in node.names]
    return found


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, root: Path) -> list[Import]:
    return imports(
        file.read_text("utf-8"), module_name(file, root), is_package=file.name == "__init__.py"
    )


def binding_folders() -> list[Path]:
    return sorted(folder for folder in BINDINGS.iterdir() if any(folder.rglob("*.py")))


CORE_FILES = python_files(CORE)
DRIVER_FOLDERS = [
    folder for folder in binding_folders() if folder.name not in {"wsproto_views", "wsview"}
]


def by_name(file: Path) -> str:
    return str(file.relative_to(ROOT / "src"))


# -------------------------------------------------------------------------- rules 1 and 2: the core


def performing(found: list[Import]) -> list[Import]:
    return [item for item in found if item.is_in(*PERFORMERS)]


def strangers(found: list[Import], ours: set[str]) -> list[Import]:
    """Return the imports of packages that are neither Python's nor in ``ours``."""
    return [
        item
        for item in found
        if (top := item.module.partition(".")[0]) not in sys.stdlib_module_names and top not in ours
    ]


def waiting(source: str) -> list[int]:
    """Return the lines with ``async`` or ``await``."""
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    return sorted(
        getattr(node, "lineno", 0)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds) or (isinstance(node, ast.comprehension) and node.is_async)
    )


def layer_faults(layer: str, found: list[Import]) -> list[Import]:
    """Return the imports of the core's files that do not stand above ``layer``."""
    above = set(LAYERS[: LAYERS.index(layer)])
    faults = []
    for item in found:
        if item.types_only or not item.is_in("wsproto_core"):
            continue
        # `from . import uri` names a file after `import`; `from .uri import Uri` before it.
        inner = item.module.removeprefix("wsproto_core").lstrip(".")
        longer = f"{inner}.{item.name}".lstrip(".")
        target = longer if longer in LAYERS else inner
        if target not in above:
            faults.append(item)
    return faults


@pytest.mark.parametrize("file", CORE_FILES, ids=by_name)
def test_the_core_imports_h11_and_the_harmless_part_of_the_standard_library(file: Path) -> None:
    found = imports_of(file, ROOT / "src")
    assert not performing(found)
    layer = module_name(file, ROOT / "src").removeprefix("wsproto_core").lstrip(".")
    also = TEST_KIT.get(layer, set())
    assert not strangers(found, {"wsproto_core", *THIRD_PARTY["wsproto_core"], *also})


@pytest.mark.parametrize("file", CORE_FILES, ids=by_name)
def test_the_core_does_not_wait(file: Path) -> None:
    if file != CORE / "testing" / "drive.py":  # it steps coroutines, and gives one to wait for
        assert not waiting(file.read_text("utf-8"))


def test_the_core_does_not_need_its_test_kit() -> None:
    users = [
        f"{by_name(file)}:{item.line}"
        for file in CORE_FILES
        if file.parent != CORE / "testing"
        for item in imports_of(file, ROOT / "src")
        if item.is_in("wsproto_core.testing")
    ]
    assert not users


@pytest.mark.parametrize("file", CORE_FILES, ids=by_name)
def test_the_core_imports_upwards_only(file: Path) -> None:
    layer = module_name(file, ROOT / "src").removeprefix("wsproto_core").lstrip(".")
    assert layer in LAYERS, f"say in LAYERS where {layer} stands"
    assert not layer_faults(layer, imports_of(file, ROOT / "src"))


def test_the_lifecycle_table_knows_only_the_enums() -> None:
    found = imports_of(CORE / "lifecycle.py", ROOT / "src")
    assert {item.module for item in found if item.is_in("wsproto_core")} == {"wsproto_core.enums"}


# ----------------------------------------------------------------------- rules 3 to 5: the bindings


@pytest.mark.parametrize("file", python_files(BINDINGS / "wsproto_views"), ids=by_name)
def test_the_views_import_the_core_and_no_runtime(file: Path) -> None:
    found = imports_of(file, BINDINGS)
    assert {item.module for item in performing(found)} <= VIEWS.get(file.stem, set())
    assert not strangers(found, {"wsproto_core", "wsproto_views"})


def is_only_names(source: str) -> bool:
    """Whether a file has nothing but a docstring, imports and constants such as ``__all__``."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.parse(source).body
    )


def leaked(found: list[Import]) -> list[Import]:
    """Return what a file of a binding takes from the core beyond its share."""
    return [
        item
        for item in found
        if item.is_in("wsproto_core")
        and not item.types_only
        and item.name not in FOR_DRIVERS
        and not item.is_in("wsproto_core.uri")
    ]


DRIVER_FILES = [file for folder in DRIVER_FOLDERS for file in python_files(folder)]


@pytest.mark.parametrize("file", DRIVER_FILES, ids=by_name)
def test_a_binding_takes_its_share_of_the_core_and_no_more(file: Path) -> None:
    # The package's own file hands the public names on, and does nothing else.
    if file.name == "__init__.py" and is_only_names(file.read_text("utf-8")):
        return
    assert not leaked(imports_of(file, BINDINGS))


@pytest.mark.parametrize("file", DRIVER_FILES, ids=by_name)
def test_a_binding_imports_its_own_runtime_and_no_other_binding(file: Path) -> None:
    own = file.relative_to(BINDINGS).parts[0]
    found = imports_of(file, BINDINGS)
    assert not strangers(found, {"wsproto_core", "wsproto_views", own, *THIRD_PARTY[own]})


@pytest.mark.parametrize("folder", binding_folders(), ids=by_name)
def test_every_folder_of_ours_says_what_it_may_import(folder: Path) -> None:
    assert folder.name in THIRD_PARTY


# ---------------------------------------------------------------------------- `bindings` is no name


def test_bindings_is_a_folder_and_not_a_package() -> None:
    assert not (BINDINGS / "__init__.py").exists()
    users = [
        f"{file.relative_to(ROOT)}:{item.line}"
        for folder in ("src", "tests", "docs")
        for file in python_files(ROOT / folder)
        if "node_modules" not in file.parts
        for item in imports(file.read_text("utf-8"), file.stem)
        if item.is_in("bindings")
    ]
    assert not users


def test_bindings_is_not_importable_where_we_are_installed() -> None:
    # In a process of its own: this one has `src` on its path, which makes the folder a namespace.
    code = (
        "import importlib.util as u; print([u.find_spec(n) is not None for n in "
        "('bindings', 'wsproto_core', 'wsproto_asyncio')])"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    if run.stdout.strip() == "[False, False, False]":
        pytest.skip("not installed in this environment; `make test` installs it")
    assert run.stdout.strip() == "[False, True, True]"


# ------------------------------------------------------------------------ do the rules bite at all?


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import asyncio", "asyncio"),
        ("from concurrent import futures", "concurrent"),
        ("def f():\n    from time import monotonic", "time"),
        ("import logging.config", "logging.config"),
        ("from logging import config", "logging"),
        ("if TYPE_CHECKING:\n    import socket", "socket"),
    ],
)
def test_performers_are_found(source: str, module: str) -> None:
    assert [item.module for item in performing(imports(source, "wsproto_core.x"))] == [module]


def test_one_logger_is_harmless() -> None:
    assert not performing(imports("import logging, os, struct", "wsproto_core.x"))


@pytest.mark.parametrize(
    "source",
    [
        "async def f(): pass",
        "[x async for x in y]",
        "async def f():\n    async with x: pass",
    ],
)
def test_waiting_is_found(source: str) -> None:
    assert waiting(source)


@pytest.mark.parametrize(
    ("layer", "source", "faults"),
    [
        ("connection", "from .session import Session", 1),
        ("connection", "from . import session", 1),
        ("connection", "from . import uri", 0),
        ("connection", "from .extensions import Extension", 0),
        ("connection", "from . import Config", 1),
        ("events", "if TYPE_CHECKING:\n    from .extensions.base import Agreed", 0),
        ("extensions.base", "from ..errors import ExtensionError", 0),
        ("extensions.base", "from .deflate import PerMessageDeflate", 1),
        ("enums", "from wsproto_core.frames import Frame", 1),
        ("session", "from .connection import Connection", 0),
    ],
)
def test_layers_are_told_apart(layer: str, source: str, faults: int) -> None:
    assert len(layer_faults(layer, imports(source, f"wsproto_core.{layer}"))) == faults


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from wsproto_core import Config, Session, uri", []),
        ("from wsproto_core.uri import parse_uri", []),
        ("from wsproto_core import OpCode, Role", ["OpCode"]),
        ("import wsproto_core", [None]),
        ("from wsproto_core.connection import CloseCode", ["CloseCode"]),
    ],
)
def test_leaks_are_found(source: str, names: list[str | None]) -> None:
    assert [item.name for item in leaked(imports(source, "wsproto_asyncio.driver"))] == names
