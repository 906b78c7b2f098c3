"""page_numbers.py: what a page and a comparison say, recomputed from the raw files by other means. Standard
library only.

    python3 tests/page_numbers.py runs PAGE.html RUN...       curves with bands, verdicts, tests between seeds
    python3 tests/page_numbers.py comparison FOLDER           comparison.json from a.jetcmp and b.jetcmp

Prints what differs; exit 1 when something does.
"""
import base64
import csv
import html.parser
import io
import json
import math
import re
import struct
import sys

wrong = []


def same(what, got, want, digits=1e-5):
    both_none = want is None and got is None
    if not both_none and (got is None or want is None or not abs(got - want) <= digits * max(1e-12, abs(want))):
        wrong.append(f"{what}: {got} instead of {want}")


# ---- the document --------------------------------------------------------------------------------------------

class Page(html.parser.HTMLParser):
    """Tags, texts, links and files; complains of what is open at the end or leads nowhere."""
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.files, self.texts, self.open = [], [], [], {}, [], []
        self.verdicts = []
        self.feed(text)
        for name in ("svg", "figure", "details", "nav", "h2", "table"):
            if self.open.count(name):
                wrong.append(f"<{name}> is not closed")
        for link in self.links:
            if link.startswith("#") and link[1:] not in self.ids:
                wrong.append(f"{link} leads nowhere")
        if len(set(self.ids)) != len(self.ids):
            wrong.append("an id is there twice")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if any(k.startswith("on") for k in attrs):
            wrong.append(f"<{tag}> has a handler")
        if tag == "a":
            self.links.append(attrs["href"])
            if "download" in attrs:
                data = base64.b64decode(attrs["href"].split("base64,")[1]).decode()
                self.files.setdefault(attrs["download"], data)
        if attrs.get("class") == "verdict":
            self.verdicts.append("")
        if tag == "svg" and "role" in attrs and not attrs.get("aria-label"):
            wrong.append("a picture without a sentence")

    def handle_endtag(self, tag):
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag)]

    def handle_data(self, data):
        self.texts.append(data)
        if self.verdicts and "p" in self.open:
            self.verdicts[-1] += data


# ---- runs ----------------------------------------------------------------------------------------------------

def student(freedom):
    """The 97.5 % point: bisection over the density's integral by Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def below(t, n=2000):
        f = lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
        h = t / n
        return .5 + h / 3 * sum((1 if i in (0, n) else 4 if i % 2 else 2) * f(i * h) for i in range(n + 1))
    lo, hi = 0, 100
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if below(mid) < .975 else (lo, mid)
    return lo


def read_run(path):
    config = open(path + "/config.yaml", encoding="utf-8").read()
    name = re.search(r'^name: *"?(.*?)"?$', config, re.M).group(1)
    seed = int(re.search(r"^seed: *(\d+)", config, re.M).group(1))
    points = {}
    for line in open(path + "/metrics.jsonl", encoding="utf-8"):
        j = json.loads(line)
        if j.get("split") == "eval":
            points[j["epoch"]] = j["top1"], j.get("run_s")
    return name, seed, points


def check_curves(page, groups):
    rows = list(csv.reader(io.StringIO(page.files["top-1-accuracy.csv"])))
    columns = rows[0]
    table = {float(r[0]): dict(zip(columns[1:], r[1:])) for r in rows[1:]}
    for name, runs in groups.items():
        label = name if len(runs) == 1 else f"{name}, {len(runs)} seeds"
        shared = set.intersection(*(set(points) for _, points in runs))
        for epoch, row in table.items():
            values = [points[epoch][0] for _, points in runs] if epoch in shared else None
            cell = lambda key: float(row[key]) if row[key] else None
            same(f"{label}, epoch {epoch}", cell(label), sum(values) / len(values) if values else None)
            if len(runs) > 1:
                same(f"{label}, least of {epoch}", cell(label + ": least"), min(values) if values else None)
                same(f"{label}, largest of {epoch}", cell(label + ": largest"), max(values) if values else None)
            hours = [points[epoch][1] for _, points in runs] if values else [None]
            if label + ": hours" in columns and None not in hours:
                same(f"{label}, hours of {epoch}", cell(label + ": hours"), sum(hours) / len(hours) / 3600)


def spread(values):
    n, mean = len(values), sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, sd, student(n - 1) * sd / math.sqrt(n)


def check_verdicts(page, groups):
    text = " ".join(page.verdicts)
    last = {name: {seed: points[max(points)][0] for seed, points in runs} for name, runs in groups.items()}
    for name, values in last.items():
        if len(values) < 2:
            continue
        m = re.search(re.escape(name)
                      + r", \d+ seeds: top-1 ([\d.]+) ± ([\d.]+) % \(95 %: ([-\d.]+) to ([\d.]+)\)", text)
        if not m:
            wrong.append(f"{name}: no verdict")
            continue
        mean, sd, half = spread(list(values.values()))
        for what, got, want, digits in (("mean", 1, mean, 2), ("sd", 2, sd, 0), ("from", 3, mean - half, 2),
                                        ("to", 4, mean + half, 2)):
            same(f"{name}, {what}", float(m.group(got)), want, .05 if not digits else .0051 / abs(want))
    best = max(last, key=lambda name: sum(last[name].values()) / len(last[name]))
    for name, values in last.items():
        if name == best or len(values) < 2 or set(values) != set(last[best]):
            continue
        gaps = [last[best][seed] - values[seed] for seed in values]
        mean, _, half = spread(gaps)
        said = re.search(re.escape(f" above {name}: ") + r"(\S+) ± (\S+) by pairs of \d+ seeds \(95 %\): (.*)",
                         "\n".join(page.texts))
        if not said:
            wrong.append(f"no paired test of {best} and {name}")
            continue
        same(f"{best} above {name}", float(said.group(1)), mean, .06 * half / abs(mean))
        same(f"{best} above {name}, half", float(said.group(2)), half, 6e-2)
        if ("more than" in said.group(3)) != (abs(mean) > half):
            wrong.append(f"{best} and {name}: '{said.group(3)}' of {mean} +- {half}")


def check_runs(path, dirs):
    page, groups = Page(open(path, encoding="utf-8").read()), {}
    for d in dirs:
        name, seed, points = read_run(d)
        groups.setdefault(name, []).append((seed, points))
    if "script" in page.tags or "img" in page.tags:
        wrong.append("the page has a script or an image")
    for name in groups:
        if not any(name in t for t in page.texts):
            wrong.append(f"{name} is not on the page")
    check_curves(page, groups)
    check_verdicts(page, groups)


# ---- comparisons ---------------------------------------------------------------------------------------------

def read_record(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    about = json.loads(head.pop("__metadata__")["record"])
    letters = {"F32": "f", "F64": "d"}
    values = {}
    for name, t in head.items():
        lo, hi = t["data_offsets"]
        part = raw[8 + n + lo:8 + n + hi]
        letter = letters[t["dtype"]]
        values[name] = struct.unpack(f"<{len(part) // struct.calcsize(letter)}{letter}", part)
    return about, values


def check_pair(pair, a, b):
    (about, x), (_, y) = a, b
    for t in pair["tensors"]:
        kind = f"after.{t['step']}" if t["kind"] == "after" else t["kind"]
        name = f"{kind}/{t['name']}"
        if len(x[name]) != about["tensors"][name]["count"]:
            continue                                          # the file has some of it, the comparison had all
        p, q = x[name], y[name]
        size = sum(max(u * u, v * v) for u, v in zip(p, q))
        gap = sum((u - v) ** 2 for u, v in zip(p, q))
        same(name + ", error", t["error"], math.sqrt(gap / size) if gap else 0)
        top = max(max(map(abs, p)), max(map(abs, q)))
        most = max(abs(u - v) for u, v in zip(p, q))
        same(name + ", ulps", t["ulps"], most / (max(top, 2 ** -126) * 2 ** -23) if most else 0)
        if t["equal"] != (p == q):
            wrong.append(f"{name}: equal is {t['equal']}")
        if t["kind"] != "start" and t["bound"] > 0 and t["beyond"] != (t["error"] > t["bound"]):
            wrong.append(f"{name}: beyond is {t['beyond']}")
    gaps = [abs(u - v) for u, v in zip(x["loss"], y["loss"])]
    for i, gap in enumerate(gaps):
        same(f"gap {i}", pair["gap"][i], gap)
    same("mean gap", pair["mean_gap"], sum(gaps) / len(gaps))
    seeds = [abs(u - v) for u, v in zip(x["loss"], x["loss.reseeded"])]
    same("gap of two seeds", pair["seed_gap"], sum(seeds) / len(seeds))
    same("equal tensors", pair["equal"], sum(t["equal"] for t in pair["tensors"]))
    grown, unit = 0, 2 ** -24
    for i, (u, v) in enumerate(zip(x["loss"], x["loss.nudged"])):
        grown = max(grown, abs(u - v))
        same(f"allowed {i}", pair["allowed"][i], 8 * (grown + 8 * unit * abs(u)))


def check_comparison(folder):
    j = json.load(open(folder + "/comparison.json"))
    a, b = read_record(folder + "/a.jetcmp"), read_record(folder + "/b.jetcmp")
    check_pair(j["pairs"][0], a, b)
    x, y = j["records"][:2]
    same("speed", j["pairs"][0]["speed"], y["step_ms"] / x["step_ms"])
    for r in (x, y):
        same(r["label"] + ", images/s", r["img_s"], 1e3 * r["batch"] / r["step_ms"])
        for k in r["kernels"]:
            same(k["name"] + ", share", k["of_peak"], max(k["gflops"] / r["peak_gflops"],
                                                          k["gb_s"] / r["peak_gb_s"]))
    check_seeds(j["pairs"][0]["seeds"], x["seed_loss"], y["seed_loss"])


def check_seeds(said, x, y):
    if len(x) < 2:
        same("words of seeds", said, None)
        return
    want = [len(x)] + [v for s in (spread(x), spread(y)) for v in (s[0], s[2])]
    mean, _, half = spread([u - v for u, v in zip(x, y)])
    got = re.match(r"over (\d+) seeds the loss ends at (\S+) ± (\S+) and (\S+) ± (\S+) \(95 %\); "
                   r"(\S+) ± (\S+) by pairs of "
                   r"\d+ seeds \(95 %\): (.*?)(;|$)", said)
    if not got:
        wrong.append(f"what seeds show: {said}")
        return
    for i, (value, digits) in enumerate(zip(want + [mean, half],
                                            (1e-9, 6e-4, .06, 6e-4, .06, .06 * half / abs(mean), .06))):
        same(f"number {i} of what seeds show", float(got.group(i + 1)), value, digits)
    if ("more than" in got.group(8)) != (abs(mean) > half):
        wrong.append(f"seeds: '{got.group(8)}' of {mean} +- {half}")


def main():
    if sys.argv[1] == "runs":
        check_runs(sys.argv[2], sys.argv[3:])
    else:
        check_comparison(sys.argv[2])
    print("\n".join(wrong[:20]) or "all numbers are those of the raw files")
    sys.exit(1 if wrong else 0)


main()
