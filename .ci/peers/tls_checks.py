"""TLS against OpenSSL: whole exchanges, resumption, and servers and clients that are refused."""

import datetime
import struct

from end_checks import upgrade
from exchange_checks import echo, tap
from messages import Messages
from processes import RUNTIMES, Events, Peer, Ropewalk, Stream, expect, ropewalk
from python_peer import compare_echoes, feed, websocket_server
from tls_peer import ALERT, HANDSHAKE, VERSIONS, Authority, openssl_server, server_context

COUNT = 300

# Quick, so that a check is.
QUICK = """
[defaults.backoff]
floor = "10ms"
initial = "10ms"
first_max = "10ms"
max = "20ms"
flap_max = "20ms"
stable_after = "10ms"
"""

DAY = datetime.timedelta(days=1)


def checks():
    for runtime in RUNTIMES:
        yield f"wss: tap reads {COUNT} messages of Python's websockets, {runtime}", tap_python, runtime
        yield f"wss: tap reads {COUNT} messages of Node's ws, {runtime}", tap_node, runtime
        yield f"wss: echo returns {COUNT} messages to Python's websockets, {runtime}", echo_python, runtime
        yield f"wss: echo returns {COUNT} messages to Node's ws, {runtime}", echo_node, runtime
        for version in VERSIONS:
            yield f"wss: a redial resumes the session with TLS {version}, {runtime}", resumption, runtime, version
            yield f"wss: an untrusted server hears no HTTP over TLS {version}, {runtime}", refused_servers, runtime, version
            yield f"wss: a client without the right certificate is told so over TLS {version}, {runtime}", refused_clients, runtime, version
        yield f"wss: a stream that is cut off is told from one that is closed, {runtime}", truncation, runtime
    yield "wss: a server without TLS is a strike, and gets no plain text", no_tls


async def tap_python(tools, runtime):
    directory = tools.directory(f"wss tap python {runtime}")
    authority = Authority(directory)
    messages = Messages(directory, COUNT, seed=11)
    codes = []

    async def session(socket):
        await feed(socket, messages)
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_server(session, server_context(authority.identity("server"))) as url:
        note = await tap(authority.trusted_by(tools), runtime, url, messages)
    expect(codes == [1000], f"the sessions ended with {codes}")
    return note


async def tap_node(tools, runtime):
    directory = tools.directory(f"wss tap node {runtime}")
    authority = Authority(directory)
    messages = Messages(directory, COUNT, seed=12)
    async with Peer.node(tools, "feed", messages, identity=authority.identity("server")) as peer:
        note = await tap(authority.trusted_by(tools), runtime, peer.url(), messages)
        await peer.says("sent")
        expect((await peer.says("closed"))["closed"] == 1000, "the session did not end with 1000")
        return note


async def echo_python(tools, runtime):
    directory = tools.directory(f"wss echo python {runtime}")
    authority = Authority(directory)
    messages = Messages(directory, COUNT, seed=13)
    results = []

    async def session(socket):
        results.append(await compare_echoes(socket, messages))

    async with websocket_server(session, server_context(authority.identity("server"))) as url:
        (await ropewalk(authority.trusted_by(tools), "echo", "--runtime", runtime, url)).expect(status=0)
    expect(results == [COUNT], f"{results} equal echoes of {COUNT}")


async def echo_node(tools, runtime):
    directory = tools.directory(f"wss echo node {runtime}")
    authority = Authority(directory)
    messages = Messages(directory, COUNT, seed=14)
    async with Peer.node(tools, "echo", messages, identity=authority.identity("server")) as peer:
        await echo(authority.trusted_by(tools), runtime, peer, peer.url(), messages)
        expect((await peer.says("closed"))["closed"] == 1000, "the session did not end with 1000")


async def resumption(tools, runtime, version):
    directory = tools.directory(f"resumption {version} {runtime}")
    authority = Authority(directory)
    sessions = []

    async def session(socket):
        tls = socket.transport.get_extra_info("ssl_object")
        sessions.append((tls.version(), tls.session_reused))
        await socket.send(str(len(sessions)))
        await socket.close(1001)

    config = configuration(directory, QUICK)
    async with websocket_server(session, server_context(authority.identity("server"), version)) as url:
        options = ["--config", config, "--runtime", runtime, "--count", 4]
        (await ropewalk(authority.trusted_by(tools), "tap", *options, url)).expect(status=0)
    expected = [(f"TLSv{version}", False)] + [(f"TLSv{version}", True)] * 3
    expect(sessions[:4] == expected, f"the server saw {sessions}")


async def refused_servers(tools, runtime, version):
    directory = tools.directory(f"untrusted {version} {runtime}")
    authority, stranger = Authority(directory), Authority(directory, "Stranger")
    now = datetime.datetime.now(datetime.timezone.utc)
    cases = {
        "no trusted authority issued the server's certificate": stranger.identity("strange"),
        "the server's certificate is another host's": authority.identity("other", host="other.example"),
        "the server's certificate has expired": authority.identity("old", not_before=now - 2 * DAY, not_after=now - DAY),
        "the server's certificate is not valid yet": authority.identity("new", not_before=now + DAY, not_after=now + 2 * DAY),
    }
    for problem, identity in cases.items():
        context = server_context(identity, version)
        sockets, events = await refused(authority.trusted_by(tools), directory / identity.stem, runtime, context)
        expect(len(sockets) == 1, f"{problem}: {len(sockets)} dials")
        silent(sockets, problem)
        said_hello_only(sockets, problem)
        reasons(events, problem, "terminal", 1)


async def refused_clients(tools, runtime, version):
    directory = tools.directory(f"strangers {version} {runtime}")
    authority, stranger = Authority(directory), Authority(directory, "Stranger")
    now = datetime.datetime.now(datetime.timezone.utc)
    cases = {
        "none": None,
        "strange": stranger.identity("client"),
        "old": authority.identity("client-old", not_before=now - 2 * DAY, not_after=now - DAY),
    }
    context = server_context(authority.identity("server"), version, clients=authority)
    for name, identity in cases.items():
        own = directory / f"own {name}"
        tls = f'client_certificate = "{identity}"\n' if identity else ""
        sockets, events = await refused(authority.trusted_by(tools), own, runtime, context, tls)
        # Fresh credentials are asked for twice.
        expect(len(sockets) == 3, f"{name}: {len(sockets)} dials")
        silent(sockets, name)
        if identity is None:
            said_hello_only(sockets, name)
        reasons(events, "the server wants another client certificate", "reauth", 3)
        retries = [event["class"] for event in events.all("retrying")]
        expect(retries == ["reauth", "reauth"], f"{name}: {retries}")

    # The right one opens the way.
    seen = []

    async def session(socket):
        seen.append(socket.transport.get_extra_info("peercert"))
        await socket.send("welcome")
        await socket.wait_closed()

    async with websocket_server(session, context) as url:
        own = f'[[connection]]\nurl = "{url}"\n[connection.tls]\nclient_certificate = "{authority.identity("right")}"\n'
        config = configuration(directory, own, "right")
        options = ["--runtime", runtime, "--count", 1, "--config", config]
        (await ropewalk(authority.trusted_by(tools), "tap", *options)).expect(status=0)
    expect(len(seen) == 1 and seen[0], f"the server saw {seen}")


async def refused(tools, directory, runtime, context, tls=""):
    """Runs tap until it gives up; what the server saw of it, and its events."""
    sockets = []

    async def session(socket):
        sockets.append(socket)
        if not await socket.handshake():
            socket.writer.write_eof()
        # Whatever comes after a refusal is heard too.
        await socket.hear_out()

    directory.mkdir()
    events = Events(directory / "events")
    async with openssl_server(context, session) as url:
        own = f'[[connection]]\nname = "a"\nurl = "{url}"\n[connection.tls]\n{tls}'
        config = configuration(directory, QUICK + own)
        options = ["--runtime", runtime, "--config", config, "--events", events.path]
        ended = (await ropewalk(tools, "tap", *options)).expect(status=1)
    expect(not ended.stdout, f"there were messages: {ended.stdout}")
    return sockets, events


def silent(sockets, name):
    for socket in sockets:
        expect(not socket.plain, f"{name}: the server decrypted {bytes(socket.plain)}")
        expect(b"HTTP" not in socket.raw and b"GET " not in socket.raw, f"{name}: plain text on the wire")
        expect(socket.problem, f"{name}: nothing went wrong for the server")


def said_hello_only(sockets, name):
    types = [socket.record_types() for socket in sockets]
    expect(types == [[HANDSHAKE]] * len(sockets), f"{name}: records of the types {types}")


def reasons(events, problem, cause, count):
    closed = [event["reason"] for event in events.all("closed")]
    expect(len(closed) == count and all(reason.startswith(problem) for reason in closed), f"{closed}")
    ends = [(event["reason"].startswith(problem), event["cause"]) for event in events.all("gave_up")]
    expect(ends == [(True, cause)], f"{events.all('gave_up')}")


async def truncation(tools, runtime):
    directory = tools.directory(f"truncation {runtime}")
    authority = Authority(directory)
    ends = 0

    async def session(socket):
        nonlocal ends
        await socket.handshake()
        await upgrade(socket, socket)
        ends += 1
        socket.write(bytes([0x81, 1]) + str(ends).encode())
        await socket.drain()
        if ends % 2 == 0:
            await socket.close_notify()
        socket.writer.write_eof()
        await socket.hear_out()

    events = Events(directory / "events")
    async with openssl_server(server_context(authority.identity("server")), session) as url:
        config = configuration(directory, QUICK)
        options = ["--config", config, "--runtime", runtime, "--events", events.path]
        async with Ropewalk(authority.trusted_by(tools), "tap", *options, f"a={url}") as run:
            stream = Stream("a")
            for number in range(1, 6):
                expect(stream.take(await run.record()) == str(number), f"message {number}")
            (await run.interrupt()).expect(status=0)
    closed = [event["reason"] for event in events.all("closed")][:4]
    eof = "the stream ended without a close frame"
    cut = f"{eof} (it was cut off: TLS was not closed)"
    expect(closed == [cut, eof, cut, eof], f"{closed}")
    classes = {event["class"] for event in events.all("retrying")}
    expect(classes == {"retry"}, f"{classes}")


async def no_tls(tools):
    directory = tools.directory("no tls")
    authority = Authority(directory)
    heard = []
    answers = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x1b[2J\x1b[31mnonsense" * 1_000,
        struct.pack("!BHHBB", ALERT, 0x0303, 2, 2, 70),
    ]

    async def session(socket):
        heard.append(await socket.reader.read(1 << 16))
        socket.writer.write(answers[(len(heard) - 1) % len(answers)])
        socket.writer.write_eof()
        await socket.reader.read()

    events = Events(directory / "events")
    async with openssl_server(server_context(authority.identity("server")), session) as url:
        options = ["--config", configuration(directory, QUICK), "--events", events.path]
        (await ropewalk(authority.trusted_by(tools), "tap", *options, url)).expect(status=1)
    # The third of a kind is final, and an alert is a kind of its own.
    expect([hello[0] for hello in heard] == [HANDSHAKE] * 4, f"the dials began with {[hello[:1] for hello in heard]}")
    closed = [event["reason"] for event in events.all("closed")]
    expect(len(closed) == len(heard) and all(len(each) < 400 and each.isprintable() for each in closed), f"{closed}")
    expect({event["class"] for event in events.all("retrying")} == {"strike"}, f"{events.all('retrying')}")
    expect(events.all("gave_up")[0]["cause"] == "strikes", f"{events.all('gave_up')}")


def configuration(directory, text, name="config"):
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path
