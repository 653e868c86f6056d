"""What the core's tests share: each role, each way to cut the stream, and rigs of both."""

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.core.wire import MakeRig, Rig
    from wsproto_core import Role

# What is imported here by name is imported when a fixture runs: a test may be of either build; see
# tests/builds.py.


@pytest.fixture(params=["CLIENT", "SERVER"], ids=["client", "server"])
def role(request: pytest.FixtureRequest) -> "Role":
    """Rows marked B run as either."""
    role: Role = import_module("wsproto_core").Role[request.param]
    return role


@pytest.fixture(
    params=[
        pytest.param(False, id="at once"),
        pytest.param(True, id="byte by byte", marks=pytest.mark.exhaustive),
    ]
)
def bytewise(request: pytest.FixtureRequest) -> bool:
    """Every row that feeds bytes runs both ways."""
    return bool(request.param)


@pytest.fixture
def make_rig(role: "Role", bytewise: bool) -> "MakeRig":
    """``make_rig(config, ...)``: an open connection of this role, fed this way."""
    rig = import_module("tests.core.wire").Rig
    return lambda config=None, **more: rig(role, config, bytewise=bytewise, **more)


@pytest.fixture
def rig(make_rig: "MakeRig") -> "Rig":
    """An open connection with the default settings."""
    return make_rig()
