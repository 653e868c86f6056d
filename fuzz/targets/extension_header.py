"""The value of ``Sec-WebSocket-Extensions``, and what permessage-deflate makes of it.

Invariant: a value is read, or refused with ``ValueError``; what was read is written and read again
as the same; ``websockets`` reads it as the same. A server answers offers without an error, a client
that made those offers takes the answer, and both then use the same parameters: what one encodes the
other decodes. A client takes or refuses an answer with ``ExtensionError``.

Allowed exceptions: ``ValueError`` of ``parse_extensions``, ``ExtensionError`` of ``confirm``.

The first byte chooses settings; the value begins at the second, lines end in LF.
"""

from collections.abc import Hashable
from typing import Final

from wsproto_core import ExtensionError, Offer, Role
from wsproto_core.extensions import (
    Agreed,
    PerMessageDeflate,
    format_extensions,
    parse_extensions,
)
from wsproto_core.handshake import MAX_OFFERS, negotiate

from ..harness import one_in, require
from ..peers import have

__all__ = ["MEMORY", "SEEDS", "STEPS", "TOKENS", "check"]

_SETTINGS: Final = (
    PerMessageDeflate(),
    PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True),
    PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=15),
    PerMessageDeflate(server_max_window_bits=15),
)
_VALUES: Final = (
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits",
    b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
    b'permessage-deflate; server_max_window_bits="12"; server_no_context_takeover',
    b"permessage-deflate; client_no_context_takeover; client_max_window_bits, permessage-deflate",
    b"x-a, x-b; c; d=e, permessage-deflate;server_max_window_bits=8",
    b'a\npermessage-deflate; client_max_window_bits=8\n,,b;\tc = "d\\e" ,',
)
SEEDS: Final = tuple(bytes([options]) + value for value in _VALUES for options in range(4))
TOKENS: Final = (
    b"permessage-deflate", b"; ", b", ", b"=", b'"', b"\\", b"\t", b"\n", b"\x00", b"\xe9",
    b"server_no_context_takeover", b"client_no_context_takeover", b"server_max_window_bits=",
    b"client_max_window_bits", b"=8", b"=15", b"=16", b"=08", b"=+9", b'="9"', b"x=y", b";;", b",,",
)  # fmt: skip
STEPS: Final = (2_000, 20)
MEMORY: Final = (800_000, 600)

_TEXT: Final = b"the quick brown fox jumps over the lazy dog; the quick brown fox again"


def check(data: bytes) -> Hashable:
    """Raise ``Finding`` if the invariant does not hold."""
    settings = _SETTINGS[data[0] & 3 if data else 0]
    lines = data[1:].decode("latin-1").split("\n")
    try:
        offers = parse_extensions(lines)
    except ValueError as error:
        if one_in(data, 8) and have("websockets"):
            _nobody_reads(lines, str(error))
        return str(error)[:24]
    require(parse_extensions([format_extensions(offers)]) == offers, "not the same again", offers)
    if have("websockets") and one_in(data, 4):
        _websockets_reads(lines, offers)
    negotiated, agreed = negotiate(offers, (settings,))
    require(len(negotiated) == len(agreed) <= 1, "more than was asked for", negotiated)
    outcome: list[Hashable] = [len(offers) > MAX_OFFERS]
    for item, agreement in zip(negotiated, agreed, strict=True):
        outcome.append(item.parameters)
        # Who made these offers must be able to take the answer.
        made = [
            offer.parameters
            for offer in offers
            if offer.name == settings.name and settings.accept(offer.parameters) is not None
        ]
        answer = parse_extensions([format_extensions([(item.name, item.parameters)])])[0]
        _check_codecs(_confirmed(settings, made, answer), agreement)
    for offer in offers:
        if offer.name == settings.name:
            # The same words as an answer of a server to our own offers.
            try:
                confirmed = settings.confirm(settings.offers(), offer.parameters)
            except ExtensionError as error:
                outcome.append(str(error)[:24])
            else:
                outcome.append("confirmed")
                confirmed.codec(Role.CLIENT)
    return tuple(outcome[:6])


def _confirmed(
    settings: PerMessageDeflate, offers: list[tuple[tuple[str, str | None], ...]], answer: Offer
) -> Agreed:
    """The answer as a client sees it that takes whatever its offers allow."""
    fresh = dict(answer.parameters)
    lenient = PerMessageDeflate(
        client_no_context_takeover="client_no_context_takeover" in fresh
        and settings.client_no_context_takeover
    )
    return lenient.confirm(offers, answer.parameters)


def _check_codecs(client: Agreed, server: Agreed) -> None:
    """Two messages each way, compressed, through both codecs."""
    ours, theirs = client.codec(Role.CLIENT), server.codec(Role.SERVER)
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        for _ in range(2):
            payload, rsv = sender.encode(1, _TEXT, True, True, True)
            got = b"".join(receiver.decode(payload, rsv, True, True, 1000))
            require(got == _TEXT, "the two sides do not understand each other", client, server)


def _websockets_reads(lines: list[str], offers: tuple[Offer, ...]) -> None:
    """(E1) it wants no empty list element at the end of a line, and reads escapes in quotes
    otherwise; (E2) it refuses what we refuse, or more."""
    from websockets.exceptions import InvalidHeaderFormat
    from websockets.headers import parse_extension

    found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
    try:
        for line in lines:
            if line.strip(" \t,"):
                found += [(name, tuple(params)) for name, params in parse_extension(line)]
    except InvalidHeaderFormat:
        require(
            any(mark in line for line in lines for mark in (",", "\t", '"', " ")),
            "websockets refuses extensions that we read",
            lines,
        )
        return
    ours = [(offer.name, offer.parameters) for offer in offers]
    require(found == ours or "\\" in "".join(lines), "extensions read otherwise", lines, found)


def _nobody_reads(lines: list[str], why: str) -> None:
    """(E3) quoted values must be tokens (6455 9.1), which others may forget."""
    from websockets.exceptions import InvalidHeaderFormat
    from websockets.headers import parse_extension

    try:
        count = sum(len(parse_extension(line)) for line in lines if line.strip(" \t,"))
    except InvalidHeaderFormat:
        return
    require(not count or '"' in "".join(lines), "websockets reads what we refuse", lines, why)
