"""What is special to threads: who runs what, timeouts, slow hooks, many threads, descriptors."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

import wsproto_threading.driver
from tests.bindings.peer import DEADLINE, Listener, Peer, connect_tcp
from tests.bindings.runtimes import Log, Threads, Tls, eventually, ours
from wsproto_core import ConnectionClosed, Frame, HandshakeError, LocalProtocolError, OpCode
from wsproto_threading import Server, WebSocketView, connect, serve
from wsproto_threading.stream import Stream, WakeUp
from wsproto_threading.watch import Watcher


class Echo(WebSocketView):
    def on_receive(self, message: bytes, opcode: OpCode) -> None:
        self.send(message, opcode)


class Deaf(WebSocketView):
    def on_receive(self, message: bytes, opcode: OpCode) -> None:
        """It says nothing."""


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """No thread and no descriptor is left behind."""
    with ours(Threads):
        yield


@contextmanager
def opened(view: type[WebSocketView], **options: Any) -> Iterator[tuple[Peer, Any]]:
    """A raw peer of a served view, and the view; ``options`` are of ``connect_tcp`` and views."""
    views: list[Any] = []
    window = options.pop("window", None)

    def __init__(self: Any, upgrade_request: Any, **kwargs: Any) -> None:  # noqa: N807
        super(served, self).__init__(upgrade_request, **kwargs)
        views.append(self)

    served: Any = type(view.__name__, (view,), {"__init__": __init__, **options})
    with serve(served) as server:
        assert server.port is not None
        with Peer(connect_tcp(server.port, window=window), is_client=True) as peer:
            peer.request()
            yield peer, views[0]


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# ---------------------------------------------------------------------------------- who runs what


def test_a_quick_hook_costs_no_switch_of_threads(log: Log) -> None:
    """One thread runs all hooks of a connection, and no other takes part."""

    class Telling(WebSocketView):
        def on_open(self) -> None:
            log.add(threading.get_ident())

        def on_text(self, text: str) -> None:
            log.add(threading.get_ident())
            self.send(text)

        def on_close(self, frame: Frame | None = None) -> None:
            log.add(threading.get_ident())

    with opened(Telling) as (peer, _):
        peer.text("a")
        assert peer.message() == "a"
        peer.bye()
        log.wait_len(3)
    assert len(set(log.entries)) == 1


def test_one_read_and_few_writes_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    writes: list[int] = []
    receive, write = Stream.receive, Stream.write

    def counted_receive(self: Stream) -> bytes | None:
        data = receive(self)
        reads.append(len(data or b""))
        return data

    def counted_write(self: Stream, data: list[bytes]) -> None:
        writes.append(sum(map(len, data)))
        write(self, data)

    with opened(Echo, EXTENSIONS=()) as (peer, _):
        monkeypatch.setattr(Stream, "receive", counted_receive)
        monkeypatch.setattr(Stream, "write", counted_write)
        peer.send_raw(peer.encode(0x81, "x") * 100)
        assert [peer.message() for _ in range(100)] == ["x"] * 100
        assert reads == [700]
        assert writes == [16 * 3] * 6 + [4 * 3]  # the peer begins with what is there
        monkeypatch.undo()


def test_what_a_hook_says_goes_out_before_it_returns(log: Log) -> None:
    """At once if it is the last of its turn; in any case while it computes or waits."""
    go_on = threading.Event()

    class Slow(WebSocketView):
        def on_text(self, text: str) -> None:
            self.send(text + " first")
            self.send(text + " second")
            assert go_on.wait(DEADLINE)
            self.send(text + " third")

    with opened(Slow) as (peer, _):
        peer.send_raw(peer.encode(0x81, "a") + peer.encode(0x81, "b"))
        assert [peer.message(), peer.message()] == ["a first", "a second"]
        go_on.set()
        expected = ["a third", "b first", "b second", "b third"]
        assert [peer.message() for _ in range(4)] == expected


@pytest.mark.parametrize("hook", ["waits", "computes"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_slow_hook_stops_neither_pongs_nor_the_heartbeat(
    tls: Tls, hook: str, secure: bool, log: Log
) -> None:
    go_on = threading.Event()

    class Slow(WebSocketView):
        PING_INTERVAL = 0.05

        def on_text(self, text: str) -> None:
            log.add("begun")
            if hook == "waits":
                assert go_on.wait(DEADLINE)
            while not go_on.is_set():
                sum(range(100))
            self.send("done")

    with serve(Slow, ssl=tls.server if secure else None) as server:
        assert server.port is not None
        sock = connect_tcp(server.port)
        if secure:
            sock = tls.client.wrap_socket(sock, server_hostname="localhost")
        with Peer(sock, is_client=True) as peer:
            peer.request()
            peer.text("a")
            log.wait("begun")
            for payload in (b"1", b"2", b"3"):
                peer.ping(payload)
                while (frame := peer.frame())[0] == 0x89:
                    peer.pong(frame[1])
                assert frame == (0x8A, payload)
            first, payload = peer.frame()
            assert first == 0x89  # and the heartbeat goes on
            peer.pong(payload)
            [view] = server.connections
            eventually(lambda: view.latency is not None)
            go_on.set()
            while (frame := peer.frame())[0] == 0x89:
                pass
            assert frame == (0x81, b"done")
            peer.text("still served by its owner")


def test_many_slow_hooks_at_once(log: Log) -> None:
    """One watcher for all of them."""
    go_on = threading.Event()

    class Slow(WebSocketView):
        def on_text(self, text: str) -> None:
            log.add("begun")
            assert go_on.wait(DEADLINE)
            self.send(text)

    with serve(Slow) as server, ExitStack() as stack:
        assert server.port is not None
        peers = []
        for _ in range(20):
            peer = Peer(connect_tcp(server.port), is_client=True)
            stack.callback(peer.sock.close)
            peer.request()
            peers.append(peer)
        before = threading.active_count()
        for peer in peers:
            peer.text("a")
        log.wait("begun", 20)
        for peer in peers:
            peer.ping(b"p")
        assert all(peer.frame() == (0x8A, b"p") for peer in peers)
        assert threading.active_count() == before
        go_on.set()
        assert [peer.message() for peer in peers] == ["a"] * 20


def test_a_slow_hook_with_a_deadline_in_months(log: Log) -> None:
    """The system waits for 24 days at most."""
    go_on = threading.Event()

    class Slow(WebSocketView):
        PING_INTERVAL = None
        RECEIVE_TIMEOUT = 4e6

        def on_text(self, text: str) -> None:
            log.add("begun")
            assert go_on.wait(DEADLINE)
            self.send(text)

    with opened(Slow) as (peer, _):
        peer.text("a")
        log.wait("begun")
        peer.ping(b"p")
        assert peer.frame() == (0x8A, b"p")
        go_on.set()
        assert peer.message() == "a"
        peer.text("b")
        assert peer.message() == "b"


def test_the_watcher_sleeps_while_nothing_happens() -> None:
    with opened(Echo) as (peer, _):
        peer.text("a")
        assert peer.message() == "a"
        watcher = Watcher._current
        assert watcher is not None
        eventually(lambda: watcher._asleep, "its sleep")
        assert watcher._patience(None) is None
        peer.text("b")
        assert peer.message() == "b"
    eventually(lambda: not watcher._thread.is_alive(), "its end with the last connection")


def test_a_slow_hook_of_a_broken_connection(log: Log) -> None:
    """The peer leaves while a hook runs: the watcher tells, and on_close comes after the hook."""
    go_on = threading.Event()

    class Slow(WebSocketView):
        def on_text(self, text: str) -> None:
            log.add("begun")
            assert go_on.wait(DEADLINE)
            with pytest.raises(ConnectionClosed):
                self.send("too late")
            log.add("ended")

        def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    with opened(Slow) as (peer, view):
        peer.text("a")
        log.wait("begun")
        peer.reset()
        eventually(lambda: not view.is_open)
        go_on.set()
        log.wait("closed")
    assert log.entries == ["begun", "ended", "closed"]


def test_hooks_that_overrun_are_left_to_their_thread(log: Log) -> None:
    """Another thread runs ``on_close`` and gives the socket back; the server can end."""
    go_on = threading.Event()

    class Stuck(WebSocketView):
        CLOSE_TIMEOUT = 0.1

        def on_text(self, text: str) -> None:
            log.add(("stuck", threading.get_ident()))
            assert go_on.wait(2 * DEADLINE)
            log.add("back")

        def on_close(self, frame: Frame | None = None) -> None:
            log.add(("closed", threading.get_ident()))

    with opened(Stuck) as (peer, view):
        peer.text("a")
        log.wait_len(1)
        peer.close_frame()
        assert peer.closed()[0] == 1000
        assert peer.rest() == b""
        view.server.close()
        assert [entry[0] for entry in log.entries] == ["stuck", "closed"]
        assert log.entries[0][1] != log.entries[1][1]
        assert view.sock.fileno() == -1
        go_on.set()
        log.wait("back")


def test_a_hook_that_waits_in_a_call_and_overruns(log: Log) -> None:
    """It waits for its own end, which comes when it has no time left."""

    class Waiting(WebSocketView):
        CLOSE_TIMEOUT = 0.1

        def on_text(self, text: str) -> None:
            self.run_forever()
            log.add("hook")

        def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    with opened(Waiting) as (peer, _):
        peer.text("a")
        peer.close_frame()
        assert peer.closed()[0] == 1000
        log.wait("hook")
    assert sorted(log.entries) == ["closed", "hook"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_g6_what_a_hook_raises_ends_no_thread(
    error: type[BaseException], log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(WebSocketView):
        def on_text(self, text: str) -> None:
            raise error

        def on_error(self, exc: Exception) -> None:
            log.add(exc)

        def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    with opened(Failing) as (peer, _):
        peer.text("a")
        assert peer.reply() == (1011, "internal error")
        log.wait("closed")
    assert error.__name__ in repr(log.entries[0])
    assert len(caplog.records) == 1


# ---------------------------------------------------------------------------------- the pool


def test_overlapping_hooks_run_in_a_bounded_pool(log: Log) -> None:
    gate = threading.Semaphore(0)

    class Overlapping(WebSocketView):
        CONCURRENT_RECEIVE = 3

        def on_text(self, text: str) -> None:
            log.add(("begin", threading.get_ident()))
            assert gate.acquire(timeout=DEADLINE)
            log.add("end")

    with opened(Overlapping) as (peer, _):
        before = threading.active_count()
        peer.send_raw(peer.encode(0x81, "x") * 10)
        log.wait_len(3)
        peer.ping(b"p")
        assert peer.frame() == (0x8A, b"p")
        assert len(log.entries) == 3
        assert threading.active_count() == before + 3
        for _ in range(10):
            gate.release()
        log.wait("end", 10)
        assert threading.active_count() <= before + 3
        assert len({entry[1] for entry in log.entries if entry != "end"}) == 3
        peer.text("again")  # one that waits is taken
        gate.release()
        log.wait("end", 11)
        assert len({entry[1] for entry in log.entries if entry != "end"}) == 3


def test_no_pool_without_need() -> None:
    with opened(Echo) as (peer, _):
        before = threading.active_count()
        peer.send_raw(peer.encode(0x81, "x") * 100)
        assert [peer.message() for _ in range(100)] == ["x"] * 100
        assert threading.active_count() == before


def test_a_pool_whose_threads_have_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsproto_threading.driver, "_IDLE", 0.01)
    with opened(Echo, CONCURRENT_RECEIVE=2) as (peer, _):
        before = threading.active_count()
        for text in "abc":
            peer.text(text)
            assert peer.message() == text
            eventually(lambda: threading.active_count() == before)


def test_a_pool_that_overruns(log: Log) -> None:
    go_on = threading.Event()

    class Stuck(WebSocketView):
        CLOSE_TIMEOUT = 0.1
        CONCURRENT_RECEIVE = 2

        def on_text(self, text: str) -> None:
            log.add("stuck")
            assert go_on.wait(2 * DEADLINE)

        def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    with opened(Stuck) as (peer, view):
        peer.send_raw(peer.encode(0x81, "x") * 2)
        log.wait("stuck", 2)
        peer.close_frame()
        peer.closed()
        log.wait("closed")
        view.server.close()
        go_on.set()


# ---------------------------------------------------------------------------------- timeouts


def test_timeouts(log: Log) -> None:
    with opened(Deaf) as (peer, view):
        url = f"ws://127.0.0.1:{view.server.port}/"
        with connect(url) as ws:
            for method in ("recv", "read_frame"):
                began = time.monotonic()
                with pytest.raises(TimeoutError, match=rf"^{method}\(\) took longer than 0.02 s$"):
                    getattr(ws, method)(timeout=0.02)
                assert 0.02 <= time.monotonic() - began < 1
                with pytest.raises(TimeoutError):
                    getattr(ws, method)(timeout=0)
            assert ws.ping(timeout=DEADLINE) >= 0
        with pytest.raises(TimeoutError, match=r"^ping\(\) took longer than 0.02 s$"):
            view.ping(timeout=0.02)
        assert peer.frame()[0] == 0x89
        with pytest.raises(TimeoutError, match=r"^close\(\) took longer than 0.02 s$"):
            view.close(timeout=0.02)
        assert peer.reply() == (1000, "")


def test_a_send_that_times_out_tears_nothing() -> None:
    with opened(Deaf, window=4096, EXTENSIONS=(), MAX_FRAME_SIZE=1 << 14) as (peer, view):
        begun = Frame(OpCode.TEXT, False, b"a")
        said, sent = "nothing", 0
        for sent in range(200):
            try:
                view.send_binary(bytes([sent]) * 100_000, timeout=0.02)
            except TimeoutError as error:
                said = str(error)
                break
        assert said == "send() took longer than 0.02 s"
        for number in range(sent + 1):
            assert peer.message() == bytes([number]) * 100_000
        view.send_frame(begun, timeout=DEADLINE)
        with pytest.raises(TimeoutError):
            view.send("waits for the end of the other", timeout=0.02)
        view.send_frame(Frame(OpCode.CONTINUATION, True, b"b"))
        assert peer.message() == "ab"
        view.send_text("c", timeout=1)
        view.send_json("d", timeout=1)
        assert [peer.message(), peer.message()] == ["c", '"d"']


def test_a_hook_has_timeouts_too(log: Log) -> None:
    class Impatient(WebSocketView):
        def on_text(self, text: str) -> None:
            for call in (self.recv, self.ping):
                try:
                    log.add(call(timeout=0.02))
                except TimeoutError as error:
                    log.add(str(error))

    with opened(Impatient) as (peer, _):
        peer.text("a")
        assert peer.frame()[0] == 0x89
        assert log.wait_len(2) == [
            "recv() took longer than 0.02 s",
            "ping() took longer than 0.02 s",
        ]
        peer.bye()


# ---------------------------------------------------------------------------------- many threads


def test_sends_from_many_threads() -> None:
    with opened(Deaf, EXTENSIONS=(), MAX_FRAME_SIZE=1000) as (peer, view):

        def send(name: int) -> None:
            for number in range(50):
                view.send_binary(bytes([name]) * (number * 100))

        senders = [in_thread(lambda name=name: send(name)) for name in range(8)]  # type: ignore[misc]
        got: dict[int, list[int]] = {name: [] for name in range(8)}
        for _ in range(8 * 50):
            message = peer.message()
            assert isinstance(message, bytes)
            if message:
                assert message == message[:1] * len(message)
                got[message[0]].append(len(message))
        for sender in senders:
            sender.join()
        assert all(sizes == [number * 100 for number in range(1, 50)] for sizes in got.values())


def test_both_sides_talk_at_once_over_tls(tls: Tls) -> None:
    """Reads and writes of one TLS object, by several threads, in full duplex."""
    size, count = 200_000, 20

    class Talking(WebSocketView):
        EXTENSIONS = ()

        def on_open(self) -> None:
            self.received = 0

        def on_binary(self, data: bytes) -> None:
            self.received += len(data)

    with serve(Talking, ssl=tls.server) as server:
        url = f"wss://localhost:{server.port}/"
        with connect(url, Talking, ssl=tls.client, extensions=()) as ws:
            eventually(lambda: bool(server.connections))
            [view] = server.connections
            sides: list[Any] = [view, ws]
            talking = [
                in_thread(lambda side=side: [side.send_binary(bytes(size)) for _ in range(count)])  # type: ignore[misc]
                for side in sides * 2
            ]
            for thread in talking:
                thread.join()
            eventually(lambda: all(side.received == 2 * size * count for side in sides))


def test_g5_calls_in_any_order_from_many_threads() -> None:
    """Nothing hangs, nothing but what is documented is raised, and one Close goes out."""
    allowed = (ConnectionClosed, LocalProtocolError, TimeoutError)
    for _ in range(20):
        with serve(Echo) as server:
            ws = connect(f"ws://127.0.0.1:{server.port}/").open()
            calls: list[Callable[[], Any]] = [
                lambda ws=ws: ws.send("a"),  # type: ignore[misc]
                lambda ws=ws: ws.recv(timeout=1),  # type: ignore[misc]
                lambda ws=ws: ws.recv(timeout=1),  # type: ignore[misc]
                lambda ws=ws: ws.ping(timeout=1),  # type: ignore[misc]
                lambda ws=ws: ws.send_stream(["a", "b"]),  # type: ignore[misc]
                lambda ws=ws: ws.close(),  # type: ignore[misc]
                lambda ws=ws: ws.close(),  # type: ignore[misc]
                lambda ws=ws: ws.safe_close(),  # type: ignore[misc]
            ]
            failures: list[BaseException] = []

            def run(call: Callable[[], Any], failures: list[BaseException] = failures) -> None:
                try:
                    call()
                except allowed:
                    pass
                except BaseException as error:  # noqa: BLE001
                    failures.append(error)

            threads = [in_thread(lambda call=call: run(call)) for call in calls]  # type: ignore[misc]
            for thread in threads:
                thread.join(DEADLINE)
                assert not thread.is_alive(), "it hangs"
            assert not failures
            assert ws.connection.closed is not None
            assert ws.connection.closed.clean


def test_g9_close_wakes_a_recv_in_another_thread() -> None:
    with serve(Deaf) as server:
        for _ in range(50):
            ws = connect(f"ws://127.0.0.1:{server.port}/").open()
            outcome: list[Any] = []

            def read(ws: Any = ws, outcome: list[Any] = outcome) -> None:
                with pytest.raises(ConnectionClosed):
                    ws.recv()
                outcome.append(time.monotonic())

            reading = in_thread(read)
            eventually(lambda ws=ws: ws._session._reader)  # type: ignore[misc]
            began = time.monotonic()
            ws.close()
            reading.join(DEADLINE)
            assert outcome[0] - began < 1  # a machine under load; it is a millisecond as a rule


def test_g9_close_with_messages_that_nobody_reads() -> None:
    class Chatty(WebSocketView):
        def on_open(self) -> None:
            for _ in range(100):
                self.send_binary(bytes(10_000))

        def on_text(self, text: str) -> None:
            """Nothing."""

    with serve(Chatty) as server:
        ws = connect(f"ws://127.0.0.1:{server.port}/", extensions=()).open()
        began = time.monotonic()
        ws.close()
        assert time.monotonic() - began < DEADLINE


def test_one_view_serves_another(log: Log) -> None:
    """A hook that talks through a client of its own, and to a view of another connection."""
    with serve(Echo) as backend:

        class Proxy(WebSocketView):
            def on_text(self, text: str) -> None:
                with connect(f"ws://127.0.0.1:{backend.port}/") as ws:
                    ws.send(text)
                    self.send(ws.recv())
                for view in self.server.connections:
                    view.post("to all")

        with opened(Proxy) as (peer, _):
            peer.text("a")
            assert [peer.message(), peer.message()] == ["a", "to all"]


# ---------------------------------------------------------------------------------- descriptors


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are numbered otherwise")
def test_descriptors_beyond_those_of_select() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1400:
        pytest.skip("the system allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1200:
            held.append(os.dup(0))
        with serve(Echo) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
            assert ws.sock.fileno() > 1024
            ws.send("a" * 100_000)
            assert ws.recv() == "a" * 100_000
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the files of /proc")
def test_two_descriptors_for_a_connection() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with serve(Echo) as server:
        assert server.port is not None
        with ExitStack() as stack:
            peers = []
            for _ in range(10):
                peer = Peer(connect_tcp(server.port), is_client=True)
                stack.callback(peer.sock.close)
                peer.request()
                peers.append(peer)
            before = count()
            for _ in range(10):
                peer = Peer(connect_tcp(server.port), is_client=True)
                stack.callback(peer.sock.close)
                peer.request()
            assert count() - before == 30  # the peer's own socket is the third


# ---------------------------------------------------------------------------------- the server


def interrupt(server: Server) -> None:
    """Ctrl-C, when the main thread waits for the server."""
    eventually(lambda: bool(server._changed._waiters))  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_ends_serve_forever_gracefully(log: Log) -> None:
    server = serve(Echo)
    assert server.port is not None
    port = server.port

    def peer_of_a_server_that_ends() -> None:
        with Peer(connect_tcp(port), is_client=True) as peer:
            peer.request()
            interrupt(server)
            log.add(peer.reply())

    thread = in_thread(peer_of_a_server_that_ends)
    with pytest.raises(KeyboardInterrupt):
        server.serve_forever()
    thread.join()
    log.wait((1001, "the server is going away"))
    with pytest.raises(ConnectionRefusedError):
        connect_tcp(port)


def test_h2_a_second_interrupt_does_not_wait(log: Log) -> None:
    server = serve(Echo)
    assert server.port is not None
    with Peer(connect_tcp(server.port), is_client=True) as peer:
        peer.request()

        def interrupt_twice() -> None:
            interrupt(server)
            peer.closed()  # it is told, and does not answer
            interrupt(server)

        thread = in_thread(interrupt_twice)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        assert time.monotonic() - began < DEADLINE  # and not CLOSE_TIMEOUT
        thread.join()
    server.close()


def test_a_server_is_closed_from_a_signal_handler() -> None:
    server = serve(Echo)
    before = signal.signal(signal.SIGTERM, lambda *_: server.close())
    try:
        thread = in_thread(lambda: os.kill(os.getpid(), signal.SIGTERM))
        server.serve_forever()
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_server_is_closed_from_a_hook(log: Log) -> None:
    class Last(WebSocketView):
        CLOSE_TIMEOUT = 0.2

        def on_text(self, text: str) -> None:
            self.server.close()
            log.add("closed")

    with opened(Last) as (peer, view):
        peer.text("a")
        assert peer.reply()[0] == 1001
        log.wait("closed")
        assert view.server.sockets == ()


def test_a_server_is_closed_by_many_threads() -> None:
    with serve(Echo) as server:
        threads = [in_thread(server.close) for _ in range(5)]
        threads += [in_thread(server.wait_closed) for _ in range(5)]
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    assert server.port is None


def test_no_thread_for_a_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsproto_threading.server._PAUSE", 0.05)
    with serve(Echo) as server:
        assert server.port is not None
        with monkeypatch.context() as patch:

            def start(*_: Any) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(wsproto_threading.driver, "_in_thread", start)
            with Peer(connect_tcp(server.port), is_client=True) as peer:
                assert peer.rest() == b""
            with pytest.raises(RuntimeError, match="can't start"):
                connect(f"ws://127.0.0.1:{server.port}/").open()
        with Peer(connect_tcp(server.port), is_client=True) as peer:
            peer.request()
            peer.bye()
    assert "can't start new thread" in caplog.text


@pytest.mark.parametrize("view", ["hook", "run"])
def test_no_thread_for_a_hook(
    view: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that needs one fails like any other: 1011, and the server lives."""

    class Overlapping(Echo):
        CONCURRENT_RECEIVE = 2

    class Living(WebSocketView):
        def run_forever(self) -> None:
            """It gets nowhere."""

    start = wsproto_threading.driver._in_thread

    def none_left(name: str, *arguments: Any) -> None:
        if name in ("wsproto hook", "wsproto run"):
            raise RuntimeError("can't start new thread")
        start(name, *arguments)

    monkeypatch.setattr(wsproto_threading.driver, "_in_thread", none_left)
    with serve(Overlapping if view == "hook" else Living) as server:
        assert server.port is not None
        with Peer(connect_tcp(server.port), is_client=True) as peer:
            if view == "run":
                peer.request()
                assert peer.head is not None
                assert peer.head.status == 500
            else:
                peer.request()
                peer.text("a")
                assert peer.reply()[0] == 1011
    assert "can't start new thread" in caplog.text


def test_no_thread_to_go_on_without_a_hook(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The old owner goes on when it comes back."""
    go_on = threading.Event()

    class Stuck(WebSocketView):
        CLOSE_TIMEOUT = 0.05

        def on_text(self, text: str) -> None:
            log.add("stuck")
            assert go_on.wait(2 * DEADLINE)

        def on_close(self, frame: Frame | None = None) -> None:
            log.add("closed")

    def none_left(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with opened(Stuck) as (peer, _):
        peer.text("a")
        log.wait("stuck")
        monkeypatch.setattr(wsproto_threading.driver, "_in_thread", none_left)
        peer.close_frame()
        peer.closed()
        peer.sock.close()
        eventually(lambda: "no thread goes on without it" in caplog.text)
        go_on.set()
        log.wait("closed")
        monkeypatch.undo()


def test_a_peer_that_leaves_before_tls(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    with serve(Echo, ssl=tls.server) as server:
        assert server.port is not None
        for _ in range(20):
            Peer(connect_tcp(server.port), is_client=True).reset()
        with connect(f"wss://localhost:{server.port}/", ssl=tls.client) as ws:
            ws.send("a")
            assert ws.recv() == "a"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_peer_that_sends_on_over_tls_gets_our_close(tls: Tls) -> None:
    with serve(Echo, ssl=tls.server) as server:
        assert server.port is not None
        sock = tls.client.wrap_socket(connect_tcp(server.port), server_hostname="localhost")
        with Peer(sock, is_client=True) as peer:
            peer.request()
            peer.send(0x83)
            for _ in range(20):
                peer.binary(bytes(1000))
            assert peer.closed()[0] == 1002
            assert peer.rest() == b""


# ---------------------------------------------------------------------------------- arguments


def test_coroutines_are_refused() -> None:
    class Wrong(WebSocketView):
        async def on_text(self, text: str) -> None:  # type: ignore[override]
            """It would never run."""

    async def judge(request: Any) -> None:
        """Neither would this."""

    expected = r"expected Wrong.on_text to be a plain function, got an async one"
    with pytest.raises(TypeError, match=expected):
        serve(Wrong)
    with pytest.raises(TypeError, match=expected):
        connect("ws://a/", Wrong)
    with pytest.raises(TypeError, match="expected on_request to be a plain function"):
        serve(Echo, on_request=judge)  # type: ignore[arg-type]


def test_a_client_is_opened_once() -> None:
    with serve(Echo) as server:
        connecting = connect(f"ws://127.0.0.1:{server.port}/")
        with connecting as ws:
            ws.send("a")
            assert [ws.recv(), ws.is_open] == ["a", True]
        with pytest.raises(LocalProtocolError, match="used before"):
            connecting.open()


def test_leaving_a_loop_of_connections_closes() -> None:
    with serve(Echo) as server:
        for ws in connect(f"ws://127.0.0.1:{server.port}/"):
            ws.send("a")
            for message in ws:
                assert message == "a"
                break
            break
        eventually(lambda: not server.connections)


def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def getaddrinfo(host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        assert go_on.wait(DEADLINE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(TimeoutError, match=r"no connection to slow.test within 0.05 s"):
        connect("ws://slow.test/", open_timeout=0.05).open()
    go_on.set()


# ---------------------------------------------------------------------------------- streams


def test_tls_that_has_to_do_the_other_thing_first(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that waits for room to write, and a write that waits for bytes to read."""
    with Listener(tls=tls.server) as listener:
        accepted: list[Peer] = []
        accepting = in_thread(lambda: accepted.append(listener.accept()))
        sock = tls.client.wrap_socket(connect_tcp(listener.port), server_hostname="localhost")
        accepting.join()
        stream = Stream(sock)
        wants: list[type[Exception]] = []

        def wanting(name: str) -> None:
            method = getattr(sock, name)

            def call(*arguments: Any) -> Any:
                if wants:
                    raise wants.pop()
                return method(*arguments)

            monkeypatch.setattr(sock, name, call)

        wanting("recv")
        wanting("send")
        assert stream.interest(True) == (True, False)
        wants.append(ssl.SSLWantWriteError)
        assert stream.receive() is None
        assert stream.interest(True) == (False, True)
        assert stream.interest(False) == (False, False)
        assert stream.may_read(False, True)
        wants.append(ssl.SSLWantReadError)
        stream.write([b"hello"])
        assert stream.pending == 5
        assert stream.interest(False) == (True, False)
        assert stream.interest(True) == (True, True)
        stream.write([])
        assert stream.pending == 0
        assert accepted[0].sock.recv(5) == b"hello"
        assert stream.receive() is None
        assert stream.interest(True) == (True, False)
        stream.shut()
        stream.close()
        accepted[0].sock.close()


def test_a_short_write_goes_on_where_it_stopped() -> None:
    ours_end, theirs = socket.socketpair()
    with theirs:
        stream = Stream(ours_end)
        data = [bytes([number]) * 70_000 for number in range(10)]
        stream.write(data)
        assert 0 < stream.pending < 700_000
        assert stream.interest(False) == (False, True)
        got = b""
        while len(got) < 700_000:
            got += theirs.recv(1 << 20)
            stream.write([])
        assert got == b"".join(data)
        assert stream.pending == 0
        stream.close()


def test_a_wake_up_is_heard_once() -> None:
    wake = WakeUp()
    wake.set()
    wake.set()
    wake.clear()
    wake.clear()  # nothing is there any more, and it does not wait
    wake.close()


# ---------------------------------------------------------------------------------- faults


class Faulty(socket.socket):
    """A socket whose ``at``-th operation goes wrong in a certain way."""

    kind = ""
    at = 0
    count = 0

    def _is_due(self) -> bool:
        Faulty.count += 1
        if Faulty.count != Faulty.at:
            return False
        if Faulty.kind in ("reset", "pipe"):
            raise {"reset": ConnectionResetError, "pipe": BrokenPipeError}[Faulty.kind]("injected")
        if Faulty.kind == "again":
            raise BlockingIOError
        return True

    def recv(self, *arguments: Any) -> bytes:
        if self._is_due():
            return b"" if Faulty.kind == "end" else super().recv(1)
        return super().recv(*arguments)

    def send(self, *arguments: Any) -> int:
        if self._is_due() and Faulty.kind == "short":
            return super().send(arguments[0][:1])
        return super().send(*arguments)


FATAL = ("reset", "pipe", "end")
PASSING = ("again", "short")


@pytest.mark.parametrize("kind", FATAL + PASSING)
@pytest.mark.parametrize("role", ["server", "client"])
def test_f8_each_operation_of_the_socket_fails_once(
    role: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is: no hang, ``on_close`` once if it was open; what passes harms nobody."""
    init = Stream.__init__

    def faulty(self: Stream, sock: socket.socket, *, shaking: bool = False) -> None:
        init(self, Faulty(fileno=sock.detach()), shaking=shaking)

    monkeypatch.setattr(Stream, "__init__", faulty)
    monkeypatch.setattr(Faulty, "kind", kind)
    for at in range(1, 100):
        monkeypatch.setattr(Faulty, "at", at)
        monkeypatch.setattr(Faulty, "count", 0)
        log = Log()
        outcome = (faulty_server if role == "server" else faulty_client)(log)
        opened, closed = log.entries.count("open"), log.entries.count("close")
        assert opened == closed <= 1, (at, log.entries)
        if kind in PASSING or Faulty.count < at:
            assert (outcome, log.entries) == ("well", ["open", "a", "close"]), at
        if Faulty.count < at:
            break  # there is no such operation any more
    assert at > 6


class Logging(WebSocketView):
    """It echoes, and writes down what happens."""

    CLOSE_TIMEOUT = 0.3
    EXTENSIONS = ()
    log: Log

    def on_open(self) -> None:
        self.log.add("open")

    def on_text(self, text: str) -> None:
        self.log.add(text)
        self.send(text)

    def on_close(self, frame: Frame | None = None) -> None:
        self.log.add("close")


def faulty_server(log: Log) -> str:
    with serve(type("Served", (Logging,), {"log": log})) as server:
        assert server.port is not None
        with Peer(connect_tcp(server.port), is_client=True) as peer:
            try:
                peer.request()
                peer.text("a")
                assert peer.message() == "a"
                peer.ping(b"p")
                assert peer.frame() == (0x8A, b"p")
                peer.bye()
            except (OSError, EOFError):
                return "ill"
    return "well"


def faulty_client(log: Log) -> str:
    done: list[str] = []
    with Listener() as listener:

        def play() -> None:
            with listener.accept() as peer:
                try:
                    peer.answer()
                    peer.text("a")
                    assert peer.message() == "a"
                    peer.ping(b"p")
                    assert peer.frame() == (0x8A, b"p")
                    done.append("ponged")
                    peer.reply()
                    done.append("well")
                except (OSError, EOFError):
                    done.append("ill")

        playing = in_thread(play)
        view = type("Connected", (Logging,), {"log": log})
        connecting: Any = connect(listener.url(), view)
        with suppress(OSError, HandshakeError), connecting as ws:
            # It closes when all was said, or when it hears that nothing more will come.
            eventually(lambda: "ponged" in done or not ws.is_open)
        playing.join(DEADLINE)
        assert not playing.is_alive()
    return done[-1]


# ---------------------------------------------------------------------------------- the process


def test_g8_a_process_that_ends_without_closing() -> None:
    """It ends at once and without a word, be it that threads still live."""
    code = """
from wsproto_threading import WebSocketView, connect, serve
class Echo(WebSocketView):
    def on_text(self, text):
        self.send(text)
server = serve(Echo)
ws = connect(f"ws://127.0.0.1:{server.port}/").open()
ws.send("a")
assert ws.recv() == "a"
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_view_that_was_released_keeps_nothing(log: Log) -> None:
    with serve(Echo) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
        ws.send("a")
        assert ws.recv() == "a"
    assert ws.sock.fileno() == -1
    assert ws._driver.is_released()
    with pytest.raises(ConnectionClosed):
        ws.send("b")
    ws.close()
    assert ws.connection.closed is not None
