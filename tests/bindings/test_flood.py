"""A sample of ``flood.py``: a peer that floods a view costs bounded memory, on every runtime."""

import sys

import pytest

from tests.bindings.flood import BOUND, measure
from tests.bindings.runtimes import RUNTIMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")

SAMPLE = [
    ("server", "pings", "unread"),
    ("client", "messages", "slow"),
    ("server", "endless", "unread"),
    ("client", "fragments", "slow"),
]


@pytest.mark.parametrize(
    ("name", "role", "flood", "cause"),
    [(name, *SAMPLE[number % len(SAMPLE)]) for number, name in enumerate(RUNTIMES)],
)
def test_a_flood_costs_the_water_marks_and_little_more(
    name: str, role: str, flood: str, cause: str
) -> None:
    """3 MB here; the command has 50 MB of each, and all combinations."""
    grown = measure(name, role, flood, cause, 3)
    assert grown <= BOUND, f"{grown / (1 << 20):.2f} MiB"
