#!/usr/bin/env python3
"""Checkpoints of the real libraries against jetcl, by hand: random weights at small sizes, logits in float64
there and as `jetcl probe` gives them here, within 1e-5 of the largest; then the way back: `convert --names`,
loaded strictly there.

    python3 -m venv v && v/bin/pip install torch torchvision timm transformers safetensors
    make && v/bin/python tests/peers/names.py [PATTERN]      # JETCL: the program, build/jetcl when not given

The experiment's lines are those that `jetcl inspect` prints, with the heads put right where they are a
guess."""
import fnmatch, json, os, re, subprocess, sys, tempfile
import numpy as np, torch
from safetensors.torch import load_file, save_file

JETCL = os.environ.get('JETCL', 'build/jetcl')
TMP = tempfile.mkdtemp()
torch.manual_seed(1)
CASES = {}


def case(name, size, heads, scheme=None, lines=''):
    def add(make):
        CASES[name] = (make, size, heads, scheme, lines)
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


def logits_of(path, images, heads, lines):
    model = json.loads(jetcl('inspect', '--json', path))['model']['experiment']
    model = re.sub(r'heads: \d+', 'heads: %d' % heads, model) if heads else model
    if 'patch' in lines:
        model = re.sub(r'patch: \d+, ', '', model)
    model = re.sub(r'image: [^,]*(\[.*?\])?,', '', model) + ', image: [%d, %d]' % images.shape[2:] + lines
    yaml, x, y = (os.path.join(TMP, n) for n in ('m.yaml', 'x.safetensors', 'y.safetensors'))
    open(yaml, 'w').write('model: {%s, drop_path: off}\n' % model)
    save_file({'images': images.float().contiguous()}, x)
    jetcl('probe', '--weights', path, '--input', x, '--out', y, yaml)
    return load_file(y)['logits'].double()


def check(name):
    make, size, heads, scheme, lines = CASES[name]
    state, forward, back = make()
    size = size if isinstance(size, tuple) else (size, size)
    path = os.path.join(TMP, 'w.safetensors')
    save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, path)
    images = torch.randn(3, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        want = forward(images)
    got = logits_of(path, images, heads, lines)
    error = ((got - want).abs().max() / want.abs().max()).item()
    ok, note = error < 1e-5, ''
    if scheme:                                       # through our names and back into the library
        ours, theirs = (os.path.join(TMP, n) for n in ('o.safetensors', 't.safetensors'))
        jetcl('convert', '-q', path, ours)
        jetcl('convert', '-q', ours, theirs, '--names', scheme)
        again = back(load_file(theirs))
        with torch.no_grad():
            same = torch.equal(again(images), want)
        ok, note = ok and same, ', back: ' + ('equal' if same else 'DIFFERENT')
    print('%s %-28s %.1e%s' % ('ok' if ok else 'not ok', name, error, note))
    return ok


def simple(model, forward=lambda m, x: m(x), dtype=torch.float64):
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model = model.double()

    def back(new):
        model.load_state_dict({k: v.double() for k, v in new.items()}, strict=True)
        return lambda x: forward(model, x)
    return state, lambda x: forward(model, x), back


# ---- timm ----------------------------------------------------------------------------------------------------

def timm_vit(cls=None, **options):
    import timm.models.vision_transformer as v
    size = dict(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7)
    return shake((cls or v.VisionTransformer)(**{**size, **options}))


def timm_case(name, size=32, scheme='timm_vit', **options):
    case('timm ' + name, size, 4, scheme)(lambda: simple(timm_vit(**options)))


timm_case('vit')
timm_case('vit without qkv bias', qkv_bias=False)
timm_case('vit layer scale', init_values=.1)
timm_case('vit mean, fc_norm', global_pool='avg', class_token=False, fc_norm=True)
timm_case('vit mean with class token', global_pool='avg', fc_norm=True)
timm_case('vit registers', scheme=None, reg_tokens=4, no_embed_class=True, init_values=.1)
timm_case('vit no_embed_class', scheme=None, no_embed_class=True)


@case('timm vit pre-norm', 32, 4, 'timm_vit')
def _():
    return simple(timm_vit(pre_norm=True))


@case('timm deit distilled', 32, 4, 'timm_vit')
def _():
    import timm.models.deit as d
    return simple(timm_vit(d.VisionTransformerDistilled))


@case('timm grid resized', 48, 4)
def _():
    model = timm_vit()
    bigger = timm_vit(img_size=48)
    from timm.layers import resample_abs_pos_embed
    state = {k: v.clone() for k, v in model.state_dict().items()}
    new = dict(state, pos_embed=resample_abs_pos_embed(state['pos_embed'], [6, 6], num_prefix_tokens=1))
    bigger.load_state_dict(new)
    bigger = bigger.double()
    return state, bigger, None


@case('timm patch resized', 48, 4, None, ', patch: 12')
def _():
    from timm.layers import resample_patch_embed
    model = timm_vit()
    other = timm_vit(img_size=48, patch_size=12)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    w = resample_patch_embed(state['patch_embed.proj.weight'], [12, 12], verbose=False)
    other.load_state_dict(dict(state, **{'patch_embed.proj.weight': w}))
    return state, other.double(), None


@case('timm patch shrunk', 16, 4, None, ', patch: 4')
def _():
    from timm.layers import resample_patch_embed
    model = timm_vit()
    other = timm_vit(img_size=16, patch_size=4)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    w = resample_patch_embed(state['patch_embed.proj.weight'], [4, 4], verbose=False)
    other.load_state_dict(dict(state, **{'patch_embed.proj.weight': w}))
    return state, other.double(), None


@case('timm one channel', 32, 4)
def _():
    model = timm_vit(in_chans=1)
    double = model.double()
    return model.float().state_dict(), lambda x: double.double()(x.mean(1, keepdim=True)), None


def timm_convnext(name, scheme='timm_convnext', **options):
    def make():
        import timm.models.convnext as c
        return simple(shake(c.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=7, **options)))
    case('timm ' + name, 64, 0, scheme)(make)


timm_convnext('convnext')
timm_convnext('convnext conv_mlp', None, conv_mlp=True)
timm_convnext('convnext v2', use_grn=True, ls_init_value=None)


# ---- torchvision ---------------------------------------------------------------------------------------------

@case('torchvision vit', 32, 4, 'torchvision_vit')
def _():
    from torchvision.models import VisionTransformer
    return simple(shake(VisionTransformer(32, 8, 3, 4, 48, 192, num_classes=7)))


@case('torchvision convnext', 64, 0, 'torchvision_convnext')
def _():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 1), CNBlockConfig(24, 32, 2),
              CNBlockConfig(32, None, 1)]
    return simple(shake(ConvNeXt(blocks, num_classes=7)))


# ---- Hugging Face --------------------------------------------------------------------------------------------

def hf(model, config, **more):
    size = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192,
                image_size=32, patch_size=8, num_labels=7, hidden_dropout_prob=0.,
                attention_probs_dropout_prob=0.)
    return shake(model(config(**{**size, **more})))


def hf_logits(m, x):
    return m(x).logits


def pretrained(model, forward=hf_logits):
    """As simple(), by the library's own files: since its fifth version a module names its tensors otherwise."""
    folder = os.path.join(TMP, 'hf')
    model.float().save_pretrained(folder)
    state = load_file(os.path.join(folder, 'model.safetensors'))
    model = model.double()

    def back(new):
        save_file(new, os.path.join(folder, 'model.safetensors'), {'format': 'pt'})
        again, told = type(model).from_pretrained(folder, output_loading_info=True, torch_dtype=torch.float64)
        if any(told[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')):
            raise RuntimeError(str(told))
        return lambda x: forward(again.eval(), x)
    return state, lambda x: forward(model, x), back


@case('hf vit', 32, 4, 'hf_vit')
def _():
    import transformers as t
    return pretrained(hf(t.ViTForImageClassification, t.ViTConfig))


@case('hf vit without qkv bias', 32, 4, 'hf_vit')
def _():
    import transformers as t
    return pretrained(hf(t.ViTForImageClassification, t.ViTConfig, qkv_bias=False))


@case('hf deit', 32, 4)
def _():
    import transformers as t
    return simple(hf(t.DeiTForImageClassification, t.DeiTConfig), hf_logits)


@case('hf deit distilled', 32, 4)
def _():
    import transformers as t
    return simple(hf(t.DeiTForImageClassificationWithTeacher, t.DeiTConfig), hf_logits)


@case('hf vit-mae encoder', 32, 4)
def _():
    import transformers as t
    mae = hf(t.ViTMAEForPreTraining, t.ViTMAEConfig)
    vit = hf(t.ViTForImageClassification, t.ViTConfig)
    vit.load_state_dict(mae.state_dict(), strict=False)
    state = dict(mae.state_dict(), **{k: v for k, v in vit.state_dict().items() if k.startswith('classifier')})
    return {k: v.clone() for k, v in state.items()}, lambda x, m=vit.double(): hf_logits(m, x), None


@case('hf dinov2', 32, 4)
def _():
    """Its classifier reads class token and mean; ours reads the class token: compared without the head."""
    import transformers as t
    m = hf(t.Dinov2Model, t.Dinov2Config, mlp_ratio=4)
    head = torch.randn(7, 48) * .1
    state = dict({k: v.clone() for k, v in m.state_dict().items()})
    state = {'dinov2.' + k: v for k, v in state.items()}
    timm_like = os.path.join(TMP, 'dinov2.safetensors')
    save_file({k: v.contiguous() for k, v in state.items()}, timm_like)
    ours = os.path.join(TMP, 'dinov2_ours.safetensors')
    jetcl('convert', '-q', timm_like, ours)
    state = dict(load_file(ours), **{'head.weight': head, 'head.bias': torch.zeros(7)})
    m = m.double()
    return state, lambda x: m(x).last_hidden_state[:, 0] @ head.double().T, None


def hf_beit():
    import transformers as t
    return hf(t.BeitForImageClassification, t.BeitConfig, use_absolute_position_embeddings=True,
              use_relative_position_bias=False, use_mean_pooling=True)


case('hf beit, absolute positions', 32, 4)(lambda: pretrained(hf_beit()))
case('hf beit, names in memory', 32, 4)(lambda: simple(hf_beit(), hf_logits))


@case('hf vit, names in memory', 32, 4)
def _():
    import transformers as t
    return simple(hf(t.ViTForImageClassification, t.ViTConfig), hf_logits)


def hf_clip(act):
    import transformers as t
    c = t.CLIPVisionConfig(hidden_size=48, intermediate_size=192, projection_dim=7, num_hidden_layers=3,
                           num_attention_heads=4, image_size=32, patch_size=8, hidden_act=act)
    return pretrained(shake(t.CLIPVisionModelWithProjection(c)), lambda m, x: m(x).image_embeds)


case('hf clip', 32, 4, 'hf_clip', ', act: gelu')(lambda: hf_clip('gelu'))
case('hf clip, quick gelu', 32, 4, 'hf_clip', ', act: quick_gelu')(lambda: hf_clip('quick_gelu'))


@case('hf convnext', 64, 0, 'hf_convnext')
def _():
    import transformers as t
    c = t.ConvNextConfig(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32], num_labels=7, layer_norm_eps=1e-6)
    return pretrained(shake(t.ConvNextForImageClassification(c)))


@case('hf convnext v2', 64, 0, 'hf_convnextv2')
def _():
    import transformers as t
    c = t.ConvNextV2Config(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32], num_labels=7, layer_norm_eps=1e-6)
    return pretrained(shake(t.ConvNextV2ForImageClassification(c)))


if __name__ == '__main__':
    pattern, bad = (sys.argv[1:] or ['*'])[0], 0
    for name in CASES:
        if fnmatch.fnmatch(name, pattern):
            try:
                bad += not check(name)
            except Exception as e:
                bad += 1
                print('not ok %-28s %s: %s' % (name, type(e).__name__, str(e)[:300]))
    sys.exit(bad > 0)
