"""``Frame``: the value that views show."""

import dataclasses

import pytest

from tests.core.wire import close_body
from wsproto_core import Frame, OpCode


def test_defaults() -> None:
    frame = Frame(OpCode.TEXT)
    assert (frame.fin, frame.payload) == (True, b"")
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)
    assert frame == Frame(OpCode.TEXT, True, b"")
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.fin = False  # type: ignore[misc]


def test_text() -> None:
    assert Frame(OpCode.TEXT, payload="é".encode()).text == "é"
    with pytest.raises(UnicodeDecodeError):
        _ = Frame(OpCode.BINARY, payload=b"\xff").text


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (close_body(1000, "bye"), 1000, "bye"),
        (close_body(4999), 4999, ""),
        (b"", 1005, ""),
        (b"\x03", 1005, ""),
        (close_body(1000, b"a\xff"), 1000, "a\ufffd"),
    ],
)
def test_a_close_frame(payload: bytes, code: int, reason: str) -> None:
    frame = Frame(OpCode.CLOSE, payload=payload)
    assert (frame.close_code, frame.close_reason) == (code, reason)


@pytest.mark.parametrize("opcode", set(OpCode) - {OpCode.CLOSE})
def test_only_close_frames_have_a_code(opcode: OpCode) -> None:
    frame = Frame(opcode, payload=close_body(1000, "bye"))
    assert (frame.close_code, frame.close_reason) == (None, None)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (Frame(OpCode.TEXT, payload=b"hi"), "TEXT [2 bytes: b'hi'] fin"),
        (Frame(OpCode.PING), "PING [0 bytes: b''] fin"),
        (Frame(OpCode.BINARY, fin=False, payload=b"\0"), "BINARY [1 bytes: b'\\x00']"),
        (
            Frame(OpCode.TEXT, rsv1=True, rsv2=True, rsv3=True),
            "TEXT [0 bytes: b''] fin rsv1 rsv2 rsv3",
        ),
    ],
)
def test_as_a_line(frame: Frame, text: str) -> None:
    assert str(frame) == text


def test_a_line_is_bounded_and_printable() -> None:
    line = str(Frame(OpCode.BINARY, payload=b"\x1b[2J\r\n" * 100_000))
    assert len(line) < 300
    assert line.isprintable()
    assert "..." in line
    assert "[600000 bytes" in line
