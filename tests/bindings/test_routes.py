"""``path``, ``Route`` and ``Router``: which view serves a path."""

from typing import Any

import pytest

from tests.bindings.peer import Peer, connect_tcp
from tests.bindings.runtimes import Link
from wsproto_core import Headers, HttpRequest, Request, Response, Target
from wsproto_views import AsyncView, Route, Router, path


class Room(AsyncView):
    async def on_text(self, text: str) -> None:
        """Any view that takes messages."""


class Lobby(Room):
    """Another."""


class Nothing(AsyncView):
    """It takes no messages."""


def serves(router: Router[AsyncView], target: str) -> tuple[str, dict[str, Any]] | int:
    made: list[AsyncView] = []
    event = Request(target, Headers(), "h", None, (), ())
    found = router.target(event, None, made.append)
    if isinstance(found, Response):
        return found.status
    assert isinstance(found, Target)
    return type(made[0]).__name__, made[0].kwargs


@pytest.mark.parametrize(
    ("pattern", "sent", "values"),
    [
        ("/", "/", {}),
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/a", "/A", None),
        ("/a", "/ab", None),
        ("/a", "/%61", {}),
        ("/ä b", "/%C3%A4%20b", {}),
        ("/a.b", "/aXb", None),
        ("/ws/<room>", "/ws/blue", {"room": "blue"}),
        ("/ws/<room>", "/ws/", None),
        ("/ws/<room>", "/ws/a/b", None),
        ("/ws/<room>", "/ws/a%2Fb", {"room": "a/b"}),
        ("/ws/<room>", "/ws/%C3%A4%20b", {"room": "ä b"}),
        ("/ws/<room>", "/ws/a%0Ab", {"room": "a\nb"}),
        ("/ws/<room>/<user>", "/ws/a/b", {"room": "a", "user": "b"}),
        ("/v<version>.json", "/v12.json", {"version": "12"}),
        ("/<a>-<b>", "/1-2", {"a": "1", "b": "2"}),
        ("//<a>", "//x", {"a": "x"}),
    ],
)
def test_match(pattern: str, sent: str, values: dict[str, str] | None) -> None:
    assert path(pattern, Room).match(sent) == values


@pytest.mark.parametrize(
    "pattern",
    ["", "a", "/<", "/>", "/<1a>", "/<a b>", "/<>", "/<a>/<a>", "/<self>", "/<upgrade_request>"],
)
def test_patterns_that_cannot_be_read(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        path(pattern, Room)


@pytest.mark.parametrize(
    ("view", "error"), [(Nothing, NotImplementedError), (5, TypeError), (int, TypeError)]
)
def test_views_that_cannot_serve(view: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        path("/", view)
    with pytest.raises(error):
        Router(view)


@pytest.mark.parametrize("views", [[], [Room], [5], 5, None, "/", {"/": Room}])
def test_what_is_no_set_of_routes(views: Any) -> None:
    with pytest.raises(TypeError, match="expected a view class or routes"):
        Router(views)


@pytest.mark.parametrize(
    ("pattern", "values", "url"),
    [
        ("/a", {}, "/a"),
        ("/ws/<room>", {"room": "a/b ä"}, "/ws/a%2Fb%20%C3%A4"),
        ("/ä/<n>", {"n": 5}, "/%C3%A4/5"),
        ("/100%/<n>", {"n": 5}, "/100%25/5"),
        ("/a:b@c/<n>", {"n": "?#"}, "/a:b@c/%3F%23"),
    ],
)
def test_url_comes_back(pattern: str, values: dict[str, Any], url: str) -> None:
    route = path(pattern, Room)
    assert route.url(**values) == url
    assert route.match(url) == {name: str(value) for name, value in values.items()}


@pytest.mark.parametrize("values", [{}, {"other": 1}, {"room": 1, "other": 1}, {"room": ""}])
def test_url_of_other_names(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        path("/ws/<room>", Room).url(**values)


def test_name_and_repr() -> None:
    route = path("/ws/<room>", Room, name="room")
    assert (route.name, route.view, route.pattern) == ("room", Room, "/ws/<room>")
    assert repr(route) == "<Route /ws/<room> Room>"


def test_router_of_routes() -> None:
    router: Router[AsyncView] = Router([path("/lobby", Lobby), path("/<room>", Room)])
    assert serves(router, "/lobby?a=b") == ("Lobby", {})
    assert serves(router, "/blue?a=b") == ("Room", {"room": "blue"})
    assert serves(router, "/") == 404
    assert router.views == (Lobby, Room)


def test_router_of_one() -> None:
    assert serves(Router(Room), "/any/where") == ("Room", {})
    assert serves(Router(path("/<a>", Room)), "/x") == ("Room", {"a": "x"})
    assert Router(Room).views == (Room,)
    generator = (route for route in [Route[AsyncView]("/a", Room)])
    assert serves(Router(generator), "/a") == ("Room", {})


def test_a_plain_get_makes_no_view() -> None:
    refusal = Response(426)
    event = HttpRequest("/a", Headers(), "h", refusal)
    router: Router[AsyncView] = Router(path("/a", Room))

    def attach(_view: AsyncView) -> None:
        raise AssertionError("a view for a plain GET")

    assert router.target(event, None, attach) is refusal
    missing = router.target(HttpRequest("/b", Headers(), "h", refusal), None, attach)
    assert isinstance(missing, Response)
    assert missing.status == 404


def test_kwargs_of_the_views_own() -> None:
    class Own(Room):
        def __init__(self, upgrade_request: Any, room: str, more: str = "x") -> None:
            super().__init__(upgrade_request, more=more)
            self.room = room

    assert serves(Router(path("/<room>", Own)), "/blue") == ("Own", {"more": "x", "room": "blue"})


def test_served(server: Link) -> None:
    runtime = server.runtime

    class Telling(AsyncView):
        async def on_open(self) -> None:
            await self.send_json([type(self).__name__, self.kwargs])

        async def on_text(self, text: str) -> None:
            """It only tells."""

    class Other(Telling):
        """It tells its name."""

    port, _ = server.serve(
        [path("/a/<b>", runtime.adopt(Telling)), path("/other", runtime.adopt(Other))]
    )
    for target, told in [
        ("/a/x%2Fy?q", '["Telling", {"b": "x/y"}]'),
        ("/other", '["Other", {}]'),
    ]:
        with Peer(connect_tcp(port), is_client=True) as peer:
            assert peer.request(target).status == 101
            assert peer.message() == told
    with Peer(connect_tcp(port), is_client=True) as peer:
        head = peer.request("/nowhere")
        assert (head.status, head["connection"]) == (404, "close")
        assert b"/nowhere" in peer.rest()
