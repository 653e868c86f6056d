"""``UpgradeRequest``: what views and ``on_request`` see of the opening request."""

from typing import Any

import pytest

from wsproto_core import Headers, HttpRequest, Request, Response
from wsproto_views import UpgradeRequest


def asked(target: str = "/", *lines: tuple[str, str], **more: Any) -> UpgradeRequest:
    return UpgradeRequest(target, Headers(lines), **more)


def test_defaults() -> None:
    request = asked()
    assert (request.method, request.host, request.origin) == ("GET", "", None)
    assert (request.subprotocols, request.client_address, request.is_upgrade) == ((), None, True)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b?c=d", "/a/b"),
        ("/a%20b%2Fc", "/a b/c"),
        ("/%C3%A4?%C3%A4", "/ä"),
        ("/%FF", "/\N{REPLACEMENT CHARACTER}"),
        ("/a?b?c", "/a"),
    ],
)
def test_path(target: str, path: str) -> None:
    assert asked(target).path == path
    assert asked(target).target == target


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/", {}),
        ("/?", {}),
        ("/?a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("/?a", {"a": [""]}),
        ("/?a=%C3%A4+b", {"a": ["ä b"]}),
        ("/?a=b?c=d", {"a": ["b?c=d"]}),
        ("/?&&=&", {"": [""]}),
    ],
)
def test_query(target: str, query: dict[str, list[str]]) -> None:
    assert asked(target).query == query


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([], {}),
        (["a=1"], {"a": "1"}),
        (["a=1; b=2", "c=3"], {"a": "1", "b": "2", "c": "3"}),
        (["a=1;b=2;"], {"a": "1", "b": "2"}),
        (["a=first; a=second"], {"a": "first"}),
        (["a=1; b[]=2; c=3"], {"a": "1", "b[]": "2", "c": "3"}),
        (["path=/; expires=soon; a=1"], {"path": "/", "expires": "soon", "a": "1"}),
        (['a="x\\073 y"; b="q"'], {"a": "x; y", "b": "q"}),
        (["a=b=c"], {"a": "b=c"}),
        (["nonsense; =1; a=1"], {"a": "1"}),
        (["a="], {"a": ""}),
    ],
)
def test_cookies(lines: list[str], cookies: dict[str, str]) -> None:
    assert asked("/", *(("Cookie", line) for line in lines)).cookies == cookies


def test_headers_without_regard_to_case_and_with_repeated_lines() -> None:
    request = asked("/", ("X-A", "1"), ("x-a", "2"))
    assert request.headers["X-a"] == "1, 2"
    assert request.headers.get_all("x-A") == ["1", "2"]


def test_from_an_upgrade() -> None:
    event = Request("/a?b", Headers([("Host", "h")]), "h", "https://o.test", ("x", "y"), ())
    request = UpgradeRequest.from_event(event, ("127.0.0.1", 5))
    assert (request.target, request.host, request.origin) == ("/a?b", "h", "https://o.test")
    assert (request.subprotocols, request.client_address) == (("x", "y"), ("127.0.0.1", 5))
    assert request.is_upgrade


def test_from_a_plain_get() -> None:
    event = HttpRequest("/a", Headers([("Host", "h"), ("Origin", "o")]), "h", Response(426))
    request = UpgradeRequest.from_event(event)
    assert (request.target, request.host, request.origin) == ("/a", "h", "o")
    assert (request.is_upgrade, request.client_address) == (False, None)


def test_repr() -> None:
    assert repr(asked("/a?b")) == "<UpgradeRequest GET /a?b>"
