// node's ws, with its native addons where they are installed. Options as in options.py, those that it knows.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { parseArgs } from "node:util";

import { WebSocket, WebSocketServer } from "ws";

const LIMIT = 1 << 26;
const { values } = parseArgs({
  options: {
    mode: { type: "string", default: "echo" },
    tls: { type: "string" },
    deflate: { type: "string" },
  },
});

let perMessageDeflate = false;
if (values.deflate) {
  const [level, windowBits, memLevel] = values.deflate.split(",").map(Number);
  perMessageDeflate = {
    threshold: 0, // deflate every message
    serverMaxWindowBits: windowBits,
    zlibDeflateOptions: { level, memLevel },
  };
}

const pem = values.tls && readFileSync(values.tls);
const server = pem ? https.createServer({ key: pem, cert: pem }) : http.createServer();
const sockets = new WebSocketServer({ server, maxPayload: LIMIT, perMessageDeflate });
sockets.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (values.mode === "broadcast") {
      for (const client of sockets.clients) {
        if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
      }
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  console.log(server.address().port);
});
process.stdin.resume(); // ends with whoever started it
process.stdin.on("end", () => process.exit(0));
