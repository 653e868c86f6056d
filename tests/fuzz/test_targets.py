"""The fuzz targets, for a short time, under Hypothesis; ``python -m fuzz`` runs them for longer."""

import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.engines import mutate
from fuzz.harness import NAMES, load, run_one
from fuzz.targets import deflate_payloads
from wsproto_core.testing.strategies import hostile


@pytest.mark.parametrize("name", NAMES)
def test_every_target_says_what_holds_and_what_is_allowed(name: str) -> None:
    target = load(name)
    words = target.__doc__ or ""
    assert "\nInvariant: " in words
    assert "\nAllowed exceptions: " in words


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_hold(name: str) -> None:
    target = load(name)
    outcomes = {run_one(target, data) for data in target.SEEDS}
    assert len(outcomes) > 5, "the seeds all do the same"
    run_one(target, b"")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_near_the_seeds_holds(name: str) -> None:
    target = load(name)

    @settings(
        max_examples=120,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(hostile(target.SEEDS, tokens=target.TOKENS) | st.binary(max_size=80))
    def check(data: bytes) -> None:
        run_one(target, data)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_mutations_hold(name: str) -> None:
    target = load(name)
    chooser = random.Random(name)
    for _ in range(150):
        data, other = chooser.choice(target.SEEDS), chooser.choice(target.SEEDS)
        run_one(target, mutate(data, other, target.TOKENS, chooser))


def test_a_distance_over_the_window_may_depend_on_the_cut() -> None:
    """Found by deflate_payloads: taken whole, refused in pieces. Allowed for that reason only."""
    data = bytes.fromhex(
        "469b050072ecc13101000000c2a0f54f6d0d0fa00000000000000000000000000d0fa00000000000000000"
        "00004c2b494c2b492d02006162636162636162636162636162636162636162636162636162636162636162"
        "630000"
    )
    run_one(load("deflate_payloads"), data)
    noise = random.Random(0).randbytes(600)
    for far in (512, 513):
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        message = deflater.compress(noise[:far] + noise[:far]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert deflate_payloads._is_too_far(message, b"", 9) is (far > 512)
        assert deflate_payloads._is_too_far(message, noise, 10) is False
