"""Secrets are planted wherever a user may put one, every end is provoked, and nothing that is printed holds one."""

from processes import Events, expect, ropewalk
from python_peer import bare_server

CANARY = "canary7f3a"


def checks():
    yield "no event and no summary holds a secret of the configuration", sessions
    yield "no refusal of a command line or a configuration holds a secret of the URL", refusals


async def sessions(tools):
    """A URL's user and query, a header and a cookie, with a server that ends sessions in its ways."""
    answers = [
        b"",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]
    seen = []

    async def session(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        # What the server repeats is not for printing either.
        location = f"Location: ws://{CANARY}:{CANARY}@127.0.0.1/?{CANARY}={CANARY}\r\n"
        last = f"HTTP/1.1 302 Found\r\n{location}Set-Cookie: {CANARY}\r\n\r\n".encode()
        writer.write(answers[len(seen) - 1] if len(seen) <= len(answers) else last)
        await writer.drain()

    directory = tools.directory("secrets")
    events = Events(directory / "events")
    async with bare_server(session) as url:
        secret = url.replace("ws://", f"ws://user:{CANARY}@") + f"?token={CANARY}"
        (directory / "config").write_text(
            f'[defaults.backoff]\nfloor = "10ms"\ninitial = "10ms"\nmax = "20ms"\nflap_max = "20ms"\n'
            f'[[connection]]\nurl = "{secret}"\n'
            f'[connection.headers]\nCookie = "{CANARY}"\nX-Key = "{CANARY}"\n'
        )
        run = await ropewalk(tools, "tap", "--config", directory / "config", "--events", events.path)
    run.expect(status=1)
    expect(len(seen) == len(answers) + 1, f"{len(seen)} dials")
    expect(all(request.count(CANARY.encode()) >= 3 for request in seen), "the server did not get the secrets")
    expect(len(events.all("closed")) == len(seen), f"{len(events.all('closed'))} ends")
    for place, text in [("the events", events.path.read_text()), ("standard error", run.stderr), ("standard output", run.stdout.decode())]:
        expect(CANARY not in text, f"a secret is in {place}: {text}")


async def refusals(tools):
    directory = tools.directory("secret refusals")
    for scheme, rest in [("ws", "127.0.0.1:99999"), ("wss", "127.0.0.1:99999"), ("http", "127.0.0.1"), ("ws", "127.0.0.1/#x")]:
        path, _, fragment = rest.partition("#")
        url = f"{scheme}://user:{CANARY}@{path}?token={CANARY}" + (f"#{fragment}" if fragment else "")
        (directory / "config").write_text(f'[[connection]]\nurl = "{url}"\n')
        for arguments in [["tap", url], ["tap", f"a={url}"], ["echo", url], ["check", directory / "config"]]:
            run = (await ropewalk(tools, *arguments)).expect(status=2)
            expect(CANARY not in run.stderr, f"a secret is in: {run.stderr}")
