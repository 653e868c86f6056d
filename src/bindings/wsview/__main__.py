"""The entry point: ``wsview`` and ``python -m wsview``.

It imports nothing but the standard library until it knows that typer and rich are installed, so
that somebody who installed the library without them reads one line instead of a traceback.
"""

import importlib.util
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(  # noqa: T201
            f"wsview: error: {' and '.join(missing)} not installed;"
            " install them with: pip install 'wsproto-core[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from .cli import run  # noqa: PLC0415  # only now is it known that the import works

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
