#!/usr/bin/env python3
"""What jetcl converts must be read by the programs people use: check_python.py JETCL FOLDER, by `make
check-python`. Prints a line per check; what is not installed is skipped by name. REFERENCE: a checkout of
the reference's sources. Without Python the committed files of tests/golden (test_ckpt_golden.c) keep watch."""
import importlib
import os
import subprocess
import sys
import types

jetcl, folder = sys.argv[1:3]
golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def need(check, *modules):
    try:
        return [importlib.import_module(m) for m in modules]
    except ImportError as e:
        print(f"skip {check}: {e}")


def report(check, fine):
    print(("ok " if fine else "not ok ") + check)


def convert(source, name):
    out = os.path.join(folder, name)
    subprocess.run([jetcl, "convert", "-q", source, out], check=True)
    return out


def same(a, b, torch):
    def bits(t):
        if not t.numel():
            return torch.zeros(0, dtype=torch.uint8)
        return t.detach().contiguous().reshape(-1).view(torch.uint8)
    return sorted(a) == sorted(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(bits(a[k]), bits(b[k]))
        for k in a)


def formats():
    check = "PyTorch, NumPy and safetensors read what we write"
    found = need(check, "torch", "numpy", "safetensors.torch")
    if not found:
        return
    torch, np, st = found
    twin = st.load_file(f"{golden}/ckpt_twin.safetensors")
    pth = convert(f"{golden}/ckpt_twin.safetensors", "a.pth")
    loaded = torch.load(pth, weights_only=True)
    report("torch.load(weights_only=True) reads our .pth", same(twin, loaded, torch))
    loaded = torch.load(pth, weights_only=True, mmap=True)
    report("torch.load(mmap=True) reads our .pth", same(twin, loaded, torch))
    npz = convert(pth, "b.npz")
    with np.load(npz) as z:
        report("numpy.load reads our .npz", sorted(z.files) == sorted(twin) and all(
            z[k].tobytes() == t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            for k, t in twin.items() if t.numel()))
    back = convert(npz, "c.safetensors")
    report("safetensors reads our .safetensors, three conversions later",
           same(twin, st.load_file(back), torch))
    again = convert(convert(convert(back, "d.pth"), "e.npz"), "f.safetensors")
    report("safetensors -> pth -> npz -> safetensors keeps every byte",
           open(back, "rb").read() == open(again, "rb").read())
    odd = {"u16": torch.tensor([1, 65535], dtype=torch.uint16),
           "f8": torch.tensor([1.0, -448]).to(torch.float8_e4m3fn), "c": torch.tensor([1 + 2j])}
    st.save_file(odd, f"{folder}/odd.safetensors", metadata={"arch": "x\ny"})
    loaded = torch.load(convert(f"{folder}/odd.safetensors", "odd.pth"), weights_only=True)
    report("torch reads types that have no storage class", same(odd, loaded, torch))
    report("metadata travels as an attribute", loaded._jetcl == {"arch": "x\ny"})
    marked = {"tensor": torch.randn(2, 3), "parameter": torch.nn.Parameter(torch.randn(2, 3)),
              "turned": torch.randn(4, 3).t()}
    for t in marked.values():
        t.origin = "somewhere"
    torch.save(marked, f"{folder}/marked.pth")
    plain = {k: t.detach().contiguous() for k, t in marked.items()}
    loaded = st.load_file(convert(f"{folder}/marked.pth", "m.safetensors"))
    report("tensors with attributes are tensors", same(plain, loaded, torch))
    state = {"module": torch.nn.Linear(3, 2)}
    torch.save(state["module"], f"{folder}/whole.pth")
    loaded = st.load_file(convert(f"{folder}/whole.pth", "whole.safetensors"))
    report("a whole pickled module becomes its state dict",
           same(state["module"].state_dict(), loaded, torch))


def timm_models():
    found = need("timm loads what we write", "torch", "timm", "safetensors.torch")
    if not found:
        return
    torch, timm, st = found
    shape = dict(img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, mlp_ratio=2, num_classes=3)
    source = timm.models.VisionTransformer(**shape)
    wrapped = {"module." + k: v for k, v in source.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": wrapped}, f"{folder}/vit.pth")
    for name in ("vit2.pth", "vit2.safetensors"):
        model = timm.models.VisionTransformer(**shape)
        timm.models.load_checkpoint(model, convert(f"{folder}/vit.pth", name), strict=True)
        report(f"timm loads our {name.split('.')[1]} with strict=True",
               same(source.state_dict(), model.state_dict(), torch))
    convnext = timm.models.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 8, 8, 8), num_classes=3)
    official = {}
    for k, v in convnext.state_dict().items():       # as Facebook's files name them
        k = k.replace("stem.", "downsample_layers.0.").replace(".blocks.", ".").replace("conv_dw", "dwconv")
        k = k.replace("mlp.fc", "pwconv").replace("head.norm.", "norm.").replace("head.fc.", "head.")
        parts = k.split(".")
        if parts[0] == "stages" and parts[2] == "downsample":
            k = ".".join(["downsample_layers", parts[1]] + parts[3:])
        official[k] = v
    torch.save({"model": official}, f"{folder}/convnext.pth")
    loaded = st.load_file(convert(f"{folder}/convnext.pth", "convnext.safetensors"))
    report("Facebook's names of a ConvNeXt become timm's", same(convnext.state_dict(), loaded, torch))
    timm.models.load_checkpoint(convnext, f"{folder}/convnext.safetensors", strict=True)


def reference():
    check = "the reference's model loads our .safetensors with strict=True"
    root = os.environ.get("REFERENCE", "")
    found = need(check, "torch", "timm", "einops", "entmax", "safetensors.torch")
    if not found:
        return
    if not os.path.isdir(f"{root}/moejet/models"):
        print(f"skip {check}: REFERENCE names no checkout of it")
        return
    torch, st = found[0], found[4]
    package = types.ModuleType("reference")          # without its __init__, which imports mmengine
    package.__path__ = [f"{root}/moejet/models"]
    sys.modules["reference"] = package
    vit = importlib.import_module("reference.vit_softmoe_timm")

    def make():
        return vit.VisionTransformerMoe(
            img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=3, num_classes=10,
            global_pool="avg", moe_layers=[2, 3], if_dualpath=True, core_experts=6, univ_experts=12,
            univ_factor=0.25, slot_layernorm=True, add_noise=False)
    source, target = make(), make()
    state = {"state_dict": {"model." + k: v for k, v in source.state_dict().items()}}
    torch.save(state, f"{folder}/moe.pth")
    target.load_state_dict(st.load_file(convert(f"{folder}/moe.pth", "moe.safetensors")), strict=True)
    report(check, same(source.state_dict(), target.state_dict(), torch))


formats()
timm_models()
reference()
