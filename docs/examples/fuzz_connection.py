"""Throw random bytes, cuts and times at a `Connection`: whatever comes, no input raises."""

import random
import sys

from wsproto_core import Closed, Connection, Request, Role

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def fuzz_once(seed):
    """Live one connection; returns its end. The same seed gives the same life."""
    source = random.Random(seed)  # noqa: S311  # repeatable on purpose
    now = 0.0
    connection = Connection(Role.SERVER, now=now, random=source.randbytes)
    data = bytearray(REQUEST * (source.random() < 0.9))
    for _ in range(source.randrange(20)):
        # Half of it looks like short masked frames, so that not all ends at the first byte.
        data += bytes([source.choice((0x01, 0x81, 0x02, 0x80, 0x89, 0x88)), 0x80])
        data += source.randbytes(4 if source.random() < 0.5 else source.randrange(40))
    closed = None
    while closed is None:
        if data:
            size = source.randrange(1, 200)
            connection.receive_data(bytes(data[:size]), now)
            del data[:size]
        else:
            deadline = connection.next_deadline()
            assert deadline is not None, "time alone must end a connection"
            now = deadline
            connection.handle_timeout(now)
        while events := connection.events():
            assert closed is None, "Closed is the last event"
            for event in events:
                if isinstance(event, Request):
                    connection.accept(now)
                elif isinstance(event, Closed):
                    closed = event
        connection.data_to_send()
    return closed


if __name__ == "__main__":
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
        fuzz_once(number)
    print("every connection came to its end, and no input raised")
