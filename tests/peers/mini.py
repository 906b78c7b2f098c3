#!/usr/bin/env python3
"""A cell of tables/mini.yaml in PyTorch: same start, images, recipe, and the same network (twin.py). Random
draws (order, shifts, flips, noise) are PyTorch's own, so accuracies agree to the spread of seeds. By hand:

    python3 tests/peers/mini.py START.safetensors DATA SPLIT --lr 1e-3 --seed 101 [--layer-decay 0.6]

START: runs/mini_jetpack/seed-*/ckpt/recycled.safetensors, or the checkpoint that a dense row starts from; its
head is drawn again where it has other classes. DATA: cifar10-jpeg-250. SPLIT: held or test."""
import argparse, math, os
import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from twin import Twin

p = argparse.ArgumentParser()
p.add_argument("start"), p.add_argument("data"), p.add_argument("split")
p.add_argument("--lr", type=float, required=True), p.add_argument("--seed", type=int, default=1)
p.add_argument("--epochs", type=int, default=24), p.add_argument("--layer-decay", type=float, default=1)
p.add_argument("--dropout", type=float, default=0)
a = p.parse_args()
torch.set_num_threads(1)
torch.manual_seed(a.seed)
CLASSES = ["airplane", "bird", "deer", "frog", "ship"]
BATCH, HEADS, PATCH, PAD, DECAY = 64, 2, 8, 4, 0.05
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


def images(split):
    x, y = [], []
    for k, name in enumerate(CLASSES):
        folder = os.path.join(a.data, split, name)
        for f in sorted(os.listdir(folder)):
            x.append(np.asarray(Image.open(os.path.join(folder, f)).convert("RGB")))
            y.append(k)
    return torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).float(), torch.tensor(y)


def normal(x):
    return (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def augmented(x):
    out = F.pad(x, [PAD] * 4)                              # black borders
    side = x.shape[-1]
    at = torch.randint(0, 2 * PAD + 1, (len(x), 2)).tolist()
    out = torch.stack([v[:, i:i + side, j:j + side] for v, (i, j) in zip(out, at)])
    return torch.where((torch.rand(len(x)) < .5).view(-1, 1, 1, 1), out.flip(-1), out)


w = load_file(a.start)
if w["head.weight"].shape[0] != len(CLASSES):
    w["head.weight"] = torch.randn(len(CLASSES), w["cls_token"].shape[-1]) * .02
    w["head.bias"] = torch.zeros(len(CLASSES))
net = Twin(w, HEADS, PATCH, a.dropout)
opt = net.optimiser(a.lr, DECAY, a.layer_decay)
x, y = images("train")
per_epoch = len(x) // BATCH
for step in range(a.epochs * per_epoch):
    if step % per_epoch == 0:
        order = torch.randperm(len(x))
    at = order[step % per_epoch * BATCH:][:BATCH]
    rise = per_epoch                                       # one epoch of warm-up, then a cosine per step
    factor = (1e-3 + (1 - 1e-3) * step / (rise - 1) if step < rise
              else .01 + .495 * (1 + math.cos(math.pi * (step / per_epoch - 1) / (a.epochs - 1))))
    for g in opt.param_groups:
        g["lr"] = a.lr * factor * g["scale"]
    loss = F.cross_entropy(net(normal(augmented(x[at])), True), y[at], label_smoothing=.1)
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(net.used().values()), 5.0)
    opt.step()
x, y = images(a.split)
with torch.no_grad():
    right = sum((net(normal(x[i:i + 500]), False).argmax(1) == y[i:i + 500]).sum().item()
                for i in range(0, len(x), 500))
print("seed %d: top-1 %.2f %% of %d images after %d epochs" % (a.seed, 100 * right / len(x), len(x), a.epochs))
