"""What a kernel's step would reach of a device's multiply-adds, from counts alone. cl/NOTES.md has the model
and its sources; every number here is an estimate, but the same one before and after a change.

Of a unit (SM, CU, Xe core): parts: schedulers or SIMDs; lanes: of a wave that a part serves in a cycle; fmas:
the most multiply-adds a lane does in a cycle; registers: 32-bit, of a unit; grain: registers are dealt in
steps; local: bytes; waves: resident; one: do scalar instructions, waits and memory accesses take slots of the
arithmetic?; port, l2: bytes a cycle out of local and global memory; engine: its number in cl/mma.h; matrix:
bf16 multiply-adds of a part in a cycle at the engine's peak, floats: those of F32 or TF32 (cl/mma.h); reach:
share of both which its instruction can have (Hopper's peak needs wgmma)."""
import collections

Unit = collections.namedtuple("Unit", "parts lanes fmas registers grain local waves one port l2 fake reader "
                              "engine matrix floats reach", defaults=(0, 0, 0, 1))
UNITS = {
    "sm_80":   Unit(4, 16, 1, 65536, 8, 164 << 10, 64, True, 128, 64, "nvidia", "nvidia", 1, 256, 128),
    "sm_90":   Unit(4, 32, 1, 65536, 8, 228 << 10, 64, True, 128, 64, "nvidia", "nvidia", 1, 512, 256, 0.62),
    "sm_120":  Unit(4, 32, 1, 65536, 8, 100 << 10, 48, True, 128, 64, "nvidia", "nvidia", 1, 64, 32),
    "gfx906":  Unit(4, 16, 1, 65536, 4, 64 << 10, 40, False, 128, 64, "cdna", "amd"),
    "gfx90a":  Unit(4, 16, 2, 131072, 8, 64 << 10, 32, False, 128, 64, "cdna", "amd", 2, 128, 32),
    "gfx942":  Unit(4, 16, 2, 131072, 8, 64 << 10, 32, False, 128, 64, "cdna", "amd", 2, 256, 32),
    "gfx1030": Unit(2, 32, 1, 65536, 8, 64 << 10, 32, False, 128, 64, "rdna", "amd"),
    "gfx1100": Unit(2, 32, 2, 98304, 24, 64 << 10, 32, False, 128, 64, "rdna", "amd", 3, 128),
    "gfx1201": Unit(2, 32, 2, 98304, 24, 64 << 10, 32, False, 128, 64, "rdna", "amd"),
    "dg2":     Unit(16, 8, 1, 16 * 8 * 128 * 8, 1, 64 << 10, 128, True, 128, 64, "arc", "intel", 4, 64),
    "mtl":     Unit(16, 8, 1, 16 * 8 * 128 * 8, 1, 64 << 10, 128, True, 128, 64, "arc", "intel"),
}


def groups(unit, kernel, items, local):
    """Work-groups that a unit holds at once."""
    waves = -(-items // kernel.wave)
    dealt = -(-max(kernel.regs, 1) // unit.grain) * unit.grain
    if unit.reader == "intel":                   # a thread has all of its registers
        return max(0, min(unit.waves // waves, unit.local // local if local else unit.waves))
    by_registers = unit.parts * (unit.registers // unit.parts // (dealt * kernel.wave)) // waves
    return max(0, min(by_registers, unit.waves // waves, unit.local // local if local else unit.waves))


# A barrier, or the way of a load, is hidden by other groups or waves; the shares are assumptions.
def cover(count, waves, unit):
    share = {0: 0.0, 1: 0.88, 2: 0.94}.get(count, 0.97)
    return share * (0.8 if count * waves < 2 * unit.parts else 1)


def peak(unit, kernel, count, items, local, floats=False):
    """Share of the peak of multiply-adds that one step's counts allow, and what limits it. floats: does the
    engine, if one multiplies, multiply those?"""
    engine = unit.floats if floats else unit.matrix
    # cycles that an arithmetic instruction of a wave takes of its part
    slot = max(1, kernel.wave // unit.lanes)
    fma, arithmetic = count["fma"], count["alu"] + count["dual"]
    special = 4 * count["special"]
    if unit.reader == "nvidia":
        pipe = fma * slot
        issue = count["all"] + 3 * count["special"] + (fma if slot > 1 else 0) * 0
        times = {"multiply-adds": pipe, "issue": max(issue, pipe)}
    elif unit.one:                               # Intel: sends and branches are issued beside arithmetic
        times = {"issue": slot * (fma + arithmetic + special)}
    else:
        times = {"issue": slot * (fma + arithmetic + special)}
    if count["mma"]:                             # beside the arithmetic, but issued with it
        times = {"engine": count["fmas"] * kernel.wave / (engine * unit.reach), **times}
    half = 2                                     # neighbours read the same values, or half of a line's width
    moved = count["lload_bytes"] * kernel.wave / half + count["lstore_bytes"] * kernel.wave
    accesses = (count["lload"] + count["lstore"]) * unit.parts
    times["local memory"] = max(unit.parts * moved / unit.port, accesses)
    times["global memory"] = unit.parts * kernel.wave * (count["load_bytes"] + count["store_bytes"]) / unit.l2
    best = count["fmas"] * (kernel.wave / engine if count["mma"] else slot / unit.fmas)
    what = max(times, key=times.get)
    n = groups(unit, kernel, items, local)
    return best / max(times[what], 1e-9) * cover(n, -(-items // kernel.wave), unit), what
