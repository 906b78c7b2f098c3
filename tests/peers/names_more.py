"""Cases of names.py: torchvision, mmpretrain, open_clip."""
import json, os, warnings
import torch
from safetensors.torch import save_file
from names import barred, case, shake, simple, tmp


@case('torchvision vit', 32, 4, 'torchvision_vit')
def _():
    from torchvision.models import VisionTransformer
    return simple(shake(VisionTransformer(32, 8, 3, 4, 48, 192, num_classes=7)))


@barred('not ours: torchvision vit with representation')
def _():
    from torchvision.models import VisionTransformer
    return VisionTransformer(32, 8, 2, 4, 48, 192, num_classes=7, representation_size=24).state_dict()


@barred('not ours: torchvision swin')
def _():
    from torchvision.models import SwinTransformer
    return SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4]).state_dict()


@case('torchvision convnext', 64, 0, 'torchvision_convnext')
def _():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 1), CNBlockConfig(24, 32, 2),
              CNBlockConfig(32, None, 1)]
    return simple(shake(ConvNeXt(blocks, num_classes=7)))


# ---- mmpretrain ----------------------------------------------------------------------------------------------

VIT = dict(embed_dims=48, num_layers=3, num_heads=4, feedforward_channels=192)
CONVNEXT = dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32])


def mmpretrain(backbone, head, neck=None):
    warnings.simplefilter('ignore')
    from mmpretrain.models import build_classifier
    import mmpretrain.models                                         # fills its registry
    return shake(build_classifier(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)))


def mm_vit(**options):
    head = dict(type='VisionTransformerClsHead', num_classes=7, in_channels=48)
    if options.pop('distilled', False):
        head['type'] = 'DeiTClsHead'
        kind = dict(type='DistilledVisionTransformer')
    else:
        kind = dict(type='VisionTransformer')
    if options.get('out_type') == 'avg_featmap':
        head = dict(type='LinearClsHead', num_classes=7, in_channels=48)
    return mmpretrain({**kind, 'arch': VIT, 'img_size': 32, 'patch_size': 8, **options}, head)


def mm_logits(model, x):
    return model.head(model.extract_feat(x))


def mm_case(name, **options):
    case('mmpretrain vit' + name, 32, 4, 'mmpretrain_vit')(lambda: simple(mm_vit(**options), mm_logits))


mm_case('')
mm_case(' distilled', distilled=True)
mm_case(' layer scale', layer_scale_init_value=.1)
mm_case(' pre-norm', pre_norm=True)
mm_case(' without qkv bias', qkv_bias=False)
mm_case(' mean', out_type='avg_featmap', final_norm=False)


def mm_file(name, size=32, neck=None, **options):
    """As mmengine saves it, with its configuration."""
    @case('mmpretrain file, ' + name, size, 0)
    def _():
        from mmengine.config import Config
        kind = dict(type='VisionTransformer', arch=VIT, img_size=size, patch_size=8, **options)
        head = dict(type='LinearClsHead', num_classes=7, in_channels=48)
        model = mmpretrain(kind, head, neck)
        state, forward, _ = simple(model, mm_logits)
        text = Config(dict(model=dict(type='ImageClassifier', backbone=kind, neck=neck, head=head))).pretty_text

        def write():
            torch.save({'meta': {'cfg': text, 'epoch': 1}, 'state_dict': state}, tmp('mm.pth'))
            return tmp('mm.pth')
        return write, forward, None


mm_file('non-square', (32, 48))
mm_file('epsilon', norm_cfg=dict(type='LN', eps=.03))
mm_file('quick gelu', layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')))
mm_file('pooled after the norm', neck=dict(type='GlobalAveragePooling'), out_type='featmap')


def bare(state):
    return {k.replace('backbone.', '', 1): v for k, v in state.items()}


case('mmpretrain vit without backbone.', 32, 4, 'mmpretrain_vit')(lambda: simple(mm_vit(), mm_logits, bare))


def mm_convnext(**options):
    return mmpretrain(dict(type='ConvNeXt', arch=CONVNEXT, **options),
                      dict(type='LinearClsHead', num_classes=7, in_channels=32))


for name, options in {'': {}, ' V2': dict(use_grn=True, layer_scale_init_value=0.)}.items():
    case('mmpretrain convnext' + name, 64, 0, 'mmpretrain_convnext')(
        lambda options=options: simple(mm_convnext(**options), mm_logits))
case('mmpretrain convnext, 1x1 convolutions', 64, 0)(
    lambda: simple(mm_convnext(linear_pw_conv=False), mm_logits))
case('mmpretrain convnext without backbone.', 64, 0, 'mmpretrain_convnext')(
    lambda: simple(mm_convnext(), mm_logits, bare))


@barred('not ours: mmpretrain vit, norms before and after the mean')
def _():
    return mm_vit(out_type='avg_featmap').state_dict()


@barred('not ours: mmpretrain vit, hidden head')
def _():
    return mmpretrain(dict(type='VisionTransformer', arch=VIT, img_size=32, patch_size=8), dict(
        type='VisionTransformerClsHead', num_classes=7, in_channels=48, hidden_dim=24)).state_dict()


# ---- CLIP ----------------------------------------------------------------------------------------------------

def open_clip_model(quick, **vision):
    from open_clip.model import CLIP
    text = dict(context_length=8, vocab_size=20, width=16, heads=2, layers=1)
    size = dict(image_size=32, patch_size=8, width=64, head_width=16, layers=3)
    return shake(CLIP(24, {**size, **vision}, text, quick_gelu=quick))


def clip_case(name, lines, quick=False, rename=lambda s: s, **vision):
    case('open_clip ' + name, 32, 4, None, lines)(
        lambda: simple(open_clip_model(quick, **vision), lambda m, x: m.encode_image(x), rename))


def as_openai(state):
    return {**state, 'input_resolution': torch.tensor(32), 'context_length': torch.tensor(8),
            'vocab_size': torch.tensor(20)}


clip_case('gelu', ', act: gelu')
clip_case('layer scale', ', act: gelu', ls_init_value=.1)
clip_case('as OpenAI wrote it', '', quick=True, rename=as_openai)


def clip_folder(name, **vision):
    """As its hub has it: what open_clip_config.json says need not be said."""
    @case('open_clip folder ' + name, 32, 0)
    def _():
        state, forward, _ = simple(open_clip_model(False, **vision), lambda m, x: m.encode_image(x))
        size = dict(image_size=32, patch_size=8, width=64, head_width=16, layers=3)

        def write():
            folder = tmp('open_clip')
            os.makedirs(folder, exist_ok=True)
            save_file({k: v.contiguous() for k, v in state.items()}, folder + '/open_clip_model.safetensors')
            with open(folder + '/open_clip_config.json', 'w') as f:
                json.dump({'model_cfg': {'vision_cfg': {**size, **vision}}}, f)
            return folder
        return write, forward, None


CLIPA = dict(pool_type='avg', final_ln_after_pool=True, no_ln_pre=True, pos_embed_type='sin_cos_2d')
clip_folder('plain')
clip_folder('CLIPA', **CLIPA)
clip_folder('mean after the norm', pool_type='avg')
clip_folder('epsilon', norm_kwargs=dict(eps=.03))
clip_folder("tanh's gelu", act_kwargs=dict(approximate='tanh'))
clip_folder('other heads', head_width=32)


@barred('not ours: open_clip, ResNet')
def _():
    return open_clip_model(False, layers=[1, 1, 1, 1], width=8, image_size=64).state_dict()


@barred('not ours: open_clip, attention pool')
def _():
    return open_clip_model(False, attentional_pool=True, attn_pooler_heads=4).state_dict()
