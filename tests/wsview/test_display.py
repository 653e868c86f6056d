"""What reaches a terminal is harmless and bounded."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsview.display import describe_close, escape, hex_dump, milliseconds, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcödé, 日本語", "plain text, ünïcödé, 日本語"),
        ("red \x1b[31m", r"red \x1b[31m"),
        ("C1 \x9b31m", r"C1 \x9b31m"),
        ("two\r\nlines\t", r"two\r\nlines\t"),
        ("bell \a, delete \x7f, null \0", r"bell \x07, delete \x7f, null \x00"),
        ("reversed \u202e", r"reversed \u202e"),
        ("separators \u2028\u2029", r"separators \u2028\u2029"),
        ("half \ud800", r"half \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_escape_leaves_nothing_that_controls(text: str) -> None:
    shown = escape(text)
    assert {unicodedata.category(character) for character in shown}.isdisjoint(
        {"Cc", "Zl", "Zp", "Cs"}
    )
    shown.encode()
    assert escape(shown) == shown


def test_escape_says_how_much_is_missing() -> None:
    assert escape("abcdef", 4) == "abcd ... (2 more characters)"
    assert escape("abcd", 4) == "abcd"


def test_hex_dump() -> None:
    assert hex_dump(b"\x00\xffAB" + bytes(12) + b"z") == [
        "000000  00 ff 41 42 00 00 00 00 00 00 00 00 00 00 00 00  |..AB............|",
        "000010  7a                                               |z|",
    ]
    assert hex_dump(b"") == []


def test_hex_dump_is_bounded() -> None:
    lines = hex_dump(memoryview(bytes(1 << 20)), most=24)
    assert len(lines) == 3
    assert lines[1].startswith("000010  00 00 00 00 00 00 00 00    ")
    assert lines[2] == "... (1024.0 KiB more)"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 bytes"), (1, "1 byte"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB")]
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


def test_milliseconds() -> None:
    assert milliseconds(0.01234) == "12.3 ms"


@pytest.mark.parametrize(
    ("code", "reason", "shown"),
    [
        (1000, "", "1000 (normal closure)"),
        (1000, "bye \x1b[2J", r"1000 (normal closure): bye \x1b[2J"),
        (4321, None, "4321"),
        (None, None, "no close code"),
    ],
)
def test_describe_close(code: int | None, reason: str | None, shown: str) -> None:
    assert describe_close(code, reason) == shown
