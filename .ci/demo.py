"""Judges what `ropewalk demo --json` printed: `demo.py FILE RUNTIME`."""

import json
import sys

FAULTS_MIN = 100
KINDS_MIN = 6

file, runtime = sys.argv[1:]
with open(file) as text:
    outcome = json.load(text)
connections = outcome["connections"]
faults = {kind: count for kind, count in outcome["faults"].items() if count > 0}
totals = outcome["totals"]
letters, workers, batches = outcome["letters"], outcome["workers"], outcome["batches"]
stages = {kind["stage"] for kind in letters["kinds"]}
conditions = {
    "the runtime": outcome["runtime"] == runtime,
    "nothing lost": outcome["lost"] == 0 and not any(each.get("lost") for each in connections),
    "nothing twice": outcome["duplicates"] == 0,
    "nothing misjudged": outcome["misjudged"] == 0 and outcome["miscounted"] == [],
    "50 connections": len(connections) == 50,
    "every connection worked": all(each["delivered"] > 0 for each in connections),
    "what was received met one fate": all(
        each["received"] == each["delivered"] + each["filtered"] + each["dead"] for each in connections
    ),
    "the totals": all(totals[key] == sum(each[key] for each in connections) for key in totals),
    "filtered and dead messages": totals["filtered"] > 0 and totals["dead"] > 0,
    "dead letters of both stages": stages == {"business", "protocol"},
    "each letter was stored": letters["stored"] == sum(kind["count"] for kind in letters["kinds"])
    and letters["stored"] >= totals["dead"]
    and letters["dropped"] == 0,
    "each letter came back once": letters["stored"] == letters["redriven"] == letters["delivered"] == totals["redriven"]
    and letters["waiting"] == letters["failed_again"] == letters["missing"] == letters["repeated"] == 0,
    "messages were retried": outcome["retried"] > 0,
    "batches": 0 < batches["count"] < batches["messages"],
    "every message was in a batch": batches["messages"] >= totals["delivered"] + totals["dead"] + totals["redriven"],
    "workers scaled": outcome["scaled"] > 0 and workers["events_missed"] == 0,
    "workers kept to their bounds": workers["out_of_bounds"] == 0 and workers["min"] < workers["most"] <= workers["max"],
    f"{FAULTS_MIN} faults": sum(faults.values()) >= FAULTS_MIN,
    f"{KINDS_MIN} kinds of fault": len(faults) >= KINDS_MIN,
    "the faults were seen": totals["reconnects"] >= FAULTS_MIN,
}
broken = [condition for condition, holds in conditions.items() if not holds]
if broken:
    print(json.dumps(outcome, indent=1))
    sys.exit(f"{runtime}: not so: {', '.join(broken)}")
print(
    f"{runtime}: {totals['received']} messages, {sum(faults.values())} faults of {len(faults)} kinds, "
    f"{totals['reconnects']} reconnects, {letters['delivered']} letters redriven, scaled {outcome['scaled']} times, "
    f"lost {outcome['lost']}"
)
