"""Speaks TLS for a server that does not: hands on every byte in both directions.

    tls_front.py FILE COMMAND...

FILE holds a certificate and its key, in PEM. COMMAND starts the server, which must say where it listens as kosoku does.
Prints `front N`, N being the port, and ends when the server does."""

import asyncio
import re
import signal
import ssl
import sys

LISTENING = re.compile(rb"listening on ws://127\.0\.0\.1:(\d+)")
CHUNK = 64 << 10


async def main(identity, *command):
    pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    server = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=same)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.terminate)
    try:
        await serve(identity, server)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def serve(identity, server):
    said = await server.stdout.readline()
    while said and not LISTENING.search(said):
        say(said)
        said = await server.stdout.readline()
    if not said:
        return
    port = int(LISTENING.search(said)[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)

    async def accepted(*outside):
        try:
            await relay(outside, await asyncio.open_connection("127.0.0.1", port))
        except (OSError, ssl.SSLError):
            # Either went away, which many cases are about.
            pass
        finally:
            outside[1].close()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context) as front:
        say(b"front %d\n" % front.sockets[0].getsockname()[1])
        while said := await server.stdout.readline():
            say(said)


async def relay(outside, inside):
    """To the end of one side, which is then that of the other."""
    (outside_reader, outside_writer), (inside_reader, inside_writer) = outside, inside
    try:
        inwards = asyncio.create_task(copy(outside_reader, inside_writer))
        outwards = asyncio.create_task(copy(inside_reader, outside_writer))
        await asyncio.wait([inwards, outwards], return_when=asyncio.FIRST_COMPLETED)
        # TLS has no half that is closed; but what the server said before its end is still to go out.
        if not outwards.done():
            outwards.cancel()
        inwards.cancel()
        await asyncio.gather(inwards, outwards, return_exceptions=True)
    finally:
        inside_writer.close()


async def copy(reader, writer):
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def say(line):
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


asyncio.run(main(*sys.argv[1:]))
