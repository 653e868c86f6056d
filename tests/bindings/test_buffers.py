"""``wsproto_views.buffers``: on both builds it does the same."""

from typing import Any

import pytest

import wsproto_views.buffers as in_use
from tests.builds import pure_twin

K = 1 << 10


@pytest.fixture(params=[in_use, pure_twin(in_use)], ids=["in use", "pure"])
def buffers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ([5], [5]),
        ([1 << 20], [1 << 20]),
        ([2, 3], [5]),
        ([32 * K, 32 * K], [64 * K]),
        ([32 * K, 32 * K + 1], [32 * K, 32 * K + 1]),
        ([1, 2, 64 * K, 3, 4], [3, 64 * K, 7]),
        ([64 * K, 1], [64 * K, 1]),
        ([64 * K, 16 * K - 1, 1, 16 * K], [64 * K, 16 * K, 16 * K]),
    ],
)
def test_small_neighbours_are_joined(buffers: Any, sizes: list[int], joined: list[int]) -> None:
    output = [bytes([at]) * size for at, size in enumerate(sizes)]
    got = buffers.join_small(output)
    assert [len(item) for item in got] == joined
    assert b"".join(got) == b"".join(output)
    assert all(type(item) is bytes for item in got)


def test_what_is_large_is_not_copied(buffers: Any) -> None:
    output = [b"a", b"b" * 64 * K, b"c"]
    assert buffers.join_small(output)[1] is output[1]
