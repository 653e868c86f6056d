"""Through a SOCKS proxy, by the package python-socks, which knows every runtime.

It is imported where it is asked for, and nowhere else. Tests: ``tests/bindings/test_proxy.py``.
"""

from importlib import import_module
import socket
from typing import Any

from .endpoints import Dial

__all__ = ["check_socks", "through_socks"]


def check_socks() -> None:
    """Raise ``ImportError`` with a way out if the package that speaks SOCKS is missing."""
    try:
        import_module("python_socks")
    except ImportError:
        raise ImportError(
            "a SOCKS proxy needs the package python-socks: pip install 'wsproto-core[proxy]'"
        ) from None


async def through_socks(dial: Dial[Any], runtime: str) -> socket.socket:
    """A socket whose other end is the server; ``runtime`` is ``"asyncio"`` or ``"trio"``.

    Raises ``OSError``, or ``HandshakeError`` if the proxy refuses.
    """
    package = import_module("python_socks")
    proxy = dial.proxy
    assert proxy is not None
    client = import_module(f"python_socks.async_.{runtime}").Proxy.create(
        proxy_type=package.ProxyType[proxy.scheme[:6].upper()],
        host=proxy.host,
        port=proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=proxy.resolves_names,
    )
    try:
        sock = await client.connect(dial.uri.host, dial.uri.port)
    except package.ProxyError as error:
        raise dial.proxy_refused(error) from error
    # trio's sockets are its own, around one of the standard library.
    return sock if isinstance(sock, socket.socket) else socket.socket(fileno=sock.detach())
