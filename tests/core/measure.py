"""Bounds that a test can hold: how much memory is used, and how time grows with the input."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Memory", "assert_linear", "measured"]


class Memory:
    """Bytes above what was there before: ``held`` now, ``peak`` at most. Read after the block."""

    held = 0
    peak = 0


@contextmanager
def measured() -> Iterator[Memory]:
    """Count what is allocated inside the block."""
    memory = Memory()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield memory
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        memory.held, memory.peak = held - before, peak - before
    finally:
        tracemalloc.stop()


def assert_linear(run: Callable[[int], object], size: int, *, within: float = 2.6) -> None:
    """Twice the input costs at most ``within`` times the processor time.

    Noise only ever adds time, so the best of a few runs counts, and a bad quotient is measured
    again: what is quadratic stays bad, however often it is tried.
    """
    quotient = 0.0
    for _ in range(4):
        small = large = float("inf")
        for _ in range(3):
            small = min(small, _cost(run, size))
            large = min(large, _cost(run, 2 * size))
        quotient = large / max(small, 1e-9)
        if quotient <= within:
            return
    raise AssertionError(f"twice the input took {quotient:.2f} times as long")


def _cost(run: Callable[[int], object], size: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        run(size)
        return time.process_time() - start
    finally:
        gc.enable()
