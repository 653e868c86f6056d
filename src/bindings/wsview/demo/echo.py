"""The echo lab's view: what comes in goes out again."""

import logging

from wsproto_asyncio import Frame, WebSocketView
from wsproto_core import is_usable_close_code

from ..display import describe_close

__all__ = ["Echo"]

log = logging.getLogger("wsview.demo")


class Echo(WebSocketView):
    """Sends every message back as it came: text as text, binary as binary.

    One exception, so that the lab can show a server that closes: the text ``/close CODE REASON``
    is not echoed but done.
    """

    SUBPROTOCOLS = ("echo.v1",)
    # A browser sends a message as one frame, however large it is, so both limits are the same.
    MAX_MESSAGE_SIZE = MAX_FRAME_SIZE = 16 << 20

    async def on_text(self, text: str) -> None:
        """Echo a text message, or close where the text asks for it."""
        if text.startswith("/close "):
            await self.close_as_told(text)
        else:
            await self.send_text(text)

    async def on_binary(self, data: bytes) -> None:
        """Echo a binary message."""
        await self.send_binary(data)

    async def close_as_told(self, command: str) -> None:
        """Close with the code and reason of the command, or say what is wrong with it."""
        _, code, reason = (*command.split(maxsplit=2), "", "")[:3]
        if code.isascii() and code.isdigit() and is_usable_close_code(int(code[:5])):
            await self.send_close(int(code), reason)
        else:
            await self.send_text(
                f"'{code}' cannot be sent as a close code:"
                " use 1000 to 1014 (but not 1004, 1005 and 1006) or 3000 to 4999"
            )

    async def on_close(self, frame: Frame | None = None) -> None:
        """Tell the terminal with which code the page left."""
        log.info("echo: closed with %s", describe_close(self.close_code, self.close_reason))
