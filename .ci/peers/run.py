"""Checks the built command against servers that other people wrote.

    run.py ROPEWALK NODE_MODULES [WORD]

The last line says how many checks passed. With WORD, only checks whose name contains it are run."""

import asyncio
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path

import compression_checks
import config_checks
import document_checks
import end_checks
import exchange_checks
import letter_checks
import load_checks
import negotiation_checks
import processor_checks
import reconnect_checks
import secret_checks
import send_checks
import tls_checks
from processes import Failed, Tools

# A check that hangs is a check that failed.
SECONDS_MAX = 300


async def main(ropewalk, node_modules, word=""):
    suites = [config_checks, document_checks, secret_checks, exchange_checks, compression_checks, tls_checks]
    suites += [send_checks, end_checks, letter_checks, processor_checks, negotiation_checks, reconnect_checks]
    suites += [load_checks]
    checks = [check for suite in suites for check in suite.checks() if word in check[0]]
    passed = 0
    with tempfile.TemporaryDirectory(prefix="ropewalk-peers-") as scratch:
        tools = Tools(str(Path(ropewalk).resolve()), str(Path(node_modules).resolve()), Path(scratch))
        for name, check, *arguments in checks:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    note = await check(tools, *arguments)
            except Failed as failure:
                print(f"FAILED  {name}: {failure}", flush=True)
            except Exception:
                print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
            else:
                passed += 1
                seconds = time.monotonic() - begun
                print(f"passed  {name} ({seconds:.1f}s){f': {note}' if note else ''}", flush=True)
    print(f"{passed} passed, {len(checks) - passed} failed")
    return passed == len(checks) > 0


# What a server says about clients that go away is no news here: the checks look for themselves.
logging.getLogger("websockets").setLevel(logging.CRITICAL)
sys.exit(0 if asyncio.run(main(*sys.argv[1:])) else 1)
