"""What the core's tests share: each role, each way to cut the stream, and rigs of both."""

import importlib
import os
from types import ModuleType

import pytest

from tests.core.wire import MakeRig, Rig
from wsproto_core import Role


@pytest.fixture(params=[Role.CLIENT, Role.SERVER], ids=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    """Rows marked B run as either."""
    role = request.param
    assert isinstance(role, Role)
    return role


@pytest.fixture(params=[False, True], ids=["at once", "byte by byte"])
def bytewise(request: pytest.FixtureRequest) -> bool:
    """Every row that feeds bytes runs both ways."""
    return bool(request.param)


@pytest.fixture
def make_rig(role: Role, bytewise: bool) -> MakeRig:
    """``make_rig(config, ...)``: an open connection of this role, fed this way."""
    return lambda config=None, **more: Rig(role, config, bytewise=bytewise, **more)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """An open connection with the default settings."""
    return make_rig()


def builds() -> list[str]:
    """The names of the modules that there are; the compiled ones if they were built."""
    names = ["_framing_py"]
    try:
        importlib.import_module("wsproto_core._framing_c")
    except ImportError:
        if os.environ.get("WSPROTO_REQUIRE_COMPILED") == "1":
            raise
    else:
        names.append("_framing_c")
    return names


@pytest.fixture(params=builds())
def build(request: pytest.FixtureRequest) -> ModuleType:
    """A module with ``FrameDecoder``, ``encode_frame`` and ``encode_header``."""
    return importlib.import_module(f"wsproto_core.{request.param}")
