"""``wsproto_views.tls.Tls``: bytes in and bytes out, on both builds."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest

import wsproto_views.tls as in_use
from tests.bindings.runtimes import Tls as Certificates
from tests.builds import pure_twin


@pytest.fixture(params=[in_use, pure_twin(in_use)], ids=["in use", "pure"])
def ends(request: pytest.FixtureRequest, tls: Certificates) -> tuple[Any, Any]:
    """A client and a server after their handshake."""
    client = request.param.Tls(tls.client, server_hostname="localhost")
    server = request.param.Tls(tls.server)
    while not (client.is_open and server.is_open):
        if not client.is_open:
            client.shake()
        if data := client.take():
            server.feed(data)
        if not server.is_open:
            server.shake()
        if data := server.take():
            client.feed(data)
    assert client.read() is None  # the tickets of TLS 1.3
    return client, server


def by_read(server: Any) -> bytes | None:
    data: bytes | None = server.read()
    return data


def into(size: int) -> Callable[[Any], bytes | None]:
    def read(server: Any) -> bytes | None:
        room = memoryview(bytearray(size))
        count = server.read_into(room)
        return None if count is None else bytes(room[:count])

    return read


@pytest.mark.parametrize("read", [by_read, into(1 << 17)], ids=["read", "read_into"])
def test_all_records_that_came_are_read_at_once(
    ends: tuple[Any, Any], read: Callable[[Any], bytes | None]
) -> None:
    client, server = ends
    for part in (b"one", b"two", b"x" * (1 << 14)):
        client.write(part)
    records = client.take()
    server.feed(records[:-1])
    assert read(server) == b"onetwo"
    assert read(server) is None
    server.feed(records[-1:])
    assert read(server) == b"x" * (1 << 14)
    assert read(server) is None


def test_a_record_that_is_larger_than_the_room_is_read_bit_by_bit(ends: tuple[Any, Any]) -> None:
    client, server = ends
    client.write(bytes(range(250)) * 4)
    server.feed(client.take())
    read = into(300)
    parts = [read(server) for _ in range(5)]
    assert b"".join(part or b"" for part in parts) == bytes(range(250)) * 4
    assert [len(part or b"") for part in parts] == [300, 300, 300, 100, 0]
    assert parts[-1] is None


def test_a_record_as_large_as_the_room_and_the_end(ends: tuple[Any, Any]) -> None:
    """Nothing is left then, and OpenSSL must not be asked, or it would not send any more."""
    client, server = ends
    client.write(b"12345")
    server.feed(client.take())
    assert into(5)(server) == b"12345"
    assert into(5)(server) is None
    client.write(b"678ab")
    server.feed(client.take())
    assert into(5)(server) == b"678ab"
    server.feed(b"")
    assert into(5)(server) == b""
    server.write(b"and an answer")
    client.feed(server.take())
    assert client.read() == b"and an answer"


@pytest.mark.parametrize("read", [by_read, into(1 << 17)], ids=["read", "read_into"])
@pytest.mark.parametrize("notified", [True, False])
def test_the_end_comes_after_what_came_before_it(
    ends: tuple[Any, Any], read: Callable[[Any], bytes | None], notified: bool
) -> None:
    client, server = ends
    client.write(b"the last")
    if notified:
        client.end()
    server.feed(client.take())
    if not notified:
        server.feed(b"")
    assert read(server) == b"the last"
    assert read(server) == b""
    assert read(server) == b""
    # Our direction goes on.
    server.write(b"and an answer")
    answer = server.take()
    assert len(answer) > len(b"and an answer")
    if not notified:  # who has said the end does not decrypt any more
        client.feed(answer)
        assert client.read() == b"and an answer"


@pytest.mark.parametrize("read", [by_read, into(1 << 17)], ids=["read", "read_into"])
def test_a_bad_record_raises_after_what_came_before_it(
    ends: tuple[Any, Any], read: Callable[[Any], bytes | None]
) -> None:
    client, server = ends
    client.write(b"good")
    good = client.take()
    client.write(b"bad")
    bad = client.take()
    server.feed(good + bad[:-1] + bytes([bad[-1] ^ 1]))
    assert read(server) == b"good"
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            read(server)
    assert server.take()  # the alert


def test_nothing_is_written_for_no_bytes(ends: tuple[Any, Any]) -> None:
    client, _ = ends
    assert client.write(b"") == 0
    assert client.take() == b""
