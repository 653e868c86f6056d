"""Rows of the attack catalogue about HTTP that no other file has, and memory after a storm."""

import tracemalloc

import pytest

from wsproto_core import (
    Closed,
    Config,
    Connection,
    Event,
    HandshakeError,
    Message,
    PeerTimeout,
    Phase,
    ProtocolError,
    Refused,
    Request,
    Response,
    Role,
)
from wsproto_core.octets import encode_frame

REQUEST = (
    b"GET /%d HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def look(connection: Connection) -> list[Event]:
    events: list[Event] = []
    while batch := connection.events():
        events += batch
    return events


def client() -> Connection:
    connection = Connection(Role.CLIENT, Config(), now=0.0, target="ws://h/")
    connection.data_to_send()
    return connection


def refused(connection: Connection) -> Response:
    """What the client shows of a refusal."""
    first, closed = look(connection)
    assert isinstance(first, Refused)
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, HandshakeError)
    assert closed.error.response is first.response
    return first.response


# Chunked bodies of which others read more than was meant, and what is left of each here.
CHUNKS = [
    (b"4\r\nbusy\r\n0\r\n\r\n", b"busy"),
    (b"4\nbusy\r\n0\r\n\r\n", b""),
    (b"4\r\nbusy\n0\r\n\r\n", b"busy"),
    (b"4\r\nbusyXX0\r\n\r\n", b"busy"),
    (b"0x4\r\nbusy\r\n0\r\n\r\n", b""),
    (b"+4\r\nbusy\r\n0\r\n\r\n", b""),
    (b"4 4\r\nbusy\r\n0\r\n\r\n", b""),
    (b"-1\r\nbusy\r\n", b""),
    (b"g\r\n", b""),
    (b"f" * 40 + b"\r\nbusy", b""),
]


@pytest.mark.parametrize(("body", "kept"), CHUNKS)
def test_v39_a_body_that_breaks_its_coding_is_dropped(body: bytes, kept: bytes) -> None:
    connection = client()
    head = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.receive_data(head + body, 1.0)
    connection.receive_eof(1.0)
    response = refused(connection)
    assert (response.status, response.body) == (503, kept)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"ff"])
def test_v39_a_body_that_never_comes_leaves_the_status(body: bytes) -> None:
    """The deadline of the handshake ends it, and what is known is told."""
    connection = client()
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\nRetry-After: 7\r\n\r\n"
    connection.receive_data(head + body, 1.0)
    assert look(connection) == []
    connection.handle_timeout(9.9)
    assert look(connection) == []
    connection.handle_timeout(10.0)
    response = refused(connection)
    assert (response.status, response.body) == (503, body)
    assert response.headers["Retry-After"] == "7"


def test_v39_no_answer_is_still_a_timeout() -> None:
    connection = client()
    connection.receive_data(b"HTTP/1.1 503 Busy\r\n", 1.0)
    connection.handle_timeout(10.0)
    (closed,) = look(connection)
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, PeerTimeout)


def test_v39_a_server_has_no_chunked_reader() -> None:
    connection = Connection(Role.SERVER, Config(), now=0.0)
    chunked = REQUEST.replace(b"Host:", b"Transfer-Encoding: chunked\r\nHost:") % 1
    connection.receive_data(chunked + b"0\n\n", 1.0)
    assert connection.phase is Phase.DRAINING
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("accepts", [True, False])
def test_v40_one_request_is_read_and_no_other(accepts: bool) -> None:
    connection = Connection(Role.SERVER, Config(), now=0.0)
    for number in range(1000):
        connection.receive_data(REQUEST % number, 1.0)
    (request,) = look(connection)
    assert isinstance(request, Request)
    assert request.target == "/0"
    if accepts:
        connection.accept(1.0)
        look(connection)
        assert isinstance(connection.error, ProtocolError)  # the rest was read as frames
    else:
        connection.reject(Response(404), 1.0)
    sent = b"".join(connection.data_to_send())
    assert sent.count(b"HTTP/1.1 ") == 1
    connection.receive_data(REQUEST % 1, 2.0)
    assert not any(isinstance(event, Request) for event in look(connection))


def test_v40_what_is_pipelined_is_bounded() -> None:
    connection = Connection(Role.SERVER, Config(), now=0.0)
    for number in range(10_000):
        connection.receive_data(REQUEST % number, 1.0)
    assert connection.phase is Phase.DRAINING
    assert connection.early_bytes == 0
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 400 ")


def test_e10_buffers_shrink_after_a_storm() -> None:
    """A large message leaves nothing behind."""
    connection = Connection(Role.SERVER, Config(), now=0.0)
    connection.receive_data(REQUEST % 0, 0.0)
    look(connection)
    connection.accept(0.0)
    look(connection)

    def exchange(size: int) -> None:
        connection.receive_data(encode_frame(0x82, bytes(size), b"abcd"), 1.0)
        (message,) = look(connection)
        assert isinstance(message, Message)
        assert len(message.data) == size
        assert isinstance(message.data, bytes)
        connection.send_binary(message.data)
        connection.data_to_send()

    exchange(100)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(3):
            exchange(1 << 20)
        exchange(100)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= 8 << 10
    assert peak - before >= 1 << 20
