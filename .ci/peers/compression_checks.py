"""permessage-deflate with other people's servers: what is agreed is what both sides then do."""

from exchange_checks import COUNT, tap_with
from messages import Messages, payload
from processes import RUNTIMES, Events, Peer, expect, ropewalk
from python_peer import Deflated, compare_echoes, deflating, feed, websocket_server

# For the many sets of parameters.
COUNT_FEW = 150
SIZE_FEW = 1 << 16

# The defaults of `[connection.deflate]`.
THRESHOLD = 64

DEFAULT = {
    "server_no_context_takeover": False,
    "client_no_context_takeover": False,
    "server_max_window_bits": 15,
    "client_max_window_bits": 15,
}
FORGETFUL = {"server_no_context_takeover": True, "client_no_context_takeover": True}


def windows(server, client):
    return {"server_max_window_bits": server, "client_max_window_bits": client}


# What Python's server wants, by the names of the extension's parameters.
PYTHON_WANTS = [FORGETFUL, windows(9, 9), windows(10, 15) | FORGETFUL, windows(15, 8)]

# What Node's server wants, by the names of its options, and what is agreed then.
NODE_WANTS = [
    ({"serverNoContextTakeover": True, "clientNoContextTakeover": True, "threshold": 10_000}, FORGETFUL),
    ({"serverMaxWindowBits": 9, "clientMaxWindowBits": 9}, windows(9, 9)),
    ({"serverMaxWindowBits": 10, "clientMaxWindowBits": 15, "clientNoContextTakeover": True}, windows(10, 15) | {"client_no_context_takeover": True}),
    ({"serverMaxWindowBits": 8, "clientMaxWindowBits": 8}, windows(8, 8)),
]

# What the configuration wants beside, and what is agreed then; `None` if Python's server declines.
CONFIGURED = [
    ("", {}, {}),
    ("server_no_context_takeover = true\nclient_no_context_takeover = true\nfree_when_idle = true\n", FORGETFUL, FORGETFUL),
    ("server_max_window_bits = 9\nclient_max_window_bits = 9\nratio_max = 100\n", windows(9, 9), windows(9, 9)),
    ("server_max_window_bits = 8\nclient_max_window_bits = 10\n", None, windows(8, 10)),
]


def checks():
    for runtime in RUNTIMES:
        yield f"echo --compress returns {COUNT} messages to Python's websockets, {runtime}", echo_python, runtime, {}, COUNT
        yield f"echo --compress returns {COUNT} messages to Node's ws, {runtime}", echo_node, runtime, {}, {}, COUNT
    for number, wanted in enumerate(PYTHON_WANTS):
        runtime = RUNTIMES[number % 3]
        yield f"echo --compress does what Python's websockets wants: {shown(wanted)}", echo_python, runtime, wanted, COUNT_FEW
    for number, (options, wanted) in enumerate(NODE_WANTS):
        runtime = RUNTIMES[number % 3]
        yield f"echo --compress does what Node's ws wants: {shown(wanted)}", echo_node, runtime, options, wanted, COUNT_FEW
    for number, (settings, python, node) in enumerate(CONFIGURED):
        runtime = RUNTIMES[number % 3]
        yield f"tap agrees on compression with Python's websockets as configured: {shown(python)}", tap_python, runtime, settings, python
        yield f"tap agrees on compression with Node's ws as configured: {shown(node)}", tap_node, runtime, settings, node
    yield "tap goes on without compression where the server knows none", tap_plain


def shown(wanted):
    words = [name if value is True else f"{name}={value}" for name, value in (wanted or {}).items()]
    return "no compression" if wanted is None else ", ".join(words) or "all defaults"


async def echo_python(tools, runtime, wanted, count):
    messages = few(tools, f"echo python {runtime} {shown(wanted)}", count)
    results, reports = [], []

    async def session(socket):
        deflated = Deflated(socket)
        results.append(await compare_echoes(socket, messages))
        reports.append(deflated.report())

    async with websocket_server(session, **deflating(**wanted)) as url:
        (await ropewalk(tools, "echo", "--compress", "--runtime", runtime, url)).expect(status=0)
    expect(results == [count], f"{results} equal echoes of {count}")
    [report] = reports
    return compressed(report, wanted, messages, returned=True)


async def echo_node(tools, runtime, options, wanted, count):
    messages = few(tools, f"echo node {runtime} {shown(wanted)}", count)
    async with Peer.node(tools, "echo", messages, deflate=options) as peer:
        (await ropewalk(tools, "echo", "--compress", "--runtime", runtime, peer.url())).expect(status=0)
        result = await peer.says("same")
        expect(result == {"same": count, "different": 0}, f"echoes: {result}")
        report = (await peer.says("deflated"))["deflated"]
    return compressed(report, wanted, messages, returned=True, threshold=options.get("threshold", 0))


async def tap_python(tools, runtime, settings, agreed):
    messages = few(tools, f"compressed tap python {runtime} {settings}", COUNT_FEW)
    reports = []

    async def session(socket):
        deflated = Deflated(socket) if agreed is not None else None
        expect(agreed is not None or not socket.protocol.extensions, "something was agreed")
        await feed(socket, messages)
        await socket.wait_closed()
        reports.append(deflated and deflated.report())

    async with websocket_server(session, **deflating()) as url:
        await tap_configured(tools, runtime, url, settings, messages, agreed)
    [report] = reports
    return report and compressed(report, agreed, messages, returned=False)


async def tap_node(tools, runtime, settings, agreed):
    messages = few(tools, f"compressed tap node {runtime} {settings}", COUNT_FEW)
    async with Peer.node(tools, "feed", messages, deflate={"threshold": 0}) as peer:
        await tap_configured(tools, runtime, peer.url(), settings, messages, agreed)
        await peer.says("sent")
        report = (await peer.says("deflated"))["deflated"]
    return compressed(report, agreed, messages, returned=False)


async def tap_plain(tools):
    messages = few(tools, "compressed tap declined", COUNT_FEW)

    async def session(socket):
        await feed(socket, messages)
        await socket.wait_closed()

    async with websocket_server(session, compression=None) as url:
        await tap_configured(tools, "tokio", url, "", messages, None)


async def tap_configured(tools, runtime, url, settings, messages, agreed):
    """Taps with these lines in `[connection.deflate]`, and looks what the event `ready` says."""
    config = messages.directory / "config.toml"
    config.write_text(f'[[connection]]\nname = "feed"\nurl = "{url}"\n[connection.deflate]\n{settings}')
    events = Events(messages.directory / "events")
    arguments = ["--runtime", runtime, "--config", config, "--events", events.path]
    await tap_with(tools, arguments, messages)
    [ready] = events.all("ready")
    expected = None if agreed is None else DEFAULT | agreed
    expect(ready.get("compression") == expected, f"`ready` says {ready}")


def few(tools, name, count):
    size_max = {} if count == COUNT else {"size_max": SIZE_FEW}
    return Messages(tools.directory(name), count, seed=len(name), **size_max)


def compressed(report, wanted, messages, returned, threshold=0):
    """Whether the peer saw what was agreed, and then saw it done."""
    agreed = DEFAULT | wanted
    expect(report["agreed"] == agreed, f"agreed: {report['agreed']}")
    sizes = [len(payload(each)) for each in messages.all]
    sent, received = report["sent"], report["received"]
    # A threshold is measured against a fragment, of which there are two at most.
    fewest = sum(size >= 2 * threshold for size in sizes)
    expect(fewest <= sent["messages"] <= len(sizes), f"the server compressed {sent['messages']} messages")
    smaller(sent, messages)
    note = f"{sum(sizes) >> 10} KiB came as {sent['wire'] >> 10}"
    if not returned:
        return note
    if agreed["client_max_window_bits"] == 8:
        # No window is that small in the client's compressor.
        expect(received["messages"] == 0, f"the client compressed {received['messages']} messages")
        return note
    large = [each for each, size in zip(messages.all, sizes) if size >= THRESHOLD]
    fewest, most = len(large), len(large)
    if agreed["client_no_context_takeover"]:
        # What does not get smaller is left as it is, since nothing refers to it: random bytes, and short texts.
        texts = [len(payload(each)) for each in large if isinstance(each, str)]
        fewest, most = sum(size >= 1_000 for size in texts), len(texts)
    seen = received["messages"]
    expect(fewest <= seen <= most, f"the client compressed {seen} messages, not {fewest} to {most}")
    smaller(received, messages)
    return f"{note}, and went back as {received['wire'] >> 10}"


def smaller(direction, messages):
    """Random bytes stay nearly as they are; text must have become less."""
    texts = sum(len(payload(each)) for each in messages.all if isinstance(each, str))
    others = sum(len(payload(each)) for each in messages.all if not isinstance(each, str))
    most = 0.75 * texts + 1.001 * others + 16 * len(messages) + 1_000
    expect(direction["wire"] < most, f"{texts} bytes of text and {others} others made {direction['wire']}")
