#!/usr/bin/env python3
"""coverage.py BUILD [NAME...]: runs the tests of an instrumented build one by one (make coverage makes it) and
prints lines and branches per folder. Leaves in BUILD
    reach.json      which tests reach each function, and how long each test takes (mutants.py reads it)
    unreached.txt   every function and line that no test reaches
"""
import collections
import glob
import json
import os
import subprocess
import sys

import suite


def read_counts(build):
    """{file: (lines {n: count}, branches {n: [counts]}, functions {name: count})} since the last clearing."""
    files = {}
    data = [os.path.relpath(p, build) for p in glob.glob(build + "/**/*.gcda", recursive=True)]
    # gcov looks for each .gcno beside its .gcda; names in it are as the compiler was given them
    for k in range(0, len(data), 40):
        out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                              *(os.path.join(build, d) for d in data[k:k + 40])],
                             capture_output=True, text=True).stdout
        for text in out.splitlines():
            for f in json.loads(text)["files"]:
                name = os.path.normpath(f["file"])
                if not name.startswith(("core/", "data/")):
                    continue
                lines, branches, functions = files.setdefault(name, ({}, {}, {}))
                for x in f["lines"]:
                    n = x["line_number"]
                    lines[n] = lines.get(n, 0) + x["count"]
                    new, old = [b["count"] for b in x["branches"]], branches.get(n, [])
                    branches[n] = [a + b for a, b in zip(old, new)] if len(old) == len(new) else old or new
                for x in f["functions"]:
                    functions[x["name"]] = functions.get(x["name"], 0) + x["execution_count"]
    return files


def add(total, part):
    for name, (lines, branches, functions) in part.items():
        to = total.setdefault(name, ({}, {}, {}))
        for n, c in lines.items():
            to[0][n] = to[0].get(n, 0) + c
        for n, c in branches.items():
            old = to[1].get(n, [0] * len(c))
            to[1][n] = [a + b for a, b in zip(old, c)] if len(old) == len(c) else old
        for n, c in functions.items():
            to[2][n] = to[2].get(n, 0) + c


def print_table(total):
    rows = collections.defaultdict(lambda: [0, 0, 0, 0])
    for name, (lines, branches, _) in total.items():
        sums = [len(lines), sum(c > 0 for c in lines.values()), sum(len(b) for b in branches.values()),
                sum(c > 0 for b in branches.values() for c in b)]
        for key in (os.path.dirname(name), "all"):
            rows[key] = [a + b for a, b in zip(rows[key], sums)]
    print(f"{'folder':16}{'lines':>8}{'reached':>9}{'branches':>10}{'taken':>8}")
    for key in sorted(rows, key=lambda k: (k == "all", k)):
        n, hit, b, taken = rows[key]
        print(f"{key:16}{n:8}{100 * hit / max(1, n):8.1f}%{b:10}{100 * taken / max(1, b):7.1f}%")


def unreached(total):
    for name, (lines, _, functions) in sorted(total.items()):
        text = open(name, errors="replace").read().splitlines()
        for f in sorted(f for f, c in functions.items() if not c):
            yield f"{name}: {f}() is never called"
        for n in sorted(n for n, c in lines.items() if not c):
            yield f"{name}:{n}: {text[n - 1].strip() if n <= len(text) else ''}"


def main():
    build, only = sys.argv[1], sys.argv[2:]
    total, reach = {}, {"functions": {}, "seconds": {}}
    for name in only or suite.names():
        if name in suite.NEEDS_MORE and not only:
            continue
        for p in glob.glob(build + "/**/*.gcda", recursive=True):
            os.remove(p)
        ok, seconds, why = suite.run(name, build, suite.environment(build, "."))
        print(f"{name:16}{seconds:7.1f} s {'' if ok else 'FAILED: ' + '; '.join(why)}", flush=True)
        part = read_counts(build)
        add(total, part)
        reach["seconds"][name] = round(seconds, 2)
        for file, (_, _, functions) in part.items():
            for f, count in functions.items():
                if count:
                    reach["functions"].setdefault(f"{file}:{f}", []).append(name)
    if not only:
        with open(build + "/reach.json", "w") as f:
            json.dump(reach, f, indent=0)
    with open(build + "/unreached.txt", "w") as f:
        f.write("\n".join(unreached(total)) + "\n")
    print_table(total)
    print(f"what no test reaches: {build}/unreached.txt")


main()
