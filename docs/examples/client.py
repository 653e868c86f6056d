"""A client by plain calls: send, then iterate until the connection is closed."""

import asyncio
import sys

from wsproto_asyncio import connect


async def main(url):
    """Send three messages, show what comes back, close."""
    async with connect(url) as ws:
        for text in ("one", "two", "three"):
            await ws.send(text)
        count = 0
        async for message in ws:
            print(message)
            count += 1
            if count == 3:
                break
        print(f"a ping takes {await ws.ping() * 1000:.1f} ms")
    print(f"closed with {ws.close_code}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/"))
