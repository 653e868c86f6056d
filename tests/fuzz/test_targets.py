"""The fuzz targets, for a short time, under Hypothesis; ``python -m fuzz`` runs them for longer."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.engines import mutate
from fuzz.harness import NAMES, load, run_one
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
