#!/usr/bin/env python3
"""Makes the small golden files of this folder: networks of odd sizes in double precision, forward and
gradients, written as the formulas are in the papers and not as jetcl computes them. Needs torch and
safetensors; run by hand, never by make:

    python3 tests/golden/make.py tests/golden

tiny_vit: class-token pooling. tiny_moe: a SpheroMoE ViT on images that are not square, 2 slots, heads of 5
channels, experts shared between layers. tiny_soft: Soft MoE. tiny_convnext: SpheroMoE in ConvNeXt blocks.
Inputs and parameters are drawn in float32, so they are exact; results are rounded to float32 once.
"""
import math
import sys
import torch
import torch.nn.functional as F
from safetensors.torch import save_file


def l2norm(x):
    return x / (x.square().sum(-1, keepdim=True).sqrt() + 1e-6)


def entmax15(x):
    """Root of sum max(x/2 - t, 0)^2 = 1 by bisection, then an exact step on the support, for gradients."""
    z = x / 2
    hi = z.detach().amax(-1, keepdim=True)
    lo = hi - 1
    for _ in range(80):
        mid = (lo + hi) / 2
        big = ((z.detach() - mid).clamp(min=0) ** 2).sum(-1, keepdim=True) > 1
        lo, hi = torch.where(big, mid, lo), torch.where(big, hi, mid)
    on = (z.detach() > lo).to(z.dtype)
    k = on.sum(-1, keepdim=True)
    mean = (z * on).sum(-1, keepdim=True) / k
    square = (z * z * on).sum(-1, keepdim=True)
    t = mean - ((1 - (square - k * mean * mean)) / k).sqrt()
    return on * (z - t) ** 2


def experts(p, name, x):
    """x (b e s d), each expert with weights of its own."""
    w1, b1, w2, b2 = (p[f'{name}.vit_{k}'] for k in ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias'))
    h = F.gelu(torch.einsum('besd,ehd->besh', x, w1) + b1[:, None])
    return torch.einsum('besh,edh->besd', h, w2) + b2[:, None]


def moe(p, name, x, c, owner=None):
    """x (b n d); c: core, universal, slots, soft, combine, slot_norm, key_norm; owner: whose experts."""
    b, n, d = x.shape
    own = (owner or name) + '.mlp.'
    name += '.mlp.'
    e, s = c['core'] + c.get('universal', 0), c.get('slots', 1)
    query = p[name + 'phi'].reshape(e * s, d)
    norm = c.get('slot_norm', True)
    if norm:
        query = F.layer_norm(query, (d,), p[name + 'slot_norm.weight'], p[name + 'slot_norm.bias'], 1e-5)
    if c.get('soft'):
        key = x if norm else l2norm(x)
        logits = key @ ((query if norm else l2norm(query)) * p[name + 'scale']).T
        disp, comb = logits.softmax(1), logits.softmax(2)
    else:
        logits = (l2norm(x) if c.get('key_norm', True) else x) @ l2norm(query).T
        disp, comb = (logits / p[name + 'scales.0']).softmax(1), logits / p[name + 'scales.1']
        comb = comb.softmax(2) if c.get('combine') == 'softmax' else entmax15(comb)
    slot = (disp.transpose(1, 2) @ x).reshape(b, e, s, d)
    if c.get('soft'):
        y = experts(p, own + 'experts', slot)
    else:
        parts = [experts(p, own + 'core_experts', slot[:, :c['core']])] if c['core'] else []
        parts += [experts(p, own + 'univ_experts', slot[:, c['core']:])] if c.get('universal') else []
        y = torch.cat(parts, 1)
    return comb @ y.reshape(b, e * s, d)


def norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[name + '.weight'], p[name + '.bias'], 1e-6)


def linear(p, name, x):
    return F.linear(x, p[name + '.weight'], p.get(name + '.bias'))


def mlp(p, name, x):
    return linear(p, name + '.mlp.fc2', F.gelu(linear(p, name + '.mlp.fc1', x)))


def attention(p, name, x, heads):
    b, n, d = x.shape
    q, k, v = linear(p, name + '.qkv', x).reshape(b, n, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    a = (q @ k.transpose(-1, -2) / math.sqrt(d // heads)).softmax(-1)
    return linear(p, name + '.proj', (a @ v).transpose(1, 2).reshape(b, n, d))


def owner_of(layers, i, share):
    k = sorted(layers).index(i)
    return sorted(layers)[k - k % share]


def vit(p, images, c, seen):
    x = F.conv2d(images, p['patch_embed.proj.weight'], p['patch_embed.proj.bias'], stride=c['patch'])
    x = x.flatten(2).transpose(1, 2)
    token = c.get('class_token', True)
    if token:
        x = torch.cat((p['cls_token'].expand(len(x), -1, -1), x), 1)
    x = x + p['pos_embed']
    for i in range(c['depth']):
        b = f'blocks.{i}'
        y = attention(p, b + '.attn', norm(p, b + '.norm1', x), c['heads'])
        x = x + (y * p[b + '.ls1.gamma'] if b + '.ls1.gamma' in p else y)
        y = norm(p, b + '.norm2', x)
        if i in c.get('layers', []):
            y = moe(p, b, y, c, f"blocks.{owner_of(c['layers'], i, c.get('share', 1))}")
        else:
            y = mlp(p, b, y)
        x = x + (y * p[b + '.ls2.gamma'] if b + '.ls2.gamma' in p else y)
        seen[f'block{i}'] = x
    if c.get('pool') == 'token':
        return linear(p, 'head', norm(p, 'norm', x)[:, 0])
    return linear(p, 'head', norm(p, 'fc_norm', x[:, int(token):].mean(1)))


def convnext(p, images, c, seen):
    x = F.conv2d(images, p['stem.0.weight'], p['stem.0.bias'], stride=4).permute(0, 2, 3, 1)
    x, k = norm(p, 'stem.1', x), 0
    for i, depth in enumerate(c['depths']):
        if i:
            d = f'stages.{i}.downsample'
            x = norm(p, d + '.0', x).permute(0, 3, 1, 2)
            x = F.conv2d(x, p[d + '.1.weight'], p[d + '.1.bias'], stride=2).permute(0, 2, 3, 1)
        for j in range(depth):
            b = f'stages.{i}.blocks.{j}'
            w = p[b + '.conv_dw.weight']
            y = F.conv2d(x.permute(0, 3, 1, 2), w, p[b + '.conv_dw.bias'], padding=3, groups=len(w))
            y = y.permute(0, 2, 3, 1)
            y = norm(p, b + '.norm', y)
            y = moe(p, b, y.flatten(1, 2), c).reshape(y.shape) if k in c.get('layers', []) else mlp(p, b, y)
            x = x + (y * p[b + '.gamma'] if b + '.gamma' in p else y)
            k += 1
        seen[f'stage{i}'] = x.permute(0, 3, 1, 2)
    return linear(p, 'head.fc', norm(p, 'head.norm', x.mean((1, 2))))


def expert_shapes(out, name, d, c):
    """name: of the layer that owns the experts."""
    h = int(d * c.get('mlp_ratio', 4))
    kinds = [('experts', c['core'], h)] if c.get('soft') else \
        [('core_experts', c['core'], h),
         ('univ_experts', c.get('universal', 0), int(h * c.get('ratio', .25)))]
    for kind, e, wide in kinds:
        if e:
            experts = f'{name}.mlp.{kind}.vit_'
            out[experts + 'fc1.weight'], out[experts + 'fc1.bias'] = (e, wide, d), (e, wide)
            out[experts + 'fc2.weight'], out[experts + 'fc2.bias'] = (e, d, wide), (e, d)


def layer_shapes(out, name, d, c, is_moe, own=True):
    if not is_moe:
        h = int(d * c.get('mlp_ratio', 4))
        out[name + '.mlp.fc1.weight'], out[name + '.mlp.fc1.bias'] = (h, d), (h,)
        out[name + '.mlp.fc2.weight'], out[name + '.mlp.fc2.bias'] = (d, h), (d,)
        return
    out[name + '.mlp.phi'] = (c['core'] + c.get('universal', 0), c.get('slots', 1), d)
    if c.get('slot_norm', True):
        out[name + '.mlp.slot_norm.weight'], out[name + '.mlp.slot_norm.bias'] = (d,), (d,)
    for scale in ['scale'] if c.get('soft') else ['scales.0', 'scales.1']:
        out[name + '.mlp.' + scale] = ()
    if own:
        expert_shapes(out, name, d, c)


def shapes(c):
    """Names and shapes of a network's parameters."""
    out, pair = {}, lambda name, n: out.update({name + '.weight': (n,), name + '.bias': (n,)})
    layers, k = c.get('layers', []), c['classes']
    if 'depths' in c:
        dims, at = c['dims'], 0
        out['stem.0.weight'], out['stem.0.bias'] = (dims[0], 3, 4, 4), (dims[0],)
        pair('stem.1', dims[0])
        for i, depth in enumerate(c['depths']):
            d = dims[i]
            if i:
                pair(f'stages.{i}.downsample.0', dims[i - 1])
                down = f'stages.{i}.downsample.1'
                out[down + '.weight'], out[down + '.bias'] = (d, dims[i - 1], 2, 2), (d,)
            for j in range(depth):
                b = f'stages.{i}.blocks.{j}'
                out[b + '.conv_dw.weight'], out[b + '.conv_dw.bias'] = (d, 1, 7, 7), (d,)
                out[b + '.gamma'] = (d,)
                pair(b + '.norm', d)
                layer_shapes(out, b, d, c, at in layers)
                at += 1
        pair('head.norm', dims[-1])
        out['head.fc.weight'], out['head.fc.bias'] = (k, dims[-1]), (k,)
        return out
    d, image = c['dim'], c['image']
    n = image[0] // c['patch'] * (image[1] // c['patch']) + c.get('class_token', True)
    out['patch_embed.proj.weight'], out['patch_embed.proj.bias'] = (d, 3, c['patch'], c['patch']), (d,)
    out['pos_embed'] = (1, n, d)
    if c.get('class_token', True):
        out['cls_token'] = (1, 1, d)
    for i in range(c['depth']):
        b = f'blocks.{i}'
        pair(b + '.norm1', d), pair(b + '.norm2', d)
        out[b + '.attn.qkv.weight'] = (3 * d, d)
        out[b + '.attn.proj.weight'], out[b + '.attn.proj.bias'] = (d, d), (d,)
        if c.get('qkv_bias', True):
            out[b + '.attn.qkv.bias'] = (3 * d,)
        if c.get('layer_scale'):
            out[b + '.ls1.gamma'], out[b + '.ls2.gamma'] = (d,), (d,)
        layer_shapes(out, b, d, c, i in layers, i in layers and owner_of(layers, i, c.get('share', 1)) == i)
    pair('norm' if c.get('pool') == 'token' else 'fc_norm', d)
    out['head.weight'], out['head.bias'] = (k, d), (k,)
    return out


def draw(c, seed):
    """Parameters as a trained network might have them: nothing is zero, so every gradient says something."""
    g, p = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes(c).items():
        v = torch.randn(shape, generator=g)
        fan = math.prod(shape[1:]) if len(shape) in (2, 4) else shape[-1] if shape else 1
        last = name.rsplit('.', 1)[-1]
        norm_like = 'norm' in name or last == 'gamma' or '.downsample.0.' in name
        if 'scale' in name and not shape:
            v = .5 + .05 * v
        elif norm_like or name in ('stem.1.weight', 'stem.1.bias'):
            v = (last != 'bias') + .1 * v
        elif last == 'bias' or name in ('cls_token', 'pos_embed'):
            v = .2 * v
        elif last != 'phi':
            v = v / math.sqrt(fan)
        p[name] = v.float()
    return p


def run(c, p, images, labels, smoothing=.1):
    """-> logits, loss, gradients by name, block outputs; in double."""
    p = {k: v.double().requires_grad_() for k, v in p.items()}
    seen = {}
    logits = (convnext if 'depths' in c else vit)(p, images.double(), c, seen)
    target = labels.double() * (1 - smoothing) + smoothing / labels.shape[1]
    loss = -(target * logits.log_softmax(-1)).sum(-1).mean()
    loss.backward()
    return logits, loss, {k: v.grad for k, v in p.items()}, seen


def batch(c, b, seed):
    g = torch.Generator().manual_seed(seed)
    images = torch.randn((b, 3, *c['image']), generator=g)
    labels = torch.randn((b, c['classes']), generator=g).softmax(-1)
    return images, labels


CASES = {
    'tiny_vit': dict(image=(16, 16), patch=8, dim=21, depth=2, heads=3, classes=7, pool='token',
                     layer_scale=True),
    'tiny_moe': dict(image=(8, 12), patch=4, dim=20, depth=3, heads=4, classes=5, layers=[1, 2], core=2,
                     universal=3, slots=2, share=2),
    'tiny_soft': dict(image=(12, 8), patch=4, dim=12, depth=2, heads=1, classes=5, layers=[1], core=5,
                      soft=True),
    'tiny_convnext': dict(image=(40, 32), depths=[1, 2], dims=[6, 18], classes=5, layers=[1, 2], core=2,
                          universal=3),
}


def main(folder):
    for seed, (name, c) in enumerate(CASES.items()):
        p, (images, labels) = draw(c, seed), batch(c, 3, 100 + seed)
        logits, loss, grads, seen = run(c, p, images, labels)
        out = {'in.images': images, 'in.soft_labels': labels, 'out.logits': logits, 'out.loss': loss}
        out.update({'param.' + k: v for k, v in p.items()} | {'grad.' + k: v for k, v in grads.items()})
        out.update({'aux.' + k: v for k, v in seen.items()})
        out = {k: v.detach().float().contiguous() for k, v in out.items()}
        save_file(out, f'{folder}/{name}.safetensors')


if __name__ == '__main__':
    main(sys.argv[1])
