"""A sans-IO WebSocket protocol state machine: bytes and time in, events and bytes out.

Start at ``Connection``; ``docs/design.md`` is the theory of operation. The per-runtime views are in
``wsproto_asyncio`` and its siblings.
"""

import os

from . import _pure

_pure.install(os.environ)

from . import framing
from .config import Config
from .connection import Buffer, Connection
from .enums import (
    CONTROL_OPCODES,
    DATA_OPCODES,
    CloseCode,
    OpCode,
    Phase,
    Role,
    Transport,
    is_usable_close_code,
)
from .errors import (
    ConnectionClosed,
    ExtensionError,
    HandshakeError,
    HookError,
    LocalProtocolError,
    PayloadTooBig,
    PeerTimeout,
    ProtocolError,
    WebSocketError,
)
from .events import (
    Agreement,
    Chunk,
    Close,
    Closed,
    Event,
    ExtensionNegotiated,
    HttpRequest,
    Message,
    Offer,
    Opened,
    Ping,
    Pong,
    Refused,
    Request,
)
from .extensions.base import Agreed, Codec, Extension
from .frames import Frame
from .headers import Headers, RequestHead, Response
from .outgoing import PreparedMessage
from .session import Accept, Call, CallKind, Hooks, Session, Target
from .uri import InvalidUri, Uri, parse_uri

COMPILED = not framing.__file__.endswith(".py")
"""Whether the compiled build is in use; ``WSPROTO_PURE=1`` in the environment prevents it."""

__version__ = "0.1.0"

__all__ = [
    "COMPILED",
    "CONTROL_OPCODES",
    "DATA_OPCODES",
    "Accept",
    "Agreed",
    "Agreement",
    "Buffer",
    "Call",
    "CallKind",
    "Chunk",
    "Close",
    "CloseCode",
    "Closed",
    "Codec",
    "Config",
    "Connection",
    "ConnectionClosed",
    "Event",
    "Extension",
    "ExtensionError",
    "ExtensionNegotiated",
    "Frame",
    "HandshakeError",
    "Headers",
    "HookError",
    "Hooks",
    "HttpRequest",
    "InvalidUri",
    "LocalProtocolError",
    "Message",
    "Offer",
    "OpCode",
    "Opened",
    "PayloadTooBig",
    "PeerTimeout",
    "Phase",
    "Ping",
    "Pong",
    "PreparedMessage",
    "ProtocolError",
    "Refused",
    "Request",
    "RequestHead",
    "Response",
    "Role",
    "Session",
    "Target",
    "Transport",
    "Uri",
    "WebSocketError",
    "is_usable_close_code",
    "parse_uri",
]
