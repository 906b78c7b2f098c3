"""ranks.py: ranks that are killed, again and again.

    tests/ranks.py --build build --kills 100 [--ranks 3] [--seed 1]

Each round kills a random rank of a small run (recycling, then training), or now and then the mpirun above them,
while all of them live: in start-up, recycling, or after a random line of metrics. The job must end by itself,
and --resume ends the run. Rounds take turns:

    same    as many ranks continue: the end has every bit of that of ranks that nothing disturbed;
    one     all images are one rank's, so that no gradient is rounded otherwise, and any number of ranks
            continues, the images another one's: the end has the bits of one rank (apart from the configuration,
            and the gradient's norm, whose squares are added up by shard);
    fewer   continue, each with its share: losses and weights are those of one rank to rounding.

No half file or lock may be left.
"""
import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from runs import essence, picture

EXPERIMENT = """
name: small
data: {set: folder, root: %s/photos, train: train, eval: test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 2, drop_path: 0.1}
train: {epochs: 4, batch: 7, ema: 0.9}
optim: {lr: 1e-3, eps: 1e-4, layer_decay: off}
log: {every: 1}
eval: {every: 1, batch: 4}
schedule: {warmup_epochs: 1}
keep: {every: 1, last: 2, minutes: 1e-7}
"""
MIXTURE = """
base: exp.yaml
name: moe
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: dense/ckpt/last.safetensors}, images: 8, batch: 4, compare: off}
"""
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "JETCL_CHECK": "off",
       "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
       "POCL_MAX_PTHREAD_COUNT": "1"}
NEAR = 1e-5                                           # of the largest weight of a tensor, of a loss


class Job:
    def __init__(self, build, folder, dice):
        self.jetcl, self.dir, self.dice = os.path.abspath(build + "/jetcl"), os.path.abspath(folder), dice
        shutil.rmtree(self.dir, ignore_errors=True)
        for split in ("train", "test"):
            for i in range(24):
                name = self.path("photos", split, "abc"[i % 3], "%d.bmp" % i)
                picture(name, 120 * (i % 3), 10 * i, 255 - 9 * i)
        for name, text in (("exp.yaml", EXPERIMENT % self.dir), ("moe.yaml", MIXTURE)):
            with open(self.path(name), "w") as f:
                f.write(text)
        self.env = dict(os.environ, JETCL_CACHE_DIR=self.path("cache"), **MPI)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def start(self, out, ranks, more=(), experiment="moe.yaml"):
        line = ["mpirun", "-n", str(ranks)] * (ranks > 1) + [
            self.jetcl, "run", experiment, "--out", out, "--resume", "--no-progress", *more]
        with open(self.path("said"), "w") as said:
            return subprocess.Popen(line, cwd=self.dir, env=dict(self.env, JOB=out), stdin=subprocess.DEVNULL,
                                    stdout=said, stderr=said)

    def run(self, out, ranks, **more):
        return self.start(out, ranks, **more).wait()

    def said(self):
        with open(self.path("said"), errors="replace") as f:
            return " / ".join(f.read().split("\n")[-6:])

    def processes(self, out):
        """Those of the job's ranks that live; not the parents that wait for them (MPICH)."""
        found, parents = [], set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    words = f.read().split(b"\0")
                with open("/proc/%s/stat" % pid) as f:
                    state, parent = f.read().rpartition(") ")[2].split()[:2]
            except OSError:
                continue
            numbered = any(w.startswith((b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")) for w in words)
            if state != "Z" and b"JOB=" + out.encode() in words and numbered:
                found.append(int(pid))
                parents.add(int(parent))
        return [pid for pid in found if pid not in parents]

    def lines(self, out):
        try:
            with open(self.path(out, "metrics.jsonl")) as f:
                return f.read().count("\n")
        except OSError:
            return -1

    def reached(self, out, moment):
        if isinstance(moment, int):
            return self.lines(out) >= moment
        return moment == "started" or os.path.exists(self.path(out, moment))

    def disturb(self, out, ranks, more, moments):
        """Kills one of the job: what was killed and when, or None when all was over before."""
        moment = self.dice.choice(moments)
        job = self.start(out, ranks, more)
        while job.poll() is None and not (len(self.processes(out)) == ranks and self.reached(out, moment)):
            time.sleep(0.002)
        time.sleep(self.dice.uniform(0, 1.5 if moment == "started" else 0.05))
        live = self.processes(out)
        victim = self.dice.choice(live * 3 + [job.pid]) if len(live) == ranks else 0
        if victim:
            os.kill(victim, signal.SIGKILL)
        begun = time.time()
        code = job.wait()
        while self.processes(out) and time.time() - begun < 60:
            time.sleep(0.05)
        if not victim or not code:
            return None
        what = "mpirun" if victim == job.pid else "a rank"
        return what, "after %s" % moment, time.time() - begun

    def essence(self, out, ranks=True):
        """Without ranks: what must not depend on their number."""
        got = essence(self.path(out), ranks)
        for row in got["metrics"]:
            if not ranks:
                row.pop("grad_norm", None)
        return got

    def left_over(self, out):
        return [n for d, _, names in os.walk(self.path(out)) for n in names if n.endswith(".tmp")
                or n.startswith("lock")]

    def alike(self, a, b):
        """What of b is not that of a to rounding."""
        x, y = self.essence(a), self.essence(b)
        far = [(p, q) for p, q in zip(x["metrics"], y["metrics"]) if p["step"] != q["step"]
               or abs(p["loss"] - q["loss"]) > NEAR * p["loss"]]
        wrong = ["metrics"] * (bool(far) or len(x["metrics"]) != len(y["metrics"]))
        for name in ("ckpt/last.safetensors", "ckpt/last.state"):
            diff = [self.jetcl, "inspect", "--diff", "--tolerance", str(NEAR), a + "/" + name, b + "/" + name]
            if subprocess.run(diff, cwd=self.dir, env=self.env, stdout=subprocess.DEVNULL).returncode:
                wrong.append(name)
        return wrong


def one_has_all(dice, ranks):
    shares = ["0"] * ranks
    shares[dice.randrange(ranks)] = "1"
    return ["--set", "dist.shares=[%s]" % ",".join(shares)]


def a_round(job, kind, out, ranks, moments):
    """None when the kill came too late, else what was done and what is wrong after it."""
    apart = kind == "one"
    done = job.disturb(out, ranks, one_has_all(job.dice, ranks) if apart else [], moments)
    if not done:
        return None
    wrong = ["ranks live a minute after"] * bool(job.processes(out))
    count = {"same": ranks, "one": job.dice.randint(1, ranks), "fewer": job.dice.randint(1, ranks - 1)}[kind]
    code = job.run(out, count, more=one_has_all(job.dice, count) if apart and count > 1 else [])
    if code:
        return done, count, wrong + ["--resume ends with %d: %s" % (code, job.said())]
    if kind == "fewer":
        wrong += job.alike("whole", out)
    else:
        x, y = job.essence("whole" if apart else "ranks", not apart), job.essence(out, not apart)
        wrong += [key for key in sorted(set(x) | set(y)) if x.get(key) != y.get(key)]
    return done, count, wrong + job.left_over(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    job = Job(args.build, os.path.join(args.build, "ranks"), random.Random(args.seed))
    if not shutil.which("mpirun") or job.run("dense", 1, experiment="exp.yaml"):
        return print("skip ranks: the program or mpirun does not run here") or 0
    if job.run("whole", 1) or job.run("ranks", args.ranks):
        return print("not ok ranks: an undisturbed run fails: %s" % job.said()) or 1
    moments = ["started", "started", "log.txt", "recycle.json", *range(job.lines("ranks"))]
    seen, bad, late, slowest = collections.Counter(), 0, 0, 0
    kinds = ("same", "one", "fewer")
    while sum(seen.values()) < args.kills:
        n = sum(seen.values())
        kind, out = kinds[n % 3], "lost.%d" % (n + late)
        found = a_round(job, kind, out, args.ranks, moments)
        if not found:
            late += 1
            continue
        (what, when, took), count, wrong = found
        seen[what] += 1
        slowest = max(slowest, took)
        print("%s kill %d (%s): %s %s, gone within %.1f s, continued by %d%s" % (
            "not ok" if wrong else "right", n + 1, kind, what, when, took, count,
            "".join(": %s differs or is left" % w for w in wrong)), flush=True)
        bad += bool(wrong)
        if not wrong:
            shutil.rmtree(job.path(out))
    print("%s ranks: %d kills (%s), seed %d: %d wrong, all gone within %.1f s; %d came too late" % (
        "not ok" if bad else "ok", args.kills, ", ".join("%s: %d" % row for row in sorted(seen.items())),
        args.seed, bad, slowest, late))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
