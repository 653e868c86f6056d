"""The framing in use: the compiled build where it is there, else the pure one.

The only place that chooses. Tests: ``tests/core/test_framing.py``.
"""

from typing import Final

from ._framing_py import FIRST, LAST, FrameDecoder, Piece, encode_frame, encode_header

__all__ = ["COMPILED", "FIRST", "LAST", "FrameDecoder", "Piece", "encode_frame", "encode_header"]

COMPILED: Final = False
"""Whether the compiled framing is in use."""
