"""Native code beside ours tells the same (V59): each DEFLATE library that may be installed.

And our own compiled build, beside the pure one. ``tests/builds.py`` runs the tests of the core on
both; here are the inputs of the fuzz targets, compared to the byte.
"""

import random
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import pytest

import wsproto_core
from fuzz.engines import mutate
from fuzz.harness import load
from tests.builds import twins
from wsproto_core import Agreement, Config, Connection, ExtensionNegotiated, Role
from wsproto_core.extensions import PerMessageDeflate

Library: TypeAlias = Literal["zlib", "zlib-ng", "isal"]

LIBRARIES = [
    pytest.param(
        name, marks=pytest.mark.skipif(find_spec(module) is None, reason=f"{name} is not installed")
    )
    for name, module in (("zlib-ng", "zlib_ng"), ("isal", "isal"))
]


def told(library: Library, stream: bytes) -> list[str]:
    """Events of a server, how it ended and what it wrote, but for the words of the library."""
    agreed = PerMessageDeflate(backend=library).accept(())
    assert agreed is not None
    connection = Connection.after_handshake(
        Role.SERVER,
        Config(max_message_size=2048),
        Agreement(extensions=(ExtensionNegotiated("permessage-deflate", (), 0x40),)),
        now=0.0,
        codecs=(agreed.codec(Role.SERVER),),
    )
    connection.receive_data(stream, 0.0)
    events: list[str] = []
    while more := connection.events():
        events += map(repr, more)
    sent = connection.close_sent
    return [*events, repr(sent and sent.code), type(connection.error).__name__]


def streams() -> list[bytes]:
    """The seeds of a fuzz target, and what is near them."""
    target = load("client_frames")
    chooser = random.Random(59)
    found = [seed[3:] for seed in target.SEEDS]
    for stream in list(found):
        found += [mutate(stream, chooser.choice(found), target.TOKENS, chooser) for _ in range(10)]
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_v59_each_inflater_tells_the_same(library: Library) -> None:
    inflated = 0
    for stream in streams():
        seen = told("zlib", stream)
        inflated += any(event.startswith("Message") for event in seen) and b"\xc1" in stream
        assert told(library, stream) == seen, stream.hex()
    assert inflated > 50


def story(build: Any, role: str, stream: bytes, size: int) -> list[str]:
    """All that a connection of one build tells and writes, given ``stream`` in parts."""
    agreed = build.extensions.deflate.PerMessageDeflate(backend="zlib").accept(())
    connection = build.Connection.after_handshake(
        build.Role[role],
        build.Config(max_message_size=2048, max_frame_size=1024, read_high_water=300),
        build.Agreement(extensions=(build.ExtensionNegotiated("permessage-deflate", (), 0x40),)),
        now=0.0,
        codecs=(agreed.codec(build.Role[role]),),
        random=bytes,
    )
    lines: list[str] = []
    for start in range(0, len(stream), size):
        connection.receive_data(stream[start : start + size], 0.0)
        while more := connection.events():
            lines += map(repr, more)
        lines.append(b"".join(connection.data_to_send()).hex())
    return [*lines, repr(connection), repr(connection.error), repr(connection.partial_message)]


@pytest.mark.skipif(not wsproto_core.COMPILED, reason="there is no compiled build here")
@pytest.mark.parametrize("role", ["SERVER", "CLIENT"])
def test_v59_both_builds_tell_the_same(role: str) -> None:
    """Events, output, errors and their texts, to the byte, whatever the input and its cut."""
    with twins.active():
        pure: Any = import_module("wsproto_core")
    assert not pure.COMPILED
    target = load("client_frames" if role == "SERVER" else "server_frames")
    chooser = random.Random(60)
    seeds = [seed[3:] for seed in target.SEEDS]
    told = set()
    for stream in seeds + [
        mutate(chooser.choice(seeds), chooser.choice(seeds), target.TOKENS, chooser)
        for _ in range(1500)
    ]:
        size = chooser.choice((1, 2, 7, 1 << 16))
        seen = story(wsproto_core, role, stream, size)
        assert story(pure, role, stream, size) == seen, (size, stream.hex())
        told.add(seen[-2])
    assert len(told) > 10  # ways to end
