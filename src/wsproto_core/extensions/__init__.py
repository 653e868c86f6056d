"""Extensions of the protocol (RFC 6455 section 9): the interface, and those that come with us.

Only names are gathered here; ``base.py`` says what an extension is.
Tests: ``tests/core/test_extensions.py``, ``tests/core/test_deflate.py``.
"""

from .base import Agreed, Codec, Extension, Params, Preparer, format_extensions, parse_extensions
from .deflate import PerMessageDeflate

__all__ = [
    "Agreed",
    "Codec",
    "Extension",
    "Params",
    "PerMessageDeflate",
    "Preparer",
    "format_extensions",
    "parse_extensions",
]
