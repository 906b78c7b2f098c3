"""A ViT or V-JetMoE of ours in PyTorch, over the tensors of one of our checkpoints, and its optimiser's groups:
what mini.py and autocast.py train. GELU, mean over patches before the head, one slot per expert."""
import torch
import torch.nn.functional as F


def entmax15(z):
    z = (z - z.amax(-1, keepdim=True)) / 2
    s = z.sort(-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    mean, square = s.cumsum(-1) / rank, (s * s).cumsum(-1) / rank
    tau = mean - ((1 - rank * (square - mean * mean)) / rank).clamp(min=1e-12).sqrt()
    support = (tau <= s).sum(-1, keepdim=True)
    return (z - tau.gather(-1, support - 1)).clamp(min=0) ** 2


class Twin:
    """w: name -> tensor, which are trained. noise: of routing, while training."""
    def __init__(self, w, heads, patch, dropout=0, noise=True):
        self.w = {k: v.clone().requires_grad_() for k, v in w.items() if v.is_floating_point()}
        self.heads, self.patch, self.dropout, self.noise = heads, patch, dropout, noise
        self.dim = w["cls_token"].shape[-1]
        self.depth = 1 + max(int(k.split(".")[1]) for k in w if k.startswith("blocks."))

    def norm(self, x, name, eps=1e-6):
        return F.layer_norm(x, (self.dim,), self.w[name + ".weight"], self.w[name + ".bias"], eps)

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def attention(self, x, name):
        b, n, d = x.shape
        q, k, v = self.linear(x, name + ".qkv").reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        return self.linear(y, name + ".proj")

    def experts(self, x, name, train):                     # x: e (b s) d
        for fc in ("vit_fc1", "vit_fc2"):
            w, b = self.w[name + fc + ".weight"], self.w[name + fc + ".bias"]
            x = torch.baddbmm(b[:, None], x, w.transpose(1, 2))
            x = F.dropout(F.gelu(x) if fc == "vit_fc1" else x, self.dropout, train)
        return x

    def routing(self, x, name, train):
        """Dispatch over tokens, combine by entmax over slots; in float32, under autocast too."""
        phi = self.w[name + ".phi"].reshape(-1, self.dim)
        with torch.autocast("cpu", enabled=False):
            query = F.normalize(self.norm(phi, name + ".slot_norm", 1e-5), dim=-1)
            logits = F.normalize(x.float(), dim=-1) @ query.t()
            noise = torch.randn_like(logits) / len(phi) if self.noise and train else 0
            return ((logits / self.w[name + ".scales.0"] + noise).softmax(1),
                    entmax15(logits / self.w[name + ".scales.1"] + noise))

    def moe(self, x, name, train):
        disp, comb = self.routing(x, name, train)
        core = len(self.w[name + ".core_experts.vit_fc1.weight"])
        slots = (disp.transpose(1, 2) @ x).transpose(0, 1)
        y = torch.cat([self.experts(slots[:core], name + ".core_experts.", train),
                       self.experts(slots[core:], name + ".univ_experts.", train)])
        return comb @ y.transpose(0, 1)

    def mlp(self, x, name):
        return self.linear(F.gelu(self.linear(x, name + ".fc1")), name + ".fc2")

    def __call__(self, x, train):
        """Images, normalized, to logits."""
        w = self.w
        x = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], self.patch)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([w["cls_token"].expand(len(x), 1, self.dim), x], 1) + w["pos_embed"]
        for i in range(self.depth):
            b = "blocks.%d" % i
            x = x + self.attention(self.norm(x, b + ".norm1"), b + ".attn")
            y = self.norm(x, b + ".norm2")
            x = x + (self.moe(y, b + ".mlp", train) if b + ".mlp.phi" in w else self.mlp(y, b + ".mlp"))
        return self.linear(self.norm(x[:, 1:].mean(1), "fc_norm"), "head")

    def used(self):
        return {k: v for k, v in self.w.items() if not k.startswith("norm.")}

    def group(self, name, v, decay, layer_decay):
        """Learning rate and decay as the released code gives them."""
        top = self.depth + 1
        layer = (int(name.split(".")[1]) + 1 if name.startswith("blocks.")
                 else 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else top)
        if any(part in name for part in ("phi", "scale", "slot", "experts")):
            layer = top
        plain = name.endswith(".bias") or name == "pos_embed" or "mlp.scale" in name
        if "slot_norm" in name:
            plain = False
        elif v.dim() == 1 and "norm" in name:
            plain = True
        return {"params": [v], "scale": layer_decay ** (top - layer), "weight_decay": 0 if plain else decay}

    def optimiser(self, lr, decay, layer_decay=1):
        """AdamW; its groups' `scale` is to multiply the schedule's learning rate."""
        return torch.optim.AdamW([self.group(k, v, decay, layer_decay) for k, v in self.used().items()], lr=lr)
