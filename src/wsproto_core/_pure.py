"""``WSPROTO_PURE=1``: import the pure build where a compiled one is installed.

Extension modules lie beside their sources under the same names, and Python finds them first. This
turns it round for our packages.
Tests: ``tests/core/test_pure.py``, ``tests/project/test_builds.py``.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["PureFinder", "install"]

_COMPILED_PACKAGES = ("wsproto_core", "wsproto_views", "wsproto_asyncio", "wsproto_threading")


class PureFinder:
    """A finder that knows sources only, for the packages that have compiled modules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The source file of a module of ours; ``None``, for the next finder, for all else."""
        package, _, module = name.partition(".")
        if package in _COMPILED_PACKAGES and module and path:
            for folder in path:
                source = Path(folder, f"{module.rpartition('.')[2]}.py")
                if source.is_file():
                    return spec_from_file_location(name, source)
        return None


def install(environment: Mapping[str, str]) -> None:
    """Prefer sources from here on, if ``environment`` asks for it."""
    if environment.get("WSPROTO_PURE", "0") not in ("", "0"):
        sys.meta_path.insert(0, PureFinder)
