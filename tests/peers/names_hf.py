"""Cases of names.py: Hugging Face."""
import os
import torch
from safetensors.torch import load_file, save_file
from names import TMP, barred, case, jetcl, shake, simple


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


@case('hf deit', 32, 4, 'hf_vit')
def _():
    import transformers as t
    return pretrained(hf(t.DeiTForImageClassification, t.DeiTConfig))


@case('hf deit distilled', 32, 4, 'hf_vit')
def _():
    import transformers as t
    return pretrained(hf(t.DeiTForImageClassificationWithTeacher, t.DeiTConfig))


@case('hf deit distilled, names in memory', 32, 4)
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


def hf_dinov2(kind, **more):
    """Its classifier reads class token and mean; ours reads the class token: compared with a head of ours."""
    import transformers as t
    m = hf(getattr(t, kind + 'Model'), getattr(t, kind + 'Config'), mlp_ratio=4, layerscale_value=.5, **more)
    pretrained(m)
    theirs, ours = os.path.join(TMP, 'hf', 'model.safetensors'), os.path.join(TMP, 'dinov2_ours.safetensors')
    jetcl('convert', '-q', theirs, ours)
    head = torch.randn(7, 48) * .1
    state = dict(load_file(ours), **{'head.weight': head, 'head.bias': torch.zeros(7)})
    jetcl('convert', '-q', ours, theirs, '--names', 'hf_dinov2')
    again, told = type(m).from_pretrained(os.path.dirname(theirs), output_loading_info=True,
                                          torch_dtype=torch.float64)
    wrong = {k for key in ('missing_keys', 'unexpected_keys') for k in told[key]} - {'embeddings.mask_token'}
    if wrong:
        raise RuntimeError(str(wrong))
    return state, lambda x: again.eval()(x).last_hidden_state[:, 0] @ head.double().T, None


case('hf dinov2, and back', 32, 4)(lambda: hf_dinov2('Dinov2'))
case('hf dinov2 without mask token, and back', 32, 4)(lambda: hf_dinov2('Dinov2', use_mask_token=False))
case('hf dinov2 with registers, and back', 32, 4)(
    lambda: hf_dinov2('Dinov2WithRegisters', num_register_tokens=3))


@barred('not ours: hf dinov2, SwiGLU')
def _():
    import transformers as t
    return hf(t.Dinov2Model, t.Dinov2Config, mlp_ratio=4, use_swiglu_ffn=True).state_dict()


@barred('not ours: hf beit, relative positions')
def _():
    import transformers as t
    return hf(t.BeitForImageClassification, t.BeitConfig, use_relative_position_bias=True).state_dict()


@barred('not ours: hf swin')
def _():
    import transformers as t
    return t.SwinForImageClassification(t.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4,
        num_labels=7)).state_dict()


@barred('not ours: hf siglip, attention pool')
def _():
    import transformers as t
    return t.SiglipVisionModel(t.SiglipVisionConfig(
        hidden_size=48, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4, image_size=32,
        patch_size=8)).state_dict()


@barred('not ours: hf clip classifier, mean before the norm')
def _():
    import transformers as t
    size = dict(hidden_size=48, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4)
    return t.CLIPForImageClassification(t.CLIPConfig(
        vision_config=dict(size, image_size=32, patch_size=8), text_config=dict(size, vocab_size=20),
        num_labels=7)).state_dict()


@barred('not ours: hf dinov3')
def _():
    import transformers as t
    return hf(t.DINOv3ViTModel, t.DINOv3ViTConfig).state_dict()


@barred('not ours: hf bert')
def _():
    import transformers as t
    return t.BertModel(t.BertConfig(vocab_size=20, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                                    intermediate_size=192)).state_dict()


def hf_folder(make, name, size=32):
    """The folder as it is saved: what its config.json says need not be said."""
    @case(name, size, 0)
    def _():
        state, forward, _ = pretrained(make())
        return lambda: os.path.join(TMP, 'hf'), forward, None


def hf_classifier(kind, **more):
    import transformers as t
    return hf(getattr(t, kind + 'ForImageClassification'), getattr(t, kind + 'Config'), **more)


hf_folder(lambda: hf_classifier('ViT', layer_norm_eps=1e-3), 'hf folder vit')
hf_folder(lambda: hf_classifier('DeiT', num_attention_heads=6), 'hf folder deit')
hf_folder(lambda: hf_classifier('ViT', image_size=[32, 48]), 'hf folder vit, non-square', (32, 48))
hf_folder(lambda: hf_classifier('ViT', hidden_act='quick_gelu'), 'hf folder vit, quick gelu')
hf_folder(lambda: hf_classifier('ViT', hidden_act='gelu_new'), "hf folder vit, tanh's gelu")
hf_folder(lambda: hf_classifier('ViTMSN'), 'hf folder vit-msn')
hf_folder(lambda: hf_classifier('IJepa'), 'hf folder i-jepa')


def hf_siglip():
    import transformers as t
    size = dict(hidden_size=48, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4)
    return shake(t.SiglipForImageClassification(t.SiglipConfig(
        vision_config=dict(size, image_size=32, patch_size=8), text_config=dict(size, vocab_size=20),
        num_labels=7)))


hf_folder(hf_siglip, 'hf folder siglip classifier')
case('hf i-jepa', 32, 4, 'hf_vit')(lambda: pretrained(hf_classifier('IJepa')))


def hf_beit():
    import transformers as t
    return hf(t.BeitForImageClassification, t.BeitConfig, use_absolute_position_embeddings=True,
              use_relative_position_bias=False, use_mean_pooling=True)


case('hf beit, absolute positions', 32, 4)(lambda: pretrained(hf_beit()))
hf_folder(hf_beit, 'hf folder beit')
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


@case('hf clip, both towers', 32, 4, None, ', act: quick_gelu')
def _():
    import transformers as t
    size = dict(hidden_size=48, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4)
    m = shake(t.CLIPModel(t.CLIPConfig(vision_config=dict(size, image_size=32, patch_size=8), projection_dim=7,
                                       text_config=dict(size, vocab_size=20, eos_token_id=1))))
    return pretrained(m, lambda m, x: m.visual_projection(m.vision_model(x).pooler_output))


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


