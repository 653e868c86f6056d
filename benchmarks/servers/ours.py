"""wsproto-core's views: ``--runtime`` asyncio, trio, anyio or threading.

The defaults of a view, heartbeat and all timeouts included. Changed are: the limits on size, so
that nothing is refused; permessage-deflate, off unless a case asks for it; any origin may connect.
"""

from importlib import import_module
from typing import Any

from wsproto_core import Extension
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_views import broadcast

from .options import HOST, LIMIT, Options, announce, parse, run


def settings(options: Options) -> dict[str, Any]:
    """The class attributes of the view."""
    extensions: tuple[Extension, ...] = ()
    if (deflate := options.deflate) is not None:
        extensions = (
            PerMessageDeflate(
                level=deflate.level,
                mem_level=deflate.mem_level,
                server_max_window_bits=deflate.window_bits,
                client_max_window_bits=None,
                threshold=0,
                backend=deflate.backend,  # type: ignore[arg-type]
            ),
        )
    return {
        "EXTENSIONS": extensions,
        "MAX_MESSAGE_SIZE": LIMIT,
        "MAX_FRAME_SIZE": LIMIT,
        "ORIGINS": ("*",),
    }


def echo(base: type[Any], options: Options) -> type[Any]:
    """The view that sends back what it gets; in broadcast mode, to all that are connected."""

    async def on_receive(self: Any, message: bytes, opcode: int) -> None:
        await self.send(message, opcode)

    async def to_all(self: Any, message: bytes, opcode: int) -> None:
        broadcast(self.server.connections, message, opcode)

    def on_receive_in_thread(self: Any, message: bytes, opcode: int) -> None:
        self.send(message, opcode)

    hook = on_receive_in_thread if options.runtime == "threading" else on_receive
    if options.mode == "broadcast":
        hook = to_all
    return type("Echo", (base,), {**settings(options), "on_receive": hook})


def to_all(base: type[Any], options: Options) -> type[Any]:
    """The view that broadcasts what it gets."""
    views: set[Any] = set()

    async def on_open(self: Any) -> None:
        views.add(self)

    async def on_receive(self: Any, message: bytes, opcode: int) -> None:
        if broadcast(views, message, opcode):
            raise RuntimeError("expected that nobody is skipped: the load reads everything")

    async def on_close(self: Any, frame: object = None) -> None:
        views.discard(self)

    hooks = {"on_open": on_open, "on_receive": on_receive, "on_close": on_close}
    return type("ToAll", (base,), {**settings(options), **hooks})


async def serve(options: Options) -> None:
    """Serve until cancelled, on any runtime with coroutines."""
    binding = import_module(f"wsproto_{options.runtime}")
    make = to_all if options.mode == "broadcast" else echo
    view = make(binding.WebSocketView, options)
    async with binding.serve(view, HOST, 0, ssl=options.tls_context()) as server:
        announce(server.port)
        await server.serve_forever()


def serve_in_threads(options: Options) -> None:
    """Serve until the process ends, a thread for each connection."""
    binding = import_module("wsproto_threading")
    view = echo(binding.WebSocketView, options)
    with binding.serve(view, HOST, 0, ssl=options.tls_context()) as server:
        announce(server.port)
        server.serve_forever()


def main() -> None:
    options = parse()
    if options.runtime == "threading":
        serve_in_threads(options)
    elif options.runtime == "asyncio":
        run(lambda: serve(options), options)
    elif options.runtime == "anyio":
        import anyio

        anyio.run(serve, options, backend=options.backend)
    elif options.runtime == "trio":
        import trio

        trio.run(serve, options)
    else:
        raise SystemExit(f"--runtime: expected a runtime of ours, not {options.runtime}")


if __name__ == "__main__":
    main()
