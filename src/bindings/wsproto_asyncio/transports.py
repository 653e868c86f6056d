# cython: annotation_typing=False
"""The asyncio driver over a transport, for loops that do not let us watch sockets: uvloop, Windows.

Tests: ``tests/bindings/test_contract.py``, as the runtime ``uvloop``.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from wsproto_core import Session, Transport

from .driver import Driver

__all__ = ["TransportDriver"]

_JOIN = 1 << 16  # bytes: buffers up to this are joined into one write; larger ones are not copied


class TransportDriver(Driver):
    """Runs one session over one asyncio transport: an ``asyncio.Protocol`` in all but its bases,
    which a class of the compiled build cannot have."""

    def __init__(
        self,
        begin: "Callable[[Driver], Session]",
        *,
        server: Any = None,
        on_gone: "Callable[[Driver], None] | None" = None,
    ) -> None:
        super().__init__(begin, server=server, on_gone=on_gone)
        self._transport: asyncio.Transport | None = None
        self._tls = False
        self._writing = True  # our direction was not ended

    def as_protocol(self) -> asyncio.Protocol:
        """The same, for a loop's ``create_...``."""
        return cast("asyncio.Protocol", self)

    # ------------------------------------------------------------------ from the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is not one by its class
        self._transport = transport
        self._tls = transport.get_extra_info("sslcontext") is not None
        self.sock = transport.get_extra_info("socket")
        self.peer = transport.get_extra_info("peername") or None
        self.session = self._begin(self)
        mark = self.session.connection.config.write_high_water
        transport.set_write_buffer_limits(high=mark)
        self._turn()

    def data_received(self, data: bytes) -> None:
        self.session.received(data, self.now())
        self._turn()

    def eof_received(self) -> bool:
        self.session.eof(self.now())
        self._turn()
        # Keep our direction open; the session says when to end it. TLS has no half-close here.
        return not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc)
        self._turn()

    def forget(self) -> None:
        """Nobody will have the connection, and a loop that was cancelled tells of no end."""
        if self._transport is not None:
            self.connection_lost(None)

    def pause_writing(self) -> None:
        """What is left in the transport is looked at after each write; see ``_write``."""

    def resume_writing(self) -> None:
        # TLS may call this from inside a write, so the turn comes later.
        self._look_at_buffer()
        self.publish()

    # ------------------------------------------------------------------ for the driver

    def _write(self) -> None:
        session, transport = self.session, self._transport
        assert transport is not None
        if not session.has_output():
            return
        output = session.take_output()
        if self._gone or not self._writing:
            return
        if len(output) == 1:
            transport.write(output[0])
        elif sum(map(len, output)) <= _JOIN:
            transport.write(b"".join(output))
        else:
            _write_large(transport, output)
        if transport.get_write_buffer_size() or self.pending:
            self._look_at_buffer()

    def _end_stream(self, wanted: Transport) -> None:
        transport = self._transport
        assert transport is not None
        if wanted is Transport.ABORT:
            transport.abort()
        elif wanted is Transport.CLOSE or self._tls:
            self._writing = False
            transport.close()
        elif self._writing:
            self._writing = False
            if not transport.is_closing():
                with suppress(OSError):  # the peer has reset it: connection_lost comes next
                    transport.write_eof()

    def _look_at_buffer(self) -> None:
        assert self._transport is not None
        self.pending = self._transport.get_write_buffer_size()
        self.session.write_blocked(self.pending, self.now())

    def _set_reading(self, reading: bool) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


def _write_large(transport: asyncio.Transport, output: list[bytes]) -> None:
    """Write many bytes: small neighbours joined, large buffers as they are."""
    small: list[bytes] = []
    for item in output:
        if len(item) < _JOIN // 4:
            small.append(item)
            continue
        if small:
            transport.write(b"".join(small))
            small.clear()
        transport.write(item)
    if small:
        transport.write(b"".join(small))
