"""The line editor: key strokes in, lines out, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from wsview.editor import END, LineEditor

LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"
HOME, TO_END, DELETE, BACKSPACE = b"\x1b[H", b"\x1b[F", b"\x1b[3~", b"\x7f"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"hello\n", "hello"),
        (b"hello\r", "hello"),
        ("grüße 👋\n".encode(), "grüße 👋"),
        (b"helo" + LEFT + b"l\n", "hello"),
        (b"ello" + HOME + b"h" + TO_END + b"!\n", "hello!"),
        (b"xhello" + HOME + DELETE + b"\n", "hello"),
        (b"hellox" + BACKSPACE + b"\n", "hello"),
        (BACKSPACE + LEFT + RIGHT + DELETE + b"\n", ""),
        (b"wrong\x15right\n", "right"),
        (b"one two \x17\n", "one "),
        (b"one two\x01\x1b[C\x0b\n", "o"),
        (b"a\x1bOA\x1b[200~b\x1b[1;5Cc\n", "abc"),
        (b"tab\there\n", "tab\there"),
        (b"ab" + LEFT + b"\x04\n", "a"),
        (b"bad \xff\n", "bad \ufffd"),
    ],
)
def test_keys(keys: bytes, line: str) -> None:
    assert LineEditor().feed(keys) == [line]
    byte_by_byte = LineEditor()
    found = [item for key in keys for item in byte_by_byte.feed(bytes([key]))]
    assert found == [line]


def test_control_d_ends_an_empty_line_only() -> None:
    editor = LineEditor()
    assert editor.feed(b"a\x04") == []
    assert editor.feed(BACKSPACE + b"\x04") == [END]


def test_history() -> None:
    editor = LineEditor()
    assert editor.feed(b"one\ntwo\ntwo\n") == ["one", "two", "two"]
    assert editor.feed(UP + UP + b"\n") == ["one"]
    assert editor.feed(UP + UP + UP + UP + UP + DOWN + DOWN + DOWN + DOWN + b"x\n") == ["x"]


def test_view_fits_and_holds_the_cursor() -> None:
    editor = LineEditor()
    editor.feed(b"abcdefghij")
    assert editor.view(20) == ("abcdefghij", 10)
    assert editor.view(6) == ("fghij", 5)
    editor.feed(HOME)
    assert editor.view(6) == ("abcde", 0)


@given(st.lists(st.binary()), st.integers(1, 40))
def test_anything_may_be_typed(pieces: list[bytes], width: int) -> None:
    editor = LineEditor()
    for piece in pieces:
        editor.feed(piece)
        text, cursor = editor.view(width)
        assert cell_len(text) < width
        assert cursor <= cell_len(text)
        assert "\x1b" not in text
