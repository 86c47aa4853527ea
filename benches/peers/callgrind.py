"""Reads what callgrind writes: instructions by the source file and the function that they were compiled from."""

import re
from collections import Counter

# Names are spelled out once, and are a number from then on: "fl=(3) /path/file.rs", later "fl=(3)".
NAME = re.compile(r"^(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?$")
COST = re.compile(r"^(?:[+-]\d+|\d+|\*) (\d+)$")
# An inlined function's lines come after `fi`, and the way back to the outer function's file is `fe`.
KINDS = {"ob": "object", "fl": "file", "fi": "file", "fe": "file", "fn": "function"}


def by_source(profile):
    """Instructions of a profile, by (object, file, function). Calls are not in it: each has its own lines."""
    names = {"object": {}, "file": {}, "function": {}}
    at = {"object": "", "file": "", "function": ""}
    found = Counter()
    of_call = False
    with open(profile, errors="replace") as lines:
        for line in lines:
            # The line after "calls=" is what the called function took.
            if of_call:
                of_call = False
            elif cost := COST.match(line):
                found[at["object"], at["file"], at["function"]] += int(cost[1])
            elif line.startswith("calls="):
                of_call = True
            elif name := NAME.match(line):
                learn(names[KINDS[name[1]]], name[2], name[3])
                at[KINDS[name[1]]] = names[KINDS[name[1]]][name[2]]
                if name[1] == "fl":
                    # A function of another file begins.
                    at["function"] = ""
            elif called := re.match(r"^c(ob|fi|fl|fn)=\((\d+)\)(?: (.*))?$", line):
                learn(names[KINDS[called[1]]], called[2], called[3])
    return found


def learn(names, number, name):
    if name is not None:
        names[number] = name
