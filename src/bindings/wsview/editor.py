"""A line of input that is edited key by key, so that messages may be shown above it meanwhile.

It knows no terminal: bytes of key strokes go in, finished lines come out, and ``view`` says what
to draw. ``terminal.py`` does the reading and drawing. Tests: ``tests/wsview/test_editor.py``.
"""

import codecs
import re
from enum import Enum, unique
from typing import Final

from rich.cells import cell_len

from .display import escape

__all__ = ["END", "EndOfInput", "LineEditor"]

MAX_HISTORY = 500  # lines

# One key: a control sequence (ESC [ ... letter or ~), the older ESC O letter, an ESC that begins
# neither and is ignored, or one character.
_KEY: Final = re.compile(r"\x1b\[[0-9;?]*[^0-9;?]|\x1bO.|\x1b(?=[^\[O])|[^\x1b]", re.DOTALL)
_LEFT: Final = {"\x1b[D", "\x1bOD", "\x02"}
_RIGHT: Final = {"\x1b[C", "\x1bOC", "\x06"}
_UP: Final = {"\x1b[A", "\x1bOA", "\x10"}
_DOWN: Final = {"\x1b[B", "\x1bOB", "\x0e"}
_HOME: Final = {"\x1b[H", "\x1bOH", "\x1b[1~", "\x01"}
_END: Final = {"\x1b[F", "\x1bOF", "\x1b[4~", "\x05"}
_BACKSPACE: Final = {"\x7f", "\x08"}
_DELETE: Final = {"\x1b[3~"}
_CONTROL_D: Final = "\x04"


@unique
class EndOfInput(Enum):
    """The one thing besides a line that may come out: Ctrl-D on an empty line."""

    END = "end"


END: Final = EndOfInput.END


class LineEditor:
    """A line, a cursor in it, and the lines before it."""

    def __init__(self) -> None:
        self.line = ""
        self.cursor = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pending = ""  # the beginning of a key whose bytes have not all come
        self._history: list[str] = []
        self._place = 0  # in the history; its length means the line being written

    def feed(self, data: bytes) -> list[str | EndOfInput]:
        """Take what the keyboard gave, and give the lines that it finished."""
        self._pending += self._decode(data)
        done: list[str | EndOfInput] = []
        while match := _KEY.match(self._pending):
            self._pending = self._pending[match.end() :]
            if match[0] in "\r\n":
                done.append(self._take())
            elif match[0] == _CONTROL_D and not self.line:
                done.append(END)
            else:
                self._press(match[0])
        return done

    def view(self, width: int) -> tuple[str, int]:
        """Give what fits into ``width`` columns, and the cursor's column within it."""
        before, after = escape(self.line[: self.cursor]), escape(self.line[self.cursor :])
        while cell_len(before) >= width:
            before = before[1:]
        while cell_len(before) + cell_len(after) >= width:
            after = after[:-1]
        return before + after, cell_len(before)

    def _take(self) -> str:
        line = self.line
        if line and self._history[-1:] != [line]:
            self._history = [*self._history, line][-MAX_HISTORY:]
        self._place = len(self._history)
        self._set("")
        return line

    def _set(self, line: str) -> None:
        self.line = line
        self.cursor = len(line)

    def _recall(self, step: int) -> None:
        place = self._place + step
        if 0 <= place <= len(self._history):
            self._place = place
            self._set(self._history[place] if place < len(self._history) else "")

    def _cut(self, start: int, end: int) -> None:
        self.line = self.line[:start] + self.line[end:]
        self.cursor = start

    def _press(self, key: str) -> None:
        cursor, end = self.cursor, len(self.line)
        if key in _LEFT:
            self.cursor = max(0, cursor - 1)
        elif key in _RIGHT:
            self.cursor = min(end, cursor + 1)
        elif key in _HOME:
            self.cursor = 0
        elif key in _END:
            self.cursor = end
        elif key in _UP or key in _DOWN:
            self._recall(-1 if key in _UP else 1)
        else:
            self._change(key)

    def _change(self, key: str) -> None:
        cursor = self.cursor
        if key in _BACKSPACE:
            self._cut(max(0, cursor - 1), cursor)
        elif key in _DELETE or key == _CONTROL_D:
            self._cut(cursor, cursor + 1)
        elif key == "\x15":  # Ctrl-U: all before the cursor
            self._cut(0, cursor)
        elif key == "\x0b":  # Ctrl-K: all after it
            self._cut(cursor, len(self.line))
        elif key == "\x17":  # Ctrl-W: the word before it
            kept = self.line[:cursor].rstrip()
            self._cut(kept.rfind(" ") + 1, cursor)
        elif key == "\t" or key >= " ":
            self.line = self.line[:cursor] + key + self.line[cursor:]
            self.cursor = cursor + 1
