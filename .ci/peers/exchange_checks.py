"""Whole exchanges with healthy servers: every message arrives equal and in order."""

import asyncio

from messages import SIZE_MAX, Messages, payload
from processes import RUNTIMES, Peer, Ropewalk, Stream, expect, ropewalk
from python_peer import compare_echoes, feed, websocket_server
from websockets.exceptions import ConnectionClosed

COUNT = 1_000
# The peer unmasks in plain Python.
COUNT_SLOW = 200
# The default of `message_bytes_max`.
MESSAGE_BYTES_MAX = 16 << 20


def checks():
    for runtime in RUNTIMES:
        yield f"tap reads {COUNT} messages of Python's websockets, {runtime}", tap_python, runtime
        yield f"tap reads {COUNT} messages of Node's ws, {runtime}", tap_node, runtime
        yield f"tap reads {COUNT_SLOW} messages of pywebsocket3, {runtime}", tap_pywebsocket, runtime
        yield f"echo returns {COUNT} messages to Python's websockets, {runtime}", echo_python, runtime
        yield f"echo returns {COUNT} messages to Node's ws, {runtime}", echo_node, runtime
        yield f"echo returns {COUNT_SLOW} messages to pywebsocket3, {runtime}", echo_pywebsocket, runtime
    yield f"a message of {MESSAGE_BYTES_MAX >> 20} MiB is taken, and one byte more is refused with 1009", too_big


async def tap_python(tools, runtime):
    messages = Messages(tools.directory(f"tap python {runtime}"), COUNT, seed=1)
    codes = []

    async def session(socket):
        await feed(socket, messages)
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_server(session) as url:
        note = await tap(tools, runtime, url, messages)
    expect(codes == [1000], f"the sessions ended with {codes}")
    return note


async def tap_node(tools, runtime):
    messages = Messages(tools.directory(f"tap node {runtime}"), COUNT, seed=2)
    async with Peer.node(tools, "feed", messages) as peer:
        note = await tap(tools, runtime, peer.url(), messages)
        await peer.says("sent")
        expect((await peer.says("closed"))["closed"] == 1000, "the session did not end with 1000")
        return note


async def tap_pywebsocket(tools, runtime):
    messages = Messages(tools.directory(f"tap pywebsocket {runtime}"), COUNT_SLOW, seed=3)
    async with Peer.pywebsocket(messages) as peer:
        note = await tap(tools, runtime, peer.url("/feed"), messages)
        await peer.says("sent")
        expect((await peer.says("closed"))["closed"] == 1000, "the session did not end with 1000")
        return note


async def tap(tools, runtime, url, messages):
    sizes = [len(payload(each)) for each in messages.all]
    expect(max(sizes) == SIZE_MAX, "the largest size was not tried")
    await tap_with(tools, ["--runtime", runtime, f"feed={url}"], messages)
    return f"{sum(sizes) >> 20} MiB"


async def tap_with(tools, arguments, messages):
    """Taps a feed, and compares what arrives with what was sent."""
    options = ["--count", len(messages), "--output", "-"]
    stream = Stream("feed")
    async with Ropewalk(tools, "tap", *options, *arguments) as run:
        received = 0
        async for record in run.records():
            message = stream.take(record)
            expect(received < len(messages), "more messages than were sent")
            same = type(message) is type(messages.all[received]) and message == messages.all[received]
            expect(same, f"message {received + 1} is not what was sent")
            received += 1
        expect(received == len(messages), f"{received} messages of {len(messages)}")
        (await run.end()).expect(status=0)
    expect(stream.generations == [1], f"sockets {stream.generations}")


async def echo_python(tools, runtime):
    messages = Messages(tools.directory(f"echo python {runtime}"), COUNT, seed=4)
    results = []

    async def session(socket):
        # It would have compressed.
        expect(not socket.protocol.extensions, f"agreed: {socket.protocol.extensions}")
        results.append(await compare_echoes(socket, messages))

    async with websocket_server(session) as url:
        (await ropewalk(tools, "echo", "--runtime", runtime, url)).expect(status=0)
    expect(results == [COUNT], f"{results} equal echoes of {COUNT}")


async def echo_node(tools, runtime):
    messages = Messages(tools.directory(f"echo node {runtime}"), COUNT, seed=5)
    async with Peer.node(tools, "echo", messages) as peer:
        await echo(tools, runtime, peer, peer.url(), messages)
        expect((await peer.says("closed"))["closed"] == 1000, "the session did not end with 1000")


async def echo_pywebsocket(tools, runtime):
    messages = Messages(tools.directory(f"echo pywebsocket {runtime}"), COUNT_SLOW, seed=6)
    async with Peer.pywebsocket(messages) as peer:
        await echo(tools, runtime, peer, peer.url("/echo"), messages)


async def echo(tools, runtime, peer, url, messages):
    (await ropewalk(tools, "echo", "--runtime", runtime, url)).expect(status=0)
    result = await peer.says("same")
    expect(result == {"same": len(messages), "different": 0}, f"echoes: {result}")


async def too_big(tools):
    codes = []

    async def session(socket):
        await socket.send("x" * MESSAGE_BYTES_MAX)
        try:
            await socket.send("x" * (MESSAGE_BYTES_MAX + 1))
        except ConnectionClosed:
            # It is refused by its header, before all of it was sent.
            pass
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_server(session) as url:
        async with Ropewalk(tools, "tap", f"a={url}") as run:
            expect(len(Stream("a").take(await run.record())) == MESSAGE_BYTES_MAX, "a message was cut")
            while not codes:
                await asyncio.sleep(0.01)
            (await run.interrupt()).expect(status=0)
    expect(codes == [1009], f"the server saw {codes}")
