"""What the views of all runtimes share: words, routes, requests, dispatch. It imports no runtime.

Users import ``wsproto_asyncio`` or one of its siblings instead, which show these names too.
"""

from .broadcast import broadcast
from .dispatch import dispatch
from .endpoints import Answer, Dial, HeadersLike, OnRequest, Service, check_place
from .requests import UpgradeRequest
from .routes import Route, Router, path
from .sync import SyncDriver, SyncView, check_plain
from .views import AsyncDriver, AsyncView, BaseView, State, check_view

__all__ = [
    "Answer",
    "AsyncDriver",
    "AsyncView",
    "BaseView",
    "Dial",
    "HeadersLike",
    "OnRequest",
    "Route",
    "Router",
    "Service",
    "State",
    "SyncDriver",
    "SyncView",
    "UpgradeRequest",
    "broadcast",
    "check_place",
    "check_plain",
    "check_view",
    "dispatch",
    "path",
]
