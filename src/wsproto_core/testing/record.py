"""``Recorder``, a connection that notes all that is done to it; ``replay``, which does it again.

A record is a list of JSON lines: each call with its time, arguments and random bytes, what it gave
or raised, and where the connection stood after it. ``replay`` makes the same calls on a new
connection and raises ``Difference`` at the first line that is not the same. So a session of
production becomes a test, and two versions of this library can be compared.
Tests: ``tests/core/test_testing.py``.
"""

import builtins
import inspect
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar, Self

from .. import errors
from ..config import Config
from ..connection import Buffer, Connection
from ..enums import Role
from ..events import Agreement, Chunk, ExtensionNegotiated, Message
from ..extensions.base import Codec
from ..headers import Headers, HeadersLike, Response
from ..uri import Uri

__all__ = ["Difference", "Recorder", "replay"]

_CALLS = (
    "receive_data",
    "receive_eof",
    "handle_timeout",
    "lost",
    "write_blocked",
    "set_reading",
    "configure",
    "accept",
    "reject",
    "send_text",
    "send_binary",
    "ping",
    "pong",
    "close",
    "fail",
    "abort",
    "events",
    "data_to_send",
)


class Difference(AssertionError):
    """A replay did not do what the record says."""


class Recorder(Connection):
    """A ``Connection`` that keeps a record in ``lines``. Use it wherever a connection is wanted.

    The record has everything that went through, payloads and credentials too.
    """

    lines: list[str]
    """The record so far: JSON, one call each."""

    _draws: list[str]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Begin the record; ``after_handshake`` makes its connections without ``__init__``."""
        self = super().__new__(cls)
        self.lines = []
        self._draws = []
        return self

    def __init__(
        self,
        role: Role,
        config: Config | None = None,
        *,
        now: float,
        target: Uri | str | None = None,
        headers: HeadersLike = (),
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """As ``Connection``."""
        super().__init__(
            role,
            config,
            now=now,
            target=target,
            headers=headers,
            random=_drawing(random, self._draws),
        )
        self._note(
            "begin",
            {
                "role": role.value,
                "now": now,
                "target": target if isinstance(target, str) else _plain(target),
                "headers": _plain(Headers(headers)),
                "config": repr(self.config),
            },
            None,
        )

    @classmethod
    def after_handshake(
        cls,
        role: Role,
        config: Config,
        agreement: Agreement,
        *,
        now: float,
        codecs: Sequence[Codec] = (),
        data: Buffer = b"",
        random: Callable[[int], bytes] = os.urandom,
    ) -> "Recorder":
        """As that of ``Connection``."""
        draws: list[str] = []
        self = super().after_handshake(
            role,
            config,
            agreement,
            now=now,
            codecs=codecs,
            data=data,
            random=_drawing(random, draws),
        )
        assert isinstance(self, Recorder)  # the method above makes a `cls`
        self._draws = draws
        self._note(
            "begin open",
            {
                "role": role.value,
                "now": now,
                "agreement": _plain(agreement),
                "data": _plain(bytes(data)),
                "config": repr(config),
            },
            None,
        )
        return self

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the record to a file."""
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - no paths in the core
            file.write("\n".join(self.lines) + "\n")

    def _note(self, what: str, arguments: dict[str, Any], outcome: Any, **more: Any) -> None:
        entry: dict[str, Any] = {"at": self.time, "do": what}
        if arguments:
            entry["with"] = arguments
        if self._draws:
            entry["random"] = list(self._draws)
            self._draws.clear()
        if outcome is not None:
            entry["gave"] = outcome
        entry.update(more)
        entry["phase"] = self.phase.value
        entry["transport"] = int(self.transport)
        entry["deadline"] = self.next_deadline()
        self.lines.append(json.dumps(entry, ensure_ascii=True))


def _drawing(random: Callable[[int], bytes], draws: list[str]) -> Callable[[int], bytes]:
    def draw(size: int) -> bytes:
        data = random(size)
        draws.append(data.hex())
        return data

    return draw


def _recorded(name: str) -> Callable[..., Any]:
    # No public method of Connection calls another, so each call is one line.
    method = getattr(Connection, name)
    signature = inspect.signature(method)

    def call(self: Recorder, *arguments: Any, **keywords: Any) -> Any:
        bound = signature.bind(self, *arguments, **keywords).arguments
        given = {key: _plain(value) for key, value in bound.items() if key != "self"}
        try:
            value = method(self, *arguments, **keywords)
        except Exception as error:
            self._note(name, given, None, raised=_plain(error))
            raise
        else:
            self._note(name, given, None if value in (None, []) else _plain(value))
            return value

    call.__name__ = name
    call.__doc__ = method.__doc__
    return call


for _name in _CALLS:
    setattr(Recorder, _name, _recorded(_name))


def replay(
    lines: Iterable[str],
    config: Config | None = None,
    *,
    codecs: Sequence[Codec] = (),
) -> Recorder:
    """Do again what a record says, on a new connection with ``config``; returns it.

    ``codecs``: those of a connection that began open, fresh. Raises ``Difference`` at the first
    line whose outcome, time or state is another.
    """
    entries = [json.loads(line) for line in lines if line.strip()]
    if not entries or entries[0]["do"] not in ("begin", "begin open"):
        raise ValueError("expected a record that starts with how the connection began")
    draws = iter([bytes.fromhex(item) for entry in entries for item in entry.get("random", ())])

    def random(size: int) -> bytes:
        data = next(draws, b"")
        if len(data) != size:
            raise Difference(f"{size} random bytes were drawn, the record has {len(data)}")
        return data

    settings = config if config is not None else Config()
    first, begin = entries[0], entries[0]["with"]
    role = Role(begin["role"])
    if first["do"] == "begin":
        target = _value(begin["target"])
        made = Recorder(
            role,
            settings,
            now=begin["now"],
            target=target,
            headers=[(name, value) for name, value in _value(begin["headers"])],
            random=random,
        )
    else:
        made = Recorder.after_handshake(
            role,
            settings,
            _value(begin["agreement"]),
            now=begin["now"],
            codecs=codecs,
            data=_value(begin["data"]),
            random=random,
        )
    _compare(1, entries[0], made)
    for number, entry in enumerate(entries[1:], 2):
        arguments = {key: _value(value) for key, value in entry.get("with", {}).items()}
        if entry["do"] == "configure":
            arguments["config"] = settings
        try:
            getattr(made, entry["do"])(**arguments)
        except Exception as error:
            if "raised" not in entry:
                raise Difference(f"line {number}, {entry['do']}: raised {error!r}") from error
        _compare(number, entry, made)
    return made


def _compare(number: int, entry: dict[str, Any], made: Recorder) -> None:
    again = json.loads(made.lines[-1])
    for one in (entry, again):
        # What a configuration looks like is for people; another version may have another field.
        one.get("with", {}).pop("config", None)
    if again != entry:
        keys = [key for key in {**entry, **again} if entry.get(key) != again.get(key)]
        shown = "; ".join(f"{key}: {entry.get(key)!r} became {again.get(key)!r}" for key in keys)
        raise Difference(f"line {number}, {entry['do']}: {shown}")


# ------------------------------------------------------------------------------ values as JSON


class _Kinds:
    """The values that a record can have beside JSON's own."""

    classes: ClassVar[dict[str, Any]] = {
        item.__name__: item for item in (Agreement, ExtensionNegotiated, Response, Uri)
    }


def _plain(value: Any) -> Any:
    """A value as JSON."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, Headers):
        return [[name, item] for name, item in value.raw]
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "text": str(value)}
    if value is ...:
        return {"default": True}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Config):
        return repr(value)
    names: Iterable[str] = ()
    if isinstance(value, (Message, Chunk)):
        names = value.__match_args__
    elif is_dataclass(value):
        names = [item.name for item in fields(value)]
    if names:
        made = {name: _plain(getattr(value, name)) for name in names}
        return {"a": type(value).__name__, **made}
    return repr(value)  # of a wrong type: the call will say so


def _value(plain: Any) -> Any:
    """The value of what ``_plain`` gave, where an argument can have it."""
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if "bytes" in plain:
        return b64decode(plain["bytes"])
    if "default" in plain:
        return ...
    if "error" in plain:
        return _error(plain["error"], plain["text"])
    arguments = {key: _value(item) for key, item in plain.items() if key != "a"}
    if "headers" in arguments:
        arguments["headers"] = Headers(arguments["headers"])
    return _Kinds.classes[plain["a"]](**arguments)


def _error(name: str, text: str) -> Exception:
    """An exception of that name and text, to be handed to ``lost`` or ``fail``."""
    found = getattr(errors, name, getattr(builtins, name, None))
    kind: Any = found
    if not (isinstance(found, type) and issubclass(found, Exception)):
        kind = type(name, (Exception,), {})
    error: Exception = kind.__new__(kind, text)
    for attribute, value in (("close_code", 1002), ("rule", ""), ("timer", "")):
        if attribute in getattr(kind, "__annotations__", {}):
            setattr(error, attribute, value)
    return error
