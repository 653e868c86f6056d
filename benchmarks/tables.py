"""Results as text: the ratios beside what they must be."""

from collections.abc import Iterator
from typing import Any

from .cases import CASES, Case, Target
from .stats import growth

__all__ = ["exponents", "figure", "label", "lines", "verdict"]

UNITS = {
    "messages_per_s": "messages/s",
    "cpu_us_per_message": "CPU µs/message",
    "handshakes_per_s": "handshakes/s",
    "cpu_us_per_handshake": "CPU µs/handshake",
    "bytes_per_connection": "bytes/connection",
}


def figure(value: float) -> str:
    """Three digits, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(target: Target, result: dict[str, Any]) -> str:
    """Return how ours stands to a target, in words."""
    limits = ", ".join(
        f"{name} {figure(value)}"
        for name, value in (("must", target.must), ("aim", target.aim))
        if value is not None
    )
    if target.peer and target.peer not in result["figures"]:
        return f"not measured ({limits})"
    if not target.peer:
        value = -result["figures"][result["ours"]][target.metric]["median"]
    elif target.difference:
        value = -result["ours_minus_theirs"][target.peer][target.metric]["median"]
        limits += f"; ours takes {figure(-value)} more"
    else:
        value = result["times_as_good"][target.peer][target.metric]["median"]
    return f"{_word(target, value)} ({limits})"


def _word(target: Target, value: float) -> str:
    sign = -1 if target.difference or not target.peer else 1
    if target.aim is not None and value >= sign * target.aim:
        return "aim reached"
    if target.must is not None and value >= sign * target.must:
        return "must reached"
    return "BEHIND" if target.must is not None else "below the aim"


def label(case: Case, metric: str) -> str:
    """Return what a metric of a case is called, with its unit."""
    if metric in UNITS:
        return UNITS[metric]
    if case.steps:
        return f"{metric} {case.axis}: {UNITS[case.step_metric]}"
    return f"{metric}: CPU µs/message"


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the table of a case: a line for each metric and contestant."""
    case = CASES[result["case"]]
    ours = result["ours"]
    yield f"{result['case']}: {result['title']} ({result['environment']['build']} build)"
    for metric in result["metrics"]:
        yield f"  {label(case, metric)}"
        for name, figures in result["figures"].items():
            row = f"    {name:20}{figure(figures[metric]['median']):>12}"
            if name != ours:
                ratio = result["times_as_good"][name][metric]
                row += f"   ours {ratio['median']:.2f} times as good"
                row += f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
            for target in case.targets:
                if target.metric == metric and (target.peer or ours) == name:
                    row += f"; {verdict(target, result)}"
            yield row
    if case.steps:
        for name, exponent in exponents(result).items():
            yield f"  {name}: total cost grows with {case.axis} to the power of {exponent:.2f}"
    for name, why in result["missing"].items():
        yield f"  {name} is missing: {why}"


def exponents(result: dict[str, Any]) -> dict[str, float]:
    """Return for a curve the exponent of growth of each contestant."""
    case = CASES[result["case"]]
    found = {}
    for name, figures in result["figures"].items():
        steps = [float(step) for step in result["metrics"]]
        costs = [figures[step]["median"] for step in result["metrics"]]
        if case.axis == "connections":  # a round of all of them
            costs = [cost * step for step, cost in zip(steps, costs, strict=True)]
        found[name] = growth(steps, costs)
    return found
