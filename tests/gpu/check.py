#!/usr/bin/env python3
"""What vendors' compilers make of the kernels that training steps launch on GPUs, without one. For developers.

    tests/gpu/check.py [--full | --short] [--target sm_90,gfx1100] [--kernel matmul] [--json] [-v] [MODEL.yaml
    ...]

Programs are dumped by build/jetcl for the null device under JETCL_FAKE (or read from --dump DIR), compiled by
what is installed (clang-19 with libclc's bitcode, ptxas and nvdisasm, ocloc), read by read.py and judged by
model.py. A value under its row of limits.def fails. What is missing is skipped by name."""
import argparse, collections, json, os, re, shutil, subprocess, sys, concurrent.futures
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model, read

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODELS = ["vit-t", "v-jetmoe-t", "c-jetmoe-f"]
SHORT = ["sm_90", "gfx90a", "gfx1100"]
Launches = collections.namedtuple("Launches", "items local count flops")


# ---- what there is -------------------------------------------------------------------------------------------

def found_tools():
    """Paths of what is needed, and { reader: what is missing }."""
    def nvdisasm():
        own = [os.path.join(p, "nvidia", d, "bin", "nvdisasm") for p in sys.path
               for d in ("cu13", "cuda_nvdisasm")]
        own += [os.environ.get("NVDISASM", "")]
        return shutil.which("nvdisasm") or next((p for p in own if os.path.exists(p)), None)
    folders = [os.environ.get("LIBCLC", ""), "/usr/lib/clc", "/usr/share/clc"]
    tools = {"clc": next((f for f in folders if os.path.exists(f + "/amdgcn--amdhsa.bc")), None),
             "clang": shutil.which(read.CLANG), "ptxas": shutil.which("ptxas"), "nvdisasm": nvdisasm(),
             "ocloc": os.environ.get("OCLOC") or shutil.which("ocloc")}
    tools["ocloc_lib"] = os.environ.get("OCLOC_LIB", "")
    hints = {"clang": "%s (Debian's clang-19)" % read.CLANG, "clc": "libclc-19's bitcode (LIBCLC=FOLDER)",
             "ptxas": "ptxas (CUDA, or PyPI's nvidia-cuda-nvcc)", "ocloc": "ocloc (Debian's intel-opencl-icd)",
             "nvdisasm": "nvdisasm (PyPI's nvidia-cuda-nvdisasm)"}
    needs = {"nvidia": ["clang", "clc", "ptxas", "nvdisasm"], "amd": ["clang", "clc"], "intel": ["ocloc"]}
    return tools, {r: ", ".join(hints[t] for t in n if not tools[t]) for r, n in needs.items()}


# What is dumped. Of the second and third what runs on an engine.
SETTINGS = {"plain": ("train.precision=fp32", "device.matrix=off"), "bf16": ("train.precision=bf16",),
            "floats": ("train.precision=fp32", "device.matrix=tf32")}


def dump(jetcl, models, fake, folder, batch, setting):
    shutil.rmtree(folder, ignore_errors=True)
    for m in models:
        path = m if m.endswith(".yaml") else os.path.join(ROOT, "experiments", "models", m + ".yaml")
        keys = "train.batch=%d" % batch, *SETTINGS[setting]
        r = subprocess.run([jetcl, "config", path, "--launches", "--device", "null",
                            *[word for key in keys for word in ("--set", key)]],
                           env=dict(os.environ, JETCL_FAKE=fake, JETCL_DUMP=folder), capture_output=True,
                           text=True)
        if r.returncode:
            sys.exit("%s as %s: %s" % (path, fake, r.stderr.strip()))


def launches_of(folder):
    """{ program: { kernel: Launches } }"""
    found = collections.defaultdict(dict)
    for line in open(os.path.join(folder, "launches.tsv")):
        program, kernel, _, items, local, flops = line.split("\t")[:6]
        n = 1
        for each in items.split():
            n *= int(each)
        old = found[program].get(kernel, Launches(n, 0, 0, 0))
        found[program][kernel] = Launches(n, max(old.local, int(local)), old.count + 1,
                                          old.flops + float(flops))
    return found


def head_of(path):
    with open(path) as f:
        return f.readline()[len("// label: "):].strip(), f.readline()[len("// options: "):].split()


def macros_of(options):
    found = {m[1]: int(m[2]) for m in (re.match(r"-D(\w+)=(\d+)$", o) for o in options) if m}
    return dict(found, **{"ELEMENT": o[10:] for o in options if o.startswith("-DELEMENT=")})


# ---- kernels by name -----------------------------------------------------------------------------------------

def variant(kernel, m):
    """matmul -> matmul_128x64; on a matrix engine matrix_128x128, of floats matrix_tf32_128x128, of rows that
    begin anywhere .._unaligned, matrix_attention"""
    if "ENGINE" in m and kernel != "matmul":
        return "matrix_" + kernel
    if "ENGINE" in m:
        rows, columns = {1: (16, 8), 2: (16, 16), 3: (16, 16), 4: (8, 8)}[m["ENGINE"]]
        floats = m["ELEMENT"].lower() + "_" if "ELEMENT" in m else ""
        tile = "matrix_%s%dx%d" % (floats, m["WY"] * m["BM"] * rows, m["WX"] * m["BN"] * columns)
        return tile if m["ALIGNED"] else tile + "_unaligned"
    if kernel == "matmul" and "GX" in m:
        return "matmul_%dx%d" % (m["GY"] * m["RM"], m["GX"] * m["RN"])
    if kernel.startswith("depthwise") and "XB" in m:
        return "%s_%d" % (kernel, m["XB"])
    return kernel


def steps(kernel, m):
    """Multiply-adds that an item does in each inner loop of a step, in order; []: take loops as they stand."""
    if kernel == "matmul" and "RM" in m:
        return [m.get("TK", 8) * m["RM"] * m["RN"]]
    if kernel in ("attention", "attention_dq", "attention_dkv") and "ENGINE" not in m:
        scores = 16 * m["D"], 512 * ((m["D"] + 31) // 32)       # 4 x 4 scores; 4 x 4 QUADS results, 32 keys
        order = {"attention": (0, 1), "attention_dq": (0, 0, 1), "attention_dkv": (0, 0, 1, 1)}
        return [scores[i] for i in order[kernel]]
    return []


def measure(kernel, want, unit, launches, floats):
    """The row of one kernel on one target."""
    inner = kernel.inner()
    row = dict(regs=kernel.regs, spill=kernel.spill, stack=kernel.stack, local=launches.local,
               items=launches.items, wave=kernel.wave,
               groups=model.groups(unit, kernel, launches.items, launches.local), uses=launches.count)
    if not inner:
        return row
    # The step that counts: of loops that read local memory, if any, the one with most multiply-adds; of two
    # equal ones (whole tiles, edges) the shorter.
    local = [l for l in inner if kernel.count(l)["lload"]] or inner
    step = max((kernel.around(l) for l in local), key=lambda s: (kernel.count(s)["fmas"], s[0] - s[1]))
    inside = [l for l in inner if step[0] <= l[0] and l[1] <= step[1]]
    trips = []
    if want and inside != [step]:
        done = sum(kernel.count(l)["fmas"] for l in inside)
        outside = kernel.count(step)["fmas"] - done
        if len(inside) == len(want):
            trips = [(l, max(1, round(w / kernel.count(l)["fmas"]))) for l, w in zip(inside, want)]
        else:
            trips = [(l, max(1, round((sum(want) - outside) / done))) for l in inside]
    best = max(inside, key=lambda l: kernel.count(l)["fmas"])
    a, b = kernel.count(best), kernel.count(step, trips)
    share, bound = model.peak(unit, kernel, b, launches.items, launches.local, floats)
    # Scalar instructions and waits of AMD's are issued beside those of other waves; a packed one counts once.
    own = lambda c: c["fma"] / max(1, c["all"] - (c["salu"] + c["wait"] if unit.reader == "amd" else 0))
    row.update(inner=100 * own(a), step=100 * own(b), peak=100 * share, bound=bound, fmas=b["fmas"],
               paired=100 * a["paired"] / a["fmas"],
               mix={k: v for k, v in sorted(b.items())}, loop={k: v for k, v in sorted(a.items())},
               whole=best == step)
    return row


# ---- limits --------------------------------------------------------------------------------------------------

def read_limits():
    """[(kernel, targets, { column: least })] of limits.def's rows LIMIT(kernel, targets, column least ...)"""
    rows = []
    for line in open(os.path.join(HERE, "limits.def")):
        m = re.match(r"LIMIT\(([\w*\[\]0-9-]+),\s*([\w*| ]+),\s*(.*)\)", line)
        if m:
            rows.append((m[1], m[2].split("|"), {k: float(v) for k, v in (w.split() for w in m[3].split(","))}))
    return rows


def fits(pattern, name):
    return re.fullmatch(pattern.strip().replace("*", ".*"), name)


def complaints(limits, name, target, row):
    out = []
    for kernel, targets, least in limits:
        if not fits(kernel, name) or not any(fits(t, target) for t in targets):
            continue
        for column, value in least.items():
            got = row.get(column)
            if column in ("spill", "stack"):
                if got > value:
                    out.append("%s %d, at most %d" % (column, got, value))
            elif column == "inner" and row.get("whole"):
                continue                         # the loop is unrolled whole: then the step counts
            elif got is None or round(got) < value:
                out.append("%s %s, at least %g" % (column, "-" if got is None else round(got), value))
    return out


# ---- the table -----------------------------------------------------------------------------------------------

def run_one(job):
    path, options, target, out, tools = job
    reader = getattr(read, model.UNITS[target].reader)
    try:
        return reader(path, options, target, out, tools)
    except (read.Failed, IndexError) as e:
        return "%s: %s" % (type(e).__name__, e)


def worst_of(rows):
    """One row of each kernel and target: of variants (transposes, shapes) the one that is worst off."""
    best = {}
    for name, target, row, wrong in rows:
        key = (name, target)
        badness = (len(wrong), row is None, -(row or {}).get("step", 1000), (row or {}).get("regs", 0))
        if key in best and row and best[key][1][2]:
            row["uses"] += best[key][1][2]["uses"]
            best[key][1][2]["uses"] = row["uses"]
        if key not in best or badness > best[key][0]:
            best[key] = (badness, (name, target, row, wrong))
    return [r for _, r in best.values()]


COLUMNS = "%-24s %-8s %4s %5s %5s %6s %6s %5s %5s %5s %6s %5s  %s"


def line(name, target, r, wrong):
    show = lambda k: "" if r.get(k) is None else "%.0f" % r[k]
    print(COLUMNS % (name, target, r["regs"], r["spill"], r["stack"], r["local"], r["groups"], r["uses"],
                     "=" if r.get("whole") else show("inner"), show("step"), show("paired"), show("peak"),
                     r.get("bound", "") + ("  << " + "; ".join(wrong) if wrong else "")))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=MODELS)
    p.add_argument("--short", action="store_true", help="sm_90, gfx90a and gfx1100 only")
    p.add_argument("--target", default="", help="some targets: " + ",".join(model.UNITS))
    p.add_argument("--kernel", default="", help="kernels whose name has this in it")
    p.add_argument("--json", action="store_true")
    p.add_argument("-v", action="store_true", help="the counts of each step, too")
    p.add_argument("--jetcl", default=os.path.join(ROOT, "build", "jetcl"))
    p.add_argument("--out", default=os.path.join(ROOT, "build", "gpu"))
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    o = p.parse_args()
    tools, missing = found_tools()
    targets = o.target.split(",") if o.target else SHORT if o.short else list(model.UNITS)
    for reader in sorted({model.UNITS[t].reader for t in targets}):
        if missing[reader]:
            print("skip %s targets: no %s" % (reader, missing[reader]), file=sys.stderr)
    targets = [t for t in targets if not missing[model.UNITS[t].reader]]
    jobs, where = [], []
    on = {t: [s for s in SETTINGS if s != "floats" or model.UNITS[t].floats] for t in targets}
    for fake, setting in sorted({(model.UNITS[t].fake, s) for t in targets for s in on[t]}):
        folder = os.path.join(o.out, fake + "-" + setting)
        dump(o.jetcl, o.models, fake, folder, o.batch, setting)
        for program, kernels in sorted(launches_of(folder).items()):
            label, options = head_of(os.path.join(folder, program))
            mine = {k: v for k, v in kernels.items() if o.kernel in variant(k, macros_of(options))}
            if not mine or (program.startswith("map-") and not o.kernel):
                continue                         # generated, pointwise: nothing to judge
            engine = macros_of(options).get("ENGINE", 0)
            for t in targets:
                unit = model.UNITS[t]
                if unit.fake == fake and setting in on[t] and engine == (setting != "plain" and unit.engine):
                    jobs.append((os.path.join(folder, program), options, t, folder, tools))
                    where.append(mine)
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        results = list(pool.map(run_one, jobs))
    limits, rows, skipped = read_limits(), [], set()
    for (path, options, target, _, _), mine, result in zip(jobs, where, results):
        m = macros_of(options)
        for kernel, launches in sorted(mine.items()):
            name = variant(kernel, m)
            if isinstance(result, str) and "HW Info" in result:
                skipped.add(target)              # this ocloc is older than the chip
            elif isinstance(result, str) or kernel not in result:
                rows.append((name, target, None, ["does not compile: %s" % result if isinstance(result, str)
                                                  else "not in the output"]))
            else:
                row = measure(result[kernel], steps(kernel, m), model.UNITS[target], launches, "ELEMENT" in m)
                rows.append((name, target, row, complaints(limits, name, target, row)))
    for target in sorted(skipped):
        print("skip %s: %s does not know it" % (target, tools["ocloc"]), file=sys.stderr)
    rows = worst_of(rows)
    rows.sort(key=lambda r: (r[0], list(model.UNITS).index(r[1])))
    if o.json:
        print(json.dumps([dict(kernel=n, target=t, wrong=w, **(r or {})) for n, t, r, w in rows], indent=1))
    else:
        print(COLUMNS % ("kernel", "target", "regs", "spill", "stack", "local", "groups", "uses", "inner",
                         "step", "paired", "peak", "% of instructions, % modelled; bound by"))
        for n, t, r, w in rows:
            if r:
                line(n, t, r, w)
                if o.v and "mix" in r:
                    print("      step:", r["mix"], "\n      loop:", r["loop"])
            else:
                print("%-24s %-8s %s" % (n, t, "; ".join(w)))
    failed = sum(bool(w) for _, _, _, w in rows)
    print("%d kernels on %d targets: %d below their limits" % (len({r[0] for r in rows}), len(targets), failed),
          file=sys.stderr)
    return 1 if failed or not rows and targets else 0


if __name__ == "__main__":
    sys.exit(main())
