#!/usr/bin/env python3
"""Writes the first inputs of the fuzzers of what runs leave into FOLDER/TARGET/: run_seeds.py FOLDER RUN, with
RUN the folder of a small finished run. Needs Pillow; run by hand."""
import glob, hashlib, io, json, os, re, struct, sys
from PIL import Image

root, run = sys.argv[1:3]


def save(target, name, data):
    os.makedirs(f"{root}/{target}", exist_ok=True)
    with open(f"{root}/{target}/{name}", "wb") as f:
        f.write(data[:65535])


def sealed(meta, tensors, **change):
    """A header with seals as core/ckpt/seal.c makes them, and the elements."""
    meta = {**meta, **{"sha256:" + n: hashlib.sha256(b).hexdigest() for n, _, b in tensors}}
    text = "".join(f"{k}={v}\n" for k, v in meta.items())
    header, at = {"__metadata__": {**meta, "sha256": hashlib.sha256(text.encode()).hexdigest(), **change}}, 0
    for name, (kind, shape), data in tensors:
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    return json.dumps(header, separators=(",", ":")).encode() + b"".join(d for _, _, d in tensors)


two = struct.pack("<2f", 1, 2)
counters = {k: "0" for k in ("epoch", "step", "sample", "images", "evaluated", "best", "best_epoch",
                             "since_best")}
state = {"format": "jetcl state 2", **counters}
parts = [(p + "w", ("F32", [2]), two) for p in ("", "m.", "v.", "ema.")]
save("state", "whole", sealed(state, parts))
save("state", "no_ema", sealed(state, parts[:3]))
save("state", "bad_seal", sealed(state, parts, sha256="0" * 64))
for i, value in enumerate(("-1", "1e300", "nan", "99999999999999999999", "0.5", "")):
    save("state", f"counter{i}", sealed({**state, "step": value}, parts))
save("state", "other", sealed({**state, "format": "something else"}, parts))

rows = {"predecessor": "a", "images": "1", "image_hash": "b", "threshold": "zero", "batch": "0"}
vectors = [(f"hidden.0.{n}", ("F64", [2]), struct.pack("<2d", 1, 2)) for n in ("l1", "l2", "count")]
for name, meta in (("rows", rows), ("none", {})):
    save("statistics", name, sealed({"format": "jetcl statistics 2", **meta}, vectors))
for i, path in enumerate(glob.glob(f"{run}/statistics*.safetensors")):
    save("statistics", f"own{i}", open(path, "rb").read()[8:])

save("metrics", "whole", open(f"{run}/metrics.jsonl", "rb").read())
save("metrics", "half", open(f"{run}/metrics.jsonl", "rb").read()[:-9])
save("metrics", "again",
     b'{"split":"eval","epoch":1,"step":3,"n":2,"top1":50}\n'
     b'{"split":"eval","epoch":1,"step":3,"n":2}\n{"event":'
     b'"resume","step":3,"run_s":1.5}\n')
save("result", "whole", open(f"{run}/result.json", "rb").read())
save("tuning", "rows", b"\1matmul nt.37x48x300 SPLIT_K 64\nmatmul nt.37x48x300 GROUPS 3\n")
save("tuning", "long", b"\1" + b"m" * 40 + b" x SPLIT_K 1\n")
save("tuning", "text", b"\0jetcl tuning 1\nsum: 0000000000000000\n")
for path in sorted(glob.glob("experiments/**/*.yaml", recursive=True))[::5]:
    text, name = open(path, "rb").read(), path.replace("/", "_")[12:-5]
    if os.path.getsize(path) < 2500:
        save("table" if b"rows:" in text or b"columns:" in text else "experiment", name, text)
resolved = re.sub(r"(?m)^(\s*root:).*", r"\1 data", open(f"{run}/config.yaml").read())
save("experiment", "resolved", resolved.encode())
save("table", "small",
     b"columns: [{name: one, set: {optim: {eps: 1e-7}}}, {name: p, metric: params}]\n"
     b"seeds: [1, 2]\nmetric: top1\n"
     b"set: {train: {epochs: 1}}\n"
     b"rows: [{name: A, cells: [exp.yaml, exp.yaml]}, {name: B, paper: [1, 2], cells: exp.yaml}]\n"
     b"prepare: [{name: small, file: exp.yaml}]\nnotes: [one]\ntranspose: on\n")

picture = Image.frombytes("RGB", (17, 12), bytes(i * 7 % 256 for i in range(3 * 17 * 12)))
for kind, modes, options in (("webp", ("RGB", "RGBA"), ({}, {"lossless": True}, {"quality": 1})),
                             ("bmp", ("1", "L", "P", "RGB", "RGBA"), ({},))):
    for mode in modes:
        for i, more in enumerate(options):
            f = io.BytesIO()
            picture.convert(mode).save(f, format=kind.upper(), **more)
            save(kind, f"{mode}{i}", f.getvalue())
f = io.BytesIO()
picture.save(f, format="WEBP", save_all=True, append_images=[picture.rotate(90)])
save("webp", "two", f.getvalue())
