"""``wsview``: the command line, with a demo in the browser.

``cli.py`` reads the arguments, ``client.py`` talks to a server, ``demo/`` is the chat room and the
echo lab. It needs typer and rich (the extra ``cli``); the library itself needs neither.
Tests: ``tests/wsview``, ``tests/browser``.
"""
