"""What an open connection holds while it waits: a server has many thousands of them."""

import pytest

from tests.core.measure import measured
from tests.core.stage import REQUEST
from tests.core.wire import KEY, frame
from wsproto_core import Config, Connection, Hooks, OpCode, Role, Session, Target

COUNT = 200
CONFIG = Config(ping_interval=20, pong_timeout=10)
HOOKS = Hooks(on_text=lambda text: None)


def opened() -> Session:
    """A session as a server has it, right after the handshake."""
    connection = Connection(Role.SERVER, CONFIG, now=0.0)
    session = Session(connection, route=lambda _request: Target(HOOKS, CONFIG))
    fields = b"".join(b"X-Field-%d: %b\r\n" % (n, b"v" * 40) for n in range(8))
    session.received(REQUEST[:-2] + fields + b"\r\n", 0.0)
    assert session.take_output()
    return session


def talk(session: Session) -> None:
    """All kinds of traffic, and a heartbeat with its pong; then silence."""
    session.received(frame(0x81, b"text", KEY) + frame(0x89, b"ping", KEY), 1.0)
    call = session.next_call()
    assert call is not None
    session.call_returned(call, None, 1.0)
    session.send("part", OpCode.TEXT, final=False)
    session.post("later", OpCode.TEXT)
    session.send("rest", OpCode.TEXT)
    for now in (20.0, 40.0):
        session.tick(now)
        ping = session.take_output()[-1]
        session.received(frame(0x8A, ping[2:], KEY), now)


@pytest.mark.parametrize("talks", [False, True])
def test_it_holds_little(talks: bool) -> None:
    opened()  # what is made once
    with measured() as memory:
        sessions = [opened() for _ in range(COUNT)]
        if talks:
            for session in sessions:
                talk(session)
    assert sessions[0].is_writable()
    assert memory.held / COUNT < 3072
