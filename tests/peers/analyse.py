#!/usr/bin/env python3
"""Every number of `jetcl analyse` about experts once more in NumPy, from what `jetcl probe --activations` gives
for the same images; silencing a group against a checkpoint whose fc2 weights and biases of that group are
zeros. By hand:

    v/bin/python tests/peers/analyse.py RUN [IMAGES]

RUN: a run's folder of a ViT or ConvNeXt with SpheroMoE layers and one head. IMAGES: 16 at most, so that both
programs run one batch."""
import json, os, subprocess, sys, tempfile
import numpy as np
from safetensors.numpy import load_file, save_file

JETCL, RUN = os.environ.get('JETCL', 'build/jetcl'), sys.argv[1]
IMAGES = sys.argv[2] if len(sys.argv) > 2 else '16'
TMP = tempfile.mkdtemp()
IN, LAST = TMP + '/images.safetensors', RUN + '/ckpt/last.safetensors'
worst = 0


def jetcl(*args):
    r = subprocess.run([JETCL, *args, '-q'], capture_output=True, text=True)
    if r.returncode:
        sys.exit('jetcl %s: %s' % (' '.join(args), r.stderr))


def probe(weights):
    jetcl('probe', '--weights', weights, '--input', IN,
          '--activations=*.mlp.dispatch,*.mlp.combine,*.mlp.experts', '--out', TMP + '/y.safetensors',
          RUN + '/config.yaml')
    return {k: v.astype(np.float64) for k, v in load_file(TMP + '/y.safetensors').items()}


def same(what, got, want):
    global worst
    if got is None or want is None or np.isnan(want):
        if got is not None and not (want is None or np.isnan(want)):
            sys.exit('not ok %s: %s, NumPy has %s' % (what, got, want))
        return
    apart = abs(got - want) / max(1, abs(want))
    worst = max(worst, apart)
    if not apart < 1e-6:
        sys.exit('not ok %s: %.9g, NumPy has %.9g' % (what, got, want))


def entropy(p, axis):
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis)


def row(w, e, core):                              # an expert's weights and biases
    kind, i = ('core', e) if e < core else ('univ', e - core)
    return np.concatenate([w['%s_experts.vit_%s' % (kind, t)][i].ravel()
                           for t in ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')]).astype(np.float64)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


jetcl('analyse', RUN, '--images', IMAGES, '--each', '--save-images', IN, '--out', TMP + '/a')
A, base, weights = json.load(open(TMP + '/a/analysis.json')), probe(LAST), load_file(LAST)
labels = load_file(IN)['labels']
first = base['logits'].argmax(1)
same('top1', A['top1'], 100 * np.mean(first == labels))
blocks = sorted({k[:-len('.mlp.combine')] for k in base if k.endswith('.mlp.combine')},
                key=lambda b: [int(x) for x in b.split('.') if x.isdigit()])
old = RUN + '/ckpt/recycled.safetensors'
old = load_file(old) if os.path.exists(old) else None

for L, block in zip(A['layers'], blocks):
    D, Y = base[block + '.mlp.dispatch'], base[block + '.mlp.experts']          # b n e s; e b s d
    b, n, E, s = D.shape
    C = base[block + '.mlp.combine'].reshape(b, n, E, s)
    core, token = L['core'], C.sum(3)
    mean = token.mean(1)                                                        # b e
    share = mean.mean(0) / mean.mean(0).sum()
    o = np.einsum('bnes,ebsd->ebnd', C, Y)
    groups = {'core': o[:core].sum(0), 'universal': o[core:].sum(0)}
    o = o.sum(0)
    classes = range(labels.max() + 1)
    joint = np.stack([mean[labels == y].sum(0) for y in classes], 1)            # e y
    joint /= joint.sum()
    py = joint.sum(0)
    given = joint / np.maximum(joint.sum(1, keepdims=True), 1e-300)
    bits = (given * np.log2(np.where(given > 0, given / py, 1))).sum(1)
    w = {k[len(block) + 5:]: v for k, v in weights.items() if k.startswith(block + '.mlp.') and 'experts' in k}
    w0 = old and {k[len(block) + 5:]: v for k, v in old.items() if k.startswith(block + '.mlp.')
                  and 'experts' in k}
    same(block + ' entropy', L['entropy'], entropy(share, 0) / np.log(E))
    same(block + ' token entropy', L['token_entropy'], entropy(token, 2).mean())
    same(block + ' information', L['mutual_information'], (share * bits).sum())
    for e, x in enumerate(L['experts']):
        at = '%s expert %d ' % (block, e)
        same(at + 'share', x['share'], share[e])
        same(at + 'dispatch', x['dispatch'], D[:, :, e].sum((1, 2)).mean())
        same(at + 'spread', x['dispatch_tokens'], np.exp(entropy(D[:, :, e], 1)).mean())
        same(at + 'norm', x['output_norm'], np.sqrt((Y[e] ** 2).sum() / (b * s)))
        same(at + 'bits', x['specialisation'], bits[e])
        near = x['nearest']['expert']
        alike = [cosine(Y[e].ravel(), Y[i].ravel()) if i != e else -2 for i in range(E)]
        same(at + 'nearest', x['nearest']['outputs'], max(alike))
        if (near < core) == (e < core):
            same(at + 'weights', x['nearest']['weights'], cosine(row(w, e, core), row(w, near, core)))
        if old:
            was = row(w0, e, core)
            same(at + 'moved', x['moved'], np.linalg.norm(row(w, e, core) - was) / np.linalg.norm(was))
    for name, part in groups.items():
        g = L['contribution'][name]
        if not g:
            continue
        same(block + ' norm', g['norm'], np.sqrt((part ** 2).sum() / (o ** 2).sum()))
        same(block + ' projection', g['projection'], (part * o).sum() / (o ** 2).sum())
        same(block + ' combine', g['combine'], share[:core].sum() if name == 'core' else share[core:].sum())
        zero = dict(weights)
        for t in ('weight', 'bias'):
            key = '%s.mlp.%s_experts.vit_fc2.%s' % (block, 'core' if name == 'core' else 'univ', t)
            zero[key] = np.zeros_like(zero[key])
        save_file(zero, TMP + '/zero.safetensors')
        then = probe(TMP + '/zero.safetensors')['logits'].argmax(1)
        same('%s without %s' % (block, name), g['silenced']['lost'],
             100 * (np.mean(first == labels) - np.mean(then == labels)))
        same('%s changed without %s' % (block, name), g['silenced']['changed'], np.mean(first != then))
print('ok analyse: %d layers, %d images, at most %.1e apart' % (len(blocks), len(labels), worst))
