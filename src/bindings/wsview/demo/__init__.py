"""The demo: a chat room and an echo lab for the browser, on the library's own server.

Start reading at ``echo.py`` (one view, a few lines), then ``chat.py`` (members, rooms, history),
then ``site.py`` (the page beside the views). Tests: ``tests/wsview/test_demo_views.py``, and
``tests/browser`` in a real browser.
"""

from .site import start

__all__ = ["start"]
