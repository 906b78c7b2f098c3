#!/usr/bin/env python3
"""A cell of tables/mini.yaml in PyTorch: same start, images, recipe, and the same network written again. Random
draws (order, shifts, flips, noise) are PyTorch's own, so accuracies agree to the spread of seeds. By hand:

    python3 tests/peers/mini.py START.safetensors DATA SPLIT --lr 1e-3 --seed 101 [--layer-decay 0.6]

START: runs/mini_jetpack/seed-*/ckpt/recycled.safetensors, or the checkpoint that a dense row starts from; its
head is drawn again where it has other classes. DATA: cifar10-jpeg-250. SPLIT: held or test."""
import argparse, math, os
import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

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


def entmax15(z):
    z = (z - z.amax(-1, keepdim=True)) / 2
    s = z.sort(-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    mean, square = s.cumsum(-1) / rank, (s * s).cumsum(-1) / rank
    tau = mean - ((1 - rank * (square - mean * mean)) / rank).clamp(min=1e-12).sqrt()
    support = (tau <= s).sum(-1, keepdim=True)
    return (z - tau.gather(-1, support - 1)).clamp(min=0) ** 2


w = load_file(a.start)
dim, depth = w["cls_token"].shape[-1], 1 + max(int(k.split(".")[1]) for k in w if k.startswith("blocks."))
if w["head.weight"].shape[0] != len(CLASSES):
    w["head.weight"], w["head.bias"] = torch.randn(len(CLASSES), dim) * .02, torch.zeros(len(CLASSES))
w = {k: v.clone().requires_grad_() for k, v in w.items() if v.is_floating_point()}


def norm(x, name, eps=1e-6):
    return F.layer_norm(x, (dim,), w[name + ".weight"], w[name + ".bias"], eps)


def linear(x, name):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def attention(x, name):
    b, n, _ = x.shape
    q, k, v = linear(x, name + ".qkv").reshape(b, n, 3, HEADS, dim // HEADS).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, dim)
    return linear(y, name + ".proj")


def experts(x, name, train):                               # x: e (b s) d
    for fc in ("vit_fc1", "vit_fc2"):
        x = torch.baddbmm(w[name + fc + ".bias"][:, None], x, w[name + fc + ".weight"].transpose(1, 2))
        x = F.dropout(F.gelu(x) if fc == "vit_fc1" else x, a.dropout, train)
    return x


def moe(x, name, train):
    """SpheroMoE, one slot per expert: dispatch over tokens, combine by entmax over slots."""
    phi = w[name + ".phi"].reshape(-1, dim)
    query = F.normalize(F.layer_norm(phi, (dim,), w[name + ".slot_norm.weight"], w[name + ".slot_norm.bias"],
                                     1e-5), dim=-1)
    logits = F.normalize(x, dim=-1) @ query.t()
    noise = torch.randn_like(logits) / len(phi)
    disp = (logits / w[name + ".scales.0"] + noise).softmax(1)
    comb = entmax15(logits / w[name + ".scales.1"] + noise)
    slots, core = (disp.transpose(1, 2) @ x).transpose(0, 1), len(w[name + ".core_experts.vit_fc1.weight"])
    y = torch.cat([experts(slots[:core], name + ".core_experts.", train),
                   experts(slots[core:], name + ".univ_experts.", train)])
    return comb @ y.transpose(0, 1)


def net(x, train):
    x = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(x), 1, dim), x], 1) + w["pos_embed"]
    for i in range(depth):
        b = "blocks.%d" % i
        x = x + attention(norm(x, b + ".norm1"), b + ".attn")
        y = norm(x, b + ".norm2")
        x = x + (moe(y, b + ".mlp", train) if b + ".mlp.phi" in w
                 else linear(F.gelu(linear(y, b + ".mlp.fc1")), b + ".mlp.fc2"))
    return linear(norm(x[:, 1:].mean(1), "fc_norm"), "head")


def group(name, v):
    """Learning rate and decay as the released code gives them."""
    top = depth + 1
    layer = (int(name.split(".")[1]) + 1 if name.startswith("blocks.")
             else 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else top)
    if any(part in name for part in ("phi", "scale", "slot", "experts")):
        layer = top
    plain = name.endswith(".bias") or name == "pos_embed" or "mlp.scale" in name
    if "slot_norm" in name:
        plain = False
    elif v.dim() == 1 and "norm" in name:
        plain = True
    return {"params": [v], "scale": a.layer_decay ** (top - layer), "weight_decay": 0 if plain else DECAY}


used = {k: v for k, v in w.items() if not k.startswith("norm.")}
opt = torch.optim.AdamW([group(k, v) for k, v in used.items()], lr=a.lr)
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
    torch.nn.utils.clip_grad_norm_(list(used.values()), 5.0)
    opt.step()
x, y = images(a.split)
with torch.no_grad():
    right = sum((net(normal(x[i:i + 500]), False).argmax(1) == y[i:i + 500]).sum().item()
                for i in range(0, len(x), 500))
print("seed %d: top-1 %.2f %% of %d images after %d epochs" % (a.seed, 100 * right / len(x), len(x), a.epochs))
