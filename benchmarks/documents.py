"""Puts stored results into pages: the part between ``<!-- bench: NAME -->`` and the next
``<!-- bench end -->`` is written here and never by hand.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .cases import CASES, Case
from .peers import PEERS, ROOT
from .tables import exponents, figure, label, verdict

__all__ = ["PAGES", "PLOTS", "filled"]

PAGES = (ROOT / "docs" / "performance.md", ROOT / "benchmarks" / "README.md")
PLOTS = ROOT / "docs" / "plots"

_BLOCK = re.compile(r"(<!-- bench: ([a-z ]+) -->\n).*?(<!-- bench end -->)", re.DOTALL)

Results = Mapping[str, dict[str, Any]]


def filled(page: str, results: Results) -> str:
    """Return the text of a page with its blocks written anew."""

    def write(match: re.Match[str]) -> str:
        kind, _, argument = match[2].partition(" ")
        lines = [line + "\n" for line in _KINDS[kind](argument, results)]
        return "".join([match[1], *lines, match[3]])

    return _BLOCK.sub(write, page)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _of(prefix: str, results: Results) -> Iterator[tuple[Case, dict[str, Any]]]:
    """The results whose case begins so, in the order of the cases."""
    for name, case in CASES.items():
        if name.startswith(prefix) and name in results:
            yield case, results[name]


def settings(_: str, results: Results) -> Iterator[str]:
    """Who is measured, and how it is set up."""
    yield _row(["who", "script", "settings"])
    yield "|---|---|---|"
    for peer in PEERS.values():
        script = peer.script if peer.script.endswith(".mjs") else f"{peer.script}.py"
        yield _row([peer.name, f"`servers/{script}`" if peer.script else "", peer.settings])


def targets(_: str, results: Results) -> Iterator[str]:
    """Everything that must be reached, and whether it is."""
    yield _row(["case", "against", "what", "must", "aim", "measured", ""])
    yield "|---|---|---|---|---|---|---|"
    for case, result in _of("", results):
        for target in case.targets:
            if target.difference:
                found = result["ours_minus_theirs"].get(target.peer)
                value = figure(found[target.metric]["median"]) + " more" if found else "missing"
            elif target.peer:
                found = result["times_as_good"].get(target.peer)
                value = _ratio(found[target.metric]) if found else "missing"
            else:
                value = figure(result["figures"][result["ours"]][target.metric]["median"])
            limits = ["" if limit is None else figure(limit) for limit in (target.must, target.aim)]
            word = verdict(target, result).partition(" (")[0]
            what = label(case, target.metric)
            yield _row([case.name, target.peer, what, *limits, value, word])


def ratios(prefix: str, results: Results) -> Iterator[str]:
    """The medians of each case and, in brackets below them, how many times as good ours is."""
    for case, result in _of(prefix, results):
        yield f"**{result['title']}** ({result['environment']['build']} build)"
        yield ""
        names = list(result["figures"])
        yield _row(["", *names])
        yield "|---" * (len(names) + 1) + "|"
        for metric in result["metrics"]:
            cells = [label(case, metric)]
            for name in names:
                cell = figure(result["figures"][name][metric]["median"])
                if name != result["ours"]:
                    cell += f"; {result['times_as_good'][name][metric]['median']:.2f}"
                cells.append(cell)
            yield _row(cells)
        yield ""


def growth(_: str, results: Results) -> Iterator[str]:
    """The exponents of the curves."""
    yield _row(["curve", "exponent of the total cost (1 is linear)"])
    yield "|---|---|"
    for case, result in _of("growth-", results):
        found = exponents(result)
        words = ", ".join(f"{name} {exponent:.2f}" for name, exponent in found.items())
        yield _row([f"[{case.title}](plots/{case.name}.svg)", words])


def machine(_: str, results: Results) -> Iterator[str]:
    """On what it was measured, and with which versions."""
    environments = {tuple(sorted(item["environment"].items())) for item in results.values()}
    versions: dict[str, str] = {}
    for result in results.values():
        for server in result["settings"]["servers"].values():
            versions |= server["versions"]
    for environment in sorted(environments):
        yield "- " + ", ".join(f"{name} {value}" for name, value in environment)
    if versions:
        yield "- " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def plot(name: str, results: Results) -> Iterator[str]:
    """A drawing, if there is one."""
    if (PLOTS / f"{name.replace(' ', '-')}.svg").exists():
        yield f"![{name}](plots/{name.replace(' ', '-')}.svg)"


_KINDS: Mapping[str, Callable[[str, Results], Iterator[str]]] = {
    "settings": settings,
    "targets": targets,
    "ratios": ratios,
    "growth": growth,
    "machine": machine,
    "plot": plot,
}
