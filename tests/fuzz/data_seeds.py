#!/usr/bin/env python3
"""Writes the first inputs of the data fuzzers into FOLDER/TARGET/: data_seeds.py FOLDER. Needs NumPy and
Pillow; run by hand."""
import io, os, struct, sys, zlib
import numpy as np
from PIL import Image

root = sys.argv[1]


def save(target, name, data):
    os.makedirs(f"{root}/{target}", exist_ok=True)
    with open(f"{root}/{target}/{name}", "wb") as f:
        f.write(data)


rng = np.random.default_rng(1)
slope = np.add.outer(np.arange(12) * 9, np.arange(17) * 5)[..., None]
rgb = Image.fromarray((slope + np.array([0, 60, 120]) % 256).astype(np.uint8))
exif = Image.Exif()
exif[0x112] = 6


def picture(name, image, **options):
    f = io.BytesIO()
    image.save(f, **options)
    save("image", name, f.getvalue())


for sub in (0, 1, 2):
    picture(f"jpeg{sub}", rgb, format="JPEG", subsampling=sub)
picture("jpeg_progressive", rgb, format="JPEG", progressive=True)
picture("jpeg_grey", rgb.convert("L"), format="JPEG")
picture("jpeg_cmyk", rgb.convert("CMYK"), format="JPEG")
picture("jpeg_turned", rgb, format="JPEG", exif=exif)
picture("jpeg_optimised", rgb.resize((40, 33)), format="JPEG", optimize=True, quality=30)
for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
    picture(f"png_{mode}", rgb.convert(mode), format="PNG")
picture("png_turned", rgb, format="PNG", exif=exif)
picture("png_16", Image.fromarray(rng.integers(0, 65535, (9, 7), dtype=np.uint16)), format="PNG")
picture("gif", rgb.convert("P"), format="GIF")
picture("gif_interlaced", rgb.convert("P"), format="GIF", interlace=1, transparency=3)
picture("gif_two", rgb.convert("P"), format="GIF", save_all=True, append_images=[rgb.rotate(90).convert("P")])


def element(kind, data, end="<"):
    if kind < 14 and 0 < len(data) <= 4:
        return struct.pack(end + "I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    fill = b"" if kind == 15 else b"\0" * (-len(data) % 8)
    return struct.pack(end + "II", kind, len(data)) + data + fill


def array(name, kind, data, end="<"):
    flags, shape = struct.pack(end + "II", 6, 0), struct.pack(end + "ii", 1, 3)
    return element(14, element(6, flags, end) + element(5, shape, end)
                   + element(1, name, end) + element(kind, data, end), end)


head = {"<": b"MATLAB 5.0".ljust(124) + b"\0\1IM", ">": b"MATLAB 5.0".ljust(124) + b"\1\0MI"}
for end in "<>":
    bodies = {"u8": array(b"labels", 2, b"\1\2\3", end),
              "f64": array(b"labels", 9, struct.pack(end + "3d", 1, 2, 102), end),
              "u16": array(b"other", 4, struct.pack(end + "3H", 5, 6, 7), end)
                     + array(b"labels", 4, struct.pack(end + "3H", 1, 6, 7), end),
              "i64": array(b"labels", 12, struct.pack(end + "3q", 1, -6, 7), end)}
    for name, body in bodies.items():
        save("mat", f"{name}{ord(end)}", head[end] + body)
        save("mat", f"{name}{ord(end)}z", head[end] + element(15, zlib.compress(body), end))
        save("lists", f"mat_{name}{ord(end)}", b"\6" + head[end] + body)
        other = zlib.compress(body.replace(b"labels", b"tstid\0"))
        save("lists", f"set_{name}{ord(end)}z", b"\7" + head[end] + element(15, other, end))

noise = rng.integers(0, 256, 65000, dtype=np.uint8).tobytes()
save("records", "cifar10", b"\0" + (b"\7" + noise[:3072]) * 2)
save("records", "cifar100", b"\1" + b"\3\x63" + noise[:3072])
save("records", "stl_x", b"\2" + noise[:2 * 27648])
save("records", "stl_y", b"\3\1\12\3")
texts = [
    b"# x\nAbyssinian_1 1 1 1\nwheaten_terrier_9 37 2 25\r\n", b"a/17\nb/3\n", b"b\na_b\nab\n",
    b"banded/banded_1.jpg\nwoven/woven_2.jpg\n",
    b"ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\n",
    b"airplane\ncar\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"]
for i, text in enumerate(texts):
    save("lists", f"list{i}", bytes([i]) + text)
