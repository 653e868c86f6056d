"""Proxies without I/O: their addresses, the CONNECT, and every answer to it, cut anywhere."""

import base64
from collections.abc import Callable, Iterator

import pytest

from wsproto_core import Config, HandshakeError, parse_uri
from wsproto_core.proxy import Proxy, Tunnel, parse_proxy
from wsproto_core.uri import InvalidUri

PLAIN = parse_proxy("http://proxy.example:3128")


def tunnel(url: str = "ws://server.example/chat", proxy: Proxy = PLAIN) -> Tunnel:
    return Tunnel(proxy, parse_uri(url), Config())


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[place : place + 1]


Cut = Callable[[bytes], Iterator[bytes]]


@pytest.fixture(params=[whole, bytewise])
def cut(request: pytest.FixtureRequest) -> Cut:
    feed: Cut = request.param
    return feed


def established(tunnel: Tunnel, pieces: Iterator[bytes]) -> bool:
    return any(tunnel.receive_data(piece) for piece in pieces)


# ------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://h:3128", Proxy("http", "h", 3128)),
        ("HTTP://H/", Proxy("http", "h", 80)),
        ("http://u%20x:p%40s%3A@[::1]:8080", Proxy("http", "::1", 8080, "u x", "p@s:")),
        ("http://u@h", Proxy("http", "h", 80, "u", None)),
        ("socks5://h", Proxy("socks5", "h", 1080)),
        ("socks5h://u:p@h:9", Proxy("socks5h", "h", 9, "u", "p")),
        ("socks4a://h", Proxy("socks4a", "h", 1080)),
    ],
)
def test_addresses(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    ("text", "names"),
    [("http://h", True), ("socks4://h", False), ("socks5://h", False), ("socks5h://h", True)],
)
def test_who_resolves_names(text: str, names: bool) -> None:
    proxy = parse_proxy(text)
    assert proxy.resolves_names is names
    assert proxy.is_socks is text.startswith("socks")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:3128",
        "https://h:443",
        "ftp://h",
        "http://",
        "http://h:0",
        "http://h:65536",
        "http://h/path",
        "http://h?x",
        "http://h\r\nX: y",
        "http://a%3Ab:p@h",
        "http://u:secret@u@h",
        "http://[::x]:1",
        3128,
    ],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(InvalidUri) as raised:
        parse_proxy(text)
    assert "secret" not in str(raised.value)


def test_credentials_are_never_shown() -> None:
    proxy = parse_proxy("http://me:secret@[::1]:3128")
    assert str(proxy) == "http://[::1]:3128"
    for answer in (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0\r\n"):
        with pytest.raises(HandshakeError) as raised:
            tunnel(proxy=proxy).receive_data(answer)
        assert "secret" not in str(raised.value)


# ---------------------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://h/", "h:80"),
        ("wss://h/x?y", "h:443"),
        ("ws://h:8080/", "h:8080"),
        ("wss://[::1]/", "[::1]:443"),
    ],
)
def test_io_4_1_proxy_connect_names_host_and_port(url: str, authority: str) -> None:
    assert tunnel(url).request == (
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
    )


@pytest.mark.parametrize(
    ("user", "credentials"),
    [("me:p%40ss", b"me:p@ss"), ("me", b"me:"), ("%C3%A9:x", b"\xc3\xa9:x")],
)
def test_io_4_1_proxy_basic_authentication(user: str, credentials: bytes) -> None:
    request = tunnel(proxy=parse_proxy(f"http://{user}@h:1")).request
    value = base64.b64encode(credentials)
    assert b"\r\nProxy-Authorization: Basic " + value + b"\r\n\r\n" in request


def test_credentials_of_the_server_are_not_the_proxy_s() -> None:
    assert b"Authorization" not in tunnel("ws://me:secret@h/").request


# ----------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
        b"HTTP/1.1 204 \r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        # A 2xx to CONNECT has no body, whatever its head says (RFC 9110 section 9.3.6).
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a39_bytes_behind_the_200_belong_to_the_tunnel(head: bytes, cut: Cut) -> None:
    made = tunnel()
    assert established(made, cut(head))
    assert made.tail == b""
    made = tunnel()
    assert made.receive_data(head + b"\x16\x03\x01tail")
    assert made.tail == b"\x16\x03\x01tail"


@pytest.mark.parametrize("status", [301, 400, 403, 407, 502, 503])
def test_a39_a_refusal_has_its_response(status: int, cut: Cut) -> None:
    head = f"HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\n"
    with pytest.raises(HandshakeError, match=f"2xx status from the proxy .*, got {status}") as no:
        established(tunnel(), cut(head.encode() + b"busy"))
    assert no.value.response is not None
    assert (no.value.status, no.value.response.body) == (status, b"busy")
    assert no.value.response.headers["Proxy-Authenticate"] == "Basic"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"\x05\xff" * 4,
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 " + b"a" * 9000,
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 5,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    ],
)
def test_a39_what_is_no_answer_or_too_much(answer: bytes, cut: Cut) -> None:
    with pytest.raises(HandshakeError, match="the proxy's response is not valid") as no:
        established(tunnel(), cut(answer))
    assert no.value.response is None


def test_a39_an_endless_body_is_cut() -> None:
    made = tunnel()
    assert not made.receive_data(b"HTTP/1.1 407 No\r\n\r\n")
    for _ in range(63):
        assert not made.receive_data(b"x" * 1024)
    with pytest.raises(HandshakeError) as no:
        made.receive_data(b"x" * 5000)
    assert no.value.response is not None
    assert no.value.response.body == b"x" * (64 << 10)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"", None), (b"HTTP/1.1 200 OK\r\n", None), (b"HTTP/1.1 502 No\r\n\r\nbody", 502)],
)
def test_the_proxy_ends_the_stream(answer: bytes, status: int | None) -> None:
    made = tunnel()
    assert not answer or not made.receive_data(answer)
    error = made.receive_eof()
    assert isinstance(error, HandshakeError)
    assert error.status == status
