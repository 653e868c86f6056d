"""What the core's tests share: each role, each way to cut the stream, and rigs of both."""

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
