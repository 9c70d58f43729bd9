"""Autobahn's fuzzing server (CPython 2.7) on a free port of the loopback interface.

    autobahn_server.py OUTDIR PATTERN...

Prints `port N` as soon as clients can connect. wstest by itself listens on every interface, and only on a port
that was chosen beforehand; so it is handed a socket that already listens."""

import json
import os
import socket
import sys

from autobahntestsuite.wstest import run
from twisted.internet import reactor

outdir, patterns = sys.argv[1], sys.argv[2:]

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
listener.setblocking(False)
port = listener.getsockname()[1]


def adopt(_port, factory, _backlog=50, _interface=""):
    return reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)


reactor.listenTCP = adopt

spec = os.path.join(outdir, "spec.json")
with open(spec, "w") as file:
    # The port stands in the URL too, because the server checks the Host header against it.
    json.dump(
        {
            "url": "ws://127.0.0.1:%d" % port,
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
