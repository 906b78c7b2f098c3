#!/usr/bin/env python3
"""Writes pixels.safetensors: pictures scaled and changed by Pillow, for tests/test_data.c. pixels.py FILE.
Run by hand.

Made with Pillow 9.4.0. Version 13 differs by one where a picture grows across and shrinks down (64x2)."""
import json, struct, sys
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

tensors = {}


def keep(name, image):
    tensors[name] = np.ascontiguousarray(np.asarray(image, dtype=np.uint8))


rng = np.random.default_rng(7)
y, x = np.mgrid[0:13, 0:18]
base = 128 + 100 * np.sin(0.5 * x[..., None] + 0.3 * y[..., None] + np.array([0, 1, 2]))
base += rng.integers(-20, 20, (13, 18, 3))
image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
keep("image", image)
fill = (124, 116, 104)
keep("pad_rgb", [fill])
filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}
for name, f in filters.items():
    for w, h in ((1, 1), (5, 4), (18, 7), (9, 13), (31, 33), (64, 2)):
        keep(f"resize.{name}.{w}x{h}", image.resize((w, h), f))
for name, values in {"autocontrast": [0], "equalize": [0], "invert": [0], "posterize": [0, 1, 3],
                     "solarize": [0, 25.6, 128, 256], "solarize_add": [40, 99]}.items():
    for v in values:
        if name == "posterize" and v == 0:
            out = Image.new("RGB", image.size)
        elif name == "solarize":
            out = image.point(lambda i: i if i < v else 255 - i)
        elif name == "solarize_add":
            out = image.point(lambda i: min(255, i + v) if i < 128 else i)
        else:
            out = getattr(ImageOps, name)(*([image, v] if name == "posterize" else [image]))
        keep(f"aug.{name}.{v}", out)
for name in ("Color", "Contrast", "Brightness", "Sharpness"):
    for v in (0.1, 0.55, 1.3, 1.9):
        keep(f"aug.{name.lower()}.{v}", getattr(ImageEnhance, name)(image).enhance(v))
for name, f in filters.items():
    for v in (-30, -7.5, 12, 29):
        keep(f"aug.rotate_{name}.{v}", image.rotate(v, f, fillcolor=fill))
for v in (-0.3, -0.11, 0.2):
    for name, m in {"shear_x": (1, v, 0, 0, 1, 0), "shear_y": (1, 0, 0, v, 1, 0),
                    "translate_x": (1, 0, v * 18, 0, 1, 0), "translate_y": (1, 0, 0, 0, 1, v * 13)}.items():
        out = image.transform(image.size, Image.AFFINE, m, Image.BICUBIC, fillcolor=fill)
        keep(f"aug.{name}_bicubic.{v}", out)

header, data = {"__metadata__": {"generator": "tests/golden/pixels.py", "pillow": Image.__version__}}, b""
for name, t in tensors.items():
    header[name] = {"dtype": "U8", "shape": list(t.shape), "data_offsets": [len(data), len(data) + t.nbytes]}
    data += t.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text + data)
