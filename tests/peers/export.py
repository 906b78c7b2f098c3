#!/usr/bin/env python3
"""`jetcl export --onnx` against ONNX Runtime, by hand: every option of the networks at small sizes with random
weights, logits as `jetcl probe` gives them within 1e-5 of the largest, for one and for five images; the file
passes ONNX's checker; read back by jetcl it holds the same weights bit for bit.

    python3 -m venv v && v/bin/pip install onnx onnxruntime safetensors
    make && v/bin/python tests/peers/export.py [PATTERN]       # JETCL: the program, build/jetcl when not
    given"""
import fnmatch, json, os, re, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

JETCL = os.environ.get('JETCL', 'build/jetcl')
TMP = tempfile.mkdtemp()
CLASSES = ['cat', 'dog "x"', 'élan']
RNG = np.random.default_rng(1)
VIT = 'arch: vit, image: 32, patch: 8, dim: 24, depth: 3, heads: 3'
CONVNEXT = 'arch: convnext, image: 64, depths: [1, 1, 2, 1], dims: [8, 12, 16, 20]'
MOE = ', moe: {layers: [1, 2], core: 3, universal: 5, %s}'
CASES = {
    'vit': VIT, 'vit_avg': VIT + ', pool: avg', 'vit_token': VIT + ', pool: token',
    'vit_no_class_token': VIT + ', class_token: off', 'vit_dist': VIT + ', pool: token, dist_token: on',
    'vit_dist_head': VIT + ', pool: token, dist_token: head', 'vit_registers': VIT + ', registers: 3',
    'vit_registers_avg': VIT + ', registers: 3, class_token: off', 'vit_layer_scale': VIT
         + ', layer_scale: 0.1',
    'vit_pre_norm': VIT + ', pre_norm: on, norm_eps: 1e-5, act: quick_gelu', 'vit_no_bias': VIT
         + ', qkv_bias: off, head_bias: off',
    'vit_norm_avg': VIT + ', pool: norm_avg, registers: 2, act: gelu_tanh',
    'vit_wide_mlp': VIT + ', mlp_ratio: 2.5', 'convnext': CONVNEXT, 'convnext_grn': CONVNEXT
         + ', grn: on, layer_scale: off',
    'convnext_odd': CONVNEXT.replace('64', '75'),
    'convnext_sphero': CONVNEXT + ', moe: {layers: [2, 3], core: 3, universal: 5}',
    'convnext_soft': CONVNEXT + ', moe: {kind: soft, layers: [4], core: 4}',
}
for name, options in {
        'sphero': '', 'sphero_softmax': 'combine: softmax', 'sphero_slots': 'slots: 3',
                      'sphero_heads': 'multi_head: on',
        'sphero_share': 'share: 2', 'sphero_proj': 'key_proj: on, query_proj: on',
                      'sphero_scale': 'layer_scale: on',
        'sphero_no_norms': 'slot_norm: off, key_norm: off', 'sphero_tokens': 'input_as_phi: on',
        'sphero_one_temperature': 'shared_temperature: on', 'sphero_core': 'universal: 0'}.items():
    CASES[name] = VIT + MOE.replace('universal: 5, ' if 'universal' in options else '\0', '') % options
for kind in 'soft', 'vmoe':
    CASES[kind] = VIT + ', moe: {kind: %s, layers: [1, 2], core: 6, slots: 2}' % kind
    CASES[kind + '_heads'] = VIT + ', moe: {kind: %s, layers: [2], core: 6%s}' % (
        kind, ', multi_head: on' if kind == 'soft' else ', combine: entmax15')


def jetcl(*args):
    r = subprocess.run([JETCL, *args], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError('jetcl %s: %d %s' % (' '.join(args), r.returncode, r.stderr.strip()))
    return r.stdout


def path(name):
    return os.path.join(TMP, name)


def weights(model):
    """A checkpoint of the parameters that the graph names, of random values."""
    open(path('m.yaml'), 'w').write('model: {%s, classes: 3, drop_path: off}\n' % model)
    state = {}
    for name, shape in re.findall(r'^ *\d+  (\S+) +param +\[([\d ]*)\]',
                                  jetcl('config', path('m.yaml'), '--graph', '--device', 'null'), re.M):
        shape = [int(n) for n in shape.split()]
        scale = name.endswith('weight') and len(shape) == 1 or 'gamma' in name or 'scale' in name
        if name not in ('step', 'interpolation'):
            state[name] = np.asarray(RNG.normal(0, .05, shape) + scale, np.float32)
    save_file(state, path('w.safetensors'), {'classes': json.dumps(CLASSES), 'mean': '120 110 100',
                                             'std': '60 59 58'})
    return state


def run(model, images):
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    return session.run(None, {'images': images})[0]


def near(name, got, want, limit):
    error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
    if not error <= limit:
        raise RuntimeError('%s: %.2g of the largest' % (name, error))
    return error


def check(name):
    state, size = weights(CASES[name]), int(re.search(r'image: (\d+)', CASES[name])[1])
    for file, *option in ('m.onnx',), ('h.onnx', '--fp16'), ('p.onnx', '--probabilities'):
        jetcl('export', path('m.yaml'), path('w.safetensors'), '--onnx', path(file), *option)
    images = RNG.normal(0, 1, (5, 3, size, size)).astype(np.float32)
    save_file({'images': images}, path('x.safetensors'))
    jetcl('probe', '--weights', path('w.safetensors'), '--input', path('x.safetensors'), '--out',
          path('y.safetensors'), path('m.yaml'))
    want = load_file(path('y.safetensors'))['logits'].astype(np.float64)
    p = np.exp(want - want.max(1, keepdims=True))
    error = near('fp32', run(path('m.onnx'), images), want, 1e-5)
    error = max(error, near('one image', run(path('m.onnx'), images[2:3]), want[2:3], 1e-5))
    near('probabilities', run(path('p.onnx'), images), p / p.sum(1, keepdims=True), 1e-5)
    halved = near('fp16', run(path('h.onnx'), images), want, 2e-2)
    model = onnx.load(path('m.onnx'))
    onnx.checker.check_model(model, full_check=True)
    meta = {p.key: p.value for p in model.metadata_props}
    assert json.loads(meta['classes']) == CLASSES, meta
    assert meta['mean'] == '120 110 100' and meta['image'] and meta['crop'], meta
    assert {i.name: tuple(i.dims) for i in model.graph.initializer} == {k: v.shape for k, v in state.items()}
    assert {n.domain for n in model.graph.node} == {''}
    jetcl('convert', '-q', path('m.onnx'), path('back.safetensors'))
    back = load_file(path('back.safetensors'))
    assert back.keys() == state.keys() and all((back[k] == v).all() for k, v in state.items()), 'read back'
    return 'within %.1e, fp16 within %.1e, %d nodes' % (error, halved, len(model.graph.node))


def main():
    failed = 0
    for name in CASES:
        if len(sys.argv) > 1 and not fnmatch.fnmatch(name, sys.argv[1]):
            continue
        try:
            print('ok %-24s %s' % (name, check(name)), flush=True)
        except Exception as error:
            failed += 1
            print('not ok %-20s %s' % (name, error), flush=True)
    sys.exit(failed > 0)


main()
