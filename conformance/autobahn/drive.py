"""Runs `ropewalk echo` through the cases of a fuzzing server, on each runtime, and judges the outcome.

Called by `run`, which installs what is needed; see there for the options."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import case_sets
import verdicts
from fuzzing_server import SERVERS, ServerFailed

HERE = Path(__file__).parent.resolve()
RUNTIMES = ["tokio", "smol", "async-std"]

# No case waits for longer than 100 s; a client that still runs then hangs.
CASE_SECONDS_MAX = 150


class ClientFailed(Exception):
    """The client did something that no server's verdict could show."""


class Client:
    """The command on one runtime."""

    def __init__(self, command, runtime, authority):
        self.command = command
        self.runtime = runtime
        self.environment = {**os.environ, **(authority.trusted if authority else {})}

    def count(self, url):
        """How many cases the server has."""
        ended = self.run("tap", "--quiet", "--count", "1", f"{url}/getCaseCount")
        if ended.returncode != 0:
            raise ClientFailed(f"/getCaseCount: exit status {ended.returncode}: {ended.stderr.strip()}")
        return int(json.loads(ended.stdout)["data"])

    def echo(self, url):
        """One session; what is wrong with the way it ended, if anything. The verdict on the session is the server's."""
        try:
            ended = self.run("echo", "--compress", url)
        except subprocess.TimeoutExpired:
            return f"the client did not end within {CASE_SECONDS_MAX} s"
        # 1: the session did not end with a proper close, which many cases are about.
        if ended.returncode not in (0, 1) or "panicked" in ended.stderr:
            return f"exit status {ended.returncode}: {ended.stderr.strip()}"
        return None

    def run(self, subcommand, *arguments):
        command = [self.command, subcommand, "--runtime", self.runtime, *arguments]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CASE_SECONDS_MAX,
            check=False,
            env=self.environment,
        )


def play(client, server, count_expected):
    """Every case, then the reports: how many there were, and the faults that only the client's process shows."""
    count = client.count(server.url)
    if count < 1 or count_expected not in (None, count):
        raise ServerFailed(f"the fuzzing server has {count} cases instead of {count_expected or 'at least one'}")
    faults = []
    for number in range(1, count + 1):
        if fault := client.echo(f"{server.url}/runCase?case={number}&agent={client.runtime}"):
            faults.append((number, fault))
        if not server.is_running():
            raise ServerFailed(f"the fuzzing server ended in case number {number}:\n{server.said()[-2000:]}")
    if fault := client.echo(f"{server.url}/updateReports?agent={client.runtime}"):
        raise ClientFailed(f"/updateReports: {fault}")
    server.wait_for_reports()
    return count, faults


def judge(runtime, options, reports, authority):
    """Runs the cases on one runtime and prints what came of it; whether all was as expected."""
    patterns, count_expected = options.set
    begun = time.monotonic()
    identity = authority and authority.identity
    with SERVERS[options.server](options.tools, patterns, reports, identity) as server:
        count, faults = play(Client(options.ropewalk, runtime, authority), server, count_expected)
    reported = verdicts.read_verdicts(reports / "index.json", runtime)
    deviations = verdicts.read_expectations(HERE / "expectations.toml", options.server)

    problems = verdicts.differences(reported, deviations, count)
    ids = sorted(reported, key=case_sets.order)
    name = lambda number: ids[number - 1] if len(ids) == count else f"number {number}"
    problems += [f"{name(number)}: {fault}" for number, fault in faults]
    if patterns == ["*"]:
        problems += [f"{pattern}: no case has this id" for pattern in verdicts.idle(reported, deviations)]

    tally = ", ".join(f"{number} {behavior}" for behavior, number in verdicts.tally(reported).most_common())
    print(f"{told(options, runtime)}: {count} cases in {time.monotonic() - begun:.0f} s: {tally}", flush=True)
    for problem in problems:
        print(f"  {problem}", flush=True)
    return not problems


def told(options, runtime):
    return f"{options.server}{' over TLS' if options.wss else ''}, {runtime}"


def run_all(options, authority):
    good = True
    for runtime in options.runtime or RUNTIMES:
        reports = options.reports / f"{options.server}{'-wss' if options.wss else ''}-{runtime}"
        shutil.rmtree(reports, ignore_errors=True)
        try:
            good &= judge(runtime, options, reports, authority)
        except (ServerFailed, ClientFailed, verdicts.BadExpectations) as problem:
            print(f"{told(options, runtime)}: {problem}", flush=True)
            good = False
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--ropewalk", type=Path, required=True)
    parser.add_argument("--server", choices=sorted(SERVERS), required=True)
    parser.add_argument("--set", type=case_sets.select, default="light")
    parser.add_argument("--runtime", choices=RUNTIMES, action="append")
    parser.add_argument("--wss", action="store_true")
    options = parser.parse_args()

    if options.wss:
        # What it is made with is there only where it is needed.
        from authority import Authority

        with tempfile.TemporaryDirectory(prefix="ropewalk-autobahn-") as directory:
            good = run_all(options, Authority(Path(directory)))
    else:
        good = run_all(options, None)
    print("as expected" if good else f"NOT as expected; the servers' reports are in {options.reports}")
    return 0 if good else 1


# A termination runs the blocks that end the server, as an interrupt does.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sys.exit(main())
