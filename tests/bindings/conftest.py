"""Fixtures of the contract suite: each runtime, each role, plain and TLS."""

from collections.abc import Iterator

import pytest

from tests.bindings.runtimes import RUNTIMES, Link, Log, Runtime, Tls, ours


@pytest.fixture(params=list(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Every runtime, running; what it leaves behind is a failure."""
    with ours(RUNTIMES[request.param]) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def tls() -> Tls:
    return Tls()


@pytest.fixture(params=["server", "client"])
def role(request: pytest.FixtureRequest) -> str:
    """Which side our view is."""
    return str(request.param)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def link(runtime: Runtime, role: str) -> Iterator[Link]:
    """Our view in each role against a raw peer."""
    link = Link(runtime, role, None)
    yield link
    link.end()


@pytest.fixture
def tls_link(runtime: Runtime, role: str, tls: Tls) -> Iterator[Link]:
    """The same over TLS."""
    link = Link(runtime, role, tls)
    yield link
    link.end()


@pytest.fixture(params=["plain", "tls"])
def any_link(
    runtime: Runtime, role: str, tls: Tls, request: pytest.FixtureRequest
) -> Iterator[Link]:
    """Plain, and over TLS."""
    link = Link(runtime, role, tls if request.param == "tls" else None)
    yield link
    link.end()


@pytest.fixture
def server(runtime: Runtime) -> Iterator[Link]:
    """Our view as a server only."""
    link = Link(runtime, "server", None)
    yield link
    link.end()
