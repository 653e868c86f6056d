#!/usr/bin/env python3
"""Draw ``docs/life-of-a-view.svg``: what a server's view does while its peer talks.

The tables below are the picture. Run it after a change of them: ``python tools/draw_timeline.py``.
Test: ``tests/docs/test_life.py`` (the picture is current, and its hooks are those of the page's
program, in their order).
"""

from pathlib import Path

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "life-of-a-view.svg"

# Places on the axis of time; they have no unit.
STATES = [
    ("INITIATING", 2.0, 15.0),
    ("INITIATED", 15.0, 22.0),
    ("OPEN", 22.0, 101.5),
    ("CLOSING", 101.5, 111.5),
    ("CLOSED", 111.5, 124.0),
]
PEER = [
    ("request", 3.0),
    ("“a”", 26.0),
    ("ping", 32.0),
    ("“b”", 38.0),
    ("pong", 77.0),
    ("“c”", 88.0),
    ("Close", 93.0),
    ("end", 110.0),
]
HOOKS = [
    ("on_request", 4.0, 14.0, 1),
    ("on_open", 22.0, 40.0, 2),
    ("on_text a", 41.0, 50.0, 3),
    ("on_ping", 51.0, 59.0, 3),
    ("on_text b", 60.0, 69.0, 3),
    ("on_pong", 77.5, 85.5, 4),
    ("on_text c", 88.5, 99.5, 5),
    ("on_close", 112.0, 121.5, 6),
]
OURS = [
    ("101", 15.0),
    ("pong", 33.0),
    ("“A”", 49.5),
    ("“B”", 68.5),
    ("ping", 74.0),
    ("“C”", 97.0),
    ("Close", 101.5),
    ("end", 106.5),
]
# From what the peer sends to the hook or the answer that it causes.
CAUSES = [
    (3.0, "hooks", 4.0),
    (26.0, "hooks", 41.0),
    (32.0, "ours", 33.0),
    (32.0, "hooks", 51.0),
    (38.0, "hooks", 60.0),
    (77.0, "hooks", 77.5),
    (88.0, "hooks", 88.5),
    (93.0, "ours", 101.5),
    (110.0, "hooks", 112.0),
]

LEFT, SCALE, WIDTH, HEIGHT = 96.0, 8.4, 1160, 300
ROWS = {"state": 50.0, "peer": 105.0, "hooks": 165.0, "ours": 235.0}
COLOURS = {"OPEN": "#cfe8d5", "CLOSED": "#e4e7eb"}
TITLES = {
    "state": "view.state",
    "peer": "peer sends",
    "hooks": "hooks run",
    "ours": "we send",
}


def at(place: float) -> float:
    return LEFT + place * SCALE


def text(x: float, y: float, words: str, *, anchor: str = "middle", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{words}</text>'


def box(left: float, right: float, y: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{at(left):g}" y="{y:g}" width="{(right - left) * SCALE:g}" height="{height:g}" '
        f'fill="{fill}" stroke="#52606d"/>'
    )


def draw() -> str:
    """The whole picture."""
    title = "A server's view, from its request to on_close"
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    parts.append(text(8, 20, title, anchor="start", bold=True))
    parts += [text(8, y + 5, TITLES[row], anchor="start") for row, y in ROWS.items()]
    for start, row, end in CAUSES:
        y = ROWS[row] - (16 if row == "hooks" else 8)
        parts.append(
            f'<path d="M{at(start):g} {ROWS["peer"] + 9:g} L{at(end):g} {y:g}" fill="none" '
            'stroke="#9aa5b1" stroke-dasharray="3 3"/>'
        )
    for name, left, right in STATES:
        parts.append(box(left, right, ROWS["state"] - 12, 24, COLOURS.get(name, "#fdf0d5")))
        if name != "INITIATED":
            parts.append(text(at((left + right) / 2), ROWS["state"] + 5, name))
    parts.append(text(at(18.5), ROWS["state"] + 26, "INITIATED"))
    for name, place in PEER:
        parts.append(text(at(place), ROWS["peer"] + 5, name))
    for name, left, right, note in HOOKS:
        parts.append(box(left, right, ROWS["hooks"] - 14, 28, "#d6e4f7"))
        parts.append(text(at((left + right) / 2), ROWS["hooks"] + 4, name))
        parts.append(text(at((left + right) / 2), ROWS["hooks"] + 28, f"({note})"))
    for name, place in OURS:
        parts.append(text(at(place), ROWS["ours"] + 5, name))
    parts.append(
        f'<path d="M{at(2):g} 262 H{at(124):g} m-8 -4 l8 4 l-8 4" fill="none" stroke="#52606d"/>'
    )
    parts.append(text(at(124), 282, "time", anchor="end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
