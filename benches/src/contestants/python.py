"""The work of `Contestant::Python`: python3 -c ... WORK TEXT URL COMPRESSION; prints what it came to."""

import asyncio
import json
import resource
import sys
import time

from websockets.asyncio.client import connect

WARM_UP = 1_000


class Meter:
    def __init__(self):
        self.begun, self.cpu, self.slept = time.monotonic_ns(), time.process_time_ns(), sleeps()

    def stop(self, seen):
        return {
            "seen": dict(zip(("messages", "bytes", "sum"), seen)),
            "cpu_nanos": time.process_time_ns() - self.cpu,
            "wall_nanos": time.monotonic_ns() - self.begun,
            "memory_bytes": 0,
            "sleeps": sleeps() - self.slept,
        }


def sleeps():
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def resident_bytes():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def look(seen, message):
    seen[0] += 1
    seen[1] += len(message)
    seen[2] += ord(message[0]) << 8 | ord(message[-1])


async def receive(work, _text, dial):
    meter, seen = Meter(), [0, 0, 0]
    async with dial() as socket:
        while seen[0] < work["messages"]:
            look(seen, await socket.recv())
        return meter.stop(seen)


async def send(work, text, dial):
    meter, seen = Meter(), [0, 0, 0]
    async with dial() as socket:
        for _ in range(work["messages"]):
            await socket.send(text)
        look(seen, await socket.recv())
        return meter.stop(seen)


async def echo(work, text, dial):
    times = []
    async with dial() as socket:
        for number in range(work["messages"] + WARM_UP):
            if number == WARM_UP:
                seen, meter = [0, 0, 0], Meter()
            begun = time.monotonic_ns()
            await socket.send(text)
            message = await socket.recv()
            if number >= WARM_UP:
                look(seen, message)
                times.append(time.monotonic_ns() - begun)
        done = meter.stop(seen)
    times.sort()
    done["round_trip_nanos"] = [times[(len(times) - 1) * at // 1_000] for at in (500, 990, 999)]
    return done


async def idle(work, _text, dial):
    before = resident_bytes()
    sockets = [await dial() for _ in range(work["connections"])]
    await asyncio.sleep(1)
    memory = resident_bytes() - before
    meter = Meter()
    await asyncio.sleep(2)
    done = meter.stop([0, 0, 0]) | {"memory_bytes": memory}
    for socket in sockets:
        socket.transport.abort()
    return done


async def main(work, text, url, compression):
    def dial():
        return connect(url, compression="deflate" if compression == "offered" else None, proxy=None)

    does = {"receive": receive, "inflate": receive, "send": send, "deflate": send, "echo": echo, "idle": idle}
    return await does[work["work"]](work, text, dial)


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1]), *sys.argv[2:]))))
