"""Servers that speak more than one subprotocol, and one of them badly."""

import json

from processes import RUNTIMES, Ropewalk, Stream, expect
from python_peer import websocket_server

COUNT = 20
INVALID_MAX = 10

CONFIG = """\
[[connection]]
name = "feed"
url = "{url}"
subprotocols = ["v2", "v1"]
[connection.backoff]
initial = "50ms"
floor = "10ms"
[connection.decode]
format = "{format}"
invalid_max = {invalid_max}
sample_bytes = 8
"""


def checks():
    for runtime in RUNTIMES:
        yield f"tap goes on to the subprotocol that it understands, {runtime}", walked, runtime
    yield "tap gives up when no subprotocol helps, and says so", in_vain


async def walked(tools, runtime):
    # What is sent on v2, how it is wrong, and the close code that says so.
    faults = [("json", "<no JSON>", "malformed", 1007), ("text", b"\xff\xfe", "wrong_type", 1003)]
    for format, garbage, fault, code in faults:
        codes = []

        async def session(socket):
            if socket.subprotocol == "v2":
                for _ in range(INVALID_MAX + 1):
                    await socket.send(garbage)
            else:
                for number in range(COUNT):
                    await socket.send(json.dumps({"number": number}))
            await socket.wait_closed()
            codes.append((socket.subprotocol, socket.close_code))

        async with websocket_server(session, subprotocols=["v2", "v1"]) as url:
            directory = tools.directory(f"walked {runtime} {format}")
            config = directory / "config.toml"
            config.write_text(CONFIG.format(url=url, format=format, invalid_max=INVALID_MAX))
            events = directory / "events"
            options = ["--config", config, "--runtime", runtime, "--count", COUNT, "--events", events]
            stream = Stream("feed", seq=INVALID_MAX + 1)
            async with Ropewalk(tools, "tap", *options) as run:
                async for record in run.records():
                    message = json.loads(stream.take(record))
                    expect(message == {"number": stream.seq - INVALID_MAX - 2}, f"{message}")
                (await run.end()).expect(status=0)
        expect(stream.seq == COUNT + INVALID_MAX + 1 and stream.generations == [2], f"{stream}")
        expect(codes == [("v2", code), ("v1", 1000)], f"the sessions ended with {codes}")
        told = [json.loads(line) for line in events.read_text().splitlines()]
        offers = [event["subprotocols"] for event in told if event["event"] == "renegotiating"]
        expect(offers == [["v1"]], f"the offers were {offers}")
        [filtered, *_] = [event for event in told if event["event"] == "filtered"]
        expect(filtered["fault"] == fault, f"{filtered}")
        expect(filtered["sample"] == {"json": "<no JSON", "text": "//4="}[format], f"{filtered}")


async def in_vain(tools):
    offers = []

    async def session(socket):
        offers.append(socket.request.headers["Sec-WebSocket-Protocol"])
        for _ in range(INVALID_MAX + 1):
            await socket.send("<no JSON>")
        await socket.wait_closed()

    async with websocket_server(session, subprotocols=["v2", "v1"]) as url:
        config = tools.directory("in vain") / "config.toml"
        config.write_text(CONFIG.format(url=url, format="json", invalid_max=INVALID_MAX))
        async with Ropewalk(tools, "tap", "--config", config) as run:
            ended = (await run.end()).expect(status=1)
    expect(offers == ["v2, v1", "v1"] * 3, f"the offers were {offers}")
    expect('"cause":"strikes"' in ended.stderr, ended.stderr[-2000:])
