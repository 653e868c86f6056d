"""A session of two peers of this library, driven by bytes.

Invariant: whatever both applications do and however the wire delays and cuts, messages arrive
whole, once and in order; after a clean end all that was sent before the Close has arrived; each
side gets one ``Closed``, last; no side ever finds a fault of the other; time alone ends it.

Allowed exceptions: ``ConnectionClosed`` and ``LocalProtocolError`` of commands.

The first byte chooses settings, the second the cut; each further byte is an action, some with bytes
of their own.
"""

from collections.abc import Hashable
from typing import Final, cast

from wsproto_core import (
    Agreed,
    Agreement,
    Closed,
    Config,
    Connection,
    ConnectionClosed,
    ExtensionNegotiated,
    LocalProtocolError,
    Message,
    Phase,
    ProtocolError,
    Role,
)
from wsproto_core.extensions import PerMessageDeflate
from wsproto_core.testing import End, Pair

from ..harness import Source, cut, require

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_DEFLATE: Final = (PerMessageDeflate(backend="zlib", threshold=0),)
_AGREED: Final = cast("Agreed", _DEFLATE[0].accept(()))
_NEGOTIATED: Final = (ExtensionNegotiated("permessage-deflate", (), 0x40),)
_CONFIGS: Final = (
    Config(),
    Config(extensions=_DEFLATE),
    Config(max_frame_size=7, read_high_water=1, write_high_water=1),
    Config(extensions=_DEFLATE, max_frame_size=16, ping_interval=None, receive_timeout=None),
)
SEEDS: Final = tuple(
    bytes([options | 240 * (len(actions) == 17), 77 * options]) + actions
    for options in range(4)
    for actions in (
        b"\x10\x05hello\x11\x03abc\x90\x05reply\x18\x08",
        b"\x12\x04frag\x13\x02me\x14\x01.\x20\x15\x98\x08",
        b"\x08\x00\x10\x64" + b"x" * 100 + b"\x88\x90\x40" + b"y" * 64 + b"\x18\x98",
        b"\x16\x17\x10\x02ok\x96\x97\x09\x40\x0a",
        b"\x10\x09\xce\xba\xcf\x8c\xcf\x83\xce\xbc\x21\x0b\x10\x0c\x1f",
        b"\x0d\x10\x02hi\x0e\x90\x02ho\x19\x05",
    )
)
TOKENS: Final = (
    b"\x10\x03abc",
    b"\x90\x03abc",
    b"\x12\x01a",
    b"\x14\x01b",
    b"\x18",
    b"\x98",
    b"\x08",
)
STEPS: Final = (15_000, 600)
MEMORY: Final = (600_000, 1500)


class _Side:
    """One application, and the model of what it said."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.connection: Connection = end.connection
        self.sent: list[str | bytes] = []
        self.partial: str | None = None

    def say(self, source: Source, kind: int, pair: Pair) -> None:
        """One command, which may come at the wrong time."""
        try:
            if kind < 5:
                self._say_data(kind, source.take(source.byte() % 200))
            else:
                self._say_other(kind, source, pair.now)
        except (ConnectionClosed, LocalProtocolError):
            pass

    def _say_other(self, kind: int, source: Source, now: float) -> None:
        connection = self.connection
        if kind == 5:
            connection.ping(None, now)
        elif kind == 6:
            connection.ping(b"same", now)
        elif kind == 7:
            connection.pong(b"unasked")
        elif kind == 8:
            connection.close(3000 + source.byte(), "done", now=now)
        elif kind == 9:
            connection.close(now=now)
        elif kind == 10:
            connection.fail(RuntimeError("a hook failed"), now)
        elif kind == 11:
            connection.set_reading(bool(source.byte() & 1), now)
        elif kind == 12:
            connection.send_text(b"\xff")
        elif kind == 13:
            connection.send_text("\ud800")
        elif kind == 14:
            connection.close(1005, now=now)
        elif source.byte() == 0:
            connection.abort(now)

    def _say_data(self, kind: int, data: bytes) -> None:
        """A message or a part of one; what was taken is noted."""
        text = data.decode("latin-1")
        if kind > 1:
            self._say_part(text, kind == 4)
        elif self.partial is None:
            if kind == 0:
                self.connection.send_text(text, compress=True)
                self.sent.append(text)
            else:
                self.connection.send_binary(data)
                self.sent.append(data)

    def _say_part(self, text: str, final: bool) -> None:
        self.connection.send_text(text, final=final)
        self.partial = (self.partial or "") + text
        if final:
            self.sent.append(self.partial)
            self.partial = None


def _join(config: Config, pattern: int, *, handshake: bool) -> Pair:
    """Two open connections; with a handshake only now and then, for that is most of the time."""

    def cut_it(written: bytes) -> list[bytes]:
        return cut(written, pattern)

    if handshake:
        pair = Pair(config, config, cut=cut_it, opened=False)
        pair.flow()
        return pair
    ends = []
    for role in (Role.CLIENT, Role.SERVER):
        codecs = (_AGREED.codec(role),) if config.extensions else ()
        agreement = Agreement(extensions=_NEGOTIATED if codecs else ())
        ends.append(
            Connection.after_handshake(
                role, config, agreement, now=1000.0, codecs=codecs, random=_Counter().give
            )
        )
    return Pair.of(*ends, cut=cut_it)


class _Counter:
    """Repeatable bytes that differ from call to call: keys, and payloads of pings."""

    def __init__(self) -> None:
        self.count = 0

    def give(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        self.count += 1
        return self.count.to_bytes(size, "big")


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    source = Source(data)
    options = source.byte()
    config = _CONFIGS[options & 3]
    pattern = source.byte()
    pair = _join(config, pattern, handshake=options >> 4 == 15)
    client, server = _Side(pair.client_end), _Side(pair.server_end)
    broken = False
    steps = 0
    while source and steps < 60:
        steps += 1
        action = source.byte()
        side = server if action & 0x80 else client
        if action & 0x10:
            side.say(source, action & 0x0F, pair)
            continue
        kind = action & 0x0F
        if kind == 8:
            pair.flow()
        elif kind == 9:
            pair.run_for((action >> 5 & 3) * 7.0)
        elif kind == 10:
            side.end.latency = source.byte() / 64
        elif kind == 11:
            broken = True
            pair.look()
            side.end.end_early(pair.now, keep=source.byte(), reset=bool(action & 0x20))
        elif kind == 12:
            pair.run_for(source.byte() / 16)
        elif kind == 13:
            side.end.stalled = True
        elif kind == 14 and side.end.stalled:
            side.end.release(pair.now)
        else:
            pair.look()
    for side in (client, server):
        if side.end.stalled:
            side.end.release(pair.now)
    pair.run_for(0.0)
    for side in (client, server):
        side.connection.close(1000, now=pair.now)
    # Time alone ends it: every deadline is obeyed, nothing else happens.
    pair.run_until_quiet()
    return (
        _check_side(server, client, pair, broken),
        _check_side(client, server, pair, broken),
        broken,
    )


def _check_side(side: _Side, peer: _Side, pair: Pair, broken: bool) -> Hashable:
    events = side.end.events
    connection = side.connection
    require(connection.phase is Phase.CLOSED, "not closed in the end", connection)
    require(connection.next_deadline() is None, "a deadline after the end", connection)
    closed = [event for event in events if isinstance(event, Closed)]
    require(len(closed) == 1 and events[-1] is closed[0], "Closed is not once and last", events)
    end = closed[0]
    require(not isinstance(end.error, ProtocolError), "a fault of a peer of ours", end)
    got = [event.data for event in events if isinstance(event, Message)]
    said = peer.sent
    require(got == said[: len(got)], "lost, doubled or out of order", got, said)
    if end.clean:
        require(got == said, "a clean end, and messages are missing", got, said)
    if end.received is not None and not broken:
        require(end.received == peer.connection.close_sent, "another Close", end)
    return len(got).bit_length(), min(3000, end.code), end.clean, type(end.error)
