"""What the fuzzers found: each input as it was found, and what must come of it."""

import pytest

from tests.core.stage import Stage
from tests.core.wire import Rig
from wsproto_core import (
    Agreement,
    CallKind,
    Config,
    Connection,
    HandshakeError,
    Hooks,
    Role,
    Session,
)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ("ed a0 80", "ed a0: invalid continuation byte"),
        ("f0 90 41 42 43", "f0 90 41: invalid continuation byte"),
        ("61 ff 62 63", "ff: invalid start byte"),
        ("61 e2 82", "e2 82: unexpected end of data"),
    ],
)
def test_the_text_about_bad_utf8_does_not_depend_on_the_cut(payload: str, shown: str) -> None:
    # Found by server_frames and client_frames: the error showed bytes behind the wrong one where
    # they came in the same read, and so did the reason of our Close.
    outputs = set()
    for bytewise in (False, True):
        rig = Rig(Role.SERVER, bytewise=bytewise)
        rig.feed(rig.frame(0x81, bytes.fromhex(payload)))
        outputs.add(bytes(rig.output))
        error = rig.assert_fails(1007)
        assert f"got the bytes {shown}" in str(error)
    assert len(outputs) == 1


@pytest.mark.parametrize("role", Role)
def test_run_is_started_where_somebody_else_did_the_handshake(role: Role) -> None:
    # Found by run_view: a server's view that lives by its own code was never started on a
    # connection made after_handshake, for it waited for a request that had been answered elsewhere.
    connection = Connection.after_handshake(role, Config(), Agreement(), now=0.0)
    session = Session(connection, Hooks(run=lambda: None))
    session.tick(0.0)
    call = session.next_call()
    assert call is not None
    assert call.kind is CallKind.RUN


def test_what_is_over_the_limit_is_not_judged() -> None:
    # Found by response_head: behind interim responses, a line that is no HTTP began within the
    # limit of the heads and went wrong beyond it. In one read that was the error, in two the limit.
    head = b"HTTP/1.1 100 Continue\r\n\r\n" * 3
    limits = Config(max_head_size=len(head) + 2)
    stream = head + b"HTTX"
    shown = set()
    for cut in range(len(stream)):
        connection = Connection(Role.CLIENT, limits, now=0.0, target="ws://h/")
        connection.receive_data(stream[:cut], 0.0)
        connection.receive_data(stream[cut:], 0.0)
        assert isinstance(connection.error, HandshakeError)
        shown.add(str(connection.error))
    assert len(shown) == 1, shown


def test_no_message_is_handed_to_a_view_that_failed_while_the_connection_ends() -> None:
    # Found by view: a fault of the peer was waiting, its time ran out and the Close went out; then
    # a hook failed, and the next one was started as if nothing had happened.
    stage = Stage("on_text", "on_error", "on_close", config=Config(close_timeout=5.0))
    stage.feed(*[stage.text("a")] * 3, b"\xff" * 9)
    call = stage.start(CallKind.MESSAGE)
    stage.pass_time(5.0)
    assert [first for first, _ in stage.sent()] == [0x88]
    stage.fail(call, RuntimeError())
    assert stage.run() == ["on_error"]
    stage.session.eof(stage.now)
    assert stage.run() == ["on_error", "on_close"]  # now the peer's fault is told
