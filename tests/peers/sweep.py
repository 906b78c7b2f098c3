#!/usr/bin/env python3
"""Every model that timm builds under our schemes' names, by hand: random weights, two blocks of 48 channels,
saved as timm's hub saves them; jetcl must give its logits or refuse the file. One image, as `predict CAT.jpg`
has.

    make && v/bin/python tests/peers/sweep.py [REGEX]          # the environment of names.py

Prints `ok`, `refused` or `WRONG`, the name, and the error or the message. Exit code 1 if any is wrong."""
import contextlib, io, json, os, re, shutil, sys, warnings
import timm, torch
from safetensors.torch import load_file, save_file
from names import jetcl, shake, tmp

USUAL = 'vit_|deit|flexivit|eva|beit|convnext|naflexvit|test_vit|test_convnext|vitamin|inception_next'


def model_of(name):
    small = (dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)) if 'convnext' in name
             else dict(depth=2, embed_dim=48, num_heads=4))
    return shake(timm.create_model(name, num_classes=7, **small))


def side_of(model):
    size = getattr(getattr(model, 'patch_embed', None), 'img_size', None)
    return size[0] if size else model.pretrained_cfg['input_size'][1]


def logits_of(folder, images, name):
    told = json.loads(jetcl('inspect', '--json', folder)).get('model')
    if not told:
        raise RuntimeError('inspect reads no model')
    lines = re.sub(r'image: [^,\[]*(\[.*?\])?,', '', told['experiment'])
    if not told['heads_known'] and 'convnext' not in name:
        lines = re.sub(r'heads: \d+', 'heads: 4', lines)
    yaml, x, y = tmp('m.yaml'), tmp('x.safetensors'), tmp('y.safetensors')
    lines += ', image: [%d, %d]' % images.shape[2:]
    open(yaml, 'w').write('model: {%s, drop_path: off}\n' % lines)
    save_file({'images': images}, x)
    jetcl('probe', '-q', '--weights', folder, '--input', x, '--out', y, yaml)
    return load_file(y)['logits'].double()


def verdict(name):
    torch.manual_seed(1)
    model, folder = model_of(name), tmp('model')
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        timm.models.save_for_hf(model, folder, safe_serialization=True)
    images = torch.randn(1, 3, side_of(model), side_of(model))
    with torch.no_grad():
        want = model.double()(images.double())
    try:
        got = logits_of(folder, images, name)
    except RuntimeError as e:
        return 'refused', str(e).replace(os.path.dirname(folder), '')
    error = ((got - want).abs().max() / want.abs().max()).item()
    return 'ok' if error < 1e-5 else 'WRONG', '%.1e' % error


def main():
    warnings.filterwarnings('ignore')
    wrong = 0
    for name in timm.list_models():
        if not re.match(sys.argv[1] if len(sys.argv) > 1 else USUAL, name):
            continue
        try:
            what, why = verdict(name)
        except Exception as e:                       # models that cannot be made so small
            what, why = 'not made', '%s %s' % (type(e).__name__, str(e)[:100])
        wrong += what == 'WRONG'
        print(what, name, why, flush=True)
    sys.exit(wrong > 0)


if __name__ == '__main__':
    main()
