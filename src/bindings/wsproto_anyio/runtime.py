"""anyio, on either of its backends, as the shared stream driver wants a runtime.

Tests: ``tests/bindings/test_anyio.py``.
"""

import threading
from typing import Any

import anyio
import anyio.abc
from anyio import lowlevel

from wsproto_views.streams import Runtime
from wsproto_views.wires import READ_SIZE, StreamWire

__all__ = ["runtime", "wire_of"]


def runtime() -> Runtime:
    """The loop that runs here."""
    # asyncio's loop or trio's token, and their own names: anyio looks its backend up again at each
    # call, and its ways from a thread wait for the outcome.
    native: Any = lowlevel.current_token().native_token
    is_asyncio = hasattr(native, "call_soon_threadsafe")
    return Runtime(
        nursery_name="task_group",
        cancelled=anyio.get_cancelled_exc_class(),
        broken=(OSError, anyio.ClosedResourceError),
        now=native.time if is_asyncio else anyio.current_time,
        event=anyio.Event,
        scope=anyio.CancelScope,
        open_nursery=anyio.create_task_group,
        checkpoint=lowlevel.checkpoint,
        sleep=anyio.sleep,
        wait_readable=anyio.wait_readable,
        wait_writable=anyio.wait_writable,
        notify_closing=anyio.notify_closing,
        resolve=anyio.getaddrinfo,
        post=native.call_soon_threadsafe if is_asyncio else native.run_sync_soon,
        here=threading.get_ident,
        socks="asyncio" if is_asyncio else "trio",
    )


def wire_of(stream: anyio.abc.ByteStream) -> StreamWire:
    """A stream of anyio's that somebody else opened, such as a ``TLSStream``."""

    async def receive() -> bytes:
        try:
            return await stream.receive(READ_SIZE)
        except anyio.EndOfStream:
            return b""

    attributes: Any = stream.extra_attributes
    return StreamWire(
        runtime(),
        sock=attributes.get(anyio.abc.SocketAttribute.raw_socket, lambda: None)(),
        receive=receive,
        send=stream.send,
        send_eof=stream.send_eof,
        close=stream.aclose,
    )
