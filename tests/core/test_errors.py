"""The errors: whose fault is which type, and what each carries."""

import pickle

import pytest

from wsproto_core import (
    Close,
    Closed,
    ConnectionClosed,
    ExtensionError,
    HandshakeError,
    HookError,
    LocalProtocolError,
    PayloadTooBig,
    PeerTimeout,
    ProtocolError,
    Response,
    WebSocketError,
)


@pytest.mark.parametrize(
    "kind",
    [
        LocalProtocolError,
        ProtocolError,
        PayloadTooBig,
        ExtensionError,
        PeerTimeout,
        HookError,
        HandshakeError,
        ConnectionClosed,
    ],
)
def test_one_base(kind: type[Exception]) -> None:
    assert issubclass(kind, WebSocketError)


def test_the_families() -> None:
    assert issubclass(PayloadTooBig, ProtocolError)
    assert issubclass(ExtensionError, ProtocolError)
    assert not issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(PeerTimeout, TimeoutError)
    assert issubclass(ConnectionClosed, ConnectionError)


def test_a_protocol_error_names_its_rule() -> None:
    error = ProtocolError("expected this, got that", rule="RFC 6455 5.2")
    assert str(error) == "expected this, got that (RFC 6455 5.2)"
    assert (error.close_code, error.rule) == (1002, "RFC 6455 5.2")
    assert str(ProtocolError("just so", close_code=1007)) == "just so"


def test_the_codes_that_answer() -> None:
    assert PayloadTooBig("x").close_code == 1009
    assert PayloadTooBig("x").rule == "RFC 6455 10.4"
    assert ExtensionError("x").close_code == 1007
    assert ExtensionError("x", close_code=1010).close_code == 1010
    assert HookError("x").close_code == 1011
    error = PeerTimeout("silent", timer="pong", close_code=1001)
    assert (str(error), error.timer, error.close_code) == ("silent", "pong", 1001)
    assert type(ProtocolError("x").close_code) is int


def test_a_handshake_error_has_the_response() -> None:
    assert HandshakeError("nothing came").response is None
    assert HandshakeError("nothing came").status is None
    response = Response(404)
    error = HandshakeError("refused", response)
    assert error.response is response
    assert error.status == 404


def test_closed_while_the_closing_handshake_runs() -> None:
    error = ConnectionClosed("too late")
    assert error.closed is None
    assert (error.code, error.reason, error.sent, error.received) == (1006, "", None, None)


def test_closed_for_good() -> None:
    closed = Closed(1001, "off", True, Close(1000, "bye"), Close(1001, "off"), None)
    error = ConnectionClosed("too late", closed)
    assert (error.code, error.reason) == (1001, "off")
    assert error.sent == (1000, "bye")
    assert error.received == (1001, "off")
    lost = ConnectionClosed("too late", Closed(1006, "", False, None, None, OSError()))
    assert (lost.code, lost.sent, lost.received) == (1006, None, None)


def test_errors_survive_a_copy() -> None:
    """Process pools and some loggers pickle them."""
    closed = Closed(1006, "", False, Close(1002, "bad"), None, None)
    error = pickle.loads(pickle.dumps(ConnectionClosed("too late", closed)))  # noqa: S301
    assert str(error) == "too late"
    assert error.closed == closed
