"""What the benchmarks say of their measurements: ratios, growth, turns, verdicts."""

import math

import pytest

from benchmarks.cases import CASES, Case, Contestant, Target, select
from benchmarks.measure import Measured, order
from benchmarks.stats import Spread, better_by, growth, spread
from benchmarks.store import record
from benchmarks.tables import exponents, lines, verdict


def test_the_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5, 1, 4, 2, 3]) == Spread(3, 2, 4, 5)
    assert spread([1, 2]) == Spread(1.5, 1.25, 1.75, 2)
    assert spread([7.0]) == Spread(7, 7, 7, 1)
    with pytest.raises(ValueError, match="at least one"):
        spread([])


def test_a_ratio_above_one_is_good_for_us_whatever_is_measured() -> None:
    assert better_by(200, 100, higher_is_better=True) == 2
    assert better_by(100, 200, higher_is_better=False) == 2
    with pytest.raises(ValueError, match="positive"):
        better_by(0, 1, higher_is_better=True)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_growth_finds_the_exponent(power: float) -> None:
    sizes = [0, 1, 10, 100, 1000, 10_000]
    costs = [3.0, *(3 * size**power for size in sizes[1:])]
    assert growth(sizes, costs) == pytest.approx(power)


def test_growth_is_not_fooled_by_a_fixed_cost() -> None:
    sizes = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]
    assert growth(sizes, [50 + 0.001 * size * size for size in sizes]) == pytest.approx(2, abs=0.05)


def test_growth_needs_three_points() -> None:
    with pytest.raises(ValueError, match="three sizes"):
        growth([0, 1, 2], [1, 1, 1])


def test_ours_stands_beside_every_peer() -> None:
    assert order(["a", "b", "c"], "ours") == [("a", "ours", "b"), ("c", "ours")]
    assert order([], "ours") == [("ours",)]


# ------------------------------------------------------------------ what is stored

CASE = Case(
    "view-small",
    "Made up",
    "wsload",
    (),
    (Contestant("wsproto-core"), Contestant("picows"), Contestant("websockets")),
    (
        Target("messages_per_s", 1.0, 3.0, "picows"),
        Target("cpu_us_per_message", 1.0, 1.9, "picows"),
        Target("cpu_us_per_message", 0.6, 0.3, "picows", difference=True),
        Target("cpu_us_per_message", 1.5, 0.5),
        Target("messages_per_s", 2.6, None, "picows"),
        Target("messages_per_s", None, 2.6, "picows"),
    ),
)


def measured() -> Measured:
    """Ours 100, 200, 300 messages; picows half of what ours had just before."""
    return Measured(
        runs={
            "wsproto-core": [
                {"messages_per_s": float(value), "cpu_us_per_message": 1.0}
                for value in (100, 200, 300)
            ],
            "picows": [
                {"messages_per_s": value / 2, "cpu_us_per_message": 2.0}
                for value in (100, 200, 300)
            ],
        },
        pairs={"picows": [(0, 0), (1, 1), (2, 2)]},
        versions={"wsproto-core": {}, "picows": {"picows": "1"}},
        missing={"websockets": "it failed: why"},
    )


def test_a_pair_is_compared_and_not_the_medians() -> None:
    runs = measured()
    runs.pairs["picows"] = [(0, 2), (1, 2), (2, 2)]  # 100, 200, 300 against 150
    ratio = record(CASE, runs, seconds=1, rounds=3)["times_as_good"]["picows"]["messages_per_s"]
    assert ratio["median"] == pytest.approx(200 / 150)
    assert ratio["low"] == pytest.approx((100 / 150 + 200 / 150) / 2)


def test_the_record_has_what_the_documents_need() -> None:
    result = record(CASE, measured(), seconds=1, rounds=3)
    assert result["times_as_good"]["picows"] == {
        "messages_per_s": {"median": 2, "low": 2, "high": 2, "count": 3},
        "cpu_us_per_message": {"median": 2, "low": 2, "high": 2, "count": 3},
    }
    assert result["ours_minus_theirs"]["picows"]["cpu_us_per_message"]["median"] == -1
    assert result["figures"]["wsproto-core"]["messages_per_s"]["median"] == 200
    assert result["missing"] == {"websockets": "it failed: why"}
    assert result["settings"]["servers"]["picows"]["versions"] == {"picows": "1"}
    assert result["settings"]["servers"]["picows"]["words"]
    assert set(result["environment"]) == {
        "python",
        "implementation",
        "build",
        "commit",
        "system",
        "machine",
        "openssl",
        "zlib",
    }


def test_the_verdicts_name_must_and_aim() -> None:
    result = record(CASE, measured(), seconds=1, rounds=3)
    assert [verdict(target, result) for target in CASE.targets] == [
        "must reached (must 1, aim 3)",
        "aim reached (must 1, aim 1.9)",
        "aim reached (must 0.6, aim 0.3; ours takes -1 more)",
        "must reached (must 1.5, aim 0.5)",
        "BEHIND (must 2.6)",
        "below the aim (aim 2.6)",
    ]


def test_a_peer_that_could_not_be_measured_has_no_verdict() -> None:
    result = record(CASE, measured(), seconds=1, rounds=3)
    for target in CASE.targets:
        if target.peer:
            del result["figures"][target.peer]
            assert verdict(target, result).startswith("not measured (")
            break


def test_the_table_tells_what_is_missing() -> None:
    text = "\n".join(lines(record(CASE, measured(), seconds=1, rounds=3)))
    assert "ours 2.00 times as good (2.00 to 2.00)" in text
    assert "websockets is missing: it failed: why" in text


def test_a_curve_over_connections_counts_a_round_of_them_all() -> None:
    case = CASES["growth-connections"]
    flat = {"median": 5.0}
    result = {
        "case": case.name,
        "metrics": list(case.metrics),
        "figures": {"wsproto-core": dict.fromkeys(case.metrics, flat)},
    }
    assert exponents(result)["wsproto-core"] == pytest.approx(1)


# ------------------------------------------------------------------ the cases


def test_cases_are_selected_by_the_beginning_of_their_names() -> None:
    assert [case.name for case in select(["asyncio-small", "tls-l"])] == [
        "asyncio-small",
        "tls-lat",
    ]
    assert len(select([])) == len(CASES)
    with pytest.raises(ValueError, match="got 'nothing'"):
        select(["nothing"])


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_a_target_names_a_contestant_and_a_metric_of_its_case(case: Case) -> None:
    names = [contestant.name for contestant in case.contestants]
    assert len(set(names)) == len(names)
    for target in case.targets:
        assert target.peer in {"", *names[1:]}
        assert target.metric in case.metrics
        assert target.must is not None or target.aim is not None
        for limit in (target.must, target.aim):
            assert limit is None or math.isfinite(limit)
    assert set(case.steps) in (set(), set(case.metrics))
