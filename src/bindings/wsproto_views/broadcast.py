"""``broadcast``: one message to many views, without waiting for any of them.

Which view can take a message now is the connection's decision (``Connection.offer``). No runtime.
Tests: ``tests/bindings/test_broadcast.py``, on every runtime.
"""

from collections.abc import Iterable
from typing import TypeVar

from wsproto_core import Buffer, OpCode, PreparedMessage

from .views import BaseView

__all__ = ["broadcast"]

ViewT = TypeVar("ViewT", bound=BaseView)


def broadcast(
    views: Iterable[ViewT],
    data: str | Buffer | PreparedMessage,
    opcode: OpCode | int = OpCode.TEXT,
    *,
    compress: bool | None = None,
) -> list[ViewT]:
    """Send one message to every open view of ``views``; returns the open ones that were skipped.

    Nobody is waited for. A view is skipped where more than ``WRITE_HIGH_WATER`` bytes wait for its
    peer, so broadcasts never make a view hold more than that and one message; and in the middle of
    a ``send_stream``, which no other message may interrupt. What becomes of a skipped view is yours
    to say: it may miss the message, get it by ``view.send(...)``, which waits, or be aborted. Views
    that are closing or closed, or not connected yet, are passed over.

    The message is checked, framed and compressed once for all servers' views that agreed on the
    same parameters. ``opcode`` and ``compress`` are as in ``send``; a ``PreparedMessage`` has its
    own, and is worth making where the same message is sent more than once.

    Call it where you may call ``send`` of these views: views for threads from any thread, others on
    their loop. Raises ``LocalProtocolError`` or ``TypeError`` for what cannot be sent; then nobody
    has got it.
    """
    if isinstance(views, BaseView):
        raise TypeError(f"expected an iterable of views, got one {type(views).__name__}")
    message = (
        data
        if isinstance(data, PreparedMessage)
        else PreparedMessage(data, opcode, compress=compress)
    )
    return [view for view in views if not view._offer(message) and view.is_open]
