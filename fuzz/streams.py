"""What the two frame targets share: an open connection, a stream of bytes, and the oracles."""

from collections.abc import Hashable
from typing import Any, Final

from wsproto_core import Agreement, Closed, Config, Connection, Message, Ping, ProtocolError, Role
from wsproto_core.events import Chunk, Event, ExtensionNegotiated
from wsproto_core.extensions.deflate import PerMessageDeflate

from .harness import Trail, cut, one_in, require, watch
from .peers import agree_on_frames, have, our_story, websockets_story, wsproto_story

__all__ = ["KEY", "SEEDS", "STEPS", "TOKENS", "check_stream", "frame"]

KEY: Final = bytes.fromhex("37fa213d")

_LIMIT: Final = 2048
_QUIET: Final[dict[str, Any]] = {
    "ping_interval": None,
    "receive_timeout": None,
    "max_message_size": _LIMIT,
    "max_frame_size": None,
}
_CONFIGS: Final = (
    Config(**_QUIET),
    Config(**{**_QUIET, "max_message_size": 200, "max_frame_size": 130}),
    Config(deliver="chunks", **_QUIET),
    Config(**_QUIET, text_as_bytes=True, read_high_water=1),
)
_DEFLATE: Final = PerMessageDeflate()
_NO_KEY: Final = bytes(4)


def frame(first: int, payload: bytes = b"", key: bytes = b"", *, form: int = 0) -> bytes:
    """A frame, by this file and not by the code under test; ``form`` forces a longer length."""
    size = len(payload)
    bit = 0x80 if key else 0
    if form == 2 or size > 0xFFFF:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    elif form == 1 or size > 125:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | size])
    body = bytes(byte ^ key[place & 3] for place, byte in enumerate(payload)) if key else payload
    return head + key + body


def seeds(key: bytes) -> tuple[bytes, ...]:
    """Streams to begin with, after the three bytes of options."""

    def joined(*parts: tuple[int, bytes]) -> bytes:
        return b"".join(frame(first, payload, key) for first, payload in parts)

    streams = [
        joined((0x81, b"hello"), (0x82, b"\x00\xff"), (0x88, b"\x03\xe8bye")),
        joined((0x81, "κόσμε \U0001f600".encode()), (0x89, b"ping"), (0x8A, b"pong")),
        joined((0x01, b"one "), (0x89, b""), (0x00, b"two "), (0x80, b"three"), (0x88, b"")),
        joined((0x02, b"x" * 126), (0x80, b"y" * 300), (0x82, b"z" * 125)),
        joined((0x01, "κ".encode()[:1]), (0x00, b""), (0x80, "κ".encode()[1:])),
        joined((0xC1, bytes.fromhex("f248cdc9c90700")), (0xC2, bytes.fromhex("02 00"))),
        joined((0x41, bytes.fromhex("f248cd")), (0x89, b"p"), (0x80, bytes.fromhex("c9c90700"))),
        joined((0x81, b"\xed\xa0\x80"), (0x88, b"\x03\xea")),
        joined((0x88, b"\x0f\xa0reason \xc3\xa9"), (0x81, b"late")),
        frame(0x81, b"long form", key, form=1) + frame(0x82, b"longer", key, form=2),
        frame(0x82, b"m" * 200, key) + frame(0x82, b"n" * 2049, key),
    ]
    found: list[bytes] = []
    for place, stream in enumerate(streams):
        found += [
            bytes([options, (place * 37 + options) & 0xFF, 0]) + stream
            for options in (0, 1, 2, 3, 4 + place % 4, 8)
        ]
    return tuple(found)


TOKENS: Final = (
    b"\x81\x00", b"\x81\x80\x00\x00\x00\x00", b"\x88\x02\x03\xe8",
    b"\x88\x82\x00\x00\x00\x00\x03\xe8", b"\x89\x00", b"\x89\x80\x00\x00\x00\x00", b"\x80\x00",
    b"\x80\x80\x00\x00\x00\x00",
    b"\x01\x01a", b"\x01\x81\x00\x00\x00\x00a", b"\x7e\x00\x7e", b"\xfe\x00\x7e", b"\x7f", b"\xff",
    b"\x00\x00\x00\x00\x00\x01\x00\x00", b"\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xf0\x9f\x98\x80", b"\xc3\xa9", b"\xf4\x90\x80\x80",
    b"\xef\xbf\xbf", b"\x00\x00\xff\xff", b"\x01\x00\x00\xff\xff", b"\x03\x00",
    b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
)  # fmt: skip

SEEDS: Final = {Role.CLIENT: seeds(b""), Role.SERVER: seeds(_NO_KEY) + seeds(KEY)}
STEPS: Final = (2500, 50)


def _open(role: Role, options: int) -> Trail:
    config = _CONFIGS[options & 3]
    if options & 4:
        negotiated = ExtensionNegotiated("permessage-deflate", (), 0x40)
        agreed = _DEFLATE.accept(())
        assert agreed is not None
        connection = Connection.after_handshake(
            role,
            config,
            Agreement(extensions=(negotiated,)),
            now=0.0,
            codecs=(agreed.codec(role),),
            random=bytes,
        )
    else:
        connection = Connection.after_handshake(role, config, Agreement(), now=0.0, random=bytes)
    trail = Trail(connection)
    trail.look()
    if options & 8:
        connection.close(1000, now=0.0)
        trail.look()
    return trail


def _joined(events: list[Event], partial: bool) -> list[Event]:
    """Chunks of one message as one event: only their cut may depend on the reads.

    ``partial``: keep what was given of a message that never ended.
    """
    result: list[Event] = []
    opcode = None
    parts: list[str | bytes] = []
    for event in events:
        if isinstance(event, Chunk):
            if event.first:
                opcode, parts = event.opcode, []
            parts.append(event.data)
            if event.final and opcode is not None:
                result.append(Message(_join(parts), opcode))
                opcode = None
        else:
            result.append(event)
    if opcode is not None and partial:
        result.insert(len(result) - 1, Message(_join(parts), opcode))
    return result


def _join(parts: list[str | bytes]) -> str | bytes:
    """The data of a message; at its end a chunk may be empty text or empty bytes."""
    return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def check_stream(role: Role, data: bytes) -> Hashable:
    """The invariant of both frame targets; see there."""
    options, pattern, stream = (
        data[0] & 15 if data else 0,
        data[1] if len(data) > 1 else 0,
        data[3:],
    )
    whole = _open(role, options)
    whole.feed((stream,))
    before = whole.connection.phase
    end = whole.end()
    pieces = _open(role, options)
    pieces.feed(cut(stream, pattern))
    require(pieces.connection.phase is before, "the phase depends on the cut")
    other_end = pieces.end()
    first, second = whole.events, pieces.events
    if options & 3 == 2:
        _check_chunks(first)
        _check_chunks(second)
        # A fault inside a read: how much of its message was given before is left open.
        partial = end.error is None
        first, second = _joined(first, partial), _joined(second, partial)
    if options & 4 and _is_of_payload(end.error) and _is_of_payload(other_end.error):
        # zlib does not give what it inflated before a fault if both come in one read. So which of
        # two faults of one compressed message is named (1007, 1008, 1009) is left open.
        require(watch(first[:-1]) == watch(second[:-1]), "events depend on the cut", first, second)
    else:
        require(watch(first) == watch(second), "the events depend on the cut", first, second)
        require(whole.output == pieces.output, "the output depends on the cut")
    limit = whole.connection.config.max_message_size or 0
    for event in whole.events:
        if type(event) is Message:
            require(len(event.data) <= limit, "a message over the limit", len(event.data))
    error = end.error
    require(error is None or isinstance(error, ProtocolError), "a strange ending", error)
    if not options & 8:
        pings = sum(isinstance(event, Ping) for event in whole.events)
        require(
            _count_pongs(bytes(whole.output), role is Role.CLIENT) == pings,
            "not a pong each",
            pings,
        )
    if options == 0 and one_in(data, 8):
        _ask_peers(role, stream, whole.events)
    return (
        options,
        whole.kinds(),
        type(error).__name__,
        str(error)[:28],
        len(whole.events).bit_length(),
        end.code if end.code < 1016 else 0,
        end.clean,
    )


def _is_of_payload(error: Exception | None) -> bool:
    return isinstance(error, ProtocolError) and error.close_code in (1007, 1008, 1009)


def _check_chunks(events: list[Event]) -> None:
    inside = False
    for event in events:
        if isinstance(event, Chunk):
            require(event.first is not inside, "a chunk out of order", event)
            inside = not event.final


def _count_pongs(output: bytes, masked: bool) -> int:
    """Read our own output: proper frames, and how many are pongs."""
    at = pongs = 0
    while at < len(output):
        first, length = output[at], output[at + 1] & 0x7F
        require(bool(output[at + 1] & 0x80) is masked, "our own mask bit is wrong")
        require(first in (0x88, 0x89, 0x8A) and length < 126, "what did we write?", output)
        pongs += first == 0x8A
        at += 2 + 4 * masked + length
    require(at == len(output), "our own frame is cut off", output)
    return pongs


def _ask_peers(role: Role, stream: bytes, events: list[Event]) -> None:
    story = our_story(event for event in events if not isinstance(event, Closed) or event.error)
    if have("websockets"):
        theirs = websockets_story(role, stream, _LIMIT)
        agree_on_frames(story, theirs, "websockets", has_limit=True, checks_text=False)
    if have("wsproto"):
        peer = wsproto_story(role, stream)
        agree_on_frames(story, peer, "wsproto", has_limit=False, checks_text=True)
