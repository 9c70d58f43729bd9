"""A thousand connections to one paced server."""

import re

from processes import RUNTIMES, Peer, Ropewalk, expect

CLIENTS = 1_000
MESSAGES = 150
PERIOD = 0.2


def checks():
    for runtime in RUNTIMES:
        yield f"tap reads a paced server over {CLIENTS} connections for {MESSAGES * PERIOD:.0f} s, {runtime}", paced, runtime


async def paced(tools, runtime):
    async with Peer.paced(CLIENTS, MESSAGES, PERIOD) as peer:
        urls = [f"{number}={peer.url(f'/{number}')}" for number in range(CLIENTS)]
        options = ["--runtime", runtime, "--count", CLIENTS * MESSAGES, "--events", "/dev/null"]
        async with Ropewalk(tools, "tap", *options, *urls) as run:
            # Bytes are compared as they come: the records' checks in full are those of the other exchanges.
            last = [0] * CLIENTS
            record = re.compile(
                rb'\{"connection":"(\d+)","generation":1,"seq":(\d+),"received_at":"[^"]{27}",'
                rb'"type":"text","data":"\{\\"feed\\":\\"/(\d+)\\",\\"seq\\":(\d+)\}"\}\n'
            )
            async for line in run.process.stdout:
                match = record.fullmatch(line)
                expect(match, f"an unexpected record: {line}")
                connection, seq, feed, number = map(int, match.groups())
                expect(connection == feed and seq == number, f"{line}")
                expect(number == last[connection] + 1, f"{number} after {last[connection]} on {connection}")
                last[connection] = number
            ended = (await run.end()).expect(status=0)
        expect(last == [MESSAGES] * CLIENTS, f"not every connection has its {MESSAGES} messages")
        connected = await peer.says("connected")
        sent = await peer.says("sent")
        codes = (await peer.says("closed"))["closed"]
    expect(codes == {"1000": CLIENTS}, f"the server saw {codes}")
    expect(sent["seconds"] < MESSAGES * PERIOD * 1.2, f"the server could not keep its pace: {sent}")
    total = CLIENTS * MESSAGES
    summary = re.search(rf"{CLIENTS} connections, {total} messages, \d+ bytes, {CLIENTS} sockets in [\d.]+s\n", ended.stderr)
    expect(summary, f"no summary in {ended.stderr[-500:]}")
    usage = re.search(r"CPU time ([\d.]+)s .*, peak memory ([\d.]+) MiB\n", ended.stderr)
    expect(usage, f"no usage in {ended.stderr[-500:]}")
    return f"connected in {connected['seconds']:.1f}s; {summary[0].strip()}; {usage[0].strip()}"
