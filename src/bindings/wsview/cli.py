"""The commands: what the arguments mean, and one clear line for each way to get them wrong.

``run`` is the only door. What a command does stands elsewhere: ``client.py``, ``demo``, and the
library itself. Tests: ``tests/wsview/test_cli.py``.
"""

import asyncio
import contextlib
import errno
import importlib
import logging
import os
import signal
import socket
import ssl
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

import typer

import wsproto_core
from wsproto_asyncio import HandshakeError, Server, WebSocketError, WebSocketView, path, serve

from . import demo as demo_package
from .client import Target, talk
from .display import escape
from .terminal import open_screen

__all__ = ["run"]

USAGE: Final = 2  # the exit code of errors of use
DEMO_PORT: Final = 8642

app = typer.Typer(
    name="wsview",
    help="Serve, try and see WebSocket views.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


class Fault(Exception):
    """An error of use: its text is the line that the user gets."""


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line and give the exit code."""
    try:
        # Typer's own way would print errors as a box of several lines.
        code = app(args=list(arguments), prog_name="wsview", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130  # as shells say "ended by Ctrl-C"
    except Fault as fault:
        return _complain(str(fault))
    except Exception as error:
        # Typer's usage errors; their class is not public in every version, their method is.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        return _complain(format_message())
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    line = escape(" ".join(message.split()))
    print(f"wsview: error: {line}", file=sys.stderr)  # noqa: T201
    return USAGE


def _show_version(wanted: bool) -> None:
    if wanted:
        core = "compiled" if wsproto_core.COMPILED else "pure Python"
        typer.echo(f"wsview {wsproto_core.__version__} ({core} core)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and the kind of core.", callback=_show_version
        ),
    ] = False,
) -> None:
    """Serve, try and see WebSocket views."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# ---------------------------------------------------------------------------------------- serve


@app.command("serve")
def serve_command(
    view: Annotated[str, typer.Argument(metavar="MODULE:VIEW", help="Such as chat:Chat.")],
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    route: Annotated[
        str,
        typer.Option("--path", metavar="PATTERN", help="Serve this path only, such as /ws/<room>."),
    ] = "",
    ssl_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM): TLS.")
    ] = None,
    ssl_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its private key, if it is in a file of its own."),
    ] = None,
    unix: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Listen on this Unix socket instead of host and port."),
    ] = None,
) -> None:
    """Serve a view of yours."""
    view_class = _load_view(view)
    try:
        served = path(route, view_class) if route else view_class
    except ValueError as error:
        raise Fault(f"--path {route}: {error}") from None
    except NotImplementedError as error:
        raise Fault(str(error)) from None
    context = _server_context(ssl_cert, ssl_key)
    scheme = "ws" if context is None else "wss"

    def start() -> Awaitable[Server]:
        if unix is not None:
            return serve(served, unix=str(unix), ssl=context)
        return serve(served, host, port, ssl=context)

    def announce(server: Server) -> None:
        if unix is not None:
            where = str(unix)
        else:
            where = f"{scheme}://{_authority(host, server.port)}{route or '/'}"
        typer.echo(f"Serving {view} on {where} (Ctrl-C stops)")

    place = str(unix) if unix is not None else f"{host}, port {port}"
    _log_to_stderr()
    asyncio.run(_serve_until_told(start, announce, place))


def _load_view(spec: str) -> type[WebSocketView]:
    """Import ``module:Class``; modules in the current directory are found too."""
    module_name, colon, class_name = spec.partition(":")
    if not (module_name and colon and class_name):
        raise Fault(f"{spec}: expected MODULE:VIEW, such as chat:Chat")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  # whatever the user's module does when it runs
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            raise Fault(f"there is no module {module_name} here or among the installed") from None
        raise Fault(f"cannot import {module_name}: {type(error).__name__}: {error}") from None
    views = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, WebSocketView)
        and value is not WebSocketView
    }
    if class_name in views:
        return views[class_name]
    known = f"it has {', '.join(sorted(views))}" if views else "it has no views"
    if hasattr(module, class_name):
        raise Fault(f"{class_name} in {module_name} is not a subclass of WebSocketView; {known}")
    raise Fault(f"there is no {class_name} in {module_name}; {known}")


def _server_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise Fault("--ssl-key needs --ssl-cert")
        return None
    for file in filter(None, (cert, key)):
        if not file.is_file():
            raise Fault(f"there is no file {file}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An empty password makes an encrypted key an error instead of a question.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        files = f"{cert} and {key}" if key else f"{cert}"
        raise Fault(f"cannot use the certificate and key in {files}: {_why(error)}") from None
    return context


# ------------------------------------------------------------------------------------------ demo


@app.command("demo")
def demo_command(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help=f"Default: {DEMO_PORT}, or a free one if that is taken.",
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Show it in your browser.")
    ] = False,
) -> None:
    """Serve a chat room and an echo lab for your browser."""

    async def start() -> Server:
        if port is not None:
            return await demo_package.start(host, port)
        try:
            return await demo_package.start(host, DEMO_PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return await demo_package.start(host, 0)

    def announce(server: Server) -> None:
        url = f"http://{_authority(host, server.port)}/"
        typer.echo(f"The demo is at {url} (Ctrl-C stops)")
        if open_browser:
            webbrowser.open(url)

    _log_to_stderr()
    logging.getLogger("wsview.demo").setLevel(logging.INFO)  # who comes and goes
    asyncio.run(_serve_until_told(start, announce, f"{host}, port {port or DEMO_PORT}"))


# --------------------------------------------------------------------------------------- connect


@app.command("connect")
def connect_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="Such as ws://localhost:8000/.")],
    subprotocol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Offer this one; may be given again."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="Send this header field; may be given again."),
    ] = None,
    origin: Annotated[
        str | None, typer.Option(metavar="ORIGIN", help="The Origin to send.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Accept any certificate: for tests only.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Trust the certificates in this file, and no others."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.001, help="Time to connect in, and to wait for a pong."
        ),
    ] = 10.0,
    linger: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Silence to wait for once piped input has ended."
        ),
    ] = 1.0,
) -> None:
    """Talk to a server: type to send, see what comes. Lines from a pipe work too."""
    target = Target(
        url=url,
        ssl=_client_context(url, insecure, ca),
        subprotocols=subprotocol or (),
        headers=[_read_header(line) for line in header or ()],
        origin=origin,
        timeout=timeout,
        linger=linger,
    )
    try:
        with open_screen() as screen:
            code = asyncio.run(talk(target, screen))
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`. What is left in its buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except HandshakeError as error:
        raise Fault(_refusal(url, error)) from None
    except TimeoutError:
        raise Fault(f"cannot connect to {url}: no answer within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Fault(
            f"the certificate of {url} is not trusted: {error.verify_message}"
            " (--ca FILE trusts it, --insecure accepts any)"
        ) from None
    except OSError as error:
        raise Fault(f"cannot connect to {url}: {_why(error)}") from None
    except (WebSocketError, ValueError) as error:
        raise Fault(str(error)) from None
    raise typer.Exit(code)


def _client_context(url: str, insecure: bool, ca: Path | None) -> ssl.SSLContext | None:
    if insecure and ca is not None:
        raise Fault("--insecure and --ca contradict each other")
    if not url.lower().startswith("wss:"):
        if insecure or ca is not None:
            raise Fault("--insecure and --ca are for wss:// addresses")
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError) as error:
        raise Fault(f"cannot read the certificates in {ca}: {_why(error)}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _read_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Fault(f"--header '{line}': expected 'Name: value'")
    return name.strip(), value.strip()


def _refusal(url: str, error: HandshakeError) -> str:
    """Say with which status and words a server refused."""
    if error.response is None:
        return f"cannot connect to {url}: {error}"
    status, reason = error.response.status, error.response.reason
    if not reason:
        with contextlib.suppress(ValueError):  # a status that has no usual phrase
            reason = HTTPStatus(status).phrase
    said = f"{status} {reason}"
    # Servers of ours, and others, begin the body with the status too: once is enough.
    body = " ".join(error.response.body.decode("utf-8", "replace").split())
    words = escape(body.removeprefix(said).lstrip(": "), 300)
    return f"{url} refused with {said}{f': {words}' if words else ''}"


# ---------------------------------------------------------------------------------------- shared


async def _serve_until_told(
    start: Callable[[], Awaitable[Server]], announce: Callable[[Server], None], place: str
) -> None:
    """Run a server until Ctrl-C or SIGTERM, then let it close its connections in order."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    try:
        server = await start()
    except socket.gaierror as error:
        raise Fault(f"cannot listen on {place}: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Fault(f"cannot listen on {place}: it is in use") from None
        raise Fault(f"cannot listen on {place}: {_why(error)}") from None
    except NotImplementedError as error:
        raise Fault(str(error)) from None
    async with server:
        # Windows has no such handlers; there, Ctrl-C ends the program the short way.
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, told.set)
        announce(server)
        await told.wait()
        # A second Ctrl-C does not wait for anybody.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _authority(host: str, port: int | None) -> str:
    """Give host and port as an address that a browser on this machine can open."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(error: Exception) -> str:
    """Say the cause of an error without the parts that only a programmer reads."""
    if isinstance(error, ssl.SSLError):
        # OpenSSL has no reason for the commonest case, a file that is something else.
        if not error.reason:
            return "not PEM, or the key is missing or encrypted"
        return error.reason.replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
