"""A bare ``Connection`` in an ``asyncio.Protocol``: what a loop of one's own costs without a view.

As small as it can be: no timers, no backpressure; the checks of the core are all there. In
broadcast mode the frame is made once and written to every transport: what one write each costs the
loop.
"""

import asyncio
from typing import cast

from wsproto_core import Connection, Message, OpCode, Phase, Request, Role, Transport
from wsproto_core.config import Config

from .options import HOST, LIMIT, Options, announce, parse, run

CONFIG = Config(max_message_size=LIMIT, max_frame_size=LIMIT, text_as_bytes=True, origins=("*",))


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, everybody: "set[Echo] | None") -> None:
        self.everybody = everybody  # to whom a message goes; ``None``: to its sender

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.now = asyncio.get_running_loop().time
        self.connection = Connection(Role.SERVER, CONFIG, now=self.now())
        if self.everybody is not None:
            self.everybody.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.everybody is not None:
            self.everybody.discard(self)

    def tell_everybody(self, message: Message) -> None:
        assert self.everybody is not None
        self.connection.send_text(message.data)
        frame = b"".join(self.connection.data_to_send())
        for one in self.everybody:
            one.transport.write(frame)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        connection.receive_data(data, self.now())
        while events := connection.events():
            for event in events:
                if isinstance(event, Message):
                    if self.everybody is not None:
                        self.tell_everybody(event)
                    elif event.opcode is OpCode.TEXT:
                        connection.send_text(event.data)
                    else:
                        connection.send_binary(cast("bytes", event.data))
                elif isinstance(event, Request) and connection.phase is Phase.DECIDING:
                    connection.accept(self.now())
        output = connection.data_to_send()
        if output:
            self.transport.write(output[0] if len(output) == 1 else b"".join(output))
        if connection.transport is not Transport.OPEN:
            self.transport.close()


async def main(options: Options) -> None:
    loop = asyncio.get_running_loop()
    everybody: set[Echo] | None = set() if options.mode == "broadcast" else None
    server = await loop.create_server(lambda: Echo(everybody), HOST, 0, ssl=options.tls_context())
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    chosen = parse()
    run(lambda: main(chosen), chosen)
