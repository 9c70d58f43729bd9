"""The two servers that can play the cases, as child processes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent.resolve()

# How long a server may take to come up, or to write its reports after the last case.
SECONDS_MAX = 60


class ServerFailed(Exception):
    """The server, not the client, is at fault."""


class FuzzingServer:
    """A server that listens on `url` from the start of the block to its end."""

    def __init__(self, command, announcement, outdir, *, scheme="ws", writes_reports_at_its_end):
        self.command = command
        self.scheme = scheme
        self.announcement = re.compile(announcement)
        self.outdir = outdir
        self.index = outdir / "index.json"
        self.log = outdir / "server.log"
        self.writes_reports_at_its_end = writes_reports_at_its_end

    def __enter__(self):
        self.outdir.mkdir(parents=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.outdir,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            found = self.wait_for(lambda: self.announcement.search(self.said()), "does not say its port")
            self.url = f"{self.scheme}://127.0.0.1:{found[1]}"
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self):
        return self.log.read_text(errors="replace")

    def is_running(self):
        return self.process.poll() is None

    def wait_for_reports(self):
        if self.writes_reports_at_its_end:
            self.wait_for(lambda: not self.is_running(), "does not end", may_end=True)
        self.wait_for(self.index.exists, "writes no reports", may_end=True)

    def wait_for(self, probe, problem, *, may_end=False):
        deadline = time.monotonic() + SECONDS_MAX
        while not (found := probe()):
            if time.monotonic() > deadline or not (may_end or self.is_running()):
                raise ServerFailed(f"the fuzzing server {problem}:\n{self.said()[-2000:]}")
            time.sleep(0.02)
        return found


def autobahn(tools, patterns, outdir, identity):
    """Autobahn's own server; its reports are written when the client asks for them."""
    python = tools / "py2" / "bin" / "python"
    tls = ["--tls", identity] if identity else []
    command = [python, "-W", "ignore", HERE / "autobahn_server.py", *tls, outdir, *patterns]
    scheme = "wss" if identity else "ws"
    return FuzzingServer(command, r"(?m)^port (\d+)$", outdir, scheme=scheme, writes_reports_at_its_end=False)


def kosoku(tools, patterns, outdir, identity):
    """The same cases on kosoku's engine; it ends when the client asks for reports."""
    chosen = [word for pattern in patterns for word in ("--include", pattern)]
    command = [tools / "kosoku" / "bin" / "kosoku", "--mode", "fuzzingserver", "--outdir", outdir, *chosen, "127.0.0.1:0"]
    announcement, scheme = r"listening on ws://127\.0\.0\.1:(\d+)", "ws"
    if identity:
        command = [sys.executable, HERE / "tls_front.py", identity, *command]
        announcement, scheme = r"(?m)^front (\d+)$", "wss"
    return FuzzingServer(command, announcement, outdir, scheme=scheme, writes_reports_at_its_end=True)


SERVERS = {"autobahn": autobahn, "kosoku": kosoku}
