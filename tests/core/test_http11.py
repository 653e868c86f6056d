"""Reading and writing HTTP/1.1 heads: limits to the byte, and any cut of the same bytes."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.config import Config
from wsproto_core.errors import HandshakeError
from wsproto_core.headers import Headers, RequestHead, Response
from wsproto_core.http11 import (
    Refusal,
    RequestReader,
    ResponseReader,
    shown_untrusted,
    write_request,
    write_response,
    wrong_method,
)

REQUEST = b"GET /chat HTTP/1.1\r\nHost: h\r\nX-A:  one \r\n\r\n"
RESPONSE = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n"


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read_request(data: bytes, config: Config, size: int) -> RequestHead | tuple[int, str] | None:
    reader = RequestReader(config)
    try:
        for piece in pieces(data, size):
            head = reader.feed(piece)
            if head is not None:
                return head
    except Refusal as refusal:
        return refusal.status, refusal.why
    return None


def read_response(data: bytes, config: Config, size: int) -> Response | str | None:
    reader = ResponseReader(config)
    try:
        for piece in pieces(data, size):
            response = reader.feed(piece)
            if response is not None:
                return response
        return reader.eof()
    except HandshakeError as error:
        return str(error)


SMALL = Config(max_line_size=40, max_head_size=100, max_headers=3, max_body_size=4)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_request(size: int) -> None:
    assert read_request(REQUEST, Config(), size) == RequestHead(
        "GET", "/chat", Headers([("Host", "h"), ("X-A", "one")]), "1.1"
    )
    assert read_request(b"\r\n" + REQUEST, Config(), size) is not None
    assert read_request(REQUEST[:-1], Config(), size) is None


def test_what_follows_the_head_is_the_tail() -> None:
    for kind in (bytes, bytearray, memoryview):
        reader = RequestReader(Config())
        assert reader.feed(kind(REQUEST + b"tail")) is not None
        assert reader.tail == b"tail"
        responses = ResponseReader(Config())
        assert responses.feed(kind(RESPONSE + b"tail")) is not None
        assert responses.tail == b"tail"


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        # A line of exactly the limit, its CR LF not counted, and one byte more.
        (b"GET /%b HTTP/1.1\r\n" % (b"a" * 26), None),
        (b"GET /%b HTTP/1.1\r\n" % (b"a" * 27), 414),
        (b"GET /%b" % (b"a" * 35), None),
        (b"GET /%b" % (b"a" * 36), 414),
        (b"GET / HTTP/1.1\r\nX: %b" % (b"a" * 37), None),
        (b"GET / HTTP/1.1\r\nX: %b\r\n" % (b"a" * 37), None),
        (b"GET / HTTP/1.1\r\nX: %b" % (b"a" * 38), 431),
        # A head of exactly the limit, and one byte more: in a line, at its CR, at its LF.
        (b"GET / HTTP/1.1\r\nX: %b\r\nY: %b" % (b"a" * 37, b"b" * 37), None),
        (b"GET / HTTP/1.1\r\nX: %b\r\nY: %b\r" % (b"a" * 37, b"b" * 37), None),
        (b"GET / HTTP/1.1\r\nX: %b\r\nY: %b\r\nZ" % (b"a" * 37, b"b" * 36), None),
        (b"GET / HTTP/1.1\r\nX: %b\r\nY: %b\r\nZ:" % (b"a" * 37, b"b" * 36), 431),
        (b"GET / HTTP/1.1\r\nX: %b\r\nY: %b\r\n\r\n" % (b"a" * 37, b"b" * 36), 431),
        (b"GET / HTTP/1.1\r\nHost:%b\r\nY: %b\r\n\r\n" % (b"a" * 33, b"b" * 37), 200),
        (b"GET / HTTP/1.1\r\nHost:%b\r\nY: %b\r\n\r\n" % (b"a" * 34, b"b" * 37), 431),
        # Three lines are the limit; the empty one is none.
        (b"GET / HTTP/1.1\r\nHost:h\r\nY:\r\nZ:\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost:h\r\nY:\r\nZ:\r\nA:\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost:h\r\nY:\r\nZ:\r\nbad\r\n", 431),
    ],
)
def test_limits_to_the_byte(data: bytes, status: int | None, size: int) -> None:
    outcome = read_request(data, SMALL, size)
    if status is None:
        assert outcome is None
    elif status == 200:
        assert isinstance(outcome, RequestHead)
        assert len(data) <= 100
    else:
        assert isinstance(outcome, tuple)
        assert outcome[0] == status


HEAD_BYTES = st.lists(
    st.sampled_from(
        [
            *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b" ", b":", b"a", b"\xe9", b"\t", b","),
            *(b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"X: y\r\n", b"Content-Length: 2\r\n"),
            *(b"HTTP/1.1 101 X\r\n", b"HTTP/1.1 403\r\n", b"HTTP/1.1 103 X\r\n\r\n"),
            *(b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n", b"0\r\n\r\n", b"a" * 30),
        ]
    ),
    max_size=12,
).map(b"".join)


@given(HEAD_BYTES, st.integers(1, 9))
def test_any_cut_gives_the_same(data: bytes, size: int) -> None:
    for config in (SMALL, Config(max_head_size=30)):
        for start in (b"", b"GET / HTTP/1.1\r\nHost: h\r\n"):
            whole = read_request(start + data, config, 10_000)
            assert read_request(start + data, config, size) == whole
        for start in (b"", b"HTTP/1.1 403 X\r\n", b"HTTP/1.1 403 X\r\n\r\n"):
            response = read_response(start + data, config, 10_000)
            assert read_response(start + data, config, size) == response


LINES = st.one_of(
    st.sampled_from(
        [
            *(
                b"Host: h",
                b"host:h",
                b"HOST: [::1]:80 ",
                b"Connection: Upgrade",
                b"Upgrade:websocket",
            ),
            *(
                b"Cookie: a=1; \xe9",
                b"X-Empty:",
                b"X-Blank: \t ",
                b"x-tab: a\tb \t",
                b"X-Colon: a:b",
            ),
            *(b"Content-Length: 0", b"content-length: 1", b"Transfer-Encoding: chunked", b"A : b"),
            *(b" folded", b"no colon", b": none", b"b\xc3: c", b"N: a\nb", b"N: a\rb", b"N: a\0"),
            *(b"N: \x7f", b"N: \x85\xa0", b"N: \x0b", b"", b"Host: h\r\n\r\nHost: h"),
        ]
    ),
    st.binary(max_size=12),
)
STARTS = st.sampled_from(
    [
        *(b"GET / HTTP/1.1",) * 6,
        *(b"GET /\xe9 HTTP/1.1", b"GET  / HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.0"),
        *(b"GET / HTTP/2.0", b"get / HTTP/1.1", b"\r\nGET / HTTP/1.1", b"GET / HTTP/1.1 ", b""),
    ]
)


@given(STARTS, st.lists(LINES, max_size=6), st.sampled_from([b"", b"tail", b"\r\n"]), st.booleans())
def test_an_ordinary_head_is_what_h11_reads(
    start: bytes, lines: list[bytes], tail: bytes, with_host: bool
) -> None:
    """The long way is taken where the first bytes are no whole head; both must give the same."""
    fields = [b"Host: h", *lines] if with_host else lines
    data = b"\r\n".join([start, *fields, b"", b""]) + tail
    for config in (Config(), SMALL, Config(max_headers=2), Config(max_head_size=len(data))):
        outcomes = []
        for cuts in ([data], [data[:1], data[1:]]):
            reader = RequestReader(config)
            outcome: object = None
            try:
                for piece in cuts:
                    outcome = reader.feed(piece)
            except Refusal as refusal:
                outcome = refusal.status, refusal.why
            outcomes.append((outcome, getattr(outcome, "headers", Headers()).raw, reader.tail))
        assert outcomes[0] == outcomes[1]


def test_h11_is_asked_where_a_head_is_not_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        pass

    def ask(*_: object, **__: object) -> None:
        raise Asked

    monkeypatch.setattr("wsproto_core.http11.h11.Connection", ask)
    assert read_request(REQUEST, Config(), 1000) is not None
    for other in (
        b"\r\n" + REQUEST,
        REQUEST.replace(b"Host", b"Post"),
        REQUEST.replace(b"X-A", b"Host"),
        REQUEST.replace(b"X-A:  one", b"Content-Length: 0"),
        REQUEST.replace(b"/1.1", b"/1.0"),
    ):
        with pytest.raises(Asked):
            read_request(other, Config(), 1000)
    with pytest.raises(Asked):
        read_request(REQUEST, Config(), 20)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("body", "framing", "kept"),
    [
        (b"", b"Content-Length: 0\r\n", b""),
        (b"abc", b"Content-Length: 3\r\n", b"abc"),
        (b"abcdef", b"Content-Length: 3\r\n", b"abc"),
        (b"abcdef", b"Content-Length: 6\r\n", b"abcd"),
        (b"ab", b"Content-Length: 3\r\n", b"ab"),
        (b"abcdef", b"", b"abcd"),
        (b"ab", b"", b"ab"),
        (b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"abc"),
        (b"3\r\nabc\r\nx", b"Transfer-Encoding: chunked\r\n", b"abc"),
        (b"3\r\nabcd", b"Transfer-Encoding: chunked\r\n", b"abc"),
        (b"1\r\na\r\n" * 9, b"Transfer-Encoding: chunked\r\n", b"aaaa"),
        (b"1;" + b"x" * 200 + b"\r\na\r\n", b"Transfer-Encoding: chunked\r\n", b""),
    ],
)
def test_bodies_of_refusals(body: bytes, framing: bytes, kept: bytes, size: int) -> None:
    data = b"HTTP/1.1 403 No\r\n" + framing + b"\r\n" + body
    response = read_response(data, SMALL, size)
    assert isinstance(response, Response)
    assert (response.status, response.body) == (403, kept)


def test_a_body_is_looked_at_no_longer_than_its_limit_allows() -> None:
    reader = ResponseReader(Config(max_body_size=4, max_head_size=100))
    head = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    assert reader.feed(head + b"x" * 101) is None
    response = reader.feed(b"x")
    assert response is not None
    assert response.body == b""
    # Nothing is kept at all if nothing is wanted.
    reader = ResponseReader(Config(max_body_size=0))
    assert reader.feed(b"HTTP/1.1 403 No\r\n\r\n") is not None


def test_eof_without_a_response() -> None:
    reader = ResponseReader(Config())
    assert reader.eof() is None
    assert reader.feed(b"HTTP/1.1 ") is None
    assert reader.eof() is None


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"HTTQ", "'HTTQ'"),
        (b"HTTP/1.1 abc\r\n", "'HTTP/1.1 abc'"),
        (b"HTTP/1.1 403 X\r\n folded: no\r\n", "' folded: no'"),
        (b"HTTP/1.1 403 X\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 403 X\r\nA: b\r\n" + b" c\r\n" * 3, "at most 3 header lines"),
    ],
)
def test_what_is_no_response(data: bytes, shown: str, size: int) -> None:
    error = read_response(data, SMALL, size)
    assert isinstance(error, str)
    assert shown in error


def test_interim_responses_are_counted() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    response = read_response(interim * 16 + RESPONSE, Config(), 1000)
    assert isinstance(response, Response)
    assert response.status == 101
    error = read_response(interim * 17, Config(), 1000)
    assert isinstance(error, str)
    assert "at most 16 interim" in error


def test_refusals() -> None:
    refusal = Refusal(426, "expected this, got that", [("Upgrade", "websocket")])
    response = refusal.response()
    assert str(refusal) == refusal.why
    assert response.status == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.body == b"426 Upgrade Required: expected this, got that\n"

    assert wrong_method("POST").response().headers["Allow"] == "GET"
    assert wrong_method("POST").response().body
    # The answer to HEAD has no body (RFC 9110 section 9.3.2).
    assert wrong_method("HEAD").response().body == b""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "'plain'"),
        (b"\xe9\r\n", r"'\xe9\r\n'"),
        (bytearray(b"x"), "'x'"),
        ("\u20ac'", '"\\u20ac\'"'),
        ("a" * 300, "'" + "a" * 195 + "...'"),
        (b"\xff" * 300, "'" + (r"\xff" * 50)[:195] + "...'"),
        ("\0" * 60, "'" + (r"\x00" * 60)[:195] + "...'"),
    ],
)
def test_what_came_is_shown_bounded_and_escaped(value: str | bytes | bytearray, shown: str) -> None:
    assert shown_untrusted(value) == shown
    assert len(shown) <= 200


def test_writing_a_request() -> None:
    head = RequestHead("GET", "/a", Headers([("Host", "h"), ("X", "\xe9")]))
    assert write_request(head) == b"GET /a HTTP/1.1\r\nHost: h\r\nX: \xe9\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "data"),
    [
        (
            Response(101, Headers({"Upgrade": "x"})),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ),
        (
            Response(403, Headers({"X": "\xe9"}), b"no", "Go"),
            b"HTTP/1.1 403 Go\r\nX: \xe9\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        ),
        (
            Response(426, Headers({"upgrade": "x"}), reason="X"),
            (
                b"HTTP/1.1 426 X\r\nupgrade: x\r\nConnection: Upgrade, close\r\n"
                b"Content-Length: 0\r\n\r\n"
            ),
        ),
        (Response(204), b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        (Response(304), b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"),
        (Response(499), b"HTTP/1.1 499 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_writing_a_response(response: Response, data: bytes) -> None:
    assert write_response(response) == data
