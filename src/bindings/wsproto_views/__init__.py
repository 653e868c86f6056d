"""What the views of all runtimes share: words, routes, requests, dispatch. It imports no runtime.

Users import ``wsproto_asyncio`` or one of its siblings instead, which show these names too.
"""

from .dispatch import dispatch
from .requests import UpgradeRequest
from .routes import Route, Router, path
from .views import AsyncDriver, AsyncView, BaseView, State, check_view

__all__ = [
    "AsyncDriver",
    "AsyncView",
    "BaseView",
    "Route",
    "Router",
    "State",
    "UpgradeRequest",
    "check_view",
    "dispatch",
    "path",
]
