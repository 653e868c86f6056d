"""THE table: what may happen in which phase, and what follows (RFC 6455 sections 4 and 7).

It is data. ``connection.py`` feeds it inputs and carries out the actions; it has no other place
where a phase changes. Not in the table means not allowed: for a command of the application that is
the caller's error, for a frame of the peer it cannot happen, because frames are read in ``OPEN``
and ``CLOSE_SENT`` only. This file knows ``enums.py`` and nothing else.

How a connection ends, in short. Whoever starts sends a Close and waits for the other's. When both
went through, the server closes TCP first: it ends its direction (half-close) and reads to the end,
so that its last bytes are not lost to a reset (section 7.1.1). A client waits for that, for at most
``close_timeout``. A connection that fails (section 7.1.7) sends its Close and goes straight to
``DRAINING``: nothing the peer says counts any more. ``docs/lifecycle.md`` is drawn from this table.

Tests: ``tests/core/test_lifecycle.py`` walks every phase and every input.
"""

from enum import Enum, unique
from typing import Final, TypeAlias

from .enums import Phase

__all__ = ["TABLE", "Action", "Input"]


@unique
class Input(Enum):
    """What can happen to a connection."""

    REQUEST = "request"
    """Server: a complete and valid request head."""

    REFUSED = "refused"
    """Server: a request that cannot become a WebSocket."""

    RESPONSE = "response"
    """Client: the 101, checked."""

    FAILED = "failed"
    """Client: any other answer, or a 101 that does not fit."""

    LACKING = "lacking"
    """Client: a good 101 that lacks an extension which the application cannot do without."""

    ACCEPT = "accept"
    """Server: the application takes the request."""

    REJECT = "reject"
    """Server: the application refuses it."""

    SEND_CLOSE = "send_close"
    """The application closes."""

    RECV_CLOSE = "recv_close"
    """The peer's Close frame."""

    FAULT = "fault"
    """The connection must fail: a broken rule, a failed hook, a missed heartbeat."""

    EOF = "eof"
    """The peer ended its direction of the stream."""

    LATE = "late"
    """A deadline passed that nothing can save: open, send or close timeout."""

    LOST = "lost"
    """The stream is gone in both directions, such as by a reset."""


@unique
class Action(Enum):
    """What follows, in the order given."""

    START = "start"
    """Emit ``Opened``; the heartbeat and the receive timeout begin."""

    WRITE_CLOSE = "write_close"
    """Queue our Close frame: the application's code, the peer's echoed, or that of the fault."""

    STOP_HEARTBEAT = "stop_heartbeat"
    """No more pings; silence is judged by the close timeout alone."""

    AWAIT_PEER = "await_peer"
    """Start the close timeout."""

    END_WRITING = "end_writing"
    """Server: end our direction of the stream after what is queued. Client: nothing (it lets the
    server close first)."""

    CLOSE = "close"
    """Close the stream after what is queued."""

    ABORT = "abort"
    """Drop what is queued and close the stream now."""

    FINISH = "finish"
    """Emit ``Closed``; stop all timers."""


Row: TypeAlias = tuple[Phase, tuple[Action, ...]]

_LEAVE_OPEN: Final = (Action.WRITE_CLOSE, Action.STOP_HEARTBEAT, Action.AWAIT_PEER)

TABLE: Final[dict[tuple[Phase, Input], Row]] = {
    # The opening handshake.
    (Phase.OPENING, Input.REQUEST): (Phase.DECIDING, ()),
    (Phase.OPENING, Input.REFUSED): (Phase.DRAINING, (Action.AWAIT_PEER, Action.END_WRITING)),
    (Phase.OPENING, Input.RESPONSE): (Phase.OPEN, (Action.START,)),
    (Phase.OPENING, Input.FAILED): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.OPENING, Input.LACKING): (
        Phase.DRAINING,
        (Action.WRITE_CLOSE, Action.AWAIT_PEER, Action.END_WRITING),
    ),
    (Phase.OPENING, Input.SEND_CLOSE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.OPENING, Input.LATE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.OPENING, Input.EOF): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.OPENING, Input.LOST): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.DECIDING, Input.ACCEPT): (Phase.OPEN, (Action.START,)),
    (Phase.DECIDING, Input.REJECT): (Phase.DRAINING, (Action.AWAIT_PEER, Action.END_WRITING)),
    (Phase.DECIDING, Input.SEND_CLOSE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.DECIDING, Input.LATE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.DECIDING, Input.EOF): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.DECIDING, Input.LOST): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    # Open.
    (Phase.OPEN, Input.SEND_CLOSE): (Phase.CLOSE_SENT, _LEAVE_OPEN),
    (Phase.OPEN, Input.RECV_CLOSE): (Phase.DRAINING, (*_LEAVE_OPEN, Action.END_WRITING)),
    (Phase.OPEN, Input.FAULT): (Phase.DRAINING, (*_LEAVE_OPEN, Action.END_WRITING)),
    (Phase.OPEN, Input.LATE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.OPEN, Input.EOF): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.OPEN, Input.LOST): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    # We closed first: the peer's messages still count until its Close.
    (Phase.CLOSE_SENT, Input.SEND_CLOSE): (Phase.CLOSE_SENT, ()),
    (Phase.CLOSE_SENT, Input.RECV_CLOSE): (Phase.DRAINING, (Action.END_WRITING,)),
    (Phase.CLOSE_SENT, Input.FAULT): (Phase.DRAINING, (Action.END_WRITING,)),
    (Phase.CLOSE_SENT, Input.LATE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.CLOSE_SENT, Input.EOF): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.CLOSE_SENT, Input.LOST): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    # Nothing counts any more but the end of the stream.
    (Phase.DRAINING, Input.SEND_CLOSE): (Phase.DRAINING, ()),
    (Phase.DRAINING, Input.RECV_CLOSE): (Phase.DRAINING, ()),
    (Phase.DRAINING, Input.FAULT): (Phase.DRAINING, ()),
    (Phase.DRAINING, Input.LATE): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    (Phase.DRAINING, Input.EOF): (Phase.CLOSED, (Action.CLOSE, Action.FINISH)),
    (Phase.DRAINING, Input.LOST): (Phase.CLOSED, (Action.ABORT, Action.FINISH)),
    # Over: late news is no news.
    (Phase.CLOSED, Input.SEND_CLOSE): (Phase.CLOSED, ()),
    (Phase.CLOSED, Input.RECV_CLOSE): (Phase.CLOSED, ()),
    (Phase.CLOSED, Input.FAULT): (Phase.CLOSED, ()),
    (Phase.CLOSED, Input.LATE): (Phase.CLOSED, (Action.ABORT,)),  # the peer takes nothing more
    (Phase.CLOSED, Input.EOF): (Phase.CLOSED, ()),
    (Phase.CLOSED, Input.LOST): (Phase.CLOSED, ()),
}
"""``(phase, input) -> (next phase, actions)``."""
