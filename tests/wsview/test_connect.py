"""``wsview connect`` with pipes, and in a terminal."""

import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.wsview.conftest import DEADLINE, Start, environment, run, run_here, talk
from tests.wsview.test_cli import assert_error
from wsproto_core.handshake import accept_key

# ---------------------------------------------------------------------------------------- pipes


def test_lines_are_sent_and_answers_shown(echo: str) -> None:
    code, output, notes = run("connect", echo, stdin="one\ntwo\r\n\nwithout end")
    assert output == "one\ntwo\n\nwithout end\n"
    assert notes.splitlines()[0].startswith(f"connected to {echo} (subprotocol: none, extensions:")
    assert notes.splitlines()[-1] == "closed with 1000 (normal closure)"
    assert code == 0


def test_what_comes_cannot_control_a_terminal(echo: str) -> None:
    code, output, _ = talk(echo, lines="red \x1b[31m\a \u202e \x9b\n")
    assert output == "red \\x1b[31m\\x07 \\u202e \\x9b\n"
    assert code == 0


def test_binary_is_dumped_and_bounded(echo: str) -> None:
    _, output, _ = talk(echo, lines=f"/binary 00 ff 41\n/binary {'00' * 1000}\n")
    lines = output.splitlines()
    assert lines[0] == "binary, 3 bytes"
    assert lines[1].startswith("000000  00 ff 41 ")
    assert lines[2] == "binary, 1000 bytes"
    assert lines[-1] == "... (744 bytes more)"


def test_commands(echo: str) -> None:
    code, output, notes = talk(echo, lines="/ping\n/help\n//slash\n/nope\n/binary 0\n")
    assert output == "/slash\n"
    assert re.search(r"^pong after [0-9.]+ ms$", notes, re.MULTILINE)
    assert "/close [CODE [REASON]]" in notes
    assert "unknown command /nope" in notes
    assert "/binary needs pairs of hexadecimal digits" in notes
    assert code == 0


def test_close_with_a_code(echo: str) -> None:
    code, _, notes = run("connect", echo, stdin="/close 1005\n/close 4000 enough\nlost\n")
    assert "1005 is no close code" in notes
    assert notes.endswith("closed with 4000: enough\n")
    assert code == 0


def test_the_server_closes(start: Start, echo: str) -> None:
    client = start("connect", echo)
    client.wait_for("connected to")
    client.enter("//close 4001 over \x1b")
    client.wait_for(r"closed with 4001: over \\x1b$")
    assert client.wait() == 0


def test_control_c_closes(start: Start, echo: str) -> None:
    client = start("connect", echo)
    client.wait_for("connected to")
    assert client.end(signal.SIGINT) == 0
    client.wait_for(r"closed with 1000")


def test_a_subprotocol_is_shown(echo: str) -> None:
    _, _, notes = talk(echo, "--subprotocol", "x", "--subprotocol", "echo.v1")
    assert "(subprotocol: echo.v1," in notes


def test_large_input_in_one_line(echo: str) -> None:
    line = "x" * 2_000_000
    assert run("connect", echo, stdin=line)[:2] == (0, f"{line}\n")


def test_a_reader_that_has_seen_enough(echo: str) -> None:
    command = f"printf 'one\\ntwo\\n' | {sys.executable} -m wsview connect {echo} | head -n 0"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[1]}}"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(),
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
    assert done.returncode == 1


def test_input_that_is_not_text(echo: str) -> None:
    code, _, errors = run("connect", echo, stdin=b"good\nbad \xff\n")
    assert errors.endswith("wsview: error: the standard input is not UTF-8\n")
    assert code == 2


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["http://localhost/"], "http://localhost/"),
        (["nonsense"], "nonsense"),
        (["ws://127.0.0.1:1/"], "cannot connect to ws://127.0.0.1:1/: Connection refused"),
        (["ws://no.such.host.invalid/"], "cannot connect to ws://no.such.host.invalid/: "),
        (["ws://localhost/", "--header", "x"], "--header 'x': expected 'Name: value'"),
        (["ws://localhost/", "--insecure"], "are for wss:// addresses"),
        (["wss://localhost/", "--insecure", "--ca", "x"], "contradict"),
        (["wss://localhost/", "--ca", "/absent"], "cannot read the certificates in /absent: No"),
        (["ws://127.0.0.1:1/", "--subprotocol", "a b"], "a b"),
    ],
)
def test_errors_of_use(arguments: list[str], pattern: str) -> None:
    assert_error(run_here("connect", *arguments), re.escape(pattern))


def test_a_header_that_cannot_be_sent(echo: str) -> None:
    assert_error(run("connect", echo, "--header", "a b: c"), "a b")


class Canned:
    """A server that reads one request head and gives a fixed answer, or none."""

    def __init__(self, answer: bytes | None) -> None:
        self.head = b""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            connection.settimeout(DEADLINE)
            while b"\r\n\r\n" not in self.head:
                self.head += connection.recv(4096)
            if self._answer is None:
                connection.recv(1)  # until the client gives up
            else:
                connection.sendall(self._answer)

    def join(self) -> None:
        self._thread.join(DEADLINE)


def test_a_refusal_is_shown_in_one_harmless_line() -> None:
    body = b"Go\naway \x1b[31m!"
    server = Canned(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    result = run("connect", server.url, "--origin", "http://a.example", "--header", "X-Key: 1")
    server.join()
    assert_error(result, r"refused with 403 Forbidden: Go away \\x1b\[31m!")
    assert b"\r\nOrigin: http://a.example\r\n" in server.head
    assert b"\r\nX-Key: 1\r\n" in server.head


def test_something_that_is_no_web_server() -> None:
    server = Canned(b"SSH-2.0-OpenSSH_9.2\r\n")
    result = run("connect", server.url)
    server.join()
    assert_error(result, "cannot connect")


def test_a_server_that_says_nothing() -> None:
    server = Canned(None)
    result = run("connect", server.url, "--timeout", "0.2")
    server.join()
    assert_error(result, "no answer within 0.2 s")


class Deaf:
    """A server that opens a connection and then neither says nor hears anything."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener:
            connection.settimeout(DEADLINE)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            found = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
            assert found
            answer = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            answer += f"Sec-WebSocket-Accept: {accept_key(found[1].decode())}\r\n\r\n"
            self.connection = connection
            connection.sendall(answer.encode())

    def close(self) -> None:
        self._thread.join(DEADLINE)
        self.connection.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks(start: Start, reset: bool) -> None:
    server = Deaf()
    client = start("connect", server.url)
    client.wait_for("connected to")
    client.enter("/ping")
    if reset:
        linger = struct.pack("ii", 1, 0)
        server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    server.close()
    client.wait_for("the connection was lost without a Close")
    assert client.wait() == 1


def test_what_a_server_does_wrong_is_named(start: Start) -> None:
    server = Deaf()
    client = start("connect", server.url)
    client.wait_for("connected to")
    client.enter("/ping")
    assert server.connection.recv(4096)[0] == 0x89
    server.connection.sendall(b"\x83\x00")
    client.wait_for("the connection failed: .*opcode")
    server.close()
    assert client.wait() == 1


def test_a_second_control_c_does_not_wait_for_the_peer(start: Start) -> None:
    server = Deaf()
    client = start("connect", server.url)
    client.wait_for("connected to")
    client.process.send_signal(signal.SIGINT)
    server.connection.settimeout(DEADLINE)
    assert server.connection.recv(4096)[0] == 0x88  # the Close that the first one sent
    assert client.end(signal.SIGINT) == 1
    client.wait_for("the connection was lost without a Close")
    server.close()


def test_a_lost_connection(start: Start) -> None:
    server = start("serve", "wsview.demo.echo:Echo", "--port", "0")
    client = start("connect", server.wait_for(r"ws://[0-9.:]+/")[0])
    client.wait_for("connected to")
    server.process.kill()
    client.wait_for("the connection was lost without a Close")
    assert client.wait() == 1


# ------------------------------------------------------------------------------------- terminal


# The terminal controls the command, so that Ctrl-C is a signal, as at a user's desk.
OWN_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from wsview.__main__ import main
main()
"""


class Terminal:
    """The command in a pseudo-terminal; what it shows can be waited for."""

    def __init__(self, *arguments: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(),
            start_new_session=True,
        )
        os.close(slave)

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not re.search(pattern, self.shown):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} is not in {self.shown!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.shown += os.read(self._master, 65536).decode()
                except OSError:  # Linux: the other end is closed
                    raise AssertionError(f"{pattern!r} is not in {self.shown!r}") from None

    def press(self, keys: str) -> None:
        self.shown = ""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(echo: str) -> Iterator[Terminal]:
    opened = Terminal("connect", echo)
    try:
        opened.wait_for("type a line to send it")
        opened.wait_for("> \r")
        yield opened
    finally:
        opened.close()


def test_typing_in_a_terminal(terminal: Terminal) -> None:
    terminal.press("helo\x1b[Dl\r")
    terminal.wait_for("↑ hello\r?\n")
    terminal.wait_for("↓ hello\r?\n")
    terminal.press("esc \x1b[A\r")  # the arrow recalls the line before
    terminal.wait_for("↓ hello\r?\n")
    terminal.press("/ping\r")
    terminal.wait_for(r"· pong after [0-9.]+ ms\r?\n")
    terminal.wait_for(r"[0-9.]+ ms > ")  # the last round trip, before the next line
    terminal.press("/binary 1b5b\r")
    terminal.wait_for(r"↓ binary, 2 bytes\r?\n  000000  1b 5b .*\|\.\[\|")


@pytest.mark.parametrize("keys", ["\x04", "\x03", "/close\r", "half a line\x03"])
def test_leaving_a_terminal(terminal: Terminal, keys: str) -> None:
    terminal.press(keys)
    terminal.wait_for(r"· closed with 1000 \(normal closure\)")
    assert terminal.process.wait(DEADLINE) == 0
