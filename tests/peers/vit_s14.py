#!/usr/bin/env python3
"""A real pre-trained ViT-S/14 (layer scale, a grid of 37 x 37) under timm's names and under Hugging Face's:
logits of photographs equal timm's in float64, by hand:

    v/bin/python tests/peers/vit_s14.py TIMM.safetensors HF.safetensors PHOTO...

The files have no head: a random one is put on. Grids are resampled from 37 x 37 for every size but 518.
Errors are relative to the largest logit."""
import os, subprocess, sys, tempfile
import numpy as np, torch, timm
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import checkpoint_filter_fn

JETCL = os.environ.get('JETCL', 'build/jetcl')
TMP = tempfile.mkdtemp()
torch.manual_seed(0)
head = torch.randn(10, 384) * .05
MEAN, STD = torch.tensor([.485, .456, .406]).view(3, 1, 1), torch.tensor([.229, .224, .225]).view(3, 1, 1)


def jetcl(*args):
    r = subprocess.run([JETCL, *args], capture_output=True, text=True)
    if r.returncode:
        sys.exit('jetcl %s: %s' % (' '.join(args), r.stderr))


def photos(paths, size):
    out = [torch.from_numpy(np.asarray(Image.open(p).convert('RGB').resize((size, size), Image.BICUBIC)))
           for p in paths]
    return torch.stack([(x.permute(2, 0, 1).float() / 255 - MEAN) / STD for x in out])


bad = 0
for names, path in (('timm', sys.argv[1]), ('hf', sys.argv[2])):
    ours = os.path.join(TMP, names + '.safetensors')
    jetcl('convert', '-q', path, ours)
    for pool in ('token', 'avg'):
        norm = {} if pool == 'token' else {'norm': 'fc_norm'}
        w = {k.replace('norm.', 'fc_norm.', 1) if norm and k.startswith('norm.') else k: v for k,
             v in load_file(ours).items()}
        w = dict(w, **{'head.weight': head, 'head.bias': torch.zeros(10)})
        file = os.path.join(TMP, 'w.safetensors')
        save_file(w, file)
        for size in (56, 112, 224, 518):
            m = timm.create_model('vit_small_patch14_dinov2', img_size=size, num_classes=10, global_pool=pool,
                                  **({'fc_norm': True} if norm else {}))
            m.load_state_dict(checkpoint_filter_fn(dict(w), m), strict=True)
            x = photos(sys.argv[3:], size)
            with torch.no_grad():
                want = m.double().eval()(x.double())
            x_file, y, yaml = (os.path.join(TMP, n) for n in ('x.safetensors', 'y.safetensors', 'm.yaml'))
            save_file({'images': x.contiguous()}, x_file)
            open(yaml, 'w').write('model: {arch: vit, image: %d, patch: 14, dim: 384, depth: 12, heads: 6, '
                                  'classes: 10, '
                                  'layer_scale: 1, pool: %s}\n' % (size, pool))
            jetcl('probe', '--weights', file, '--input', x_file, '--out', y, yaml)
            error = ((load_file(y)['logits'].double() - want).abs().max() / want.abs().max()).item()
            bad += error > 1e-5
            print('%s %-4s %-5s %3d  %.1e' % ('ok' if error <= 1e-5 else 'not ok', names, pool, size, error),
                  flush=True)
sys.exit(bad > 0)
