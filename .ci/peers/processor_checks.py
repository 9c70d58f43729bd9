"""Commands that judge messages: what they answer, how they fail, and that none of their processes is left behind."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import uuid
from collections import Counter
from pathlib import Path

from document_checks import fences
from processes import RUNTIMES, Ropewalk, expect, ropewalk
from python_peer import websocket_server

MANY = 50_000

# Every child notes who it is, and has `answer` and the messages one by one.
PRELUDE = """
import json, os, signal, sys, time
notes = open("NOTES", "a", buffering=1)
def note(**what):
    notes.write(json.dumps({"pid": os.getpid(), **what}) + "\\n")
note(group=os.getpgid(0))
def answer(message, verdict="ack", **more):
    print(json.dumps({"seq": message["seq"], "verdict": verdict, **more}), flush=True)
def messages():
    for line in sys.stdin:
        yield json.loads(line)
"""

JUDGE = """
seen = {}
for message in messages():
    number = int(message["data"])
    seen[number] = seen.get(number, 0) + 1
    if number % 10 == 3:
        answer(message, "reject", reason=f"never {number}")
    elif number % 10 == 4 and seen[number] < 3:
        answer(message, "retry", after_ms=5)
    elif number % 10 == 5:
        answer(message, "retry", reason=f"not now, {number}")
    else:
        answer(message)
"""

# The message 57 is too much for it.
FAILS = """
for message in messages():
    if message["data"] == "57":
        FAILURE
    answer(message)
"""

FAILURES = {
    "exits": ("sys.exit(3)", "the processor ended (exit status: 3)"),
    "exits before what it started": (
        "import subprocess; subprocess.Popen(['sleep', '100'], stdout=subprocess.DEVNULL); sys.exit(3)",
        "the processor ended (exit status: 3)",
    ),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "the processor ended (signal: 9 (SIGKILL))"),
    "closes its output": ("os.close(1); time.sleep(100)", "the processor closed its output"),
    "hangs": ("time.sleep(100)", "the processor had no verdict for 400ms"),
    "hangs, deaf": ("signal.signal(signal.SIGTERM, signal.SIG_IGN); [time.sleep(1) for _ in range(100)]", "no verdict for 400ms"),
    "writes text": ("print('done', flush=True)", "answered nonsense: `done` is no verdict"),
    "writes half a line": ("sys.stdout.write('{'); sys.stdout.flush(); time.sleep(100)", "no verdict for 400ms"),
    "has an unknown verdict": ("answer(message, 'maybe')", "unknown variant `maybe`"),
    "judges an unknown message": ("answer({'seq': 10**9})", "message 1000000000 was not asked about"),
    "writes without end": ("sys.stdout.write('x' * (1 << 20)); sys.stdout.flush(); time.sleep(100)", "a line is longer than 65536 bytes"),
}

# Answers backwards what has come when nothing more comes.
BACKWARDS = """
import select
buffered, waiting = b"", []
while True:
    if select.select([0], [], [], 0.05)[0]:
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, buffered = (buffered + chunk).split(b"\\n")
        waiting += map(json.loads, lines)
    else:
        for message in reversed(waiting):
            answer(message)
        waiting.clear()
"""

LOUD = """
for message in messages():
    answer(message, reason="x" * 60000)
"""

SLOW = """
for message in messages():
    begun = time.monotonic()
    note(seq=message["seq"], key=json.loads(message["data"])["key"], begun=begun)
    time.sleep(0.004)
    note(seq=message["seq"], ended=time.monotonic())
    answer(message)
"""

# Slower than those who read the records.
ACCEPTS = """
for message in messages():
    time.sleep(0.0001)
    answer(message)
"""

# Takes a while for one message, and then never ends by itself.
BUSY = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for message in messages():
    note(asked=message["seq"])
    time.sleep(TAKES)
    answer(message)
STAYS
"""


def checks():
    for runtime in RUNTIMES:
        yield f"a command's verdicts make records and letters, on {runtime}", verdicts, runtime
    for name, (failure, reason) in FAILURES.items():
        yield f"a command that {name} loses the message at fault and no other", fails, failure, reason
    yield "README.md: the script and its configuration judge messages", readme
    yield "a command that judges a message twice is replaced, and nothing is lost", twice
    yield "a command that never answers is not started all the time", broken
    yield "a command that is gone makes letters that say so", gone
    yield "a command may answer in any order", backwards
    yield "pipes that are full both ways do not block each other", loud
    yield "messages of one key stay in order while calls overlap", by_key
    yield f"{MANY} messages through 4 processes, some of them killed, lost 0", many
    yield "a reader that reads nothing keeps neither the command nor its processes", unread
    yield "a run that counts writes so many that are acknowledged", counted
    for runtime in RUNTIMES:
        for way in ["interrupt", "time"]:
            yield f"after the end by {way}, what was being judged is written, on {runtime}", ended, way, runtime
        for way in ["interrupt", "time", "abort", "kill"]:
            yield f"no process is left after the end by {way}, on {runtime}", left, way, runtime


@dataclasses.dataclass
class Setting:
    """A connection with a command that is a Python script."""

    tools: object
    directory: Path
    mark: str

    @classmethod
    def of(cls, tools, name):
        mark = uuid.uuid4().hex
        tools = dataclasses.replace(tools, environment={**tools.environment, "ROPEWALK_MARK": mark})
        return cls(tools, tools.directory(f"processor {name}"), mark)

    def configure(self, url, script, further="", command=None, patience="30s"):
        """`patience` is the command's `verdict_timeout`."""
        program = self.directory / "child.py"
        program.write_text(PRELUDE.replace("NOTES", str(self.directory / "notes")) + script)
        config = self.directory / "tap.toml"
        command = command or [sys.executable, str(program)]
        config.write_text(f"""
[[connection]]
name = "feed"
url = "{url}"
[connection.retry]
initial = "5ms"
max = "20ms"
[letters]
store = "{self.directory / 'letters.sqlite'}"
[connection.processor]
command = {json.dumps(command)}
verdict_timeout = "{patience}"
{further}
""")
        return config

    def notes(self):
        path = self.directory / "notes"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    async def until(self, holds):
        while not holds(self.notes()):
            await asyncio.sleep(0.01)

    async def letters(self):
        store = self.directory / "letters.sqlite"
        output = (await ropewalk(self.tools, "letters", "list", "--json", store)).expect(status=0)
        return [json.loads(line) for line in output.stdout.splitlines()]

    def processes(self):
        """Those that have the mark in their environment, but for zombies, which have none."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if f"ROPEWALK_MARK={self.mark}".encode() in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
        return found

    async def nobody_left(self):
        """Children end when their input does; that may be a moment after the command itself."""
        for _ in range(100):
            if not self.processes():
                return
            await asyncio.sleep(0.02)
        expect(False, f"processes {self.processes()} are left")


def numbers(count):
    return [str(number) for number in range(count)]


@contextlib.asynccontextmanager
async def server(texts, before=lambda: None):
    async def session(socket):
        before()
        for text in texts:
            await socket.send(text)
        await socket.wait_closed()

    async with websocket_server(session) as url:
        yield url


async def run_until(setting, config, accepted, letters, *arguments):
    """Runs until there are so many records and letters; gives the data of the records, and the events."""
    seen, events = [], []
    arguments = ["tap", "--quiet", "--events", "-", "--config", config, *arguments]
    async with Ropewalk(setting.tools, *arguments) as run:
        stored = 0
        while len(seen) < accepted or stored < letters:
            record = await run.record()
            if "data" in record:
                seen.append(record["data"])
            else:
                events.append(record)
                stored += record["event"] == "letter_stored"
        ended = (await run.interrupt()).expect(status=0)
        more = [json.loads(line) for line in ended.stdout.splitlines()]
        seen += [record["data"] for record in more if "data" in record]
        events += [record for record in more if "event" in record]
    await setting.nobody_left()
    return seen, events


async def verdicts(tools, runtime):
    setting = Setting.of(tools, f"verdicts {runtime}")
    texts = numbers(300)
    rejected = {text: f"never {text}" for text in texts if text[-1] == "3"}
    rejected |= {text: f"not now, {text}; still asked for a retry at its try 4" for text in texts if text[-1] == "5"}
    async with server(texts) as url:
        config = setting.configure(url, JUDGE)
        seen, events = await run_until(setting, config, 240, 60, "--runtime", runtime)
    expect(sorted(seen, key=int) == [text for text in texts if text not in rejected], f"{len(seen)} records: {seen}")
    letters = await setting.letters()
    expect({letter["data"]: letter["reason"] for letter in letters} == rejected, f"letters are {letters}")
    expect(len(letters) == len(rejected), "a message is in two letters")
    for letter in letters:
        expect(letter["seq"] == int(letter["data"]) + 1 and letter["stage"] == "business", f"{letter}")
    expect(not [event for event in events if event["event"] == "processor_failed"], "a process was replaced")
    children = [each for each in setting.notes() if "group" in each]
    expect(len(children) == 1, f"{len(children)} processes, one after another, for calls that never overlap")
    expect(children[0]["group"] == children[0]["pid"], "the command's process is in the terminal's group")


async def fails(tools, failure, reason):
    setting = Setting.of(tools, f"fails {failure[:30]}")
    texts = numbers(100)
    async with server(texts) as url:
        config = setting.configure(url, FAILS.replace("FAILURE", failure), patience="400ms")
        seen, events = await run_until(setting, config, 99, 1)
    expect(seen == [text for text in texts if text != "57"], f"{len(seen)} records: {seen}")
    [letter] = await setting.letters()
    expect(letter["data"] == "57" and reason in letter["reason"] and letter["attempts"] == 4, f"{letter}")
    told = [event for event in events if event["event"] == "processor_failed"]
    expect(all(reason in event["reason"] for event in told), f"{told}")
    children = [each for each in setting.notes() if "group" in each]
    expect(len(told) + 1 >= len(children) >= 4, f"{len(told)} failures, {len(children)} processes")
    return f"{len(children)} processes"


async def readme(tools):
    setting = Setting.of(tools, "readme")
    [script] = fences("python")
    [configuration] = [text for text in fences("toml") if "verdicts.py" in text]
    program, prices = setting.directory / "verdicts.py", setting.directory / "prices.txt"
    program.write_text(script.replace("prices.txt", str(prices)))
    texts = [json.dumps({"symbol": f"s{number % 3}", "price": number}) for number in range(50)]
    async with server([*texts, "no JSON", "{}"]) as url:
        setting.configure(url, "")
        store = "\n[letters]\nstore = " + json.dumps(str(setting.directory / "letters.sqlite"))
        configuration = configuration.replace("ws://a.example/ws", url).replace("verdicts.py", str(program)) + store
        config = setting.directory / "readme.toml"
        config.write_text(configuration)
        seen, _ = await run_until(setting, config, len(texts), 2)
    expect(sorted(seen) == sorted(texts), f"records are {seen}")
    expect(sorted(map(int, prices.read_text().split())) == list(range(50)), "not every price is there once")
    letters = {letter["data"]: letter["reason"] for letter in await setting.letters()}
    expect(set(letters) == {"no JSON", "{}"} and letters["{}"] == "KeyError('price')", f"{letters}")


async def twice(tools):
    setting = Setting.of(tools, "twice")
    texts = numbers(100)
    async with server(texts) as url:
        config = setting.configure(url, FAILS.replace("FAILURE", "answer(message)"))
        seen, events = await run_until(setting, config, 100, 0)
    expect(seen == texts, f"{len(seen)} records: {seen}")
    expect(await setting.letters() == [], "there are letters")
    told = [event["reason"] for event in events if event["event"] == "processor_failed"]
    words = ["had a verdict already", "spoke without being asked"]
    expect(len(told) == 1 and any(each in told[0] for each in words), f"{told}")


async def broken(tools):
    setting = Setting.of(tools, "broken")
    async with server(numbers(200)) as url:
        config = setting.configure(url, "sys.exit(1)")
        seen, events = await run_until(setting, config, 0, 200)
    letters = await setting.letters()
    expect(sorted(int(letter["data"]) for letter in letters) == list(range(200)), f"{len(letters)} letters")
    expect({letter["reason"] for letter in letters} == {"the processor ended (exit status: 1)"}, f"{letters[0]}")
    starts = len([each for each in setting.notes() if "group" in each])
    expect(starts <= 20, f"{starts} processes for 200 messages")
    return f"{starts} processes"


async def gone(tools):
    setting = Setting.of(tools, "gone")
    program = setting.directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # When there is a session, the command has seen that the program is there.
    async with server(["lost"], before=program.unlink) as url:
        config = setting.configure(url, "", command=[str(program)])
        await run_until(setting, config, 0, 1)
    [letter] = await setting.letters()
    expect(letter["reason"].startswith("the processor cannot be started: No such file"), f"{letter}")
    (await ropewalk(tools, "tap", "--config", config)).expect(status=2)


async def backwards(tools):
    setting = Setting.of(tools, "backwards")
    texts = numbers(500)
    async with server(texts) as url:
        config = setting.configure(url, BACKWARDS)
        seen, events = await run_until(setting, config, 500, 0)
    expect(seen == texts, f"{len(seen)} records, in another order")
    expect(not [event for event in events if event["event"] == "processor_failed"], "a process was replaced")


async def loud(tools):
    setting = Setting.of(tools, "loud")
    texts = [f"{number} {'y' * 4000}" for number in range(1000)]
    async with server(texts) as url:
        seen, _ = await run_until(setting, setting.configure(url, LOUD), 1000, 0)
    expect(seen == texts, f"{len(seen)} records")


async def by_key(tools):
    setting = Setting.of(tools, "by key")
    texts = [json.dumps({"key": f"k{number * 7 % 20}", "n": number}) for number in range(1500)]
    async with server(texts) as url:
        further = 'order = { key = "/key" }\nworkers = { min = 4, max = 4 }'
        further += "\n[connection.batch]\ncount_max = 20"
        seen, _ = await run_until(setting, setting.configure(url, SLOW, further), 1500, 0)
    expect(sorted(seen) == sorted(texts), f"{len(seen)} records")
    begun = [each for each in setting.notes() if "begun" in each]
    ends = {each["seq"]: each["ended"] for each in setting.notes() if "ended" in each}
    last, overlapping = {}, 0
    running = 0.0
    for each in sorted(begun, key=lambda each: each["begun"]):
        before = last.get(each["key"])
        if before:
            expect(before["seq"] < each["seq"], f"{each['key']}: {each['seq']} after {before['seq']}")
            expect(ends[before["seq"]] <= each["begun"], f"{each['key']}: two messages at once")
        last[each["key"]] = each
        overlapping += each["begun"] < running
        running = max(running, ends[each["seq"]])
    expect(len({each["pid"] for each in begun}) > 1 and overlapping > 100, f"{overlapping} overlap")
    records = {}
    for text in map(json.loads, seen):
        expect(records.get(text["key"], -1) < text["n"], "records of a key are not in order")
        records[text["key"]] = text["n"]
    return f"{overlapping} of 1500 calls began during another"


async def many(tools):
    setting = Setting.of(tools, "many")
    killed = set()
    async with server(numbers(MANY)) as url:
        config = setting.configure(url, ACCEPTS, 'order = "none"\nworkers = { min = 4, max = 4 }')
        seen = Counter()
        async with Ropewalk(setting.tools, "tap", "--quiet", "--events", "-", "--config", config) as run:
            at = iter(range(5_000, MANY, 9_000))
            next_kill = next(at)
            while seen.total() < MANY:
                record = await run.record()
                seen[record.get("data")] += "data" in record
                if seen.total() >= next_kill:
                    next_kill = next(at, MANY)
                    for child in {each["pid"] for each in setting.notes() if "group" in each} - killed:
                        os.kill(child, signal.SIGKILL)
                        killed.add(child)
            ended = (await run.interrupt()).expect(status=0)
    expect(b'"data"' not in ended.stdout, "there are more records than messages")
    lost = [text for text in numbers(MANY) if seen[text] != 1]
    expect(not lost, f"{len(lost)} messages were not written once: {lost[:10]}")
    expect(await setting.letters() == [], "there are letters")
    await setting.nobody_left()
    children = len([each for each in setting.notes() if "group" in each])
    expect(len(killed) >= 4 and children > 4, f"{len(killed)} kills, {children} processes")
    return f"lost 0; {len(killed)} kills, {children} processes"


async def counted(tools):
    setting = Setting.of(tools, "counted")
    async with server(numbers(300)) as url:
        config = setting.configure(url, JUDGE, "[connection.batch]\ncount_max = 16")
        ended = (await ropewalk(setting.tools, "tap", "--quiet", "--config", config, "--count", 20)).expect(status=0)
    expect(len(ended.stdout.splitlines()) == 20, f"{len(ended.stdout.splitlines())} records")
    await setting.nobody_left()


async def unread(tools):
    setting = Setting.of(tools, "unread")
    reader, writer = os.pipe()
    try:
        async with server(["x" * 100_000] * 300) as url:
            config = setting.configure(url, ACCEPTS + "    note(judged=message['seq'])\n", "[connection.batch]\ncount_max = 4")
            async with Ropewalk(setting.tools, "tap", "--quiet", "--config", config, stdout=writer) as run:
                # 4 MiB may wait before the pipe.
                await setting.until(lambda notes: sum("judged" in each for each in notes) >= 40)
                run.signal(signal.SIGINT)
                status = (await asyncio.wait_for(run.end(), 30)).status
    finally:
        os.close(reader)
        os.close(writer)
    expect(status == 1, f"exit status {status}")
    await setting.nobody_left()


def busy(takes, stays):
    return BUSY.replace("TAKES", str(takes)).replace("STAYS", stays)


async def ended(tools, way, runtime):
    """One message takes a second, and the end comes meanwhile."""
    setting = Setting.of(tools, f"ended {way} {runtime}")
    async with server(["1"]) as url:
        config = setting.configure(url, busy(1, ""))
        arguments = ["tap", "--quiet", "--config", config, "--runtime", runtime]
        arguments += ["--for", "500ms"] if way == "time" else []
        async with Ropewalk(setting.tools, *arguments) as run:
            if way == "interrupt":
                await setting.until(lambda notes: any("asked" in each for each in notes))
                run.signal(signal.SIGINT)
            output = (await run.end()).expect(status=0)
    expect(json.loads(output.stdout)["data"] == "1", f"{output.stdout}")
    await setting.nobody_left()


async def left(tools, way, runtime):
    """A message takes for ever, and the process ends at nothing but a kill; or, if the command itself is killed, at the end of its
    input."""
    setting = Setting.of(tools, f"left {way} {runtime}")
    async with server(["1", "2"]) as url:
        script = busy(1, "") if way == "kill" else busy(1000, "time.sleep(1000)")
        config = setting.configure(url, script, "[connection.batch]\ncount_max = 1")
        arguments = ["tap", "--quiet", "--config", config, "--runtime", runtime]
        arguments += ["--for", "500ms"] if way == "time" else []
        async with Ropewalk(setting.tools, *arguments) as run:
            await setting.until(lambda notes: any("asked" in each for each in notes))
            expect(len(setting.processes()) == 2, "the command and its child")
            if way != "time":
                run.signal(signal.SIGKILL if way == "kill" else signal.SIGINT)
            if way == "abort":
                await asyncio.sleep(0.3)
                run.signal(signal.SIGINT)
            status = (await run.end()).status
    expect(status == {"abort": 130, "kill": -9}.get(way, 0), f"exit status {status}")
    await setting.nobody_left()
    if way in ["interrupt", "time"]:
        letters = await setting.letters()
        words = {letter["reason"] for letter in letters}
        expect(words == {"the run ended before the processor had a verdict"}, f"{letters}")
        expect([letter["data"] for letter in letters] == ["1", "2"], f"{letters}")
