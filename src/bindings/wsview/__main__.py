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
    if not all(importlib.util.find_spec(name) for name in ("typer", "rich")):
        print(  # noqa: T201
            "wsview: error: the command line needs typer and rich: pip install 'wsproto-core[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from .cli import run  # noqa: PLC0415  # only now is it known that the import works

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
