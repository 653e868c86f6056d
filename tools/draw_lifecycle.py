#!/usr/bin/env python3
"""Draw ``docs/lifecycle.md`` from the table of ``wsproto_core.lifecycle``.

Run it after a change of the table: ``python tools/draw_lifecycle.py``.
Test: ``tests/core/test_lifecycle.py`` (the page is current).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))

from wsproto_core.enums import Phase  # noqa: E402
from wsproto_core.lifecycle import TABLE, Action, Input  # noqa: E402

PAGE = ROOT / "docs" / "lifecycle.md"

HEAD = """\
# The life of a connection

<!-- Drawn by tools/draw_lifecycle.py from src/wsproto_core/lifecycle.py. Change that, run it. -->

A `Connection` is in one of six phases, and one table says how it moves: which input is possible in
which phase, the phase that follows, and what is done. There is no other place where a phase
changes. What is not in the table is not allowed: a command raises `LocalProtocolError`, or
`ConnectionClosed` where it came too late.
"""

LIMITS = """\
## What the drawing cannot show

* **An ending waits for its turn.** In `OPEN` the peer's Close, its broken rule and its end of
  stream are latched first. They become an input of this table when everything that the peer sent
  before was handed out and answered, or after `close_timeout` at the latest. Several may wait; they
  are applied one after another, the end of the stream last.
* **One event can be several inputs.** `fail()` before the connection is open is `late`; so is
  `abort()` in any phase. Which deadline `late` was, and whom it blames, is in `Closed.error`.
* **Roles.** `DECIDING`, `request`, `refused`, `accept` and `reject` are the server's; `response`
  and `failed` are the client's. `end_writing` does nothing in a client, which lets the server
  close TCP first.
* **Order on the wire.** `close` still writes what is queued, `abort` drops it. `SHUT_WRITE` and
  `CLOSE` of `Transport` are levels; the driver reaches them after the output.
* **Time.** The timers that run in a phase are not drawn: `open` in `OPENING` and `DECIDING`, the
  heartbeat and `receive` in `OPEN`, `hooks` while an ending waits, `close` from the first Close on
  (in `CLOSED` only while the transport still holds bytes: that is its row `late`), and `send`
  whenever the peer takes nothing. Their rules are in `timers.py` and `connection.py`.
* **Pings.** A ping is answered in `OPEN` and in `CLOSE_SENT`, up to the peer's Close.
* **Hooks.** When a view's hooks run is the business of `session.py`, not of this table.
"""


def draw() -> str:
    """The whole page."""
    return f"{HEAD}\n{_diagram()}\n{_phases()}\n{_table()}\n{_words()}\n{LIMITS}"


def _diagram() -> str:
    """A state diagram: one arrow for all inputs with the same two ends."""
    arrows: dict[tuple[Phase, Phase], list[Input]] = {}
    for (phase, what), (after, _) in TABLE.items():
        if phase is not after:
            arrows.setdefault((phase, after), []).append(what)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> OPENING"]
    for (phase, after), inputs in arrows.items():
        names = ", ".join(what.value for what in inputs)
        lines.append(f"    {phase.name} --> {after.name}: {names}")
    return "\n".join([*lines, "    CLOSED --> [*]", "```", ""])


def _phases() -> str:
    return "\n".join(["## The phases", "", *_meanings(Phase), ""])


def _table() -> str:
    """Every row; an input that changes nothing and does nothing is one line for its phase."""
    lines = [
        "## The table",
        "",
        "| phase | input | next phase | what follows |",
        "|---|---|---|---|",
    ]
    for phase in Phase:
        silent = []
        for (at, what), (after, actions) in TABLE.items():
            if at is not phase:
                continue
            if after is phase and not actions:
                silent.append(what.value)
            else:
                does = ", ".join(action.value for action in actions) or "-"
                lines.append(f"| {phase.name} | {what.value} | {after.name} | {does} |")
        if silent:
            lines.append(f"| {phase.name} | {', '.join(silent)} | {phase.name} | - |")
    return "\n".join([*lines, ""])


def _words() -> str:
    return "\n".join(
        ["## The inputs", "", *_meanings(Input), "", "## What follows", "", *_meanings(Action), ""]
    )


def _meanings(kind: type[Phase] | type[Input] | type[Action]) -> list[str]:
    """Each member with the string that stands below it in the source."""
    module = "enums" if kind is Phase else "lifecycle"
    source = (ROOT / "src" / "wsproto_core" / f"{module}.py").read_text(encoding="utf-8")
    lines = []
    for member in kind:
        name = member.name if kind is Phase else member.value
        text = source.partition(f'\n    {member.name} = "{member.value}"\n    """')[2]
        text = " ".join(text.partition('"""')[0].split()).replace("``", "`")
        lines.append(f"* **{name}**: {text}")
    return lines


if __name__ == "__main__":
    PAGE.write_text(draw(), encoding="utf-8")
