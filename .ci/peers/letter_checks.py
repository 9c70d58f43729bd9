"""Dead letters in a file: after kills, where the file cannot be written, and while it is decided about them."""

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3

from processes import Ropewalk, expect, ropewalk
from python_peer import websocket_server

RUNS = 50
NOBODY = 65534


def checks():
    yield f"every letter reported as stored survives {RUNS} kills, and is redriven once", killed
    yield "no number of a message is used twice, however a run ends", numbered
    yield "a full disk stops no messages, and every letter is told of", full_disk
    yield "a store that may not be written stops no messages, and every letter is told of", read_only


def configured(directory, url):
    store, config = directory / "letters.sqlite", directory / "tap.toml"
    config.write_text(f'''
[[connection]]
name = "feed"
url = "{url}"
[connection.backoff]
initial = "10ms"
floor = "10ms"
first_max = "10ms"
[connection.decode]
format = "json"
dead_letter = true
invalid_max = 1000000
[letters]
store = "{store}"
''')
    return store, config


def feed():
    """Sends a message that is not JSON and one that is, again and again; each is unlike all others."""
    number = 0

    async def session(socket):
        nonlocal number
        while True:
            number += 1
            await socket.send(f"letter {number}")
            await socket.send(str(number))
            await asyncio.sleep(0.0005)

    return session


async def silent(socket):
    await socket.wait_closed()


async def numbered(tools):
    directory = tools.directory("letters numbered")
    runs = []
    async with websocket_server(feed()) as url:
        _, config = configured(directory, url)
        for is_killed in (False, False, True, False):
            numbers = []
            async with Ropewalk(tools, "tap", "--quiet", "--config", config, "--events", "-") as run:
                while len(numbers) < 10:
                    record = await run.record()
                    if "data" in record:
                        numbers.append(record["seq"])
                if is_killed:
                    run.signal(signal.SIGKILL)
                    ended = await run.end()
                else:
                    ended = (await run.interrupt()).expect(status=0)
            for line in ended.stdout.splitlines(keepends=True):
                # The last line of a run that is killed may be cut.
                if line.endswith(b"\n") and "data" in (record := json.loads(line)):
                    numbers.append(record["seq"])
            runs.append(numbers)
    expect(runs[0][0] < 10, f"the first number is {runs[0][0]}")
    everything = sum(runs, [])
    expect(all(a < b for a, b in zip(everything, everything[1:])), f"not in order, or twice: {everything}")
    gaps = [after[0] - before[-1] for before, after in zip(runs, runs[1:])]
    expect(gaps[0] < 10 and gaps[1] < 10 and gaps[2] > 1 << 30, f"between the runs: {gaps}")


async def killed(tools):
    directory = tools.directory("letters killed")
    draw = random.Random(os.urandom(8))
    told = {}
    async with websocket_server(feed()) as url:
        store, config = configured(directory, url)
        for _ in range(RUNS):
            async with Ropewalk(tools, "tap", "--quiet", "--config", config, "--events", "-") as run:
                # At a random moment, which is often within a commit.
                wanted = draw.randrange(1, 40)
                while wanted:
                    record = await run.record()
                    wanted -= record.get("event") == "letter_stored"
                    note(told, record)
                await asyncio.sleep(draw.random() * 0.02)
                run.signal(signal.SIGKILL)
                ended = await run.end()
            for line in ended.stdout.splitlines(keepends=True):
                # The last line may be cut.
                if line.endswith(b"\n"):
                    note(told, json.loads(line))
            database = sqlite3.connect(store)
            verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
            database.close()
            expect(verdict == "ok", f"the integrity check says {verdict}")
            kept = {letter["id"]: letter for letter in await listed(tools, store)}
            lost = [number for number in told if number not in kept]
            expect(not lost, f"letters {lost} were reported as stored and are gone")
            wrong = [number for number, seq in told.items() if kept[number]["seq"] != seq]
            expect(not wrong, f"letters {wrong} are other messages")
    texts = sorted(letter["data"] for letter in kept.values())
    expect(len(texts) == len(set(texts)), "a message is in two letters")
    marked = (await ropewalk(tools, "letters", "redrive", "--json", store)).expect(status=0)
    expect(json.loads(marked.stdout) == {"retrying": len(kept)}, f"{marked.stdout} for {len(kept)} letters")
    async with websocket_server(silent) as url:
        configured(directory, url)
        async with Ropewalk(tools, "tap", "--quiet", "--config", config, "--events", "-") as run:
            await ropewalk(tools, "letters", "redrive", "--rate", 5000, store)
            seen, fates = [], 0
            while fates < len(kept):
                record = await run.record()
                if record.get("event") == "redriven":
                    expect(record["fate"] == "delivered", f"{record}")
                    fates += 1
                elif "data" in record:
                    seen.append(record["data"])
            (await run.interrupt()).expect(status=0)
    expect(sorted(seen) == texts, f"{len(texts)} letters, {len(seen)} messages, {len(set(seen))} of them unlike")
    states = {letter["state"] for letter in await listed(tools, store)}
    expect(states == {"delivered"}, f"letters are {states}")
    return f"{len(told)} reported, {len(kept)} kept and redriven"


def note(told, record):
    if record.get("event") == "letter_stored":
        told[record["letter"]] = record["seq"]


async def listed(tools, store):
    output = (await ropewalk(tools, "letters", "list", "--all", "--json", store)).expect(status=0)
    return [json.loads(line) for line in output.stdout.splitlines()]


async def full_disk(tools):
    """A limit on the length of files does what a full disk does; the signal that comes with it is ignored."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, 256 << 10))

    return await unwritable(tools, "letters full disk", limited, lambda _: None)


async def read_only(tools):
    """Whoever may write to everything becomes somebody who may not."""

    def lowered():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    def locked(directory):
        for path in directory.iterdir():
            path.chmod(0o444)
        directory.chmod(0o555)
        for above in [directory, *directory.parents]:
            if str(above).startswith(str(tools.scratch)):
                above.chmod(0o755 if above != directory else 0o555)

    try:
        return await unwritable(tools, "letters read only", lowered, locked)
    finally:
        (tools.scratch / "letters-read-only").chmod(0o755)


async def unwritable(tools, name, become, prepare):
    directory = tools.directory(name)
    messages, stored, failures, dropped = 0, set(), 0, 0
    async with websocket_server(feed()) as url:
        store, config = configured(directory, url)
        (await ropewalk(tools, "tap", "--quiet", "--count", 1, "--config", config)).expect(status=0)
        before = {letter["id"] for letter in await listed(tools, store)}
        prepare(directory)
        arguments = [tools.ropewalk, "tap", "--config", config, "--events", "-", "--count", "3000"]
        process = await asyncio.create_subprocess_exec(
            *map(str, arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=become,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    expect(process.returncode == 0, f"status {process.returncode}: {errors.decode()[-2000:]}")
    letters = 0
    for line in output.splitlines():
        record = json.loads(line)
        event = record.get("event")
        messages += "data" in record
        letters += event == "letter"
        failures += event == "letters_not_stored"
        if event == "letter_stored":
            stored.add(record["letter"])
        if event == "letters_dropped":
            dropped = record["total"]
        if event == "missed":
            raise AssertionError(f"the check's own reader is too slow: {record}")
    expect(messages == 3000, f"{messages} messages")
    expect(failures > 0, "no event tells that letters cannot be stored")
    expect(len(stored) + dropped == letters, f"{letters} letters, {len(stored)} stored and {dropped} told as dropped")
    if os.geteuid() == 0:
        directory.chmod(0o755)
    after = {letter["id"] for letter in await listed(tools, store)}
    expect(stored <= after, f"{sorted(stored - after)} were reported as stored and are gone")
    expect(after - before == stored, f"{sorted(after - before - stored)} are there and were not reported")
    return f"{letters} letters, {len(stored)} stored, {dropped} dropped, {failures} failures"
