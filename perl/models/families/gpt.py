"""GPT-NeoX (Pythia) and GPT-2: layer norms and biases.

Sources: the configuration and modelling code of transformers 5, whose defaults of
missing keys are these; arXiv 2204.06745, 2304.01373.
"""

from typing import Any

from perl.models.architecture import Architecture
from perl.models.families.config import Config
from perl.models.families.family import Family
from perl.models.families.names import Name, in_layers
from perl.models.families.parts import SIZES, head_of, write_activation
from perl.models.families.rope import read_rope, write_rope

_ROPE_KEYS = ('rotary_emb_base', 'rotary_pct')
_SHARE = 0.25  # of a head that turns, where a config does not say
_FIELDS = {'norm': 'layer', 'gated': False, 'mlp_bias': True}


def _read(
    config: Config, keys: dict[str, str], act: tuple[str, str], eps: str, tied: bool
) -> dict[str, Any]:
    """The fields that both configs give, under keys of their own."""
    sizes = {ours: config.size(theirs) for theirs, ours in keys.items()}
    sizes['kv_heads'], sizes['head_width'] = sizes['heads'], head_of(config, sizes)
    return sizes | {
        'activation': config.activation(*act),
        'norm_eps': config.get(eps, 1e-5),
        'tied': config.flag('tie_word_embeddings', tied),
    }


def _read_neox(config: Config) -> dict[str, Any]:
    fields = _read(config, SIZES, ('hidden_act', 'gelu'), 'layer_norm_eps', False)
    _check_twins(config)
    bias = config.flag('attention_bias', True)
    return fields | {
        **read_rope(config, fields, keys=_ROPE_KEYS, share=_SHARE),
        'parallel': config.flag('use_parallel_residual', True),
        'qkv_bias': bias,
        'o_bias': bias,
    }


def _check_twins(config):
    """transformers 4.43 and later 4.x say base and share of the rotation twice."""
    twins = zip(('rope_theta', 'partial_rotary_factor'), _ROPE_KEYS, strict=True)
    for (twin, key), default in zip(twins, (10000.0, _SHARE), strict=True):
        said = config.get(key, default)
        if config.get(twin, said) != said:
            raise config.error(twin, config.get(twin), f'{key} is {said}')


def _write_neox(arch: Architecture) -> dict[str, Any]:
    return {
        **{theirs: getattr(arch, ours) for theirs, ours in SIZES.items()},
        **write_rope(arch, _ROPE_KEYS),
        'hidden_act': write_activation(arch),
        'layer_norm_eps': arch.norm_eps,
        'tie_word_embeddings': arch.tied,
        'use_parallel_residual': arch.parallel,
        'attention_bias': arch.qkv_bias,
    }


_GPT2_KEYS = {
    'vocab_size': 'vocabulary',
    'n_embd': 'width',
    'n_layer': 'layers',
    'n_head': 'heads',
    'n_positions': 'max_length',
}


def _read_gpt2(config: Config) -> dict[str, Any]:
    act = 'activation_function', 'gelu_new'
    fields = _read(config, _GPT2_KEYS, act, 'layer_norm_epsilon', True)
    config.only('scale_attn_by_inverse_layer_idx', False, None)
    fields['hidden'] = config.get('n_inner') or 4 * fields['width']
    scaled = config.flag('scale_attn_weights', True)
    return fields | {'query_scalar': 0.0 if scaled else 1.0}


def _write_gpt2(arch: Architecture) -> dict[str, Any]:
    return {
        **{theirs: getattr(arch, ours) for theirs, ours in _GPT2_KEYS.items()},
        'n_inner': arch.hidden,
        'activation_function': write_activation(arch, ['gelu_new']),
        'layer_norm_epsilon': arch.norm_eps,
        'tie_word_embeddings': arch.tied,
        'scale_attn_weights': arch.query_scalar != 1,
    }


def _normed(foreign, ours):
    """The weight and the bias of a layer norm."""
    return (
        Name(f'{foreign}.weight', (ours,)),
        Name(f'{foreign}.bias', (f'{ours}_bias',)),
    )


def _kernel(foreign, paths, **how):
    """The kernel and the bias of a projection, or of several that are joined."""
    biases = tuple(f'{path}_bias' for path in paths)
    how_biases = {k: v for k, v in how.items() if k == 'joined'}
    return (
        Name(f'{foreign}.weight', paths, **how),
        Name(f'{foreign}.bias', biases, **how_biases),
    )


_QKV = tuple(f'attention/{x}' for x in 'qkv')
_NEOX = (
    Name('gpt_neox.embed_in.weight', ('embed',), 'same'),
    *_normed('gpt_neox.final_layer_norm', 'norm'),
    Name('embed_out.weight', ('unembed',)),
    *in_layers(
        'gpt_neox.layers.{}.',
        *_normed('input_layernorm', 'attention/norm'),
        *_normed('post_attention_layernorm', 'mlp/norm'),
        *_kernel('attention.query_key_value', _QKV, joined='heads'),
        *_kernel('attention.dense', ('attention/o',)),
        *_kernel('mlp.dense_h_to_4h', ('mlp/up',)),
        *_kernel('mlp.dense_4h_to_h', ('mlp/down',)),
    ),
)
_GPT2 = (
    Name('transformer.wte.weight', ('embed',), 'same'),
    Name('transformer.wpe.weight', ('positions',), 'same'),
    *_normed('transformer.ln_f', 'norm'),
    Name('lm_head.weight', ('unembed',)),
    *in_layers(
        'transformer.h.{}.',
        *_normed('ln_1', 'attention/norm'),
        *_normed('ln_2', 'mlp/norm'),
        *_kernel('attn.c_attn', _QKV, layout='in_out'),
        *_kernel('attn.c_proj', ('attention/o',), layout='in_out'),
        *_kernel('mlp.c_fc', ('mlp/up',), layout='in_out'),
        *_kernel('mlp.c_proj', ('mlp/down',), layout='in_out'),
    ),
)
_SUMMARY = ('type', 'use_proj', 'activation', 'proj_to_labels', 'first_dropout')
ROWS = (
    Family(
        'gpt_neox', _FIELDS, 'gpt_neox',
        ('GPTNeoXForCausalLM', 'GPTNeoXForSequenceClassification'),
        _read_neox, _write_neox, _NEOX,
        # a file says embed_out; the model of transformers 5 in memory, lm_head
        renamed={'lm_head.weight': 'embed_out.weight'},
        prefix='gpt_neox.',
        buffers=r'.*\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)',
    ),
    Family(
        'gpt2', _FIELDS | {'positions': 'learned', 'qkv_bias': True, 'o_bias': True},
        'gpt2', ('GPT2LMHeadModel', 'GPT2ForSequenceClassification'),
        _read_gpt2, _write_gpt2, _GPT2, prefix='transformer.',
        ignored=(
            'n_ctx', 'reorder_and_upcast_attn', *(f'summary_{x}' for x in _SUMMARY),
            'n_special', 'predict_special_tokens', 'output_past',
        ),
        buffers=r'.*\.attn\.(bias|masked_bias)',
    ),
)  # fmt: skip
