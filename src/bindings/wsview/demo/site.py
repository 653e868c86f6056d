"""The page beside the views: four files that are read once, and the server that gives them."""

from importlib.resources import files
from typing import Final

from wsproto_asyncio import (
    Headers,
    Response,
    Route,
    Server,
    UpgradeRequest,
    WebSocketView,
    path,
    serve,
)

from .chat import Chat
from .echo import Echo

__all__ = ["ROUTES", "page", "start"]

ROUTES: Final[list[Route[WebSocketView]]] = [
    path("/ws/chat/<room>", Chat, name="chat"),
    path("/ws/echo", Echo, name="echo"),
]

_STATIC: Final = files(__package__) / "static"
# A table and no look at the file system: no request can name a file that is not listed here.
_FILES: Final = {
    "/": ("text/html; charset=utf-8", (_STATIC / "index.html").read_bytes()),
    "/style.css": ("text/css; charset=utf-8", (_STATIC / "style.css").read_bytes()),
    "/app.js": ("text/javascript; charset=utf-8", (_STATIC / "app.js").read_bytes()),
    "/icon.svg": ("image/svg+xml", (_STATIC / "icon.svg").read_bytes()),
}
# The page may load and connect to its own server, and nothing else; no inline script or style.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def page(request: UpgradeRequest) -> Response | None:
    """Answer a plain GET with a file of the page; leave WebSocket requests to the routes."""
    if request.is_upgrade or request.path not in _FILES:
        return None
    content_type, body = _FILES[request.path]
    headers = {
        "Content-Type": content_type,
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(200, Headers(headers), body)


async def start(host: str, port: int) -> Server:
    """Listen on ``host`` and ``port`` (0 takes a free one) and give the running server."""
    return await serve(ROUTES, host, port, on_request=page)
