#!/usr/bin/env python3
"""Writes the first inputs of the fuzzers into FOLDER/TARGET/: seeds.py FOLDER. Needs NumPy and PyTorch; run
by hand."""
import io, os, struct, sys, zipfile
from collections import OrderedDict, defaultdict
import numpy as np
import torch

root = sys.argv[1]


def save(target, name, data):
    os.makedirs(f"{root}/{target}", exist_ok=True)
    with open(f"{root}/{target}/{name}", "wb") as f:
        f.write(data)


def torch_bytes(value, **options):
    f = io.BytesIO()
    torch.save(value, f, **options)
    return f.getvalue()


def npy(array, **options):
    f = io.BytesIO()
    np.lib.format.write_array(f, array, **options)
    return f.getvalue()


base = torch.arange(12, dtype=torch.float32)
values = {
    "state": OrderedDict(w=base.reshape(3, 4), b=base[2:5]),
    "views": [base.reshape(3, 4).t(), base[::2], base.expand(2, 12), torch.zeros(0, 3), torch.tensor(5)],
    "types": {str(t): torch.ones(2, dtype=t)
              for t in (torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint16,
                        torch.float8_e5m2, torch.complex64)},
    "nested": {"meta": {"epoch": 3, "name": "x", "lr": 0.5, "none": None},
               "state_dict": {"model.head.bias": base[:2]},
               "optimizer": {"param_groups": [{"params": [0, 1], "betas": (0.9, 0.999)}]},
               "hist": defaultdict(list)},
    "parameter": torch.nn.Parameter(base[:4]),
    "module": torch.nn.Linear(2, 3),
    "numpy": {"a": np.arange(3), "s": np.float64(2), "set": {1, 2}, "big": 1 << 100, "bytes": b"abc"},
    "size": base.reshape(3, 4).shape,
    "pos": {"pos_embed": torch.zeros(1, 5, 8), "norm.weight": torch.zeros(8)},
}
for name, value in values.items():
    for protocol in (2, 4):
        archive = torch_bytes(value, pickle_protocol=protocol)
        save("pickle", f"{name}{protocol}", zipfile.ZipFile(io.BytesIO(archive)).read("archive/data.pkl"))
    save("archive", name, torch_bytes(value))
    legacy = torch_bytes(value, _use_new_zipfile_serialization=False)
    save("legacy", name, legacy[21:])
save("pickle", "system", b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
save("pickle", "text", b"(dp0\nS'a'\np1\nI01\nsV\xe9\nL5L\ns(lF1.5\nag1\na.")

arrays = {"f4": np.ones((2, 3), "<f4"), "be": np.ones((2, 3), ">f8"),
          "fortran": np.asfortranarray(np.ones((2, 3, 4), "<i2")),
          "bool": np.ones(3, "?"), "scalar": np.array(1.5), "text": np.array(["ab"]),
          "record": np.zeros(2, [("a", "<f4")]), "bf16": np.zeros(2, "V2"), "complex": np.ones(2, "c16"),
          "empty": np.zeros((0, 4), "f2")}
for name, array in arrays.items():
    save("npy", name, npy(array))
save("npy", "version3", npy(arrays["f4"], version=(3, 0)))
for deflate in (False, True):
    f = io.BytesIO()
    plain = {k: v for k, v in arrays.items() if k not in ("text", "record")}
    (np.savez_compressed if deflate else np.savez)(f, **plain)
    save("archive", f"npz{int(deflate)}", f.getvalue())
f = io.BytesIO()
names = ["embedding/kernel", "Transformer/encoderblock_0/LayerNorm_0/scale", "cls"]
heads = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/"
np.savez(f, **{names[0]: np.zeros((1, 1, 3, 2), "f4"), names[1]: np.zeros(2, "f4"),
               names[2]: np.zeros((1, 1, 2), "f4"),
               **{heads + k + "/kernel": np.zeros((2, 1, 2), "f4") for k in ("query", "key", "value")}})
save("archive", "google", f.getvalue())

headers = ['{}', '{"__metadata__":{"a":"b"}}',
           '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
           '"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}',
           '{"\\u00e9\\ud83d\\ude00":{"shape":[0,3],"dtype":"BF16","data_offsets":[0,0]}}',
           '{"pos_embed":{"dtype":"F32","shape":[1,5,8],"data_offsets":[0,160]}}',
           '{"model.head.bias":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}']
for i, header in enumerate(headers):
    data = bytes({2: 9, 4: 160, 5: 8}.get(i, 0))
    save("safetensors", f"h{i}", header.encode() + data)
    save("archive", f"safetensors{i}", struct.pack("<Q", len(header.encode())) + header.encode() + data)

# ---- ONNX graphs after the head that targets.h writes, plain pickles after their first two bytes, indexes ----


def field(number, data):
    n = len(data)
    return bytes([number << 3 | 2]) + bytes([n & 127 | 128, n >> 7] if n > 127 else [n]) + data


def initialiser(name, kind, shape, data, number=9):
    return b''.join(bytes([8, d]) for d in shape) + bytes([16, kind]) + field(8, name) + field(number, data)


floats = base[:6].numpy().tobytes()
node = field(1, b"x") + field(1, b"onnx::MatMul_7") + field(3, b"/layer.0/fc/MatMul") + field(4, b"MatMul")
save("onnx", "raw", field(5, initialiser(b"w", 1, [2, 3], floats)))
save("onnx", "floats", field(5, initialiser(b"w", 1, [2, 3], floats, 4)))
save("onnx", "ints", field(5, initialiser(b"w", 7, [2], b"\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 7)))
save("onnx", "node", field(1, node) + field(5, initialiser(b"onnx::MatMul_7", 1, [2, 3], floats)))


def elsewhere(*said):
    """A tensor of six floats whose bytes are where the pairs say."""
    places = b"".join(field(13, field(1, key) + field(2, value)) for key, value in said)
    return b"".join(bytes([8, d]) for d in (2, 3)) + bytes([16, 1]) + field(8,
                                                                            b"w") + places + bytes([14 << 3, 1])


save("beside", "whole", field(5, initialiser(b"w", 1, [2, 3], floats)))
save("beside", "place", field(5, elsewhere((b"location", b"a.data"), (b"offset", b"8"), (b"length", b"24"))))
save("beside", "itself", field(5, elsewhere((b"location", b"x.onnx"), (b"offset", b"0"), (b"length", b"24"))))
save("beside", "outside", field(5, elsewhere((b"location", b"../a.data"))))
save("beside", "beyond", field(5, elsewhere((b"location", b"a.data"), (b"offset", b"63"), (b"length", b"24"))))
import pickle
arrays = {"w": base[:6].reshape(2, 3).numpy(), "f": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
          "e": 3}
for protocol in (2, 3, 4, 5):
    save("numpy", f"protocol{protocol}", pickle.dumps(arrays, protocol=protocol)[2:])
name = "vit.embeddings.cls_token"
save("index", "whole", b'{"metadata": {"total_size": 4}, "weight_map": {"%s": "a.safetensors"}}'
     % name.encode())
save("index", "config",
     b'{"hidden_size": 8, "num_attention_heads": 2, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, '
     b'"id2label": {"0": "cat"}, "weight_map": {"%s": "a.safetensors"}}' % name.encode())
save("index", "outside", b'{"weight_map": {"x": "../a.safetensors"}}')
save("index", "itself", b'{"weight_map": {"x": "model.safetensors.index.json"}}')
save("index", "open_clip",
     b'{"model_cfg": {"quick_gelu": false, "vision_cfg": {"width": 64, "head_width": 16, "pool_type": "avg", '
     b'"final_ln_after_pool": true, "norm_kwargs": {"eps": 1e-3}, "act_kwargs": {"approximate": "tanh"}}}, '
     b'"preprocess_cfg": {"mean": [0, 0.5, 1]}, "weight_map": {"%s": "a.safetensors"}}' % name.encode())
save("mmengine", "whole", b"""x = dict(a=1)
model = dict(
    backbone=dict(
        act_cfg=dict(approximate='tanh', type='GELU'),
        arch=dict(channels=[8, 16], num_heads=4),
        gap_before_final_norm=True,
        norm_cfg=dict(eps=1e-05, type='LN2d'),
        out_type='featmap',
        patch_cfg=dict(),
        type='ConvNeXt'),
    head=dict(type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'))
""")
save("mmengine", "layers", b"model = dict(backbone=dict(arch='small', type='VisionTransformer', "
     b"layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))))")
save("mmengine", "refused", b"model = dict(backbone=dict(patch_cfg=dict(stride=4), out_type='raw'))")
