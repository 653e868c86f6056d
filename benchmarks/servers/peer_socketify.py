"""socketify: uWebSockets, a C++ server with its own loop, called from Python."""

from typing import Any

from socketify import App, AppListenOptions, CompressOptions

from .options import HOST, LIMIT, Options, announce, parse


def main(options: Options) -> None:
    assert options.deflate is None
    assert options.tls is None
    app: Any = App()
    broadcast = options.mode == "broadcast"

    def on_open(ws: Any) -> None:
        ws.subscribe("all")

    def on_message(ws: Any, message: Any, opcode: Any) -> None:
        if broadcast:
            app.publish("all", message, opcode)
        else:
            ws.send(message, opcode)

    handlers = {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": LIMIT,
        "max_backpressure": LIMIT,
        "idle_timeout": 120,
        "message": on_message,
    }
    if broadcast:
        handlers["open"] = on_open
    app.ws("/*", handlers)
    app.listen(AppListenOptions(port=0, host=HOST), lambda config: announce(config.port))
    app.run()


if __name__ == "__main__":
    main(parse())
