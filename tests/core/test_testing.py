"""The public test kit: each tool does what its page says, and fails where it should."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from wsproto_core import (
    Agreement,
    Chunk,
    Close,
    Closed,
    Config,
    Connection,
    Headers,
    Hooks,
    LocalProtocolError,
    Message,
    OpCode,
    Opened,
    Phase,
    ProtocolError,
    Request,
    Response,
    Role,
    Session,
    Transport,
    parse_uri,
)
from wsproto_core.extensions import PerMessageDeflate
from wsproto_core.testing import (
    KEY,
    Cancelled,
    Difference,
    Eof,
    Expect,
    ExpectEnd,
    ExpectNothing,
    Pair,
    Recorder,
    Reset,
    Say,
    ScriptedPeer,
    SessionDriver,
    ViewRun,
    Wait,
    WireFrame,
    binary,
    close,
    continuation,
    encode_frames,
    parse_frames,
    ping,
    pong,
    replay,
    run_view,
    sleep,
    strategies,
    text,
)
from wsproto_views import AsyncView, broadcast

ROOT = Path(__file__).parents[2]
PAGES = ["docs/howto/fuzz-your-view.md", "docs/reference/testing.md"]
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def opened(role: Role = Role.SERVER, config: Config | None = None, now: float = 0.0) -> Connection:
    settled = config if config is not None else Config()
    return Connection.after_handshake(role, settled, Agreement(), now=now)


def client_says(*frames: WireFrame) -> bytes:
    return encode_frames(frames, masked=True)


# ------------------------------------------------------------------------------ the pages


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_page_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, Any] = {"__name__": page}
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # noqa: S102 - our own page


# ------------------------------------------------------------------------------ frames


@given(st.lists(strategies.frames(), max_size=6), st.booleans())
def test_frames_are_read_as_they_were_written(frames: list[WireFrame], masked: bool) -> None:
    frames = [WireFrame(f.opcode, f.payload, f.fin, f.rsv) for f in frames]
    assert parse_frames(encode_frames(frames, masked=masked), masked=masked) == (frames, b"")


@pytest.mark.parametrize("size", [0, 125, 126, 0xFFFF, 0x10000])
def test_lengths_are_in_their_shortest_form(size: int) -> None:
    data = binary(bytes(size)).encode()
    assert len(data) - size == (2 if size < 126 else 4 if size < 0x10000 else 10)
    frames, rest = parse_frames(data[:-1], masked=False)
    assert size == 0 or (frames, rest) == ([], data[:-1])


def test_what_is_never_right_is_refused() -> None:
    with pytest.raises(AssertionError, match="MASK"):
        parse_frames(text("x").encode(), masked=True)
    for form in (2, 8):
        with pytest.raises(AssertionError, match="shortest"):
            parse_frames(WireFrame(1, b"x", form=form).encode(), masked=False)


def test_short_forms() -> None:
    assert close(None).payload == b""
    assert close(1000, "ok").encode() == b"\x88\x04\x03\xe8ok"
    assert continuation("é", fin=False).encode(KEY)[:2] == b"\x00\x82"
    assert pong(b"p") == WireFrame(10, b"p")
    assert text(b"\xff").payload == b"\xff"


def test_a_frame_that_is_cut_off_is_the_rest() -> None:
    data = binary(bytes(300)).encode()
    for size in (1, 3, 4, 303):
        assert parse_frames(data[:size], masked=False) == ([], data[:size])


# ------------------------------------------------------------------------------ strategies


def feed(connection: Connection, parts: list[bytes]) -> list[Any]:
    events: list[Any] = []
    for part in parts:
        connection.receive_data(part, 0.0)
        while found := connection.events():
            events += found
    return events


@given(st.data(), strategies.streams())
def test_streams_are_proper_and_cuts_change_nothing(
    data: st.DataObject, frames: list[WireFrame]
) -> None:
    stream = client_says(*frames)
    cut = data.draw(strategies.cut_up(stream))
    assert b"".join(cut) == stream
    whole, pieces = opened(), opened()
    whole.events(), pieces.events()
    assert feed(whole, [stream]) == feed(pieces, cut)
    assert whole.error is None


@given(st.data(), strategies.messages())
def test_fragments_make_their_message(data: st.DataObject, message: Message) -> None:
    events = feed(opened(), [client_says(*data.draw(strategies.fragments(message)))])
    assert [event for event in events if isinstance(event, Message)] == [message]


@given(strategies.request_heads())
def test_request_heads_are_taken(head: bytes) -> None:
    server = Connection(Role.SERVER, now=0.0)
    assert isinstance(feed(server, [head])[0], Request)


@given(st.data())
def test_response_heads_are_taken(data: st.DataObject) -> None:
    client = Connection(Role.CLIENT, now=0.0, target="ws://h/", random=bytes)
    head = data.draw(strategies.response_heads("AAAAAAAAAAAAAAAAAAAAAA=="))
    feed(client, [head])
    assert client.phase is Phase.OPEN


def test_hostile_bytes_have_the_tokens() -> None:
    token = b"a token that chance does not make"
    found = find(strategies.hostile([REQUEST], tokens=[token]), lambda data: token in data)
    assert found.replace(token, b"", 1) == REQUEST


@given(strategies.hostile(masked=True) | strategies.hostile([REQUEST], tokens=[b"\r\n"]))
def test_hostile_bytes_are_survived(stream: bytes) -> None:
    server = opened()
    feed(server, [stream])
    server.receive_eof(0.0)


def test_hostile_bytes_may_come_from_any_strategy() -> None:
    @settings(max_examples=20, database=None)
    @given(strategies.hostile(strategies.request_heads()))
    def check(head: bytes) -> None:
        feed(Connection(Role.SERVER, now=0.0), [head])

    check()


def test_only_the_strategies_need_hypothesis() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import wsproto_core.testing\n"
        "try: import wsproto_core.testing.strategies\n"
        "except ImportError as error: print(error)"
    )
    path = [str(ROOT / "src"), str(ROOT / "src" / "bindings")]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install hypothesis" in run.stdout


# ------------------------------------------------------------------------------ Pair


def test_a_stream_that_ends_early_gives_its_beginning() -> None:
    pair = Pair(latency=1.0)
    pair.client.send_text("first")
    pair.client.send_text("second")
    pair.look()
    lost = pair.client_end.end_early(pair.now, keep=11 + 3)
    pair.client.send_text("never")
    pair.flow()
    server = pair.server_end
    assert [event for event in server.events if isinstance(event, Message)] == [
        Message("first", OpCode.TEXT)
    ]
    assert len(lost) == 12 - 3
    assert server.closed is not None
    assert server.closed.code == 1006


def test_a_stream_that_is_reset() -> None:
    pair = Pair(latency=1.0)
    pair.client_end.end_early(pair.now, reset=True)
    pair.flow()
    assert pair.server_end.closed is not None
    assert isinstance(pair.server_end.closed.error, ConnectionResetError)


def test_bytes_can_be_put_on_the_wire() -> None:
    pair = Pair()
    pair.client_end.inject(b"\xff\xff", pair.now)
    pair.run_until_quiet()
    assert pair.server_end.closed is not None
    assert pair.server.close_sent is not None
    assert pair.server.close_sent.code == 1002


def test_two_connections_of_ones_own_can_be_joined() -> None:
    pair = Pair.of(opened(Role.CLIENT), opened(Role.SERVER), now=0.0)
    pair.server.send_text("hi")
    pair.flow()
    assert pair.client_end.events[-1] == Message("hi", OpCode.TEXT)


def test_the_pair_says_what_goes_wrong() -> None:
    with pytest.raises(AssertionError, match="handshake failed"):
        Pair(react_server=lambda connection, event, now: None)
    with pytest.raises(AssertionError, match="not quiet after 100 s"):
        Pair().run_until_quiet(100.0)


def test_a_pair_may_begin_before_its_handshake() -> None:
    pair = Pair(opened=False)
    assert not pair.client_end.events
    pair.flow()
    assert isinstance(pair.client_end.events[0], Opened)


def Broken(real: Any, **wrong: Any) -> Any:  # noqa: N802  a class, as far as a test can tell
    """``real`` with some of its methods replaced, which an object of the compiled build refuses."""

    class Stand:
        def __getattr__(self, name: str) -> Any:
            return wrong[name] if name in wrong else getattr(real, name)

    return Stand()


def test_the_pair_notices_a_broken_connection() -> None:
    pair = Pair(opened=False)
    pair.client_end.connection = Broken(pair.client, next_deadline=lambda: pair.now)
    with pytest.raises(AssertionError, match="a loop"):
        pair.flow()
    pair = Pair()
    pair.server.close(1000, now=pair.now)
    pair.flow()
    pair.server_end.connection = Broken(
        pair.server, data_to_send=lambda: [b"late"], transport=Transport.SHUT_WRITE
    )
    with pytest.raises(AssertionError, match="after the end of our direction"):
        pair.look()


# ------------------------------------------------------------------------------ the scripted peer


def test_a_script_against_a_client() -> None:
    client = opened(Role.CLIENT)
    client.send_text("hi")
    peer = ScriptedPeer(client, now=0.0)
    peer.run([Expect(text("hi")), Say(close()), Expect(OpCode.CLOSE), ExpectNothing(), Eof()])
    assert client.closed is not None


def test_a_script_with_a_handshake() -> None:
    peer = ScriptedPeer(Connection(Role.SERVER, now=1000.0))
    peer.run([Say(REQUEST, bytewise=True), Expect(b"HTTP/1.1 101 Switching Protocols\r\n")])
    assert isinstance(peer.events[0], Request)


def test_a_script_against_a_session() -> None:
    connection = opened(Role.SERVER, now=1000.0)
    heard: list[str] = []

    def on_text(data: str) -> None:
        if data == "bad":
            raise ValueError(data)
        heard.append(data)
        session.send(data.upper(), OpCode.TEXT)

    session = Session(connection, Hooks(on_text=on_text))
    ScriptedPeer(session).run(
        [
            Say(text("hi")),
            Expect(text("HI")),
            Wait(25.0),
            Expect(OpCode.PING),
            Say(text("bad")),
            Expect(OpCode.CLOSE),
            ExpectEnd(),
            Eof(),
            Say(text("late")),
        ]
    )
    assert heard == ["hi"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([Expect(text("x"))], r"line 1, .*got nothing"),
        ([Say(ping(b"a")), Expect(pong(b"b"))], r"line 2, .*expected .*b'b'.* got .*b'a'"),
        ([Say(ping(b"a")), Expect(OpCode.CLOSE)], "line 2"),
        ([Say(ping(b"a")), Expect(b"HTTP")], "line 2"),
        ([Say(ping(b"a")), ExpectNothing()], "line 2"),
        ([Wait(1.0), ExpectEnd()], "has not ended"),
    ],
)
def test_a_script_that_is_not_met_says_where(script: list[Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        ScriptedPeer(opened(), now=0.0).run(script)


def test_a_script_can_reset_the_stream() -> None:
    for other in (opened(), Session(opened())):
        ScriptedPeer(other, now=0.0).run([Reset(), Say(text("late")), ExpectNothing()])
    with pytest.raises(TypeError, match="expected a Connection"):
        ScriptedPeer(type("X", (), {"session": type("Y", (), {"connection": None})})())


def test_a_script_against_a_view() -> None:
    driver, _ = start(Echo)
    peer = ScriptedPeer(driver)
    peer.run([Say(text("a")), Expect(text("a")), Wait(20.0), Expect(OpCode.PING), Reset()])
    assert driver.is_released()
    assert "text" not in repr(Say(close()))
    assert repr(Expect(OpCode.PING)).startswith("Expect(")


# ------------------------------------------------------------------------------ views by hand


class Echo(AsyncView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


class Slow(AsyncView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await sleep(float(message))
        await self.send(message, opcode)


class Asking(AsyncView):
    """Uses what waits: its ping, and a close with its answer."""

    rtt = 0.0

    async def on_text(self, text: str) -> None:
        self.rtt = await self.ping()
        await self.close(4001, "enough")


class Failing(AsyncView):
    async def on_text(self, text: str) -> None:
        raise KeyError(text)


class Stuck(AsyncView):
    """Waits for what never comes, and is told to stop."""

    stopped = False

    async def on_text(self, text: str) -> None:
        try:
            await sleep(1e9)
        except Cancelled:
            self.stopped = True
            raise


class Reading(AsyncView):
    """A view without hooks."""

    async def run_forever(self) -> None:
        async for message in self:
            await self.send(message)


def start(view: type[AsyncView]) -> tuple[SessionDriver, Any]:
    """A view under a driver, open."""
    run = run_view(Echo, [])  # for a request to begin with
    driver = SessionDriver()
    one = view(run.view.request)
    connection = opened(Role.SERVER, one._config(), now=driver.time)
    session = Session(connection, one._hooks())
    one._attach(session, driver)
    driver.attach(session)
    return driver, one


def test_an_echo() -> None:
    run = run_view(Echo, [client_says(text("a"), binary(b"b"), ping(b"c"), close(1000))])
    assert run.messages == ["a", b"b"]
    assert [frame.opcode for frame in run.frames] == [10, 1, 2, 8]
    assert run.closed.clean


def test_hooks_sleep_in_virtual_time() -> None:
    run = run_view(Slow, [client_says(text("3"), text("2")), 6.0])
    assert run.messages == ["3", "2"]
    # The client left, but what it said before is still handled, within close_timeout.
    assert run_view(Slow, [client_says(text("3"), text("2")), 4.0]).messages == ["3", "2"]
    assert run_view(Slow, [client_says(text("30"), text("2")), 4.0]).messages == []


class Flood(AsyncView):
    """Broadcasts more than its mark, to itself."""

    WRITE_HIGH_WATER = 100
    EXTENSIONS = ()

    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        self.skipped = [view for _ in range(20) for view in broadcast([self], message, opcode)]


def test_a_hook_that_broadcasts_more_than_the_mark() -> None:
    run = run_view(Flood, [client_says(text("x" * 40))])
    assert run.messages == ["x" * 40] * 20
    assert run.view.skipped == []


def test_a_broadcast_to_a_peer_that_stalls() -> None:
    driver, view = start(Flood)
    driver.stall()
    driver.receive(client_says(text("x" * 40)))
    # Frames of 42 bytes: the third goes over the mark of 100.
    assert view.skipped == [view] * 17
    assert driver.output == b""
    driver.release()
    frames, _ = parse_frames(bytes(driver.output), masked=False)
    assert [frame.payload for frame in frames] == [b"x" * 40] * 3


def test_a_view_that_pings_and_closes() -> None:
    driver, view = start(Asking)
    peer = ScriptedPeer(driver)
    peer.run([Say(text("hi"))])
    frames, _ = parse_frames(bytes(peer.rest), masked=False)
    peer.rest.clear()
    driver.advance(1.5)
    peer.run([Say(pong(frames[0].payload)), Expect(close(4001, "enough")), Say(close(4001)), Eof()])
    driver.run_until_quiet()
    assert view.rtt == 1.5
    assert driver.is_released()
    assert not driver.errors


def test_the_error_of_a_hook_comes_out() -> None:
    with pytest.raises(KeyError, match="x"):
        run_view(Failing, [client_says(text("x"))])
    run = run_view(Failing, [client_says(text("x"))], raise_errors=False)
    assert [type(error) for error in run.errors] == [KeyError]
    assert run.frames[-1].payload[:2] == (1011).to_bytes(2, "big")


def test_a_hook_that_never_ends_is_cancelled() -> None:
    run = run_view(Stuck, [client_says(text("x"))])
    assert run.view.stopped
    assert run.errors == []


def test_a_view_without_hooks() -> None:
    run = run_view(Reading, [client_says(text("a"), text("b"), close(1000))])
    assert run.messages == ["a", "b"]


def test_a_handshake_and_the_hook_that_judges_it() -> None:
    class Picky(Echo):
        async def on_request(self, request: Any) -> Response | None:
            await sleep(1.0)
            return None if request.path == "/chat" else Response(404)

    run = run_view(Picky, [REQUEST, 2.0, client_says(text("a"))], handshake=True)
    assert run.head.startswith(b"HTTP/1.1 101 ")
    assert run.messages == ["a"]
    run = run_view(Picky, [REQUEST.replace(b"/chat", b"/x"), 2.0], handshake=True)
    assert run.head.startswith(b"HTTP/1.1 404 ")
    run = run_view(Picky, [b"\x16\x03\x01"], handshake=True)
    assert run.head.startswith(b"HTTP/1.1 400 ")
    assert run.closed.code == 1006


def test_what_needs_a_loop_says_so() -> None:
    class Looping(AsyncView):
        async def on_text(self, text: str) -> None:
            future: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
            try:
                await future
            finally:
                future.get_loop().close()

    with pytest.raises(RuntimeError, match="no event loop"):
        run_view(Looping, [client_says(text("x"))])


def test_a_bare_yield_is_a_turn() -> None:
    class Yielding(AsyncView):
        async def on_text(self, text: str) -> None:
            await asyncio.sleep(0)
            await self.send(text)

    assert run_view(Yielding, [client_says(text("x"))]).messages == ["x"]


def test_a_shut_window_holds_up_send() -> None:
    driver, view = start(Echo)
    driver.stall()
    task = driver.start(view.send(bytes(100_000), OpCode.BINARY))
    assert driver.waiting == 1
    assert not driver.output
    driver.release()
    assert task.done
    assert len(driver.output) > 100_000
    driver.run(view.send("more"))
    driver.stall()
    task = driver.start(view.send(bytes(100_000), OpCode.BINARY))
    driver.advance(61.0)  # the send timeout
    assert task.error is not None
    assert driver.session.transport is Transport.ABORT


def test_a_lost_stream() -> None:
    driver, view = start(Echo)
    driver.lost(OSError("gone"))
    assert driver.is_released()
    assert view.close_code == 1006
    with pytest.raises(ConnectionError):
        driver.run(view.send("late"))


def test_posting_and_pausing() -> None:
    driver, view = start(Echo)
    view.post("posted")
    assert driver.output.endswith(b"posted")
    with pytest.raises(AssertionError, match="waits for what does not come"):
        driver.run(driver.settle(lambda: False), limit=5.0)
    with pytest.raises(AssertionError, match="not quiet"):
        driver.run_until_quiet(100.0)


def test_a_view_that_does_not_end_is_an_error() -> None:
    class Lingering(AsyncView):
        CLOSE_TIMEOUT = None

        async def on_text(self, text: str) -> None:
            await self._driver.settle(lambda: False)

    with pytest.raises(AssertionError, match="waits for ever"):
        run_view(Lingering, [client_says(text("x"))])


def test_hooks_may_be_plain_functions_and_act_on_the_driver() -> None:
    driver = SessionDriver()

    def on_text(data: str) -> None:
        if data == "more":
            driver.receive(client_says(text("second")))  # carried out when this hook is done
        session.send(data, OpCode.TEXT)

    session = Session(opened(now=driver.time), Hooks(on_text=on_text))
    driver.attach(session)
    driver.receive(client_says(text("more")))
    assert parse_frames(bytes(driver.output), masked=False)[0] == [text("more"), text("second")]


def test_a_turn_for_others() -> None:
    driver, view = start(Echo)
    driver.run(driver.checkpoint())
    assert not driver.waiting
    assert view.is_open
    with pytest.raises(AssertionError, match="has not ended"):
        _ = ViewRun(view, driver).closed


def test_fragments_of_a_view_are_put_together() -> None:
    class Parts(Echo):
        MAX_FRAME_SIZE = 2

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            await self.send("long enough")
            await self.send_ping(b"!")

    run = run_view(Parts, [client_says(text("x"))])
    assert len(run.frames) == 7
    assert run.messages == ["long enough"]


def test_time_passes_for_a_coroutine_of_the_test() -> None:
    driver, _ = start(Echo)
    began = driver.time
    driver.run(sleep(45.0))
    assert driver.time == began + 45.0


def test_a_stream_that_ends_twice() -> None:
    run = run_view(Echo, [client_says(text("x")), None, 1.0, None])
    assert run.closed.code == 1006


def test_the_driver_notices_a_broken_session() -> None:
    driver, _ = start(Echo)
    driver.session = Broken(driver.session, next_deadline=lambda: driver.time)
    with pytest.raises(AssertionError, match="does not move"):
        driver.advance(1.0)


# ------------------------------------------------------------------------------ records


def recorded(role: Role, config: Config) -> Recorder:
    """A whole life, both handshakes, a ping, an error and an end."""
    pair_client = Recorder(Role.CLIENT, config, now=0.0, target="ws://server.example/x")
    pair_server = Recorder(Role.SERVER, config, now=0.0)
    pair = Pair.of(pair_client, pair_server, now=0.0, latency=0.5)
    pair.flow()
    pair_client.send_text("hello " * 50)
    pair_server.send_binary(b"\x00\xff", final=False)
    pair_server.send_binary(b"", final=True)
    pair_server.ping(None, pair.now)
    with pytest.raises(LocalProtocolError):
        pair_server.send_text("\ud800")
    pair.run_for(30.0)
    pair_client.fail(ValueError("a hook"), pair.now)
    pair.run_until_quiet()
    return pair_client if role is Role.CLIENT else pair_server


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("extensions", [(), (PerMessageDeflate(),)])
def test_a_record_can_be_replayed(role: Role, extensions: tuple[PerMessageDeflate, ...]) -> None:
    config = Config(extensions=extensions)
    recorder = recorded(role, config)
    again = replay(recorder.lines, config)
    assert again.closed is not None
    assert recorder.closed is not None
    assert again.closed.code == recorder.closed.code
    assert again.lines == recorder.lines


def test_an_open_connection_can_be_recorded(tmp_path: Path) -> None:
    recorder = Recorder.after_handshake(
        Role.SERVER,
        Config(deliver="chunks"),
        Agreement("chat"),
        now=5.0,
        data=client_says(text("a")),
    )
    events = recorder.events()
    assert isinstance(events[-1], Chunk)
    recorder.lost(OSError("x"), 6.0)
    recorder.events()
    recorder.save(tmp_path / "record")
    lines = (tmp_path / "record").read_text("utf-8").splitlines()
    made = replay(lines, Config(deliver="chunks"))
    assert made.closed is not None
    assert isinstance(made.closed.error, OSError)


def test_every_call_can_be_replayed() -> None:
    server = Recorder(Role.SERVER, now=0.0)
    server.receive_data(REQUEST, 0.0)
    server.events()
    server.configure(Config(origins=["*"]), 0.5)
    server.reject(Response(404, Headers({"X-Why": "no"}), b"not here"), 1.0)
    server.data_to_send()
    server.write_blocked(10, 1.0)
    server.set_reading(False, 1.0)
    server.handle_timeout(100.0)
    server.receive_eof(101.0)
    server.abort(101.0)
    replay(server.lines, Config())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [('"gave"', '"took"', "line"), ('"phase": "open"', '"phase": "closed"', "line")],
)
def test_a_difference_is_found(old: str, new: str, line: str) -> None:
    recorder = recorded(Role.SERVER, Config())
    place = next(i for i, item in enumerate(recorder.lines) if i and old in item)
    lines = list(recorder.lines)
    lines[place] = lines[place].replace(old, new)
    with pytest.raises(Difference, match=f"{line} {place + 1}"):
        replay(lines)


def test_what_a_record_can_hold() -> None:
    class Own(Exception):
        pass

    for error in (Own("own"), ProtocolError("theirs", rule="RFC 6455 5.5"), OSError("gone")):
        server = Recorder.after_handshake(Role.SERVER, Config(), Agreement(), now=0.0)
        server.events()
        server.fail(error, 1.0)
        server.events()
        again = replay(server.lines)
        assert type(again.error).__name__ == type(error).__name__
    server = Recorder(Role.SERVER, now=0.0)
    server.receive_data(REQUEST, 0.0)
    server.events()
    server.accept(0.5, subprotocol=...)
    replay(server.lines)
    with pytest.raises(TypeError):
        server.send_binary({1}, final=True)  # type: ignore[arg-type]
    assert "{1}" in server.lines[-1]
    client = Recorder(Role.CLIENT, now=0.0, target=parse_uri("wss://server.example/x"))
    assert replay(client.lines).role is Role.CLIENT


def test_a_record_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="starts with"):
        replay([])
    lines = recorded(Role.CLIENT, Config()).lines
    with pytest.raises(Difference, match="random"):
        replay([re.sub(r'"random": \[[^]]*\], ', "", line) for line in lines])
    with pytest.raises(Difference, match="raised"):
        replay([lines[0], '{"at": 0.0, "do": "ping", "with": {"payload": null, "now": 0.0}}'])


def test_a_recorder_is_a_connection() -> None:
    recorder = recorded(Role.SERVER, Config())
    assert isinstance(recorder, Connection)
    assert isinstance(recorder.closed, Closed)
    assert isinstance(recorder.close_received, Close)


def test_a_record_has_the_fields_of_every_event() -> None:
    client = Recorder(Role.CLIENT, now=0.0, target="ws://server.example/x")
    pair = Pair.of(client, Recorder(Role.SERVER, now=0.0), now=0.0)
    pair.flow()
    pair.server.send_text("hello")
    pair.flow()
    told = [line for line in client.lines if '"Message"' in line]
    assert len(told) == 1
    assert '"data": "hello"' in told[0]
