"""``Pair`` under the name that the tests know: it is public, in ``wsproto_core.testing``."""

from wsproto_core.testing.pair import Cut, End, Pair, React, accept_all, by_bytes, by_size, whole

__all__ = ["Cut", "End", "Pair", "React", "accept_all", "by_bytes", "by_size", "whole"]
