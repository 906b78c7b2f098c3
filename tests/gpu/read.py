"""Reads what three compilers make of one dumped program: registers, spills and the instructions of loops.

    kernels = read.nvidia(path, options, "sm_90", out)     # { name: Kernel }, or raises read.Failed

An instruction becomes (class, multiply-adds, bytes): classes are fma, alu, load, store (global memory), lload,
lstore (local), mma (a matrix engine), scratch (spills, private arrays), barrier, special (exp, rsqrt), salu,
wait, branch. Of an fma `bytes` is 1 where it is packed or issued with another instruction.
"""
import collections, os, re, subprocess, threading

CLANG = os.environ.get("CLANG", "clang-19")
LOCK, PTX, DONE = threading.Lock(), {}, set()


class Failed(Exception):
    pass


class Kernel:
    """regs: registers an item; spill, stack: bytes; wave: items in step; body: [(class, multiply-adds, bytes)];
    loops: [(first, last)] of body, by backward branches."""
    def __init__(self, name, body, loops, **facts):
        self.name, self.body, self.loops = name, body, loops
        self.regs = self.spill = self.stack = 0
        self.wave = 32
        self.__dict__.update(facts)

    def inner(self):
        """Innermost loops with multiply-adds, in order; where a matrix engine multiplies, innermost of those
        where it does."""
        def encloses(a, b):
            return a[0] <= b[0] and b[1] <= a[1] and a != b
        loops = self.loops
        if any(kind == "mma" for kind, _, _ in self.body):
            loops = [l for l in loops if self.count(l)["mma"]]
        return [l for l in loops if not any(encloses(l, m) for m in loops) and self.count(l)["fmas"]]

    def around(self, loop):
        """The smallest loop around this one that has a barrier in it; else itself."""
        outer = [l for l in self.loops if l[0] <= loop[0] and loop[1] <= l[1] and self.count(l)["barrier"]]
        return min(outer, key=lambda l: l[1] - l[0]) if outer else loop

    def count(self, loop, trips=()):
        """Counts of classes in a loop; trips: [(inner loop, how often it runs)]."""
        c = collections.Counter()
        for i in range(loop[0], loop[1] + 1):
            kind, fmas, size = self.body[i]
            often = 1
            for l, n in trips:
                if l[0] <= i <= l[1]:
                    often = n
            c[kind] += often
            c["all"] += often
            c["fmas"] += fmas * often
            c["paired"] += fmas * often * (kind == "fma" and size)
            if kind in ("lload", "lstore", "load", "store"):
                c[kind + "_bytes"] += size * often
        return c


def call(command, env=None):
    r = subprocess.run(command, capture_output=True, text=True, env=env)
    if r.returncode:
        raise Failed((r.stderr or r.stdout).strip()[:600])
    return r.stderr + r.stdout


def clang(path, options, out, target, bitcode, extra):
    options = [o for o in options if o != "-cl-kernel-arg-info"]
    call([CLANG, "-target", target, "-x", "cl", "-Xclang", "-finclude-default-header", *options, "-O3", *extra,
          "-Xclang", "-mlink-builtin-bitcode", "-Xclang", bitcode, "-S", "-o", out, path])


def find_loops(targets, labels):
    """targets: [(index of a branch, label)]."""
    return sorted({(labels[t], i) for i, t in targets if t in labels and labels[t] <= i})


def parse(lines, label_of, instruction_of):
    body, labels, branches = [], {}, []
    for line in lines:
        label = label_of(line)
        if label:
            labels[label] = len(body)
            continue
        got = instruction_of(line)
        if got:
            what, target = got
            if target:
                branches.append((len(body), target))
            body.append(what)
    return body, find_loops(branches, labels)


# ---- NVIDIA: PTX by clang, SASS by ptxas, its text by nvdisasm -----------------------------------------------

def sass(line):
    m = re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line)
    if not m:
        return None
    text = re.sub(r"^@!?U?P\w+\s+", "", m[1])
    op = text.split()[0]
    if op == "NOP":
        return None
    # LDSM.x4: 16 bytes an item; twice, since the model lets neighbours share what they read, which these do
    # not.
    size = 32 if op.startswith("LDSM") else 16 if ".128" in op else 8 if ".64" in op else 4
    target = re.search(r"BRA.*?`\((\.L_x_\d+)\)", text)
    kinds = (("HMMA.16816", "mma", 64), ("HMMA.1688", "mma", 32), ("FFMA2", "fma2", 2), ("FFMA", "fma", 1),
             ("LDS", "lload", 0), ("STS", "lstore", 0), ("LDG", "load", 0), ("STG", "store", 0),
             ("LDL", "scratch", 0), ("STL", "scratch", 0), ("LD.", "load", 0), ("ST.", "store", 0),
             ("BAR", "barrier", 0), ("MUFU", "special", 0), ("BRA", "branch", 0), ("BSYNC", "branch", 0),
             ("BSSY", "branch", 0), ("DEPBAR", "wait", 0), ("R2UR", "alu", 0), ("U", "salu", 0))
    for start, kind, fmas in kinds:
        if op.startswith(start):
            kind, size = ("fma", 1) if kind == "fma2" else (kind, size if not fmas else 0)
            return (kind, fmas, size), target and target[1]
    return ("alu", 0, 0), target and target[1]


def ptx(path, options, out, tools):
    to = os.path.join(out, os.path.basename(path)[:-3] + ".ptx")
    with LOCK:                                   # one text serves several chips
        busy = PTX.setdefault(to, threading.Lock())
    with busy:
        if to in DONE:
            return to
        clang(path, options, to, "nvptx64--nvidiacl", tools["clc"] + "/nvptx64--nvidiacl.bc",
              ["-Xclang", "-target-cpu", "-Xclang", "sm_80"])
        DONE.add(to)
    return to


def nvidia(path, options, arch, out, tools):
    most = [o.split("=")[1] for o in options if o.startswith("-cl-nv-maxrregcount=")]
    text = ptx(path, [o for o in options if not o.startswith("-cl-nv-")], out, tools)
    cubin = text[:-4] + "." + arch + ".cubin"
    log = call(["ptxas", "-arch=" + arch, "-v", *["--maxrregcount=" + m for m in most], text, "-o", cubin])
    facts, name = {}, None
    for line in log.split("\n"):
        m = re.search(r"Compiling entry function '(\w+)'", line)
        name = m[1] if m else name
        m = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if m:
            facts.setdefault(name, {}).update(stack=int(m[1]), spill=int(m[2]) + int(m[3]))
        m = re.search(r"Used (\d+) registers", line)
        if m:
            facts.setdefault(name, {})["regs"] = int(m[1])
    kernels = {}
    for section in re.split(r"\n\s*\.section\s+\.text\.", call([tools["nvdisasm"], "-c", cubin]))[1:]:
        name = section.split(",")[0].split()[0]
        label = lambda line: (re.match(r"\s*(\.L_x_\d+):", line) or [0, 0])[1]
        body, loops = parse(section.split("\n"), label, sass)
        kernels[name] = Kernel(name, body, loops, **facts.get(name, {}))
    return kernels


# ---- AMD: clang alone ----------------------------------------------------------------------------------------

def gcn(line):
    m = re.match(r"\s+([a-z]\w+)(.*)", line)
    if not m:
        return None
    op, rest = m[1], m[2]
    target = re.search(r"(\.LBB\w+)", rest) if op.startswith(("s_cbranch", "s_branch")) else None
    size = 16 if re.search(r"(b128|x4|dwordx4)", op) else 12 if "x3" in op or "b96" in op else \
        8 if re.search(r"(b64|x2|dwordx2)", op) else 4
    if op.startswith("ds_read2") or op.startswith("ds_load_2addr") or op.startswith("ds_load2"):
        size *= 2
    if op.startswith("v_dual"):
        fmas = len(re.findall(r"v_dual_f?mac?\w*_f32|v_dual_fmac_f32|v_dual_fmaak|v_dual_fmamk", op + rest))
        return ("dual" if not fmas else "fma", fmas, 1), None
    m = re.match(r"v_(?:mfma|wmma)_f32_(\d+)x(\d+)x(\d+)", op)
    if m:
        return ("mma", int(m[1]) * int(m[2]) * int(m[3]) // (64 if "mfma" in op else 32), 0), None
    if op.startswith("v_pk_fma_f32"):
        return ("fma", 2, 1), None
    if re.match(r"v_(fma|fmac|mad|mac|fmaak|fmamk)_f32", op):
        return ("fma", 1, 0), None
    kinds = (("ds_read", "lload"), ("ds_load", "lload"), ("ds_write", "lstore"), ("ds_store", "lstore"),
             ("scratch", "scratch"), ("buffer_load", "scratch"), ("buffer_store", "scratch"),
             ("global_load", "load"), ("flat_load", "load"), ("global_store", "store"), ("flat_store", "store"),
             ("s_barrier", "barrier"), ("s_waitcnt", "wait"), ("s_wait", "wait"), ("s_delay", "wait"),
             ("s_nop", "wait"), ("s_cbranch", "branch"), ("s_branch", "branch"), ("s_", "salu"),
             ("v_exp", "special"), ("v_rcp", "special"), ("v_rsq", "special"), ("v_log", "special"),
             ("v_", "alu"))
    for start, kind in kinds:
        if op.startswith(start):
            return (kind, 0, size), target and target[1]
    return ("alu", 0, 0), None


def amd(path, options, arch, out, tools):
    to = os.path.join(out, os.path.basename(path)[:-3] + "." + arch + ".s")
    clang(path, options, to, "amdgcn-amd-amdhsa", tools["clc"] + "/amdgcn--amdhsa.bc",
          ["-mcpu=" + arch, "-nogpulib"])
    text = open(to).read()
    meta = text.split("amdhsa.kernels:")[1]
    kernels = {}
    for name in re.findall(r"\.amdhsa_kernel (\w+)", text):
        lines = text.split("\n" + name + ":")[1].split(".Lfunc_end")[0].split("\n")
        label = lambda line: (re.match(r"(\.LBB\w+):", line) or [0, 0])[1]
        body, loops = parse(lines, label, gcn)
        own = [x for x in re.split(r"\n  - ", meta) if re.search(r"\.name:\s+" + name + r"\s*\n", x)][0]
        def number(key):
            return int((re.search(r"\." + key + r":\s+(\d+)", own) or [0, 0])[1])
        kernels[name] = Kernel(name, body, loops, regs=number("vgpr_count"), wave=number("wavefront_size"),
                               stack=number("private_segment_fixed_size"), spill=4 * number("vgpr_spill_count"))
    return kernels


# ---- Intel: ocloc, the text that its compiler dumps ----------------------------------------------------------

# Drivers enable a device's extensions themselves; ocloc, which has none, must be told.
DPAS = "-cl-ext=+all,+cl_intel_subgroup_matrix_multiply_accumulate,+cl_intel_required_subgroup_size"


def gen(line):
    m = re.match(r"^\s*(?:\([^)]*\)\s*)?([a-z][a-z0-9_.]*)\s*(?:\([^)]*\))?\s", line)
    if not m or line.startswith("//") or not (re.search(r"\(\d+\|M\d+\)", line) or "jmpi" in line):
        return None
    op = m[1].split(".")[0]
    lanes = int((re.search(r"\((\d+)\|M", line) or [0, 1])[1])
    if op == "dpas":
        return ("mma", lanes * 128, 0), None
    if op in ("mad", "mac", "madm"):
        return ("fma", lanes if ":f" in line else 0, 0) if ":f" in line else ("alu", 0, 0), None
    if op.startswith(("send", "load", "store")):
        words = int((re.search(r"\.d32x(\d)", m[1]) or [0, 1])[1])
        sent = re.search(r"(0x[0-9A-F]{8}) .*wr:\d+\+(\d+), rd:(\d+)", line)
        # a descriptor: the surface is its last byte; registers of 32 bytes
        if sent and m[1].startswith("send.dc"):
            local, put, got = sent[1].endswith("FE"), int(sent[2]), int(sent[3])
            return (("l" if local else "") + ("load" if got else "store"), 0,
                    32 * max(put, got, 1) // lanes), None
        kind = "scratch" if "scratch" in line or m[1] == "send.dc" else "barrier" if "gtwy" in m[1] else \
            ("l" if ".slm" in m[1] else "") + ("store" if op == "store" else "load")
        return (kind, 0, 4 * words), None
    if op in ("jmpi", "while", "goto", "brd", "brc", "if", "else", "endif", "join"):
        target = re.findall(r"[A-Za-z_]\w*", line)
        return ("branch", 0, 0), target[-1] if op in ("jmpi", "while", "goto", "brd") else None
    return ("special" if op == "math" else "wait" if op in ("sync", "nop") else "alu", 0, 0), None


def intel(path, options, arch, out, tools):
    to = os.path.join(out, os.path.basename(path)[:-3] + "." + arch)
    os.makedirs(to, exist_ok=True)
    env = dict(os.environ, LD_LIBRARY_PATH=tools["ocloc_lib"], IGC_ShaderDumpEnable="1", IGC_DumpToCustomDir=to)
    more = ["-internal_options", DPAS] if any(o.startswith("-DENGINE=") for o in options) else []
    call([tools["ocloc"], "compile", "-file", path, "-device", arch, "-options", " ".join(options), "-out_dir",
          to, "-output", "k", *more], env)
    kernels = {}
    for file in sorted(os.listdir(to)):
        if not file.endswith(".asm"):
            continue
        text = open(os.path.join(to, file), errors="replace").read()
        name = (re.search(r"^//\.kernel (\w+)", text, re.M) or [0, 0])[1]
        if not name or name.startswith("Intel_"):
            continue
        lines = text.split("\n")
        label = lambda line: (re.match(r"^([A-Za-z_]\w*):", line.strip()) or re.match(r"^// (_0_\d+):", line)
                              or [0, 0])[1]
        body, loops = parse(lines, label, gen)
        def number(key):
            return int((re.search(r"//\." + key + r"\D+(\d+)", text) or [0, 0])[1])
        simd = int((re.search(r"simd(8|16|32)", file) or re.search(r"simd(8|16|32)", text) or [0, 8])[1])
        body = [(kind, n / simd, size) for kind, n, size in body]          # of an item, as elsewhere
        kernels[name] = Kernel(name, body, loops, regs=128, spill=number("spill size"), wave=simd,
                               stack=number("private memory size"))
    return kernels
