from tests.bindings.runtimes import Link, Log
from wsproto_views import AsyncView as View


def test_echo(any_link: Link, log: Log) -> None:
    class Echo(View):
        async def on_text(self, text: str) -> None:
            await self.send(text)

        async def on_close(self, frame=None) -> None:
            log.add("close")

    peer = any_link.open(Echo)
    peer.text("hello")
    assert peer.message() == "hello"
    peer.bye()
    log.wait("close")
