"""One connection over a stream that is open already, on trio.

Tests: ``tests/bindings/test_trio.py``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from wsproto_views import OnRequest, Service
from wsproto_views.stream_given import Upgraded, serve_wire

from .runtime import runtime, wire_of
from .server import Views
from .view import WebSocketView

if TYPE_CHECKING:
    from wsproto_core import Agreement, Codec

__all__ = ["serve_stream", "upgraded"]

ViewT = TypeVar("ViewT", bound=WebSocketView)


async def serve_stream(
    views: Views,
    stream: trio.abc.Stream,
    *,
    on_request: OnRequest | None = None,
    client_address: Any = None,
) -> None:
    """Serve one client on ``stream``, from its request to the end of the connection.

    ``views`` and ``on_request`` are as in ``serve``; ``client_address`` is what the view's request
    shows. The stream is closed in the end. A cancellation closes the connection with 1001. Raises
    nothing of what the peer does.
    """
    service = Service(views, on_request)
    await serve_wire(service, runtime(), wire_of(stream), client_address)


def upgraded(
    view: ViewT,
    stream: trio.abc.Stream,
    *,
    agreement: "Agreement | None" = None,
    codecs: "Sequence[Codec]" = (),
    data: bytes = b"",
    client: bool = False,
) -> Upgraded[ViewT]:
    """Run ``view`` on a stream on which somebody else did the opening handshake.

    ``async with upgraded(Echo(request), stream) as ws:`` is a block in which the connection is
    open; it closes at the end, also when it is cancelled. ``await ws.run_forever()`` waits for the
    peer to close. ``agreement`` is what the handshake settled, ``codecs`` are those of its
    extensions, ``data`` is what came behind the handshake; ``client`` if our side is the client.
    Entering it raises ``LocalProtocolError`` for what does not fit together.
    """
    return Upgraded(
        view,
        runtime,
        lambda: wire_of(stream),
        agreement=agreement,
        codecs=codecs,
        data=data,
        client=client,
    )
