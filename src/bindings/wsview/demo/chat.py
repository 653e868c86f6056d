"""The chat: one ``Chat`` view for each connection, one ``Room`` for each address.

The page and the view speak JSON. From the page::

    {"type": "join", "name": "Ada", "key": "..."}     {"type": "say", "text": "Hello"}
    {"type": "ping", "id": 7}

From the view: ``welcome`` (name, members, history), ``joined``, ``left``, ``said``, ``pong``, and
``error`` with a sentence for people. Those who have not joined may ping, and nothing else.
"""

import asyncio
import json
import logging
import re
import secrets
import time
import unicodedata
from collections import deque
from typing import Any, ClassVar

from wsproto_asyncio import CloseCode, ConnectionClosed, Frame, WebSocketView

__all__ = ["Chat", "Member", "Room"]

log = logging.getLogger("wsview.demo")

MAX_NAME = 24  # characters
MAX_TEXT = 2_000  # characters
MAX_KEY = 64  # characters
MAX_HISTORY = 50  # messages that a newcomer is shown
MAX_MEMBERS = 100  # in one room
MAX_ROOMS = 200  # on one server
MAX_QUEUED = 100  # messages that a slow member may lag behind

# 4000 to 4999 are the application's own close codes (RFC 6455 section 7.4.2).
TAKEN_OVER = 4001
TOO_SLOW = 4002


class Refusal(Exception):
    """What the page asked for cannot be done; the text says why, to a person."""


class Member:
    """Somebody in a room: a name, and a queue of what they have not been sent yet.

    ``send`` waits while a peer is slow to read. Each member has a task that does this waiting, so
    that a slow member delays nobody else; one who lags too far behind has to leave.
    """

    def __init__(self, view: "Chat", name: str, key: str) -> None:
        self.view = view
        self.name = name
        self.key = key
        self._queue: asyncio.Queue[str] = asyncio.Queue(MAX_QUEUED)
        self._too_slow = False
        self._task = asyncio.create_task(self._deliver())

    def post(self, text: str) -> None:
        """Queue a message; never waits and never fails."""
        if self._queue.full():
            self._too_slow = True
        if not self._too_slow:
            self._queue.put_nowait(text)

    def stop(self) -> None:
        """Send nothing more."""
        self._task.cancel()

    async def _deliver(self) -> None:
        try:
            while not self._too_slow:
                await self.view.send_text(await self._queue.get())
        except ConnectionClosed:
            return  # the view's on_close tells the room
        await self.view.send_close(TOO_SLOW, "too slow to keep up with the room")


class Room:
    """Members by name, and the last messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._members: dict[str, Member] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=MAX_HISTORY)

    @property
    def names(self) -> list[str]:
        """Who is here, in the order of joining."""
        return [member.name for member in self._members.values()]

    def join(self, view: "Chat", name: str, key: str) -> tuple[Member, Member | None]:
        """Let a view in. The second result is the member it replaces, or ``None``.

        A page that lost its connection comes back before the server has noticed the loss. Its key,
        which only that page knows, lets it have its name again; anybody else is refused.
        """
        name = clean_name(name)
        before = self._members.get(folded(name))
        if before is not None and not secrets.compare_digest(before.key.encode(), key.encode()):
            raise Refusal(f"The name {name} is taken in this room. Please choose another one.")
        if before is None and len(self._members) >= MAX_MEMBERS:
            raise Refusal(f"The room is full: {MAX_MEMBERS} people are here.")
        member = Member(view, name, key)
        self._members[folded(name)] = member
        member.post(
            json.dumps(
                {
                    "type": "welcome",
                    "room": self.name,
                    "name": name,
                    "members": self.names,
                    "history": list(self._history),
                }
            )
        )
        if before is None:
            self._tell({"type": "joined", "name": name, "members": self.names}, besides=member)
        else:
            before.stop()
        return member, before

    def say(self, member: Member, text: str) -> None:
        """Pass a message on to everybody, its author included."""
        text = text.strip()
        if not text:
            raise Refusal("The message is empty.")
        if len(text) > MAX_TEXT:
            raise Refusal(f"The message has {len(text)} characters; {MAX_TEXT} are allowed.")
        message = {"type": "said", "name": member.name, "text": text, "time": time.time()}
        self._history.append(message)
        self._tell(message)

    def leave(self, member: Member) -> None:
        """Let a member go, unless somebody else has taken their place already."""
        member.stop()
        if self._members.get(folded(member.name)) is member:
            del self._members[folded(member.name)]
            self._tell({"type": "left", "name": member.name, "members": self.names})

    def _tell(self, message: dict[str, Any], besides: Member | None = None) -> None:
        text = json.dumps({**message, "time": message.get("time", time.time())})
        for member in self._members.values():
            if member is not besides:
                member.post(text)


class Chat(WebSocketView):
    """One connection to a room. It joins when the page has said a name."""

    SUBPROTOCOLS = ("chat.v1",)
    MAX_MESSAGE_SIZE = MAX_FRAME_SIZE = 16 << 10  # MAX_TEXT characters, however they are escaped
    PING_INTERVAL = 5  # seconds; more often than usual, to show the latency soon
    SEND_TIMEOUT = 20  # seconds; nobody should be able to fill the queues for long

    rooms: ClassVar[dict[str, Room]] = {}

    room: Room | None = None
    member: Member | None = None

    async def on_open(self) -> None:
        """Find the room that the address names."""
        try:
            self.room = find_room(self.rooms, self.kwargs["room"])
        except Refusal as refusal:
            await self.send_close(CloseCode.POLICY_VIOLATION, str(refusal))

    async def on_text(self, text: str) -> None:
        """Do what the page asks, or tell it why not."""
        try:
            await self.do(parse(text))
        except Refusal as refusal:
            await self.send_json({"type": "error", "message": str(refusal)})

    async def on_binary(self, data: bytes) -> None:
        """Refuse: there is nothing that a binary message could mean here."""
        await self.send_close(CloseCode.UNSUPPORTED_DATA, "the chat speaks JSON as text")

    async def do(self, asked: Any) -> None:
        """Carry out one request; raise ``Refusal`` where that is not possible."""
        match asked:
            case {"type": "ping", "id": int(number)}:
                # ``latency`` is the round trip of the last WebSocket ping, which the heartbeat
                # sends; the page measures its own with this very answer.
                await self.send_json({"type": "pong", "id": number, "latency": self.latency})
            case {"type": "join", "name": str(name), "key": str(key)}:
                await self.join(name, key)
            case {"type": "say", "text": str(text)}:
                if self.room is None or self.member is None:
                    raise Refusal("Please join the room first.")
                self.room.say(self.member, text)
                # Let the members' tasks send it before the next message of this one is looked at:
                # a burst may make the reader wait, but must not make the others seem slow.
                await asyncio.sleep(0)
            case {"type": "join" | "say" | "ping" as kind}:
                needed = {"join": "name and key", "say": "text", "ping": "id"}[kind]
                raise Refusal(f"A request of type {kind} needs: {needed}.")
            case _:
                raise Refusal("A request is a JSON object whose type is join, say or ping.")

    async def join(self, name: str, key: str) -> None:
        """Enter the room under a name."""
        if self.room is None or self.member is not None:
            raise Refusal("You have joined already.")
        if not 16 <= len(key) <= MAX_KEY:
            raise Refusal(f"The key must have 16 to {MAX_KEY} characters.")
        self.member, before = self.room.join(self, name, key)
        log.info("chat: %s joined %s", self.member.name, self.room.name)
        if before is not None:
            await before.view.send_close(TAKEN_OVER, "this name came back on a newer connection")

    async def on_close(self, frame: Frame | None = None) -> None:
        """Leave the room, however the connection ended."""
        if self.room is not None and self.member is not None:
            self.room.leave(self.member)
            log.info("chat: %s left %s (%s)", self.member.name, self.room.name, self.close_code)


def parse(text: str) -> Any:
    """Read JSON. Deep nesting exhausts the parser's stack, which is the sender's fault too."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal("That is not JSON.") from None


def clean_name(name: str) -> str:
    """One line of printable characters, blanks tidied."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise Refusal(f"A name has 1 to {MAX_NAME} printable characters.")
    return name


def folded(name: str) -> str:
    """What makes a name unique: "Ada" and "ADA" are the same person to a reader."""
    return unicodedata.normalize("NFKC", name).casefold()


def find_room(rooms: dict[str, Room], name: str) -> Room:
    """Give the room of that name, making it if need be; rooms where nobody is make place."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", name):
        raise Refusal("a room's name has 1 to 32 of the characters a-z, 0-9 and -")
    if name not in rooms:
        if len(rooms) >= MAX_ROOMS:
            for empty in [room for room in rooms.values() if not room.names]:
                del rooms[empty.name]
        if len(rooms) >= MAX_ROOMS:
            raise Refusal("too many rooms are in use")
        rooms[name] = Room(name)
    return rooms[name]
