# cython: annotation_typing=False
"""HTTP/1.1 heads: bytes to values and values to bytes, and the refusals that bytes can earn.

h11 parses the heads. Before it sees one, a scanner looks at each byte once and refuses what is not
well-formed, what request smuggling needs, and what is too big; it goes on where it stopped, so
reading byte by byte costs no more than linear time. An ordinary request that came whole is cut into
its lines at one look; every other one goes the long way, and only there is anything refused
(docs/decisions/0022). What a head *means* is not known here: that is ``handshake.py``'s business.
Tests: ``tests/core/test_http11.py``, ``tests/core/test_conformance_handshake.py``.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, cast

import h11

from .config import Config
from .errors import HandshakeError
from .headers import TOKEN_CHARS, Headers, RequestHead, Response

__all__ = [
    "CONTINUE",
    "Refusal",
    "RequestReader",
    "ResponseReader",
    "shown_untrusted",
    "write_request",
    "write_response",
    "wrong_method",
]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response to ``Expect: 100-continue`` (RFC 9110 section 10.1.1)."""

MAX_INTERIM_RESPONSES: Final = 16
"""How many 1xx answers a client skips before it gives up; servers send one or two."""


class Refusal(Exception):
    """A request that gets an HTTP error instead of a 101. Always the peer's fault."""

    status: int
    """The status code of the answer."""

    why: str
    """What was expected and what came, in plain words; safe to show and to log."""

    headers: tuple[tuple[str, str], ...]
    """Header fields that the status asks for, such as ``Allow``."""

    has_body: bool
    """False for the answer to a HEAD request, which must have none (RFC 9110 section 9.3.2)."""

    def __init__(
        self,
        status: int,
        why: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        has_body: bool = True,
    ) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = tuple(headers)
        self.has_body = has_body

    def response(self) -> Response:
        """Return the answer: a short text that says what was wrong."""
        if not self.has_body:
            return Response(self.status, Headers(self.headers))
        fields = (*self.headers, ("Content-Type", "text/plain; charset=utf-8"))
        body = f"{self.status} {_REASONS.get(self.status, '')}: {self.why}\n"
        return Response(self.status, Headers(fields), body.encode())


def wrong_method(method: str) -> Refusal:
    """Return the refusal of a request that is not a GET (RFC 6455 section 4.2.1, item 1)."""
    return Refusal(
        405,
        f"expected the method GET, got {shown_untrusted(method)}",
        [("Allow", "GET")],
        has_body=method != "HEAD",
    )


def shown_untrusted(value: str | bytes | bytearray) -> str:
    """Return what a peer or caller sent as it may be shown: quoted, escaped, 200 bytes at most."""
    text = value if isinstance(value, str) else value[:200].decode("latin-1")
    shown = ascii(text[:200])
    if len(text) <= 200 and len(shown) <= 200:
        return shown
    return shown[:196] + "...'"


class _Lines:
    """Cuts a growing buffer into the lines of a head, each byte looked at once.

    Where a byte is refused depends on the bytes before it only, never on how they were cut into
    reads, and neither does the text of the refusal.
    """

    __slots__ = (
        "_begin",
        "_max_head",
        "_max_headers",
        "_max_line",
        "_scanned",
        "_start",
        "buffer",
        "count",
    )

    def __init__(self, config: Config) -> None:
        self._max_line = config.max_line_size
        self._max_head = config.max_head_size
        self._max_headers = config.max_headers
        self.buffer = bytearray()
        self._begin = 0  # of this head
        self._start = 0  # of the line that is not complete yet
        self._scanned = 0  # all bytes before this are known to be no control characters
        self.count = 0  # complete lines of this head, the start line among them

    @property
    def beginning(self) -> bytes:
        """The first bytes of the line that is not complete yet, at most five, within the limits:
        what is beyond them must not be judged, for cut otherwise it would not have been seen."""
        end = min(self._start + min(5, self._max_line), self._max_head)
        return bytes(self.buffer[self._start : end])

    def next_line_untrusted(self) -> bytearray | None:
        """Return the next line without its CRLF, or ``None`` if it is not complete.

        Raises ``Refusal`` for a control character, a bare CR or LF (RFC 9112 section 2.2), and for
        a line or a head above its limit.
        """
        buffer = self.buffer
        size = len(buffer)
        over_line = self._start + self._max_line  # the first byte beyond the line's limit
        over_head = self._max_head
        match = _CONTROL.search(buffer, self._scanned, min(over_line + 1, over_head))
        if match is None:
            if over_line < over_head:
                if size > over_line:
                    raise self._line_too_long()
            elif size > over_head:
                raise self._head_too_big()
            self._scanned = size
            return None
        at = match.start()
        if buffer[at] != _CR:
            raise self._bad_control(at)
        if at + 1 == size:
            self._scanned = at
            return None
        if at + 1 >= over_head:
            raise self._head_too_big()
        if buffer[at + 1] != _LF:
            raise self._bad_control(at)
        line = buffer[self._start : at]
        self._start = self._scanned = at + 2
        self.count += 1
        return line

    def skip_line(self) -> None:
        """Forget the line just given: the empty one that may come before a request line."""
        self._begin = self._start
        self.count = 0

    def take_head(self) -> bytes:
        """Return the bytes of the head whose empty line was just given, and start the next one."""
        head = bytes(memoryview(self.buffer)[self._begin : self._start])
        self._begin = self._start
        self.count = 0
        return head

    def take_tail(self) -> bytes:
        """Return the bytes that came after the head, and let go of everything."""
        tail = bytes(memoryview(self.buffer)[self._start :])
        self.buffer = bytearray()
        return tail

    def check_field_untrusted(self, line: bytearray) -> None:
        """Check the header line just given.

        Raises ``Refusal`` for one line too many, a name that is no token, or white space before the
        colon (RFC 9112 section 5.1).
        """
        self.check_count_untrusted()
        if _FIELD_NAME.match(line) is None:
            raise Refusal(
                400,
                "expected a header line of the form 'Name: value' without space before the colon, "
                f"got {shown_untrusted(line)}",
            )

    def check_count_untrusted(self) -> None:
        """Raise ``Refusal`` if the line just given is one too many."""
        if self.count - 1 > self._max_headers:
            raise Refusal(431, f"expected at most {self._max_headers} header lines, got more")

    def _line_too_long(self) -> Refusal:
        limit = self._max_line
        if self.count == 0:
            return Refusal(414, f"expected a request line of at most {limit} bytes, got more")
        return Refusal(431, f"expected header lines of at most {limit} bytes, got more")

    def _head_too_big(self) -> Refusal:
        return Refusal(431, f"expected a head of at most {self._max_head} bytes, got more")

    def _bad_control(self, at: int) -> Refusal:
        line = self.buffer[max(self._start, at - 40) : at + 1]
        return Refusal(
            400,
            "expected lines that end in CR LF and hold no other control characters, "
            f"got a line with {shown_untrusted(line)}",
        )


class RequestReader:
    """Server: reads exactly one request head, and refuses any that is not a plain GET without body.

    Make one for each connection. After a head or a ``Refusal`` it must not be fed again: one
    connection carries one request.
    """

    __slots__ = ("_config", "_has_length", "_lines", "_skipped", "tail")

    tail: bytes
    """What came after the head: frames of a client that did not wait. Empty until then."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lines: _Lines | None = None  # from the first bytes on, if they are no ordinary head
        self._skipped = False  # the empty line that may come first
        self._has_length = False
        self.tail = b""

    def feed(self, data: bytes | bytearray | memoryview) -> RequestHead | None:
        """Take bytes; return the head as soon as its empty line is in, ``None`` before.

        Raises ``Refusal`` at the first byte that no valid handshake request has at that place
        (RFC 9112 sections 2 to 6, RFC 6455 section 4.2.1).
        """
        lines = self._lines
        if lines is None:
            head = self._read_ordinary_untrusted(bytes(data))
            if head is not None:
                return head
            lines = self._lines = _Lines(self._config)
        lines.buffer += data
        while True:
            if lines.count == 0:
                _check_first_byte_untrusted(lines)
            line = lines.next_line_untrusted()
            if line is None:
                return None
            if lines.count > 1:
                if not line:
                    return self._finish_untrusted(lines)
                self._check_field_untrusted(lines, line)
            elif line:
                _check_request_line_untrusted(line)
            elif self._skipped:
                raise Refusal(400, "expected a request line, got a second empty line")
            else:
                self._skipped = True
                lines.skip_line()

    def _read_ordinary_untrusted(self, data: bytes) -> RequestHead | None:
        """Return the head that ``data`` begins with, if it is an ordinary one: what the long way
        would give. ``None`` for all others, good or bad.

        Ordinary is a GET in HTTP/1.1 within every limit, with one Host and without a field that
        could mean a body.
        """
        config = self._config
        # A head that is no longer than a line may be has no line that is too long.
        end = data.find(b"\r\n\r\n", 0, min(config.max_line_size, config.max_head_size)) + 4
        if end < 4:
            return None
        head = data[:end]
        ends = head.count(b"\r\n")
        # All control characters but the tab are those of the line ends.
        if len(head.translate(None, _CONTROLS)) != end - 2 * ends or ends > config.max_headers + 2:
            return None
        text = head.decode("latin-1")
        start = _ORDINARY_START.match(text)
        if start is None:
            return None
        fields: list[tuple[str, str]] = []
        names: list[str] = []
        for line in text[start.end() : -4].split("\r\n"):
            name, colon, value = line.partition(":")
            if not (name and colon):
                return None
            # White space around the value is not part of it (RFC 9112 section 5.1).
            fields.append((name, value.strip(" \t")))
            names.append(name)
        if "".join(names).encode("latin-1").translate(None, _TOKEN_CHARS):
            return None
        names = [name.lower() for name in names]
        if names.count("host") != 1 or "content-length" in names or "transfer-encoding" in names:
            return None
        self.tail = data[end:]
        return RequestHead("GET", start.group(1), Headers(fields))

    def _check_field_untrusted(self, lines: _Lines, line: bytearray) -> None:
        if line[0] in b" \t":
            raise Refusal(
                400,
                "expected header lines that are neither folded nor indented, "
                f"got {shown_untrusted(line)}",
            )
        lines.check_field_untrusted(line)
        body = _BODY_FIELD.match(line)
        if body is None:
            return
        # A body would be read as frames by us and as a body by a proxy: the way to smuggle.
        if body.group(1) and not self._has_length:
            self._has_length = True
            digits = line[body.end() :].strip(b" \t")
            if digits and not digits.strip(b"0"):
                return
        raise Refusal(
            400,
            "expected a request without a body, so no Transfer-Encoding, and Content-Length absent "
            f"or 0 and there once, got {shown_untrusted(line)}",
        )

    def _finish_untrusted(self, lines: _Lines) -> RequestHead:
        head = lines.take_head()
        self.tail = lines.take_tail()
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
        parser.receive_data(head)
        try:
            request = cast("h11.Request", parser.next_event())  # the head is complete
        except h11.RemoteProtocolError as error:
            # What is left to h11 alone: whether Host is there, and there once.
            raise Refusal(
                400, f"expected a valid HTTP/1.1 request with one Host line, got: {error}"
            ) from None
        return RequestHead(
            request.method.decode("ascii"),
            request.target.decode("ascii"),
            _decode_fields(request.headers.raw_items()),
            request.http_version.decode("ascii"),
        )


class ResponseReader:
    """Client: reads the response to the opening handshake, with the body if it is a refusal.

    Make one for each connection. After a response or a ``HandshakeError`` it must not be fed again.
    With ``tunnel`` it reads a proxy's response to a CONNECT, which any 2xx accepts.
    """

    __slots__ = (
        "_body",
        "_budget",
        "_config",
        "_interim",
        "_lines",
        "_parser",
        "_refusal",
        "_tunnel",
        "_who",
        "tail",
    )

    tail: bytes
    """What came after a 101 (or the 2xx of a tunnel): the server's first bytes."""

    def __init__(self, config: Config, *, tunnel: bool = False) -> None:
        self._config = config
        self._lines = _Lines(config)
        self._interim = 0
        self._tunnel = tunnel
        self._who = "proxy" if tunnel else "server"
        self._parser = _new_client_parser(config, _ASKED_TUNNEL if tunnel else _ASKED)
        self._refusal: h11.Response | None = None
        self._body = bytearray()
        # Bytes of body and chunk framing that are looked at: bounded whatever the chunks' sizes.
        self._budget = config.max_body_size + config.max_head_size
        self.tail = b""

    def feed(self, data: bytes | bytearray | memoryview) -> Response | None:
        """Take bytes; return a 101 at its empty line, another response with its body.

        Interim responses are skipped. A body ends by Content-Length, chunked coding or the end of
        stream (RFC 9112 section 6.3), or is cut at ``Config.max_body_size``; one that breaks its
        coding ends there. Raises ``HandshakeError`` if what came is no HTTP response or is too big.
        """
        if self._refusal is not None:
            return self._feed_body_untrusted(self._refusal, bytes(data))
        lines = self._lines
        lines.buffer += data
        try:
            return self._read_heads_untrusted()
        except Refusal as fault:
            raise HandshakeError(f"the {self._who}'s response is not valid: {fault.why}") from None

    def eof(self) -> Response | None:
        """Take the end of stream: it ends a body. Returns ``None`` if no response is complete."""
        return None if self._refusal is None else self._finish(self._refusal)

    def _read_heads_untrusted(self) -> Response | None:
        lines = self._lines
        while True:
            if lines.count == 0:
                begin = lines.beginning
                if not _STATUS_LINE_START.startswith(begin):
                    raise Refusal(400, _not_http(begin))
            line = lines.next_line_untrusted()
            if line is None:
                return None
            if lines.count == 1:
                if _STATUS_LINE.fullmatch(line) is None:
                    raise Refusal(
                        400,
                        "expected a status line such as 'HTTP/1.1 101 Switching Protocols', "
                        f"got {shown_untrusted(line)}",
                    )
            elif not line:
                head = self._parse_head_untrusted()
                if head is None:
                    continue
                if isinstance(head, h11.InformationalResponse) or (
                    self._tunnel and head.status_code < 300
                ):
                    self.tail = lines.take_tail()
                    return _decode_response(head, b"")
                self._refusal = head
                return self._feed_body_untrusted(head, lines.take_tail())
            elif line[0] in b" \t" and lines.count > 2:
                # A folded line belongs to the one before it (RFC 9112 section 5.2); h11 joins them.
                lines.check_count_untrusted()
            else:
                lines.check_field_untrusted(line)

    def _parse_head_untrusted(self) -> h11.InformationalResponse | h11.Response | None:
        """Return the head that is complete now, or ``None`` if it was interim."""
        self._parser.receive_data(self._lines.take_head())
        try:
            head = cast("h11.InformationalResponse | h11.Response", self._parser.next_event())
        except h11.RemoteProtocolError as error:
            raise Refusal(400, f"expected a valid HTTP/1.1 response, got: {error}") from None
        if isinstance(head, h11.InformationalResponse) and head.status_code != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise Refusal(
                    400, f"expected at most {MAX_INTERIM_RESPONSES} interim responses, got more"
                )
            return None
        return head

    def _feed_body_untrusted(self, head: h11.Response, data: bytes) -> Response | None:
        data = data[: self._budget]
        self._budget -= len(data)
        if data:
            self._parser.receive_data(data)
        limit = self._config.max_body_size
        try:
            while len(self._body) < limit:
                event = self._parser.next_event()
                if not isinstance(event, h11.Data):
                    if isinstance(event, h11.EndOfMessage) or self._budget == 0:
                        break
                    return None
                self._body += event.data
        except h11.RemoteProtocolError:
            # The status is what matters; a body that breaks its coding just ends here.
            pass
        return self._finish(head)

    def _finish(self, head: h11.Response) -> Response:
        return _decode_response(head, bytes(self._body[: self._config.max_body_size]))


def write_request(head: RequestHead) -> bytes:
    """Return the bytes of a request made by ``handshake.build_request``, which has checked it."""
    lines = [f"{head.method} {head.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in head.headers.raw]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def write_response(response: Response) -> bytes:
    """Return the bytes of a response.

    A 101 goes out as it is. Any other gets ``Connection`` and, if its status may have a body,
    ``Content-Length``: one connection carries one response, so it always says ``close``. Names and
    values must have been checked (``handshake.py`` does) and hold neither of these two.
    """
    reason = response.reason or _REASONS.get(response.status, "")
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.raw]
    if response.status != 101:
        # Upgrade, in a 426, is hop-by-hop and must be named (RFC 9110 section 7.8).
        upgrade = "Upgrade, " if "Upgrade" in response.headers else ""
        lines.append(f"Connection: {upgrade}close")
        if response.status not in (204, 304):
            lines.append(f"Content-Length: {len(response.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + response.body


_CR: Final = 0x0D
_LF: Final = 0x0A
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REASONS: Final = {int(status): status.phrase for status in HTTPStatus}

# No pattern repeats within a repetition: each is linear in the length of its line.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FIELD_NAME: Final = re.compile(_TOKEN + rb":")
_BODY_FIELD: Final = re.compile(rb"(?i:(content-length)|transfer-encoding):")
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") [!-~]+ HTTP/([0-9])\.[0-9]")
_STARTS_REQUEST: Final = re.compile(_TOKEN + rb"|\r")
_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9]\.[0-9] [0-9]{3}(?: .*)?")
_STATUS_LINE_START: Final = b"HTTP/"

_CONTROLS: Final = bytes(byte for byte in (*range(0x20), 0x7F) if byte != 0x09)
_ORDINARY_START: Final = re.compile(r"GET ([!-~]+) HTTP/1\.1\r\n")
_TOKEN_CHARS: Final = "".join(sorted(TOKEN_CHARS)).encode("ascii")


def _check_first_byte_untrusted(lines: _Lines) -> None:
    """Refuse TLS, frames and other strangers at once: they may never send a line end."""
    first = lines.beginning[:1]
    if first and _STARTS_REQUEST.match(first) is None:
        raise Refusal(400, f"expected an HTTP request, got {shown_untrusted(first)} first")


def _check_request_line_untrusted(line: bytearray) -> None:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refusal(
            400,
            "expected a request line such as 'GET /chat HTTP/1.1', of three parts with one space "
            f"between and a target in ASCII, got {shown_untrusted(line)}",
        )
    if match.group(2) != b"1":
        raise Refusal(505, f"expected HTTP/1.1, got {shown_untrusted(line[-8:])}")
    # Before any header: a body is to be expected of another method, and is not its fault.
    if match.group(1) != b"GET":
        raise wrong_method(match.group(1).decode("ascii"))


def _not_http(begin: bytes) -> str:
    """Say what came instead of ``HTTP/``: up to the first wrong byte, however much is there."""
    right = 0
    while begin[right] == _STATUS_LINE_START[right]:
        right += 1
    return f"expected a line that starts with 'HTTP/', got {shown_untrusted(begin[: right + 1])}"


def _new_client_parser(config: Config, asked: h11.Request) -> h11.Connection:
    """Return an h11 connection that has sent ``asked`` and waits for the response."""
    size = config.max_head_size + config.max_body_size  # the scanner and the budget are the limits
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=size + 1)
    parser.send(asked)
    parser.send(_ASKED_ALL)
    return parser


_ASKED: Final = h11.Request(
    method="GET",
    target="/",
    headers=[("Host", "h"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
)
_ASKED_TUNNEL: Final = h11.Request(method="CONNECT", target="h:1", headers=[("Host", "h:1")])
_ASKED_ALL: Final = h11.EndOfMessage()


def _decode_response(head: h11.InformationalResponse | h11.Response, body: bytes) -> Response:
    return Response(
        head.status_code,
        _decode_fields(head.headers.raw_items()),
        body,
        head.reason.decode("latin-1"),
        head.http_version.decode("ascii"),
    )


def _decode_fields(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers([(name.decode("ascii"), value.decode("latin-1")) for name, value in fields])
