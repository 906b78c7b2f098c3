#!/usr/bin/env python3
"""Checkpoints of the real libraries against jetcl, by hand: random weights at small sizes, logits of
photographs in float64 there and as `jetcl probe` gives them here, within 1e-5 of the largest; then the way
back: `convert --names`, loaded strictly there; and models that ours are not, refused in one line.

    python3 -m venv v && v/bin/pip install torch torchvision timm transformers open_clip_torch safetensors
    v/bin/pip install mmpretrain mmengine mmcv-lite            # its cases are skipped without
    make && PHOTOS=FOLDER v/bin/python tests/peers/names.py [PATTERN]

JETCL: the program, build/jetcl when not given; random images without PHOTOS.

The experiment's lines are those that `jetcl inspect` prints, with the heads put right where they are a guess.
Cases are in names_timm.py, names_hf.py and names_more.py."""
import fnmatch, glob, importlib, json, os, re, subprocess, sys, tempfile
import numpy as np, torch
from PIL import Image
from safetensors.torch import load_file, save_file

JETCL = os.environ.get('JETCL', 'build/jetcl')
TMP = tempfile.mkdtemp()
CASES, BARRED = {}, {}


def case(name, size, heads, scheme=None, lines=''):
    """make() -> (state, forward, back): their tensors, their float64 logits, their strict loading of ours."""
    def add(make):
        CASES[name] = (make, size, heads, scheme, lines)
        return make
    return add


def barred(name):
    """make() -> tensors of a model that computes something else, refused before a number is computed."""
    def add(make):
        BARRED[name] = make
        return make
    return add


def shake(model):
    """Random values everywhere, norms and scales away from their initial ones."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * .05 + (1 if p.ndim == 1 and 'weight' in key and 'grn' not in key
                                                 else 0))
            if 'gamma' in key or 'lambda' in key or 'layer_scale' in key:
                p.copy_(torch.rand_like(p))
    return model.eval()


def jetcl(*args):
    r = subprocess.run([JETCL, *args], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError('jetcl %s: %d %s' % (' '.join(args), r.returncode, r.stderr.strip()))
    return r.stdout


def tmp(name):
    return os.path.join(TMP, name)


def images_of(rows, columns):
    paths = sorted(glob.glob(os.path.join(os.environ.get('PHOTOS', TMP), '*.[jJ][pP]*')))[:6]
    if not paths:
        return torch.randn(3, 3, rows, columns, dtype=torch.float64)
    photos = [np.asarray(Image.open(p).convert('RGB').resize((columns, rows), Image.BICUBIC)) for p in paths]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).double() / 255 * 4 - 2


def logits_of(path, images, heads, lines):
    told = json.loads(jetcl('inspect', '--json', path))['model']
    model = told['experiment']
    if not told['heads_known']:
        model = re.sub(r'heads: \d+', 'heads: %d' % heads, model)
    for key in 'patch', 'pool':
        if key in lines:
            model = re.sub(r', %s: \w+' % key, '', model)
    model = re.sub(r'image: [^,\[]*(\[.*?\])?,', '', model) + ', image: [%d, %d]' % images.shape[2:] + lines
    yaml, x, y = tmp('m.yaml'), tmp('x.safetensors'), tmp('y.safetensors')
    open(yaml, 'w').write('model: {%s, drop_path: off}\n' % model)
    save_file({'images': images.float().contiguous()}, x)
    jetcl('probe', '-q', '--weights', path, '--input', x, '--out', y, yaml)
    return load_file(y)['logits'].double()


def store(state):
    """As their own files: a state is a dict of tensors, or a function that writes a file and names it."""
    if callable(state):
        return state()
    path = tmp('w.safetensors')
    save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, path)
    return path


def check(name):
    make, size, heads, scheme, lines = CASES[name]
    state, forward, back = make()
    path = store(state)
    images = images_of(*(size if isinstance(size, tuple) else (size, size)))
    with torch.no_grad():
        want = forward(images.float().double())
    got = logits_of(path, images, heads, lines)
    error = ((got - want).abs().max() / want.abs().max()).item()
    ok, note = error < 1e-5, ''
    if scheme:                                       # through our names and back into the library
        ours, theirs = tmp('o.safetensors'), tmp('t.safetensors')
        jetcl('convert', '-q', path, ours)
        jetcl('convert', '-q', ours, theirs, '--names', scheme)
        again = back(load_file(theirs))
        with torch.no_grad():
            same = torch.equal(again(images.float().double()), want)
        ok, note = ok and same, ', back: ' + ('equal' if same else 'DIFFERENT')
    print('%s %-36s %.1e%s' % ('ok' if ok else 'not ok', name, error, note), flush=True)
    return ok


def check_barred(name):
    path = store(BARRED[name]())
    told, line = json.loads(jetcl('inspect', '--json', path)).get('model'), 'inspect reads no model'
    if told:
        try:
            logits_of(path, images_of(*(([32] * 2 if 'convnext' not in name else [64] * 2))), 4, '')
            line = None
        except RuntimeError as e:
            line = str(e).split('.yaml: ', 1)[1]     # exit 2: it has no head, which is what is left out
            line = line[2:] if re.match('[23] ', line) and '\n' not in line else None
    print('%s %-40s %s' % ('ok' if line else 'not ok', name, line), flush=True)
    return line is not None


def simple(model, forward=lambda m, x: m(x), rename=lambda state: state):
    """A model and its state_dict(), the tensors renamed as some file has them."""
    state = rename({k: v.clone() for k, v in model.state_dict().items()})
    model = model.double()

    def back(new):
        model.load_state_dict({k: v.double() for k, v in new.items()}, strict=True)
        return lambda x: forward(model, x)
    return state, lambda x: forward(model, x), back


def run(cases, one, pattern):
    bad = 0
    for name in cases:
        if fnmatch.fnmatch(name, pattern):
            torch.manual_seed(1)
            try:
                bad += not one(name)
            except ImportError as e:
                print('skip %-34s %s' % (name, e), flush=True)
            except Exception as e:
                bad += 1
                print('not ok %-32s %s: %s' % (name, type(e).__name__, str(e)[:300]), flush=True)
    return bad


if __name__ == '__main__':
    sys.modules['names'] = sys.modules['__main__']   # the cases fill these tables
    for module in 'names_timm', 'names_hf', 'names_more':
        importlib.import_module(module)
    wanted = (sys.argv[1:] or ['*'])[0]
    sys.exit(run(CASES, check, wanted) + run(BARRED, check_barred, wanted) > 0)
