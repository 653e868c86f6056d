"""Sans-IO cost per message: receiving and sending, ours beside ``websockets`` and ``wsproto``.

A worker, started by ``measure``: ``python -m benchmarks.sansio --who NAME --size BYTES`` measures
each time that a line with a number of seconds comes in, and prints the microseconds per message of
every way. By hand: ``python -m benchmarks sansio``.

Every candidate gets the same bytes and gives whole messages: text as ``str``, checked to be UTF-8,
with a limit on the size.

Settings of the peers. websockets: ``Protocol`` in state OPEN, frames joined into messages as its
own bindings do it (a list of payloads, decoded at the end), C speed-ups on. wsproto:
``Connection``, fragments joined likewise. permessage-deflate: level 6, memory level 8, 15 bits,
context takeover, zlib, for all three.
"""

import argparse
import json
import random
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, Protocol

from wsproto_core import Agreement, Connection, ExtensionNegotiated, Role
from wsproto_core.config import Config
from wsproto_core.extensions.deflate import PerMessageDeflate

WAYS = ("in", "in unmasked", "out", "out masked")
"""From the server's side, and (unmasked in, masked out) from the client's."""

BATCH_BYTES = 1 << 16  # about so much is fed or sent in one go: what one read brings
DIFFERENT_BYTES = 1 << 16  # of messages that differ: twice what a window of 15 bits remembers


def payload(size: int, *, text: bool) -> bytes:
    """Text that deflates like JSON does, or bytes that hardly do."""
    if not text:
        return random.Random(size).randbytes(size)
    words = [f'"key{i % 50}": {i * 7 % 1000}, ' for i in range(size // 12 + 2)]
    return "".join(words).encode()[:size]


def batches(size: int, count: int, *, text: bool, deflated: bool) -> list[list[Any]]:
    """What is sent in turn, ``count`` messages at a time. Deflated, a message that was sent before
    would be one reference to it; so none is, within a window."""
    number = max(1, DIFFERENT_BYTES // (size * count)) if deflated else 1
    whole = payload(size * count * number if deflated else size, text=text)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    values: list[Any] = [part.decode() for part in parts] if text else parts
    if not deflated:
        return [values * count]
    return [values[at : at + count] for at in range(0, len(values), count)]


def frame(data: bytes, *, text: bool, masked: bool, rsv1: bool = False) -> bytes:
    first = 0x80 | (0x40 if rsv1 else 0) | (1 if text else 2)
    bit = 0x80 if masked else 0
    if len(data) < 126:
        head = bytes((first, bit | len(data)))
    elif len(data) < 65536:
        head = bytes((first, bit | 126)) + len(data).to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + len(data).to_bytes(8)
    if not masked:
        return head + data
    key = b"\x37\xfa\x21\x3d"
    pad = (key * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")
    return head + key + mixed.to_bytes(len(data), "little")


# A candidate makes, for one case, a function that handles one batch and returns how many messages
# went through it.
Run = Callable[[], int]
Batches = Iterator[list[Any]]


class Candidate(Protocol):
    """One implementation under measurement."""

    name: str

    def receive(self, batch: bytes, count: int, *, server: bool, deflated: bool) -> Run:
        """Make what takes in ``batch``, which holds ``count`` messages."""

    def send(self, batches: Batches, *, text: bool, server: bool, deflated: bool) -> Run:
        """Make what sends the messages of the next batch."""


class Ours:
    name = "wsproto-core"

    def _connection(self, role: Role, deflated: bool) -> Connection:
        config = Config(max_message_size=1 << 24, max_frame_size=1 << 24)
        agreement, codecs = Agreement(), []
        if deflated:
            extension = PerMessageDeflate(
                level=6,
                mem_level=8,
                server_max_window_bits=15,
                client_max_window_bits=15,
                threshold=0,
                backend="zlib",
            )
            agreed = extension.accept(())
            assert agreed is not None
            agreement = Agreement(
                extensions=(ExtensionNegotiated(extension.name, agreed.parameters, extension.rsv),)
            )
            codecs = [agreed.codec(role)]
        connection = Connection.after_handshake(role, config, agreement, now=0.0, codecs=codecs)
        connection.events()
        return connection

    def receive(self, batch: bytes, count: int, *, server: bool, deflated: bool) -> Run:
        connection = self._connection(Role.SERVER if server else Role.CLIENT, deflated)

        def run() -> int:
            connection.receive_data(batch, 0.0)
            seen = 0
            while events := connection.events():
                seen += len(events)
            return seen

        return run

    def send(self, batches: Batches, *, text: bool, server: bool, deflated: bool) -> Run:
        connection = self._connection(Role.SERVER if server else Role.CLIENT, deflated)

        def run() -> int:
            items = next(batches)
            for item in items:
                if text:
                    connection.send_text(item)
                else:
                    connection.send_binary(item)
            connection.data_to_send()
            return len(items)

        return run


class Websockets:
    name = "websockets"

    def _protocol(self, server: bool, deflated: bool) -> Any:
        from websockets.extensions.permessage_deflate import (
            PerMessageDeflate as TheirDeflate,
        )
        from websockets.protocol import Protocol as TheirProtocol
        from websockets.protocol import Side, State

        side = Side.SERVER if server else Side.CLIENT
        protocol = TheirProtocol(side, state=State.OPEN, max_size=1 << 24)
        if deflated:
            protocol.extensions = [TheirDeflate(False, False, 15, 15, {"level": 6, "memLevel": 8})]
        return protocol

    def receive(self, batch: bytes, count: int, *, server: bool, deflated: bool) -> Run:
        from websockets.frames import Opcode

        protocol = self._protocol(server, deflated)
        text = bool(batch[0] & 1)

        def run() -> int:
            protocol.receive_data(batch)
            seen = 0
            parts: list[bytes] = []
            for event in protocol.events_received():
                if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    parts.append(event.data)
                    if event.fin:
                        whole = parts[0] if len(parts) == 1 else b"".join(parts)
                        if text:
                            bytes(whole).decode()
                        parts.clear()
                        seen += 1
            return seen

        return run

    def send(self, batches: Batches, *, text: bool, server: bool, deflated: bool) -> Run:
        protocol = self._protocol(server, deflated)

        def run() -> int:
            items = next(batches)
            for item in items:
                if text:
                    protocol.send_text(item.encode())
                else:
                    protocol.send_binary(item)
            protocol.data_to_send()
            return len(items)

        return run


class Wsproto:
    name = "wsproto"

    def _connection(self, server: bool, deflated: bool) -> Any:
        from wsproto.connection import Connection as TheirConnection
        from wsproto.connection import ConnectionType
        from wsproto.extensions import PerMessageDeflate as TheirDeflate

        kind = ConnectionType.SERVER if server else ConnectionType.CLIENT
        extensions: list[Any] = []
        if deflated:
            extension = TheirDeflate()
            if server:
                extension.accept("permessage-deflate")
            else:
                extension.finalize("permessage-deflate")
            extensions.append(extension)
        return TheirConnection(kind, extensions)

    def receive(self, batch: bytes, count: int, *, server: bool, deflated: bool) -> Run:
        connection = self._connection(server, deflated)
        text = bool(batch[0] & 1)

        def run() -> int:
            connection.receive_data(batch)
            seen = 0
            parts: list[Any] = []
            for event in connection.events():
                parts.append(event.data)
                if event.message_finished:
                    if len(parts) > 1:
                        empty: Any = "" if text else b""
                        empty.join(parts)
                    parts.clear()
                    seen += 1
            return seen

        return run

    def send(self, batches: Batches, *, text: bool, server: bool, deflated: bool) -> Run:
        from wsproto.events import BytesMessage, TextMessage

        connection = self._connection(server, deflated)

        def run() -> int:
            out = []
            items = next(batches)
            for item in items:
                if text:
                    out.append(connection.send(TextMessage(item)))
                else:
                    out.append(connection.send(BytesMessage(item)))
            return len(items)

        return run


CANDIDATES = {item.name: item for item in (Ours, Websockets, Wsproto)}


def deflate_batch(data: bytes, count: int, *, text: bool, masked: bool) -> bytes:
    """``count`` messages that any inflater takes again and again: each stands alone."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
    body = (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return frame(body, text=text, masked=masked, rsv1=True) * count


def time_of(run: Run, count: int, seconds: float) -> float:
    """Seconds of CPU per message, over about ``seconds``: others may use the machine, too."""
    assert run() == count
    rounds, step, began = 0, 1, time.process_time()
    while True:
        for _ in range(step):
            run()
        rounds += step
        took = time.process_time() - began
        if took > seconds:
            return took / rounds / count
        # Looking at the clock is a system call: not more often than each millisecond.
        step = max(1, round(rounds * 0.001 / max(took, 1e-6)))


def prepare(candidate: Candidate, size: int, *, deflated: bool) -> dict[str, tuple[Run, int]]:
    """Return what is to be timed, with its number of messages, by the name of the way."""
    count = max(1, min(500, BATCH_BYTES // max(1, size)))
    runs = {}
    for text in (True, False):
        data = payload(size, text=text)
        for way in WAYS:
            server = way in ("in", "out")
            if way.startswith("in"):
                if deflated:
                    batch = deflate_batch(data, count, text=text, masked=server)
                else:
                    batch = frame(data, text=text, masked=server) * count
                run = candidate.receive(batch, count, server=server, deflated=deflated)
            else:
                turns = cycle(batches(size, count, text=text, deflated=deflated))
                run = candidate.send(turns, text=text, server=server, deflated=deflated)
            runs[f"{way}, {'text' if text else 'binary'}"] = (run, count)
    return runs


def main() -> None:
    """Measure for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=CANDIDATES, required=True)
    parser.add_argument("--size", type=int, required=True, help="bytes of a message")
    parser.add_argument("--deflated", action="store_true", help="with permessage-deflate")
    options = parser.parse_args()
    runs = prepare(CANDIDATES[options.who](), options.size, deflated=options.deflated)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = float(line) / len(runs)
        figures = {way: time_of(*run, seconds) * 1e6 for way, run in runs.items()}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
