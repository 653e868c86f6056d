"""Native code beside ours tells the same (V59): each DEFLATE library that may be installed.

The package itself has no compiled module (``tests/project`` would find one), so these libraries are
the only native path that a peer's bytes can take besides Python's own zlib.
"""

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

import wsproto_core
from fuzz.engines import mutate
from fuzz.harness import load
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


def test_v59_the_package_has_no_compiled_module() -> None:
    """If it gets one, its tests and the fuzzers must run on both builds and compare."""
    files = Path(wsproto_core.__file__).parent.rglob("*")
    assert [file for file in files if file.suffix in (".so", ".pyd", ".pyx", ".c")] == []
