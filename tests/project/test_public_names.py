"""The names that users rely on: each exists, none appears or goes by accident.

The lists stand here a second time on purpose: a change of the public interface must be made twice,
once in the code and once by somebody who says so.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import wsproto_core

ROOT = Path(__file__).resolve().parents[2]

# ------------------------------------------------------------------------------------- the modules

CORE = frozenset(
    {
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
    }
)

# Every runtime's package has these; a user moves to another one by changing the import.
BINDING = frozenset(
    {
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
    }
)

# Runtimes whose streams come in many kinds take one that is open already.
STREAMS = {"serve_stream", "upgraded"}

BINDINGS = ["wsproto_asyncio", "wsproto_trio", "wsproto_anyio", "wsproto_threading"]


def every_module() -> list[str]:
    """Return the names of all modules of the core and of the views."""
    names = []
    for name in ("wsproto_core", "wsproto_views", *BINDINGS):
        package = importlib.import_module(name)
        names.append(name)
        names += [
            item.name
            for item in pkgutil.walk_packages(package.__path__, name + ".")
            if not item.name.rpartition(".")[2].startswith("_")
        ]
    return names


def public(module: ModuleType) -> set[str]:
    assert isinstance(module.__all__, list)
    return set(module.__all__)


def test_the_core_has_these_names_and_no_others() -> None:
    assert public(wsproto_core) == CORE


@pytest.mark.parametrize("name", BINDINGS)
def test_a_binding_has_these_names_and_no_others(name: str) -> None:
    more = STREAMS if name in {"wsproto_trio", "wsproto_anyio"} else set()
    assert public(importlib.import_module(name)) == BINDING | more


@pytest.mark.parametrize("name", every_module())
def test_every_name_in_all_exists_once(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", None)
    assert names is not None, "say in __all__ what others may use"
    assert len(set(names)) == len(names)
    assert all(hasattr(module, item) for item in names)


def test_the_version_is_the_package_s() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)
    assert found is not None
    assert wsproto_core.__version__ == found[1]


@pytest.mark.parametrize("package", ["wsproto_core", "wsproto_views", *BINDINGS])
def test_types_are_for_users_too(package: str) -> None:
    folder = Path(inspect.getfile(importlib.import_module(package))).parent
    assert (folder / "py.typed").exists()


# ---------------------------------------------------------------------------------------- the view

# Name and default of each setting: what a Duck user knows, and what the documents promise.
SETTINGS = {
    "MAGIC_STRING": "258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
    "PING_INTERVAL": 20,
    "PONG_TIMEOUT": 10,
    "MAX_BACKOFF": 45,
    "MAX_MISSED_PONGS": 3,
    "RECEIVE_TIMEOUT": 120,
    "OPEN_TIMEOUT": 10,
    "CLOSE_TIMEOUT": 10,
    "SEND_TIMEOUT": 60,
    "MAX_FRAME_SIZE": 1 << 20,
    "MAX_MESSAGE_SIZE": 16 << 20,
    "TIMEOUT_CLOSE_CODE": 1001,
    "CONCURRENT_RECEIVE": 1,
    "ORIGINS": None,
    "SUBPROTOCOLS": (),
}

ATTRIBUTES = [
    "state",
    "is_open",
    "extensions",
    "subprotocol",
    "initiated_upgrade",
    "client_websocket_version",
    "fragmented_frame",
    "close_code",
    "close_reason",
    "close_frame",
    "connection",
    "latency",
    "server",
    "sock",
]

# Parameters after `self`, with their defaults: keyword callers rely on the names too.
SIGNATURES = {
    "on_open": "()",
    "on_receive": "(message, opcode)",
    "on_text": "(text)",
    "on_binary": "(data)",
    "on_fragment": "(data, opcode, final)",
    "on_new_frame": "(frame)",
    "on_ping": "(data)",
    "on_pong": "(data, latency)",
    "on_error": "(exc)",
    "on_close": "(frame=None)",
    "get_sec_accept_key": "(sec_websocket_key)",
    "initiate_upgrade_to_ws": "()",
    "run": "()",
    "run_forever": "()",
    "read_frame": "()",
    "recv": "()",
    "send": "(data, opcode=<OpCode.TEXT: 1>, *, compress=None)",
    "send_text": "(data, *, compress=None)",
    "send_binary": "(data, *, compress=None)",
    "send_json": "(data, *, compress=None, **dumps)",
    "send_frame": "(frame)",
    "send_ping": "(data=b'')",
    "send_pong": "(data=b'')",
    "ping": "()",
    "send_close": "(code=1000, reason='')",
    "close": "(code=1000, reason='')",
    "safe_close": "(disable_logging=False, call_on_close_handler=True)",
    "strictly_async": "()",
}

# The same words in every runtime; only here may a runtime wait, or not.
PLAIN = {"get_sec_accept_key", "strictly_async"}

# Threads cannot be cancelled, so calls that wait take a time there.
TIMED = {
    "read_frame": "(timeout=None)",
    "recv": "(timeout=None)",
    "send": "(data, opcode=<OpCode.TEXT: 1>, *, compress=None, timeout=None)",
    "send_text": "(data, *, compress=None, timeout=None)",
    "send_binary": "(data, *, compress=None, timeout=None)",
    "send_json": "(data, *, compress=None, timeout=None, **dumps)",
    "send_frame": "(frame, *, timeout=None)",
    "ping": "(timeout=None)",
    "close": "(code=1000, reason='', *, timeout=None)",
}


def view_of(package: str) -> type:
    view = importlib.import_module(package).WebSocketView
    assert isinstance(view, type)
    return view


@pytest.mark.parametrize("package", BINDINGS)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_its_default(package: str, name: str) -> None:
    assert getattr(view_of(package), name) == SETTINGS[name]


@pytest.mark.parametrize("package", BINDINGS)
def test_messages_are_compressed_by_default(package: str) -> None:
    extensions = view_of(package).EXTENSIONS  # type: ignore[attr-defined]
    assert [item.name for item in extensions] == ["permessage-deflate"]


@pytest.mark.parametrize("package", BINDINGS)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_is_read_only(package: str, name: str) -> None:
    attribute = inspect.getattr_static(view_of(package), name)
    assert isinstance(attribute, property)
    assert attribute.fset is None


@pytest.mark.parametrize("package", BINDINGS)
@pytest.mark.parametrize("name", SIGNATURES)
def test_a_method_takes_what_the_contract_says(package: str, name: str) -> None:
    method = getattr(view_of(package), name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    bare = [item.replace(annotation=inspect.Parameter.empty) for item in parameters]
    threads = package == "wsproto_threading"
    expected = TIMED.get(name, SIGNATURES[name]) if threads else SIGNATURES[name]
    assert str(inspect.Signature(bare)) == expected
    assert inspect.iscoroutinefunction(method) == (name not in PLAIN and not threads)


def test_states_have_the_numbers_that_duck_users_know() -> None:
    state = importlib.import_module("wsproto_asyncio").State
    assert {item.name: item.value for item in state} == {
        "CLOSED": 0,
        "OPEN": 1,
        "INITIATED": 2,
        "INITIATING": -1,
        "CLOSING": 3,
    }
