"""Servers on Python's `websockets`, and bare ones, in the process of the checks."""

import asyncio
from contextlib import asynccontextmanager

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Opcode


@asynccontextmanager
async def websocket_server(handler, tls=None, **further):
    """Serves every session with `handler`, over TLS if there is a context for it, and yields the URL."""
    options = dict(ping_interval=None, max_size=1 << 21, close_timeout=10, **further)
    async with serve(handler, "127.0.0.1", 0, ssl=tls, **options) as server:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def bare_server(handler):
    """Hands every accepted socket to `handler(reader, writer)`, and yields the URL."""
    tasks = set()

    async def accepted(reader, writer):
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client went away.
            pass
        except asyncio.CancelledError:
            # The server ends; `asyncio` would report the cancelled task as a failure.
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def deflating(**parameters):
    """Options for a server that accepts permessage-deflate with these parameters."""
    return dict(compression=None, extensions=[ServerPerMessageDeflateFactory(**parameters)])


class Deflated:
    """What was agreed about compression on a socket, and what it does to the data frames of each direction."""

    def __init__(self, socket):
        [extension] = socket.protocol.extensions
        self.agreed = {
            "server_no_context_takeover": extension.local_no_context_takeover,
            "client_no_context_takeover": extension.remote_no_context_takeover,
            "server_max_window_bits": extension.local_max_window_bits,
            "client_max_window_bits": extension.remote_max_window_bits,
        }
        self.sent = dict(messages=0, wire=0)
        self.received = dict(messages=0, wire=0)
        encode, decode = extension.encode, extension.decode
        extension.encode = lambda frame: self.count(self.sent, encode(frame))
        extension.decode = lambda frame, **options: decode(self.count(self.received, frame), **options)

    @staticmethod
    def count(direction, frame):
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            direction["messages"] += frame.rsv1
            direction["wire"] += len(frame.data)
        return frame

    def report(self):
        return {"agreed": self.agreed, "sent": self.sent, "received": self.received}


async def feed(socket, messages):
    """Sends everything, some of it in fragments and with pings between."""
    for number, message in enumerate(messages.all):
        if number % 10 == 9:
            middle = len(message) // 2
            await socket.send([message[:middle], message[middle:]])
        else:
            await socket.send(message)
        if number % 50 == 0:
            await socket.ping(f"after {number}")


async def compare_echoes(socket, messages):
    """Sends everything while it compares what comes back; says how many were equal."""
    sending = asyncio.create_task(feed(socket, messages))
    same = 0
    for message in messages.all:
        same += await socket.recv() == message
    await sending
    return same
