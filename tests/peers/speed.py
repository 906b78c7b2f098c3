#!/usr/bin/env python3
"""Training and forward speed beside PyTorch on this machine's processor, fp32, as a table, by hand:

    python3 tests/peers/speed.py [--rounds 3] [--seconds 3] [--compile] [--forward] [--cpu-time] [vit_s32
    moe_s32 vit_t moe_t]

PyTorch from pip or Debian, whichever this Python has; the models below are plain PyTorch of the same sizes as
`jetcl bench step.NAME` takes. Both programs alternate (A B A B ..), each for `seconds` a round, and each row
has the medians of the rounds' medians; `of peak` is jetcl's multiply-adds against the device's own peak.
--compile adds torch.compile. The last column is the spread of jetcl's rounds: a machine with other work gives
other ratios. --cpu-time counts processor time, divided by the processors, for such a machine; PyTorch's threads
sleep while they wait, so that waiting is not counted as work. Its allocator is told to keep its memory, which
otherwise costs it page faults in each step."""
import argparse, json, os, statistics, subprocess, sys, time

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 28)}
WANTED = dict(ALLOCATOR, **({"OMP_WAIT_POLICY": "PASSIVE"} if "--cpu-time" in sys.argv else {}))
if any(k not in os.environ for k in WANTED):                   # read when a process starts
    os.execve(sys.executable, [sys.executable, *sys.argv], dict(WANTED, **os.environ))
import torch
import torch.nn.functional as F
from torch import nn

JETCL = os.environ.get("JETCL", "build/jetcl")
#                image patch dim depth heads classes batch  MoE layers, core, universal
MODELS = {
    "vit_s32": (32, 4, 96, 6, 3, 10, 128, (), 0, 0),
    "moe_s32": (32, 4, 96, 6, 3, 10, 128, (3, 4, 5), 16, 32),
    "vit_t": (224, 16, 192, 12, 3, 1000, 32, (), 0, 0),
    "moe_t": (224, 16, 192, 12, 3, 1000, 32, (6, 7, 8, 9, 10, 11), 98, 196),
}


class Entmax15(torch.autograd.Function):
    """max(x/2 - tau, 0)^2 along the last axis, tau found in sorted order (Peters, Niculae and Martins 2019)."""
    @staticmethod
    def forward(ctx, x):
        x = (x - x.amax(-1, keepdim=True)) / 2
        s = x.sort(-1, descending=True).values
        k = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
        mean = s.cumsum(-1) / k
        rest = (1 - k * ((s * s).cumsum(-1) / k - mean * mean)) / k
        tau = mean - rest.clamp(min=0).sqrt()
        tau = tau.gather(-1, (tau <= s).sum(-1, keepdim=True) - 1)
        y = (x - tau).clamp(min=0) ** 2
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        g = ctx.saved_tensors[0].sqrt()
        dx = dy * g
        return dx - g * (dx.sum(-1, keepdim=True) / g.sum(-1, keepdim=True))


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * q.shape[-1] ** -.5) @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Experts(nn.Module):
    """(e b d) -> (e b d), each with matrices of its own."""
    def __init__(self, e, d, hidden):
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(e, d, hidden) * .02), nn.Parameter(torch.zeros(e, 1,
                                                                                                   hidden))
        self.w2, self.b2 = nn.Parameter(torch.randn(e, hidden, d) * .02), nn.Parameter(torch.zeros(e, 1, d))

    def forward(self, x):
        return torch.baddbmm(self.b2, F.gelu(torch.baddbmm(self.b1, x, self.w1)), self.w2)


class SpheroMoE(nn.Module):
    """One slot an expert; cosine routing, two temperatures, softmax over tokens, entmax over slots, noise
    before both."""
    def __init__(self, d, core, universal):
        super().__init__()
        self.core, self.phi, self.norm = core, nn.Parameter(torch.randn(core + universal, d)), nn.LayerNorm(d)
        self.t = nn.Parameter(torch.ones(2))
        self.big, self.small = Experts(core, d, 4 * d), Experts(universal, d, d)

    def forward(self, x):
        logits = F.normalize(x, dim=-1) @ F.normalize(self.norm(self.phi), dim=-1).t()
        dispatch, combine = logits / self.t[0], logits / self.t[1]
        dispatch, combine = (l + torch.randn_like(l) / l.shape[-1] for l in (dispatch, combine))
        slots = (dispatch.softmax(1).transpose(1, 2) @ x).transpose(0, 1)
        y = torch.cat((self.big(slots[:self.core]), self.small(slots[self.core:])))
        return Entmax15.apply(combine) @ y.transpose(0, 1)


class Block(nn.Module):
    def __init__(self, d, heads, mlp):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d, 1e-6), nn.LayerNorm(d, 1e-6)
        self.attn, self.mlp = Attention(d, heads), mlp

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, image, patch, d, depth, heads, classes, batch, layers, core, universal):
        super().__init__()
        self.patch = nn.Conv2d(3, d, patch, patch)
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1,
                                                                                          (image // patch) ** 2
                                                                                          + 1, d))
        self.blocks = nn.Sequential(*(Block(d, heads, SpheroMoE(d, core, universal) if i in layers else Mlp(d))
                                      for i in range(depth)))
        self.norm, self.head = nn.LayerNorm(d, 1e-6), nn.Linear(d, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


class Peer:
    """A step, or a forward pass, of one model; built once, measured in each round."""
    def __init__(self, size, forward, compiled):
        torch.manual_seed(0)
        self.batch, self.forward = size[6], forward
        self.model = Vit(*size).train(not forward)
        self.run = torch.compile(self.model) if compiled else self.model
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=.05)
        self.x = torch.randn(self.batch, 3, size[0], size[0])
        self.y = torch.randint(size[5], (self.batch,))

    def step(self):
        if self.forward:
            with torch.no_grad():
                self.run(self.x)
            return
        loss = F.cross_entropy(self.run(self.x), self.y, label_smoothing=.1)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.)
        self.optimiser.step()
        assert loss.item() == loss.item(), "the loss became NaN"

    def images_per_second(self, seconds, cpu_time):
        clock = (lambda: time.process_time() / torch.get_num_threads()) if cpu_time else time.perf_counter
        times, end = [], time.time() + seconds
        self.step()
        while len(times) < 3 or time.time() < end:
            start = clock()
            self.step()
            times.append(clock() - start)
        return self.batch / statistics.median(times)


def jetcl(name, seconds, cpu_time):
    r = subprocess.run([JETCL, "bench", name, "--device", "cpu", "--json", "--seconds", str(seconds)]
                       + ["--cpu-time"] * cpu_time, capture_output=True, text=True,
                       env={k: v for k, v in os.environ.items() if k not in ALLOCATOR})
    if r.returncode:
        sys.exit("jetcl bench %s: %s" % (name, r.stderr.strip()))
    return next(row for row in map(json.loads, r.stdout.splitlines()) if row["name"] == name)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--forward", action="store_true")
    p.add_argument("--cpu-time", action="store_true")
    p.add_argument("models", nargs="*", default=list(MODELS))
    o = p.parse_args()
    kind = "forward" if o.forward else "step"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    peers = ["eager"] + ["compiled"] * o.compile
    print("PyTorch %s, %d threads; images/s, %s" % (torch.__version__, torch.get_num_threads(), kind))
    print("%-10s %8s %8s" % ("", "jetcl", "of peak") + "".join("%10s" % n for n in peers) + "%8s %8s"
          % ("ratio", "spread"))
    for name in o.models:
        if name not in MODELS:
            sys.exit("no model '%s': %s" % (name, ", ".join(MODELS)))
        built = [Peer(MODELS[name], o.forward, n == "compiled") for n in peers]
        ours, peak, theirs = [], [], [[] for _ in peers]
        for _ in range(o.rounds):
            row = jetcl("%s.%s" % (kind, name), o.seconds, o.cpu_time)
            ours.append(row["img_s"])
            peak.append(row.get("of_peak", 0))
            for peer, to in zip(built, theirs):
                to.append(peer.images_per_second(o.seconds, o.cpu_time))
        own, best = statistics.median(ours), [statistics.median(t) for t in theirs]
        print("%-10s %8.1f %6.0f %%" % (name, own, 100 * statistics.median(peak))
              + "".join("%10.1f" % b for b in best) +
              "%8.2f %6.0f %%" % (own / max(best), 100 * (max(ours) - min(ours)) / own), flush=True)


if __name__ == "__main__":
    main()
