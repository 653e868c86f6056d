"""Chat rooms: whoever is in /ws/room/<room> reads what the others there write."""

import asyncio

from wsproto_asyncio import CloseCode, WebSocketView, broadcast, path, serve


class Chat(WebSocketView):
    """One person in one room. The name comes from the address: /ws/room/tea?name=Ada."""

    MAX_MESSAGE_SIZE = 4096  # bytes; a larger message is answered with Close 1009

    async def on_open(self):
        """Enter the room; messages wait until this returns."""
        self.name = self.request.query.get("name", ["somebody"])[0]
        await self.tell(f"* {self.name} came in")

    async def on_text(self, text):
        """Pass a line on to everybody, its author included."""
        await self.tell(f"{self.name}: {text}")

    async def on_close(self, frame=None):
        """Leave. Called once, however the connection ended."""
        await self.tell(f"* {self.name} left")

    async def tell(self, line):
        """Send to all in the room and wait for nobody; who reads too slowly has to go."""
        room = self.kwargs["room"]
        members = [view for view in self.server.connections if view.kwargs["room"] == room]
        for slow in broadcast(members, line):
            await slow.send_close(CloseCode.POLICY_VIOLATION, "too slow for this room")


routes = [path("/ws/room/<room>", Chat, name="room")]


async def main():
    """Serve until Ctrl-C."""
    async with serve(routes, "127.0.0.1", 8765) as server:
        print(f"ws://127.0.0.1:{server.port}/ws/room/tea?name=Ada")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
