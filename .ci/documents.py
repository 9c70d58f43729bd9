"""Keeps the documents' commands true. A command is a line in a fenced block marked `sh`; other fences are pictures.

    documents.py commands FILE                 prints the commands
    documents.py first-screen FILE COMMAND...  fails unless these commands stand in the first 40 lines
    documents.py covered RECORD FILE...        fails on a command that is not a line of RECORD
"""

import sys
from pathlib import Path

SCREEN = 40
# They bring one to where the gate is, or start it.
BEFORE = ("git clone ", "cd ", ".ci/run")
# These need a server, and are tried by .ci/peers/document_checks.py.
SERVED = "ropewalk "


def commands(file):
    """Pairs of a line's number and its command."""
    fence = None
    for number, line in enumerate(Path(file).read_text().splitlines(), start=1):
        if line.startswith("```"):
            fence = line[3:].strip() if fence is None else None
            continue
        command = line.split(" #")[0].strip()
        if fence == "sh" and command and not command.startswith(("#", *BEFORE, SERVED)):
            yield number, command


def main(what, *arguments):
    problems = []
    if what == "commands":
        for _, command in commands(arguments[0]):
            print(command)
    elif what == "first-screen":
        file, *wanted = arguments
        seen = [command for number, command in commands(file) if number <= SCREEN]
        problems = [f"{file}: no `{each}` in its first {SCREEN} lines" for each in wanted if each not in seen]
    elif what == "covered":
        record, *files = arguments
        ran = set(Path(record).read_text().splitlines())
        for file in files:
            for number, command in commands(file):
                if command not in ran:
                    problems.append(f"{file}:{number}: the gate does not run `{command}`")
    else:
        sys.exit(__doc__)
    if problems:
        sys.exit("\n".join(problems))


main(*sys.argv[1:])
