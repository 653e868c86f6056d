"""``WSPROTO_PURE``: a finder that knows sources only. That it does its work: ``test_builds.py``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsproto_core
from wsproto_core import _pure

FOLDER = [str(Path(wsproto_core.__file__).parent)]


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    before = sys.meta_path[:]
    yield
    sys.meta_path[:] = before


@pytest.mark.parametrize("value", [None, "", "0"])
def test_nothing_is_done_unless_it_is_asked_for(value: str | None) -> None:
    before = sys.meta_path[:]
    _pure.install({} if value is None else {"WSPROTO_PURE": value})
    assert sys.meta_path == before


def test_the_finder_comes_first() -> None:
    _pure.install({"WSPROTO_PURE": "1"})
    assert sys.meta_path[0] is _pure.PureFinder


def test_a_module_of_ours_is_found_as_source() -> None:
    spec = _pure.PureFinder.find_spec("wsproto_core.framing", FOLDER)
    assert spec is not None
    assert spec.origin is not None
    assert spec.origin.endswith("framing.py")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("json.decoder", FOLDER),
        ("wsproto_core", None),
        ("wsproto_core.extensions", FOLDER),  # a folder: as ever
        ("wsproto_core.framing", []),
    ],
)
def test_all_else_is_left_to_others(name: str, path: list[str] | None) -> None:
    assert _pure.PureFinder.find_spec(name, path) is None
