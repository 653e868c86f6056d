"""Extensions of the protocol (RFC 6455 section 9): the interface, and those that come with us.

Only names are gathered here; ``base.py`` says what an extension is.
Tests: ``tests/core/test_extensions.py``.
"""

from .base import Agreed, Codec, Extension, Params, format_extensions, parse_extensions

__all__ = [
    "Agreed",
    "Codec",
    "Extension",
    "Params",
    "format_extensions",
    "parse_extensions",
]
