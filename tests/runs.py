"""runs.py: what of a run's folder must not depend on when, how fast and how often disturbed it was made."""
import hashlib
import json
import os

TIMES = ("t", "img_s", "data_s", "run_s", "s", "mem")


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


def essence(folder):
    """Name of a part -> its value: hashes of checkpoints and states, metrics and result without times."""
    got = {}
    for name in sorted(os.listdir(os.path.join(folder, "ckpt"))):
        with open(os.path.join(folder, "ckpt", name), "rb") as f:
            got["ckpt/" + name] = hashlib.sha256(f.read()).hexdigest()
    got["metrics"] = _metrics(os.path.join(folder, "metrics.jsonl"))
    got["result"] = _result(os.path.join(folder, "result.json"))
    if os.path.exists(os.path.join(folder, "recycle.json")):
        with open(os.path.join(folder, "recycle.json")) as f:
            got["recycle"] = f.read()
    return got
