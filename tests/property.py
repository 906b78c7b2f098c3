"""property.py: of random small experiments, a run, one that was killed and resumed, and one that was killed
twice are the same to the bit: weights, states, metrics, results.

    tests/property.py --build build --count 6 [--seed 1]

Experiment N of a seed is the same whatever --count is, so a failure is seen again with --only N.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys

from runs import essence, picture

MODELS = [
    "arch: vit, image: 16, patch: 8, dim: 16, depth: 1, heads: 2, drop_path: off",
    "arch: vit, image: 16, patch: 8, dim: 24, depth: 2, heads: 2, drop_path: 0.2, pool: token",
    "arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 2, drop_path: 0.1, layer_scale: 0.1",
    "arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 2, moe: {layers: [1], core: 2, universal: 2}",
    "arch: convnext, image: 32, depths: [1, 1], dims: [8, 16], drop_path: 0.1",
]
AUGMENT = ["{}", "{randaugment: off, mixup: off, cutmix: off, erasing: off}",
           "{mixup: off, cutmix: 1, smoothing: off}", "{randaugment: off, mixup: 0.8, cutmix: off, pad: 4}"]


def draw(dice, root):
    """The experiment as text, with images of its own below root."""
    classes, images = dice.randint(2, 4), dice.randint(5, 14)
    for split, n in (("train", images), ("test", dice.randint(1, 4))):
        for c in range(classes):
            for i in range(n):
                picture("%s/%s/c%d/%d.bmp" % (root, split, c, i), 80 * c, dice.randint(0, 255), 10 * i)
    accumulate = dice.choice([1, 1, 2, 3])
    epochs = dice.randint(2, 5)
    return "\n".join([
        "name: property", "seed: %d" % dice.randint(0, 10 ** 9),
        "data: {set: folder, root: %s, train: train, eval: test, workers: %d}" % (root, dice.randint(1, 3)),
        "model: {%s}" % dice.choice(MODELS),
        "train: {epochs: %d, batch: %d, accumulate: %d, ema: %s}" % (
            epochs, accumulate * dice.choice([2, 3]), accumulate, dice.choice(["off", "0.9"])),
        "optim: {lr: 1e-3, layer_decay: %s}" % dice.choice(["off", "0.8"]),
        "schedule: {warmup_epochs: %s}" % dice.choice(["off", "1"]),
        "augment: %s" % dice.choice(AUGMENT),
        "eval: {every: %s, batch: %d, metric: %s, patience: %d}" % (
            dice.choice(["off", 1, 2, 3]), dice.choice([2, 4]), dice.choice(["top1", "loss"]),
                                                                    dice.choice([0, 0, 2])),
        "log: {every: %d}" % dice.randint(1, 5),
        "keep: {every: %s, last: %d, best: %d, minutes: %s}" % (
            dice.choice(["off", 1, 2, 3]), dice.randint(0, 3), dice.randint(0, 1),
                                                                dice.choice(["off", "1e-7", "0.002"])),
        ""])


class Property:
    def __init__(self, build, folder, dice):
        self.jetcl = os.path.abspath(os.path.join(build, "jetcl"))
        self.dir = os.path.abspath(folder)
        self.dice = dice
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.text = draw(dice, self.dir + "/photos")
        with open(self.dir + "/exp.yaml", "w") as f:
            f.write(self.text)

    def run(self, out, batches=0):
        """To the end, or killed, or told to save and stop, once so many batches were prepared. The exit
        status."""
        process = subprocess.Popen([self.jetcl, "run", "exp.yaml", "--out", out, "--resume", "--no-progress"],
                                   cwd=self.dir, env=dict(os.environ, JETCL_TRACE="data"),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, errors="replace")
        seen, kept = 0, []
        for line in process.stderr:
            seen += " batch " in line
            kept = kept[-5:] + ([] if " batch " in line else [line])
            if batches and seen == batches:
                process.send_signal(self.dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGUSR1,
                                                      signal.SIGTERM]))
        self.said = "".join(kept)
        self.seen = seen
        return process.wait()

    def differs(self, a, b):
        x, y = essence(self.dir + "/" + a), essence(self.dir + "/" + b)
        return ["%s differs from %s in %s" % (b, a, key) for key in sorted(set(x) | set(y))
                if x.get(key) != y.get(key)]

    def judge(self):
        """What is wrong, in words."""
        if self.run("straight"):
            return ["the straight run fails: " + self.said]
        total, wrong = self.seen, []
        self.run("once", self.dice.randint(1, total))
        if os.path.isdir(self.dir + "/once"):                 # not killed before it was made
            shutil.copytree(self.dir + "/once", self.dir + "/twice", symlinks=True)
        self.run("twice", self.dice.randint(1, total))
        for out in ("once", "twice"):
            if self.run(out):
                wrong.append("%s: cannot be resumed: %s" % (out, self.said))
        return wrong or self.differs("straight", "once") + self.differs("straight", "twice")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    failed = 0
    for n in range(args.count) if args.only is None else [args.only]:
        p = Property(args.build, os.path.join(args.build, "property"), random.Random("%d/%d" % (args.seed, n)))
        wrong = p.judge()
        failed += bool(wrong)
        print("%s experiment %d of seed %d" % ("not ok" if wrong else "ok", n, args.seed), flush=True)
        for line in wrong:
            print("   " + line)
        if wrong:
            print("   " + p.text.replace("\n", "\n   "), flush=True)
            shutil.rmtree("%s.%d" % (p.dir, n), ignore_errors=True)
            shutil.copytree(p.dir, "%s.%d" % (p.dir, n), symlinks=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
