"""Drawings as SVG, from stored results only; no library is needed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .cases import CASES, HIGHER_IS_BETTER, Case
from .tables import UNITS, figure

__all__ = ["Panel", "bars", "curves", "draw", "flame_graph", "write"]

FONT = "system-ui, sans-serif"
OURS, OTHERS, PALE = "#0b6e4f", "#9aa5b1", "#d9dee4"
CEILING = "raw TCP"
LINES = ("#0b6e4f", "#c1440e", "#33658a", "#86607c", "#6b7280")


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="{FONT}" font-size="12">\n'
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" fill="{colour}"/>'
    )


def _text(x: float, y: float, words: str, **style: str | int) -> str:
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words)}</text>'


# ------------------------------------------------------------------ bars


@dataclass(frozen=True)
class Panel:
    """One group of bars with a scale of its own."""

    title: str
    values: Mapping[str, float]
    ours: str
    """The bar that stands out."""
    more_is_better: bool


def bars(title: str, panels: Sequence[Panel]) -> str:
    """Draw horizontal bars, the best first, in two columns of panels.

    The scale is that of the peers: a longer bar of the raw echo is broken off.
    """
    column, label, row, gap = 380, 120, 18, 34
    parts = [_text(10, 20, title, font_size=15, font_weight="bold")]
    tops = [36.0, 36.0]
    for panel in panels:
        side = 0 if tops[0] <= tops[1] else 1
        x, y = 10 + side * column, tops[side] + 14
        parts.append(_text(x, y, panel.title, font_weight="bold"))
        longest = max(value for name, value in panel.values.items() if name != CEILING)
        ranked = sorted(panel.values.items(), key=lambda item: item[1])
        for name, value in reversed(ranked) if panel.more_is_better else ranked:
            y += row
            most = column - label - 80
            size = min(max(1.0, value / longest * most), most + 20)
            colour = OURS if name == panel.ours else PALE if name == CEILING else OTHERS
            weight = "bold" if name == panel.ours else "normal"
            parts += [
                _text(x + label - 6, y, name, text_anchor="end", font_weight=weight),
                _rect(x + label, y - 10, size, 12, colour),
                _text(x + label + size + 5, y, figure(value), font_weight=weight),
            ]
            if value / longest * most > size:
                parts.append(_rect(x + label + size - 12, y - 12, 4, 16, "#fff"))
        tops[side] = y + gap
    return _svg(2 * column + 10, max(tops) - gap + 16, parts)


# ------------------------------------------------------------------ curves


def curves(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, x_axis: str, y_axis: str
) -> str:
    """Draw lines on two logarithmic axes; points at 0 are left out."""
    width, height, left, right, top, bottom = 760.0, 380.0, 70.0, 180.0, 40.0, 50.0
    points = [point for line in lines.values() for point in line if point[0] > 0]
    low_x, high_x = (pick(math.log10(x) for x, _ in points) for pick in (min, max))
    low_y = math.floor(min(math.log10(y) for _, y in points))
    high_y = math.ceil(max(math.log10(y) for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        part_x = (math.log10(x) - low_x) / (high_x - low_x)
        part_y = (math.log10(y) - low_y) / (high_y - low_y)
        return (
            left + part_x * (width - left - right),
            height - bottom - part_y * (height - top - bottom),
        )

    parts = [_text(10, 20, title, font_size=15, font_weight="bold")]
    for power in range(low_y, high_y + 1):
        _, y = place(10**low_x, 10.0**power)
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#e5e7eb"/>')
        parts.append(_text(left - 6, y + 4, f"{10.0**power:,g}", text_anchor="end"))
    for power in range(math.ceil(low_x), math.floor(high_x) + 1):
        x, _ = place(10.0**power, 10.0**low_y)
        parts.append(f'<path d="M{x:.1f} {top}V{height - bottom}" stroke="#e5e7eb"/>')
        words = f"{10.0**power:,.0f}"
        parts.append(_text(x, height - bottom + 16, words, text_anchor="middle"))
    parts.append(_text((left + width - right) / 2, height - 12, x_axis, text_anchor="middle"))
    parts.append(_text(left, top - 6, y_axis, fill="#4b5563"))
    for index, (name, line) in enumerate(lines.items()):
        colour = LINES[index % len(LINES)]
        placed = [place(x, y) for x, y in line if x > 0]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        thick = 3 if index == 0 else 1.5
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{thick}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        y = top + 16 * (index + 1)
        parts.append(
            f'<path d="M{width - right + 14} {y - 4}h20" stroke="{colour}" stroke-width="{thick}"/>'
        )
        parts.append(_text(width - right + 40, y, name))
    return _svg(width, height, parts)


# ------------------------------------------------------------------ what the documents show

# The file's name; its title; the beginning of its cases' names; the figure.
GROUPS = (
    ("asyncio", "Echo on asyncio's loop: messages/s, ours = 1", "asyncio-", "messages_per_s"),
    ("uvloop", "Echo on uvloop: messages/s, ours = 1", "uvloop-", "messages_per_s"),
    ("trio", "Echo on trio: messages/s, ours = 1", "trio-", "messages_per_s"),
    ("anyio", "Echo on anyio's trio backend: messages/s, ours = 1", "anyio-", "messages_per_s"),
    ("threading", "Echo on threads: messages/s, ours = 1", "threading-", "messages_per_s"),
    ("tls", "Echo over TLS on asyncio: messages/s, ours = 1", "tls-", "messages_per_s"),
    ("deflate", "permessage-deflate echo: messages/s, ours = 1", "deflate-", "messages_per_s"),
    (
        "broadcast",
        "Broadcast to 1,000: CPU time per delivered message, ours = 1",
        "broadcast",
        "cpu_us_per_message",
    ),
    ("idle", "Memory of an idle connection, ours = 1", "idle", "bytes_per_connection"),
    ("handshake", "CPU time of a handshake, ours = 1", "idle", "cpu_us_per_handshake"),
)


def draw(results: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return all drawings that the stored results allow: SVG by the file's name."""
    drawn = {}
    for name, title, prefix, metric in GROUPS:
        panels = [
            _beside_ours(result, metric, _after_colon(result["title"]))
            for case, result in _in_order(results)
            if case.name.startswith(prefix)
        ]
        if panels:
            drawn[f"{name}.svg"] = bars(title, panels)
    if (result := results.get("sansio-32b")) is not None:
        drawn["sansio.svg"] = bars(
            "Sans-IO, 32 B: CPU time per message, ours = 1",
            [_beside_ours(result, metric, metric) for metric in result["metrics"]],
        )
    for case, result in _in_order(results):
        if case.steps:
            drawn[f"{case.name}.svg"] = curves(
                result["title"],
                {
                    who: [(float(step), items[step]["median"]) for step in result["metrics"]]
                    for who, items in result["figures"].items()
                },
                x_axis=case.axis,
                y_axis=UNITS[case.step_metric],
            )
    return drawn


def _in_order(results: Mapping[str, dict[str, Any]]) -> Iterator[tuple[Case, dict[str, Any]]]:
    for name, case in CASES.items():
        if name in results:
            yield case, results[name]


def _beside_ours(result: dict[str, Any], metric: str, title: str) -> Panel:
    """By the paired ratios: what the machine did meanwhile is not in them."""
    values = {result["ours"]: 1.0}
    more = metric in HIGHER_IS_BETTER
    for name, ratios in result["times_as_good"].items():
        ratio = ratios[metric]["median"]
        values[name] = 1 / ratio if more else ratio
    return Panel(title, values, result["ours"], more)


def write(drawn: Mapping[str, str], folder: Path) -> None:
    """Write the drawings, and remove those of other days."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, svg in drawn.items():
        (folder / name).write_text(svg, encoding="utf-8")


def _after_colon(title: str) -> str:
    return title.partition(": ")[2] or title


# ------------------------------------------------------------------ flame graph


@dataclass
class _Node:
    count: int
    below: "dict[str, _Node]"


def flame_graph(stacks: Mapping[str, int], title: str, *, width: int = 1200) -> str:
    """Draw folded stacks: the root at the bottom, a function as wide as its share of samples."""
    tree: dict[str, _Node] = {}
    total, depth, row = sum(stacks.values()), 0, 16
    for stack, count in stacks.items():
        level, frames = tree, stack.split(";")
        depth = max(depth, len(frames))
        for frame in frames:
            node = level.setdefault(frame, _Node(0, {}))
            node.count += count
            level = node.below
    height = (depth + 2) * row

    def boxes(level: dict[str, _Node], x: float, y: float) -> Iterator[str]:
        for frame, node in sorted(level.items()):
            share = node.count / total
            size = share * width
            if size >= 0.5:
                hue = 20 + sum(frame.encode()) % 40
                yield (
                    f"<g><title>{escape(frame)}: {share:.1%}</title>"
                    + _rect(x, y, size, row - 1, f"hsl({hue},80%,70%)")
                )
                if (fits := int(size / 6)) > 3:
                    yield _text(x + 2, y + 12, frame[:fits], font_size=10)
                yield "</g>"
                yield from boxes(node.below, x, y - row)
            x += size

    parts = [_text(4, 14, title, font_weight="bold"), *boxes(tree, 0, height - row)]
    return _svg(width, height, parts)
