# cython: annotation_typing=False
"""The asyncio driver over a transport, for loops that do not let us watch sockets: uvloop, Windows.

Tests: ``tests/bindings/test_contract.py``, as the runtime ``uvloop``.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from wsproto_core import Session, Transport
from wsproto_views.buffers import join_small

from .driver import Driver

__all__ = ["TransportDriver"]


class TransportDriver(Driver):
    """Runs one session over one asyncio transport: an ``asyncio.BufferedProtocol`` in all but its
    bases, which a class of the compiled build cannot have; so uvloop takes it for one, and loops
    that go by the base call ``data_received``."""

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

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._hub.part

    def buffer_updated(self, size: int) -> None:
        self.data_received(self._hub.part[:size])

    def data_received(self, data: bytes | memoryview) -> None:
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
        transport = self._transport
        assert transport is not None
        output = self.session.take_output()
        if not output or self._gone or not self._writing:
            return
        for item in join_small(output):
            transport.write(item)
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
