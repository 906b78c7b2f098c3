#!/usr/bin/env python3
"""A hundred steps here and in PyTorch, in fp32, bf16 and fp16: same start, same batches in the same order,
AdamW; PyTorch by torch.autocast on the CPU, with its GradScaler for fp16. By hand:

    python3 tests/peers/autocast.py DATA [--steps 100] [--dense]

DATA: an image folder of 32 x 32 pixels, DATA/train/CLASS/*, of CIFAR-10's classes. The model is that of
experiments/precision without noise; --dense: without experts. fp32 is the control: there the losses must agree
to rounding, so that weights, order, pixels, gradients and optimiser are the same. autocast rounds the weights
that products read and keeps the residual stream in fp32; we do neither, so in half types the two are as far
apart as each is from its own fp32. `spread`: PyTorch's bf16 from weights that are off by up to 2^-9 at random,
what one rounding makes of the steps that follow."""
import argparse, json, os, subprocess, sys, tempfile
import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from twin import Twin

JETCL = os.path.realpath(os.environ.get("JETCL", "build/jetcl"))
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
EXPERIMENT = """base: %s/experiments/precision/spheromoe.yaml
data: {root: %s, eval: train}
model: {%s}
train: {epochs: 1, steps: %d, batch: 64, precision: %s}
optim: {lr: %g}
schedule: {warmup_epochs: off, name: constant}
augment: {pad: off, scale_min: 1, flip: off}
eval: {every: off}
log: {every: 1}
keep: {minutes: off}
seed: %d
"""
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
SEED, BATCH, HEADS, PATCH, LR, DECAY, CLIP, SMOOTHING, SHUFFLE = 7, 64, 2, 8, 1e-3, .05, 5.0, .1, 2
TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def jetcl(t, name, steps, model, precision, data, lr=LR):
    """A run: loss and scale of each step, and the folder."""
    exp, out = t + "/exp.yaml", t + "/" + name
    with open(exp, "w") as f:
        f.write(EXPERIMENT % (ROOT, os.path.realpath(data), model, steps, precision, lr, SEED))
    done = subprocess.run([JETCL, "run", exp, "--out", out, "-q"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    with open(out + "/metrics.jsonl") as f:
        rows = [r for r in map(json.loads, f) if r["split"] == "train"]
    return [r["loss"] for r in rows], [r.get("scale") for r in rows], out


def philox(key, ctr):
    """Four words of Philox4x32-10 (Salmon et al. 2011) for each row of counters."""
    c, k, low = [x.astype(np.uint64) for x in ctr.T], list(key), np.uint64(0xffffffff)
    for _ in range(10):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(q >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), q & low,
             (p >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p & low]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return np.stack(c, 1).astype(np.uint32)


def words(seed):
    """The draws of core/base/rng.c: rng_at(seed, RNG_SHUFFLE, epoch 0, 0)."""
    for k in range(1 << 20):
        blocks = np.arange(4096, dtype=np.uint64)
        ctr = np.stack([0 * blocks, 0 * blocks, 0 * blocks, SHUFFLE + (blocks << np.uint64(20))], 1)
        yield from philox((seed, k * 0x632BE5AB & 0xffffffff), ctr).ravel().tolist()


def shuffled(n, seed):
    """rng_shuffle with rng_below: Fisher and Yates, without the bias of a remainder."""
    v, draws = list(range(n)), words(seed)
    for i in range(n - 1, 0, -1):
        while True:
            m = next(draws) * (i + 1)
            if m & 0xffffffff >= (1 << 32) % (i + 1):
                break
        j = m >> 32
        v[i], v[j] = v[j], v[i]
    return v


def batches(data, classes, steps):
    files = [(os.path.join(data, "train", c, f), k) for k, c in enumerate(classes)
             for f in sorted(os.listdir(os.path.join(data, "train", c)))]
    order = shuffled(len(files), SEED)
    for i in range(steps):
        some = [files[j] for j in order[i * BATCH:][:BATCH]]
        x = np.stack([np.asarray(Image.open(f).convert("RGB")) for f, _ in some])
        x = (torch.from_numpy(x).float() - MEAN) / STD
        yield x.permute(0, 3, 1, 2).contiguous(), torch.tensor([k for _, k in some])


def pytorch(w, fed, kind):
    net = Twin(w, HEADS, PATCH, noise=False)
    opt, losses, scales = net.optimiser(LR, DECAY), [], []
    scaler = torch.amp.GradScaler("cpu", init_scale=65536, enabled=kind == torch.float16)
    for x, y in fed:
        with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
            loss = F.cross_entropy(net(x, True).float(), y, label_smoothing=SMOOTHING)
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(list(net.used().values()), CLIP)
        scaler.step(opt)
        scaler.update()
        losses.append(loss.item())
        scales.append(scaler.get_scale())
    return losses, scales


def nudged(w):
    g = torch.Generator().manual_seed(1)
    return {k: v * (1 + (torch.rand(v.shape, generator=g) * 2 - 1) / 512) for k, v in w.items()}


def apart(a, b):
    d = np.abs(np.array(a) - np.array(b))
    return "%.1e mean, %.1e most, %.1e at the end" % (d.mean(), d.max(), d[-1])


def halvings(scales):
    return sum(b < a for a, b in zip([65536] + scales, scales))


def report(ours, theirs, scales, spread):
    print(" step" + "".join("%14s%14s" % ("jetcl " + k, "PyTorch") for k in TYPES))
    steps = len(spread)
    for i in sorted({0, 1, *range(9, steps, 10), steps - 1}):
        print("%5d" % (i + 1) + "".join("%14.6f%14.6f" % (ours[k][i], theirs[k][i]) for k in TYPES))
    for k in TYPES:
        print("%s, jetcl and PyTorch: %s" % (k, apart(ours[k], theirs[k])))
    for k in ("bf16", "fp16"):
        print("jetcl, %s and fp32: %s" % (k, apart(ours[k], ours["fp32"])))
        print("PyTorch, %s and fp32: %s" % (k, apart(theirs[k], theirs["fp32"])))
    print("spread, PyTorch's bf16 nudged: %s" % apart(theirs["bf16"], spread))
    print("steps skipped in fp16: jetcl %d, PyTorch %d" % tuple(map(halvings, scales)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data"), p.add_argument("--steps", type=int, default=100)
    p.add_argument("--dense", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(1)
    model = "moe: {layers: []}" if a.dense else "moe: {noise: off}"
    with tempfile.TemporaryDirectory() as t:
        start = jetcl(t, "start", 1, model, "fp32", a.data, lr=0)[2] + "/ckpt/last.safetensors"
        w = {k: v for k, v in load_file(start).items() if v.is_floating_point()}
        model += ", init: " + start
        runs = {k: jetcl(t, k, a.steps, model, k, a.data) for k in TYPES}
    fed = list(batches(a.data, ["airplane", "bird", "deer", "frog", "ship"], a.steps))
    twins = {k: pytorch(w, fed, kind) for k, kind in TYPES.items()}
    spread = pytorch(nudged(w), fed, torch.bfloat16)[0]
    report({k: r[0] for k, r in runs.items()}, {k: r[0] for k, r in twins.items()},
           (runs["fp16"][1], twins["fp16"][1]), spread)


main()
