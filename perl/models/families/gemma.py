"""Gemma 1, 2 and 3, the text models.

Sources: the configuration and modelling code of transformers 5, whose defaults of
missing keys are these; arXiv 2403.08295, 2408.00118, 2503.19786.
"""

from typing import Any

from perl.models.architecture import Architecture
from perl.models.families import llama_names as names
from perl.models.families.config import Config
from perl.models.families.family import Family
from perl.models.families.llama_names import llama_names
from perl.models.families.parts import (
    every,
    read_sizes,
    read_windows,
    write_activation,
    write_sizes,
    write_windows,
)
from perl.models.families.rope import read_rope, write_rope, write_scaling

_ACT = 'gelu_pytorch_tanh'
_LOCAL, _GLOBAL = 'sliding_attention', 'full_attention'


def _read(config: Config, sizes: dict[str, Any]) -> dict[str, Any]:
    """The fields that all three configs give in the same way."""
    config.only('use_bidirectional_attention', False, None)
    bias = config.flag('attention_bias', False)
    return sizes | {
        'norm_eps': config.get('rms_norm_eps', 1e-6),
        'tied': config.flag('tie_word_embeddings', True),
        'qkv_bias': bias,
        'o_bias': bias,
        'embed_scale': float(sizes['width']) ** 0.5,
    }


def _write(arch: Architecture) -> dict[str, Any]:
    return write_sizes(arch) | {
        'rms_norm_eps': arch.norm_eps,
        'tie_word_embeddings': arch.tied,
        'attention_bias': arch.qkv_bias,
    }


def _read_gemma(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=16, head_width=256)
    # the first files say gelu and mean its approximation
    said = config.get('hidden_act', _ACT)
    act = config.activation('hidden_act', _ACT) if said != 'gelu' else 'gelu_tanh'
    if config.get('hidden_activation') is not None:
        other = config.activation('hidden_activation', _ACT)
        config.one_of('hidden_activation', other, (act,))
    return {**_read(config, sizes), **read_rope(config, sizes), 'activation': act}


def _write_gemma(arch: Architecture) -> dict[str, Any]:
    act = {'hidden_act': write_activation(arch, [_ACT])}
    return {**_write(arch), **act, **write_rope(arch)}


def _read_capped(config: Config, sizes: dict[str, Any], cap: float) -> dict[str, Any]:
    """The fields that the configs of Gemma 2 and 3 give in the same way."""
    return _read(config, sizes) | {
        'activation': config.activation('hidden_activation', _ACT),
        'query_scalar': config.get('query_pre_attn_scalar', 256),
        'logit_cap': config.get('final_logit_softcapping', cap) or 0.0,
    }


def _write_capped(arch: Architecture) -> dict[str, Any]:
    windows = write_windows(arch)
    # transformers wants one even where no layer has it
    window = windows['sliding_window'] or arch.max_length
    return {
        **_write(arch),
        **windows,
        'sliding_window': window,
        'hidden_activation': write_activation(arch, [_ACT]),
        'query_pre_attn_scalar': arch.query_scalar,
        'final_logit_softcapping': arch.logit_cap or None,
    }


def _read_gemma2(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=4, head_width=256)
    window, layers = config.get('sliding_window', 4096), sizes['layers']
    config.only('sliding_window_size', window)
    kinds = every(layers, 2, _LOCAL, _GLOBAL)
    return {
        **_read_capped(config, sizes, 30.0),
        **read_rope(config, sizes),
        'attention_cap': config.get('attn_logit_softcapping', 50.0) or 0.0,
        'windows': read_windows(config, layers, window, kinds),
    }


def _write_gemma2(arch: Architecture) -> dict[str, Any]:
    caps = {'attn_logit_softcapping': arch.attention_cap or None}
    return {**_write_capped(arch), **caps, **write_rope(arch)}


def _read_gemma3(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=4, head_width=256)
    window, layers = config.get('sliding_window', 4096), sizes['layers']
    kinds = every(layers, config.get('sliding_window_pattern', 6), _LOCAL, _GLOBAL)
    return {
        **_read_capped(config, sizes, 0.0),
        **_read_two_ropes(config, sizes),
        'windows': read_windows(config, layers, window, kinds),
    }


def _read_two_ropes(config, sizes):
    """The rotations of layers without a window, and the base of those with one."""
    both = config.get('rope_parameters') or {}
    for key in both:
        config.one_of('rope_parameters', key, (_LOCAL, _GLOBAL))
    local = dict(both.get(_LOCAL) or {})
    kind, theta = local.pop('rope_type', 'default'), local.pop('rope_theta', None)
    config.one_of(f'rope_parameters.{_LOCAL}', kind, ('default',))
    for key in local:
        raise config.error(f'rope_parameters.{_LOCAL}', local, f'leave out {key}')
    # settings for all layers apply to the layers without a window
    values = {**(both.get(_GLOBAL) or {}), **(config.get('rope_scaling') or {})}
    values.setdefault('rope_theta', config.get('rope_theta', 1e6))
    theirs = Config({'rope_scaling': values}, 'rope_parameters')
    other = config.get('rope_local_base_freq', 10000.0)
    return read_rope(theirs, sizes) | {'rope_local_theta': theta or other}


def _write_gemma3(arch: Architecture) -> dict[str, Any]:
    return {
        **_write_capped(arch),
        'rope_theta': arch.rope_theta,
        'rope_scaling': write_scaling(arch),
        'rope_local_base_freq': arch.rope_local_theta,
    }


def _classes(stem):
    return f'{stem}ForCausalLM', f'{stem}ForSequenceClassification'


_FIELDS = {'norm': 'rms_offset'}
_BOTH = _FIELDS | {'norm_at': 'both'}
_PLAIN = (*names.ATTENTION, *names.MLP)
ROWS = (
    Family(
        'gemma', _FIELDS, 'gemma', _classes('Gemma'),
        _read_gemma, _write_gemma, llama_names(*_PLAIN, *names.BEFORE),
    ),
    Family(
        'gemma2', _BOTH, 'gemma2', _classes('Gemma2'),
        _read_gemma2, _write_gemma2, llama_names(*_PLAIN, *names.BOTH),
        ignored=('hidden_act',),
    ),
    Family(
        'gemma3', _BOTH | {'qk_norm': 'head'}, 'gemma3_text',
        ('Gemma3ForCausalLM', 'Gemma3TextForSequenceClassification'),
        _read_gemma3, _write_gemma3, llama_names(*_PLAIN, *names.BOTH),
        # transformers reads no cap of the scores in Gemma 3
        ignored=('hidden_act', 'attn_logit_softcapping'),
    ),
)  # fmt: skip
