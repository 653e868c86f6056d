"""Frames from a server, read by a client.

Invariant: any bytes, cut anywhere, end in the same events, the same output and one ``Closed``,
last; each ping has its pong; no message is over its limit; what we take others take, and what we
refuse they refuse, but for the classes in ``fuzz/README.md``.

Allowed exceptions: none. Faults of the peer are ``Closed.error``, a ``ProtocolError``.

The first byte chooses settings, extension and phase, the second the cut; the stream begins at the
fourth.
"""

from collections.abc import Hashable

from wsproto_core import Role

from ..streams import SEEDS as _SEEDS
from ..streams import STEPS, TOKENS, check_stream

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

SEEDS = _SEEDS[Role.CLIENT]
MEMORY = (160_000, 160)


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    return check_stream(Role.CLIENT, data)
