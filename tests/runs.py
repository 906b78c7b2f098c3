"""runs.py: what of a run's folder must not depend on when, how fast and how often disturbed it was made."""
import hashlib
import json
import os
import struct

TIMES = ("t", "img_s", "data_s", "run_s", "s", "mem", "comm")


def _metrics(path):
    with open(path) as f:
        rows = [json.loads(line) for line in f]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows if "event" not in row]


def _result(path):
    with open(path) as f:
        result = json.load(f)
    for row in result["evals"]:
        row.pop("seconds")
    return {k: v for k, v in result.items() if k not in ("seconds", "img_s", "memory", "saves", "save_wait",
                                                         "save_seconds")}


def picture(path, red, green, blue):
    """An 8 x 8 BMP of one colour, to train on."""
    head = b"BM" + (54 + 192).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = b"".join(n.to_bytes(size, "little") for n, size in
                    [(40, 4), (8, 4), (8, 4), (1, 2), (24, 2), (0, 4), (192, 4), (0, 4), (0, 4), (0, 4),
                     (0, 4)])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(head + info + bytes([blue, green, red]) * 64)


def _content(path, config):
    """A checkpoint's bytes; without config its metadata, which hold the experiment file, are left out."""
    with open(path, "rb") as f:
        data = f.read()
    if config or not path.endswith(".safetensors"):
        return data
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return json.dumps(header, sort_keys=True).encode() + data[8 + size:]


def essence(folder, config=True):
    """Name of a part -> its value: hashes of checkpoints and states, metrics and result without times."""
    got = {}
    for name in sorted(os.listdir(os.path.join(folder, "ckpt"))):
        content = _content(os.path.join(folder, "ckpt", name), config)
        got["ckpt/" + name] = hashlib.sha256(content).hexdigest()
    got["metrics"] = _metrics(os.path.join(folder, "metrics.jsonl"))
    got["result"] = _result(os.path.join(folder, "result.json"))
    if os.path.exists(os.path.join(folder, "recycle.json")):
        with open(os.path.join(folder, "recycle.json")) as f:
            got["recycle"] = f.read()
    return got
