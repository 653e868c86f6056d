// One WebSocket of node's `ws`, moved by JSON lines on standard input; what happens to it goes out
// as JSON lines. It ends when its input ends, so that a test cannot leave it behind.
//
//   node puppet.mjs connect ws://127.0.0.1:9000     a client
//   node puppet.mjs listen                          a server for one connection; prints its port
//
// in:  {"do": "send", "data": D, "fin": true}, {"do": "ping", "data": D},
//      {"do": "close", "code": 1000, "reason": ""}
// out: {"event": "listening", "port": 9000}, {"event": "open"}, {"event": "message", "data": D},
//      {"event": "ping" | "pong", "data": D}, {"event": "close", "code": 1000, "reason": ""},
//      {"event": "error", "text": "..."}
// where D is {"text": "..."} or {"base64": "..."}.

import { createInterface } from "node:readline";
import { WebSocket, WebSocketServer } from "ws";

const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const unpack = (data) => ("text" in data ? data.text : Buffer.from(data.base64, "base64"));
const pack = (buffer) => ({ base64: buffer.toString("base64") });

let socket;

function attach(websocket) {
  socket = websocket;
  socket.on("message", (data, isBinary) =>
    say({ event: "message", data: isBinary ? pack(data) : { text: data.toString("utf8") } }),
  );
  socket.on("ping", (data) => say({ event: "ping", data: pack(data) }));
  socket.on("pong", (data) => say({ event: "pong", data: pack(data) }));
  socket.on("close", (code, reason) => say({ event: "close", code, reason: reason.toString() }));
  socket.on("error", (error) => say({ event: "error", text: String(error) }));
}

const actions = {
  // `ws` takes the type of a message from its first fragment.
  send: ({ data, fin }) => socket.send(unpack(data), { fin, binary: "base64" in data }),
  ping: ({ data }) => socket.ping(unpack(data)),
  close: ({ code, reason }) => socket.close(code, reason),
};

const [mode, url] = process.argv.slice(2);
if (mode === "connect") {
  attach(new WebSocket(url, { perMessageDeflate: { threshold: 0 } }));
  socket.on("open", () => say({ event: "open" }));
} else {
  const options = { host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } };
  const server = new WebSocketServer(options, () =>
    say({ event: "listening", port: server.address().port }),
  );
  server.once("connection", (websocket) => {
    attach(websocket);
    say({ event: "open" });
  });
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const order = JSON.parse(line);
  actions[order.do](order);
});
lines.on("close", () => process.exit(0));
