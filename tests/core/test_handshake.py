"""The handshake as functions over heads: extended CONNECT, and what the wire cannot show.

What HTTP/1.1 peers see is tested row by row in ``test_conformance_handshake.py``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest

from wsproto_core.config import Config
from wsproto_core.enums import Role
from wsproto_core.errors import ExtensionError, HandshakeError, LocalProtocolError
from wsproto_core.events import ExtensionNegotiated, HttpRequest, Offer, Request
from wsproto_core.extensions.base import Agreed, Codec, Params
from wsproto_core.handshake import (
    MAX_OFFERS,
    accept_key,
    answer_request,
    build_request,
    check_origin,
    check_rejection,
    check_request,
    check_response,
    choose_subprotocol,
    interim_response,
    negotiate,
    new_key,
)
from wsproto_core.headers import Headers, RequestHead, Response
from wsproto_core.http11 import CONTINUE, Refusal
from wsproto_core.uri import Uri, parse_uri

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
URI = parse_uri("wss://u:p@h:444/a?b")
FIELDS = {
    "Host": "h",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def no_codec(role: Role) -> Codec:
    raise AssertionError("no codec is made by a negotiation")


@dataclass(frozen=True)
class Only:
    """An extension that agrees to one set of parameters only."""

    name: str
    wanted: Params = ()
    rsv: int = 0
    asked: list[Params] = field(default_factory=list, compare=False)

    def offers(self) -> Sequence[Params]:
        return [self.wanted]

    def accept(self, offer: Params) -> Agreed | None:
        self.asked.append(offer)
        return Agreed(offer, no_codec) if offer == self.wanted else None

    def confirm(self, offers: Sequence[Params], answer: Params) -> Agreed:
        if answer not in offers:
            raise ExtensionError("expected what was offered")
        return Agreed(answer, no_codec)


def request(**changes: str) -> RequestHead:
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return RequestHead("GET", "/", Headers(fields))


def checked(config: Config | None = None, **changes: str) -> Request:
    outcome = check_request(request(**changes), config or Config())
    assert isinstance(outcome, Request)
    return outcome


# ------------------------------------------------------------------------- keys and requests


def test_keys() -> None:
    assert new_key(lambda count: b"the sample nonce"[:count]) == KEY
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_order_of_a_request() -> None:
    config = Config(subprotocols=["a"], extensions=[Only("x", (("p", "1"),))])
    head = build_request(URI, config, KEY, [("X-One", "1"), ("Cookie", "c")])
    assert (head.method, head.target, head.version) == ("GET", "/a?b", "1.1")
    assert head.headers.raw == (
        ("Host", "h:444"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "a"),
        ("Sec-WebSocket-Extensions", "x; p=1"),
        ("Authorization", "Basic dTpw"),
        ("X-One", "1"),
        ("Cookie", "c"),
    )


@pytest.mark.parametrize(
    ("uri", "headers", "values"),
    [
        ("ws://u@h/", {}, ["Basic dTo="]),
        ("ws://u:p@h/", {"authorization": "Bearer x"}, ["Bearer x"]),
        ("ws://h/", {}, []),
    ],
)
def test_user_information(uri: str, headers: dict[str, str], values: list[str]) -> None:
    head = build_request(parse_uri(uri), Config(), KEY, headers)
    assert head.headers.get_all("Authorization") == values


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Expect": "100-continue"}, "Expect"),
        ({"X": 1}, "expected a str for the header X, got int"),
        ({1: "x"}, "expected a header name that is a token .*, got '1'"),
        ({"X": "\u20ac"}, "U.0020 to U.00FF"),
        ({"TE": "trailers"}, "the library's to set"),
    ],
)
def test_headers_that_may_not_be_sent(headers: Any, why: str) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        build_request(URI, Config(), KEY, headers)


# ---------------------------------------------------------------------- extended CONNECT


def test_an_extended_connect() -> None:
    config = Config(subprotocols=["a"], extensions=[Only("x")])
    sent = build_request(URI, config, None, {"X-One": "1", "Host": "other"})
    assert (sent.method, sent.target, sent.version) == ("CONNECT", "/a?b", "2")
    assert sent.headers.raw == (
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "a"),
        ("sec-websocket-extensions", "x"),
        ("authorization", "Basic dTpw"),
        ("x-one", "1"),
    )
    # The HTTP/2 library gives the authority as Host.
    received = RequestHead(
        "CONNECT", sent.target, Headers([("host", "h:444"), *sent.headers.raw]), "2"
    )
    asked = check_request(received, config)
    assert isinstance(asked, Request)
    assert asked.host == "h:444"
    response, agreement, agreed = answer_request(asked, config, "a", {"X-B": "1"}, extended=True)
    assert (response.status, response.version) == (200, "2")
    assert response.headers.raw == (
        ("sec-websocket-protocol", "a"),
        ("sec-websocket-extensions", "x"),
        ("x-b", "1"),
    )
    confirmed, theirs = check_response(sent, response, config)
    assert confirmed == agreement
    assert len(agreed) == len(theirs) == 1
    for status in (101, 300, 404):
        with pytest.raises(HandshakeError, match="expected a 2xx"):
            check_response(sent, Response(status), config)


@pytest.mark.parametrize(("version", "method"), [("2", "GET"), ("3", "GET"), ("1.1", "CONNECT")])
def test_each_version_has_its_method(version: str, method: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_request(RequestHead(method, "/", Headers(FIELDS), version), Config())
    assert caught.value.status == 405


@pytest.mark.parametrize("value", ["8", "x", None])
def test_the_version_of_an_extended_connect(value: str | None) -> None:
    fields = {"host": "h"} if value is None else {"host": "h", "sec-websocket-version": value}
    with pytest.raises(Refusal) as caught:
        check_request(RequestHead("CONNECT", "/", Headers(fields), "3"), Config())
    assert caught.value.status == 400
    assert caught.value.headers == (("Sec-WebSocket-Version", "13"),)


# ------------------------------------------------------------------------- other people's heads


def test_letters_that_only_look_like_ascii() -> None:
    # Heads of other HTTP servers may hold any text; the Kelvin sign has k as its lower case.
    for changes in ({"Upgrade": "websoc\u212aet"}, {"Connection": "up\u017frade"}):
        with pytest.raises(Refusal) as caught:
            checked(None, **changes)
        assert caught.value.status == 426


def test_plain_requests() -> None:
    head = RequestHead("GET", "/x", Headers({"Host": "h"}))
    with pytest.raises(Refusal):
        check_request(head, Config())
    plain = check_request(head, Config(plain_http=True))
    assert isinstance(plain, HttpRequest)
    assert (plain.target, plain.host, plain.refusal.status) == ("/x", "h", 426)
    check_rejection(plain.refusal, plain=True)


def test_interim_responses() -> None:
    assert interim_response(checked(None, Expect="100-continue")) == CONTINUE
    assert interim_response(checked()) == b""


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (None, None, True),
        (None, "http://h", True),
        (None, "http://x", False),
        (["*"], None, True),
        (["*"], "null", True),
        ([], None, False),
        ([], "http://h", False),
        (["http://h"], "http://h", True),
        (["http://h"], "HTTP://h", False),
        (["http://h"], None, False),
        (["http://h", ""], None, True),
        (["null"], "null", True),
    ],
)
def test_origins(origins: list[str] | None, origin: str | None, allowed: bool) -> None:
    asked = checked(None, **({} if origin is None else {"Origin": origin}))
    config = Config(origins=origins)
    if allowed:
        check_origin(asked, config)
    else:
        with pytest.raises(Refusal, match="expected an Origin") as caught:
            check_origin(asked, config)
        assert caught.value.status == 403


def test_an_origin_with_a_host_that_is_none() -> None:
    for origin in ("http://a b", "http://", "h", "http://h:99999"):
        with pytest.raises(Refusal):
            check_origin(checked(None, Origin=origin), Config())


# ------------------------------------------------------------------------------- negotiation


def test_subprotocols() -> None:
    asked = checked(None, Sec_WebSocket_Protocol="a, b")
    assert choose_subprotocol(asked, Config(subprotocols=["c", "b", "a"])) == "b"
    assert choose_subprotocol(asked, Config(subprotocols=["c"])) is None


def test_offers_are_tried_in_order() -> None:
    plain, ten = Only("x"), Only("x", (("bits", "10"),))
    offers = [Offer("x", (("bits", "8"),)), Offer("x", (("bits", "10"),)), Offer("x")]
    negotiated, agreed = negotiate(offers, [plain, ten])
    assert negotiated == (ExtensionNegotiated("x", (("bits", "10"),), 0),)
    assert [item.parameters for item in agreed] == [(("bits", "10"),)]
    assert ten.asked == [(("bits", "8"),), (("bits", "10"),)]


def test_header_bits_are_claimed_once() -> None:
    one, two, free = Only("one", rsv=0x40), Only("two", rsv=0x60), Only("free")
    for names, chosen in (
        (["one", "two", "free"], ["one", "free"]),
        (["two", "free", "one"], ["two", "free"]),
    ):
        negotiated, _ = negotiate([Offer(name) for name in names], [one, two, free])
        assert [item.name for item in negotiated] == chosen


def test_only_the_first_offers_count() -> None:
    extension = Only("x", (("never", None),))
    assert negotiate([Offer("x")] * 100, [extension]) == ((), [])
    assert len(extension.asked) == MAX_OFFERS


def test_an_extension_cannot_inject() -> None:
    bad: Params = (("a", "1\r\nX: y"),)
    asked = Request("/", Headers(FIELDS), "h", None, (), (Offer("x", bad),))
    with pytest.raises(LocalProtocolError, match=" in Sec-WebSocket-Extensions, got"):
        answer_request(asked, Config(extensions=[Only("x", bad)]), None)
    with pytest.raises(LocalProtocolError, match=" in Sec-WebSocket-Extensions, got"):
        build_request(Uri(False, "h", 80), Config(extensions=[Only("x", bad)]), KEY)


def response(*extra: tuple[str, str]) -> Response:
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(KEY)),
    ]
    return Response(101, Headers([*fields, *extra]))


def check(extensions: Iterable[Only], answer: str) -> tuple[ExtensionNegotiated, ...]:
    config = Config(extensions=list(extensions))
    sent = build_request(URI, config, KEY)
    agreement, agreed = check_response(sent, response(("Sec-WebSocket-Extensions", answer)), config)
    assert len(agreed) == len(agreement.extensions)
    return agreement.extensions


def test_answers_are_confirmed_by_the_setting_they_fit() -> None:
    settings = [Only("x", (("bits", "10"),)), Only("x", (("bits", "9"),)), Only("x")]
    for answer, parameters in (
        ("x; bits=10", (("bits", "10"),)),
        ("x; bits=9", (("bits", "9"),)),
        ("x", ()),
    ):
        assert check(settings, answer) == (ExtensionNegotiated("x", parameters, 0),)
    with pytest.raises(HandshakeError, match="do not fit our offer") as caught:
        check(settings, "x; bits=8")
    assert isinstance(caught.value.__cause__, ExtensionError)
    assert caught.value.response == response(("Sec-WebSocket-Extensions", "x; bits=8"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("z", "extensions that were offered"),
        ("one, one", "twice"),
        ("one, two", "different header bits"),
        ("one, three, two", "different header bits"),
        ("one;", "a parameter name"),
    ],
)
def test_answers_that_do_not_fit(answer: str, why: str) -> None:
    with pytest.raises(HandshakeError, match=why) as caught:
        check([Only("one", rsv=0x40), Only("two", rsv=0x40), Only("three", rsv=0x20)], answer)
    assert caught.value.status == 101
    assert caught.value.__cause__ is None


def test_an_answer_says_what_it_lacks() -> None:
    sent = build_request(URI, Config(), KEY)
    for fields, why in (
        ([("Connection", "close, x")], "the token Upgrade in Connection, got 'close, x'"),
        ([], "the token Upgrade in Connection, got none"),
    ):
        answer = Response(101, Headers([("Upgrade", "websocket"), *fields]))
        with pytest.raises(HandshakeError, match=why):
            check_response(sent, answer, Config())


def test_other_answers() -> None:
    sent = build_request(URI, Config(), KEY)
    with pytest.raises(HandshakeError, match="expected status 101, got 404") as caught:
        check_response(sent, Response(404), Config())
    assert caught.value.status == 404


# -------------------------------------------------------------------------------- rejections


@pytest.mark.parametrize("status", [300, 404, 426, 599, HTTPStatus.FORBIDDEN])
def test_rejections(status: int) -> None:
    for plain in (False, True):
        check_rejection(Response(status), plain=plain)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_success_is_for_plain_requests(status: int) -> None:
    check_rejection(Response(status), plain=True)
    with pytest.raises(LocalProtocolError, match="from 300 to 599"):
        check_rejection(Response(status), plain=False)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Response(199), "from 200 to 599"),
        (Response(600), "from 200 to 599"),
        (Response(304, body=b"x"), "no body"),
        (Response(204, body=b"x"), "no body"),
        (Response(403, body="text"), "a body of bytes, got str"),  # type: ignore[arg-type]
        (Response(403, reason="a\nb"), "the reason phrase"),
        (Response(403, Headers({"Connection": "keep-alive"})), "Connection"),
        (Response(403, Headers({"Content-Length": "1"})), "Content-Length"),
        (Response(403, Headers({"Sec-WebSocket-Accept": "x"})), "Sec-WebSocket-Accept"),
        (Response(403, Headers({"X": "a\r\nb"})), "the header X"),
    ],
)
def test_rejections_that_may_not_be_sent(answer: Response, why: str) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        check_rejection(answer, plain=True)


# ------------------------------------------------------------------ what mutants have shown


def twice(name: str, value: str) -> RequestHead:
    """A request with a field on two lines."""
    others = [(key, text) for key, text in FIELDS.items() if key != name]
    return RequestHead("GET", "/", Headers([*others, (name, value), (name, value)]))


@pytest.mark.parametrize(
    ("head", "status", "why"),
    [
        (
            RequestHead("GET", "/", Headers(FIELDS), version="1.0"),
            400,
            "expected HTTP/1.1, got HTTP/1.0, which knows no upgrade (RFC 9110 section 7.8)",
        ),
        (
            RequestHead("GET", "x", Headers(FIELDS)),
            400,
            "expected a target that is a path or an http or https URI without fragment, got 'x'",
        ),
        (request(Upgrade="h2c"), 426, "expected Upgrade: websocket, got 'h2c'"),
        (
            request(Connection="close"),
            426,
            "expected the token Upgrade in Connection, got 'close'",
        ),
        (
            RequestHead(
                "GET", "/", Headers({k: v for k, v in FIELDS.items() if k != "Connection"})
            ),
            426,
            "expected the token Upgrade in Connection, got none",
        ),
        (
            request(Sec_WebSocket_Version="12"),
            426,
            "expected Sec-WebSocket-Version: 13, got '12'",
        ),
        (
            RequestHead(
                "GET",
                "/",
                Headers({k: v for k, v in FIELDS.items() if k != "Sec-WebSocket-Version"}),
            ),
            400,
            "expected one Sec-WebSocket-Version line, got 0",
        ),
        (request(Expect="x"), 417, "expected no Expect but 100-continue, got 'x'"),
        (
            request(Sec_WebSocket_Protocol=","),
            400,
            "expected a name in Sec-WebSocket-Protocol, got an empty list",
        ),
        (
            request(Sec_WebSocket_Protocol="a, b c"),
            400,
            "expected tokens in Sec-WebSocket-Protocol, got 'b c'",
        ),
        (
            request(Sec_WebSocket_Protocol="a, b, a"),
            400,
            "expected each subprotocol once, got 'a, b, a'",
        ),
        (
            request(Sec_WebSocket_Version="013"),
            400,
            "expected Sec-WebSocket-Version: 13, got '013'",
        ),
        (twice("Origin", "http://h"), 400, "expected at most one Origin line, got 2"),
        (twice("Host", "h"), 400, "expected one Host line, got 2"),
        (
            twice("Sec-WebSocket-Key", KEY),
            400,
            "expected one Sec-WebSocket-Key line, got 2",
        ),
        (
            RequestHead("GET", "/%00", Headers(FIELDS)),
            400,
            "expected a target without an encoded NUL, got '/%00'",
        ),
        (
            request(Host="h:x"),
            400,
            "expected a host with an optional port, got 'h:x' in Host or the target",
        ),
        # White space is a space or a tab (RFC 9110 section 5.6.3), whatever Unicode says.
        (
            request(Connection="\xa0Upgrade"),
            426,
            "expected the token Upgrade in Connection, got '\\xa0Upgrade'",
        ),
    ],
)
def test_a_refusal_says_why(head: RequestHead, status: int, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_request(head, Config())
    assert (caught.value.status, caught.value.why) == (status, why)


def test_a_plain_request_keeps_its_headers() -> None:
    head = RequestHead("GET", "/x", Headers({"Host": "h", "X-One": "1"}))
    plain = check_request(head, Config(plain_http=True))
    assert isinstance(plain, HttpRequest)
    assert plain.headers is head.headers
    assert (plain.target, plain.host) == ("/x", "h")


@pytest.mark.parametrize("status", [200, 299])
def test_any_success_opens_an_extended_connect(status: int) -> None:
    sent = build_request(URI, Config(), None)
    check_response(sent, Response(status, version="2"), Config())
    for other in (199, 300):
        with pytest.raises(HandshakeError, match=f"expected a 2xx status, got {other}"):
            check_response(sent, Response(other, version="2"), Config())


def test_a_rejection_without_a_body() -> None:
    for status in (204, 205, 304):
        with pytest.raises(LocalProtocolError, match=f"expected no body with status {status}"):
            check_rejection(Response(status, body=b"x"), plain=True)
    check_rejection(Response(206, body=b"x"), plain=True)


def test_headers_that_are_not_the_callers_name_their_place() -> None:
    with pytest.raises(LocalProtocolError, match="in this request"):
        build_request(URI, Config(), KEY, {"Upgrade": "x"})
    with pytest.raises(LocalProtocolError, match="in this response"):
        answer_request(checked(), Config(), None, {"Upgrade": "x"})
    for name in ("Connection", "Content-Length", "Keep-Alive", "TE", "Trailer"):
        with pytest.raises(LocalProtocolError, match="in this response"):
            check_rejection(Response(403, Headers({name: "x"})), plain=False)
