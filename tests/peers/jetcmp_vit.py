#!/usr/bin/env python3
"""The first step of a recorded ViT in PyTorch, as a record of its own: is it our network that PyTorch computes,
here and on the card at hand? By hand:

    jetcl compare exp.yaml --device gpu --steps 1 --record ours.jetcmp
    python3 tests/peers/jetcmp_vit.py ours.jetcmp torch.jetcmp --patch 8 --heads 2 [--device cuda] [--double]
    jetcl compare ours.jetcmp torch.jetcmp

Weights and batch are those in ours.jetcmp, which must have all of them: a small model (blocks of 16384 weights
at most), a square image, without experts, dropout, stochastic depth and layer scale; mean over patches before
the head."""
import argparse, json, math
import torch
import torch.nn.functional as F
from safetensors import safe_open
from jetcmp import Record

p = argparse.ArgumentParser()
p.add_argument("ours"), p.add_argument("out")
p.add_argument("--patch", type=int, required=True), p.add_argument("--heads", type=int, required=True)
p.add_argument("--device", default="cpu"), p.add_argument("--double", action="store_true")
p.add_argument("--smoothing", type=float, default=0.1)
a = p.parse_args()
with safe_open(a.ours, "numpy") as f:
    about = json.loads(f.metadata()["record"])
    values = {k: f.get_tensor(k) for k in f.keys()}
kind = torch.float64 if a.double else torch.float32
batch, dim = about["batch"], values["start/cls_token"].size
w = {}


def weight(name, *shape):
    full = values["start/" + name]
    assert full.size == about["tensors"]["start/" + name]["count"], name + ": the record has only some of it"
    w[name] = torch.tensor(full, dtype=kind, device=a.device).reshape(shape).requires_grad_()
    return w[name]


def linear(x, name, n_out):
    return F.linear(x, weight(name + ".weight", n_out, x.shape[-1]), weight(name + ".bias", n_out))


def norm(x, name):
    return F.layer_norm(x, (dim,), weight(name + ".weight", dim), weight(name + ".bias", dim), 1e-6)


label = "PyTorch " + torch.__version__ + " on " + (torch.cuda.get_device_name() if a.device == "cuda"
                                                   else a.device)
record = Record(label + (", float64" if a.double else ""), steps=1, program="PyTorch " + torch.__version__,
                label="torch")


def tap(name, x):
    record.forward(name, x.detach().cpu().numpy())
    return x


side = math.isqrt(values["input/images"].size // (3 * batch))
images = torch.tensor(values["input/images"], dtype=kind, device=a.device).reshape(batch, 3, side, side)
targets = torch.tensor(values["input/targets"], dtype=kind, device=a.device).reshape(batch, -1)
x = F.conv2d(images, weight("patch_embed.proj.weight", dim, 3, a.patch, a.patch),
             weight("patch_embed.proj.bias", dim), a.patch).flatten(2).transpose(1, 2)
x = torch.cat((weight("cls_token", 1, 1, dim).expand(batch, 1, dim), x), 1)
x = x + weight("pos_embed", 1, x.shape[1], dim)
for i in range(1 + max(int(k.split(".")[1]) for k in values if k.startswith("start/blocks."))):
    b = f"blocks.{i}."
    qkv = tap(b + "attn.qkv", linear(norm(x, b + "norm1"), b + "attn.qkv", 3 * dim))
    q, k, v = qkv.reshape(batch, -1, 3, a.heads, dim // a.heads).permute(2, 0, 3, 1, 4)
    y = ((q @ k.transpose(-2, -1)) / math.sqrt(dim // a.heads)).softmax(-1) @ v
    y = tap(b + "attn.proj.in", y.transpose(1, 2).reshape(batch, -1, dim))
    x = x + linear(y, b + "attn.proj", dim)
    y = tap(b + "norm2", norm(x, b + "norm2"))
    y = tap(b + "mlp.act", F.gelu(linear(y, b + "mlp.fc1", values["start/" + b + "mlp.fc1.bias"].size)))
    y = tap(b + "mlp", linear(y, b + "mlp.fc2", dim))
    x = tap(f"block.{i}", x + y)
logits = tap("logits", linear(norm(x[:, 1:].mean(1), "fc_norm"), "head", values["start/head.bias"].size))
smooth = targets * (1 - a.smoothing) + a.smoothing / targets.shape[1]
loss = -(smooth * logits.log_softmax(-1)).sum(-1).mean()
loss.backward()
record.add("input/images", values["input/images"])
record.add("input/targets", values["input/targets"])
for name, x in w.items():
    record.start(name, x.detach().cpu().numpy())
    record.gradient(name, x.grad.cpu().numpy())
record.losses([loss.item()])
record.save(a.out)
