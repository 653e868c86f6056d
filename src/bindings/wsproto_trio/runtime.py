"""trio, as the shared stream driver wants a runtime. Tests: ``tests/bindings/test_trio.py``."""

import threading

import trio
from trio import lowlevel

from wsproto_views.streams import Runtime
from wsproto_views.wires import StreamWire

__all__ = ["runtime", "wire_of"]


def runtime() -> Runtime:
    """The trio that runs here."""
    return Runtime(
        nursery_name="nursery",
        cancelled=trio.Cancelled,
        broken=(OSError, trio.ClosedResourceError),
        now=lowlevel.current_clock().current_time,
        event=trio.Event,
        scope=trio.CancelScope,
        open_nursery=trio.open_nursery,
        checkpoint=lowlevel.checkpoint,
        sleep=trio.sleep,
        wait_readable=lowlevel.wait_readable,
        wait_writable=lowlevel.wait_writable,
        notify_closing=lowlevel.notify_closing,
        resolve=trio.socket.getaddrinfo,
        post=lowlevel.current_trio_token().run_sync_soon,
        here=threading.get_ident,
        socks="trio",
    )


def wire_of(stream: trio.abc.Stream) -> StreamWire:
    """A stream of trio's that somebody else opened, such as a ``trio.SSLStream``."""
    return StreamWire(
        runtime(),
        sock=getattr(stream, "socket", None),
        receive=stream.receive_some,
        send=stream.send_all,
        send_eof=stream.send_eof if isinstance(stream, trio.abc.HalfCloseableStream) else None,
        close=stream.aclose,
    )
