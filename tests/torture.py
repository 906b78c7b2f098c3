"""torture.py: faults, kills and races against a small run, again and again.

    tests/torture.py --build build --rounds 25 [--seed 1]

Each round disturbs a run (of a mixture: recycling, then training) in one way, and then lets the same command
with --resume end it, undisturbed. Whatever happened, the weights, metrics and results must be those of a run
that nothing disturbed, no half file or lock may be left, and a disturbed process must have ended as documented:
0, 1, 3, 4, 75, or by the signal, with one line that says why.
"""
import argparse
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from runs import essence

FUNCTIONS = ["open", "write", "fsync", "close", "rename", "link", "unlink", "mmap", "clEnqueue", "clBuild",
             "clFinish"]
ERRORS = {"open": ["ENOSPC", "EACCES", "EMFILE", "EIO"], "mmap": ["ENOMEM"]}
EXPERIMENT = """
name: small
data: {set: demo, root: %s/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 2, heads: 2, drop_path: 0.1}
train: {epochs: 2, batch: 200, ema: 0.9}
optim: {lr: 1e-3, layer_decay: off}
log: {every: 3}
eval: {every: 1, batch: 100}
schedule: {warmup_epochs: 1}
keep: {every: 1, last: 2, minutes: 0.0005}
"""
MIXTURE = """
base: exp.yaml
name: moe
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: dense/ckpt/last.safetensors}, images: 128, batch: 64, compare: off}
"""


class Rig:
    def __init__(self, build, folder):
        self.jetcl = os.path.abspath(os.path.join(build, "jetcl"))
        self.shim = os.path.abspath(os.path.join(build, "faults.so"))
        self.dir = os.path.abspath(folder)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        with open(self.path("exp.yaml"), "w") as f:
            f.write(EXPERIMENT % self.dir)
        with open(self.path("moe.yaml"), "w") as f:
            f.write(MIXTURE)
        self.env = dict(os.environ, JETCL_CACHE_DIR=self.path("cache"))
        self.limit = 3600                             # seconds after which a run hangs

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def start(self, out, more=(), env=None):
        line = [self.jetcl, "run", "moe.yaml", "--out", out, "--resume", "--no-progress", *more]
        return subprocess.Popen(line, cwd=self.dir, env=dict(self.env, **(env or {})), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")

    def end(self, process):
        try:
            out, err = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return "hangs", err
        return process.returncode, err

    def essence(self, out):
        return essence(self.path(out))


def judge(rig, whole, out, how, code, err, allowed):
    """Everything that is wrong after a round, in words."""
    wrong = []
    if code not in allowed:
        wrong.append("%s: ended with %s: %s" % (how, code, err[-400:]))
    if code in (1, 3, 4) and len([l for l in err.splitlines() if l.startswith("jetcl")]) != 1:
        wrong.append("%s: not one line: %s" % (how, err[-400:]))
    again, text = rig.end(rig.start(out))
    if again != 0:
        return wrong + ["%s, then --resume ends with %s: %s" % (how, again, text[-400:])]
    got = rig.essence(out)
    for key in sorted(set(whole) | set(got)):
        if key.startswith("ckpt/epoch_") and "cannot save" in err and key not in got:
            continue                              # said: the run continued without it
        if "cannot save the best" in err and (key.endswith(".state") or key == "ckpt/best.safetensors"):
            continue                              # said: another one counts as the best
        if whole.get(key) != got.get(key):
            wrong.append("%s, then --resume: %s differs (first ended with %s)" % (how, key, code))
    left = [n for d, _, names in os.walk(rig.path(out)) for n in names if n.endswith(".tmp")
            or n.startswith("lock")]
    if left:
        wrong.append("%s: left over: %s" % (how, left))
    return wrong


def fault(rig, dice, out, counts):
    name = dice.choice(FUNCTIONS)
    how = dice.choice(ERRORS.get(name, ["ENOSPC", "EIO", "EDQUOT"]) + ["delay"])
    n = dice.randint(1, max(1, counts[name]))
    env = {"LD_PRELOAD": rig.shim, "FAULT": "%s:%d:%s" % (name, n, how), "FAULT_BELOW": rig.dir}
    code, err = rig.end(rig.start(out, env=env))
    return env["FAULT"], code, err, (0, 1, 3, 4)


def kill(rig, dice, out, seconds):
    sig = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                       signal.SIGUSR1])
    after = dice.uniform(0, seconds)
    process = rig.start(out)
    time.sleep(after)
    process.send_signal(sig)
    code, err = rig.end(process)
    return "%s after %.2f s" % (sig.name, after), code, err, (0, 75, 128 + sig, -sig)


def race(rig, dice, out, seconds):
    first = rig.start(out)
    time.sleep(dice.uniform(0, seconds / 2))
    second = rig.start(out)
    code, err = rig.end(second)
    one, text = rig.end(first)
    return "a second process", code if code else one, err + text, (0, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rig = Rig(args.build, os.path.join(args.build, "torture"))
    dense = [rig.jetcl, "run", "exp.yaml", "--out", "dense", "-q", "--set", "train.epochs=1"]
    if subprocess.run(dense, cwd=rig.dir, env=rig.env, stdout=subprocess.DEVNULL).returncode:
        return print("skip torture: the program does not run here") or 0
    begun = time.time()
    if rig.end(rig.start("whole"))[0]:
        return print("not ok torture: an undisturbed run fails") or 1
    seconds = time.time() - begun
    rig.limit = max(120, 30 * seconds)
    whole, counts = rig.essence("whole"), {}
    for name in FUNCTIONS:
        count = rig.path("count")
        rig.end(rig.start("count." + name, env={"LD_PRELOAD": rig.shim, "FAULT": name + ":0:fail",
                                                "FAULT_COUNT": count, "FAULT_BELOW": rig.dir}))
        with open(count) as f:
            counts[name] = int(f.read())
    dice, wrong, seen = random.Random(args.seed), [], collections.Counter()
    kinds = {"fault": lambda out: fault(rig, dice, out, counts),
             "kill": lambda out: kill(rig, dice, out, seconds),
             "race": lambda out: race(rig, dice, out, seconds)}
    for i in range(args.rounds):
        for kind, disturb in kinds.items():
            if kind == "race" and i % 5:
                continue
            out = "%s.%d" % (kind, i)
            how, code, err, allowed = disturb(out)
            seen["%s ended with %s" % (kind, code)] += 1
            bad = judge(rig, whole, out, how, code, err, allowed)
            for line in bad:
                print("not ok", re.sub(r"\s+", " ", line), flush=True)
            wrong += bad
            if not bad:
                shutil.rmtree(rig.path(out))
        print("round %d: %s" % (i + 1, "right" if not wrong else "%d wrong so far" % len(wrong)), flush=True)
    print("calls:", ", ".join("%s %d" % (n, counts[n]) for n in FUNCTIONS))
    print("ends:", ", ".join("%s: %d" % row for row in sorted(seen.items())))
    print("%s torture: %d rounds of faults and kills, seed %d: %d wrong" % ("not ok" if wrong else "ok",
                                                                            args.rounds, args.seed,
                                                                       len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
