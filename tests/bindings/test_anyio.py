"""What is special to anyio: both backends, byte streams of any kind, asyncio's own ways beside it.

What it shares with trio is in ``test_trio.py``, the words of views in ``test_contract.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.stapled import StapledByteStream
from anyio.streams.tls import TLSStream
from trio.testing import MockClock

from tests.bindings.peer import DEADLINE, Peer, connect_tcp
from tests.bindings.runtimes import Log, Tls, recorder
from wsproto_anyio import (
    ConnectionClosed,
    Headers,
    OpCode,
    UpgradeRequest,
    WebSocketView,
    connect,
    serve,
    serve_stream,
    upgraded,
)

LOCAL_PORT = anyio.abc.SocketAttribute.local_port


class Echo(WebSocketView):
    async def on_receive(self, message: bytes, opcode: OpCode) -> None:
        await self.send(message, opcode)


Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run on each backend."""

    def run(main: Callable[[], Awaitable[None]]) -> None:
        before: set[int] = set()

        async def whole() -> None:
            before.update(task.id for task in anyio.get_running_tasks())
            with anyio.fail_after(2 * DEADLINE):
                await main()
            left = {task.id for task in anyio.get_running_tasks()} - before
            assert not left

        anyio.run(whole, backend=request.param, backend_options={})

    return run


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}/"


async def tcp_pair() -> tuple[anyio.abc.ByteStream, anyio.abc.ByteStream]:
    """Two ends of one connection, opened by anyio."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(LOCAL_PORT)  # noqa: S610 - no database
        ours = await anyio.connect_tcp("127.0.0.1", port)
        theirs = await listener.listeners[0].accept()  # type: ignore[attr-defined]
        return ours, theirs


async def pipe_pair() -> tuple[anyio.abc.ByteStream, anyio.abc.ByteStream]:
    """Two ends of nothing but memory: byte streams of the user's own making."""
    left_in, left_out = anyio.create_memory_object_stream[bytes](1)
    right_in, right_out = anyio.create_memory_object_stream[bytes](1)
    return (
        StapledByteStream(_Sender(left_in), _Receiver(right_out)),
        StapledByteStream(_Sender(right_in), _Receiver(left_out)),
    )


class _Sender(anyio.abc.ByteSendStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Receiver(anyio.abc.ByteReceiveStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._rest = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = self._rest or await self._inner.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def aclose(self) -> None:
        await self._inner.aclose()


# ------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("pair", [tcp_pair, pipe_pair])
def test_both_sides_over_streams_opened_elsewhere(run: Run, pair: Any) -> None:
    async def main() -> None:
        ours, theirs = await pair()
        async with anyio.create_task_group() as group:
            group.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/a", stream=ours) as ws:
                await ws.send("x" * 300_000)
                assert await ws.recv() == "x" * 300_000
                assert await ws.ping() >= 0
                assert (ws.sock is None) == (pair is pipe_pair)

    run(main)


def test_over_tls_of_anyio(run: Run, tls: Tls) -> None:
    async def main() -> None:
        ours, theirs = await tcp_pair()
        async with anyio.create_task_group() as group:

            async def server() -> None:
                stream = await TLSStream.wrap(theirs, server_side=True, ssl_context=tls.server)
                await serve_stream(Echo, stream)

            group.start_soon(server)
            stream = await TLSStream.wrap(ours, hostname="localhost", ssl_context=tls.client)
            async with connect("wss://localhost/", stream=stream) as ws:
                await ws.send("x" * 100_000)
                assert await ws.recv() == "x" * 100_000

    run(main)


def test_a_listener_of_anyio(run: Run) -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(LOCAL_PORT)  # noqa: S610 - no database
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, lambda stream: serve_stream(Echo, stream))
            for _ in range(3):
                async with connect(f"ws://127.0.0.1:{port}/") as ws:
                    await ws.send("a")
                    assert await ws.recv() == "a"
            group.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("pair", [tcp_pair, pipe_pair])
def test_upgraded_streams(run: Run, side: str, pair: Any) -> None:
    async def main() -> None:
        ours, theirs = await pair()
        view = Echo(UpgradeRequest("/a", Headers()))
        other = WebSocketView(UpgradeRequest("/a", Headers()))
        first = b"\x81\x82\x00\x00\x00\x00hi" if side == "server" else b"\x81\x02hi"
        async with (
            upgraded(view, theirs, data=first, client=side == "client") as ws,
            upgraded(other, ours, client=side == "server") as peer,
        ):
            assert await peer.recv() == "hi"
            await peer.send("there")
            assert await peer.recv() == "there"
            await peer.close(4000)
            await ws.run_forever()
            assert ws.close_code == 4000

    run(main)


def test_a_stream_whose_other_end_is_gone(run: Run) -> None:
    async def main() -> None:
        ours, theirs = await tcp_pair()
        async with anyio.create_task_group() as group:
            group.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/", stream=ours, close_timeout=0.2) as ws:
                await theirs.aclose()
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1006

    run(main)


def test_a_cancelled_serve_stream_closes(run: Run) -> None:
    async def main() -> None:
        ours, theirs = await tcp_pair()
        async with anyio.create_task_group() as group:
            group.start_soon(serve_stream, Echo, theirs)
            async with connect("ws://name.test/", stream=ours) as ws:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True), pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1001

    run(main)


# ------------------------------------------------------------------------------ tasks


@pytest.mark.parametrize("way", ["cancelled", "failed"])
def test_g10_a_block_is_left_in_the_time_it_has_to_close(way: str) -> None:
    """The peer never answers: the shielded end takes ``close_timeout``, and no moment longer."""

    class Quiet(WebSocketView):
        PING_INTERVAL = None
        RECEIVE_TIMEOUT = None
        CLOSE_TIMEOUT = 1.0

    async def main() -> None:
        ours, theirs = await pipe_pair()
        view = Quiet(UpgradeRequest("/", Headers()))
        async with theirs:
            with anyio.move_on_after(60 if way == "cancelled" else None) as scope:
                async with upgraded(view, ours, client=True), anyio.create_task_group() as group:
                    if way == "failed":
                        group.start_soon(fail)
                    await view.recv()
            assert scope.cancelled_caught

    async def fail() -> None:
        await anyio.sleep(60)
        raise LookupError("mine")

    async def timed() -> None:
        began = anyio.current_time()
        if way == "cancelled":
            await main()
        else:
            with pytest.raises(ExceptionGroup) as caught:
                await main()
            assert [type(error) for error in caught.value.exceptions] == [LookupError]
        assert anyio.current_time() - began == pytest.approx(61)

    clock = MockClock(autojump_threshold=0)
    anyio.run(timed, backend="trio", backend_options={"clock": clock})


def test_a_server_and_a_client_in_groups_of_the_user(run: Run) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            server = await group.start(serve(Echo))
            ws = await connect(url_of(server), task_group=group)
            await ws.send("a")
            assert await ws.recv() == "a"
            await ws.close()
            await server.close()

    run(main)


@pytest.mark.parametrize("form", ["serve", "connect", "iterate"])
def test_what_needs_a_group_says_so(run: Run, form: str) -> None:
    async def main() -> None:
        forms: dict[str, Callable[[], Any]] = {
            "serve": lambda: serve(Echo).__await__(),
            "connect": lambda: connect("ws://127.0.0.1:1/").__await__().send(None),
            "iterate": lambda: aiter(connect("ws://127.0.0.1:1/")).__anext__().send(None),
        }
        with pytest.raises(TypeError, match="no task may outlive the block") as caught:
            forms[form]()
        assert "task_group" in str(caught.value)

    run(main)


def test_what_the_block_raises_leaves_it_as_it_is(run: Run) -> None:
    async def main() -> None:
        async with serve(Echo) as server, connect(url_of(server)):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(main)


def test_a_group_that_the_block_raises_leaves_it_as_it_is(run: Run) -> None:
    mine = ExceptionGroup(
        "mine", [LookupError("one"), ExceptionGroup("more", [LookupError("two")])]
    )

    async def main() -> None:
        async with serve(Echo) as server, connect(url_of(server)):
            raise mine

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.value is mine


def test_a_cancelled_block_closes_gracefully(run: Run, log: Log) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with serve(recorder_view(log)) as server:
                sock = connect_tcp(server.port or 0)
                with Peer(sock, is_client=True) as peer:
                    await anyio.to_thread.run_sync(peer.request)
                    await anyio.to_thread.run_sync(log.wait, "open")

                    async def leave() -> None:
                        codes.append((await anyio.to_thread.run_sync(peer.reply))[0])

                    async with anyio.create_task_group() as group:
                        with anyio.CancelScope(shield=True):
                            closing = server.close()
                            group.start_soon(leave)
                            await closing
                        scope.cancel()
                        await anyio.sleep_forever()

    codes: list[int] = []
    run(main)
    assert codes == [1001]
    assert log.entries == ["open", ("close", 1001)]


def recorder_view(log: Log) -> type[WebSocketView]:
    return type("Recorder", (recorder(log), WebSocketView), {})


def test_hooks_open_groups_scopes_and_threads(run: Run) -> None:
    class Busy(WebSocketView):
        async def on_text(self, text: str) -> None:
            async with anyio.create_task_group() as group:
                for part in text.split():
                    group.start_soon(self.send, part)
            with anyio.move_on_after(0.01):
                await anyio.sleep_forever()
            await self.send(await anyio.to_thread.run_sync(str.upper, "done"))

    async def main() -> None:
        async with serve(Busy) as server, connect(url_of(server)) as ws:
            for _ in range(3):
                await ws.send("a b c")
                got = {await ws.recv() for _ in range(3)}
                assert (got, await ws.recv()) == ({"a", "b", "c"}, "DONE")

    run(main)


def test_asyncio_s_own_ways_in_a_hook() -> None:
    """On asyncio a hook may use tasks, timeouts and cancellations of asyncio's own."""

    class Native(WebSocketView):
        async def on_text(self, text: str) -> None:
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
                group.create_task(self.send("task"))
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(DEADLINE)
            except TimeoutError:
                await self.send("timed out")

    async def main() -> None:
        async with serve(Native) as server, connect(url_of(server)) as ws:
            await ws.send("a")
            assert [await ws.recv(), await ws.recv()] == ["task", "timed out"]

    anyio.run(main)


def test_a_hook_that_cancels_its_task_in_asyncio_s_way() -> None:
    """It closes its connection with 1011, and harms nobody else."""

    class Cancelling(WebSocketView):
        async def on_text(self, text: str) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(DEADLINE)

    async def main() -> None:
        async with serve(Cancelling) as server, connect(url_of(server)) as other:
            async with connect(url_of(server)) as ws:
                await ws.send("a")
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1011
            assert other.is_open
            assert await other.ping() >= 0

    anyio.run(main)
