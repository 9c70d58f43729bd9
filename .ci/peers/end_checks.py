"""How runs end: at once, in good order, and without noise."""

import asyncio
import json
import re
import signal
import time

from processes import RUNTIMES, Events, Ropewalk, Stream, expect, ropewalk
from python_peer import bare_server, websocket_server

# An orderly end has this long; the command promises five seconds where a server does not play along.
SOON = 2.0
GRACE = 5.0


def checks():
    for runtime in RUNTIMES:
        yield f"an interrupt ends tap with a summary and a close frame 1000, {runtime}", interrupted, runtime
        yield f"tap --count ends as soon as it has its messages, {runtime}", counted, runtime
        yield f"tap --for ends by itself, {runtime}", timed, runtime
        yield f"a closed output ends tap quietly, {runtime}", output_closed, runtime
        yield f"tap ends while a server stalls its handshake, {runtime}", stalled_upgrade, runtime
    yield "a server that never answers the close is left after the grace, or at a second interrupt", stuck_close
    yield "a slow reader of the output slows the server down, and loses nothing", slow_reader
    yield "echo tells a clean end from others", echo_status
    yield "tap ends with status 1 when every connection gave up", gave_up


def numbers(count=None):
    """A session that sends 1, 2, 3 … and notes its close code."""
    codes = []

    async def session(socket):
        number = 0
        while count is None or number < count:
            number += 1
            await socket.send(str(number))
            await asyncio.sleep(0.005)
        await socket.wait_closed()

    async def noted(socket):
        try:
            await session(socket)
        finally:
            await socket.wait_closed()
            codes.append(socket.close_code)

    return noted, codes


async def interrupted(tools, runtime):
    for number in [signal.SIGINT, signal.SIGTERM]:
        session, codes = numbers()
        async with websocket_server(session) as url:
            async with Ropewalk(tools, "tap", "--runtime", runtime, f"a={url}", f"b={url}") as run:
                streams = {name: Stream(name) for name in "ab"}
                for _ in range(100):
                    take(streams, await run.record())
                run.signal(number)
                begun = time.monotonic()
                ended = (await run.end()).expect(status=0)
                seconds = time.monotonic() - begun
        for line in ended.stdout.splitlines():
            take(streams, json.loads(line))
        expect(seconds < SOON, f"the end took {seconds:.1f}s")
        expect(codes == [1000, 1000], f"the server saw {codes}")
        summary = re.search(r"2 connections, (\d+) messages, (\d+) bytes, 2 sockets in [\d.]+s\n", ended.stderr)
        expect(summary, f"no summary in {ended.stderr}")
        written = sum(stream.seq for stream in streams.values())
        expect(int(summary[1]) == written, f"{summary[1]} messages in the summary, {written} written")


def take(streams, record):
    stream = streams[record["connection"]]
    message = stream.take(record)
    expect(message == str(stream.seq), f"message {stream.seq} is {message}")


async def counted(tools, runtime):
    session, codes = numbers()
    async with websocket_server(session) as url:
        async with Ropewalk(tools, "tap", "--runtime", runtime, "--count", 7, f"a={url}") as run:
            streams = {"a": Stream("a")}
            for _ in range(7):
                take(streams, await run.record())
            begun = time.monotonic()
            ended = (await run.end()).expect(status=0)
            seconds = time.monotonic() - begun
    expect(not ended.stdout, "more than was asked for")
    expect(seconds < SOON, f"the end took {seconds:.1f}s")
    expect(codes == [1000], f"the server saw {codes}")


async def timed(tools, runtime):
    session, codes = numbers()
    async with websocket_server(session) as url:
        begun = time.monotonic()
        (await ropewalk(tools, "tap", "--runtime", runtime, "--for", "1500ms", url)).expect(status=0)
        seconds = time.monotonic() - begun
    expect(1.5 <= seconds < 1.5 + SOON, f"it took {seconds:.1f}s")
    expect(codes == [1000], f"the server saw {codes}")


async def output_closed(tools, runtime):
    session, codes = numbers()
    script = f'"$1" tap --runtime {runtime} "$2" | head -n 3; echo "status ${{PIPESTATUS[0]}}"'
    async with websocket_server(session) as url:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, "bash", tools.ropewalk, f"a={url}", stdout=pipe, stderr=pipe
        )
        stdout, stderr = await process.communicate()
    lines = stdout.decode().splitlines()
    expect([json.loads(line)["data"] for line in lines[:-1]] == ["1", "2", "3"], f"{lines}")
    expect(lines[-1] == "status 0", lines[-1])
    events = [line for line in stderr.decode().splitlines() if line.startswith("{")]
    others = [line for line in stderr.decode().splitlines() if not line.startswith("{")]
    expect(all("panic" not in line and "rror" not in line for line in others), f"{others}")
    expect(events, "there were no events")
    expect(codes == [1000], f"the server saw {codes}")


async def stalled_upgrade(tools, runtime):
    async def accepted(reader, writer):
        await reader.read()

    async with bare_server(accepted) as url:
        events = Events(tools.directory(f"stalled {runtime}") / "events")
        async with Ropewalk(tools, "tap", "--runtime", runtime, "--events", events.path, f"a={url}") as run:
            await events.until(lambda all: any(each.get("to") == "upgrading" for each in all))
            begun = time.monotonic()
            (await run.interrupt()).expect(status=0)
            seconds = time.monotonic() - begun
    expect(seconds < SOON, f"the end took {seconds:.1f}s")


async def stuck_close(tools):
    async def accepted(reader, writer):
        await upgrade(reader, writer)
        await reader.read()
        await asyncio.Event().wait()

    async with bare_server(accepted) as url:
        for interrupts in [1, 2]:
            events = Events(tools.directory(f"stuck {interrupts}") / "events")
            async with Ropewalk(tools, "tap", "--events", events.path, f"a={url}") as run:
                await events.until(lambda all: any(each["event"] == "ready" for each in all))
                begun = time.monotonic()
                run.signal(signal.SIGINT)
                if interrupts == 2:
                    await asyncio.sleep(0.3)
                    run.signal(signal.SIGINT)
                ended = await run.end()
                seconds = time.monotonic() - begun
            if interrupts == 1:
                ended.expect(status=0)
                expect(seconds < GRACE + SOON, f"the end took {seconds:.1f}s")
            else:
                ended.expect(status=128 + signal.SIGINT)
                expect(seconds < SOON, f"the end took {seconds:.1f}s")


async def upgrade(reader, writer):
    """Answers an upgrade request by hand."""
    from base64 import b64encode
    from hashlib import sha1

    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = re.search(r"Sec-WebSocket-Key: *(\S+)", request, re.IGNORECASE)[1]
    accept = b64encode(sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    await writer.drain()


async def slow_reader(tools):
    count, size = 2_000, 64 << 10
    sent = 0

    async def session(socket):
        nonlocal sent
        for number in range(count):
            await socket.send(f"{number} ".ljust(size, "x"))
            sent = number + 1
        await socket.wait_closed()

    async with websocket_server(session) as url:
        async with Ropewalk(tools, "tap", "--count", count, f"a={url}") as run:
            run.process.stdout._transport.pause_reading()
            before = -1
            while before != sent or sent == 0:
                before = sent
                await asyncio.sleep(0.5)
            stuck_at = sent
            expect(stuck_at < count, "the server could send everything while nobody read")
            run.process.stdout._transport.resume_reading()
            stream = Stream("a")
            async for record in run.records():
                expect(stream.take(record).startswith(f"{stream.seq - 1} "), f"message {stream.seq}")
            ended = (await run.end()).expect(status=0)
    expect(stream.seq == count, f"{stream.seq} messages of {count}")
    memory = float(re.search(r"peak memory ([\d.]+) MiB", ended.stderr)[1])
    expect(memory < 64, f"{memory} MiB for a reader that was slow")
    return f"the server stood still at message {stuck_at}, peak memory {memory} MiB"


async def echo_status(tools):
    async def closes(socket):
        await socket.close(1000)

    async def resets(socket):
        socket.transport.abort()

    async with websocket_server(closes) as url:
        (await ropewalk(tools, "echo", url)).expect(status=0)
    async with websocket_server(resets) as url:
        ended = (await ropewalk(tools, "echo", url)).expect(status=1)
        expect(ended.stderr.startswith("ropewalk: "), ended.stderr)
    # Nobody listens there any more.
    (await ropewalk(tools, "echo", url)).expect(status=1)


async def gave_up(tools):
    async def forbids(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with bare_server(forbids) as url:
        events = Events(tools.directory("gave up") / "events")
        (await ropewalk(tools, "tap", "--events", events.path, url)).expect(status=1)
    expect(len(events.all("gave_up")) == 1 and "403" in str(events.all("gave_up")), f"{events.all()}")
