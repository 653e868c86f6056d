"""An echo server: it sends back what it gets. Try it with client.py or view_client.py."""

import asyncio

from wsproto_asyncio import WebSocketView, serve


class Echo(WebSocketView):
    """Text comes back as text, binary as binary."""

    async def on_receive(self, message, opcode):
        """Send a message back; text arrives as bytes of valid UTF-8 and leaves as such."""
        await self.send(message, opcode)


async def main():
    """Serve until Ctrl-C."""
    async with serve(Echo, "127.0.0.1", 8765) as server:
        print(f"ws://127.0.0.1:{server.port}/")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
