// A server on Node's `ws`: `node node_peer.mjs feed|echo PORT`. What it sees it prints, one JSON object a line.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";

const { WebSocketServer } = createRequire(join(process.env.PEER_NODE_MODULES, "x.js"))("ws");
const [mode, port] = process.argv.slice(2);
const messages = read(process.env.PEER_MESSAGES);

// Over TLS if PEER_IDENTITY names a file with a certificate and its key.
const identity = process.env.PEER_IDENTITY && readFileSync(process.env.PEER_IDENTITY);
const carrier = identity ? createSecureServer({ cert: identity, key: identity }) : createServer();
const server = new WebSocketServer({ server: carrier, maxPayload: 1 << 21 });
carrier.listen(Number(port), "127.0.0.1", () => say({ listening: carrier.address().port }));
server.on("connection", (socket) => {
  socket.on("error", (error) => say({ error: error.message }));
  socket.on("close", (code) => say({ closed: code }));
  const run = { feed, echo }[mode];
  run(socket).catch((error) => say({ error: error.message }));
});

// Sends everything, some of it in fragments and with pings between, and leaves the end to the client.
async function feed(socket) {
  for (const [number, { data, binary }] of messages.entries()) {
    if (number % 10 === 9) {
      const middle = data.length >> 1;
      await send(socket, data.subarray(0, middle), { binary, fin: false });
      socket.ping("between fragments");
      await send(socket, data.subarray(middle), { binary, fin: true });
    } else {
      await send(socket, data, { binary, fin: true });
    }
  }
  say({ sent: messages.length });
}

// Sends everything while it compares what comes back, then closes.
async function echo(socket) {
  let same = 0;
  let different = 0;
  socket.on("message", (data, binary) => {
    const expected = messages[same + different];
    if (expected.binary === binary && expected.data.equals(data)) same += 1;
    else different += 1;
    if (same + different === messages.length) {
      say({ same, different });
      socket.close(1000, "done");
    }
  });
  for (const { data, binary } of messages) await send(socket, data, { binary, fin: true });
}

function send(socket, data, options) {
  return new Promise((resolve, reject) => {
    socket.send(data, options, (error) => (error ? reject(error) : resolve()));
  });
}

function read(directory) {
  const payloads = readFileSync(join(directory, "payloads"));
  let start = 0;
  return JSON.parse(readFileSync(join(directory, "index.json"), "utf8")).map(([kind, size]) => {
    const data = payloads.subarray(start, start + size);
    start += size;
    return { data, binary: kind === "binary" };
  });
}

function say(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}
