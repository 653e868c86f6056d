"""The contract of ``WebSocketView``, on every runtime, in both roles, plain and over TLS: docs in
``views.py``.

One section for each part: settings, attributes, hooks, methods, endings. What a peer does wrong is
in ``test_stress.py``, what the protocol asks in ``tests/core``.
"""

import asyncio
import logging
import os
import re
import time
from typing import Any

import pytest

from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import Link, Log, Runtime, eventually, recorder
from tests.core.wire import close_body
from wsproto_core import (
    CONTROL_OPCODES,
    DATA_OPCODES,
    Accept,
    CloseCode,
    ConnectionClosed,
    Frame,
    LocalProtocolError,
    OpCode,
    PayloadTooBig,
    PeerTimeout,
    ProtocolError,
    Response,
)
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_views import AsyncView, State, UpgradeRequest, broadcast, check_view

TIMEOUT_REASON = "WebSocket Timeout Error"


class Echo(AsyncView):
    """Says what it hears."""

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


@pytest.fixture
def link(any_link: Link) -> Link:
    """The whole contract holds plain and over TLS."""
    return any_link


# ---------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAGIC_STRING", "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"),
        ("PING_INTERVAL", 20),
        ("PONG_TIMEOUT", 10),
        ("MAX_BACKOFF", 45),
        ("MAX_MISSED_PONGS", 3),
        ("RECEIVE_TIMEOUT", 120),
        ("OPEN_TIMEOUT", 10),
        ("CLOSE_TIMEOUT", 10),
        ("SEND_TIMEOUT", 60),
        ("MAX_FRAME_SIZE", 1 << 20),
        ("MAX_MESSAGE_SIZE", 16 << 20),
        ("TIMEOUT_CLOSE_CODE", 1001),
        ("CONCURRENT_RECEIVE", 1),
        ("ORIGINS", None),
        ("SUBPROTOCOLS", ()),
    ],
)
def test_defaults(name: str, value: object) -> None:
    assert getattr(AsyncView, name) == value


def test_default_extension() -> None:
    assert [type(item) for item in AsyncView.EXTENSIONS] == [PerMessageDeflate]


def test_settings_are_read_from_the_instance(link: Link) -> None:
    class Small(Echo):
        MAX_FRAME_SIZE = 10

        def __init__(self, upgrade_request: UpgradeRequest, **kwargs: Any) -> None:
            super().__init__(upgrade_request, **kwargs)
            self.MAX_FRAME_SIZE = 20

    peer = link.open(Small)
    peer.text("x" * 20)
    assert peer.message() == "x" * 20
    peer.text("x" * 21)
    assert peer.closed()[0] == 1009


def test_ping_interval(link: Link) -> None:
    peer = link.open(Echo, PING_INTERVAL=0.03)
    for _ in range(3):
        first, payload = peer.frame()
        assert first == 0x89
        peer.pong(payload)
    peer.text("still there")
    assert _skip_pings(peer) == (0x81, b"still there")


@pytest.mark.parametrize("off", [None, 0])
def test_ping_interval_off(link: Link, off: float | None) -> None:
    peer = link.open(Echo, PING_INTERVAL=off)
    assert peer.is_silent()
    assert link.view.connection.next_deadline() is not None  # the receive timeout
    peer.bye()


def test_missed_pongs_end_the_connection(link: Link, log: Log) -> None:
    peer = link.open(
        recorder(log), PING_INTERVAL=0.02, PONG_TIMEOUT=0.02, MAX_MISSED_PONGS=2, MAX_BACKOFF=0.02
    )
    first, payload = _skip_pings(peer)
    assert (first, payload) == (0x88, close_body(1001, TIMEOUT_REASON))
    peer.close_frame(1001)
    peer.sock.close()
    log.wait(("close", None))
    assert log.entries == ["open", ("error", "PeerTimeout"), ("close", None)]


def test_any_byte_is_life(link: Link) -> None:
    peer = link.open(
        Echo, PING_INTERVAL=0.02, PONG_TIMEOUT=0.2, MAX_MISSED_PONGS=1, MAX_BACKOFF=0.02
    )
    for _ in range(30):
        peer.text("a")
        assert _skip_pings(peer) == (0x81, b"a")
        time.sleep(0.01)  # the peer's pace is what this is about
    assert link.view.is_open


def test_a_timeout_of_many_days(link: Link) -> None:
    """It is longer than systems wait in one call."""
    peer = link.open(Echo, RECEIVE_TIMEOUT=4e6, PING_INTERVAL=None)
    peer.text("a")
    assert peer.message() == "a"


@pytest.mark.parametrize("code", [1001, 1008, 3333])
def test_timeout_close_code(link: Link, code: int) -> None:
    peer = link.open(Echo, RECEIVE_TIMEOUT=0.05, TIMEOUT_CLOSE_CODE=code)
    assert peer.closed() == (code, TIMEOUT_REASON)


def test_receive_timeout_dripping_does_not_renew_it(link: Link, log: Log) -> None:
    peer = link.open(recorder(log), RECEIVE_TIMEOUT=0.1)
    whole = peer.encode(0x82, bytes(100))
    began = time.monotonic()
    try:
        for place in range(len(whole)):
            peer.send_raw(whole[place : place + 1])
            if not peer.is_silent(0.01):
                break
    except ConnectionError:
        pass
    assert time.monotonic() - began < 0.6
    assert peer.closed() == (1001, TIMEOUT_REASON)
    peer.sock.close()
    log.wait(("error", "PeerTimeout"))


def test_open_timeout_of_a_slow_head(server: Link, log: Log) -> None:
    port, _ = server.serve(server.runtime.adopt(recorder(log), OPEN_TIMEOUT=0.1))
    with Peer(connect_tcp(port), is_client=True) as peer:
        peer.send_raw(b"GET / HTTP/1.1\r\nHost: ")
        assert peer.rest() == b""
    assert log.entries == []


def test_open_timeout_of_a_slow_on_request(server: Link, log: Log) -> None:
    gate = server.runtime.gate()

    class Slow(Echo):
        OPEN_TIMEOUT = 0.1
        CLOSE_TIMEOUT = 0.1

        async def on_request(self, request: UpgradeRequest) -> None:
            try:
                await gate.wait()
            finally:
                log.add("cancelled")

    port, _ = server.serve(server.runtime.adopt(Slow))
    with Peer(connect_tcp(port), is_client=True) as peer:
        with pytest.raises((EOFError, ConnectionError)):
            peer.request()
        server.runtime.overran(gate)
        log.wait("cancelled")


def test_open_timeout_of_a_silent_server(runtime: Runtime) -> None:
    with Listener() as listener:
        opening = runtime.spawn(lambda: runtime.opened(listener.url(), open_timeout=0.1))
        with listener.accept() as peer:
            peer.read_head()
            with pytest.raises(TimeoutError, match=r"0\.1 s"):
                opening.result()
            assert peer.rest() == b""


def test_io_5_5_1_timeout_close_is_never_answered(link: Link, log: Log) -> None:
    peer = link.open(recorder(log), CLOSE_TIMEOUT=0.1)
    link.call(link.view.close, 4000, "bye")
    assert peer.closed() == (4000, "bye")
    assert peer.rest() == b""
    log.wait(("close", None))
    assert (link.view.close_code, link.view.state) == (1006, State.CLOSED)


def test_close_timeout_bounds_a_handler(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Stuck(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add("stuck")
            try:
                await gate.wait()
            finally:
                log.add("cancelled")

        async def on_close(self, frame: Frame | None = None) -> None:
            await link.runtime.within(0.01, gate.wait)
            log.add("closed")

    peer = link.open(Stuck, CLOSE_TIMEOUT=0.1)
    peer.text("a")
    log.wait("stuck")
    peer.close_frame(4001)
    # The answer goes out when the time for the handler is over, and on_close is not cancelled.
    assert peer.closed()[0] == 4001
    link.runtime.overran(gate)
    peer.sock.close()
    log.wait("closed")
    assert log.entries == ["open", "stuck", "cancelled", "closed"]
    assert link.view.close_code == 4001


def test_send_timeout(link: Link, log: Log) -> None:
    peer = link.open(recorder(log), SEND_TIMEOUT=0.1, window=4096, EXTENSIONS=())
    sending = link.spawn(link.view.send_binary, bytes(16 << 20))
    with pytest.raises(PeerTimeout, match="took none"):
        sending.result()
    log.wait(("close", None))
    assert ("error", "PeerTimeout") in log.entries
    peer.sock.close()


def test_max_frame_size_in(link: Link) -> None:
    peer = link.open(Echo, MAX_FRAME_SIZE=100)
    peer.send_raw(peer.encode(0x81, bytes(101))[:8])  # the header is enough
    assert peer.closed()[0] == 1009


def test_max_frame_size_out(link: Link) -> None:
    peer = link.open(Echo, MAX_FRAME_SIZE=4)
    link.call(link.view.send, "0123456789")
    assert [peer.frame() for _ in range(3)] == [(1, b"0123"), (0, b"4567"), (0x80, b"89")]


def test_max_message_size(link: Link, log: Log) -> None:
    peer = link.open(recorder(log), MAX_MESSAGE_SIZE=10)
    peer.send(0x01, "123456")
    peer.send(0x80, "78901")
    assert peer.closed()[0] == 1009
    log.wait(("error", "PayloadTooBig"))
    peer.sock.close()
    log.wait(("close", None))


def test_max_message_size_none(link: Link) -> None:
    peer = link.open(Echo, MAX_MESSAGE_SIZE=None, MAX_FRAME_SIZE=None, EXTENSIONS=())
    data = os.urandom(17 << 20)
    peer.binary(data)  # nothing comes back before the whole is there
    assert peer.message() == data


def test_concurrent_receive_one_is_in_order(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Ordered(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add(f"begin {text}")
            await gate.wait()
            log.add(f"end {text}")

    peer = link.open(Ordered)
    for text in "ab":
        peer.text(text)
    log.wait("begin a")
    assert peer.is_silent()
    assert log.entries == ["begin a"]
    gate.open()
    log.wait("end b")
    assert log.entries == ["begin a", "end a", "begin b", "end b"]


def test_concurrent_receive_two_overlap(link: Link, log: Log) -> None:
    gates = {text: link.runtime.gate() for text in "abc"}

    class Overlapping(AsyncView):
        CONCURRENT_RECEIVE = 2

        async def on_text(self, text: str) -> None:
            log.add(f"begin {text}")
            await gates[text].wait()
            log.add(f"end {text}")

    peer = link.open(Overlapping)
    for text in "abc":
        peer.text(text)
    log.wait("begin b")
    assert log.entries == ["begin a", "begin b"]
    gates["b"].open()
    log.wait("begin c")
    assert log.entries == ["begin a", "begin b", "end b", "begin c"]
    gates["a"].open()
    gates["c"].open()
    log.wait("end c")


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (None, None, 101),
        (None, "http://127.0.0.1", 101),
        (None, "http://elsewhere.test", 403),
        (["https://a.test"], "https://a.test", 101),
        (["https://a.test"], "https://b.test", 403),
        (["*"], "https://b.test", 101),
    ],
)
def test_origins(server: Link, allowed: list[str] | None, origin: str | None, status: int) -> None:
    port, _ = server.serve(server.runtime.adopt(Echo, ORIGINS=allowed))
    with Peer(connect_tcp(port), is_client=True) as peer:
        head = peer.request(headers=[("Origin", origin)] if origin else [])
        assert head.status == status
        if status == 403:
            assert head["connection"] == "close"
            assert b"Origin" in peer.rest()


def test_subprotocols_of_a_server(server: Link) -> None:
    peer = server.open(
        Echo, SUBPROTOCOLS=("a", "b"), headers=[("Sec-WebSocket-Protocol", "c, b, a")]
    )
    assert peer.head is not None
    assert peer.head["sec-websocket-protocol"] == "a"
    assert server.view.subprotocol == "a"
    assert server.view.request.subprotocols == ("c", "b", "a")


def test_extensions_are_negotiated(link: Link) -> None:
    peer = link.open(Echo, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
    assert [item.name for item in link.view.extensions] == ["permessage-deflate"]
    peer.text("plain is allowed")
    first, payload = peer.frame()
    assert first & 0x81 == 0x81
    assert payload


def test_extensions_off(link: Link) -> None:
    peer = link.open(
        Echo,
        EXTENSIONS=(),
        headers=[("Sec-WebSocket-Extensions", "x-unknown")] if link.role == "server" else [],
    )
    assert peer.head is not None
    assert "sec-websocket-extensions" not in peer.head
    assert link.view.extensions == ()


# ---------------------------------------------------------------------------------- attributes


def test_request(server: Link) -> None:
    server.open(
        Echo,
        target="/a%20b/c?x=1&x=2&y=",
        headers=[("Cookie", "a=1; b=2"), ("X-Twice", "1"), ("x-twice", "2")],
    )
    request = server.view.request
    assert request.path == "/a b/c"
    assert request.target == "/a%20b/c?x=1&x=2&y="
    assert request.query == {"x": ["1", "2"], "y": [""]}
    assert request.headers.get_all("X-TWICE") == ["1", "2"]
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.host == "127.0.0.1"
    assert request.origin is None
    assert request.client_address[0] == "127.0.0.1"


def test_request_of_a_client(runtime: Runtime) -> None:
    with Listener() as listener:
        opening = runtime.spawn(
            lambda: runtime.opened(
                listener.url("/a?b=c"), origin="http://o.test", headers={"X-Name": "value"}
            )
        )
        with listener.accept() as peer:
            head = peer.answer()
            view = opening.result()
            assert (head.target, head["origin"], head["x-name"]) == (
                "/a?b=c",
                "http://o.test",
                "value",
            )
            assert head["host"] == f"127.0.0.1:{listener.port}"
            assert view.request.path == "/a"
            assert view.request.query == {"b": ["c"]}
            assert view.request.origin == "http://o.test"
            assert view.request.host == f"127.0.0.1:{listener.port}"
            peer.close_frame()
    eventually(lambda: view.state is State.CLOSED)


def test_attributes_before_it_is_connected() -> None:
    view = AsyncView(UpgradeRequest("/", {}), room="1")  # type: ignore[arg-type]
    assert view.kwargs == {"room": "1"}
    assert (view.state, view.is_open, view.initiated_upgrade) == (State.CLOSED, False, False)
    assert (view.extensions, view.subprotocol, view.latency) == ((), None, None)
    assert (view.close_code, view.close_reason, view.close_frame) == (None, None, None)
    assert (view.fragmented_frame, view.server, view.sock) == (None, None, None)
    with pytest.raises(LocalProtocolError, match="AsyncView is not connected"):
        _ = view.connection


def test_attributes_while_it_is_open(link: Link) -> None:
    link.open(Echo)
    view = link.view
    assert (view.state, view.is_open, view.initiated_upgrade) == (State.OPEN, True, True)
    assert view.client_websocket_version == (13 if link.role == "server" else None) or (
        link.role == "client"
    )
    assert view.connection.role.value == link.role
    assert (view.server is not None) == (link.role == "server")
    assert view.sock.fileno() > 0
    assert (view.close_code, view.close_reason, view.close_frame) == (None, None, None)


def test_state_has_the_seed_values() -> None:
    assert {item.name: item.value for item in State} == {
        "CLOSED": 0,
        "OPEN": 1,
        "INITIATED": 2,
        "INITIATING": -1,
        "CLOSING": 3,
    }


def test_states_of_a_server(server: Link, log: Log) -> None:
    class Stated(AsyncView):
        def __init__(self, upgrade_request: UpgradeRequest, **kwargs: Any) -> None:
            super().__init__(upgrade_request, **kwargs)
            log.add(self.state)

        async def on_request(self, request: UpgradeRequest) -> None:
            log.add(self.state)

        async def on_open(self) -> None:
            log.add(self.state)

        async def on_text(self, text: str) -> None:
            await self.send_close()
            log.add(self.state)

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add(self.state)

    peer = server.open(Stated)
    peer.text("a")
    peer.reply()
    log.wait(State.CLOSED, 2)
    assert log.entries == [
        State.CLOSED,
        State.INITIATING,
        State.OPEN,
        State.CLOSING,
        State.CLOSED,
    ]


def test_fragmented_frame(link: Link, log: Log) -> None:
    class Watching(Echo):
        async def on_ping(self, data: bytes) -> None:
            log.add(self.fragmented_frame)

    peer = link.open(Watching)
    peer.ping()
    log.wait_len(1)
    peer.send(0x01, "ab")
    peer.ping()
    log.wait_len(2)
    assert log.entries == [None, Frame(OpCode.TEXT, False, b"ab")]


def test_close_attributes(link: Link) -> None:
    peer = link.open(Echo)
    peer.bye(4005, "gone fishing")
    eventually(lambda: link.view.state is State.CLOSED)
    view = link.view
    assert (view.close_code, view.close_reason) == (4005, "gone fishing")
    assert view.close_frame == Frame(OpCode.CLOSE, payload=close_body(4005, "gone fishing"))


def test_close_without_a_code(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    peer.send(0x88)
    assert peer.closed() == (1005, "")
    peer.sock.close()
    log.wait(("close", 1005))
    assert link.view.close_code == 1005


def test_latency(link: Link) -> None:
    peer = link.open(Echo)
    assert link.view.latency is None
    pinging = link.spawn(link.view.ping)
    peer.pong(peer.frame()[1])
    seconds = pinging.result()
    assert 0 <= seconds < DEADLINE
    assert link.view.latency == pytest.approx(seconds, abs=0.1)


# ---------------------------------------------------------------------------------- hooks


def test_hooks_in_their_order(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    peer.text("a")
    peer.binary(b"b")
    peer.bye(4000)
    log.wait(("close", 4000))
    assert log.entries == ["open", ("TEXT", b"a"), ("BINARY", b"b"), ("close", 4000)]


def test_on_open_holds_messages_back_and_not_pongs(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Slow(recorder(log)):  # type: ignore[misc]
        async def on_open(self) -> None:
            log.add("begin")
            await gate.wait()
            log.add("end")

    peer = link.open(Slow)
    log.wait("begin")
    peer.text("a")
    peer.ping(b"p")
    assert peer.frame() == (0x8A, b"p")
    assert log.entries == ["begin"]
    gate.open()
    log.wait(("TEXT", b"a"))
    assert log.entries == ["begin", "end", ("TEXT", b"a")]


def test_a_message_right_behind_the_handshake(link: Link, log: Log) -> None:
    is_client = link.role == "server"
    first = Peer.encode(_Side(is_client), 0x81, "early")  # type: ignore[arg-type]
    link.open(recorder(log), behind=first)
    log.wait(("TEXT", b"early"))
    assert log.entries == ["open", ("TEXT", b"early")]


def test_on_open_raises(link: Link, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(recorder(log)):  # type: ignore[misc]
        async def on_open(self) -> None:
            raise RuntimeError("secret")

    peer = link.open(Failing)
    code, reason = peer.reply()
    assert code == 1011
    assert "secret" not in reason
    log.wait(("close", None))
    assert log.entries == [("error", "RuntimeError"), ("close", None)]
    assert "secret" in caplog.text


@pytest.mark.parametrize("hook", ["on_receive", "on_text", "on_ping", "on_pong", "on_new_frame"])
def test_g6_a_hook_raises(
    link: Link, log: Log, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: AsyncView, *arguments: object) -> None:
        raise LookupError("secret")

    view = type("Failing", (recorder(log),), {hook: fail})
    peer = link.open(view)
    if hook == "on_ping":
        peer.ping(b"a")
        assert peer.frame() == (0x8A, b"a")
    elif hook == "on_pong":
        peer.pong(b"a")
    else:
        peer.text("a")
    code, reason = peer.closed()
    assert code == 1011
    assert "secret" not in reason
    peer.close_frame(1011)
    peer.sock.close()
    log.wait(("close", None), 1) if link.view.close_frame is None else log.wait(("close", 1011))
    assert log.entries[:2] == ["open", ("error", "LookupError")]
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert "Traceback" in caplog.text


def test_on_error_and_on_close_raise(
    link: Link, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(AsyncView):
        async def on_text(self, text: str) -> None:
            raise LookupError("first")

        async def on_error(self, exc: Exception) -> None:
            log.add("error")
            raise LookupError("second")

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("close")
            raise LookupError("third")

    peer = link.open(Failing)
    peer.text("a")
    assert peer.reply()[0] == 1011
    log.wait("close")
    eventually(lambda: "third" in caplog.text)
    assert log.entries == ["error", "close"]
    assert all(word in caplog.text for word in ("first", "second"))


def test_on_text_and_on_binary(link: Link, log: Log) -> None:
    class Typed(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add(text)

        async def on_binary(self, data: bytes) -> None:
            log.add(data)

    peer = link.open(Typed)
    peer.text("ä")
    peer.binary(b"\xff")
    assert log.wait_len(2) == ["ä", b"\xff"]


def test_on_receive_takes_what_on_text_does_not(link: Link, log: Log) -> None:
    class Both(recorder(log)):  # type: ignore[misc]
        async def on_text(self, text: str) -> None:
            log.add(text)

    peer = link.open(Both)
    peer.text("a")
    peer.binary(b"b")
    assert log.wait_len(3) == ["open", "a", ("BINARY", b"b")]


def test_the_other_type_is_refused(link: Link, log: Log) -> None:
    class TextOnly(AsyncView):
        async def on_text(self, text: str) -> None:
            log.add(text)

    peer = link.open(TextOnly)
    peer.text("a")
    peer.binary(b"b")
    assert peer.closed()[0] == 1003
    assert log.entries == ["a"]


def test_on_fragment(link: Link, log: Log) -> None:
    class Streaming(AsyncView):
        async def on_fragment(self, data: bytes, opcode: OpCode, final: bool) -> None:
            log.add((data, opcode, final))

    peer = link.open(Streaming)
    peer.send(0x02, b"ab")
    log.wait((b"ab", OpCode.BINARY, False))
    peer.send(0x80, b"cd")
    log.wait((b"cd", OpCode.BINARY, True))
    huge = peer.encode(0x81, "x" * 1000)
    peer.send_raw(huge[:100])  # a part of one frame is handed over as it arrives
    log.wait_len(3)
    assert log.entries[2][1:] == (OpCode.TEXT, False)
    peer.send_raw(huge[100:])
    eventually(lambda: bool(log.entries[-1][2]))
    assert b"".join(entry[0] for entry in log.entries[2:]) == b"x" * 1000


def test_on_new_frame_comes_first(link: Link, log: Log) -> None:
    class Framed(recorder(log)):  # type: ignore[misc]
        async def on_new_frame(self, frame: Frame) -> None:
            log.add(frame)

    peer = link.open(Framed)
    peer.send(0x01, "a")
    peer.send(0x80, "b")
    assert log.wait_len(3) == ["open", Frame(OpCode.TEXT, True, b"ab"), ("TEXT", b"ab")]


def test_on_new_frame_with_on_text_and_on_binary(link: Link, log: Log) -> None:
    class Framed(AsyncView):
        async def on_new_frame(self, frame: Frame) -> None:
            log.add(frame.payload)

        async def on_text(self, text: str) -> None:
            log.add(text)

        async def on_binary(self, data: bytes) -> None:
            log.add(data)

    peer = link.open(Framed)
    peer.text("a")
    peer.binary(b"b")
    assert log.wait_len(4) == [b"a", "a", b"b", b"b"]


def test_on_new_frame_alone(link: Link, log: Log) -> None:
    class Framed(AsyncView):
        async def on_new_frame(self, frame: Frame) -> None:
            log.add(frame.payload)

    peer = link.open(Framed)
    peer.text("a")
    log.wait(b"a")


def test_on_ping_and_on_pong(link: Link, log: Log) -> None:
    class Hearing(Echo):
        async def on_ping(self, data: bytes) -> None:
            log.add(("ping", data))

        async def on_pong(self, data: bytes, latency: float | None) -> None:
            log.add(("pong", data, latency is not None and latency >= 0))

    peer = link.open(Hearing)
    peer.ping(b"a")
    assert peer.frame() == (0x8A, b"a")
    peer.pong(b"unasked")
    link.call(link.view.send_ping, b"ours")
    assert peer.frame() == (0x89, b"ours")
    peer.pong(b"ours")
    assert log.wait_len(3) == [("ping", b"a"), ("pong", b"unasked", False), ("pong", b"ours", True)]


def test_on_error_of_a_violation(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    peer.text("a")
    peer.send(0x83)
    assert peer.closed()[0] == 1002
    peer.sock.close()
    log.wait(("close", None))
    assert log.entries == ["open", ("TEXT", b"a"), ("error", "ProtocolError"), ("close", None)]


def test_rule_2_the_reply_goes_out_before_the_close(link: Link) -> None:
    peer = link.open(Echo)
    peer.send_raw(peer.encode(0x81, "last words") + b"\xff\xff\xff\xff garbage")
    assert peer.message() == "last words"
    assert peer.closed()[0] == 1002


def test_rule_2_messages_before_a_close_are_handled(link: Link, log: Log) -> None:
    gate = link.runtime.gate()

    class Slow(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await gate.wait()
            await self.send(message)
            log.add(message)

    peer = link.open(Slow)
    peer.send_raw(
        b"".join(peer.encode(0x81, str(number)) for number in range(5))
        + peer.encode(0x88, close_body(1000))
    )
    assert peer.is_silent()
    gate.open()
    assert [peer.message() for _ in range(5)] == list("01234")
    assert peer.closed() == (1000, "")
    peer.sock.close()
    log.wait(("close", 1000))
    assert log.entries == ["open", *(b"%d" % number for number in range(5)), ("close", 1000)]


def test_on_close_when_the_stream_just_ends(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    peer.text("a")
    peer.sock.close()
    log.wait(("close", None))
    assert log.entries == ["open", ("TEXT", b"a"), ("close", None)]
    assert link.view.close_code == 1006


def test_on_close_may_wait_and_look(link: Link, log: Log) -> None:
    class Late(Echo):
        async def on_close(self, frame: Frame | None = None) -> None:
            await link.runtime.within(0.01, link.runtime.gate().wait)
            log.add((self.state, self.close_code))
            with pytest.raises(ConnectionClosed):
                await self.send("too late")
            await self.close()
            await self.safe_close()
            log.add("done")

    peer = link.open(Late)
    peer.bye(4000)
    log.wait("done")
    assert log.entries == [(State.CLOSED, 4000), "done"]


def test_no_on_close_without_on_open(server: Link, log: Log) -> None:
    class Refusing(recorder(log)):  # type: ignore[misc]
        async def on_request(self, request: UpgradeRequest) -> Response:
            return Response(403, body=b"no\n")

    port, _ = server.serve(server.runtime.adopt(Refusing))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 403
        assert peer.rest() == b"no\n"
    assert log.entries == []


def test_hooks_may_be_plain_functions(link: Link, log: Log) -> None:
    class Plain(AsyncView):
        def on_open(self) -> None:  # type: ignore[override]
            log.add("open")

        def on_text(self, text: str) -> None:  # type: ignore[override]
            log.add(text)

        def on_close(self, frame: Frame | None = None) -> None:  # type: ignore[override]
            log.add("close")

    peer = link.open(Plain)
    peer.text("a")
    peer.bye()
    log.wait("close")
    assert log.entries == ["open", "a", "close"]


def test_hooks_may_be_defined_on_the_instance_base(link: Link, log: Log) -> None:
    class Mixin:
        async def on_text(self, text: str) -> None:
            log.add(text)

    class Mixed(Mixin, AsyncView):
        pass

    peer = link.open(Mixed)
    peer.text("a")
    log.wait("a")


def test_a_view_without_message_hooks_is_refused(runtime: Runtime) -> None:
    class Nothing(AsyncView):
        async def on_open(self) -> None:
            """A view that no message reaches."""

    cls = runtime.adopt(Nothing)
    with pytest.raises(NotImplementedError, match="on_receive"):
        check_view(cls)
    with pytest.raises(NotImplementedError, match="Nothing"):
        runtime.serve(cls)
    with pytest.raises(NotImplementedError, match="Nothing"):
        runtime.connect("ws://127.0.0.1:1/", cls)


# ---------------------------------------------------------------------------------- on_request


@pytest.mark.parametrize("wrong", [RuntimeError("secret"), 5, True, "ok"])
def test_on_request_goes_wrong(
    server: Link, log: Log, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(recorder(log)):  # type: ignore[misc]
        async def on_request(self, request: UpgradeRequest) -> Any:
            if isinstance(wrong, Exception):
                raise wrong
            return wrong

    port, _ = server.serve(server.runtime.adopt(Wrong))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 500
        assert b"secret" not in peer.rest()
    assert caplog.records
    assert log.entries == []


def test_on_request_accepts_with_particulars(server: Link) -> None:
    class Choosing(Echo):
        async def on_request(self, request: UpgradeRequest) -> Accept:
            assert request is self.request
            return Accept(subprotocol="b", headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    peer = server.open(Choosing, headers=[("Sec-WebSocket-Protocol", "a, b")])
    assert peer.head is not None
    assert peer.head["sec-websocket-protocol"] == "b"
    assert [value for name, value in peer.head.fields if name == "set-cookie"] == ["a=1", "b=2"]
    assert server.view.subprotocol == "b"


def test_init_raises(server: Link, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def __init__(self, upgrade_request: UpgradeRequest, **kwargs: Any) -> None:
            raise RuntimeError("secret")

    port, _ = server.serve(server.runtime.adopt(Failing))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 500
        assert b"secret" not in peer.rest()
    assert "secret" in caplog.text


def test_init_of_a_client_raises_where_it_is_called(runtime: Runtime) -> None:
    class Failing(Echo):
        def __init__(self, upgrade_request: UpgradeRequest, **kwargs: Any) -> None:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        runtime.connect("ws://127.0.0.1:1/", runtime.adopt(Failing))


# ---------------------------------------------------------------------------------- life


def test_get_sec_accept_key() -> None:
    view = AsyncView(UpgradeRequest("/", {}))  # type: ignore[arg-type]
    assert view.get_sec_accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_strictly_async(link: Link) -> None:
    link.open(Echo)
    assert link.view.strictly_async() is link.runtime.strictly_async


def test_run_forever_of_ones_own(link: Link, log: Log) -> None:
    class Own(AsyncView):
        async def on_open(self) -> None:
            log.add("open")

        async def run_forever(self) -> None:
            async for message in self:
                log.add(message)
                await self.send(message)
            log.add("end")

        async def on_close(self, frame: Frame | None = None) -> None:
            log.add("close")

    peer = link.open(Own)
    peer.text("a")
    assert peer.message() == "a"
    peer.binary(b"b")
    assert peer.message() == "b"  # bytes are text too, if nothing else is said
    peer.bye()
    log.wait("close")
    log.wait("end")
    assert log.entries[:3] == ["open", "a", b"b"]


def test_g7_run_forever_returns(link: Link) -> None:
    class Brief(AsyncView):
        async def run_forever(self) -> None:
            await self.send(await self.recv())

    peer = link.open(Brief)
    peer.text("a")
    assert peer.message() == "a"
    assert peer.reply() == (1000, "")


def test_run_forever_raises(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(AsyncView):
        async def run_forever(self) -> None:
            raise RuntimeError("secret")

    peer = link.open(Failing)
    assert peer.reply()[0] == 1011
    assert "secret" in caplog.text


def test_on_request_judges_before_run(server: Link, log: Log) -> None:
    class Guarded(AsyncView):
        async def on_request(self, request: UpgradeRequest) -> Response | Accept:
            log.add("judge")
            if request.path == "/in":
                return Accept(headers=[("X-Welcome", "yes")])
            return Response(401)

        async def run_forever(self) -> None:
            log.add("run")
            await self.recv()

    port, _ = server.serve(server.runtime.adopt(Guarded))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request("/out").status == 401
    assert log.entries == ["judge"]
    with Peer(connect_tcp(port), is_client=True) as peer:
        head = peer.request("/in")
        assert (head.status, head["x-welcome"]) == (101, "yes")
        log.wait("run")


def test_run_of_ones_own(server: Link, log: Log) -> None:
    class Own(AsyncView):
        async def run(self) -> None:
            log.add(self.state)
            log.add(await self.initiate_upgrade_to_ws())
            log.add(await self.initiate_upgrade_to_ws())
            log.add(self.state)
            await self.run_forever()
            log.add(self.state)

        async def on_text(self, text: str) -> None:
            log.add(text)

    peer = server.open(Own)
    peer.text("a")
    peer.bye()
    log.wait(State.CLOSED)
    # The hooks go on beside it.
    assert log.entries[-1] is State.CLOSED
    own = [entry for entry in log.entries if entry != "a"]
    assert own == [State.INITIATING, True, True, State.OPEN, State.CLOSED]


def test_run_that_never_answers(server: Link) -> None:
    class Rude(AsyncView):
        async def run(self) -> None:
            """It leaves the request without an answer."""

    port, _ = server.serve(server.runtime.adopt(Rude))
    with Peer(connect_tcp(port), is_client=True) as peer:
        assert peer.request().status == 500


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"\x83\x00", ProtocolError),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", PayloadTooBig),
    ],
)
def test_run_forever_raises_what_ended_it(link: Link, wire: bytes, error: type[Exception]) -> None:
    peer = link.open(Echo)
    running = link.spawn(link.view.run_forever)
    if link.role == "client":
        wire = bytes([wire[0], wire[1] & 0x7F, *wire[2:]])
    peer.send_raw(wire if link.role == "client" else bytes([wire[0], wire[1] | 0x80, *wire[2:]]))
    peer.closed()
    peer.sock.close()
    with pytest.raises(error):
        running.result()


def test_run_forever_raises_the_error_of_a_hook(link: Link) -> None:
    class Failing(AsyncView):
        async def on_text(self, text: str) -> None:
            raise LookupError("mine")

    peer = link.open(Failing)
    running = link.spawn(link.view.run_forever)
    peer.text("a")
    assert peer.reply()[0] == 1011  # the Close is out before it raises
    with pytest.raises(LookupError, match="mine"):
        running.result()
    link.call(link.view.run)  # run() does not raise it


def test_run_forever_raises_a_timeout(link: Link) -> None:
    peer = link.open(Echo, RECEIVE_TIMEOUT=0.05)
    running = link.spawn(link.view.run_forever)
    assert peer.reply()[0] == 1001
    with pytest.raises(TimeoutError):
        running.result()


def test_run_forever_returns_after_a_close(link: Link) -> None:
    peer = link.open(Echo)
    running = link.spawn(link.view.run_forever)
    peer.bye(1000)
    assert running.result() is None


# ---------------------------------------------------------------------------------- reading


class Reader(AsyncView):
    """Hands what it reads to the test."""

    async def run_forever(self) -> None:
        await super().run_forever()


def test_recv(link: Link) -> None:
    peer = link.open(Reader)
    peer.text("ä")
    peer.send(0x02, b"a")
    peer.send(0x89, b"ping")
    peer.send(0x80, b"b")
    assert link.call(link.view.recv) == "ä"
    assert link.call(link.view.recv) == b"ab"
    assert peer.frame() == (0x8A, b"ping")


def test_recv_after_the_close_gives_what_came_before(link: Link) -> None:
    peer = link.open(Reader, CLOSE_TIMEOUT=0.3)
    reading = link.spawn(link.view.recv)
    peer.send_raw(
        peer.encode(0x81, "a") + peer.encode(0x81, "b") + peer.encode(0x88, close_body(4000, "x"))
    )
    assert reading.result() == "a"
    assert link.call(link.view.recv) == "b"
    with pytest.raises(ConnectionClosed) as caught:
        link.call(link.view.recv)
    peer.sock.close()
    assert (caught.value.code, caught.value.reason) in [(4000, "x"), (1006, "")]
    eventually(lambda: link.view.state is State.CLOSED)
    with pytest.raises(ConnectionClosed) as caught:
        link.call(link.view.recv)
    assert (caught.value.code, caught.value.reason) == (4000, "x")
    assert caught.value.received == (4000, "x")
    assert caught.value.sent == (4000, "x")


@pytest.mark.parametrize("method", ["recv", "read_frame"])
def test_reading_raises_a_violation(link: Link, method: str) -> None:
    peer = link.open(Reader)
    reading = link.spawn(getattr(link.view, method))
    peer.send(0x83)
    assert peer.closed()[0] == 1002
    peer.sock.close()
    with pytest.raises(ProtocolError):
        reading.result()


def test_reading_raises_too_big(link: Link) -> None:
    peer = link.open(Reader, MAX_MESSAGE_SIZE=5)
    reading = link.spawn(link.view.read_frame)
    peer.text("123456")
    assert peer.closed()[0] == 1009
    peer.sock.close()
    with pytest.raises(PayloadTooBig):
        reading.result()


def test_reading_raises_a_timeout(link: Link) -> None:
    peer = link.open(Reader, RECEIVE_TIMEOUT=0.05)
    reading = link.spawn(link.view.read_frame)
    assert peer.reply()[0] == 1001
    with pytest.raises(PeerTimeout):
        reading.result()


def test_read_frame(link: Link) -> None:
    peer = link.open(Reader)
    reading = link.spawn(link.view.read_frame)
    peer.text("first")
    assert reading.result().payload == b"first"
    reading = link.spawn(link.view.read_frame)
    peer.send_raw(
        peer.encode(0x89, "ping")
        + peer.encode(0x01, "a")
        + peer.encode(0x80, "b")
        + peer.encode(0x8A, "pong")
        + peer.encode(0x82, "c")
        + peer.encode(0x88, close_body(4000))
    )
    frames = [reading.result(), *(link.call(link.view.read_frame) for _ in range(4))]
    assert frames == [
        Frame(OpCode.PING, True, b"ping"),
        Frame(OpCode.TEXT, True, b"ab"),
        Frame(OpCode.PONG, True, b"pong"),
        Frame(OpCode.BINARY, True, b"c"),
        Frame(OpCode.CLOSE, True, close_body(4000)),
    ]
    assert peer.frame() == (0x8A, b"ping")
    assert peer.closed()[0] == 4000
    peer.sock.close()
    with pytest.raises(ConnectionClosed):
        link.call(link.view.read_frame)


def test_recv_after_read_frame_passes_control_frames_over(link: Link) -> None:
    peer = link.open(Reader)
    reading = link.spawn(link.view.read_frame)
    peer.text("a")
    assert reading.result().payload == b"a"
    reading = link.spawn(link.view.recv)
    peer.ping(b"1")
    assert peer.frame() == (0x8A, b"1")
    peer.text("b")
    assert reading.result() == "b"


def test_recv_inside_a_hook(link: Link, log: Log) -> None:
    class Asking(recorder(log)):  # type: ignore[misc]
        async def on_open(self) -> None:
            log.add(await self.recv())

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add(message)
            log.add(await self.recv())

    peer = link.open(Asking)
    for text in "abcde":
        peer.text(text)
    assert log.wait_len(5) == ["a", b"b", "c", b"d", "e"]


def test_g5_two_readers(link: Link) -> None:
    peer = link.open(Reader)
    first = link.spawn(link.view.recv)
    assert peer.is_silent(0.01)
    with pytest.raises(LocalProtocolError, match="one reader at a time"):
        link.call(link.view.recv)
    peer.text("a")
    assert first.result() == "a"


def test_g1_a_cancelled_recv_loses_nothing(link: Link) -> None:
    peer = link.open(Reader)
    for text in "abc":
        assert link.call(link.runtime.within, 0.01, link.view.recv) is None
        peer.text(text)
        assert link.call(link.view.recv) == text


def test_iteration_raises_when_it_was_not_closed(link: Link) -> None:
    async def read(view: Any) -> list[Any]:
        return [message async for message in view]

    peer = link.open(Reader)
    reading = link.spawn(read, link.view)
    peer.text("a")
    peer.sock.close()
    with pytest.raises(ConnectionClosed):
        reading.result()


def test_iteration_ends_with_a_close(link: Link, log: Log) -> None:
    async def read(view: Any) -> list[Any]:
        log.add("reading")
        return [message async for message in view]

    peer = link.open(Reader)
    reading = link.spawn(read, link.view)
    log.wait("reading")
    peer.text("a")
    peer.binary(b"b")
    peer.bye()
    assert reading.result() == ["a", b"b"]


# ---------------------------------------------------------------------------------- sending


@pytest.mark.parametrize(
    ("data", "opcode", "frame"),
    [
        ("ä", OpCode.TEXT, (0x81, "ä".encode())),
        ("ä".encode(), OpCode.TEXT, (0x81, "ä".encode())),
        (bytearray(b"a"), OpCode.TEXT, (0x81, b"a")),
        (memoryview(b"a"), OpCode.TEXT, (0x81, b"a")),
        (b"\xff", OpCode.BINARY, (0x82, b"\xff")),
        (bytearray(b"\xff"), 2, (0x82, b"\xff")),
        (memoryview(b"\xff"), OpCode.BINARY, (0x82, b"\xff")),
        ("", 1, (0x81, b"")),
    ],
)
def test_send(link: Link, data: Any, opcode: Any, frame: tuple[int, bytes]) -> None:
    peer = link.open(Echo)
    link.call(link.view.send, data, opcode)
    assert peer.frame() == frame


def test_send_words(link: Link) -> None:
    peer = link.open(Echo)
    link.call(link.view.send_text, "a")
    link.call(link.view.send_binary, b"b")
    link.call(link.view.send_json, {"c": 1}, separators=(",", ":"))
    link.call(link.view.send, "d")
    frames = [peer.frame() for _ in range(4)]
    assert frames == [(0x81, b"a"), (0x82, b"b"), (0x81, b'{"c":1}'), (0x81, b"d")]


@pytest.mark.parametrize("compress", [None, True, False])
def test_compress(link: Link, compress: bool | None) -> None:
    peer = link.open(Echo, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
    for method, data in [
        ("send", "a" * 2000),
        ("send_text", "a" * 2000),
        ("send_binary", b"a" * 2000),
        ("send_json", ["a" * 2000]),
    ]:
        link.call(getattr(link.view, method), data, compress=compress)
        first, payload = peer.frame()
        assert bool(first & 0x40) is (compress is not False), method
        assert (len(payload) < 1000) is (compress is not False), method


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("send", (5,), TypeError),
        ("send", (None,), TypeError),
        ("send", ("a", OpCode.BINARY), TypeError),
        ("send", (b"\xff",), LocalProtocolError),
        ("send", ("\ud800",), LocalProtocolError),
        ("send", ("a", OpCode.PING), LocalProtocolError),
        ("send", ("a", OpCode.CONTINUATION), LocalProtocolError),
        ("send", ("a", 5), LocalProtocolError),
        ("send_text", (b"\xc3",), LocalProtocolError),
        ("send_binary", ("a",), TypeError),
        ("send_json", (object(),), TypeError),
        ("send_ping", (bytes(126),), LocalProtocolError),
        ("send_pong", (bytes(126),), LocalProtocolError),
        ("send_ping", ("a",), TypeError),
        ("send_frame", (Frame(OpCode.CONTINUATION),), LocalProtocolError),
        ("send_frame", (Frame(OpCode.PING, False),), LocalProtocolError),
        ("send_frame", (Frame(OpCode.TEXT, rsv1=True),), LocalProtocolError),
        ("send_frame", (Frame(OpCode.CLOSE, payload=b"a"),), LocalProtocolError),
        ("send_frame", (Frame(OpCode.PING, payload=bytes(126)),), LocalProtocolError),
    ],
)
def test_what_cannot_be_sent(
    link: Link, method: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    peer = link.open(Echo)
    with pytest.raises(error):
        link.call(getattr(link.view, method), *arguments)
    link.call(link.view.send, "still well")
    assert peer.frame() == (0x81, b"still well")


def test_send_frame(link: Link) -> None:
    peer = link.open(Echo)
    frame = Frame(OpCode.TEXT, False, b"a")
    link.call(link.view.send_frame, frame)
    assert frame == Frame(OpCode.TEXT, False, b"a")
    with pytest.raises(LocalProtocolError, match="unfinished"):
        link.call(link.view.send_frame, Frame(OpCode.BINARY, True, b"x"))
    link.call(link.view.send_frame, Frame(OpCode.PING, True, b"p"))
    link.call(link.view.send_frame, Frame(OpCode.CONTINUATION, False, b"b"))
    link.call(link.view.send_frame, Frame(OpCode.CONTINUATION, True, b"c"))
    link.call(link.view.send_frame, Frame(OpCode.PONG, True, b"q"))
    link.call(link.view.send_frame, Frame(OpCode.CLOSE, True, close_body(4000, "x")))
    assert [peer.frame() for _ in range(6)] == [
        (0x01, b"a"),
        (0x89, b"p"),
        (0x00, b"b"),
        (0x80, b"c"),
        (0x8A, b"q"),
        (0x88, close_body(4000, "x")),
    ]


def test_senders_wait_for_an_unfinished_message(link: Link) -> None:
    peer = link.open(Echo)
    link.call(link.view.send_frame, Frame(OpCode.TEXT, False, b"a"))
    waiting = [link.spawn(link.view.send, text) for text in "xyz"]
    assert peer.frame() == (0x01, b"a")
    assert peer.is_silent(0.02)

    async def go_on() -> None:
        await link.view.send_frame(Frame(OpCode.CONTINUATION, True, b"b"))
        await link.view.send_frame(Frame(OpCode.TEXT, False, b"c"))
        await link.view.send_frame(Frame(OpCode.CONTINUATION, True, b"d"))

    link.call(go_on)
    for sender in waiting:
        sender.result()
    frames = [peer.frame() for _ in range(6)]
    assert sorted(_joined(frames)) == [b"cd", b"x", b"y", b"z"]


def test_post(link: Link) -> None:
    peer = link.open(Echo)
    link.view.post("from a thread")
    link.view.post(b"\xff", OpCode.BINARY)
    link.view.post(bytearray(b"a"), OpCode.BINARY)
    assert [peer.frame() for _ in range(3)] == [
        (0x81, b"from a thread"),
        (0x82, b"\xff"),
        (0x82, b"a"),
    ]


def test_post_waits_for_an_unfinished_message(link: Link) -> None:
    peer = link.open(Echo)
    link.call(link.view.send_frame, Frame(OpCode.TEXT, False, b"a"))
    link.view.post("x")
    link.view.post("y")
    assert peer.frame() == (0x01, b"a")
    assert peer.is_silent(0.02)
    link.call(link.view.send_frame, Frame(OpCode.CONTINUATION, True, b"b"))
    assert [peer.frame() for _ in range(3)] == [(0x80, b"b"), (0x81, b"x"), (0x81, b"y")]


@pytest.mark.parametrize("wrong", [5, None, ["a"]])
def test_post_of_what_cannot_be_sent(link: Link, wrong: Any) -> None:
    peer = link.open(Echo)
    with pytest.raises(TypeError):
        link.view.post(wrong)
    with pytest.raises(ValueError, match="5"):
        link.view.post("a", 5)
    link.view.post("a")
    assert peer.frame() == (0x81, b"a")


def test_post_after_the_close(link: Link) -> None:
    link.open(Echo).bye()
    eventually(lambda: link.view.state is State.CLOSED)
    link.view.post("nobody hears it")


def test_ping(link: Link) -> None:
    peer = link.open(Echo)
    pings = [link.spawn(link.view.ping) for _ in range(3)]
    payloads = [peer.frame()[1] for _ in range(3)]
    assert len(set(payloads)) == 3
    peer.pong(payloads[2])  # a later pong answers the pings before it
    assert all(0 <= ping.result() < DEADLINE for ping in pings)


def test_ping_is_not_answered(link: Link) -> None:
    peer = link.open(Echo)
    ping = link.spawn(link.view.ping)
    peer.frame()
    peer.bye(4000)
    with pytest.raises(ConnectionClosed) as caught:
        ping.result()
    assert caught.value.code == 4000


def test_ping_cancelled(link: Link) -> None:
    peer = link.open(Echo)
    assert link.call(link.runtime.within, 0.01, link.view.ping) is None
    peer.pong(peer.frame()[1])
    pinging = link.spawn(link.view.ping)
    peer.pong(peer.frame()[1])
    assert pinging.result() >= 0


def test_send_ping_and_send_pong(link: Link) -> None:
    peer = link.open(Echo)
    link.call(link.view.send_ping)
    link.call(link.view.send_ping, bytes(125))
    link.call(link.view.send_pong, b"a")
    assert [peer.frame() for _ in range(3)] == [(0x89, b""), (0x89, bytes(125)), (0x8A, b"a")]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("send", ("a",)),
        ("send_text", ("a",)),
        ("send_binary", (b"a",)),
        ("send_json", (1,)),
        ("send_frame", (Frame(OpCode.TEXT),)),
        ("send_ping", ()),
        ("send_pong", ()),
        ("ping", ()),
        ("recv", ()),
        ("read_frame", ()),
    ],
)
def test_after_the_close(link: Link, method: str, arguments: tuple[Any, ...]) -> None:
    peer = link.open(Echo)
    peer.bye(4000, "why")
    eventually(lambda: link.view.state is State.CLOSED)
    with pytest.raises(ConnectionClosed) as caught:
        link.call(getattr(link.view, method), *arguments)
    assert isinstance(caught.value, ConnectionError)
    assert (caught.value.code, caught.value.reason) == (4000, "why")
    assert caught.value.sent == (4000, "why")
    assert caught.value.received == (4000, "why")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("send", ("a",)),
        ("send_frame", (Frame(OpCode.TEXT),)),
        ("send_ping", ()),
        ("send_pong", ()),
        ("ping", ()),
        ("recv", ()),
        ("read_frame", ()),
        ("run", ()),
        ("run_forever", ()),
        ("initiate_upgrade_to_ws", ()),
    ],
)
def test_before_it_is_connected(runtime: Runtime, method: str, arguments: tuple[Any, ...]) -> None:
    view = runtime.adopt(Echo)(UpgradeRequest("/", {}))  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="Echo is not connected"):
        runtime.call(getattr(view, method), *arguments)
    runtime.call(view.close)
    runtime.call(view.send_close)
    runtime.call(view.safe_close)
    with pytest.raises(LocalProtocolError, match="Echo is not connected"):
        view.post("a")


@pytest.mark.parametrize("method", ["send", "ping", "send_ping"])
def test_while_the_handshake_runs(server: Link, log: Log, method: str) -> None:
    class Hasty(Echo):
        async def on_request(self, request: UpgradeRequest) -> None:
            with pytest.raises(LocalProtocolError, match="deciding"):
                await getattr(self, method)(*(("a",) if method == "send" else ()))
            log.add("refused")

    peer = server.open(Hasty)
    assert log.entries == ["refused"]
    peer.text("a")
    assert peer.message() == "a"


# ---------------------------------------------------------------------------------- closing


def test_close(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    closing = link.spawn(link.view.close, 4002, "done")
    assert peer.reply() == (4002, "done")
    closing.result()
    assert link.view.state is State.CLOSED
    log.wait(("close", 4002))
    assert log.entries == ["open", ("close", 4002)]


def test_io_7_1_1_first_the_server_ends_the_stream_first(link: Link) -> None:
    peer = link.open(Echo, CLOSE_TIMEOUT=0.2)
    peer.close_frame()
    assert peer.closed()[0] == 1000
    if link.role == "server":
        assert peer.rest() == b""
    else:
        assert peer.is_silent()  # the client waits for the server's end, but not for ever
        assert peer.rest() == b""


def test_g5_close_ten_times(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    closings = [link.spawn(link.view.close, 4000 + number) for number in range(10)]
    code = peer.reply()[0]  # trio runs tasks in no certain order
    assert code in range(4000, 4010)
    for closing in closings:
        closing.result()
    link.call(link.view.close)
    log.wait(("close", code))
    assert log.entries == ["open", ("close", code)]


def test_close_defaults(link: Link) -> None:
    peer = link.open(Echo)
    closing = link.spawn(link.view.close)
    assert peer.reply() == (1000, "")
    closing.result()


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((), (1000, "")),
        ((3000, "why"), (3000, "why")),
        ((1000, "ä" * 100), (1000, "ä" * 61)),
        ((1000, "x" * 200), (1000, "x" * 123)),
        ((CloseCode.GOING_AWAY,), (1001, "")),
        ((1005,), (1011, "")),
        ((1006,), (1011, "")),
        ((999,), (1011, "")),
        ((70000,), (1011, "")),
        (("1000",), (1011, "")),
        ((None,), (1011, "")),
        ((True,), (1011, "")),
        ((1000, None), (1000, "None")),
        ((1000, "\ud800"), (1000, "?")),
    ],
)
def test_send_close_never_raises(
    link: Link, arguments: tuple[Any, ...], sent: tuple[int, str]
) -> None:
    peer = link.open(Echo)
    link.call(link.view.send_close, *arguments)
    link.call(link.view.send_close, 4999)
    assert link.view.state is State.CLOSING
    assert peer.reply() == sent
    eventually(lambda: link.view.state is State.CLOSED)
    link.call(link.view.send_close)


def test_close_inside_a_hook(link: Link, log: Log) -> None:
    class Closing(recorder(log)):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await self.close(4000)
            log.add(self.state)

    peer = link.open(Closing)
    peer.text("a")
    assert peer.reply() == (4000, "")
    log.wait(("close", 4000))
    assert log.entries == ["open", State.CLOSED, ("close", 4000)]


def test_messages_after_our_close_are_still_handled(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    link.call(link.view.send_close)
    peer.text("crossing")
    assert peer.reply() == (1000, "")
    log.wait(("close", 1000))
    assert log.entries == ["open", ("TEXT", b"crossing"), ("close", 1000)]


def test_safe_close(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    closing = link.spawn(link.view.safe_close)
    assert peer.reply()[0] == 1000
    closing.result()
    link.call(link.view.safe_close)
    link.call(link.view.safe_close, disable_logging=True, call_on_close_handler=False)
    log.wait(("close", 1000))
    assert log.entries == ["open", ("close", 1000)]


def test_safe_close_without_on_close(link: Link, log: Log) -> None:
    peer = link.open(recorder(log))
    closing = link.spawn(link.view.safe_close, call_on_close_handler=False)
    peer.reply()
    closing.result()
    assert link.view.state is State.CLOSED
    assert log.entries == ["open"]


def test_safe_close_without_logging(link: Link, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    peer = link.open(recorder(log), CLOSE_TIMEOUT=0.05)
    link.call(link.view.safe_close, disable_logging=True)
    peer.sock.close()
    log.wait(("close", None))
    assert [item for item in caplog.records if item.name == "wsproto_core"] == []


def test_safe_close_inside_on_request(server: Link, log: Log) -> None:
    class Leaving(recorder(log)):  # type: ignore[misc]
        async def on_request(self, request: UpgradeRequest) -> None:
            await self.safe_close()

    port, _ = server.serve(server.runtime.adopt(Leaving))
    with (
        Peer(connect_tcp(port), is_client=True) as peer,
        pytest.raises((EOFError, ConnectionError)),
    ):
        peer.request()
    assert log.entries == []


def test_io_7_1_7_log_the_cause(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    peer = link.open(Echo)
    peer.send(0x83)
    peer.closed()
    peer.sock.close()

    def lines() -> list[str]:
        return [item.getMessage() for item in caplog.records if item.name == "wsproto_core"]

    eventually(lambda: link.view.state is State.CLOSED and bool(lines()))
    assert len(lines()) == 1
    assert "opcode" in lines()[0]


# ---------------------------------------------------------------------------------- elsewhere


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("send", ("a",)),
        ("send_text", ("a",)),
        ("send_binary", (b"a",)),
        ("send_json", (1,)),
        ("send_frame", (Frame(OpCode.TEXT),)),
        ("send_stream", (["a"],)),
        ("send_ping", ()),
        ("send_pong", ()),
        ("ping", ()),
        ("recv", ()),
        ("read_frame", ()),
        ("run_forever", ()),
        ("initiate_upgrade_to_ws", ()),
        ("send_close", ()),
        ("close", ()),
        ("safe_close", ()),
        ("abort", ()),
    ],
)
def test_calls_from_elsewhere(server: Link, call: str, arguments: tuple[Any, ...]) -> None:
    """From outside of the loop: refused in the same words everywhere, and nothing is torn."""
    if not server.runtime.strictly_async:
        pytest.skip("views for threads may be called from anywhere")
    peer = server.open(Echo)
    view = server.view
    said = (
        "expected the loop and thread in which Echo is connected, got another or none; "
        "post() may be called from any thread"
    )
    with pytest.raises(LocalProtocolError, match=re.escape(said)):
        getattr(view, call)(*arguments).send(None)
    with pytest.raises(LocalProtocolError, match=re.escape(said)):
        asyncio.run(_awaited(getattr(view, call)(*arguments)))  # in a loop of another kind, too
    with pytest.raises(LocalProtocolError, match="broadcast"):
        broadcast([view], "a")
    view.post("still there")
    assert peer.message() == "still there"
    assert view.is_open


def test_a_closed_view_may_be_closed_from_elsewhere(link: Link) -> None:
    link.open(Echo).bye()
    eventually(lambda: link.view.state is State.CLOSED)
    for call in (link.view.close, link.view.safe_close, link.view.send_close, link.view.abort):
        asyncio.run(_awaited(call()))


async def _awaited(value: Any) -> Any:
    return await value


# ---------------------------------------------------------------------------------- contexts


def test_a_client_in_five_lines(runtime: Runtime) -> None:
    async def scenario() -> list[Any]:
        async with runtime.connect(listener.url()) as ws:
            await ws.send("hello")
            return [message async for message in ws]

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            assert peer.message() == "hello"
            peer.text("world")
            peer.close_frame(1000)
            assert peer.closed()[0] == 1000
        assert running.result() == ["world"]


def test_a_client_context_closes(runtime: Runtime) -> None:
    async def scenario() -> Any:
        async with runtime.connect(listener.url()) as ws:
            return ws

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            assert peer.reply() == (1000, "")
        assert running.result().state is State.CLOSED


def test_a_client_context_that_fails(runtime: Runtime) -> None:
    async def scenario() -> None:
        async with runtime.connect(listener.url()):
            raise LookupError("mine")

    with Listener() as listener:
        running = runtime.spawn(scenario)
        with listener.accept() as peer:
            peer.answer()
            assert peer.reply()[0] == 1011
        with pytest.raises(LookupError, match="mine"):
            running.result()


def test_our_client_with_our_server(runtime: Runtime, log: Log) -> None:
    async def scenario(port: int) -> Any:
        async with runtime.connect(f"ws://127.0.0.1:{port}/") as ws:
            await ws.send("ä" * 100_000)
            await ws.send(bytes(100_000), OpCode.BINARY)
            answers = [await ws.recv(), await ws.recv(), await ws.ping()]
            return [*answers, ws.extensions[0].name]

    link = Link(runtime, "server", None)
    port, _ = link.serve(runtime.adopt(Echo))
    text, data, seconds, extension = runtime.call(scenario, port)
    assert (text, data, extension) == ("ä" * 100_000, bytes(100_000), "permessage-deflate")
    assert seconds >= 0  # uvloop's clock has whole milliseconds
    link.end()


# ---------------------------------------------------------------------------------- names


def test_names_beside_the_class() -> None:
    assert {OpCode.CLOSE, OpCode.PING, OpCode.PONG} == set(CONTROL_OPCODES)
    assert {OpCode.CONTINUATION, OpCode.TEXT, OpCode.BINARY} == set(DATA_OPCODES)
    assert 1004 not in {int(code) for code in CloseCode}
    assert Frame(OpCode.TEXT, True, b"", False, False, False) == Frame(OpCode.TEXT)


class _Side:
    """Enough of a peer to encode before there is a connection."""

    def __init__(self, is_client: bool) -> None:
        self.is_client = is_client


def _skip_pings(peer: Peer) -> tuple[int, bytes]:
    while (frame := peer.frame())[0] == 0x89:
        pass
    return frame


def _joined(frames: list[tuple[int, bytes]]) -> list[bytes]:
    """The messages in ``frames``; the first may be the end of one."""
    messages: list[bytes] = []
    begun: bytes | None = b""
    for first, payload in frames:
        if first & 0x0F:
            assert begun is None or not messages, "a message inside another"
            begun = payload
        else:
            assert begun is not None, "a continuation of nothing"
            begun += payload
        if first & 0x80:
            if first != 0x80 or begun != payload:
                messages.append(begun)
            begun = None
    return messages


@pytest.mark.parametrize(("length", "most"), [(1, 15), (8000, 2)])
def test_a_batch_is_written_before_the_rest_of_the_hooks(
    runtime: Runtime, link: Link, log: Log, length: int, most: int
) -> None:
    """The peer can begin with it. ``most``: messages that wait when a hook begins."""
    if not runtime.strictly_async:
        pytest.skip("on threads a write is shared by what runs beside each other")

    class Counted(AsyncView):
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add(self.connection.bytes_to_send)
            await self.send(message, opcode)

    peer = link.open(Counted, EXTENSIONS=())
    sent = peer.encode(0x81, "x" * length)
    count = 40 if length < 100 else 7
    peer.send_raw(sent * count)
    assert [peer.message() for _ in range(count)] == ["x" * length] * count
    waited = log.wait_len(count)
    assert 0 < max(waited) <= most * (len(sent) + 4)
