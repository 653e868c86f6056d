# cython: annotation_typing=False
"""The opening handshake: what heads mean, for both roles (RFC 6455 sections 4 and 9.1).

Pure functions over heads. They know nothing of bytes, of connections or of time, so that HTTP/2 and
HTTP/3 (extended CONNECT, RFC 8441 and RFC 9220) and other people's HTTP servers use the same ones:
a ``RequestHead`` whose ``version`` is ``"2"`` or ``"3"`` is an extended CONNECT, its ``:authority``
given as a Host field. Tests: ``tests/core/test_handshake.py``, and section by section
``tests/core/test_conformance_handshake.py``.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import Final

from .config import Config
from .errors import HandshakeError, LocalProtocolError, ProtocolError
from .events import Agreement, ExtensionNegotiated, HttpRequest, Offer, Request
from .extensions.base import Agreed, Extension, Params, format_extensions, parse_extensions
from .headers import TOKEN_CHARS, Headers, HeadersLike, RequestHead, Response
from .http11 import CONTINUE, Refusal, shown_untrusted, wrong_method
from .uri import DEFAULT_PORTS, Uri, split_host_untrusted

__all__ = [
    "MAGIC_STRING",
    "MAX_OFFERS",
    "VERSION",
    "accept_key",
    "answer_request",
    "build_request",
    "check_origin",
    "check_rejection",
    "check_request",
    "check_response",
    "choose_subprotocol",
    "interim_response",
    "negotiate",
    "new_key",
]

MAGIC_STRING: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The GUID that only a WebSocket server appends to the key (RFC 6455 section 1.3)."""

VERSION: Final = "13"
"""The only version of the protocol that is a standard (RFC 6455 section 4.1)."""

MAX_OFFERS: Final = 16
"""How many extension offers a server considers; browsers make one, others two or three."""

_PLAIN: Final = Agreement()  # one for all the connections that agreed on nothing


def new_key(random: Callable[[int], bytes]) -> str:
    """Return a new ``Sec-WebSocket-Key``: 16 bytes drawn from ``random``, in base64."""
    return b64encode(random(16)).decode("ascii")


def accept_key(key: str, magic: str = MAGIC_STRING) -> str:
    """Return the ``Sec-WebSocket-Accept`` that answers ``key`` (RFC 6455 section 4.2.2, item 5.4).

    The text of the key counts as it was sent; it is not decoded. ``magic`` is the GUID of the RFC.
    """
    digest = sha1((key + magic).encode("ascii"), usedforsecurity=False).digest()
    return b64encode(digest).decode("ascii")


# ----------------------------------------------------------------------------- client: asking


def build_request(
    uri: Uri, config: Config, key: str | None, headers: HeadersLike = ()
) -> RequestHead:
    """Return the request for ``uri`` (RFC 6455 section 4.1).

    ``key`` comes from ``new_key``; ``None`` makes the fields of an extended CONNECT instead, whose
    pseudo-fields are the HTTP/2 library's business (RFC 8441 section 5). ``headers`` follow our own
    fields in their order; a Host among them replaces ours, an Authorization the URI's user
    information. Raises ``LocalProtocolError`` for what may not stand in a request.
    """
    extra = _check_fields(headers, _RESERVED_IN_REQUEST, "request")
    for name in ("host", "origin"):
        if sum(field.lower() == name for field, _ in extra) > 1:
            raise LocalProtocolError(f"expected at most one {name.title()} field, got several")
    if _TARGET.fullmatch(uri.target) is None:
        raise LocalProtocolError(
            "expected a target that starts with '/' and holds visible ASCII without '#', "
            f"got {shown_untrusted(uri.target)}"
        )
    given = {name.lower(): value for name, value in extra}
    host = given.get("host", uri.host_header)
    try:
        split_host_untrusted(host)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from None

    fields: list[tuple[str, str]] = []
    if key is not None:
        fields += [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
        ]
    fields.append(("Sec-WebSocket-Version", VERSION))
    if config.subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(config.subprotocols)))
    offers = [(item.name, params) for item in config.extensions for params in item.offers()]
    if offers:
        offered = format_extensions(offers)
        _check_value("Sec-WebSocket-Extensions", offered)
        fields.append(("Sec-WebSocket-Extensions", offered))
    if uri.user is not None and "authorization" not in given:
        credentials = f"{uri.user}:{uri.password or ''}".encode()
        fields.append(("Authorization", f"Basic {b64encode(credentials).decode('ascii')}"))
    fields += [field for field in extra if field[0].lower() != "host"]
    if key is None:
        lowered = [(name.lower(), value) for name, value in fields]
        return RequestHead("CONNECT", uri.target, Headers(lowered), version="2")
    return RequestHead("GET", uri.target, Headers(fields))


# ----------------------------------------------------------------------------- server: judging


def check_request(head: RequestHead, config: Config) -> Request | HttpRequest:
    """Check a request against RFC 6455 section 4.2.1; policy such as origins comes later.

    Gives an ``HttpRequest`` for one that asks for no upgrade, if ``Config.plain_http`` wants that.
    Raises ``Refusal``: the client's fault.
    """
    extended = head.version in ("2", "3")
    if head.method != ("CONNECT" if extended else "GET"):
        raise wrong_method(head.method)
    if head.version == "1.0":
        raise Refusal(
            400, "expected HTTP/1.1, got HTTP/1.0, which knows no upgrade (RFC 9110 section 7.8)"
        )
    fields = _by_name(head.headers)
    target, host = _check_target_untrusted(head.target, fields.get("host", []))
    if not extended:
        refusal = _check_upgrade_untrusted(fields)
        if refusal is not None:
            if config.plain_http:
                return HttpRequest(target, head.headers, host, refusal.response())
            raise refusal
    _check_version_untrusted(fields.get("sec-websocket-version", []), extended)
    if not extended:
        _check_key_untrusted(fields.get("sec-websocket-key", []))
        _check_expect_untrusted(fields.get("expect", []))
    origins = fields.get("origin", [])
    if len(origins) > 1:
        raise Refusal(400, f"expected at most one Origin line, got {len(origins)}")
    return Request(
        target=target,
        headers=head.headers,
        host=host,
        origin=origins[0] if origins else None,
        subprotocols=_parse_subprotocols_untrusted(fields.get("sec-websocket-protocol", [])),
        offers=_parse_offers_untrusted(fields.get("sec-websocket-extensions", [])),
    )


def check_origin(request: Request, config: Config) -> None:
    """Apply ``Config.origins`` (RFC 6455 sections 4.2.2 item 4, and 10.2).

    Browsers always send Origin, so this is what keeps a foreign page from using the cookies of its
    visitor. ``None`` takes the same host and port as in Host, or no Origin. A list takes the values
    in it: ``"*"`` stands for any and for none, an empty string for a request without Origin.
    Raises ``Refusal`` with status 403.
    """
    allowed = config.origins
    origin = request.origin
    if allowed is None:
        if origin is None or _is_same_origin_untrusted(origin, request.host):
            return
    elif "*" in allowed or (origin or "") in allowed:
        return
    if origin is None:
        raise Refusal(403, "expected an Origin that this server allows, got none")
    raise Refusal(403, f"expected an Origin that this server allows, got {shown_untrusted(origin)}")


def choose_subprotocol(request: Request, config: Config) -> str | None:
    """Return the first of ``Config.subprotocols`` that the client offered, or ``None``."""
    for name in config.subprotocols:
        if name in request.subprotocols:
            return name
    return None


def negotiate(
    offers: Iterable[Offer], extensions: Sequence[Extension]
) -> tuple[tuple[ExtensionNegotiated, ...], list[Agreed]]:
    """Server: agree on extensions (RFC 6455 section 9.1, RFC 7692 section 5).

    Offers are tried in the client's order, the first ``MAX_OFFERS`` of them. Each extension is used
    once, and not beside one that claims the same header bits. Returns what was agreed, in the order
    of the response, and for each the way to its codec.
    """
    negotiated: list[ExtensionNegotiated] = []
    agreed: list[Agreed] = []
    names: set[str] = set()
    bits = 0
    for _, offer in zip(range(MAX_OFFERS), offers, strict=False):
        for extension in extensions:
            if extension.name != offer.name or offer.name in names or extension.rsv & bits:
                continue
            outcome = extension.accept(offer.parameters)
            if outcome is not None:
                names.add(offer.name)
                bits |= extension.rsv
                negotiated.append(
                    ExtensionNegotiated(extension.name, outcome.parameters, extension.rsv)
                )
                agreed.append(outcome)
    return tuple(negotiated), agreed


# ----------------------------------------------------------------------------- server: answering


def interim_response(request: Request) -> bytes:
    """Return what must go out before a 101: a 100 if the client expects one, else nothing.

    RFC 9110 section 7.8 asks for this order. A refusal needs no 100 before it.
    """
    return CONTINUE if "Expect" in request.headers else b""


def answer_request(
    request: Request,
    config: Config,
    subprotocol: str | None,
    headers: HeadersLike = (),
    *,
    extended: bool = False,
) -> tuple[Response, Agreement, list[Agreed]]:
    """Return the 101 that accepts ``request``, and what it settles (RFC 6455 section 4.2.2).

    ``extended`` answers an extended CONNECT with a 200 instead (RFC 8441 section 5). The list has
    the way to the codec of each extension in the agreement. Raises ``LocalProtocolError`` for a
    subprotocol that was not offered and for headers that are not the caller's to set.
    """
    if subprotocol is not None and subprotocol not in request.subprotocols:
        raise LocalProtocolError(
            f"expected a subprotocol that the client offered (it offered "
            f"{shown_untrusted(', '.join(request.subprotocols))}), got {subprotocol!a}"
        )
    extra = _check_fields(headers, _RESERVED_IN_RESPONSE, "response")
    negotiated, agreed = negotiate(request.offers, config.extensions)
    fields: list[tuple[str, str]] = []
    if not extended:
        key = request.headers["Sec-WebSocket-Key"]
        fields += [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(key)),
        ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    if negotiated:
        chosen = format_extensions((item.name, item.parameters) for item in negotiated)
        _check_value("Sec-WebSocket-Extensions", chosen)
        fields.append(("Sec-WebSocket-Extensions", chosen))
    fields += extra
    plain = subprotocol is None and not negotiated
    agreement = _PLAIN if plain else Agreement(subprotocol, negotiated)
    if extended:
        lowered = [(name.lower(), value) for name, value in fields]
        return Response(200, Headers(lowered), version="2"), agreement, agreed
    return Response(101, Headers(fields)), agreement, agreed


def check_rejection(response: Response, *, plain: bool) -> None:
    """Check a response with which the application refuses a request.

    With ``plain`` (the answer to an ``HttpRequest``) success is allowed too. Raises
    ``LocalProtocolError`` for any other status that is no refusal, for a body where the status has
    none, and for headers that are not the caller's to set.
    """
    least = 200 if plain else 300
    status: object = response.status
    body: object = response.body
    if not isinstance(status, int) or isinstance(status, bool) or not least <= status <= 599:
        raise LocalProtocolError(f"expected a status from {least} to 599, got {status!a}")
    if not isinstance(body, bytes):
        raise LocalProtocolError(f"expected a body of bytes, got {type(body).__name__}")
    if body and status in (204, 205, 304):
        raise LocalProtocolError(f"expected no body with status {status} (RFC 9110 section 15)")
    _check_value("the reason phrase", response.reason)
    _check_fields(response.headers, _RESERVED_IN_REJECTION, "response")


# ----------------------------------------------------------------------------- client: judging


def check_response(
    sent: RequestHead, response: Response, config: Config
) -> tuple[Agreement, list[Agreed]]:
    """Check the answer to ``sent`` (RFC 6455 section 4.1, the six conditions at its end).

    Returns what was settled, and the way to the codec of each extension. Raises ``HandshakeError``
    with the response: the server's fault, or its wish not to open a WebSocket.
    """
    try:
        return _check_response_untrusted(sent, response, config)
    except ValueError as error:
        raise HandshakeError(str(error), response) from None
    except ProtocolError as error:
        raise HandshakeError(
            f"the server's extensions do not fit our offer: {error}", response
        ) from error


def _check_response_untrusted(
    sent: RequestHead, response: Response, config: Config
) -> tuple[Agreement, list[Agreed]]:
    fields = _by_name(response.headers)
    if sent.method == "CONNECT":
        if not 200 <= response.status <= 299:
            raise ValueError(f"expected a 2xx status, got {response.status}")
    else:
        if response.status != 101:
            raise ValueError(f"expected status 101, got {response.status}")
        if response.version != "1.1":
            raise ValueError(f"expected a 101 in HTTP/1.1, got HTTP/{response.version}")
        upgrade = _only_one(fields, "Upgrade")
        if _lower(upgrade) != "websocket":
            raise ValueError(f"expected Upgrade: websocket, got {shown_untrusted(upgrade)}")
        connection = fields.get("connection", [])
        if "upgrade" not in _options_untrusted(connection):
            raise ValueError(
                f"expected the token Upgrade in Connection, got {_shown_lines(connection)}"
            )
        expected = accept_key(sent.headers["Sec-WebSocket-Key"])
        accept = _only_one(fields, "Sec-WebSocket-Accept")
        if accept != expected:
            raise ValueError(
                f"expected Sec-WebSocket-Accept: {expected}, got {shown_untrusted(accept)}"
            )
    subprotocol: str | None = None
    if "sec-websocket-protocol" in fields:
        subprotocol = _only_one(fields, "Sec-WebSocket-Protocol")
        if subprotocol not in config.subprotocols:
            raise ValueError(
                f"expected one of the offered subprotocols or none, "
                f"got {shown_untrusted(subprotocol)}"
            )
    negotiated: tuple[ExtensionNegotiated, ...] = ()
    agreed: list[Agreed] = []
    if "sec-websocket-extensions" in fields:
        answers = parse_extensions(fields["sec-websocket-extensions"])
        negotiated, agreed = _confirm_untrusted(answers, config.extensions)
    return Agreement(subprotocol, negotiated), agreed


def _confirm_untrusted(
    answers: Iterable[Offer], extensions: Sequence[Extension]
) -> tuple[tuple[ExtensionNegotiated, ...], list[Agreed]]:
    """Check that each extension in the answer was offered, and only once, and what it agreed to."""
    negotiated: list[ExtensionNegotiated] = []
    agreed: list[Agreed] = []
    names: set[str] = set()
    bits = 0
    for answer in answers:
        candidates = [item for item in extensions if item.name == answer.name]
        if not candidates:
            raise ValueError(
                f"expected only extensions that were offered, got {shown_untrusted(answer.name)}"
            )
        if answer.name in names:
            raise ValueError(f"expected each extension once, got {answer.name!a} twice")
        names.add(answer.name)
        extension, outcome = _confirm_one_untrusted(candidates, answer.parameters)
        if extension.rsv & bits:
            raise ValueError(
                f"expected extensions that use different header bits, got {answer.name!a} as well"
            )
        bits |= extension.rsv
        negotiated.append(ExtensionNegotiated(extension.name, outcome.parameters, extension.rsv))
        agreed.append(outcome)
    return tuple(negotiated), agreed


def _confirm_one_untrusted(
    candidates: Sequence[Extension], answer: Params
) -> tuple[Extension, Agreed]:
    """Return the first setting of an extension that the answer fits, or raise the last's error."""
    *others, last = candidates
    for extension in others:
        try:
            return extension, extension.confirm(extension.offers(), answer)
        except ProtocolError:
            continue
    return last, last.confirm(last.offers(), answer)


# ----------------------------------------------------------------------------- what requests say

# A target as a request line may have it; what is percent-encoded is the application's to decode.
_TARGET: Final = re.compile(r"/[!-\"$-~]*")
_ABSOLUTE_TARGET: Final = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)([!-\"$-~]*)")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
_VERSION_NUMBER: Final = re.compile(r"0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5]")
_ORIGIN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)")

_OUR_VERSION: Final = ("Sec-WebSocket-Version", VERSION)
_OUR_UPGRADE: Final = ("Upgrade", "websocket")


def _by_name(headers: Headers) -> dict[str, list[str]]:
    """Sort the lines by lower-case name, once for all look-ups."""
    fields: dict[str, list[str]] = {}
    for name, value in headers.raw:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _lower(text: str) -> str:
    """Lower case for ASCII only: U+212A (Kelvin) and the like must not become letters of tokens."""
    return text.lower() if text.isascii() else text


def _elements_untrusted(lines: Iterable[str]) -> list[str]:
    """Split a list of tokens over several lines; empty elements are skipped (RFC 9110 5.6.1)."""
    elements = [item.strip(" \t") for line in lines for item in line.split(",")]
    return [item for item in elements if item]


def _options_untrusted(lines: Iterable[str]) -> set[str]:
    return {_lower(item) for item in _elements_untrusted(lines)}


def _shown_lines(lines: Sequence[str]) -> str:
    """Show all lines of a field for an error; an absent one is called so."""
    return shown_untrusted(", ".join(lines)) if lines else "none"


def _check_target_untrusted(target: str, hosts: Sequence[str]) -> tuple[str, str]:
    """Return the resource and the authority that a request asks for (RFC 9112 section 3.2)."""
    if len(hosts) != 1:
        raise Refusal(400, f"expected one Host line, got {len(hosts)}")
    host = hosts[0]
    _check_host_untrusted(host)
    if _TARGET.fullmatch(target) is None:
        absolute = _ABSOLUTE_TARGET.fullmatch(target)
        if absolute is None:
            raise Refusal(
                400,
                "expected a target that is a path or an http or https URI without fragment, "
                f"got {shown_untrusted(target)}",
            )
        # The authority of an absolute target counts more than Host (RFC 9112 section 3.2.2).
        host, target = absolute.groups()
        _check_host_untrusted(host)
        if not target.startswith("/"):
            target = f"/{target}"
    if "%00" in target:
        raise Refusal(
            400, f"expected a target without an encoded NUL, got {shown_untrusted(target)}"
        )
    return target, host


def _check_host_untrusted(host: str) -> None:
    try:
        split_host_untrusted(host)
    except ValueError as error:
        raise Refusal(400, f"{error} in Host or the target") from None


def _check_upgrade_untrusted(fields: dict[str, list[str]]) -> Refusal | None:
    """Return the 426 for a request that does not ask to become a WebSocket (RFC 6455 4.2.1)."""
    upgrade = fields.get("upgrade", [])
    if "websocket" not in _options_untrusted(upgrade):
        why = f"expected Upgrade: websocket, got {_shown_lines(upgrade)}"
    else:
        connection = fields.get("connection", [])
        if "upgrade" in _options_untrusted(connection):
            return None
        why = f"expected the token Upgrade in Connection, got {_shown_lines(connection)}"
    return Refusal(426, why, [_OUR_UPGRADE, _OUR_VERSION])


def _check_version_untrusted(versions: Sequence[str], extended: bool) -> None:
    if len(versions) != 1:
        raise Refusal(
            400, f"expected one Sec-WebSocket-Version line, got {len(versions)}", [_OUR_VERSION]
        )
    version = versions[0]
    if version == VERSION:
        return
    why = f"expected Sec-WebSocket-Version: {VERSION}, got {shown_untrusted(version)}"
    if extended or _VERSION_NUMBER.fullmatch(version) is None:
        # HTTP/2 has no Upgrade, so no 426 either (RFC 8441 section 5).
        raise Refusal(400, why, [_OUR_VERSION])
    raise Refusal(426, why, [_OUR_UPGRADE, _OUR_VERSION])


def _check_key_untrusted(keys: Sequence[str]) -> None:
    if len(keys) != 1:
        raise Refusal(400, f"expected one Sec-WebSocket-Key line, got {len(keys)}")
    # The four unused bits of the last character may be set: the text is hashed, not decoded.
    if _KEY.fullmatch(keys[0]) is None:
        raise Refusal(
            400,
            "expected a Sec-WebSocket-Key that is the base64 of 16 bytes, "
            f"got {shown_untrusted(keys[0])}",
        )


def _check_expect_untrusted(lines: Sequence[str]) -> None:
    if lines and _options_untrusted(lines) != {"100-continue"}:
        raise Refusal(417, f"expected no Expect but 100-continue, got {_shown_lines(lines)}")


def _parse_subprotocols_untrusted(lines: Sequence[str]) -> tuple[str, ...]:
    """Read the subprotocols that a client offers, in its order (RFC 6455 section 11.3.4)."""
    if not lines:
        return ()
    names = _elements_untrusted(lines)
    if not names:
        raise Refusal(400, "expected a name in Sec-WebSocket-Protocol, got an empty list")
    for name in names:
        if not TOKEN_CHARS.issuperset(name):
            raise Refusal(
                400, f"expected tokens in Sec-WebSocket-Protocol, got {shown_untrusted(name)}"
            )
    if len(set(names)) != len(names):
        raise Refusal(
            400, f"expected each subprotocol once, got {shown_untrusted(', '.join(names))}"
        )
    return tuple(names)


def _parse_offers_untrusted(lines: Sequence[str]) -> tuple[Offer, ...]:
    if not lines:
        return ()
    try:
        return parse_extensions(lines)
    except ValueError as error:
        raise Refusal(400, f"{error} in Sec-WebSocket-Extensions") from None


def _is_same_origin_untrusted(origin: str, host: str) -> bool:
    """Whether an Origin names the host and port that were asked for.

    The schemes are not compared, for TLS may end at a proxy before us; the default port of the
    origin's scheme is taken off both sides instead.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    default = DEFAULT_PORTS.get(match.group(1).lower())
    try:
        sides = [split_host_untrusted(match.group(2)), split_host_untrusted(host)]
    except ValueError:
        return False
    ours, theirs = ((name.lower(), None if port == default else port) for name, port in sides)
    return ours == theirs


def _only_one(fields: dict[str, list[str]], name: str) -> str:
    """Return the value of a field that must stand on exactly one line of a response."""
    values = fields.get(name.lower(), [])
    if len(values) != 1:
        raise ValueError(f"expected one {name} line, got {len(values)}")
    return values[0]


# ----------------------------------------------------------------------------- what callers say

_OUR_PREFIX: Final = "sec-websocket-"
_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding"}
)
_RESERVED_IN_REQUEST: Final = _FRAMING | {"expect", "upgrade", _OUR_PREFIX}
_RESERVED_IN_RESPONSE: Final = _FRAMING | {"upgrade", _OUR_PREFIX}
_RESERVED_IN_REJECTION: Final = _FRAMING | {"sec-websocket-accept"}

# What we write is stricter than what we read: no tab, since nobody needs one in a value.
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")


def _check_value(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise LocalProtocolError(f"expected a str for {name}, got {type(value).__name__}")
    bad = _UNSENDABLE.search(value)
    if bad is not None:
        raise LocalProtocolError(
            f"expected characters U+0020 to U+00FF but no control characters in {name}, "
            f"got {bad.group()!a} at position {bad.start()}"
        )


def _check_name(name: object, reserved: frozenset[str], where: str) -> None:
    if not isinstance(name, str) or not name or not TOKEN_CHARS.issuperset(name):
        raise LocalProtocolError(
            "expected a header name that is a token (RFC 9110 section 5.1), "
            f"got {shown_untrusted(str(name))}"
        )
    lower = name.lower()
    if lower in reserved or lower[: len(_OUR_PREFIX)] in reserved:
        raise LocalProtocolError(
            f"expected only headers that are not part of the handshake itself, got {name!a}: "
            f"in this {where} it is the library's to set"
        )


def _check_fields(
    headers: HeadersLike, reserved: frozenset[str], where: str
) -> tuple[tuple[str, str], ...]:
    """Return header fields of the caller, each safe to write; ``reserved`` names are refused."""
    lines = Headers(headers).raw
    for name, value in lines:
        _check_name(name, reserved, where)
        _check_value(f"the header {name}", value)
    return lines
