"""wsproto-core's views: ``--runtime`` asyncio, trio, anyio or threading.

The defaults of a view, heartbeat and all timeouts included. Changed are: the limits on size, so
that nothing is refused; permessage-deflate, off unless a case asks for it; any origin may connect.
"""

from typing import Any

from wsproto_core import Extension
from wsproto_core.extensions.deflate import PerMessageDeflate

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
    """The view that sends back what it gets."""

    async def on_receive(self: Any, message: bytes, opcode: int) -> None:
        await self.send(message, opcode)

    return type("Echo", (base,), {**settings(options), "on_receive": on_receive})


async def on_asyncio(options: Options) -> None:
    from wsproto_asyncio import WebSocketView, serve

    view = echo(WebSocketView, options)
    async with serve(view, HOST, 0, ssl=options.tls_context()) as server:
        assert server.port is not None
        announce(server.port)
        await server.serve_forever()


if __name__ == "__main__":
    chosen = parse()
    run(lambda: on_asyncio(chosen), chosen)
