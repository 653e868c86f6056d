"""The kit that this library is tested with, for your tests: no socket, no clock, no loop."""

from .pair import Cut, End, Pair, React, accept_all, by_bytes, by_size, whole

__all__ = ["Cut", "End", "Pair", "React", "accept_all", "by_bytes", "by_size", "whole"]
