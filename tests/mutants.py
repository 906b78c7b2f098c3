#!/usr/bin/env python3
"""mutants.py: plants single faults (plant.py) and tells which of them no test notices.

    make mutants N=300 SEED=1 DIR=core/train        or python3 tests/mutants.py --help

Works in a copy of the tree, build/mutants/tree, one mutant at a time, nice 10: changes the file, builds what
depends on it, runs the tests that can notice, the quickest first, until one fails. Too much processor time
counts as noticed. What does not compile, or compiles to the same object, is drawn again and not counted. Which
tests can notice: those that reach the function, if `make coverage` has written build/coverage/reach.json; else
the folder's row of TESTS.

Results are kept in build/mutants/results.jsonl: a noticed mutant stays so while its file and the test are as
they were, a surviving one until any test that could notice changes. Survivors that change nothing anybody could
see are listed in tests/mutants_equivalent.txt with the reason.
"""
import argparse
import collections
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import plant
import suite

HOME = "build/mutants"
TREE = HOME + "/tree"
SECONDS = HOME + "/seconds.json"                  # of processor time that tests took here
# Folder or file: the tests that can notice a fault there, most telling first. The longest prefix counts.
TESTS = {
    "core/base": "base say spec ckpt run_folder dev train data ops data_loader ckpt_save cli run signals world",
    "core/spec": "spec_rows spec train model cli count kinds cases dry data_cmd run table",
    "core/ckpt": "names ckpt ckpt_torch ckpt_zip ckpt_names names_whole ckpt_folder ckpt_foreign arch "
                 "ckpt_save ckpt_golden "
                 "ckpt_cli fuzz recycle_graft probe eval kinds run",
    "core/dev": "dev gpu order cl product ops half lanes matrix tune bench golden fuse train opencl_errors cli "
                "run",
    "core/graph": "ops order fuse recompute golden model train golden_optim run cli",
    "core/op": "ops limits product stats init golden golden_optim fuse half matrix matrix_attention lanes "
               "export recompute "
               "feed model recycle_golden train run",
    "core/autograd": "ops limits fuse recompute golden golden_optim train model",
    "core/fuse": "fuse_guards fuse ops half recompute golden model train golden_optim",
    "core/nn": "init model golden golden_optim train probe recycle_graft",
    "core/model": "model arch golden golden_optim groups train init feed probe recycle_graft recycle_golden "
                  "count cli run",
    "core/export": "exported export",
    "core/dist": "lost together dist train dist.sh dist_recycle",
    "core/log": "log report owner train run table progress page cli",
    "core/train": "steps loop groups known half eval train golden_optim model run_folder profile cases kinds "
                  "resume run precision table dist dist.sh cli",
    "core/recycle": "recycle_values recycle recycle_graphs recycle_golden recycle_graft recycle_run stats "
                    "kinds resume cli "
                    "run table",
    "core/bench": "bench tune cli",
    "core/study": "table compared energy analyse analysed analyse.sh compare page dry log run_folder owner "
                  "planted run cli",
    "core/cli": "cli known eval kinds cases odd readonly precision ckpt_cli data_cmd probe dry table inputs "
                "owner progress run mistakes install",
    "data": "data_options data_laws data_mix data data_decode data_formats data_demo data_sets data_verify "
            "data_loader feed "
            "fuzz data_cmd cases eval recycle_run run",
    "cl": "ops limits product stats init fuse half matrix matrix_attention lanes feed golden recompute "
          "golden_optim "
          "recycle_golden planted",
    "cl/adamw": "steps ops golden_optim train limits", "cl/feed": "feed", "cl/start": "init",
         "cl/stats": "stats recycle_golden",
    "cl/random": "init ops fuse golden train", "cl/tune.def": "ops product stats golden tune",
    "cl/bench": "bench",
}
BESIDES = "cluster property races torture"       # search at random, or need more: for no fault in particular


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=20, help="how many mutants to try")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--dir", default="", help="only files whose path begins so; several with commas")
    p.add_argument("--kind", default="", help="only this kind of fault")
    p.add_argument("--reach", default="build/coverage/reach.json")
    p.add_argument("--again", action="store_true",
                   help="try every survivor on record once more, and nothing else")
    p.add_argument("--no-scripts", action="store_true", help="binaries only")
    p.add_argument("--longest", type=float, default=1e9,
                   help="leave out tests known to take more seconds: of those that survive then, others may "
                        "notice some")
    p.add_argument("--list", action="store_true", help="show the mutants, try none")
    p.add_argument("--compiler", default="ccache gcc" if shutil.which("ccache") else "gcc")
    return p.parse_args()


def digest(data):
    return hashlib.sha1(data).hexdigest()[:12]


def digest_of(path):
    with open(path, "rb") as f:
        return digest(f.read())


# ---- the copy ------------------------------------------------------------------------------------------------

def sync():
    """Makes TREE what the working tree is; files that are the same keep their times."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                            check=True)
    files = [f for f in listed.stdout.splitlines() if os.path.isfile(f)] + ["config.mak"]
    for f in files:
        to = f"{TREE}/{f}"
        if not os.path.exists(to) or digest_of(f) != digest_of(to):
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copyfile(f, to)
            shutil.copymode(f, to)
    keep = set(files)
    for folder, _, names in os.walk(TREE):
        for n in names:
            path = os.path.relpath(os.path.join(folder, n), TREE)
            if path.split("/")[0] in ("core", "data", "cl", "tests", "experiments") and path not in keep:
                os.remove(f"{TREE}/{path}")
    return [f for f in files if f.startswith(("core/", "data/", "cl/"))
            and f.endswith((".c", ".h", ".cl", ".def"))]


def make(compiler, *targets):
    strict = "CFLAGS=-O1 -Werror=int-conversion -Werror=incompatible-pointer-types"
    return subprocess.run(["make", "-s", f"CC={compiler}", strict, *targets], cwd=TREE, capture_output=True,
                          text=True)


def kernels_compile(file):
    """Whether the kernels that hold the file do, as far as clang can tell (it takes what make check-cl
    does)."""
    if not file.startswith("cl/") or file.endswith(".def") or not shutil.which("clang"):
        return True
    name = os.path.basename(file)
    for path in glob.glob(f"{TREE}/cl/**/*.cl", recursive=True):
        with open(path) as f:
            if path == f"{TREE}/{file}" or (file.endswith(".h") and f'"{name}"' in f.read()):
                clang = ["clang", "-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header",
                         "-fsyntax-only",
                         "-Icl", "-include", "cl/prelude.h", os.path.relpath(path, TREE)]
                if subprocess.run(clang, cwd=TREE, capture_output=True).returncode:
                    return False
    return True


def write(file, text):
    with open(f"{TREE}/{file}", "w") as f:
        f.write(text)


# ---- which tests ---------------------------------------------------------------------------------------------

class Choice:
    def __init__(self, args):
        self.all = [n for n in suite.names() if n not in suite.NEEDS_MORE]
        if args.no_scripts:
            self.all = [n for n in self.all if not suite.is_script(n)]
        self.reach = {"functions": {}, "seconds": {}}
        if os.path.exists(args.reach):
            with open(args.reach) as f:
                self.reach = json.load(f)
        self.seconds = dict(self.reach["seconds"])
        if os.path.exists(SECONDS):
            with open(SECONDS) as f:
                self.seconds |= json.load(f)
        self.all = [n for n in self.all if self.seconds.get(n, 0) <= args.longest]
        self.unlisted = sorted(set(self.all) - set(" ".join([BESIDES, *TESTS.values()]).split())
                               - set(self.reach["seconds"]))

    def of(self, m):
        prefix = max((k for k in TESTS if m.file.startswith(k)), key=len)
        row = [n for n in TESTS[prefix].split() if n in self.all]
        telling = row[:3]
        row += self.unlisted                      # in no row and on no record: they might notice anything
        found = self.reach["functions"].get(f"{m.file}:{m.function}") if m.function else None
        if found:                                 # tests that are newer than the record are taken from the row
            row = [n for n in row if n not in self.reach["seconds"]] + [n for n in found if n in self.all]
        return sorted(dict.fromkeys(row), key=lambda n: self.seconds.get(n, 3) / (5 if n in telling else 1))

    def took(self, test, seconds):
        if test not in self.seconds:
            self.seconds[test] = round(seconds, 1)
            with open(SECONDS, "w") as f:
                json.dump(self.seconds, f, indent=1)


# ---- results -------------------------------------------------------------------------------------------------

class Record:
    def __init__(self):
        self.path, self.of = HOME + "/results.jsonl", {}
        if os.path.exists(self.path):
            with open(self.path) as f:
                for line in f:
                    x = json.loads(line)
                    self.of[x["key"]] = x

    def stamp(self, m, tests):
        sources = {t: digest_of(suite.source(t)) for t in tests}
        return {"source": digest_of(m.file), "tests": sources}

    def known(self, m, stamp):
        x = self.of.get(m.key)
        if not x:
            return None
        if x["result"] == "noticed":
            same = x["stamp"]["tests"].get(x["test"]) == stamp["tests"].get(x["test"])
            return x if same and x["stamp"]["source"] == stamp["source"] else None
        return x if x["stamp"] == stamp else None

    def add(self, m, result, test, stamp):
        x = {"key": m.key, "file": m.file, "line": m.line, "function": m.function, "kind": m.kind,
             "result": result,
             "test": test, "stamp": stamp, "before": m.before, "after": m.after}
        self.of[m.key] = x
        with open(self.path, "a") as f:
            f.write(json.dumps(x) + "\n")
        return x


def equivalents():
    """{(file, before, after)} of tests/mutants_equivalent.txt, blanks squeezed; after "*": any change of that
    line."""
    out, file, before = set(), None, None
    with open("tests/mutants_equivalent.txt") as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("- "):
                before = " ".join(line[2:].split())
            elif line.startswith("+ "):
                out.add((file, before, " ".join(line[2:].split())))
            elif line and not line.startswith(("#", "= ", " ")):
                file = line.strip()
    return out


def is_equivalent(listed, m):
    before, after = " ".join(m.before.split()), " ".join(m.after.split())
    return bool({(m.file, before, after), (m.file, before, "*"), (m.file, "*", "*")} & listed)


# ---- one mutant ----------------------------------------------------------------------------------------------

class Planter:
    def __init__(self, args, choice, record):
        self.args, self.choice, self.record = args, choice, record
        self.env = suite.environment("build", TREE)
        self.green = {}                           # tests seen to pass without a fault: {name: seconds}

    def is_green(self, test):
        """Whether the test passes on the tree as it is; asked once, when a result depends on it."""
        if test not in self.green:
            built = make(self.args.compiler, *suite.target(test, "build"))
            if built.returncode:
                sys.exit(f"the tree does not build:\n{built.stderr[-2000:]}")
            ok, seconds, why = suite.run(test, "build", self.env, TREE)
            self.green[test] = seconds if ok else None
            if ok:
                self.choice.took(test, seconds)
            else:
                print(f"test {test} fails without any fault and is left out: {'; '.join(why)}", flush=True)
        return self.green[test] is not None

    def compiles_to(self, file):
        """The file's object after make, b"" when it has none of its own, None when it does not compile."""
        own = f"build/{file[:-2]}.o" if file.endswith(".c") else None
        if not kernels_compile(file) or make(self.args.compiler, own or "build/libjetcl.a").returncode:
            return None
        if not own:
            return b""
        with open(f"{TREE}/{own}", "rb") as f:
            return f.read()

    def restore(self, file, text, object_before):
        """The file as it was, and its object too, so that it need not be compiled again."""
        write(file, text)
        if object_before:
            with open(f"{TREE}/build/{file[:-2]}.o", "wb") as f:
                f.write(object_before)

    def try_tests(self, tests):
        """The test that notices, or None."""
        for i, t in enumerate(tests):
            if i in (0, 1, 3, 7, 15, 31):         # more at a time, the less it is likely that one still notices
                some = [x for n in tests[i:2 * i + 1] for x in suite.target(n, "build")]
                if make(self.args.compiler, *dict.fromkeys(some)).returncode:
                    return t                      # a test no longer links
            limit = 10 * self.choice.seconds.get(t, 60) + 60
            ok, seconds, _ = suite.run(t, "build", self.env, TREE, cpu=limit, wall=20 * limit + 120)
            if not ok:
                return t
            self.choice.took(t, seconds)
        return None

    def plant(self, m):
        tests = [t for t in self.choice.of(m) if self.green.get(t, 0) is not None]
        stamp = self.record.stamp(m, tests)
        known = self.record.known(m, stamp)
        if known:
            return known
        with open(m.file) as f:
            text = f.read()
        object_before = self.compiles_to(m.file)
        try:
            write(m.file, text[:m.start] + m.text + text[m.end:])
            object_after = self.compiles_to(m.file)
            if object_after is None or (object_after and object_after == object_before):
                return self.record.add(m, "broken" if object_after is None else "same", None, stamp)
            by = self.try_tests(tests)
        finally:
            self.restore(m.file, text, object_before)
        if by and not self.is_green(by):
            return self.plant(m)                  # without that test
        return self.record.add(m, "noticed" if by else "survived", by, stamp)


# ---- which mutants -------------------------------------------------------------------------------------------

def folder_of(file):
    return os.path.dirname(file)


def draw(mutants, count, seed):
    """An endless order: folders one after the other, as often as the root of their sizes, in each a line, then
    a fault in it."""
    r = random.Random(seed)
    by = collections.defaultdict(lambda: collections.defaultdict(list))
    for m in mutants:
        by[folder_of(m.file)][(m.file, m.line)].append(m)
    folders = sorted(by)
    weights = {f: len(by[f]) ** 0.5 for f in folders}
    while by:
        live = [f for f in folders if f in by]
        f = r.choices(live, [weights[x] for x in live])[0]
        line = r.choice(sorted(by[f]))
        m = by[f][line].pop(r.randrange(len(by[f][line])))
        if not by[f][line]:
            del by[f][line]
        if not by[f]:
            del by[f]
        yield m


def show(x):
    print(f"{x['file']}:{x['line']}: {x['kind']} in {x['function']}")
    for mark, text in (("-", x["before"]), ("+", x["after"])):
        for line in text.split("\n"):
            print(f"{mark} {line.strip()}")
    sys.stdout.flush()


def print_table(tried):
    rows = collections.defaultdict(collections.Counter)
    for x in tried:
        for key in (folder_of(x["file"]), "all"):
            rows[key][x["result"]] += 1
    print(f"{'folder':16}{'tried':>7}{'noticed':>9}{'share':>8}{'equivalent':>12}")
    for key in sorted(rows, key=lambda k: (k == "all", k)):
        c = rows[key]
        n = c["noticed"] + c["survived"]
        print(f"{key:16}{n:7}{c['noticed']:9}{100 * c['noticed'] / max(1, n):7.0f}%{c['equivalent']:12}")


def main():
    args = arguments()
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.makedirs(TREE, exist_ok=True)
    mutants, listed = [], equivalents()
    for f in sync():
        with open(f) as text:
            mutants += plant.mutants_of(f, text.read())
    mutants = [m for m in mutants if m.file.startswith(tuple(args.dir.split(","))) and args.kind in ("",
                                                                                                     m.kind)]
    choice, record = Choice(args), Record()
    order = draw(mutants, args.count, args.seed)
    if args.again:
        order = iter([m for m in mutants if record.of.get(m.key, {}).get("result") == "survived"])
    if args.list:
        for _, m in zip(range(args.count), order):
            show(m._asdict() | {"result": ""})
        return
    built = make(args.compiler, "build/jetcl")
    if built.returncode:
        sys.exit(f"the tree does not build:\n{built.stderr[-2000:]}")
    planter, tried = Planter(args, choice, record), []
    try:
        while args.again or sum(x["result"] in ("noticed", "survived") for x in tried) < args.count:
            m = next(order, None)
            if m is None:
                break
            if is_equivalent(listed, m):
                x = {"file": m.file, "result": "equivalent"}
            else:
                x = planter.plant(m)
            if x["result"] == "survived":
                show(x)
            tried.append(x)
    except (KeyboardInterrupt, SystemExit):
        pass
    print_table(tried)


main()
