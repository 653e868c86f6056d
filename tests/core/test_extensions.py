"""The grammar of ``Sec-WebSocket-Extensions``, and the shape of what an extension agrees to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.enums import Role
from wsproto_core.events import Offer
from wsproto_core.extensions import Agreed, format_extensions, parse_extensions

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789azAZ", min_size=1, max_size=8)
OFFERS = st.lists(
    st.builds(
        Offer,
        TOKEN,
        st.lists(st.tuples(TOKEN, st.none() | TOKEN), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize(
    ("values", "offers"),
    [
        (["a"], [Offer("a")]),
        (["a, b"], [Offer("a"), Offer("b")]),
        (["a", "b;c", ""], [Offer("a"), Offer("b", (("c", None),))]),
        (["a; b=1; c; b=2"], [Offer("a", (("b", "1"), ("c", None), ("b", "2")))]),
        (['a; b="1"'], [Offer("a", (("b", "1"),))]),
        (['a; b="\\1\\0"'], [Offer("a", (("b", "10"),))]),
        ([",\t, a ;\tb\t=\t1 ,, "], [Offer("a", (("b", "1"),))]),
    ],
)
def test_lists(values: list[str], offers: list[Offer]) -> None:
    assert parse_extensions(values) == tuple(offers)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "at least one extension name, got an empty list"),
        (" , ,", "at least one"),
        (";a", "an extension name at position 0, got ';a'"),
        ("a b", "',' or ';' at position 2, got 'b'"),
        ("a;", "a parameter name at position 2, got the end"),
        ("a; b=", "a parameter value at position 5, got the end"),
        ("a; b=c d", "',' or ';' at position 7, got 'd'"),
        ("a; b=(c)", "a parameter value at position 5"),
        ('a; b="c', "a token and the closing quote at position 7, got the end"),
        ('a; b="c\\', "closing quote at position 8, got the end"),
        ('a; b="c d"', "closing quote at position 7, got ' d"),
        ('a; b="c\\"d"', "closing quote"),
        ('a; b=""', "a token inside the quotes"),
        ("a\0", "',' or ';' at position 1"),
        ("\0", "an extension name at position 0"),
        ("é", "an extension name at position 0, got '.xe9'"),
        ("a" + " é" * 5000, "position 2"),
    ],
)
def test_errors_say_what_was_expected(value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_extensions([value])
    assert len(str(caught.value)) < 250
    assert str(caught.value).isascii()


@given(OFFERS)
def test_what_is_written_is_read_back(offers: list[Offer]) -> None:
    text = format_extensions(offers)
    assert parse_extensions([text]) == tuple(offers)
    assert format_extensions([(offer.name, offer.parameters) for offer in offers]) == text


@given(st.text(alphabet=st.sampled_from('ab;=," \\\t\0é'), max_size=30))
def test_any_text_is_a_list_or_a_value_error(text: str) -> None:
    try:
        offers = parse_extensions([text])
    except ValueError:
        return
    assert parse_extensions([format_extensions(offers)]) == offers


def test_an_agreement_makes_the_codec_for_a_role() -> None:
    made: list[Role] = []

    def codec(role: Role) -> None:
        made.append(role)

    Agreed((("a", None),), codec).codec(Role.SERVER)  # type: ignore[arg-type]
    assert made == [Role.SERVER]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ('a; b=""', "inside the quotes at position 6, got '\"'"),
        ("a;b;c=", "a parameter value at position 6, got the end of the value"),
        ("a, b, ;c", "an extension name at position 6, got ';c'"),
        ("a; b = =" + "x" * 100, "value at position 7, got '=" + "x" * 39 + "'"),
    ],
)
def test_errors_say_where_they_are_and_show_40_characters(value: str, where: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_extensions([value])
    assert str(caught.value).endswith(where)
