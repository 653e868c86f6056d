"""WebSocket views, servers and clients on anyio.

``WebSocketView`` is the class to subclass, ``serve`` and ``connect`` run it. The same names are in
every runtime's package. See ``docs/index.md``.
"""

from wsproto_core import (
    CONTROL_OPCODES,
    DATA_OPCODES,
    Accept,
    CloseCode,
    ConnectionClosed,
    Extension,
    ExtensionError,
    Frame,
    HandshakeError,
    Headers,
    LocalProtocolError,
    OpCode,
    PayloadTooBig,
    PeerTimeout,
    PreparedMessage,
    ProtocolError,
    Response,
    WebSocketError,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_views import Route, State, UpgradeRequest, broadcast, path

from .client import connect
from .given import serve_stream, upgraded
from .server import Server, serve
from .view import WebSocketView

__all__ = [
    "CONTROL_OPCODES",
    "DATA_OPCODES",
    "Accept",
    "CloseCode",
    "ConnectionClosed",
    "Extension",
    "ExtensionError",
    "Frame",
    "HandshakeError",
    "Headers",
    "LocalProtocolError",
    "OpCode",
    "PayloadTooBig",
    "PeerTimeout",
    "PerMessageDeflate",
    "PreparedMessage",
    "ProtocolError",
    "Response",
    "Route",
    "Server",
    "State",
    "UpgradeRequest",
    "WebSocketError",
    "WebSocketView",
    "broadcast",
    "connect",
    "path",
    "serve",
    "serve_stream",
    "upgraded",
]
