"""A pytest plugin: where the compiled build is in use, the core's tests run on the pure one, too.

In one process. Every test file of ``tests/core`` is collected twice: as it is, and as a twin,
marked ``(pure)``, for which it and all that it imports of ours are imported anew, from the sources.
While tests of a twin run, those modules stand in ``sys.modules`` in place of the others.

A compiled module that is older than its source is an error, for it would be tested in its place.
``WSPROTO_REQUIRE_COMPILED=1`` makes it one if the compiled build is missing.
"""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import wsproto_core
from wsproto_core._pure import PureFinder

CORE = Path(__file__).parent / "core"
OURS = ("wsproto_core", "wsproto_views", "wsproto_asyncio", "wsproto_threading", "tests.core")


class Twins:
    """The modules of the pure build, beside those of the compiled one."""

    def __init__(self) -> None:
        self._pure: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the pure build stand in ``sys.modules``."""
        others = _taken_out()
        sys.modules.update(self._pure)
        sys.meta_path.insert(0, PureFinder)
        try:
            yield
        finally:
            sys.meta_path.remove(PureFinder)
            self._pure = _taken_out()
            sys.modules.update(others)


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if f"{name}.".startswith(tuple(f"{n}." for n in OURS))]
    return {name: sys.modules.pop(name) for name in names}


twins = Twins()


def pure_twin(module: ModuleType) -> ModuleType:
    """The module of the sources, whichever build is in use; what it imports is of that one."""
    path = Path(str(module.__file__)).parent / f"{module.__name__.rpartition('.')[2]}.py"
    spec = spec_from_file_location(f"{module.__name__}_pure", path)
    assert spec is not None
    assert spec.loader is not None
    twin = module_from_spec(spec)
    spec.loader.exec_module(twin)
    return twin


class PureModule(pytest.Module):
    """A test file whose imports of ours are those of the pure build."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        with twins.active():
            return list(super().collect())


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("WSPROTO_REQUIRE_COMPILED") == "1" and not wsproto_core.COMPILED:
        raise pytest.UsageError("WSPROTO_REQUIRE_COMPILED=1, and the compiled build is not there")
    for name, module in list(sys.modules.items()):
        built = Path(getattr(module, "__file__", None) or "")
        if name.partition(".")[0] not in OURS or built.suffix not in (".so", ".pyd"):
            continue
        base = built.name.partition(".")[0]
        for source in (built.with_name(base + end) for end in (".py", ".pyx", ".pxd")):
            if source.is_file() and source.stat().st_mtime > built.stat().st_mtime:
                raise pytest.UsageError(f"{built.name} is older than {source.name}: make build")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not (wsproto_core.COMPILED and file_path.parent == CORE):
        return None
    if not (file_path.name.startswith("test_") and file_path.suffix == ".py"):
        return None
    place = file_path.relative_to(parent.config.rootpath).as_posix()
    twin: pytest.Collector = PureModule.from_parent(
        parent, path=file_path, name=f"{file_path.name}(pure)", nodeid=f"{place}(pure)"
    )
    return twin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if item.getparent(PureModule) is None:
        return (yield)
    with twins.active():
        return (yield)
