"""What other implementations make of the same bytes, and where the RFC leaves them a choice.

``websockets`` and ``wsproto`` are asked where they are installed. Each difference that is allowed
has a class in ``fuzz/README.md``; the comments name it as (D1) and so on.
"""

import logging
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeAlias

from wsproto_core import Close, Event, Message, Ping, Pong, ProtocolError, Role

from .harness import require

__all__ = [
    "Story",
    "agree_on_frames",
    "have",
    "our_story",
    "websockets_story",
    "wsproto_story",
]

Story: TypeAlias = list[tuple[object, ...]]
"""Messages and control frames in order, each as a tuple."""


@cache
def have(name: str) -> bool:
    """Whether a peer is installed."""
    return find_spec(name) is not None


def our_story(events: Iterable[Event]) -> tuple[Story, int | None, str]:
    """What we told of a stream: the story, the close code of a fault, and its text."""
    story: Story = []
    code = None
    why = ""
    for event in events:
        if isinstance(event, Message):
            data = event.data if isinstance(event.data, bytes) else event.data.encode()
            story.append((int(event.opcode), data))
        elif isinstance(event, Ping):
            story.append((9, event.payload))
        elif isinstance(event, Pong):
            story.append((10, event.payload))
        elif isinstance(event, Close):
            story.append((8, event.code, event.reason))
        error = getattr(event, "error", None)
        if isinstance(error, ProtocolError):
            code, why = error.close_code, str(error)
    return story, code, why


def websockets_story(role: Role, data: bytes, limit: int) -> tuple[Story, int | None]:
    """What ``websockets`` makes of a stream of frames."""
    from websockets import exceptions, frames
    from websockets.protocol import Protocol, Side, State

    side = Side.SERVER if role is Role.SERVER else Side.CLIENT
    protocol = Protocol(side, state=State.OPEN, max_size=limit, logger=_quiet())
    protocol.receive_data(data)
    story: Story = []
    opcode = 0
    parts: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, frames.Frame)
        payload = bytes(event.data)
        if event.opcode >= 8:
            if event.opcode == 8:
                close = frames.Close.parse(payload)
                story.append((8, int(close.code), close.reason))
            else:
                story.append((int(event.opcode), payload))
            continue
        if event.opcode:
            opcode = int(event.opcode)
        parts.append(payload)
        if event.fin:
            story.append((opcode, b"".join(parts)))
            parts.clear()
    error = protocol.parser_exc
    if error is None:
        return story, None
    if isinstance(error, exceptions.PayloadTooBig):
        return story, 1009
    return story, 1007 if isinstance(error, UnicodeDecodeError) else 1002


def wsproto_story(role: Role, data: bytes) -> tuple[Story, int | None]:
    """What ``wsproto`` makes of a stream of frames."""
    from wsproto import events
    from wsproto.connection import Connection, ConnectionState, ConnectionType
    from wsproto.utilities import RemoteProtocolError

    kind = ConnectionType.SERVER if role is Role.SERVER else ConnectionType.CLIENT
    peer = Connection(kind)
    story: Story = []
    parts: list[bytes] = []
    code = None
    try:
        peer.receive_data(data)
        for event in peer.events():
            if isinstance(event, events.Message):
                text = isinstance(event, events.TextMessage)
                raw: Any = event.data
                parts.append(raw.encode() if isinstance(raw, str) else bytes(raw))
                if event.message_finished:
                    story.append((1 if text else 2, b"".join(parts)))
                    parts.clear()
            elif isinstance(event, events.Ping):
                story.append((9, bytes(event.payload)))
            elif isinstance(event, events.Pong):
                story.append((10, bytes(event.payload)))
            elif isinstance(event, events.CloseConnection):
                if peer.state is ConnectionState.OPEN:
                    code = int(event.code)  # its own Close, for a fault of the stream
                else:
                    story.append((8, int(event.code), event.reason or ""))
                break  # (D1) what follows a Close is nobody's
    except RemoteProtocolError as error:
        hint = error.event_hint
        assert isinstance(hint, events.CloseConnection)
        code = int(hint.code)
    return story, code


def agree_on_frames(
    ours: tuple[Story, int | None, str],
    theirs: tuple[Story, int | None],
    who: str,
    *,
    has_limit: bool,
    checks_text: bool,
) -> None:
    """Raise ``Finding`` where we and a peer differ and RFC 6455 leaves no choice."""
    story, code, why = ours
    other, their_code = theirs
    if code is None:
        # What we take, everybody must take.
        if story and story[-1][0] == 8 and other == story[:-1] and their_code == 1002:
            return  # (D7) a Close inside a fragmented message: 5.4 and 5.5 allow it
        require(other == story, f"{who} reads a valid stream otherwise", story, other)
        require(their_code is None, f"{who} refuses what we take", story, their_code)
        return
    # What we told before the fault, others must tell too: it came before.
    require(other[: len(story)] == story, f"{who} told another beginning", story, other)
    if their_code is not None and len(other) == len(story):
        # (D2) both refuse the same frame; which of two faults in it is named is a choice, and a
        # peer without a limit of its own or a check of text names the next one.
        return
    if "shortest form" in why or "more than 125" in why:
        return  # (D3) 5.2 says MUST; many peers take it as advice, for control frames too
    if code == 1007 and not checks_text:
        return  # (D4) text is checked by the layer above
    if code == 1009 and not has_limit:
        return  # (D5) no limit, or another one
    # (D6) we refuse at the first byte that cannot be right, others when the frame is complete: then
    # they have said nothing more, neither good nor bad.
    require(other == story and their_code is None, f"{who} takes what we refuse", why, story, other)


@cache
def _quiet() -> logging.Logger:
    logger = logging.getLogger("fuzz.peers")
    logger.disabled = True
    return logger
