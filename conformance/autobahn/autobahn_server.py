"""Autobahn's fuzzing server (CPython 2.7) on a free port of the loopback interface.

    autobahn_server.py [--tls FILE] OUTDIR PATTERN...

Prints `port N` as soon as clients can connect. wstest by itself listens on every interface, and only on a port
that was chosen beforehand; so it is handed a socket that already listens. FILE holds a certificate and its key, in
PEM: the server then speaks TLS."""

import json
import os
import socket
import sys

from autobahntestsuite.wstest import run
from twisted.internet import reactor
from twisted.protocols.tls import TLSMemoryBIOFactory

arguments = sys.argv[1:]
identity = None
if arguments[0] == "--tls":
    identity, arguments = arguments[1], arguments[2:]
outdir, patterns = arguments[0], arguments[1:]

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
listener.setblocking(False)
port = listener.getsockname()[1]


def adopt(_port, factory, _backlog=50, _interface=""):
    return reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)


def adopt_secure(port, factory, context_factory, _backlog=50, _interface=""):
    return adopt(port, TLSMemoryBIOFactory(context_factory, False, factory))


reactor.listenTCP = adopt
reactor.listenSSL = adopt_secure

spec = os.path.join(outdir, "spec.json")
with open(spec, "w") as file:
    # The port stands in the URL too, because the server checks the Host header against it.
    json.dump(
        {
            "url": "%s://127.0.0.1:%d" % ("wss" if identity else "ws", port),
            "key": identity,
            "cert": identity,
            "outdir": outdir,
            "cases": patterns,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        },
        file,
    )

print("port %d" % port)
sys.stdout.flush()
sys.argv = ["wstest", "--mode", "fuzzingserver", "--webport", "0", "--spec", spec]
sys.exit(run())
