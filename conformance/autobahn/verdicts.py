"""Compares what a server reported with what it must report."""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass

from case_sets import matches, order

_KEYS = {"cases", "behavior", "close", "server", "reason"}
_VERDICTS = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED", "ERROR", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT"}


class BadExpectations(Exception):
    """The file of expectations is wrong."""


@dataclass(frozen=True)
class Deviation:
    """Cases that are not expected to be OK."""

    cases: tuple
    verdict: tuple
    server: str | None

    def covers(self, case):
        return any(matches(pattern, case) for pattern in self.cases)


def read_expectations(path, server):
    """The deviations that hold for this server."""
    document = tomllib.loads(path.read_text())
    if set(document) - {"deviation"}:
        raise BadExpectations(f"{path.name}: unknown tables: {sorted(set(document) - {'deviation'})}")
    deviations = [_deviation(path, entry) for entry in document.get("deviation", [])]
    return [deviation for deviation in deviations if deviation.server in (None, server)]


def _deviation(path, entry):
    if unknown := set(entry) - _KEYS:
        raise BadExpectations(f"{path.name}: unknown keys {sorted(unknown)}")
    if not entry.get("cases") or not entry.get("reason", "").strip():
        raise BadExpectations(f"{path.name}: an entry needs cases and a reason: {entry}")
    verdict = (entry.get("behavior", "OK"), entry.get("close", "OK"))
    if not set(verdict) <= _VERDICTS or verdict == ("OK", "OK"):
        raise BadExpectations(f"{path.name}: not a deviation: {entry}")
    if entry.get("server") not in (None, "autobahn", "kosoku"):
        raise BadExpectations(f"{path.name}: unknown server: {entry}")
    return Deviation(tuple(entry["cases"]), verdict, entry.get("server"))


def read_verdicts(index, agent):
    """Case to (behaviour, close), from the index that the server wrote."""
    results = json.loads(index.read_text()).get(agent, {})
    return {case: (result["behavior"], result["behaviorClose"]) for case, result in results.items()}


def differences(verdicts, deviations, count):
    """One line for each way in which the run is not what was expected."""
    found = []
    if len(verdicts) != count:
        found.append(f"{len(verdicts)} cases were reported instead of {count}")
    for case in sorted(verdicts, key=order):
        covering = [deviation for deviation in deviations if deviation.covers(case)]
        if len(covering) > 1:
            found.append(f"{case}: more than one entry of the expectations covers it")
            continue
        expected = covering[0].verdict if covering else ("OK", "OK")
        if verdicts[case] != expected:
            found.append(f"{case}: {_words(verdicts[case])} instead of {_words(expected)}")
    return found


def idle(verdicts, deviations):
    """Patterns of the expectations that no case of a complete run matches."""
    patterns = [pattern for deviation in deviations for pattern in deviation.cases]
    return [pattern for pattern in patterns if not any(matches(pattern, case) for case in verdicts)]


def tally(verdicts):
    """How often each behaviour was reported."""
    return Counter(behavior for behavior, _ in verdicts.values())


def _words(verdict):
    return f"{verdict[0]}, closed {verdict[1]}"
