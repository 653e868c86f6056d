"""``Config``: the defaults that the documents promise, and values that cannot be meant."""

import dataclasses
import math
from typing import Any

import pytest

from wsproto_core import Config
from wsproto_core.config import FIELD_NAMES
from wsproto_core.extensions.deflate import PerMessageDeflate

DEFAULTS = {
    "max_message_size": 16 * 1024 * 1024,
    "max_frame_size": 1024 * 1024,
    "read_high_water": 65_536,
    "write_high_water": 65_536,
    "open_timeout": 10.0,
    "close_timeout": 10.0,
    "send_timeout": 60.0,
    "ping_interval": 20.0,
    "pong_timeout": 10.0,
    "max_missed_pongs": 3,
    "max_backoff": 45.0,
    "receive_timeout": 120.0,
    "timeout_close_code": 1001,
    "max_head_size": 32 * 1024,
    "max_headers": 100,
    "concurrent_hooks": 1,
    "deliver": "messages",
    "text_as_bytes": False,
    "extensions": (),
    "subprotocols": (),
    "origins": None,
}


def make(**settings: Any) -> Config:
    """A ``Config`` of settings that no type checker has seen."""
    return Config(**settings)


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items(), ids=DEFAULTS)
def test_the_defaults_of_the_design(name: str, value: object) -> None:
    assert getattr(Config(), name) == value


def test_it_is_a_value() -> None:
    config = Config(max_message_size=5)
    assert config == Config(max_message_size=5)
    assert config != Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_message_size = 6  # type: ignore[misc]
    assert dataclasses.replace(config, max_frame_size=7) == Config(
        max_message_size=5, max_frame_size=7
    )
    assert set(FIELD_NAMES) == {field.name for field in dataclasses.fields(Config)}
    assert set(DEFAULTS) <= set(FIELD_NAMES)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_default_may_be_given(name: str) -> None:
    given: dict[str, Any] = {name: getattr(Config(), name)}
    assert make(**given) == Config()


SIZES = [
    "max_head_size",
    "max_line_size",
    "max_headers",
    "read_high_water",
    "write_high_water",
    "concurrent_hooks",
    "max_missed_pongs",
]


@pytest.mark.parametrize("name", [*SIZES, "max_message_size", "max_frame_size"])
def test_sizes_and_counts(name: str) -> None:
    assert getattr(make(**{name: 1}), name) == 1
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, not {value}"):
            make(**{name: value})
    for wrong in (1.0, "1", True, [1]):
        with pytest.raises(TypeError, match=f"{name} must be an integer"):
            make(**{name: wrong})


def test_a_body_may_be_of_no_interest() -> None:
    assert Config(max_body_size=0).max_body_size == 0
    with pytest.raises(ValueError, match="max_body_size"):
        Config(max_body_size=-1)


@pytest.mark.parametrize("name", SIZES)
def test_what_cannot_be_switched_off(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, not None"):
        make(**{name: None})


@pytest.mark.parametrize("name", ["max_message_size", "max_frame_size"])
def test_limits_that_can_be_switched_off(name: str) -> None:
    assert getattr(make(**{name: None}), name) is None


TIMES = ["open_timeout", "close_timeout", "send_timeout", "pong_timeout", "receive_timeout"]


@pytest.mark.parametrize("name", [*TIMES, "max_backoff", "ping_interval"])
def test_times(name: str) -> None:
    assert getattr(make(**{name: 0.5}), name) == 0.5
    assert getattr(make(**{name: 3}), name) == 3
    for value in (-1, -0.1, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be .*seconds"):
            make(**{name: value})
    for wrong in ("1", True, [1]):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds"):
            make(**{name: wrong})


@pytest.mark.parametrize("name", [*TIMES, "max_backoff"])
def test_a_time_of_zero_is_none_at_all(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds"):
        make(**{name: 0})


@pytest.mark.parametrize("name", [*TIMES, "ping_interval"])
def test_times_that_can_be_switched_off(name: str) -> None:
    assert getattr(make(**{name: None}), name) is None


def test_no_heartbeat_is_zero_or_none() -> None:
    assert Config(ping_interval=0).ping_interval == 0


def test_the_backoff_has_an_end() -> None:
    with pytest.raises(TypeError, match="max_backoff must be a number of seconds, not None"):
        Config(max_backoff=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_the_timeout_code_must_be_sendable(code: int) -> None:
    with pytest.raises(ValueError, match=f"timeout_close_code must be .* not {code}"):
        Config(timeout_close_code=code)


def test_the_timeout_code_may_be_any_sendable_one() -> None:
    for code in (1000, 1011, 4999):
        assert Config(timeout_close_code=code).timeout_close_code == code
    with pytest.raises(TypeError, match="timeout_close_code"):
        Config(timeout_close_code="1000")  # type: ignore[arg-type]


def test_deliver() -> None:
    assert Config(deliver="chunks").deliver == "chunks"
    with pytest.raises(ValueError, match="deliver must be 'messages' or 'chunks', not 'lines'"):
        Config(deliver="lines")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["subprotocols", "origins", "required_extensions"])
def test_lists_of_strings(name: str) -> None:
    given = ["a", "b"]
    extensions: dict[str, Any] = {name: given}
    config = make(**extensions)
    given.append("c")
    assert getattr(config, name) == ("a", "b")
    assert getattr(make(**{name: (item for item in "ab")}), name) == ("a", "b")
    for wrong in ("abc", [1], [b"a"], b"abc", 5, [None]):
        with pytest.raises(TypeError, match=f"{name} must be a sequence of strings"):
            make(**{name: wrong})


@pytest.mark.parametrize("name", ["subprotocols", "required_extensions"])
def test_no_list_is_an_empty_one(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a sequence of strings, not None"):
        make(**{name: None})


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a/b", "é", "a\t", "a;", '"a"', "a\r\nX: y"])
def test_a_subprotocol_is_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="a subprotocol must be a token"):
        Config(subprotocols=["ok", name])


def test_subprotocols() -> None:
    assert Config(subprotocols=["v1.chat~!", "soap"]).subprotocols == ("v1.chat~!", "soap")
    with pytest.raises(ValueError, match="must not repeat a name"):
        Config(subprotocols=["a", "b", "a"])


def test_extensions() -> None:
    deflate = PerMessageDeflate()
    assert Config(extensions=[deflate]).extensions == (deflate,)
    for wrong in (5, None, "permessage-deflate", deflate):
        with pytest.raises(TypeError, match="extensions must be a sequence of extensions"):
            Config(extensions=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_message_size", "max_frame_size", "read_high_water"])
def test_no_integer_is_wider_than_a_length_of_the_wire(name: str) -> None:
    setting: Any = {name: (1 << 63) - 1}
    assert getattr(Config(**setting), name) == (1 << 63) - 1
    setting = {name: 1 << 63}
    with pytest.raises(ValueError, match=rf"{name} must be at most 2\*\*63 - 1, not {1 << 63}"):
        Config(**setting)
