"""What is special to trio: nurseries, cancel scopes, groups of exceptions, streams.

The words of views and their order are in ``test_contract.py``; the same holds for anyio, whose own
part is ``test_anyio.py``.
"""

import gc
import logging
import math
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import Log, Tls, eventually, recorder
from wsproto_core import Agreement
from wsproto_trio import (
    ConnectionClosed,
    HandshakeError,
    Headers,
    LocalProtocolError,
    OpCode,
    Response,
    UpgradeRequest,
    WebSocketView,
    connect,
    serve,
    serve_stream,
    upgraded,
)


class Echo(WebSocketView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}/"


def beside(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Play the peer in a thread, while trio runs in this one."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def names() -> list[str]:
    """The tasks that run beside this one, in nurseries of user code."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found, look = [], [root]
    while look:
        task = look.pop()
        for nursery in task.child_nurseries:
            look += nursery.child_tasks
            found += [item.name for item in nursery.child_tasks]
    return [name for name in found if "wsproto" in name]


# ------------------------------------------------------------------------------ where tasks live


def test_nothing_is_left_of_a_block() -> None:
    async def main() -> None:
        async with serve(Echo) as server, connect(url_of(server)) as ws:
            await ws.send("a")
            assert await ws.recv() == "a"
            assert names()
        assert names() == []
        assert server.port is None

    trio.run(main)


def test_an_idle_connection_has_one_task() -> None:
    class Waiting(Echo):
        async def on_open(self) -> None:
            opened.set()

    opened = trio.Event()

    async def main() -> None:
        async with serve(Waiting) as server:
            before = len(names())
            sock = socket.create_connection(("127.0.0.1", server.port or 0))
            with Peer(sock, is_client=True) as peer:
                await trio.to_thread.run_sync(peer.request)
                await opened.wait()
                assert len(names()) == before + 1

    trio.run(main)


def test_a_server_starts_in_a_nursery_of_the_user() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve(Echo))
            async with connect(url_of(server)) as ws:
                await ws.send("a")
                assert await ws.recv() == "a"
            await server.close()
        assert names() == []

    trio.run(main)


def test_a_server_that_cannot_start_says_so_to_the_starter() -> None:
    async def main(port: int) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve(Echo, port=port))

    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        pytest.raises(ExceptionGroup) as caught,
    ):
        trio.run(main, sock.getsockname()[1])
    assert caught.group_contains(OSError, match="in use")


@pytest.mark.parametrize("form", ["serve", "connect", "iterate"])
def test_what_needs_a_nursery_says_so(form: str) -> None:
    async def main() -> None:
        forms: dict[str, Callable[[], Any]] = {
            "serve": lambda: serve(Echo).__await__(),
            "connect": lambda: connect("ws://127.0.0.1:1/").__await__().send(None),
            "iterate": lambda: aiter(connect("ws://127.0.0.1:1/")).__anext__().send(None),
        }
        with pytest.raises(TypeError, match="no task may outlive the block") as caught:
            forms[form]()
        assert "nursery" in str(caught.value)

    trio.run(main)


def test_a_connection_in_a_nursery_of_the_user() -> None:
    async def main() -> None:
        async with serve(Echo) as server, trio.open_nursery() as nursery:
            ws = await connect(url_of(server), nursery=nursery)
            await ws.send("a")
            assert await ws.recv() == "a"
            await ws.close()  # and the nursery ends by itself

    trio.run(main)


def test_a_cancelled_nursery_closes_its_connections() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ws = await connect(url, nursery=nursery)
            seen.append(ws)
            nursery.cancel_scope.cancel()
        assert seen[0].close_code == 1001

    def peer() -> None:
        with listener.accept() as there:
            there.answer()
            codes.append(there.reply()[0])

    seen: list[Any] = []
    codes: list[int] = []
    with Listener() as listener:
        url = listener.url()
        thread = beside(peer)
        trio.run(main)
        thread.join()
    assert codes == [1001]


def test_leaving_the_loop_of_connections_closes_the_last() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            async for ws in connect(url, nursery=nursery):
                assert ws.is_open
                break
            gc.collect()  # where references are not counted

    def peer() -> None:
        with listener.accept() as there:
            there.answer()
            codes.append(there.reply()[0])

    codes: list[int] = []
    with Listener() as listener:
        url = listener.url()
        thread = beside(peer)
        trio.run(main)
        thread.join()
    assert codes == [1000]


# ------------------------------------------------------------------------------ cancellation


def test_a_cancelled_server_closes_gracefully(log: Log) -> None:
    class Slow(recorder(log), WebSocketView):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add("begin")
            await trio.sleep(0.05)
            log.add("end")

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with serve(Slow) as server:
                there.append(server.port)
                up.set()
                await trio.to_thread.run_sync(log.wait, "begin")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    def peer() -> None:
        up.wait(DEADLINE)
        with Peer(connect_tcp(there[0]), is_client=True) as client:
            client.request()
            client.text("a")
            codes.append(client.reply()[0])

    there: list[Any] = []
    codes: list[int] = []
    up = threading.Event()
    thread = beside(peer)
    trio.run(main)
    thread.join()
    assert codes == [1001]
    assert log.entries == ["open", "begin", "end", ("close", 1001)]


def test_a_cancelled_server_gives_hooks_their_time_and_no_more(log: Log) -> None:
    class Stuck(recorder(log), WebSocketView):  # type: ignore[misc]
        CLOSE_TIMEOUT = 0.1

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add("stuck")
            try:
                await trio.sleep_forever()
            finally:
                log.add("cancelled")

    async def main() -> None:
        async with serve(Stuck) as server, connect(url_of(server)) as ws:
            await ws.send("a")
            await trio.to_thread.run_sync(log.wait, "stuck")
            with trio.fail_after(DEADLINE):
                await server.close()

    trio.run(main)
    assert log.entries == ["open", "stuck", "cancelled", ("close", 1001)]


def test_a_run_of_ones_own_is_cancelled_in_the_end(log: Log) -> None:
    class Own(WebSocketView):
        CLOSE_TIMEOUT = 0.1

        async def run_forever(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                log.add("cancelled")

    async def main() -> None:
        with trio.fail_after(DEADLINE):
            async with serve(Own) as server, connect(url_of(server)):
                pass

    trio.run(main)
    assert log.entries == ["cancelled"]


def test_a_hook_that_swallows_its_cancellation(log: Log) -> None:
    """What follows, ``on_close``, is not cancelled with it."""

    class Stubborn(recorder(log), WebSocketView):  # type: ignore[misc]
        CLOSE_TIMEOUT = 0.1

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            log.add("stuck")
            with trio.CancelScope() as scope:
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    scope.cancel()
                    raise
            log.add("goes on")

        async def on_close(self, frame: Any = None) -> None:
            await trio.sleep(0.01)
            log.add("closed")

    async def main() -> None:
        async with serve(Stubborn) as server, connect(url_of(server)) as ws:
            await ws.send("a")
            await trio.to_thread.run_sync(log.wait, "stuck")

    trio.run(main)
    assert log.entries[-1] == "closed"


def test_a_cancelled_client_closes_with_1011() -> None:
    async def main() -> None:
        with trio.move_on_after(0.05) as scope:
            async with connect(url, close_timeout=0.1):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert names() == []

    def peer() -> None:
        with listener.accept() as there:
            there.answer()
            codes.append(there.closed()[0])
            assert there.rest() == b""

    codes: list[int] = []
    with Listener() as listener:
        url = listener.url()
        thread = beside(peer)
        trio.run(main)
        thread.join()
    assert codes == [1011]


def test_cancelled_while_it_connects() -> None:
    async def main() -> None:
        with trio.move_on_after(0.05) as scope:
            async with connect(url):
                raise AssertionError("nobody answered")
        assert scope.cancelled_caught
        assert names() == []

    def peer() -> None:
        with listener.accept() as there:
            there.read_head()
            assert there.rest() == b""

    with Listener() as listener:
        url = listener.url()
        thread = beside(peer)
        trio.run(main)
        thread.join()


def test_cancelled_as_it_opens() -> None:
    """At the very moment at which the answer has come: nobody would have the connection."""

    class Opening(Echo):
        async def on_open(self) -> None:
            scopes[0].cancel()

    async def main() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            async with connect(url, Opening):
                await trio.sleep_forever()
        assert names() == []

    def peer() -> None:
        with listener.accept() as there:
            there.answer()
            there.rest()

    scopes: list[trio.CancelScope] = []
    with Listener() as listener:
        url = listener.url()
        thread = beside(peer)
        trio.run(main)
        thread.join()


def test_a_cancelled_send_tears_no_frame() -> None:
    async def main() -> None:
        async with serve(Deaf) as server, connect(url_of(server), extensions=()) as ws:
            view = server.connections[0]
            sent = 0
            with trio.move_on_after(0.1):
                while True:
                    await view.send(bytes([sent % 256]) * 300_000, OpCode.BINARY)
                    sent += 1
            got = [await ws.recv() for _ in range(sent)]
            assert [message[:1] for message in got] == [bytes([n % 256]) for n in range(sent)]
            assert sent > 1

    class Deaf(WebSocketView):
        EXTENSIONS = ()

        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            pass

    trio.run(main)


# ------------------------------------------------------------------------------ hooks


def test_hooks_open_nurseries_and_scopes(log: Log) -> None:
    class Busy(WebSocketView):
        async def on_text(self, text: str) -> None:
            async with trio.open_nursery() as nursery:
                for part in text.split():
                    nursery.start_soon(self.send, part)
            with trio.move_on_after(0.01) as scope:
                await trio.sleep_forever()
            log.add(scope.cancelled_caught)
            await self.send("done")

    async def main() -> None:
        async with serve(Busy) as server, connect(url_of(server)) as ws:
            for _ in range(3):
                await ws.send("a b c")
                got = {await ws.recv() for _ in range(3)}
                assert (got, await ws.recv()) == ({"a", "b", "c"}, "done")

    trio.run(main)
    assert log.entries == [True] * 3


def test_the_reader_goes_on_while_a_hook_waits() -> None:
    class Asking(WebSocketView):
        async def on_text(self, text: str) -> None:
            assert await self.ping() >= 0
            await trio.lowlevel.checkpoint()
            await self.send("pong came")

    async def main() -> None:
        async with serve(Asking) as server, connect(url_of(server)) as ws:
            for _ in range(20):
                await ws.send("a")
                assert await ws.recv() == "pong came"
            assert len(names()) <= 12, "tasks pile up"

    trio.run(main)


def test_a_hook_that_does_not_wait_costs_no_switch(log: Log) -> None:
    class Quick(WebSocketView):
        async def on_text(self, text: str) -> None:
            log.add(trio.lowlevel.current_task())
            await self.send(text)

    async def main() -> None:
        async with serve(Quick) as server, connect(url_of(server)) as ws:
            for _ in range(5):
                await ws.send("a")
                await ws.recv()

    trio.run(main)
    assert len(set(log.entries)) == 1


def test_a_group_of_exceptions_in_a_hook(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(recorder(log), WebSocketView):  # type: ignore[misc]
        async def on_receive(self, message: bytes, opcode: OpCode) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)

    async def fail() -> None:
        raise LookupError("mine")

    async def main() -> None:
        async with serve(Failing) as server:
            async with connect(url_of(server)) as ws:
                await ws.send("a")
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1011
            async with connect(url_of(server)):
                pass  # it still serves

    trio.run(main)
    assert log.entries[:3] == ["open", ("error", "ExceptionGroup"), ("close", None)]
    assert "mine" in caplog.text


def test_what_is_no_exception_cancels_the_server() -> None:
    class Interrupted(WebSocketView):
        async def on_text(self, text: str) -> None:
            raise KeyboardInterrupt

    async def main() -> None:
        async with serve(Interrupted) as server:
            there.append(server.port)
            up.set()
            await server.serve_forever()

    def peer() -> None:
        assert up.wait(DEADLINE)
        with Peer(connect_tcp(there[0]), is_client=True) as client:
            client.request()
            client.text("a")
            codes.append(client.reply()[0])

    there: list[Any] = []
    codes: list[int] = []
    up = threading.Event()
    thread = beside(peer)
    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    thread.join()
    assert caught.group_contains(KeyboardInterrupt)
    assert codes == [1011]


@pytest.mark.parametrize("form", ["serve", "connect", "both"])
def test_what_the_block_raises_leaves_it_as_it_is(form: str) -> None:
    async def main() -> None:
        async with serve(Echo) as server:
            if form == "serve":
                raise LookupError("mine")
            async with connect(url_of(server)):
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        trio.run(main)


@pytest.mark.parametrize("group", [ExceptionGroup, BaseExceptionGroup])
@pytest.mark.parametrize("form", ["serve", "connect"])
def test_a_group_that_the_block_raises_leaves_it_as_it_is(
    form: str, group: type[BaseExceptionGroup[BaseException]]
) -> None:
    mine = group("mine", [LookupError("one"), group("more", [LookupError("two")])])
    if group is BaseExceptionGroup:
        mine = group("mine", [KeyboardInterrupt(), mine])

    async def main() -> None:
        async with serve(Echo) as server:
            if form == "serve":
                raise mine
            async with connect(url_of(server)):
                raise mine

    with pytest.raises(group) as caught:
        trio.run(main)
    assert caught.value is mine


def test_a_mock_clock_is_the_clock() -> None:
    """Timeouts of a view are on trio's clock, whichever it is: here an hour passes at once."""

    class Deaf(WebSocketView):
        RECEIVE_TIMEOUT = 3600
        PING_INTERVAL = None

        async def on_text(self, text: str) -> None:
            pass

    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Deaf, ours)
            began = trio.current_time()
            quiet = connect("ws://a/", stream=theirs, ping_interval=None, receive_timeout=None)
            async with quiet as ws:
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1001
                assert 3600 <= trio.current_time() - began < 3700

    trio.run(main, clock=MockClock(autojump_threshold=0))


class Quiet(WebSocketView):
    """Says nothing by itself, and has a second for its closing handshake."""

    PING_INTERVAL = None
    RECEIVE_TIMEOUT = None
    CLOSE_TIMEOUT = 1.0


@pytest.mark.parametrize("way", ["cancelled", "failed"])
def test_g10_a_block_is_left_in_the_time_it_has_to_close(way: str) -> None:
    """The peer never answers: the shielded end takes ``close_timeout``, and no moment longer."""

    async def main() -> None:
        ours, _theirs = memory_stream_pair()
        view = Quiet(UpgradeRequest("/", Headers()))
        with trio.move_on_after(60 if way == "cancelled" else math.inf) as scope:
            async with upgraded(view, ours, client=True), trio.open_nursery() as nursery:
                if way == "failed":
                    nursery.start_soon(fail)
                await view.recv()
        assert scope.cancelled_caught

    async def fail() -> None:
        await trio.sleep(60)
        raise LookupError("mine")

    async def timed() -> None:
        began = trio.current_time()
        if way == "cancelled":
            await main()
        else:
            with pytest.raises(ExceptionGroup) as caught:
                await main()
            assert [type(error) for error in caught.value.exceptions] == [LookupError]
        assert trio.current_time() - began == pytest.approx(61)

    trio.run(timed, clock=MockClock(autojump_threshold=0))


def test_g10_a_hook_that_shields_itself_delays_on_close_by_a_second() -> None:
    class Shielded(Quiet):
        async def on_text(self, text: str) -> None:
            try:
                await trio.sleep_forever()
            finally:
                note("cancelled")
                with trio.CancelScope(shield=True):
                    await trio.sleep(3600)
                note("cleaned up")

        async def on_close(self, frame: object = None) -> None:
            note("on_close")

    def note(what: str) -> None:
        times[what] = trio.current_time()

    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Shielded, theirs)
            async with connect("ws://a/", stream=ours, ping_interval=None) as ws:
                await ws.send("a")

    times: dict[str, float] = {}
    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert times["on_close"] - times["cancelled"] == pytest.approx(1)
    assert times["cleaned up"] - times["cancelled"] == pytest.approx(3600)


# ------------------------------------------------------------------------------ streams


def test_both_sides_over_streams() -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/a", stream=ours) as ws:
                await ws.send("x" * 300_000)
                assert await ws.recv() == "x" * 300_000
                assert ws.sock is None

    trio.run(main)


def test_serve_stream_with_on_request() -> None:
    async def refuse(request: UpgradeRequest) -> Response:
        seen.append((request.client_address, request.path))
        return Response(403)

    async def main() -> None:
        ours, theirs = memory_stream_pair()

        async def there() -> None:
            await serve_stream(Echo, theirs, on_request=refuse, client_address="somebody")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(there)
            with pytest.raises(HandshakeError, match="403"):
                async with connect("ws://name.test/a", stream=ours):
                    pass

    seen: list[Any] = []
    trio.run(main)
    assert seen == [("somebody", "/a")]


def test_over_tls_of_trio(tls: Tls) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        client = trio.SSLStream(ours, tls.client, server_hostname="localhost")
        server = trio.SSLStream(theirs, tls.server, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Echo, server)
            async with connect("wss://localhost/", stream=client) as ws:
                await ws.send("x" * 100_000)
                assert await ws.recv() == "x" * 100_000

    trio.run(main)


def test_a_stream_that_breaks() -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/", stream=ours) as ws:
                await ours.aclose()
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1006

    trio.run(main)


def test_a_cancelled_serve_stream_closes() -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/", stream=ours) as ws:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True), pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1001

    trio.run(main)


@pytest.mark.parametrize("side", ["server", "client"])
def test_upgraded_streams(side: str) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        view = Echo(UpgradeRequest("/a", Headers()))
        other = WebSocketView(UpgradeRequest("/a", Headers()))
        agreement = Agreement(subprotocol="chat")
        first = b"\x81\x82\x00\x00\x00\x00hi" if side == "server" else b"\x81\x02hi"
        async with (
            upgraded(view, theirs, agreement=agreement, data=first, client=side == "client") as ws,
            upgraded(other, ours, client=side == "server") as peer,
        ):
            assert ws.subprotocol == "chat"
            assert await peer.recv() == "hi"
            await peer.send("there")
            assert await peer.recv() == "there"
            await peer.close(4000)
            await ws.run_forever()
            assert ws.close_code == 4000

    trio.run(main)


def test_codecs_that_do_not_fit_are_refused_before_anything_runs() -> None:
    async def main() -> None:
        ours, _ = memory_stream_pair()
        view: Any = Echo(UpgradeRequest("/", Headers()))
        with pytest.raises(LocalProtocolError, match="codec"):
            async with upgraded(view, ours, codecs=[object()]):  # type: ignore[list-item]
                pass
        assert names() == []

    trio.run(main)


# ------------------------------------------------------------------------------ elsewhere


def test_post_after_the_end_of_trio() -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with serve(Echo) as server, connect(url_of(server)) as ws:
            seen.append(ws)

    trio.run(main)
    seen[0].post("nobody hears it")


def test_a_unix_socket_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "s"

    async def main() -> None:
        async with serve(Echo, unix=str(place)) as server:
            assert server.port is None
            async with connect("ws://localhost/x", unix=str(place)) as ws:
                await ws.send("a")
                assert await ws.recv() == "a"

    trio.run(main)
    assert not place.exists()


def test_a_handshake_of_tls_that_is_cut_off(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsproto_core")

    async def main() -> None:
        async with serve(Echo, ssl=tls.server) as server:
            with Peer(connect_tcp(server.port or 0), is_client=True) as peer:
                peer.send_raw(b"GET / HTTP/1.1\r\n\r\n")
                await trio.to_thread.run_sync(peer.rest)

    trio.run(main)
    eventually(lambda: "handshake of TLS failed" in caplog.text)


def test_a_server_that_ends_amid_a_handshake_of_tls(tls: Tls) -> None:
    async def main() -> None:
        async with serve(Echo, ssl=tls.server) as server:
            sock = connect_tcp(server.port or 0)
            await wait_all_tasks_blocked(0.01)
        with sock:
            assert sock.recv(1) == b""

    trio.run(main)
