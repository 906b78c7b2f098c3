#!/usr/bin/env python3
"""What clang makes of the kernels that training steps launch on CPUs of other vectors than this one's. For
developers.

    tests/cpu/check.py [--jetcl build/jetcl] [--out build/cpu] [--target avx2,neon] [MODEL.yaml ...]

Programs are dumped by jetcl for the null device under JETCL_FAKE=TARGET, and compiled to assembly beside the
dump (PROGRAM.s, to be read) with tests/cpu/builtins.h in place of a driver's functions. A line for each kernel:
of its innermost loop with the most floating-point vector instructions their number, how many are fused
multiply-adds, how many are of one value only (scalar), how many move vectors from or to the stack (spills), and
calls, of the ends of rows too. Where a limit is broken: exit 1.

Limits: a product's and attention's loop does one step of k in lanes' worth of multiply-adds, without spills; no
loop computes one value at a time where it could be vectors."""
import argparse, collections, os, re, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLANG = os.environ.get("CLANG") or next((c for c in ("clang-15", "clang", "clang-19") if shutil.which(c)), None)
X86 = ["--target=x86_64-linux-gnu"]
Target = collections.namedtuple("Target", "flags lanes vector fused scalar spill")
# Patterns of instructions: floating-point vector arithmetic, fused, of one value, on the stack.
X_VECTOR = r"v?(add|sub|mul|div|sqrt|max|min|f[n]?m(add|sub)\d+)ps\b"
X_SCALAR = r"v?(add|sub|mul|div|sqrt|f[n]?m(add|sub)\d+)ss\b"
X_SPILL = r"^v?\w+ .*\(%r[sb]p\).*%[xyz]mm|^v?\w+\s.*%[xyz]mm.*\(%r[sb]p\)|^v?\w+ps\s.*\(%r[sb]p\)"
TARGETS = {
    "avx512": Target(X86 + ["-march=skylake-avx512", "-mprefer-vector-width=512"], 16, X_VECTOR, r"vfn?m\w+ps",
                     X_SCALAR, X_SPILL),
    "avx2": Target(X86 + ["-march=znver3"], 8, X_VECTOR, r"vfn?m\w+ps", X_SCALAR, X_SPILL),
    "sse": Target(X86 + ["-march=x86-64-v2"], 4, X_VECTOR, r"nothing", X_SCALAR, X_SPILL),
    "neon": Target(["--target=aarch64-linux-gnu", "-mcpu=neoverse-n1", "-Dkernel=", "-D__kernel=",
                    "-Dreqd_work_group_size(x,y,z)="], 4,
                   r"f(add|sub|mul|div|sqrt|max|min|ml[as])\w*\s+v\d+\.4s", r"fml[as]\s+v\d+\.4s",
                   r"f(add|sub|mul|div|n?m(add|sub)|sqrt)\s+s\d",
                   r"^(ldr|str|ldp|stp|ldur|stur)\s+q.*\[(sp|x29)"),
}
# File of a kernel: does its main loop have to be one step of k (rows x vectors multiply-adds)? Others: vectors
# alone.
LIMITS = {"matmul": True, "attention": True, "norm": False, "map": False, "softmax": False, "entmax": False,
          "route": False, "adamw": False}
Loop = collections.namedtuple("Loop", "function lines vector fused scalar spill calls")


def dump(jetcl, target, models, folder):
    shutil.rmtree(folder, ignore_errors=True)
    for m in models:
        r = subprocess.run([jetcl, "config", m, "--launches", "--device", "null"], capture_output=True,
                           text=True, env=dict(os.environ, JETCL_FAKE=target, JETCL_DUMP=folder))
        if r.returncode:
            sys.exit("%s as %s: %s" % (m, target, r.stderr.strip()))


def compile_one(path, target):
    """The assembly's path, and the program's macros."""
    text = open(path).read()
    options = text.split("\n", 2)[1].replace("// options: ", "").split()
    keep = [o for o in options if o.startswith("-D") or o.startswith("-cl-std")]
    whole, out = path[:-3] + ".with.cl", path[:-3] + ".s"
    with open(whole, "w") as f:
        f.write(text + "\n" + open(os.path.join(HERE, "builtins.h")).read())
    r = subprocess.run([CLANG, "-x", "cl", *keep, "-Xclang", "-finclude-default-header", *target.flags, "-O3",
                        "-w", "-fno-math-errno", "-S", "-o", out, whole], capture_output=True, text=True)
    if r.returncode:
        sys.exit("%s: %s" % (path, r.stderr[:2000]))
    return out, dict(o[2:].split("=", 1) for o in keep if o.startswith("-D") and "=" in o)


def innermost(path, t):
    """Loops of an assembly file by backward jumps, those that have no other inside."""
    loops, function, lines, labels = [], "", [], {}
    for line in open(path):
        name = re.match(r"([A-Za-z_]\w*):", line)
        if name:
            function, lines, labels = name[1], [], {}
        label = re.match(r"(\.L\w+):", line)
        if label:
            labels[label[1]] = len(lines)
        code = line.split("#")[0].split("//")[0].strip()
        if not code or code.startswith(".") or code.endswith(":"):
            continue
        lines.append(code)
        jump = re.match(r"(?:j\w+|b\S*|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.L\w+)", code)
        if jump and jump[1] in labels:
            loops.append((function, labels[jump[1]], len(lines), lines))
    inner = [a for a in loops if not any(b is not a and b[3] is a[3] and a[1] <= b[1] and b[2] <= a[2] and
                                         (a[1], a[2]) != (b[1], b[2]) for b in loops)]
    def count(body, pattern):
        return sum(bool(re.search(pattern, l)) for l in body)
    return [Loop(f, b - a, *(count(body[a:b], p) for p in (t.vector, t.fused, t.scalar, t.spill)),
                 count(body[a:b], r"^(call|bl\s)")) for f, a, b, body in inner]


def main_loops(loops, defs, t, step):
    """Of products: one for each step of k (some unrolled); else the busiest."""
    if not loops:
        return []
    if step:
        sums = int(defs["MR"]) * int(defs["NV"]) * max(16 // t.lanes, 1)
        each = sums if t.fused != "nothing" else 2 * sums
        return [l for l in loops if l.vector in (each, 2 * each, 4 * each, 8 * each)
                and (l.fused == l.vector or t.fused == "nothing")]
    return [max(loops, key=lambda l: l.vector)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--jetcl", default="build/jetcl")
    p.add_argument("--out", default="build/cpu")
    p.add_argument("--target", default=",".join(TARGETS))
    p.add_argument("models", nargs="*")
    o = p.parse_args()
    if not CLANG:
        print("skip check-cpu: no clang")
        return 0
    models = o.models or [os.path.join(ROOT, "experiments/models", m + ".yaml")
                          for m in ("vit-t", "v-jetmoe-t", "c-jetmoe-f")]
    wrong = 0
    print("%-8s %-34s %-20s %7s %6s %6s %6s %6s" % ("", "program", "in", "vector", "fused", "scalar", "spills",
                                                    "calls"))
    for name in o.target.split(","):
        t, folder = TARGETS[name], os.path.join(o.out, name)
        dump(o.jetcl, name, models, folder)
        for file in sorted(f for f in os.listdir(folder) if re.match(r"\w+-[0-9a-f]{12}\.cl$", f)):
            kind = file.split("-")[0]
            if kind not in LIMITS and kind != "conv":
                continue
            asm, defs = compile_one(os.path.join(folder, file), t)
            loops = [l for l in innermost(asm, t) if l.vector + l.scalar]
            step = LIMITS.get(kind, False)
            chosen = main_loops(loops, defs, t, step)
            if not chosen:
                print("%-8s %-34s has no loop of a step of k without other instructions" % (name, file))
                wrong += 1
            for l in chosen:
                bad = step and (l.spill or l.scalar or l.calls) or l.scalar > l.vector
                print("%-8s %-34s %-20s %7d %6d %6d %6d %6d%s" % (name, file, l.function[:20], l.vector,
                                                                  l.fused, l.scalar,
                                                               l.spill, l.calls, "  too many" if bad
                                                                  and kind in LIMITS else ""))
                wrong += bool(bad and kind in LIMITS)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
