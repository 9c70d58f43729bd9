"""Servers on Python's `websockets`, and bare ones, in the process of the checks."""

import asyncio
from contextlib import asynccontextmanager

from websockets.asyncio.server import serve


@asynccontextmanager
async def websocket_server(handler, tls=None):
    """Serves every session with `handler`, over TLS if there is a context for it, and yields the URL."""
    options = dict(ping_interval=None, max_size=1 << 21, close_timeout=10)
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
