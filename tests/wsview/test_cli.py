"""The commands as processes: what they print, and one line for each error of use."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsproto_core
from tests.wsview.conftest import Start, environment, run, run_here, talk
from wsproto_core import COMPILED

VIEWS = """
from wsproto_asyncio import WebSocketView

class Shout(WebSocketView):
    async def on_text(self, text):
        await self.send(text.upper())

class Room(WebSocketView):
    async def on_text(self, text):
        await self.send(self.kwargs["room"])

class Deaf(WebSocketView):
    pass

number = 7
"""


@pytest.fixture
def views(tmp_path: Path) -> Path:
    (tmp_path / "views.py").write_text(VIEWS)
    (tmp_path / "broken.py").write_text("import no_such_thing\n")
    (tmp_path / "cross.py").write_text("1 / 0\n")
    (tmp_path / "noise.pem").write_text("no certificate\n")
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def assert_error(result: tuple[int, str, str], pattern: str) -> None:
    """Exit code 2 and one line on standard error, nothing else."""
    code, output, errors = result
    assert re.fullmatch(rf"wsview: error: .*{pattern}.*\n", errors), errors
    assert output == ""
    assert code == 2


# -------------------------------------------------------------------------------------- general


def test_version() -> None:
    core = "compiled" if COMPILED else "pure Python"
    assert run_here("--version") == (0, f"wsview {wsproto_core.__version__} ({core} core)\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_names_the_commands(arguments: tuple[str, ...]) -> None:
    code, output, _ = run_here(*arguments)
    assert code == 0
    for command in ("serve", "connect", "demo"):
        assert command in output


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["nonsense"], "nonsense"),
        (["serve"], "MODULE:VIEW"),
        (["connect"], "URL"),
        (["demo", "--port", "x"], "--port"),
        (["demo", "--port", "65536"], "--port"),
        (["demo", "--unknown"], "--unknown"),
    ],
)
def test_usage_errors(arguments: list[str], pattern: str) -> None:
    assert_error(run_here(*arguments), pattern)


def test_without_typer_and_rich() -> None:
    # They are installed here, so the search for them is made to fail.
    hide = "import sys, importlib.util as u; f = u.find_spec; "
    hide += "u.find_spec = lambda n, *a: None if n in ('typer', 'rich') else f(n, *a); "
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}from wsview.__main__ import main; main()"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert_error((done.returncode, done.stdout, done.stderr), r"pip install 'wsproto-core\[cli\]'")


# ---------------------------------------------------------------------------------------- serve


def test_serve_a_view_of_the_current_folder(start: Start, views: Path) -> None:
    server = start("serve", "views:Shout", "--port", "0", cwd=views)
    url = server.wait_for(r"Serving views:Shout on (ws://127\.0\.0\.1:\d+/)")[1]
    assert talk(url, lines="hello\n")[:2] == (0, "HELLO\n")
    assert server.end(signal.SIGINT) == 0


def test_serve_a_path_with_a_placeholder(start: Start, views: Path) -> None:
    server = start("serve", "views:Room", "--port", "0", "--path", "/ws/<room>", cwd=views)
    url = server.wait_for(r"ws://127\.0\.0\.1:\d+/")[0]
    assert talk(f"{url}ws/tea", lines="?\n")[:2] == (0, "tea\n")
    assert_error(run("connect", f"{url}elsewhere"), "refused with 404 Not Found: ")
    assert server.end(signal.SIGTERM) == 0


def test_serve_with_tls(start: Start, views: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    server = start(
        "serve", "views:Shout", "--port", "0", "--ssl-cert", cert, "--ssl-key", key, cwd=views
    )
    port = server.wait_for(r"wss://127\.0\.0\.1:(\d+)/")[1]
    url = f"wss://localhost:{port}/"
    assert talk(url, "--ca", cert, lines="a\n")[:2] == (0, "A\n")
    assert talk(url, "--insecure", lines="b\n")[:2] == (0, "B\n")
    assert_error(run("connect", url), "not trusted: self-signed certificate")
    assert_error(run("connect", f"wss://127.0.0.1:{port}/", "--ca", cert), "not trusted: IP addr")
    assert_error(run("connect", f"ws://127.0.0.1:{port}/"), "cannot connect to ws://")
    assert server.end() == 0


def test_serve_on_a_unix_socket(start: Start, views: Path) -> None:
    server = start("serve", "views:Shout", "--unix", "shout.sock", cwd=views)
    server.wait_for("Serving views:Shout on shout.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(views / "shout.sock"))
    assert server.end() == 0


def test_serve_tells_visitors_that_it_goes(start: Start, views: Path) -> None:
    server = start("serve", "views:Shout", "--port", "0", cwd=views)
    url = server.wait_for(r"ws://127\.0\.0\.1:\d+/")[0]
    client = start("connect", url)
    client.wait_for("connected to")
    server.process.send_signal(signal.SIGINT)
    client.wait_for(r"closed with 1001 \(going away\)")
    assert server.wait() == 0
    assert client.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["views"], "expected MODULE:VIEW"),
        (["absent:View"], "there is no module absent"),
        (["broken:View"], "cannot import broken: ModuleNotFoundError: .*no_such_thing"),
        (["cross:View"], "cannot import cross: ZeroDivisionError"),
        (["views:Absent"], "there is no Absent in views; it has Deaf, Room, Shout"),
        (["views:number"], "number in views is not a subclass of WebSocketView"),
        (["views:Deaf"], "Deaf takes no messages"),
        (["views:Shout", "--host", "no.such.host.invalid"], "cannot listen on no.such"),
        (["views:Shout", "--ssl-key", "noise.pem"], "--ssl-key needs --ssl-cert"),
        (["views:Shout", "--ssl-cert", "absent.pem"], "there is no file absent.pem"),
        (["views:Shout", "--ssl-cert", "noise.pem"], "cannot use the certificate .* noise.pem"),
        (["views:Shout", "--unix", "absent/x.sock"], "cannot listen on absent/x.sock: No such"),
    ],
)
def test_serve_errors(views: Path, arguments: list[str], pattern: str) -> None:
    assert_error(run("serve", *arguments, cwd=views), pattern)


def test_serve_on_a_taken_port(views: Path, taken: str) -> None:
    result = run("serve", "views:Shout", "--port", taken, cwd=views)
    assert_error(result, f"cannot listen on 127.0.0.1, port {taken}: it is in use")


# ----------------------------------------------------------------------------------------- demo


def test_demo_on_a_taken_port(taken: str) -> None:
    assert_error(run_here("demo", "--port", taken), f"port {taken}: it is in use")


def test_two_demos_take_two_ports(start: Start) -> None:
    urls = set()
    for server in [start("demo"), start("demo")]:
        urls.add(server.wait_for(r"http://127\.0\.0\.1:\d+/")[0])
        assert server.process.poll() is None
    assert len(urls) == 2


def test_demo_serves_chat_and_echo_for_other_clients_too(start: Start) -> None:
    server = start("demo", "--port", "0")
    port = server.wait_for(r"http://127\.0\.0\.1:(\d+)/")[1]
    assert talk(f"ws://127.0.0.1:{port}/ws/echo", lines="hi\n")[:2] == (0, "hi\n")
    _, output, _ = talk(f"ws://127.0.0.1:{port}/ws/chat/lobby", lines='{"type": "ping", "id": 3}\n')
    assert output.startswith('{"type": "pong", "id": 3, "latency": ')
    assert server.end() == 0
