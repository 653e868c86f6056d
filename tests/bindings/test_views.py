"""What a view's class remembers from one connection to the next: its hooks, and its settings."""

from typing import Any

import pytest

from wsproto_core import Headers
from wsproto_core.extensions.deflate import PerMessageDeflate
from wsproto_views import AsyncView, UpgradeRequest
from wsproto_views.views import BaseView

REQUEST = UpgradeRequest("/", Headers())


class Base(AsyncView):
    pass


class Echo(Base):
    async def on_text(self, text: str) -> None:
        await self.send(text)


async def hook(*_: object) -> None:
    pass


@pytest.mark.parametrize("cls", [Echo, Base])
def test_a_class_may_get_and_lose_hooks(monkeypatch: pytest.MonkeyPatch, cls: type[Base]) -> None:
    before = Echo(REQUEST)._hooks()
    assert before.on_text is not None
    assert before.on_ping is None
    with monkeypatch.context() as patch:
        patch.setattr(cls, "on_ping", hook, raising=False)
        patch.setattr(cls, "on_fragment", hook, raising=False)
        assert Echo(REQUEST)._hooks().on_ping is not None
        assert Echo(REQUEST)._config().deliver == "chunks"
    assert Echo(REQUEST)._hooks().on_ping is None
    assert Echo(REQUEST)._config().deliver == "messages"


def test_a_class_does_not_have_the_hooks_of_the_one_above_it() -> None:
    assert Base(REQUEST)._hooks().on_text is None
    assert Echo(REQUEST)._hooks().on_text is not None
    assert Base(REQUEST)._hooks().on_text is None


def test_one_config_for_the_same_settings() -> None:
    config = Echo(REQUEST)._config()
    assert Echo(REQUEST)._config() is config
    other = Echo(REQUEST)
    other.PING_INTERVAL = 7
    assert other._config().ping_interval == 7
    assert Echo(REQUEST)._config() == config


def test_equal_is_not_the_same_setting() -> None:
    """1 is a count, and True is none."""
    view = Echo(REQUEST)
    view.MAX_MISSED_PONGS = 1
    view._config()
    view.MAX_MISSED_PONGS = True
    with pytest.raises(TypeError, match="max_missed_pongs must be an integer, not True"):
        view._config()


def test_a_list_may_change() -> None:
    offered: list[Any] = []
    view = Echo(REQUEST)
    view.EXTENSIONS = offered
    assert view._config().extensions == ()
    offered.append(PerMessageDeflate())
    assert view._config().extensions == tuple(offered)


def test_each_setting_reaches_the_core() -> None:
    names = {name for name in vars(BaseView) if name.isupper()} - {"MAGIC_STRING"}
    for name in names:
        view = Echo(REQUEST)
        setattr(view, name, object())
        with pytest.raises((TypeError, ValueError)):
            view._config()
