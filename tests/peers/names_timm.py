"""Cases of names.py: timm, and who names as it does: MAE, MoCo v3, DINO, DINOv2, Facebook's DeiT III, BEiT and
ConvNeXt, JAX files as timm reads them."""
import numpy as np, torch
from names import barred, case, shake, simple, tmp

SIZE = dict(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=7)


def timm_vit(cls=None, **options):
    import timm.models.vision_transformer as v
    return shake((cls or v.VisionTransformer)(**{**SIZE, **options}))


def timm_case(name, size=32, scheme='timm_vit', lines='', **options):
    case('timm ' + name, size, 4, scheme, lines)(lambda: simple(timm_vit(**options)))


def timm_barred(name, module='vision_transformer', cls='VisionTransformer', **options):
    def make():
        import importlib
        kind = getattr(importlib.import_module('timm.models.' + module), cls)
        return shake(kind(**{**SIZE, **options})).state_dict()
    barred('not ours: timm ' + name)(make)


timm_case('vit')
timm_case('vit without qkv bias', qkv_bias=False)
timm_case('vit layer scale', init_values=.1)
timm_case('vit mean, fc_norm', global_pool='avg', class_token=False, fc_norm=True)
timm_case('vit mean with class token', global_pool='avg', fc_norm=True)
timm_case('vit norm before the mean', global_pool='avg', class_token=False, fc_norm=False)
timm_case('vit norm before the mean, with registers', global_pool='avg', class_token=False, fc_norm=False,
          reg_tokens=4)
timm_case('vit norm before the mean, class token', lines=', pool: norm_avg', global_pool='avg', fc_norm=False)
timm_case('vit registers', reg_tokens=4, no_embed_class=True, init_values=.1)
timm_case('vit registers with positions', reg_tokens=3)
timm_case('vit registers without class token', reg_tokens=4, class_token=False, global_pool='avg', fc_norm=True)
timm_case('vit no_embed_class', no_embed_class=True)
timm_case('vit pre-norm', pre_norm=True)
timm_case('vit patch 14', 42, img_size=42, patch_size=14)
timm_case('vit mlp ratio 2.5', mlp_ratio=2.5)
timm_case('vit one block', depth=1)
timm_case('vit 12 blocks', depth=12)

timm_barred('qk_norm', qk_norm=True)
timm_barred('attention pool', global_pool='map')


@barred('not ours: timm SwiGLU')
def _():
    from timm.layers import SwiGLUPacked
    return timm_vit(mlp_layer=SwiGLUPacked, mlp_ratio=4).state_dict()


@barred('not ours: timm parallel MLPs')
def _():
    import timm.models.vision_transformer as v
    return timm_vit(block_fn=v.ParallelThingsBlock).state_dict()


@barred('not ours: timm parallel scaling')
def _():
    import timm.models.vision_transformer as v
    return timm_vit(block_fn=v.ParallelScalingBlock, qkv_bias=False).state_dict()


@barred('not ours: timm hybrid')
def _():
    import timm
    return timm.create_model('vit_tiny_r_s16_p8_224', depth=2, embed_dim=48, num_heads=4).state_dict()


@barred('not ours: timm swin')
def _():
    import timm
    return timm.create_model('swin_tiny_patch4_window7_224', embed_dim=24, depths=(1, 1, 1, 1),
                             num_heads=(1, 1, 1, 1)).state_dict()


@barred('not ours: timm resnet')
def _():
    import timm
    return timm.create_model('resnet10t').state_dict()


@barred('not ours: timm cait')
def _():
    import timm.models.cait as c
    return c.Cait(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=4, num_classes=7).state_dict()


@barred('not ours: timm xcit')
def _():
    import timm.models.xcit as x
    return x.Xcit(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=4, num_classes=7).state_dict()


@barred('not ours: timm patches of 8 by 16')
def _():
    return timm_vit(patch_size=(8, 16)).state_dict()


@case('timm non-square', (32, 48), 4, 'timm_vit')
def _():
    """Nothing in its tensors tells 4 x 6 from 3 x 8 or 6 x 4: the file says it."""
    from safetensors.torch import save_file
    state, forward, back = simple(timm_vit(img_size=(32, 48)))

    def write():
        save_file(state, tmp('w.safetensors'), {'grid': '4 6'})
        return tmp('w.safetensors')
    return write, forward, back


@case('timm deit distilled', 32, 4, 'timm_vit')
def _():
    import timm.models.deit as d
    return simple(timm_vit(d.VisionTransformerDistilled))


@case('timm beit, absolute positions', 32, 4)
def _():
    import timm.models.beit as b
    return simple(timm_vit(b.Beit, use_abs_pos_emb=True, use_rel_pos_bias=False, init_values=.1))


@barred('not ours: timm beit, relative positions')
def _():
    import timm.models.beit as b
    return timm_vit(b.Beit, use_rel_pos_bias=True).state_dict()


@case('timm grid resized', 48, 4)
def _():
    from timm.layers import resample_abs_pos_embed
    model, bigger = timm_vit(), timm_vit(img_size=48)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    new = dict(state, pos_embed=resample_abs_pos_embed(state['pos_embed'], [6, 6], num_prefix_tokens=1))
    bigger.load_state_dict(new)
    return state, bigger.double(), None


def patch_resized(image, patch):
    from timm.layers import resample_patch_embed
    model, other = timm_vit(), timm_vit(img_size=image, patch_size=patch)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    w = resample_patch_embed(state['patch_embed.proj.weight'], [patch, patch], verbose=False)
    other.load_state_dict(dict(state, **{'patch_embed.proj.weight': w}))
    return state, other.double(), None


case('timm patch resized', 48, 4, None, ', patch: 12')(lambda: patch_resized(48, 12))
case('timm patch shrunk', 16, 4, None, ', patch: 4')(lambda: patch_resized(16, 4))


@case('timm one channel', 32, 4)
def _():
    model = timm_vit(in_chans=1)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    return state, lambda x, m=model.double(): m(x.mean(1, keepdim=True)), None


def timm_convnext(name, scheme='timm_convnext', **options):
    def make():
        import timm.models.convnext as c
        return simple(shake(c.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=7, **options)))
    case('timm ' + name, 64, 0, scheme)(make)


timm_convnext('convnext')
timm_convnext('convnext conv_mlp', None, conv_mlp=True)
timm_convnext('convnext v2', use_grn=True, ls_init_value=None)
timm_convnext('convnext v2 conv_mlp', None, use_grn=True, ls_init_value=None, conv_mlp=True)


@barred('not ours: timm convnext, overlapping stem')
def _():
    import timm.models.convnext as c
    return c.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), stem_type='overlap_tiered').state_dict()


@barred('not ours: timm convnext, kernels of 5')
def _():
    import timm.models.convnext as c
    return c.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), kernel_sizes=5).state_dict()


@barred('not ours: timm convnext, patches of 2')
def _():
    import timm.models.convnext as c
    return c.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), patch_size=2).state_dict()


# ---- files of others, in wrappers ----------------------------------------------------------------------------

def below(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def random_like(state, prefix):
    return below(prefix, {k: torch.randn_like(v) for k, v in state.items()})


@case('MAE, pre-training', 32, 4)
def _():
    """Class token after `norm`; a head put on it."""
    decoder = {'mask_token': (1, 1, 32), 'decoder_embed.weight': (32, 48), 'decoder_embed.bias': (32,),
               'decoder_pos_embed': (1, 17, 32), 'decoder_blocks.0.norm1.weight': (32,),
               'decoder_blocks.0.attn.qkv.weight': (96, 32), 'decoder_norm.weight': (32,),
               'decoder_pred.weight': (192, 32)}
    return simple(timm_vit(), rename=lambda s: below('model.', {**s, **{k: torch.randn(v) for k, v in
                                                                        decoder.items()}}))


@case('MAE, fine-tuned', 32, 4)
def _():
    return simple(timm_vit(global_pool='avg', fc_norm=True), rename=lambda s: below('model.', s))


def moco(state):
    head = {'head.0.weight': torch.randn(64, 48), 'head.1.weight': torch.randn(64),
            'head.1.num_batches_tracked': torch.tensor(1), 'head.3.weight': torch.randn(16, 64)}
    encoder = {k: v for k, v in state.items() if not k.startswith('head.')}
    return {**below('state_dict.module.base_encoder.', {**encoder, **head}),
            **random_like(encoder, 'state_dict.module.momentum_encoder.'),
            'state_dict.module.predictor.0.weight': torch.randn(64, 16)}


def headless(rename):
    """A wrapper without a head: converted, and a head put on after it."""
    from names import jetcl
    from safetensors.torch import load_file, save_file
    model = timm_vit()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in rename(state).items()}, tmp('r.safetensors'))
    jetcl('convert', '-q', tmp('r.safetensors'), tmp('c.safetensors'))
    ours = load_file(tmp('c.safetensors'))
    for k in 'head.weight', 'head.bias':
        ours[k] = state[k]
    return ours, model.double(), None


case('MoCo v3, pre-training', 32, 4)(lambda: headless(moco))


def dino(state):
    encoder = {k: v for k, v in state.items() if not k.startswith('head.')}
    head = {'mlp.0.weight': torch.randn(64, 48), 'last_layer.weight_g': torch.randn(64, 1),
            'last_layer.weight_v': torch.randn(64, 64)}
    return {**random_like(encoder, 'student.module.backbone.'),
            **random_like(head, 'student.module.head.'), **below('teacher.backbone.', encoder),
            **below('teacher.head.', head), 'dino_loss.center': torch.zeros(1, 64)}


case('DINO, teacher and student', 32, 4)(lambda: headless(dino))


def dinov2(state):
    """Chunks of two blocks, as its training saves them."""
    out = {}
    for k, v in state.items():
        if k.startswith('blocks.'):
            n = int(k.split('.')[1])
            k = 'blocks.%d.%d.%s' % (n // 2, n, k.split('.', 2)[2])
        if not k.startswith('head.'):
            out['teacher.backbone.' + k] = v
    return {**out, 'teacher.backbone.mask_token': torch.randn(1, 48),
            'teacher.dino_head.mlp.0.weight': torch.randn(64, 48),
            'teacher.dino_head.last_layer.weight_v': torch.randn(64, 64)}


case('DINOv2, chunks of blocks', 32, 4)(lambda: headless(dinov2))


@case('DeiT III, Facebook', 32, 4)
def _():
    model = timm_vit(no_embed_class=True, init_values=.1)
    return simple(model, rename=lambda s: below('model.', {
        k.replace('ls1.gamma', 'gamma_1').replace('ls2.gamma', 'gamma_2'): v for k, v in s.items()}))


def facebook_convnext(version):
    """timm's own filter reads what we name; so the names are the file's."""
    import timm.models.convnext as c
    options = dict(use_grn=True, ls_init_value=None) if version == 2 else {}
    model = shake(c.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=7, **options))
    state = {}
    for k, v in model.state_dict().items():
        k = k.replace('stem.', 'downsample_layers.0.').replace('.blocks.', '.').replace('conv_dw', 'dwconv')
        k = k.replace('mlp.fc', 'pwconv').replace('head.norm.', 'norm.').replace('head.fc.', 'head.')
        k = k.replace('mlp.grn.weight', 'grn.gamma').replace('mlp.grn.bias', 'grn.beta')
        p = k.split('.')
        if p[0] == 'stages' and p[2] == 'downsample':
            k = '.'.join(['downsample_layers', p[1]] + p[3:])
        state[k] = v.clone().reshape(1, 1, 1, -1) if '.grn.' in k else v.clone()
    model.load_state_dict(c.checkpoint_filter_fn({'model': dict(state)}, model), strict=True)
    return {'model.' + k: v for k, v in state.items()}, model.double(), None


case('ConvNeXt, Facebook', 64, 0)(lambda: facebook_convnext(1))
case('ConvNeXt V2, Facebook', 64, 0)(lambda: facebook_convnext(2))


# ---- JAX -----------------------------------------------------------------------------------------------------

def jax_arrays(heads, stacked):
    """Arrays as Flax has them, of random values."""
    d, h, patch, depth = 48, heads, 8, 3
    r = lambda *s: (np.random.default_rng(1 + sum(s)).normal(0, .1, s)).astype(np.float32)
    g = {'embedding/kernel': r(patch, patch, 3, d), 'embedding/bias': r(d), 'cls': r(1, 1, d),
         'Transformer/posembed_input/pos_embedding': r(1, 17, d), 'Transformer/encoder_norm/scale': 1 + r(d),
         'Transformer/encoder_norm/bias': r(d), 'head/kernel': r(d, 7), 'head/bias': r(7)}
    for i in range(depth):
        b = 'Transformer/encoderblock_%d/' % i
        for n, (ins, outs) in enumerate([(d, 4 * d), (4 * d, d)]):
            g[b + 'LayerNorm_%d/scale' % (2 * n)], g[b + 'LayerNorm_%d/bias' % (2 * n)] = 1 + r(d), r(d) + i
            g[b + 'MlpBlock_3/Dense_%d/kernel' % n] = r(ins, outs)
            g[b + 'MlpBlock_3/Dense_%d/bias' % n] = r(outs)
        for n in 'query', 'key', 'value':
            g[b + 'MultiHeadDotProductAttention_1/%s/kernel' % n] = r(d, h, d // h) * (1 + i) + len(n) * .01
            g[b + 'MultiHeadDotProductAttention_1/%s/bias' % n] = r(h, d // h) * len(n)
        g[b + 'MultiHeadDotProductAttention_1/out/kernel'] = r(h, d // h, d)
        g[b + 'MultiHeadDotProductAttention_1/out/bias'] = r(d)
    if stacked:
        keys = [k.split('_0/', 1)[1] for k in g if 'encoderblock_0/' in k]
        for k in keys:
            g['Transformer/encoderblock/' + k] = np.stack(
                [g.pop('Transformer/encoderblock_%d/' % i + k) for i in range(depth)])
    return g


def jax_case(name, heads, prefix='', stacked=False):
    @case('JAX ' + name, 32, 0)
    def _():
        """heads 0: the shapes tell them, and timm's reader reads the same arrays."""
        plain, file = tmp('plain.npz'), tmp('jax.npz')
        np.savez(plain, **jax_arrays(heads, False))
        np.savez(file, **{prefix + k: v for k, v in jax_arrays(heads, stacked).items()})
        model = timm_vit(num_heads=heads)
        model.load_pretrained(plain)
        return lambda: file, model.double().eval(), None


jax_case('AugReg', 4)
jax_case('AugReg, 12 heads', 12)
jax_case('optimiser\'s copy', 4, 'opt/target/')
jax_case('big_vision', 2, 'params/')
jax_case('big_vision, stacked layers', 2, 'params/', True)
