#!/usr/bin/env python3
"""Images a second of one rank with two cores and of two ranks with a core each, alternately (A B A B), through
shared memory, by hand on a quiet machine of at least two cores with PoCL and Open MPI:

    python3 tests/peers/ranks_speed.py [--rounds 3] [--batch 32] [vit-t v-jetmoe-t]

Prints both rates, what the ranks waited for each other, and the ratio of each round; then its median."""
import argparse, json, os, statistics, subprocess, sys, tempfile

JETCL = os.path.realpath(os.environ.get("JETCL", "build/jetcl"))
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
MOE = ", moe: {layers: [6, 7, 8, 9, 10, 11], core: 98, universal: 196}"
EXPERIMENT = """base: %s/experiments/models/vit-t.yaml
model: {classes: 20%s}
data: {set: demo, train: b/train, eval: b/test}
train: {steps: 11, batch: %d}
log: {every: 1}
keep: {every: off, last: 0, best: 0, minutes: off}
"""


def rate(exp, ranks, out):
    env = dict(os.environ, POCL_MAX_PTHREAD_COUNT=str(2 // ranks))
    start = ["mpirun", "-n", "2", "--bind-to", "core"] if ranks > 1 else []
    if start and not os.geteuid():
        start.insert(1, "--allow-run-as-root")
    run = [*start, JETCL, "run", exp, "--out", out, "-q"]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr + done.stdout)
    with open(out + "/metrics.jsonl") as f:
        rows = [r for r in map(json.loads, f) if r["split"] == "train" and r["img_s"]]
    return [statistics.median(r.get(k) or 0 for r in rows) for k in ("img_s", "comm")]


def compare(name, rounds, batch):
    ratios = []
    with tempfile.TemporaryDirectory() as t:
        exp = t + "/exp.yaml"
        with open(exp, "w") as f:
            f.write(EXPERIMENT % (ROOT, MOE if "moe" in name else "", batch))
        for i in range(rounds):
            one, two = rate(exp, 1, f"{t}/a{i}"), rate(exp, 2, f"{t}/b{i}")
            ratios.append(two[0] / one[0])
            print(f"{name} batch {batch}: {one[0]:.2f}, {two[0]:.2f} images/s, waiting {two[1]:.1f} %, "
                  f"ratio {ratios[-1]:.3f}", flush=True)
    print(f"{name} batch {batch}: median of {rounds}: {statistics.median(ratios):.3f}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("models", nargs="*", default=["vit-t", "v-jetmoe-t"])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--batch", type=int, default=32)
    a = p.parse_args()
    for m in a.models:
        compare(m, a.rounds, a.batch)


main()
