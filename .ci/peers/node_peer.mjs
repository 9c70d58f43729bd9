// A server on Node's `ws`: `node node_peer.mjs feed|echo PORT`. What it sees it prints, one JSON object a line.
// PEER_DEFLATE, if there, is what it is told about permessage-deflate.

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
const perMessageDeflate = JSON.parse(process.env.PEER_DEFLATE ?? "false");
const carrier = identity ? createSecureServer({ cert: identity, key: identity }) : createServer();
const server = new WebSocketServer({ server: carrier, maxPayload: 1 << 21, perMessageDeflate });
carrier.listen(Number(port), "127.0.0.1", () => say({ listening: carrier.address().port }));
server.on("connection", (socket, request) => {
  socket.on("error", (error) => say({ error: error.message }));
  if (perMessageDeflate) {
    const report = deflated(socket, request.socket);
    socket.on("close", () => say({ deflated: report() }));
  }
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

// Counts what the extension does in each direction; what it returns says so, and what was agreed.
function deflated(socket, stream) {
  const extension = socket._extensions["permessage-deflate"];
  if (!extension) return () => null;
  const { params, compress, decompress } = extension;
  const agreed = {
    server_no_context_takeover: params.server_no_context_takeover ?? false,
    client_no_context_takeover: params.client_no_context_takeover ?? false,
    server_max_window_bits: params.server_max_window_bits ?? 15,
    client_max_window_bits: params.client_max_window_bits ?? 15,
  };
  let sent = 0;
  let received = 0;
  extension.compress = (data, fin, done) => {
    sent += fin;
    compress.call(extension, data, fin, done);
  };
  extension.decompress = (data, fin, done) => {
    received += fin;
    decompress.call(extension, data, fin, done);
  };
  return () => ({
    agreed,
    sent: { messages: sent, wire: stream.bytesWritten },
    received: { messages: received, wire: stream.bytesRead },
  });
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
