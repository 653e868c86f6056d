"""``broadcast`` and prepared messages, on every runtime, against raw peers.

What goes out is tested in ``tests/core/test_prepared.py``; here, whom it reaches, and who is never
waited for.
"""

import threading
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.bindings.peer import Peer
from tests.bindings.runtimes import Link, Log, eventually, recorder
from wsproto_core import ConnectionClosed, Frame, LocalProtocolError, OpCode, PreparedMessage
from wsproto_views import AsyncView, UpgradeRequest, broadcast

BINARY = OpCode.BINARY
BLOCK = 1 << 16


class Listener(AsyncView):
    """Takes what comes, says nothing."""

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        pass


def say(link: Link, data: Any, *arguments: Any, views: Any = None, **options: Any) -> list[Any]:
    """Broadcast in the runtime, by default to all views of ours."""

    async def run() -> list[Any]:
        return broadcast(link.views if views is None else views, data, *arguments, **options)

    return link.call(run)


def fill(link: Link, slow: Any, healthy: Peer) -> list[bytes]:
    """Broadcast until ``slow`` was skipped five times; returns what it took. The other reads along.

    Five, for the system's buffers may still grow when they are full.
    """
    taken, skips = [], 0
    connection = slow.connection
    for number in range(2000):
        block = number.to_bytes(4) * (BLOCK // 4)
        skipped = say(link, block, BINARY)
        held = connection._blocked + connection.bytes_to_send
        assert held <= slow.WRITE_HIGH_WATER + BLOCK + 10
        assert healthy.message() == block
        if not skipped:
            taken.append(block)
            continue
        assert skipped == [slow]
        skips += 1
        if skips == 5:
            return taken
    raise AssertionError("the slow view is never skipped")


# ------------------------------------------------------------------------------ whom it reaches


def test_every_open_view_gets_it(link: Link) -> None:
    peers = [link.open(Listener) for _ in range(3)]
    assert say(link, "grüße") == []
    assert say(link, b"\x00\xff", BINARY) == []
    for peer in peers:
        assert peer.message() == "grüße"
        assert peer.message() == b"\x00\xff"
        peer.bye()


def test_it_keeps_its_place_among_the_others(link: Link) -> None:
    """A hook broadcasts to all, between two messages of its own."""

    class Teller(AsyncView):
        async def on_text(self, text: str) -> None:
            await self.send("before")
            broadcast(link.views, text)
            await self.send("after")

    peers = [link.open(Teller) for _ in range(3)]
    peers[0].text("news")
    assert [peers[0].message() for _ in range(3)] == ["before", "news", "after"]
    for peer in peers[1:]:
        assert peer.message() == "news"


def test_an_iterator_of_views_and_none_at_all(link: Link) -> None:
    peer = link.open(Listener)
    assert say(link, "a", views=iter(link.views)) == []
    assert say(link, "b", views=()) == []
    assert say(link, "c", views={link.view}) == []
    assert [peer.message(), peer.message()] == ["a", "c"]


def test_peers_that_agreed_on_different_things(server: Link) -> None:
    """Each has its own window; ordinary messages go before and after."""
    offers = [
        (None, 0),
        ("permessage-deflate", 15),
        ("permessage-deflate; client_max_window_bits", 15),
        ("permessage-deflate; server_max_window_bits=9", 9),
        ("permessage-deflate; server_no_context_takeover", 15),
    ]
    readers = []
    for offer, bits in offers:
        lines = () if offer is None else [("Sec-WebSocket-Extensions", offer)]
        peer = server.open(Listener, headers=lines)
        readers.append((peer, zlib.decompressobj(-bits) if bits else None))
    text = "The same words for all, " * 10
    message = PreparedMessage(text)
    for _ in range(3):
        assert say(server, message) == []
        for view in server.views:
            server.call(view.send, text)
    assert len(message.encodings) == 3  # plain, a window of 12 bits, and one of 9
    for peer, inflater in readers:
        for _ in range(6):
            first, payload = peer.frame()
            assert first == (0x81 if inflater is None else 0xC1)
            if inflater is not None:
                payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
            assert payload == text.encode()


def test_send_and_post_take_a_prepared_message(link: Link) -> None:
    peer = link.open(Listener)
    message = PreparedMessage(b"\x00\xff", BINARY)
    link.call(link.view.send, message)
    link.view.post(message)  # from the test's thread
    assert [peer.message(), peer.message()] == [b"\x00\xff"] * 2
    peer.bye()
    eventually(lambda: not link.view.is_open)
    with pytest.raises(ConnectionClosed):
        link.call(link.view.send, message)


@pytest.mark.parametrize(
    ("data", "opcode", "error"),
    [
        (b"\xff", OpCode.TEXT, LocalProtocolError),
        ("text", BINARY, TypeError),
        (7, BINARY, TypeError),
        (b"", OpCode.PING, LocalProtocolError),
    ],
)
def test_what_cannot_be_sent_reaches_nobody(
    link: Link, data: Any, opcode: OpCode, error: type[Exception]
) -> None:
    peer = link.open(Listener)
    with pytest.raises(error):
        say(link, data, opcode)
    say(link, "the first")
    assert peer.message() == "the first"


def test_one_view_is_no_iterable_of_views(link: Link) -> None:
    link.open(Listener)
    with pytest.raises(TypeError, match="expected an iterable of views, got one Listener"):
        say(link, "x", views=link.view)


# ------------------------------------------------------------------------------ who is skipped


def test_e3_a_slow_peer_is_skipped_and_told_of(link: Link) -> None:
    """The healthy one gets every message; the slow one holds the mark and one message at most, and
    later reads whole messages, in order."""
    slow_peer = link.open(Listener, window=4096, EXTENSIONS=())
    slow = link.view
    healthy = link.open(Listener, EXTENSIONS=())
    for block in fill(link, slow, healthy):
        assert slow_peer.message() == block
    eventually(lambda: slow.connection.below_mark, "the catching up")
    assert say(link, "again") == []
    assert slow_peer.message() == "again"
    assert healthy.message() == "again"


def test_who_was_skipped_may_be_waited_for(link: Link) -> None:
    slow_peer = link.open(Listener, window=4096, EXTENSIONS=())
    slow = link.view
    healthy = link.open(Listener, EXTENSIONS=())
    taken = fill(link, slow, healthy)
    sending = link.spawn(slow.send, PreparedMessage("late, but sure"))
    for block in taken:
        assert slow_peer.message() == block
    assert slow_peer.message() == "late, but sure"
    assert sending.result() is None


def test_a_peer_that_takes_nothing_of_a_broadcast_is_given_up(link: Link, log: Log) -> None:
    """The send timeout runs although nobody waits for this view."""
    link.open(recorder(log), window=4096, EXTENSIONS=(), SEND_TIMEOUT=0.1)
    slow = link.view
    healthy = link.open(Listener, EXTENSIONS=())
    while slow.is_open:
        say(link, bytes(BLOCK), BINARY)
        assert healthy.message() == bytes(BLOCK)
    log.wait(("close", None))
    assert ("error", "PeerTimeout") in log.entries
    assert say(link, "to the living") == []
    assert healthy.message() == "to the living"


def test_many_at_once_are_no_reason_to_be_skipped(link: Link) -> None:
    """More than the mark in one turn: it is written before anybody is called slow."""
    peers = [link.open(Listener, EXTENSIONS=(), WRITE_HIGH_WATER=2000) for _ in range(2)]

    async def run() -> list[Any]:
        return [view for number in range(200) for view in broadcast(link.views, f"{number:0100}")]

    assert link.call(run) == []
    for peer in peers:
        assert [peer.message() for _ in range(200)] == [f"{number:0100}" for number in range(200)]


def test_many_at_once_from_a_hook(link: Link) -> None:
    """As before, and the hook's own view is among them."""

    class Flood(AsyncView):
        async def on_text(self, text: str) -> None:
            skipped = [v for number in range(200) for v in broadcast(link.views, f"{number:0100}")]
            await self.send(f"{len(skipped)} skipped")

    peers = [link.open(Flood, EXTENSIONS=(), WRITE_HIGH_WATER=2000) for _ in range(2)]
    peers[0].text("go")
    for peer in peers:
        assert [peer.message() for _ in range(200)] == [f"{number:0100}" for number in range(200)]
    assert peers[0].message() == "0 skipped"


def test_no_message_in_parts_is_interrupted(link: Link) -> None:
    """The view in the middle of one is skipped; ``send`` waits for its end."""
    peer = link.open(Listener, EXTENSIONS=())
    view = link.view
    other = link.open(Listener, EXTENSIONS=())
    link.call(view.send_frame, Frame(OpCode.TEXT, False, b"one, "))
    assert say(link, "between") == [view]
    assert other.message() == "between"
    waiting = link.spawn(view.send, PreparedMessage("after"))
    link.call(view.send_frame, Frame(OpCode.CONTINUATION, True, b"two"))
    assert peer.message() == "one, two"
    assert peer.message() == "after"
    waiting.result()
    assert say(link, "to all") == []
    assert peer.message() == "to all"


def test_views_that_end_are_passed_over(link: Link, log: Log) -> None:
    """Closing, closed and never connected: nothing is sent, nobody is told of."""

    class Polite(Listener):
        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    closing_peer = link.open(Polite)
    closing_view = link.view
    closed_peer = link.open(Polite)
    peer = link.open(Polite)
    link.views.append(link.runtime.adopt(Polite)(UpgradeRequest("/", closing_view.request.headers)))
    closed_peer.bye()
    log.wait("closed")
    closing = link.spawn(closing_view.close, 4000, "bye")
    eventually(lambda: not closing_view.is_open)
    assert say(link, "to the living") == []
    assert peer.message() == "to the living"
    assert closing_peer.reply() == (4000, "bye")
    closing.result()


def test_from_many_threads(server: Link) -> None:
    """Views for threads: every message arrives whole, at everybody, in each thread's order."""
    if server.runtime.strictly_async:
        pytest.skip("these views belong to their loop")
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    peers = [server.open(Listener, headers=offer) for _ in range(3)]
    skipped: list[Any] = []

    def run(name: str) -> None:
        for number in range(50):
            skipped.extend(broadcast(server.views, f"{name}{number:0200}"))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for peer in peers:
        heard = list(_inflated(peer, 200))
        for name in "abcd":
            mine = [text for text in heard if text[0] == name]
            assert mine == [f"{name}{number:0200}" for number in range(50)]
    for thread in threads:
        thread.join()
    assert skipped == []


def _inflated(peer: Peer, count: int) -> Iterable[str]:
    inflater = zlib.decompressobj(-15)
    for _ in range(count):
        first, payload = peer.frame()
        assert first == 0xC1
        yield inflater.decompress(payload + b"\x00\x00\xff\xff").decode()
