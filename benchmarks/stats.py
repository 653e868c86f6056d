"""Paired ratios: what is compared was measured one after the other, so drift meets both."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Spread", "better_by", "growth", "spread"]


@dataclass(frozen=True)
class Spread:
    """The middle of some values and how far they lie apart."""

    median: float
    low: float
    """The lower quartile: half of the values lie between it and ``high``."""
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of ``values``."""
    if not values:
        raise ValueError("expected at least one value")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def better_by(ours: float, theirs: float, *, higher_is_better: bool) -> float:
    """How many times as good ``ours`` is: 2.0 is twice the messages, or half the time."""
    if ours <= 0 or theirs <= 0:
        raise ValueError(f"expected positive measurements, got {ours} and {theirs}")
    return ours / theirs if higher_is_better else theirs / ours


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent with which cost grows: 1 is linear, 2 quadratic.

    A line is fitted (least squares) through the logarithms of the larger half of the points, where
    a fixed cost no longer hides the growth.
    """
    points = sorted(
        (math.log(size), math.log(cost))
        for size, cost in zip(sizes, costs, strict=True)
        if size > 0
    )
    points = points[-max(3, (len(points) + 1) // 2) :]
    if len(points) < 3:
        raise ValueError(f"expected at least three sizes above 0, got {len(points)}")
    return statistics.linear_regression(*zip(*points, strict=True)).slope
