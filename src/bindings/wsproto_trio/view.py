"""``WebSocketView`` for trio. The words are ``AsyncView``'s; see there."""

from wsproto_views import AsyncView

__all__ = ["WebSocketView"]


class WebSocketView(AsyncView):
    """A WebSocket view on trio: subclass it, define hooks, give it to ``serve`` or ``connect``.

    .. code-block:: python

        class Echo(WebSocketView):
            async def on_receive(self, message, opcode):
                await self.send(message, opcode)
    """

    _is_library = True
