"""A sample of the faults, and whether anything is noticed. ``make faults`` runs the whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bindings.runtimes import RUNTIMES
from tests.faults.calls import build, lacking

ROOT = Path(__file__).parents[2]
POINTS = 24  # of each role

pytestmark = pytest.mark.skipif(lacking() is not None, reason=f"needs what is here: {lacking()}")

LOSES_ONE_BYTE = """
import sys
from tests.faults.__main__ import main
from wsproto_threading.stream import Stream

def careless(self, receive=Stream.receive):
    data = receive(self)
    return None if data and len(data) == 1 else data

Stream.receive = careless
sys.exit(main())
"""


def run(program: list[str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *program, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "LD_PRELOAD": str(build()),
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("src", "src/bindings")),
        },
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_sample_of_faults(name: str) -> None:
    done = run(["-m", "tests.faults"], "--runtime", name, "--points", str(POINTS))
    assert done.returncode == 0, done.stdout + done.stderr
    # A point may be missed: not each run has as many awaits.
    points = [int(number) for number in re.findall(r"(\d+) points", done.stdout)]
    assert len(points) == 2
    assert min(points) > POINTS / 2, done.stdout


def test_a_binding_that_loses_a_byte_is_noticed() -> None:
    options = ["--runtime", "threads", "--role", "client", "--only", "read: short", "--points", "3"]
    done = run(["-c", LOSES_ONE_BYTE], *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "read: short, " in done.stdout, done.stdout  # where it was
    assert "none, " not in done.stdout  # without a fault all is well
