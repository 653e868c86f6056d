"""``WebSocketView`` for threads. The words are ``SyncView``'s; see there."""

from wsproto_views import SyncView

__all__ = ["WebSocketView"]


class WebSocketView(SyncView):
    """A WebSocket view on threads: subclass it, define hooks, give it to ``serve`` or ``connect``.

    .. code-block:: python

        class Echo(WebSocketView):
            def on_receive(self, message, opcode):
                self.send(message, opcode)
    """

    _is_library = True
