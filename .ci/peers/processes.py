"""The command and the peers as child processes."""

import asyncio
import base64
import json
import os
import re
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.resolve()
LINE_MAX = 64 << 20
RUNTIMES = ["tokio", "smol", "async-std"]


class Failed(Exception):
    """A check that did not hold."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


@dataclass
class Tools:
    """Where things are."""

    ropewalk: str
    node_modules: str
    scratch: Path
    # What the command's environment has beside that of the checks.
    environment: dict = field(default_factory=dict)

    def directory(self, name):
        path = self.scratch / re.sub(r"\W+", "-", name)
        path.mkdir(parents=True)
        return path


@dataclass
class Ended:
    """A run of the command that is over."""

    status: int
    stdout: bytes
    stderr: str

    def expect(self, status):
        expect(self.status == status, f"exit status {self.status} instead of {status}: {self.stderr[-2000:]}")
        return self


class Ropewalk:
    """A run of the command; leaving the block ends it, whatever it does."""

    def __init__(self, tools, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE):
        self.arguments = [tools.ropewalk, *map(str, arguments)]
        self.environment = {**os.environ, **tools.environment}
        self.stdin = stdin
        self.stdout = stdout

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments,
            env=self.environment,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=pipe,
            limit=LINE_MAX,
        )
        self.errors = asyncio.create_task(self.process.stderr.read())
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.errors.cancel()

    async def records(self):
        """The messages, as they come."""
        async for line in self.process.stdout:
            yield json.loads(line)

    async def record(self):
        line = await self.process.stdout.readline()
        if not line:
            raise Failed(f"the command ended: {(await self.end()).stderr[-2000:]}")
        return json.loads(line)

    def signal(self, number):
        self.process.send_signal(number)

    async def end(self):
        """Waits for the end."""
        rest = await self.process.stdout.read() if self.process.stdout else b""
        stderr = (await asyncio.shield(self.errors)).decode()
        return Ended(await self.process.wait(), rest, stderr)

    async def interrupt(self):
        self.signal(signal.SIGINT)
        return await self.end()


async def ropewalk(tools, *arguments):
    """A whole run."""
    async with Ropewalk(tools, *arguments) as run:
        return await run.end()


class Peer:
    """A server in a process of its own, which prints JSON lines."""

    def __init__(self, arguments, environment, scheme="ws"):
        self.arguments = arguments
        self.environment = environment
        self.scheme = scheme

    @classmethod
    def node(cls, tools, mode, messages, port=0, identity=None, deflate=None):
        """With `identity`, a file with a certificate and its key, it speaks TLS."""
        environment = {"PEER_NODE_MODULES": tools.node_modules, "PEER_MESSAGES": str(messages.directory)}
        if identity:
            environment["PEER_IDENTITY"] = str(identity)
        if deflate is not None:
            environment["PEER_DEFLATE"] = json.dumps(deflate)
        return cls(["node", HERE / "node_peer.mjs", mode, port], environment, "wss" if identity else "ws")

    @classmethod
    def pywebsocket(cls, messages):
        environment = {"PEER_SOURCES": str(HERE), "PEER_MESSAGES": str(messages.directory)}
        return cls([sys.executable, HERE / "pywebsocket_peer.py"], environment)

    @classmethod
    def paced(cls, clients, messages, period):
        return cls([sys.executable, HERE / "paced_peer.py", clients, messages, period], {})

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            *map(str, self.arguments),
            env={**os.environ, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        self.port = (await self.says("listening"))["listening"]
        return self

    async def __aexit__(self, *_):
        await self.kill()

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def says(self, key):
        """The next thing that it says, which must be about this."""
        line = await self.process.stdout.readline()
        expect(line, f"the peer ended before it said `{key}`")
        said = json.loads(line)
        expect(key in said, f"the peer said {said}, not `{key}`")
        return said

    def url(self, path="/"):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"


RECEIVED_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass
class Stream:
    """Checks the records of one connection as they come: numbers without a hole, times and sockets in order."""

    connection: str
    seq: int = 0
    generation: int = 0
    received_at: str = ""
    generations: list = field(default_factory=list)

    def take(self, record):
        """The record's message: str or bytes."""
        keys = ["connection", "generation", "seq", "received_at", "type", "data"]
        expect(list(record) == keys, f"a record's keys are {list(record)}")
        expect(record["connection"] == self.connection, f"a message of {record['connection']}")
        expect(record["seq"] == self.seq + 1, f"seq {record['seq']} after {self.seq}")
        expect(RECEIVED_AT.fullmatch(record["received_at"]), f"received at {record['received_at']}")
        expect(record["received_at"] >= self.received_at, "times go backwards")
        expect(record["generation"] >= self.generation, "generations go backwards")
        self.seq = record["seq"]
        self.received_at = record["received_at"]
        if record["generation"] != self.generation:
            self.generation = record["generation"]
            self.generations.append(self.generation)
        if record["type"] == "text":
            return record["data"]
        return base64.b64decode(record["data"], validate=True)


class Events:
    """The file that `--events` writes."""

    def __init__(self, path):
        self.path = path

    def all(self, event=None):
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [each for each in events if event in (None, each["event"])]

    async def until(self, holds):
        """Waits until the events so far are as wanted."""
        while not holds(self.all()):
            await asyncio.sleep(0.02)
