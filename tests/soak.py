"""soak.py: small cells, one after the other in one process, for as long as is asked: what must be flat, is.

    tests/soak.py --build build --minutes 360

The process is one `jetcl table` with more cells than the time is enough for. Every few seconds its resident
memory and open descriptors are read from /proc; after each cell, its device memory and its speed from
result.json. Compared are medians of the second and the last quarter of the time: memory within 2 %, descriptors
equal, and the seconds of a cell, which whatever else runs on the machine moves too, are told.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

EXPERIMENT = """
name: small
data: {set: demo, root: %s/data, train: a/train, eval: a/test, workers: 2}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 2, heads: 2, drop_path: 0.1, moe: {layers: [1], core:
2, universal: 2}} train: {epochs: 2, batch: 100, ema: 0.9}
optim: {lr: 1e-3, layer_decay: off}
log: {every: 3, tensorboard: on}
eval: {every: 1, batch: 100}
schedule: {warmup_epochs: 1}
keep: {every: 1, last: 2, minutes: 0.001}
"""
TABLE = "columns: [{name: one}]\nseeds: [%s]\nrows: [{name: A, cells: [exp.yaml]}]\n"


def sample(pid):
    with open("/proc/%d/statm" % pid) as f:
        rss = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return rss, len(os.listdir("/proc/%d/fd" % pid)), len(os.listdir("/proc/%d/task" % pid))


def quarters(values):
    n = len(values) // 4
    return statistics.median(values[n:2 * n]), statistics.median(values[3 * n:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--minutes", type=float, default=360)
    args = parser.parse_args()
    jetcl, folder = os.path.abspath(args.build + "/jetcl"), os.path.abspath(args.build + "/soak")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(folder + "/exp.yaml", "w") as f:
        f.write(EXPERIMENT % folder)
    with open(folder + "/table.yaml", "w") as f:
        f.write(TABLE % ", ".join(map(str, range(1, 1 + max(50, int(args.minutes * 60))))))
    rows = []
    with open(folder + "/log", "w") as log:
        process = subprocess.Popen([jetcl, "table", "table.yaml", "--out", "runs"], cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=dict(os.environ, JETCL_CHECK="off"))
        end = time.time() + 60 * args.minutes
        while time.time() < end and process.poll() is None:
            time.sleep(min(5, args.minutes))
            if glob.glob(folder + "/runs/small/*/result.json"):   # kernels are built, the first cell is done
                rows.append(sample(process.pid))
        ended = process.poll()
        process.terminate()
        process.wait()
    if ended is not None or len(rows) < 16:
        return print("not ok soak: ended with %s after %d samples, see %s/log" % (ended, len(rows),
                                                                                  folder)) or 1
    results = sorted(glob.glob(folder + "/runs/small/*/result.json"), key=os.path.getmtime)
    seconds = [json.load(open(path))["seconds"] for path in results]
    memory = {json.load(open(path))["memory"] for path in results}
    bad = []
    for name, column, most in (("resident MB", [r[0] / 1e6 for r in rows], 1.02),
                               ("descriptors", [r[1] for r in rows], 1), ("threads", [r[2] for r in rows], 1)):
        before, after = quarters(column)
        print("%s: %.1f in the second quarter, %.1f in the last" % (name, before, after))
        bad += [name] if after > before * most else []
    if len(seconds) >= 8:
        print("seconds of a cell: %.2f, then %.2f" % quarters(seconds))
    print("device memory: %s" % ", ".join("%.1f MB" % (m / 1e6) for m in sorted(memory)))
    bad += ["device memory"] if len(memory) > 1 else []
    print("%s soak: %d cells in %.1f minutes%s" % ("not ok" if bad else "ok", len(results), args.minutes,
                                                   "".join("; grew: " + b for b in bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
