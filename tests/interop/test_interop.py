"""Our asyncio server and client against peers that others wrote, on loopback.

Every test runs with each peer of ``peers.py`` in both roles. Both ends of the connection are in the
test's hands, so nothing sleeps: each step waits for what the other end tells.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from tests.interop.ours import Ours, our_client, our_server
from tests.interop.peers import CLIENTS, SERVERS, Peer
from wsproto_asyncio import PerMessageDeflate

pytestmark = pytest.mark.anyio

TEXT = "grün, λόγος, 日本語, 🦆, \x00 and \u2028"
BINARY = bytes(range(256)) * 3
MIB = 1 << 20


class Ends(NamedTuple):
    ours: Ours
    theirs: Peer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[pytest.param(False, id="plain"), pytest.param(True, id="deflated")])
def compressed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(
    params=[
        *(pytest.param(("server", name), id=f"our server, {name} client") for name in CLIENTS),
        *(pytest.param(("client", name), id=f"our client, {name} server") for name in SERVERS),
    ]
)
async def ends(request: pytest.FixtureRequest, compressed: bool) -> AsyncIterator[Ends]:
    role, name = request.param
    extensions = [PerMessageDeflate()] if compressed else []
    if role == "server":
        async with our_server(extensions) as server, CLIENTS[name](server.url) as theirs:
            yield Ends(await server.accepted(), theirs)
    else:
        async with SERVERS[name]() as listening, our_client(listening.url, extensions) as ours:
            yield Ends(ours, await listening.accepted())


async def test_messages_are_compressed_if_we_want_it(ends: Ends, compressed: bool) -> None:
    assert ends.ours.extensions == (["permessage-deflate"] if compressed else [])


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(TEXT, id="text"),
        pytest.param(BINARY, id="binary"),
        pytest.param("", id="empty text"),
        pytest.param(b"", id="empty binary"),
        # Around the lengths at which the header grows.
        pytest.param("x" * 125, id="125"),
        pytest.param("x" * 126, id="126"),
        pytest.param(b"x" * 65535, id="65535"),
        pytest.param(b"x" * 65536, id="65536"),
        pytest.param("日本" * (MIB // 6) + "....", id="1 MiB of text"),
        pytest.param(BINARY[:256] * (MIB // 256), id="1 MiB of binary"),
    ],
)
async def test_a_message_arrives_unchanged_both_ways(ends: Ends, message: str | bytes) -> None:
    await ends.theirs.send(message)
    assert await ends.ours.receive() == message
    await ends.ours.send(message)
    assert await ends.theirs.receive() == message


async def test_a_burst_of_messages_keeps_its_order_both_ways(ends: Ends) -> None:
    messages: list[str | bytes] = [
        f"number {number}" if number % 2 else str(number).encode() for number in range(300)
    ]
    for message in messages:
        await ends.theirs.send(message)
    assert [await ends.ours.receive() for _ in messages] == messages
    for message in messages:
        await ends.ours.send(message)
    assert [await ends.theirs.receive() for _ in messages] == messages


@pytest.mark.parametrize(
    "parts",
    [
        # Cut inside a character, where the peer can: a fragment need not be valid by itself.
        pytest.param(["one ", "", "two ", TEXT], id="text"),
        pytest.param([BINARY, b"", BINARY[:7]], id="binary"),
    ],
)
class TestFragments:
    """Messages in several frames, with a ping between two of them."""

    async def test_from_them(self, ends: Ends, parts: list[str] | list[bytes]) -> None:
        if not ends.theirs.can_fragment:
            pytest.skip("this peer has no call that sends fragments")
        await ends.theirs.send_fragments(parts, b"between")
        assert await ends.ours.receive() == type(parts[0])().join(parts)  # type: ignore[arg-type]

    async def test_from_us(self, ends: Ends, parts: list[str] | list[bytes]) -> None:
        await ends.ours.send_fragments(parts, b"between")
        assert await ends.theirs.receive() == type(parts[0])().join(parts)  # type: ignore[arg-type]


async def test_pings_are_answered_both_ways(ends: Ends) -> None:
    for payload in (b"are you there?", b"x" * 125):
        await ends.theirs.ping(payload)
        await ends.ours.ping(payload)
    # ... and messages go on after them.
    await ends.theirs.send("yes")
    assert await ends.ours.receive() == "yes"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(1000, "", id="1000"),
        pytest.param(1001, "going", id="1001"),
        pytest.param(3000, "registered", id="3000"),
        pytest.param(4999, "é" * 61 + "!", id="4999 and the longest reason"),
    ],
)
class TestClosing:
    """Either side ends it; both see the same code and reason."""

    async def test_they_close(self, ends: Ends, code: int, reason: str) -> None:
        await ends.theirs.send("last words")
        assert await ends.ours.receive() == "last words"
        await ends.theirs.close(code, reason)
        assert await ends.ours.ended() == (code, reason)
        if ends.theirs.echoes:
            assert (await ends.theirs.ended())[0] == code

    async def test_we_close(self, ends: Ends, code: int, reason: str) -> None:
        await ends.ours.send("last words")
        assert await ends.theirs.receive() == "last words"
        await ends.ours.close(code, reason)
        assert await ends.theirs.ended() == (code, reason)
        if ends.theirs.echoes:
            assert (await ends.ours.ended())[0] == code
