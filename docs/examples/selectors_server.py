"""An echo server of `Connection` and `selectors`; all limits and timeouts of `Config` count."""

import socket
import time
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from wsproto_core import Connection, Message, OpCode, Phase, Request, Role, Transport


def turn(sock, ws, unsent, ready, now):
    """Take bytes and time, act on events; return what to wait for, None at the end."""
    try:
        if ready & EVENT_READ:
            ws.receive_data(data, now) if (data := sock.recv(65536)) else ws.receive_eof(now)
        if ready & EVENT_WRITE:
            del unsent[: sock.send(unsent)]
            ws.write_blocked(len(unsent), now)
        ws.handle_timeout(now)
        while ws.below_mark and (events := ws.events()):  # a slow peer gets no more than that
            for event in events:
                if isinstance(event, Request) and ws.phase is Phase.DECIDING:
                    ws.accept(now)
                elif isinstance(event, Message) and ws.phase is Phase.OPEN:
                    (ws.send_text if event.opcode is OpCode.TEXT else ws.send_binary)(event.data)
        unsent += b"".join(ws.data_to_send())
        ws.write_blocked(len(unsent), now)
        if ws.transport is Transport.SHUT_WRITE and not unsent:
            sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        return ws.lost(error, now)
    over = ws.transport >= (Transport.ABORT if unsent else Transport.CLOSE)
    ws.set_reading(reading := ws.below_mark and ws.transport < Transport.CLOSE, now)
    return None if over else reading * EVENT_READ | bool(unsent) * EVENT_WRITE


def serve(listener, config=None):
    """Serve for ever: wait for a socket or the next deadline, then give everybody a turn."""
    (selector := DefaultSelector()).register(listener, EVENT_READ)
    while True:
        peers = [key for key in selector.get_map().values() if key.data]
        due = [at for key in peers if (at := key.data[0].next_deadline()) is not None]
        wait = min(due) - time.monotonic() if due else None
        ready = {key.fileobj: mask for key, mask in selector.select(wait)}
        now = time.monotonic()
        if listener in ready:
            sock, _ = listener.accept()
            sock.setblocking(False)
            ws = Connection(Role.SERVER, config, now=now)
            selector.register(sock, EVENT_READ, (ws, bytearray()))
        for sock, _, _, peer in peers:
            if mask := turn(sock, *peer, ready.get(sock, 0), now):
                selector.modify(sock, mask, peer)
            else:
                selector.unregister(sock).fileobj.close()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 8765)) as listener:
        serve(listener)
