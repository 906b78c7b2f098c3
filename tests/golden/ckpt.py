#!/usr/bin/env python3
"""Makes the checkpoints of other programs that the tests read: ckpt.py FOLDER. Needs PyTorch, NumPy, timm and
safetensors; run by hand. Every file holds the tensors of ckpt_twin.safetensors, bit for bit."""
import sys, types, zipfile
from collections import OrderedDict
import numpy as np
import torch
from safetensors.torch import save_file

folder = sys.argv[1]
torch.manual_seed(0)
base = torch.randn(12, 7)
state = OrderedDict([
    ("turned", base.t()), ("slice", base[3:7, 2:5]), ("strided", base[::3]), ("whole", base),
    ("scalar", torch.tensor(2.5)), ("none", torch.zeros(0, 3)), ("half", base[:2].half()),
    ("brain", base[:2].bfloat16()), ("double", base[:2].double()),
    ("long", torch.tensor([-(1 << 40), 3])), ("int", torch.tensor([7], dtype=torch.int32)),
    ("byte", torch.tensor([0, 255], dtype=torch.uint8)), ("flag", torch.tensor([True, False])),
    ("parameter", torch.nn.Parameter(base[:1])),
])
save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, f"{folder}/ckpt_twin.safetensors")
torch.save(state, f"{folder}/ckpt_torch.pth")
torch.save(state, f"{folder}/ckpt_torch4.pth", pickle_protocol=4)
torch.save(state, f"{folder}/ckpt_legacy.pth", _use_new_zipfile_serialization=False)

# as a training framework writes it: nests, a prefix, optimiser state, and objects of classes not installed here
framework = types.ModuleType("framework.logging")
history = type("History", (), {"__module__": "framework.logging",
                               "__init__": lambda self: setattr(self, "log", np.arange(3))})
framework.History = history
sys.modules["framework"], sys.modules["framework.logging"] = types.ModuleType("framework"), framework
nested = {"meta": {"epoch": 3, "lr": 0.5},
          "state_dict": OrderedDict(("model." + k, v) for k, v in state.items()),
          "hub": {"loss": history()},
          "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"params": [0]}]}}
torch.save(nested, f"{folder}/ckpt_nested.pth")
del sys.modules["framework"], sys.modules["framework.logging"]

with zipfile.ZipFile(f"{folder}/ckpt_torch.pth") as source, \
        zipfile.ZipFile(f"{folder}/ckpt_deflated.pth", "w", zipfile.ZIP_DEFLATED) as out:
    for item in source.infolist():          # a prefix with folders, everything deflated, the pickle last
        if not item.filename.endswith("data.pkl"):
            out.writestr("some/where/" + item.filename, source.read(item))
    out.writestr("some/where/ckpt_torch/data.pkl", source.read("ckpt_torch/data.pkl"))

arrays = {k: v.detach().numpy() for k, v in state.items() if v.dtype != torch.bfloat16}
arrays["brain"] = state["brain"].view(torch.int16).numpy().view("V2")          # as JAX saves bfloat16
arrays["turned"] = np.asfortranarray(arrays["turned"])
arrays["double"] = arrays["double"].astype(">f8")
np.savez(f"{folder}/ckpt_numpy.npz", **arrays)
np.savez_compressed(f"{folder}/ckpt_deflated.npz", **arrays)

# Google's names, as timm understands them: a file of augreg's kind, its position grid to be resized, and
# big-vision's
import timm
from timm.layers import resample_abs_pos_embed

rng = np.random.default_rng(0)


def google(name, mha, mlp, norm2, prefix, pos, grid, save):
    draw = lambda *shape: rng.standard_normal(shape).astype("f4")
    d, h, hidden, classes = 4, 2, 6, 3
    w = {"embedding/kernel": draw(2, 2, 3, d), "embedding/bias": draw(d), "cls": draw(1, 1, d),
         pos: draw(1, grid * grid + 1, d),
         "Transformer/encoder_norm/scale": draw(d), "Transformer/encoder_norm/bias": draw(d),
         "head/kernel": draw(d, classes), "head/bias": draw(classes)}
    for i in range(2):
        block = f"Transformer/encoderblock_{i}/"
        for k in (0, norm2):
            w[block + f"LayerNorm_{k}/scale"], w[block + f"LayerNorm_{k}/bias"] = draw(d), draw(d)
        for k in ("query", "key", "value"):
            w[block + f"MultiHeadDotProductAttention_{mha}/{k}/kernel"] = draw(d, h, d // h)
            w[block + f"MultiHeadDotProductAttention_{mha}/{k}/bias"] = draw(h, d // h)
        w[block + f"MultiHeadDotProductAttention_{mha}/out/kernel"] = draw(h, d // h, d)
        w[block + f"MultiHeadDotProductAttention_{mha}/out/bias"] = draw(d)
        for k, (a, b) in enumerate(((d, hidden), (hidden, d))):
            w[block + f"MlpBlock_{mlp}/Dense_{k}/kernel"] = draw(a, b)
            w[block + f"MlpBlock_{mlp}/Dense_{k}/bias"] = draw(b)
    save(f"{folder}/ckpt_{name}.npz", **{prefix + k: v for k, v in w.items()})
    model = timm.models.VisionTransformer(img_size=4, patch_size=2, embed_dim=d, depth=2, num_heads=h,
                                          mlp_ratio=1.5, num_classes=classes)
    model.load_pretrained(f"{folder}/ckpt_{name}.npz")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{folder}/ckpt_{name}.safetensors")


google("augreg", 1, 3, 2, "opt/target/", "Transformer/posembed_input/pos_embedding", 3, np.savez)
google("bigvision", 0, 0, 1, "params/", "pos_embedding", 2, np.savez_compressed)

pos = torch.randn(1, 1 + 36, 3)
resized = {"from": pos}
for size in ((4, 4), (9, 9), (5, 7)):
    for mode, antialias in (("bicubic", True), ("bilinear", False)):
        resized[f"{mode}.{size[0]}x{size[1]}"] = resample_abs_pos_embed(
            pos, size, old_size=(6, 6), interpolation=mode, antialias=antialias)
save_file(resized, f"{folder}/ckpt_posembed.safetensors")
