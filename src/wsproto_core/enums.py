"""The vocabulary of the protocol: who we are, where we stand, what a frame carries.

Only enums live here. Nothing in this file knows another file of the package.
Tests: ``tests/core/test_enums.py``.
"""

from enum import Enum, IntEnum, unique
from typing import Final

__all__ = [
    "CONTROL_OPCODES",
    "DATA_OPCODES",
    "CloseCode",
    "OpCode",
    "Phase",
    "Role",
    "Transport",
    "is_usable_close_code",
]


@unique
class Role(Enum):
    """Which side of the connection we are. A client masks its frames, a server does not."""

    CLIENT = "client"
    SERVER = "server"


@unique
class Phase(Enum):
    """Where a connection stands. ``lifecycle.py`` says how it moves."""

    OPENING = "opening"
    """The request is on its way: the server reads it, the client waits for the answer."""

    DECIDING = "deciding"
    """Server only: a valid request waits for ``accept()`` or ``reject()``."""

    OPEN = "open"
    """Messages flow both ways."""

    CLOSE_SENT = "close_sent"
    """Our Close is out, the peer's is awaited; its messages are still delivered."""

    DRAINING = "draining"
    """Nothing more is said or heard; the peer's end of stream is awaited."""

    CLOSED = "closed"
    """Over. The ``Closed`` event has been queued."""


@unique
class OpCode(IntEnum):
    """What a frame carries (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


DATA_OPCODES: Final = frozenset({OpCode.CONTINUATION, OpCode.TEXT, OpCode.BINARY})
CONTROL_OPCODES: Final = frozenset({OpCode.CLOSE, OpCode.PING, OpCode.PONG})


class CloseCode(IntEnum):
    """Why a connection ends (RFC 6455 section 7.4 and the IANA registry).

    1004 is reserved and absent. 1005, 1006 and 1015 describe an ending to the local program and are
    never on the wire. 3000 to 3999 belong to libraries, 4000 to 4999 to applications; both may be
    sent and received as plain numbers.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015

    # The names that Duck gives to two of them.
    NO_STATUS_RCVD = 1005
    INVALID_DATA = 1007


_ON_THE_WIRE: Final = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
)


def is_usable_close_code(code: int) -> bool:
    """Whether ``code`` may stand in a Close frame, sent or received (RFC 6455 section 7.4).

    Assigned codes that are not for local use only, and 3000 to 4999. The unassigned rest up to 2999
    is kept for the protocol itself, so we refuse it (stricter than the RFC asks).
    """
    return 3000 <= code <= 4999 or code in _ON_THE_WIRE


@unique
class Transport(IntEnum):
    """What the connection wants of the byte stream below. A level, and it only ever rises."""

    OPEN = 0
    """Keep reading and writing."""

    SHUT_WRITE = 1
    """Write what is queued, then end our direction (half-close); keep reading."""

    CLOSE = 2
    """The peer is done too: write what is queued, then close."""

    ABORT = 3
    """Give up: drop what is queued and close now."""
