"""Masking keys: order, freshness, and what a fork does to them."""

import itertools
import os

import pytest

from wsproto_core import entropy
from wsproto_core.entropy import MaskKeys


def test_keys_are_the_source_s_bytes_in_order() -> None:
    counter = itertools.count()
    keys = MaskKeys(lambda size: bytes(next(counter) % 256 for _ in range(size)))
    drawn = b"".join(keys.next() for _ in range(200))
    assert drawn == bytes(index % 256 for index in range(800))


def test_no_key_comes_twice() -> None:
    keys = MaskKeys(os.urandom)
    drawn = [keys.next() for _ in range(2000)]
    assert all(len(key) == 4 for key in drawn)
    assert len(set(drawn)) >= 1999


def test_what_was_drawn_before_a_fork_is_dropped() -> None:
    keys = MaskKeys(os.urandom)
    keys.next()
    drawn = list(keys._keys)
    assert drawn
    entropy._note_fork()  # what the child's first step is
    assert keys.next() not in drawn
    assert not set(keys._keys) & set(drawn)


def test_a_platform_that_cannot_fork_has_nothing_to_note() -> None:
    entropy._ignore(after_in_child=entropy._note_fork)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_v48_a_forked_child_does_not_share_keys_with_its_parent() -> None:
    keys = MaskKeys(os.urandom)
    keys.next()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's coverage is not collected
        os.write(writer, b"".join(keys.next() for _ in range(16)))
        os._exit(0)
    os.close(writer)
    theirs = os.read(reader, 64)
    os.close(reader)
    os.waitpid(child, 0)
    ours = b"".join(keys.next() for _ in range(16))
    assert len(theirs) == 64
    assert not {ours[i : i + 4] for i in range(0, 64, 4)} & {
        theirs[i : i + 4] for i in range(0, 64, 4)
    }
