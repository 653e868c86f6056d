"""What may be shown on a terminal, and how: text made harmless, bytes as a dump, sizes.

Pure functions; nothing here writes anything. Tests: ``tests/wsview/test_display.py``.
"""

import unicodedata
from typing import Final

from wsproto_core import CloseCode

__all__ = ["Buffer", "describe_close", "escape", "hex_dump", "milliseconds", "size"]

Buffer = bytes | bytearray | memoryview

# Control characters (Cc) begin terminal sequences. Format characters (Cf) and separators (Zl, Zp)
# can reorder or split what is read, and surrogates (Cs) cannot be encoded.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# The joiners within emoji and scripts are Cf too, but only shape the letters beside them.
_HARMLESS: Final = frozenset({"\u200c", "\u200d"})


def escape(text: str, most: int | None = None) -> str:
    r"""Make text from outside one line that cannot control a terminal.

    Control and format characters become ``\n``, ``\x1b`` or ``\u202e`` as in Python; all others
    stay. More than ``most`` characters are cut, and the number of the missing ones is said.
    """
    missing = 0 if most is None else max(0, len(text) - most)
    shown = text[: len(text) - missing]
    if not shown.isprintable():  # fast, and nearly always true
        shown = "".join(map(_escape_one, shown))
    return f"{shown} ... ({missing} more characters)" if missing else shown


def _escape_one(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE or character in _HARMLESS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def hex_dump(data: Buffer, most: int = 256) -> list[str]:
    """Show bytes as lines of offset, 16 bytes in hexadecimal, and the ASCII among them.

    At most ``most`` bytes are shown; a last line says how many are missing.
    """
    lines = []
    for start in range(0, min(len(data), most), 16):
        row = bytes(data[start : min(start + 16, most)])
        ascii_part = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:06x}  {row.hex(' '):<47}  |{ascii_part}|")
    if len(data) > most:
        lines.append(f"... ({size(len(data) - most)} more)")
    return lines


def size(count: int) -> str:
    """Give a number of bytes a unit that reads well."""
    if count < 1024:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    if count < 1 << 20:
        return f"{count / 1024:.1f} KiB"
    return f"{count / (1 << 20):.1f} MiB"


def milliseconds(seconds: float) -> str:
    """Show a time in milliseconds."""
    return f"{seconds * 1000:.1f} ms"


def describe_close(code: int | None, reason: str | None) -> str:
    """Name a close code and its reason, such as ``1000 (normal closure): bye``."""
    if code is None:
        return "no close code"
    try:
        shown = f"{code} ({CloseCode(code).name.lower().replace('_', ' ')})"
    except ValueError:  # 3000 to 4999 are nobody's in particular
        shown = str(code)
    return f"{shown}: {escape(reason)}" if reason else shown
