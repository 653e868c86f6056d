"""The events: values that compare, print and do not change."""

import dataclasses

import pytest

from wsproto_core import (
    Agreement,
    Chunk,
    Close,
    Closed,
    Event,
    ExtensionNegotiated,
    Headers,
    HttpRequest,
    Message,
    Offer,
    OpCode,
    Opened,
    Ping,
    Pong,
    Refused,
    Request,
    Response,
)


def examples() -> list[Event]:
    headers = Headers([("Host", "h")])
    return [
        Request("/", headers, "h", None, (), ()),
        HttpRequest("/", headers, "h", Response(426)),
        Refused(Response(404)),
        ExtensionNegotiated("x", (("a", None),), 0x40),
        Opened(Agreement(), Response(101)),
        Message("text", OpCode.TEXT),
        Chunk(b"part", OpCode.BINARY, True, False),
        Ping(b"p"),
        Pong(b"p", 0.5),
        Close(1000, "bye"),
        Closed(1006, "", False, None, None, None),
    ]


@pytest.mark.parametrize("event", examples(), ids=lambda event: type(event).__name__)
def test_events_are_values(event: Event) -> None:
    twin = examples()[[type(one) for one in examples()].index(type(event))]
    assert event == twin
    assert event is not twin
    assert all(event != other for other in examples() if type(other) is not type(event))
    assert repr(event).startswith(type(event).__name__ + "(")
    assert not hasattr(event, "__dict__")
    with pytest.raises((AttributeError, TypeError)):  # CPython's choice for frozen slots
        event.anything = 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "event",
    [event for event in examples() if not isinstance(event, (Message, Chunk))],
    ids=lambda event: type(event).__name__,
)
def test_all_but_the_hot_ones_are_frozen(event: Event) -> None:
    assert dataclasses.is_dataclass(event)
    name = dataclasses.fields(event)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)
    hash(event)


def test_text_and_binary_differ() -> None:
    assert Message("a", OpCode.TEXT) != Message(b"a", OpCode.BINARY)
    assert Message(b"a", OpCode.TEXT) != Message(b"a", OpCode.BINARY)


def test_defaults() -> None:
    assert Close(1000) == Close(1000, "")
    assert Agreement() == Agreement(None, ())


@pytest.mark.parametrize(
    ("offer", "text"),
    [
        (Offer("x"), "x"),
        (Offer("x", (("a", None), ("b", "10"))), "x; a; b=10"),
    ],
)
def test_an_offer_as_text(offer: Offer, text: str) -> None:
    assert str(offer) == text
