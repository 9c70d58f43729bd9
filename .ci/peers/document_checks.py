"""The examples of README.md that need a server, or that are files."""

import re
import shlex
from pathlib import Path

from processes import Ropewalk, Stream, expect, ropewalk
from python_peer import websocket_server
from tls_peer import Authority

README = Path(__file__).parents[2] / "README.md"


def checks():
    for block in fences("sh"):
        for command in block.splitlines():
            if command.startswith("ropewalk "):
                yield f"README.md: `{command}`", command_runs, command
    for number, text in enumerate(fences("toml"), start=1):
        yield f"README.md: configuration {number} is one", configuration_holds, number, text


def fences(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


async def command_runs(tools, command):
    """As it stands, but for the server's address and a shorter time."""

    async def session(socket):
        for number in range(1, 11):
            await socket.send(str(number))
        await socket.wait_closed()

    async with websocket_server(session) as url:
        address = url.removeprefix("ws://").removesuffix("/")
        arguments = [re.sub(r"127\.0\.0\.1:\d+", address, word) for word in shlex.split(command)[1:]]
        arguments = ["1s" if before == "--for" else word for before, word in zip(["", *arguments], arguments)]
        names = [word.split("=")[0] for word in arguments if "=ws://" in word]
        expect(names, "the example names no connection")
        streams = {name: Stream(name) for name in names}
        async with Ropewalk(tools, *arguments) as run:
            async for record in run.records():
                stream = streams[record["connection"]]
                expect(stream.take(record) == str(stream.seq), f"message {stream.seq}")
            (await run.end()).expect(status=0)
    expect(all(stream.seq == 10 for stream in streams.values()), "not every connection has its messages")


async def configuration_holds(tools, number, text):
    directory = tools.directory(f"README {number}")
    file = directory / "config.toml"
    file.write_text(text)
    # A system may come without authorities, and `check` reads what it has.
    tools = Authority(directory).trusted_by(tools)
    (await ropewalk(tools, "check", file)).expect(status=0)
