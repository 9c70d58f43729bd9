"""Lines of standard input as messages, and what the command says became of them."""

import asyncio
import json

from processes import RUNTIMES, Ropewalk, expect
from python_peer import websocket_server

COUNT = 10_000
# No system keeps as much as this for a reader that does not read.
KEPT_MAX = 48 << 20


def checks():
    for runtime in RUNTIMES:
        yield f"send brings {COUNT} lines to Python's websockets in order, {runtime}", in_order, runtime
    yield "send says what became of the lines of a session that was cut", cut
    yield "send says why it sends nothing", unreachable
    yield "send reads no faster than the server", held_back


def outcomes(ended):
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    expect(all(list(record) == ["line", "outcome", "at"] for record in records), f"records {records[:2]}")
    expect([record["line"] for record in records] == list(range(1, len(records) + 1)), "lines are out of order")
    return [record["outcome"] for record in records]


async def in_order(tools, runtime):
    received = []

    async def session(socket):
        async for message in socket:
            received.append(message)

    lines = [f"lïne {number} " + "x" * (number % 300) for number in range(COUNT)]
    async with websocket_server(session) as url:
        async with Ropewalk(tools, "send", "--json", "--runtime", runtime, url, stdin=asyncio.subprocess.PIPE) as run:
            feeding = asyncio.create_task(feed(run, "".join(line + "\n" for line in lines).encode()))
            ended = (await run.end()).expect(status=0)
            await feeding
    expect(outcomes(ended) == ["written"] * COUNT, "not all is written")
    expect(received == lines, f"{len(received)} lines arrived, or others")


async def cut(tools):
    """The first session reads a part and is aborted; the second reads what is left."""
    sessions = []

    async def session(socket):
        received = []
        sessions.append(received)
        # Meanwhile the command writes as much as is taken.
        await asyncio.sleep(0.5)
        async for message in socket:
            received.append(int(message.split()[0]))
            if len(sessions) == 1 and len(received) == 20:
                socket.transport.abort()
                return

    count = 400
    lines = "".join(f"{number} {'x' * 50_000}\n" for number in range(1, count + 1)).encode()
    async with websocket_server(session) as url:
        async with Ropewalk(tools, "send", "--json", url, stdin=asyncio.subprocess.PIPE) as run:
            feeding = asyncio.create_task(feed(run, lines))
            ended = await run.end()
            await feeding
    words = outcomes(ended)
    expect(len(words) == count and len(sessions) == 2, f"{len(words)} outcomes, {len(sessions)} sessions")
    expect(set(words) <= {"written", "interrupted"}, f"outcomes {set(words)}")
    expect(words.count("interrupted") <= 1, "more than one line was in the middle of being written")
    expect(ended.status == int("interrupted" in words), f"exit status {ended.status}")
    first, second = sessions
    expect(first == list(range(1, 21)), f"the first session read {first}")
    expect(second == list(range(second[0], count + 1)), "the second session has a hole")
    # What no session read was given to the first one, all of it or, for the last, a part.
    expect("interrupted" not in words or words.index("interrupted") + 2 == second[0], f"{second[0]} came next")
    return f"{second[0] - 21} lines went down with the first socket"


async def unreachable(tools):
    dials = asyncio.Queue()

    async def hang_up(_, writer):
        dials.put_nowait(None)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with Ropewalk(tools, "send", "--json", url, stdin=asyncio.subprocess.PIPE) as run:
            await feed(run, b"hello\n")
            # What is said of the first attempt is said before the second.
            for _ in range(2):
                await dials.get()
            ended = (await run.interrupt()).expect(status=1)
    expect(outcomes(ended) == ["not_sent"], f"outcomes {outcomes(ended)}")
    expect("; the next attempt is in " in ended.stderr.splitlines()[0], ended.stderr)


async def held_back(tools):
    over = asyncio.Event()

    async def session(socket):
        socket.transport.pause_reading()
        await over.wait()
        socket.transport.abort()

    async with websocket_server(session) as url:
        async with Ropewalk(tools, "send", "--json", url, stdin=asyncio.subprocess.PIPE) as run:
            block = (b"x" * 65_535 + b"\n") * 16
            taken = 0
            try:
                while taken < 2 * KEPT_MAX:
                    run.process.stdin.write(block)
                    # It takes nothing for a second: it never will.
                    await asyncio.wait_for(run.process.stdin.drain(), 1)
                    taken += len(block)
            except TimeoutError:
                pass
            expect(taken < KEPT_MAX, f"{taken >> 20} MiB were read")
            run.process.stdin.transport.abort()
            ended = (await run.interrupt()).expect(status=1)
        over.set()
    expect("not_sent" in outcomes(ended), "all was written")
    return f"{taken >> 20} MiB"


async def feed(run, data):
    run.process.stdin.write(data)
    await run.process.stdin.drain()
    run.process.stdin.close()
