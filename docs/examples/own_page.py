"""One port for a page and a WebSocket: plain GETs are answered, other requests go on."""

import asyncio

from wsproto_asyncio import Headers, Response, WebSocketView, path, serve

PAGE = b"""<!doctype html>
<title>Clock</title>
<p id="time">...</p>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "time");
  socket.onmessage = (event) => { document.getElementById("time").textContent = event.data; };
</script>
"""


class Clock(WebSocketView):
    """Counts the seconds since it was opened, until the peer closes."""

    async def run_forever(self):
        """Live by own code instead of by message hooks; the return closes with 1000."""
        seconds = 0
        while self.is_open:
            await self.send(f"{seconds} s")
            await asyncio.sleep(1)
            seconds += 1


def on_request(request):
    """See every request first: answer the page, let the rest go on to the routes."""
    if request.is_upgrade or request.path != "/":
        return None
    return Response(200, Headers({"Content-Type": "text/html; charset=utf-8"}), PAGE)


async def main():
    """Serve until Ctrl-C."""
    routes = [path("/time", Clock)]
    async with serve(routes, "127.0.0.1", 8765, on_request=on_request) as server:
        print(f"http://127.0.0.1:{server.port}/")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
