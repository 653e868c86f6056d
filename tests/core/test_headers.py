"""``Headers`` and the two heads: names without case, repeated lines, order."""

from collections.abc import Mapping

import pytest

from wsproto_core import Headers, RequestHead, Response

LINES = [("Host", "h"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "a=b")]


def test_lookup_ignores_case() -> None:
    headers = Headers(LINES)
    assert headers["HOST"] == "h"
    assert headers["host"] == "h"
    assert "hOsT" in headers
    assert "other" not in headers
    assert 5 not in headers  # type: ignore[comparison-overlap]
    assert headers.get("other") is None
    with pytest.raises(KeyError, match="other"):
        _ = headers["other"]


def test_repeated_lines_are_kept_and_joined() -> None:
    headers = Headers(LINES)
    assert headers["x-a"] == "1, 2"
    assert headers.get_all("X-A") == ["1", "2"]
    assert headers.get_all("other") == []
    assert headers.raw == tuple(LINES)


def test_it_is_a_mapping_of_distinct_names() -> None:
    headers = Headers(LINES)
    assert isinstance(headers, Mapping)
    assert list(headers) == ["host", "x-a", "cookie"]
    assert len(headers) == 3
    assert dict(headers) == {"host": "h", "x-a": "1, 2", "cookie": "a=b"}


def test_what_it_is_made_of() -> None:
    assert Headers().raw == ()
    assert Headers({"A": "1"}).raw == (("A", "1"),)
    assert Headers(Headers(LINES)).raw == tuple(LINES)
    assert Headers(line for line in LINES).raw == tuple(LINES)


def test_equal_whatever_the_case_of_names() -> None:
    assert Headers([("A", "x")]) == Headers([("a", "x")])
    assert hash(Headers([("A", "x")])) == hash(Headers([("a", "x")]))
    assert Headers([("A", "x")]) != Headers([("a", "X")])
    assert Headers([("A", "1"), ("B", "2")]) != Headers([("B", "2"), ("A", "1")])
    assert Headers([("A", "1")]) != {"a": "1"}


@pytest.mark.parametrize("lines", [LINES, [], [("A", "")], [("A", "\xff")], [("A", "x\ny")]])
def test_packed_it_says_the_same(lines: list[tuple[str, str]]) -> None:
    headers = Headers(lines)
    for _ in range(2):
        headers._pack()
        assert headers.raw == tuple(lines)
        assert headers == Headers(lines)
        assert hash(headers) == hash(Headers(lines))
        assert repr(headers) == repr(Headers(lines))
        assert list(headers) == list(Headers(lines))
        assert len(headers) == len(Headers(lines))
        assert headers.get_all("a") == Headers(lines).get_all("a")
        assert Headers(headers) == Headers(lines)


def test_repr() -> None:
    assert repr(Headers([("A", "x")])) == "Headers([('A', 'x')])"


def test_a_response_takes_what_headers_take() -> None:
    expected = Headers([("Retry-After", "5")])
    assert Response(503, {"Retry-After": "5"}).headers == expected  # type: ignore[arg-type]
    assert Response(503, [("Retry-After", "5")]).headers == expected  # type: ignore[arg-type]
    assert Response(503, expected).headers is expected


def test_heads() -> None:
    head = RequestHead("GET", "/")
    assert (head.headers, head.version) == (Headers(), "1.1")
    response = Response(404)
    assert (response.headers, response.body, response.reason) == (Headers(), b"", "")
    assert response == Response(404)
    assert response != Response(404, body=b"x")
