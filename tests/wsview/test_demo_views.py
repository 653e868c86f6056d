"""The demo's views with a client of ours: joining, saying, and every way to get it wrong."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from wsproto_asyncio import ConnectionClosed, HandshakeError, WebSocketView, connect, serve
from wsview.demo import chat
from wsview.demo.chat import Chat, Refusal, Room, clean_name, find_room, parse
from wsview.demo.echo import Echo
from wsview.demo.site import ROUTES, page

KEY = "k" * 16
DEADLINE = 20.0  # seconds; only reached by a failure


class Visitor:
    """Somebody's page: what it is told, as Python values."""

    def __init__(self, view: WebSocketView) -> None:
        self.view = view

    async def ask(self, **request: Any) -> None:
        await self.view.send_json(request)

    async def told(self, kind: str) -> Any:
        """The next message of that type; others before it are passed over."""
        while True:
            message = json.loads(await self.view.recv())
            if message["type"] == kind:
                return message

    async def join(self, name: str, key: str = KEY) -> Any:
        await self.ask(type="join", name=name, key=key)
        return await self.told("welcome")

    async def closed(self) -> tuple[int, str]:
        try:
            while True:
                await self.view.recv()
        except ConnectionClosed as end:
            return end.code, end.reason


Visit = Callable[..., Awaitable[Visitor]]


@contextlib.asynccontextmanager
async def demo() -> AsyncIterator[Visit]:
    """The demo's server; gives a function that opens a connection to it."""
    Chat.rooms.clear()
    async with (
        asyncio.timeout(DEADLINE),
        serve(ROUTES, on_request=page) as server,
        contextlib.AsyncExitStack() as visits,
    ):

        async def visit(path: str = "/ws/chat/lobby", **options: Any) -> Visitor:
            url = f"ws://127.0.0.1:{server.port}{path}"
            return Visitor(await visits.enter_async_context(connect(url, **options)))

        yield visit


def run(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a plain test of a coroutine function."""

    @functools.wraps(test)
    def plain(**arguments: Any) -> None:
        async def whole() -> None:
            await test(**arguments)

        asyncio.run(whole())

    return plain


# ----------------------------------------------------------------------------------------- chat


@run
async def test_joining_saying_leaving() -> None:
    async with demo() as visit:
        ada, grace = await visit(), await visit(subprotocols=["chat.v1"])
        assert grace.view.subprotocol == "chat.v1"
        assert (await ada.join("  Ada  ")) == {
            "type": "welcome",
            "room": "lobby",
            "name": "Ada",
            "members": ["Ada"],
            "history": [],
        }
        assert (await grace.join("Grace"))["members"] == ["Ada", "Grace"]
        assert (await ada.told("joined"))["name"] == "Grace"
        await ada.ask(type="say", text=" hello ")
        for visitor in (ada, grace):
            said = await visitor.told("said")
            assert (said["name"], said["text"]) == ("Ada", "hello")
        await grace.view.close()
        left = await ada.told("left")
        assert (left["name"], left["members"]) == ("Grace", ["Ada"])


@run
async def test_a_newcomer_is_shown_the_last_messages_only() -> None:
    async with demo() as visit:
        ada = await visit()
        await ada.join("Ada")
        for number in range(chat.MAX_HISTORY + 5):
            await ada.ask(type="say", text=str(number))
            await ada.told("said")
        history = (await (await visit()).join("Grace"))["history"]
        assert [said["text"] for said in history] == [
            str(number) for number in range(5, chat.MAX_HISTORY + 5)
        ]


@run
async def test_the_same_page_may_come_back_before_its_loss_was_noticed() -> None:
    async with demo() as visit:
        before, other, after = await visit(), await visit(), await visit()
        await before.join("Ada", "a" * 16)
        await other.join("Grace", "g" * 16)
        assert (await after.join("Ada", "a" * 16))["members"] == ["Ada", "Grace"]
        assert (await before.closed())[0] == chat.TAKEN_OVER
        # The others have noticed nothing.
        await after.ask(type="say", text="still me")
        message = json.loads(await other.view.recv())
        while message["type"] == "welcome":
            message = json.loads(await other.view.recv())
        assert message["type"] == "said"


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ("hello", "That is not JSON"),
        ("[" * 10_000, "That is not JSON"),
        ("[]", "A request is a JSON object"),
        ('{"type": "dance"}', "A request is a JSON object"),
        ('{"type": "join", "name": "Ada"}', "type join needs: name and key"),
        ('{"type": "say", "text": 3}', "type say needs: text"),
        ('{"type": "ping"}', "type ping needs: id"),
        ('{"type": "say", "text": "x"}', "join the room first"),
        ('{"type": "join", "name": "Ada", "key": "short"}', "key must have 16 to"),
        (json.dumps({"type": "join", "name": " ", "key": KEY}), "1 to 24 printable"),
        (json.dumps({"type": "join", "name": "x" * 25, "key": KEY}), "1 to 24 printable"),
        (json.dumps({"type": "join", "name": "a\x1bb", "key": KEY}), "1 to 24 printable"),
        (json.dumps({"type": "join", "name": "\ud800", "key": KEY}), "1 to 24 printable"),
        (json.dumps({"type": "join", "name": "HOST", "key": KEY}), "The name HOST is taken"),
        (json.dumps({"type": "join", "name": "ＨＯＳＴ", "key": KEY}), "is taken"),
    ],
)
@run
async def test_what_cannot_be_done_is_answered_in_words(sent: str, complaint: str) -> None:
    async with demo() as visit:
        await (await visit()).join("Host", "h" * 16)
        visitor = await visit()
        await visitor.view.send(sent)
        assert complaint in (await visitor.told("error"))["message"]
        # The connection still works.
        assert (await visitor.join("Ada"))["members"] == ["Host", "Ada"]


@pytest.mark.parametrize(
    ("text", "complaint"), [("  ", "is empty"), ("x" * 2001, "2001 characters; 2000 are allowed")]
)
@run
async def test_messages_have_a_length(text: str, complaint: str) -> None:
    async with demo() as visit:
        visitor = await visit()
        await visitor.join("Ada")
        await visitor.ask(type="say", text=text)
        assert complaint in (await visitor.told("error"))["message"]
        await visitor.ask(type="say", text="\x00" * 2000)  # each is six bytes of JSON
        assert len((await visitor.told("said"))["text"]) == 2000


@run
async def test_a_second_join_is_refused() -> None:
    async with demo() as visit:
        visitor = await visit()
        await visitor.join("Ada")
        await visitor.ask(type="join", name="Grace", key=KEY)
        assert "joined already" in (await visitor.told("error"))["message"]


@run
async def test_what_is_no_chat_is_closed_with_the_fitting_code() -> None:
    async with demo() as visit:
        binary, large = await visit(), await visit()
        await binary.view.send_binary(b"\x00")
        assert (await binary.closed())[0] == 1003
        await large.view.send("x" * (1 << 15), compress=False)
        assert (await large.closed())[0] == 1009
        for room in ("LOBBY", "a%2Fb", "x" * 33):
            code, reason = await (await visit(f"/ws/chat/{room}")).closed()
            assert code == 1008
            assert reason.startswith("a room's name has")


@run
async def test_other_sites_may_not_use_it() -> None:
    async with demo() as visit:
        with pytest.raises(HandshakeError) as refused:
            await visit(origin="http://elsewhere.example")
        assert refused.value.status == 403


@run
async def test_ping_before_joining() -> None:
    async with demo() as visit:
        visitor = await visit()
        await visitor.ask(type="ping", id=7)
        assert await visitor.told("pong") == {"type": "pong", "id": 7, "latency": None}


@run
async def test_a_burst_makes_nobody_slow() -> None:
    async with demo() as visit:
        ada, grace = await visit(), await visit()
        await ada.join("Ada")
        await grace.join("Grace")
        count = 5 * chat.MAX_QUEUED
        for number in range(count):
            await ada.ask(type="say", text=str(number))
        for visitor in (ada, grace):
            texts = [(await visitor.told("said"))["text"] for _ in range(count)]
            assert texts == [str(number) for number in range(count)]


@run
async def test_a_slow_member_delays_nobody_and_has_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat, "MAX_QUEUED", 5)
    async with demo() as visit:
        slow, quick = await visit(read_high_water=1), await visit()
        await slow.join("Slow")
        await quick.join("Quick")
        member = Chat.rooms["lobby"]._members["slow"]
        while not member._too_slow:  # many different characters fill the sockets' buffers soon
            await quick.ask(type="say", text="".join(map(chr, range(300, 2200))))
            await quick.told("said")
        code, reason = await slow.closed()
        assert (code, reason) == (chat.TOO_SLOW, "too slow to keep up with the room")
        assert (await quick.told("left"))["name"] == "Slow"


# ---------------------------------------------------------------------------------------- parts


def test_rooms_are_bounded_and_empty_ones_make_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_ROOMS", 2)
    rooms: dict[str, Room] = {}
    first = find_room(rooms, "first")
    assert find_room(rooms, "first") is first
    find_room(rooms, "second")
    find_room(rooms, "third")
    assert list(rooms) == ["third"]


@pytest.mark.parametrize("name", ["Ada", "Ada Lovelace", "日本", "ünïcödé", "x" * 24])
def test_names(name: str) -> None:
    assert clean_name(f" {name}\t") == name


@pytest.mark.parametrize("text", ["", "{", "\x00", "9" * 5000, '{"a":' * 50_000])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(Refusal):
        parse(text)


# ----------------------------------------------------------------------------------------- echo


@run
async def test_echo() -> None:
    async with demo() as visit:
        view = (await visit("/ws/echo")).view
        for message in ("text", b"binary", "", b"", "x" * (1 << 20), bytes(1 << 20)):
            await view.send_binary(message) if isinstance(message, bytes) else await view.send(
                message
            )
            assert await view.recv() == message


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("/close 1000", 1000, ""), ("/close  4000  so  it goes", 4000, "so  it goes")],
)
@run
async def test_echo_closes_as_told(command: str, code: int, reason: str) -> None:
    async with demo() as visit:
        visitor = await visit("/ws/echo")
        await visitor.view.send(command)
        assert await visitor.closed() == (code, reason)


@pytest.mark.parametrize("code", ["", "1005", "999", "5000", "x", "-1", "١٠٠٠", "9" * 5000])
@run
async def test_echo_explains_codes_that_cannot_be_sent(code: str) -> None:
    async with demo() as visit:
        visitor = await visit("/ws/echo")
        await visitor.view.send(f"/close {code} reason")
        assert "cannot be sent as a close code" in str(await visitor.view.recv())


def test_echo_takes_any_message_up_to_its_limit() -> None:
    assert Echo.MAX_FRAME_SIZE == Echo.MAX_MESSAGE_SIZE
