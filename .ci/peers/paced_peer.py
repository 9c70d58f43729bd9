"""A paced server: once CLIENTS are there, each gets MESSAGES numbered messages, PERIOD seconds apart.

    paced_peer.py CLIENTS MESSAGES PERIOD

It prints its port, then how it went; the clients end the sessions."""

import asyncio
import json
import resource
import sys

from websockets.asyncio.server import serve


def say(what):
    print(json.dumps(what), flush=True)


async def main(clients, messages, period):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    sessions = []
    codes = {}
    all_there = asyncio.Event()
    all_gone = asyncio.Event()

    async def session(socket):
        sessions.append(socket)
        if len(sessions) == clients:
            all_there.set()
        await socket.wait_closed()
        codes[socket.close_code] = codes.get(socket.close_code, 0) + 1
        if sum(codes.values()) == clients:
            all_gone.set()

    options = dict(compression=None, ping_interval=None, close_timeout=60, backlog=1024)
    async with serve(session, "127.0.0.1", 0, **options) as server:
        say({"listening": server.sockets[0].getsockname()[1]})
        begun = loop.time()
        await all_there.wait()
        say({"connected": len(sessions), "seconds": loop.time() - begun})
        begun = loop.time()
        for number in range(1, messages + 1):
            for socket in sessions:
                await socket.send(f'{{"feed":"{socket.request.path}","seq":{number}}}')
            await asyncio.sleep(max(0, begun + number * period - loop.time()))
        say({"sent": messages * clients, "seconds": loop.time() - begun})
        await all_gone.wait()
        say({"closed": codes})


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
