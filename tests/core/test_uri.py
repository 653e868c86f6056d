"""Addresses: what section 1 of the conformance matrix leaves open. No connection is made here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.errors import LocalProtocolError
from wsproto_core.uri import InvalidUri, Uri, parse_uri, split_host_untrusted


def test_all_parts() -> None:
    assert parse_uri("WSS://User:p%40ss@Example.COM:8443/a//b?c=d") == Uri(
        secure=True,
        host="example.com",
        port=8443,
        target="/a//b?c=d",
        user="User",
        password="p@ss",
    )


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("ws://h/", None, None),
        ("ws://u@h/", "u", None),
        ("ws://u:@h/", "u", ""),
        ("ws://@h/", "", None),
        ("ws://h/a@b", None, None),
        ("ws://u%C3%A9@h/", "ué", None),
    ],
)
def test_user_information(text: str, user: str | None, password: str | None) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.password, uri.host) == (user, password, "h")


@pytest.mark.parametrize(
    ("uri", "header"),
    [
        (Uri(False, "h", 80), "h"),
        (Uri(False, "h", 443), "h:443"),
        (Uri(True, "h", 443), "h"),
        (Uri(True, "::1", 443), "[::1]"),
        (Uri(True, "::1", 80), "[::1]:80"),
    ],
)
def test_host_header(uri: Uri, header: str) -> None:
    assert uri.host_header == header


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ws://h/a b", "got ' ' at position 8"),
        ("ws://h/\x7f", "control characters"),
        ("ws://h\\@evil/", "user information"),
        ("ws://a@b@h/", "user information"),
        ("ws://é@h/", "user information"),
        ("ws://[:::]/", "IPv6 address"),
        ("ws://[1.2.3.4]/", "IPv6 address"),
        ("ws://[fe80::1%25eth0]/", "expected a host"),
        ("ws://[::1]x/", "expected a host"),
        ("ws://h%41/", "expected a host"),
        ("ws://a／b/", "expected a host"),
        ("ws://ä..b/", "a form in ASCII"),
        ("ws://h:0/", "from 1 to 65535"),
        ("ws://h/\ud800", "surrogates"),
        (f"ws://{'x' * 500}^/", "expected a host"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidUri, match=why) as caught:
        parse_uri(text)
    assert isinstance(caught.value, LocalProtocolError)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    ["http://u:secret@h/", "ws://u:secret@h:99999/", "ws://u:secret@h/#x", "ws://u:secret@h:0/"],
)
def test_errors_keep_passwords_to_themselves(text: str) -> None:
    with pytest.raises(InvalidUri) as caught:
        parse_uri(text)
    assert "secret" not in str(caught.value)
    assert "@h" in str(caught.value)


@pytest.mark.parametrize("text", [None, b"ws://h/", 1])
def test_only_text_is_an_address(text: object) -> None:
    with pytest.raises(InvalidUri, match="as str"):
        parse_uri(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [("h", ("h", None)), ("h:", ("h", None)), ("h:80", ("h", 80)), ("[::1]:0", ("[::1]", 0))],
)
def test_host_and_port(text: str, parts: tuple[str, int | None]) -> None:
    assert split_host_untrusted(text) == parts


@given(st.text())
def test_any_text_is_a_uri_or_an_invalid_uri(text: str) -> None:
    for candidate in (text, f"ws://{text}", f"ws://h/{text}"):
        try:
            uri = parse_uri(candidate, allow_http=True)
        except InvalidUri:
            continue
        assert uri.target.startswith("/")
        assert uri.target.isascii()
        assert uri.target.isprintable()
        assert " " not in uri.target
        assert split_host_untrusted(uri.host_header)
