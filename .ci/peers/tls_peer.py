"""Certificates, and servers on OpenSSL: one that says what it heard, encrypted and decrypted."""

import asyncio
import dataclasses
import os
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from python_peer import bare_server

CHUNK = 64 << 10
# Types of records (RFC 8446 section 5.1).
HANDSHAKE, ALERT = 22, 21

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Authority:
    """Somebody who issues certificates; `root` is a file with its own."""

    def __init__(self, directory: Path, name="Authority"):
        self.directory = directory
        self.own = trustme.CA(organization_name=name)
        self.root = directory / f"{name}.pem"
        self.own.cert_pem.write_to_path(self.root)

    def identity(self, name, *, host="127.0.0.1", **validity):
        """A file with a certificate, its chain and its key."""
        path = self.directory / f"{name}.pem"
        self.own.issue_cert(host, **validity).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def trusted_by(self, tools):
        """The tools on a system where this is the only authority."""
        return dataclasses.replace(tools, environment={"SSL_CERT_FILE": os.fspath(self.root), "SSL_CERT_DIR": ""})


def server_context(identity, version=None, clients=None):
    """Speaks this version only, or what OpenSSL does by default; lets clients in that `clients` vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.root)
    return context


class TlsSocket:
    """One accepted socket. Reads and writes what is encrypted; `raw` and `plain` are all that the client said."""

    def __init__(self, context, reader, writer):
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.raw, self.plain = bytearray(), bytearray()
        self.problem = None

    async def handshake(self):
        """Whether the client was let in; if not, `problem` says why, in OpenSSL's words."""
        try:
            await self.step(self.tls.do_handshake)
        except (ssl.SSLError, EOFError, ConnectionError) as problem:
            self.problem = str(problem)
        await self.drain()
        return self.problem is None

    async def read(self):
        """More plaintext; whether there was any."""
        try:
            data = await self.step(lambda: self.tls.read(CHUNK))
        except (ssl.SSLError, EOFError, ConnectionError) as problem:
            self.problem = str(problem)
            return False
        self.plain += data
        return bool(data)

    async def readuntil(self, end):
        while end not in self.plain:
            if not await self.read():
                raise asyncio.IncompleteReadError(bytes(self.plain), None)
        return bytes(self.plain)

    def write(self, data):
        self.tls.write(data)

    async def drain(self):
        if data := self.outgoing.read():
            self.writer.write(data)
        await self.writer.drain()

    async def close_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            # Ours is said; the client's is not waited for.
            pass
        await self.drain()

    async def step(self, call):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                await self.drain()
                if not (data := await self.reader.read(CHUNK)):
                    raise EOFError("the client ended the stream") from None
                self.raw += data
                self.incoming.write(data)

    async def hear_out(self):
        """All that the client still says, to its end, whether it can be decrypted or not."""
        while self.problem is None and await self.read():
            pass
        while data := await self.reader.read(CHUNK):
            self.raw += data

    def record_types(self):
        """The types of the records that the client sent."""
        types, rest = [], bytes(self.raw)
        while rest:
            types.append(rest[0])
            rest = rest[5 + int.from_bytes(rest[3:5], "big") :]
        return types


@asynccontextmanager
async def openssl_server(context, session):
    """Hands every accepted socket to `session(TlsSocket)`, before its handshake, and yields the URL."""
    async def accepted(reader, writer):
        await session(TlsSocket(context, reader, writer))

    async with bare_server(accepted) as url:
        yield url.replace("ws://", "wss://")
