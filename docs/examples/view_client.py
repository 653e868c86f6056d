"""A client as a view: the same class as on a server, its hooks are called."""

import asyncio
import sys

from wsproto_asyncio import WebSocketView, connect


class Counter(WebSocketView):
    """Counts to three with an echo server, then closes."""

    PING_INTERVAL = 5  # seconds; settings of a client are those of a view

    async def on_open(self):
        """Begin: messages that come wait until this returns."""
        await self.send("1")

    async def on_text(self, text):
        """Show what came and send the next number."""
        print(f"the server said {text}")
        if text == "3":
            await self.send_close(1000, "counted")
        else:
            await self.send(str(int(text) + 1))

    async def on_close(self, frame=None):
        """Called once, at the end, whatever ended it."""
        print(f"closed with {self.close_code} {self.close_reason}")


async def main(url):
    """Connect and live until the connection is over."""
    view = await connect(url, Counter)
    await view.run_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/"))
