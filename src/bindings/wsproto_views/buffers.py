# cython: annotation_typing=False
"""What is written, in few buffers. Tests: ``tests/bindings/test_buffers.py``."""

from typing import Any, Final

__all__ = ["JOIN", "join_small"]

JOIN = 1 << 16
"""Bytes: buffers up to this together are joined into one; larger ones are not copied."""

_JOIN: Final = JOIN  # a C integer
_SMALL: Final = JOIN // 4


def join_small(output: list[bytes]) -> list[Any]:
    """The same bytes in few buffers: small neighbours joined, large ones as they are."""
    if len(output) == 1:
        return list(output)
    size = 0
    for item in output:
        size += len(item)
    if size <= _JOIN:
        return [b"".join(output)]
    joined: list[Any] = []
    small: list[bytes] = []
    for item in output:
        if len(item) < _SMALL:
            small.append(item)
            continue
        if small:
            joined.append(b"".join(small))
            small.clear()
        joined.append(item)
    if small:
        joined.append(b"".join(small))
    return joined
