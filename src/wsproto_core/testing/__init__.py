"""The kit that this library is tested with, for your tests: no socket, no clock, no loop.

``Pair`` joins two connections; ``ScriptedPeer`` plays the other side from a list; ``run_view`` and
``SessionDriver`` run a view by hand, so that it can be fuzzed; ``Recorder`` and ``replay`` turn
what happened into a test. The Hypothesis strategies are in ``wsproto_core.testing.strategies``,
which needs Hypothesis; the rest needs nothing. Examples: ``docs/reference/testing.md``.
"""

from .drive import Cancelled, SessionDriver, ViewRun, run_view, sleep
from .frames import (
    KEY,
    WireFrame,
    binary,
    close,
    continuation,
    encode_frames,
    parse_frames,
    ping,
    pong,
    text,
)
from .pair import Cut, End, Pair, React, accept_all, by_bytes, by_size, whole
from .record import Difference, Recorder, replay
from .script import (
    Eof,
    Expect,
    ExpectEnd,
    ExpectNothing,
    Reset,
    Say,
    ScriptedPeer,
    Step,
    Wait,
)

__all__ = [
    "KEY",
    "Cancelled",
    "Cut",
    "Difference",
    "End",
    "Eof",
    "Expect",
    "ExpectEnd",
    "ExpectNothing",
    "Pair",
    "React",
    "Recorder",
    "Reset",
    "Say",
    "ScriptedPeer",
    "SessionDriver",
    "Step",
    "ViewRun",
    "Wait",
    "WireFrame",
    "accept_all",
    "binary",
    "by_bytes",
    "by_size",
    "close",
    "continuation",
    "encode_frames",
    "parse_frames",
    "ping",
    "pong",
    "replay",
    "run_view",
    "sleep",
    "text",
    "whole",
]
