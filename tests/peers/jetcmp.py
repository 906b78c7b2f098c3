"""jetcmp.py: a record for `jetcl compare A.jetcmp B.jetcmp` from any framework whose values come as NumPy
arrays.

    record = Record("PyTorch on " + torch.cuda.get_device_name(), steps=10)
    record.forward("block.0", x.detach().cpu().numpy())         # names as `jetcl compare --record` has them
    record.gradient("head.weight", head.weight.grad.cpu().numpy())
    record.after(10, "head.weight", head.weight.detach().cpu().numpy())
    record.losses([2.3, 2.2])
    record.save("torch.jetcmp")
"""
import json
import numpy as np
from safetensors.numpy import save_file

KEEP = 1 << 14                                    # values of a tensor; the others are left out


def kept(count, n):
    """Which n of count elements, as core/study/record_io.c has it: evenly spread, not on a grid."""
    i = np.arange(n, dtype=np.uint64)
    if n >= count:
        return i
    hashed = i * np.uint64(2654435761) & np.uint64(0xffffffff)
    return i * np.uint64(count) // np.uint64(n) + (hashed * np.uint64(count // n) >> np.uint64(32))


class Record:
    def __init__(self, device, steps, program="PyTorch", label=None):
        self.about = {"label": label or device, "device": device, "program": program, "steps": steps,
                      "tensors": {}}
        self.values = {}

    def add(self, name, v):
        v = np.ascontiguousarray(v, dtype=np.float32).ravel()
        self.values[name] = v[kept(v.size, min(v.size, KEEP)).astype(np.int64)]
        self.about["tensors"][name] = {"count": v.size, "hash": "0", "bound": 0}

    def start(self, name, v): self.add("start/" + name, v)
    def forward(self, name, v): self.add("forward/" + name, v)
    def gradient(self, name, v): self.add("gradient/" + name, v)
    def after(self, step, name, v): self.add(f"after.{step}/{name}", v)
    def losses(self, values): self.values["loss"] = np.asarray(values, dtype=np.float64)

    def save(self, path):
        save_file(self.values, path, metadata={"format": "jetcl record 1", "record": json.dumps(self.about)})
