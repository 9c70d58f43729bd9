"""Servers that close, reset, die, freeze and flap: every connection comes back, and never in a storm."""

import asyncio
import json
import random
import signal
import struct
import time
from socket import SO_LINGER, SOL_SOCKET

from messages import Messages
from processes import RUNTIMES, Events, Peer, Ropewalk, Stream, expect
from python_peer import bare_server, websocket_server

# Quick, so that a check is.
QUICK = """
[defaults.backoff]
floor = "50ms"
initial = "50ms"
first_max = "50ms"
max = "200ms"
flap_max = "200ms"
stable_after = "100ms"
[defaults.timeouts]
upgrade = "500ms"
[defaults.keepalive]
interval = "300ms"
timeout = "300ms"
"""

# A flapping server is dialled at most this often in so many seconds.
DIALS_MAX = 8
FLAPPING_SECONDS = 30


def checks():
    for runtime in RUNTIMES:
        yield f"tap comes back after closes, resets and ends of stream, {runtime}", ends_of_sessions, runtime
        yield f"tap comes back when a killed server is started again, {runtime}", killed_server, runtime
        yield f"tap leaves a frozen server and comes back when it thaws, {runtime}", frozen_server, runtime
        yield f"tap resumes a feed by its numbers, whatever resets destroy, {runtime}", resumed, runtime
    yield "a close 1012 is followed by a pause of 5 to 30 s, which an interrupt cuts short", service_restart
    yield f"flapping servers are dialled at most {DIALS_MAX} times in {FLAPPING_SECONDS} s", flapping


async def ends_of_sessions(tools, runtime):
    endings = [
        ("1001", lambda socket: socket.close(1001, "going away")),
        ("1011", lambda socket: socket.close(1011)),
        ("4000", lambda socket: socket.close(4000, "of its own")),
        ("1000", lambda socket: socket.close(1000)),
        ("reset", reset),
        ("close frame", end_of_stream),
    ]
    each = 5
    sent = 0
    sessions = 0

    async def session(socket):
        nonlocal sent, sessions
        ending = endings[sessions][1] if sessions < len(endings) else None
        sessions += 1
        for _ in range(each):
            sent += 1
            await socket.send(str(sent))
        # What is not read when a reset comes is lost by the kernel, on both sides: the pong says that the client has
        # read all, and that nothing of its own is on the way, which would turn a close of this side into a reset.
        await (await socket.ping())
        if ending:
            await ending(socket)
        await socket.wait_closed()

    directory = tools.directory(f"ends {runtime}")
    events = Events(directory / "events")
    async with websocket_server(session) as url:
        (directory / "config").write_text(f'{QUICK}[[connection]]\nname = "a"\nurl = "{url}"\n')
        options = ["--runtime", runtime, "--config", directory / "config", "--events", events.path]
        async with Ropewalk(tools, "tap", *options) as run:
            stream = Stream("a")
            for number in range(1, each * (len(endings) + 1) + 1):
                expect(stream.take(await run.record()) == str(number), f"message {number}")
            (await run.interrupt()).expect(status=0)
    generations = list(range(1, len(endings) + 2))
    expect(stream.generations == generations, f"sockets {stream.generations}")
    ready = [event["generation"] for event in events.all("ready")]
    expect(ready == generations, f"ready: {ready}")
    closed = [event["reason"] for event in events.all("closed")][: len(endings)]
    for (name, _), reason in zip(endings, closed, strict=True):
        expect(name in reason, f"the end by {name} was reported as: {reason}")
    retrying = events.all("retrying")
    expect(len(retrying) == len(endings), f"{len(retrying)} events of retrying")
    expect(all(event["class"] == "retry" and event["retry_at"] >= event["at"] for event in retrying), f"{retrying}")


async def reset(socket):
    # Without lingering, a close is a reset.
    lingering = struct.pack("ii", 1, 0)
    socket.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, lingering)
    socket.transport.abort()


async def end_of_stream(socket):
    socket.transport.close()


async def killed_server(tools, runtime):
    directory = tools.directory(f"killed {runtime}")
    messages = Messages(directory, 20, seed=7)
    events = Events(directory / "events")
    async with Peer.node(tools, "feed", messages) as peer:
        (directory / "config").write_text(f'{QUICK}[[connection]]\nname = "a"\nurl = "{peer.url()}"\n')
        options = ["--runtime", runtime, "--config", directory / "config", "--events", events.path]
        async with Ropewalk(tools, "tap", *options) as run:
            stream = Stream("a")
            for message in messages.all:
                expect(stream.take(await run.record()) == message, f"message {stream.seq}")
            await peer.kill()
            await events.until(lambda all: sum("refused" in each.get("reason", "") for each in all) >= 2)
            async with Peer.node(tools, "feed", messages, port=peer.port) as again:
                for message in messages.all:
                    expect(stream.take(await run.record()) == message, f"message {stream.seq}")
                (await run.interrupt()).expect(status=0)
                await again.says("sent")
                expect((await again.says("closed"))["closed"] == 1000, "the session did not end with 1000")
    expect(len(stream.generations) == 2 and stream.generation > 2, f"sockets {stream.generations}")
    expect(stream.seq == 2 * len(messages), f"{stream.seq} messages")


async def frozen_server(tools, runtime):
    directory = tools.directory(f"frozen {runtime}")
    messages = Messages(directory, 20, seed=8)
    events = Events(directory / "events")
    async with Peer.node(tools, "feed", messages) as peer:
        (directory / "config").write_text(f'{QUICK}[[connection]]\nname = "a"\nurl = "{peer.url()}"\n')
        options = ["--runtime", runtime, "--config", directory / "config", "--events", events.path]
        async with Ropewalk(tools, "tap", *options) as run:
            stream = Stream("a")
            for message in messages.all:
                expect(stream.take(await run.record()) == message, f"message {stream.seq}")
            # Its kernel still accepts: the open socket goes silent, and new ones get no answer.
            peer.process.send_signal(signal.SIGSTOP)
            await events.until(lambda all: sum(each["event"] == "closed" for each in all) >= 2)
            peer.process.send_signal(signal.SIGCONT)
            for message in messages.all:
                expect(stream.take(await run.record()) == message, f"message {stream.seq}")
            (await run.interrupt()).expect(status=0)
    reasons = [event["reason"] for event in events.all("closed")]
    return f"{reasons[0]}; {reasons[1]}"


async def resumed(tools, runtime):
    """Each session sends from the number asked for, in bursts, and is reset in the middle of one."""
    draw = random.Random(9)
    last = 2_000
    asked = []

    async def session(socket):
        request = json.loads(await socket.recv())
        expect(request["op"] == "resume", f"{request}")
        asked.append(request["from"])
        end = min(request["from"] + draw.randrange(50, 300), last)
        for number in range(request["from"], end + 1):
            await socket.send(json.dumps({"seq": number, "text": "x" * draw.randrange(2_000)}))
        if end < last:
            await reset(socket)
        await socket.wait_closed()

    directory = tools.directory(f"resumed {runtime}")
    events = Events(directory / "events")
    async with websocket_server(session) as url:
        (directory / "config").write_text(
            f'{QUICK}[[connection]]\nname = "a"\nurl = "{url}"\nready = [\'{{"op":"resume","from":${{next}}}}\']\n'
            'resume = { sequence = "/seq", start = 1 }\n[connection.decode]\nformat = "json"\n'
        )
        options = ["--runtime", runtime, "--config", directory / "config", "--events", events.path]
        async with Ropewalk(tools, "tap", *options, "--count", last) as run:
            stream = Stream("a")
            async for record in run.records():
                number = json.loads(stream.take(record))["seq"]
                expect(number == stream.seq, f"number {number} as message {stream.seq}")
            (await run.end()).expect(status=0)
    expect(stream.seq == last, f"{stream.seq} messages of {last}")
    expect(asked[0] == 1 and asked == sorted(asked) and len(asked) > 5, f"asked for {asked}")
    expect(not events.all("gap"), f"{events.all('gap')}")
    return f"{len(asked)} sessions"


async def service_restart(tools):
    async def session(socket):
        await socket.close(1012)

    events = Events(tools.directory("service restart") / "events")
    async with websocket_server(session) as url:
        async with Ropewalk(tools, "tap", "--events", events.path, f"a={url}") as run:
            await events.until(lambda all: any(each["event"] == "retrying" for each in all))
            begun = time.monotonic()
            (await run.interrupt()).expect(status=0)
            seconds = time.monotonic() - begun
    delay = events.all("retrying")[0]["delay_ms"]
    expect(5_000 <= delay <= 30_000, f"the pause is {delay} ms")
    expect(seconds < 2, f"the end took {seconds:.1f}s")


async def flapping(tools):
    """With the defaults, in real time, with a healthy neighbour."""
    dials = {"tcp": [], "close": [], "healthy": []}

    async def closes_tcp(reader, writer):
        dials["tcp"].append(time.monotonic())

    async def closes_session(socket):
        dials["close"].append(time.monotonic())
        await socket.close(1011)

    async def healthy(socket):
        dials["healthy"].append(time.monotonic())
        number = 0
        while True:
            number += 1
            await socket.send(str(number))
            await asyncio.sleep(0.05)

    events = Events(tools.directory("flapping") / "events")
    options = ["--for", f"{FLAPPING_SECONDS + 1}s", "--events", events.path]
    async with bare_server(closes_tcp) as tcp, websocket_server(closes_session) as close:
        async with websocket_server(healthy) as neighbour:
            urls = [f"tcp={tcp}", f"close={close}", f"healthy={neighbour}"]
            async with Ropewalk(tools, "tap", *options, *urls) as run:
                stream = Stream("healthy")
                async for record in run.records():
                    expect(stream.take(record) == str(stream.seq), f"message {stream.seq}")
                (await run.end()).expect(status=0)
    counts = {}
    for name in ["tcp", "close"]:
        begun = dials[name][0]
        counts[name] = sum(at - begun <= FLAPPING_SECONDS for at in dials[name])
        expect(3 <= counts[name] <= DIALS_MAX, f"{name}: {counts[name]} dials in {FLAPPING_SECONDS} s")
    expect(len(dials["healthy"]) == 1, f"the neighbour was dialled {len(dials['healthy'])} times")
    expect(stream.seq > 400, f"the neighbour received {stream.seq} messages")
    expect(any(event["connection"] == "close" for event in events.all("flapping")), "no event says that it flaps")
    return f"{counts['tcp']} dials without a handshake, {counts['close']} with one"
