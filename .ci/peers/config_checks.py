"""Configurations, good and bad, and command lines that cannot be."""

from processes import expect, ropewalk

GOOD = """\
runtime = "smol"

[admission]
connecting_per_address_max = 4

[defaults.backoff]
initial = "250ms"
max = "10s"

[[connection]]
name = "trades"
url = ["ws://a.example/ws", "ws://b.example/ws"]
ready = ['{"op":"subscribe","channel":"trades"}', '{"op":"resume","from":${next}}']
resume = { sequence = "/seq", start = 1 }
headers = { X-Client = "example" }
stale_after = "30s"

[connection.keepalive]
interval = "5s"
timeout = "5s"

[connection.batch]
count_max = 64
linger = "0s"

[connection.decode]
format = "json"
invalid_max = 10

[[connection]]
name = "books"
url = "ws://c.example/books"
"""

CONNECTION = '[[connection]]\nname = "a"\nurl = "ws://a.example/"\n'

# What is wrong, the file, and what the message must name: line, key, and the nearest key or the reason.
BROKEN = [
    ("a misspelt key", "runtme = 'tokio'\n" + CONNECTION, 1, "runtme", "`runtime`"),
    ("a misspelt table", CONNECTION + "[connection.backof]\nmax = '1s'\n", 4, "connection.backof", "`connection.backoff`"),
    ("a misspelt key in a table", CONNECTION + "[connection.keepalive]\n\nintervall = '1s'\n", 6, "connection.keepalive.intervall", "`connection.keepalive.interval`"),
    ("a key in the wrong table", CONNECTION + "linger = '1ms'\n", 4, "connection.linger", "`connection.batch.linger`"),
    ("a zero limit", CONNECTION + "[connection.outbound]\nitems_max = 0\n", 5, "connection.outbound.items_max", ""),
    ("a zero limit of the whole", "[admission]\nconnecting_max = 0\n" + CONNECTION, 2, "admission.connecting_max", ""),
    ("inverted limits", CONNECTION + "[connection.backoff]\ninitial = '10s'\nmax = '1s'\n", 6, "connection.backoff.max", "smaller"),
    ("a factor below one", CONNECTION + "[connection.backoff]\nfactor = 0.5\n", 5, "connection.backoff.factor", ""),
    ("a factor that is no number", CONNECTION + "[connection.backoff]\nfactor = nan\n", 5, "connection.backoff.factor", ""),
    ("a duration without a unit", CONNECTION + "[connection.batch]\nlinger = '5'\n", 5, "connection.batch.linger", "unit"),
    ("a size that is none", CONNECTION + "[connection.batch]\nbytes_max = 'much'\n", 5, "connection.batch.bytes_max", ""),
    ("a URL of another scheme", '[[connection]]\nurl = "http://a.example/"\n', 2, "connection.url", "http"),
    ("a URL without a host", '[[connection]]\nurl = "ws://"\n', 2, "connection.url", ""),
    ("a URL with a fragment", '[[connection]]\nurl = "ws://a.example/#x"\n', 2, "connection.url", ""),
    ("no URL", '\n[[connection]]\nname = "a"\n', 2, "connection.url", ""),
    ("a name twice", CONNECTION + CONNECTION, 5, "connection.name", ""),
    ("a header with CR and LF", CONNECTION + '[connection.headers]\nX-A = "b\\r\\nHost: evil"\n', 5, "connection.headers.X-A", ""),
    ("a header of the handshake", CONNECTION + '[connection.headers]\nSec-WebSocket-Key = "x"\n', 5, "connection.headers.Sec-WebSocket-Key", ""),
    ("a placeholder without resume", CONNECTION + "ready = ['${next}']\n", 4, "connection.ready", "resume"),
    ("a runtime that does not exist", "runtime = 'tokyo'\n" + CONNECTION, 1, "runtime", "tokio"),
    ("roots that are not there", CONNECTION + "[connection.tls]\nroots = '/nowhere.pem'\n", 5, "connection.tls.roots", "/nowhere.pem"),
    ("a key of a later version", CONNECTION + "[connection.proxy]\nurl = ''\n", 4, "connection.proxy", "version"),
]

# Command lines that end with status 2 and a message that has this in it.
WRONG_LINES = [
    (["tap"], "URL"),
    (["tap", "http://127.0.0.1/"], "http"),
    (["tap", "ws://127.0.0.1:99999/"], "99999"),
    (["tap", "wss://127.0.0.1:99999/"], "99999"),
    (["tap", "--for", "5", "ws://127.0.0.1/"], "unit"),
    (["tap", "--count", "0", "ws://127.0.0.1/"], "--count"),
    (["tap", "--runtime", "tokyo", "ws://127.0.0.1/"], "tokio"),
    (["tap", "a=ws://127.0.0.1/", "a=ws://127.0.0.2/"], "`a`"),
    (["tap", "--output", "/nowhere/at/all", "ws://127.0.0.1/"], "/nowhere/at/all"),
    (["tap", "--config", "/nowhere.toml"], "/nowhere.toml"),
    (["echo"], "URL"),
    (["demo", "--connections", "0"], "--connections"),
    (["letters", "list", "/nowhere/store"], "/nowhere/store"),
    (["letters", "retry", "/nowhere/store"], "ID"),
    (["send"], "URL"),
]


def checks():
    yield "check prints a configuration with its defaults, and accepts what it printed", accepted
    for problem, text, line, key, words in BROKEN:
        yield f"check refuses {problem}", refused, text, line, key, words
    for arguments, words in WRONG_LINES:
        yield f"`{' '.join(arguments)}` is refused", wrong_line, arguments, words


async def accepted(tools):
    directory = tools.directory("check accepted")
    file, printed = directory / "good.toml", directory / "printed.toml"
    file.write_text(GOOD)
    first = (await ropewalk(tools, "check", file)).expect(status=0)
    printed.write_bytes(first.stdout)
    second = (await ropewalk(tools, "check", printed)).expect(status=0)
    expect(first.stdout == second.stdout, "what was printed does not mean the same")
    for words in [b'runtime = "smol"', b'initial = "250ms"', b'upgrade = "5s"', b"count_max = 64", b"count_max = 1024"]:
        expect(words in first.stdout, f"{words} is not in what was printed")


async def refused(tools, text, line, key, words):
    file = tools.directory(f"check {key} {abs(hash(text))}") / "broken.toml"
    file.write_text(text)
    for arguments in [["check", file], ["tap", "--config", file]]:
        run = (await ropewalk(tools, *arguments)).expect(status=2)
        expect(not run.stdout, "something was printed on standard output")
        for wanted in [f"{file}:{line}:", f"`{key}", words]:
            expect(wanted in run.stderr, f"no {wanted} in: {run.stderr}")
        expect(run.stderr.count("\n") == 1, f"not one line: {run.stderr}")


async def wrong_line(tools, arguments, words):
    run = (await ropewalk(tools, *arguments)).expect(status=2)
    expect(not run.stdout, "something was printed on standard output")
    expect(words in run.stderr, f"no {words} in: {run.stderr}")
