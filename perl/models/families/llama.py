"""Llama and its kin: Mistral, SmolLM 3, Phi-3, OLMo 2.

Sources: the configuration and modelling code of transformers 5, whose defaults of
missing keys are these; arXiv 2302.13971, 2310.06825, 2404.14219, 2501.00656.
"""

from collections.abc import Callable, Mapping
from typing import Any

from perl.models.architecture import Architecture
from perl.models.families import llama_names as names
from perl.models.families.config import Config
from perl.models.families.family import Family
from perl.models.families.llama_names import llama_names
from perl.models.families.names import Name
from perl.models.families.parts import (
    pattern,
    read_sizes,
    read_windows,
    spread,
    write_activation,
    write_sizes,
    write_windows,
)
from perl.models.families.rope import read_rope, write_rope

PLAIN = (*names.ATTENTION, *names.MLP, *names.BEFORE)
_PHI3_KEYS = ('rope_theta', 'partial_rotary_factor')


def read_common(
    config: Config, sizes: dict[str, Any], eps: float = 1e-6, tied: bool = False
) -> dict[str, Any]:
    """The fields that all these configs give in the same way, with these defaults."""
    return sizes | {
        'norm_eps': config.get('rms_norm_eps', eps),
        'activation': config.activation('hidden_act', 'silu'),
        'tied': config.flag('tie_word_embeddings', tied),
    }


def write_common(arch: Architecture) -> dict[str, Any]:
    """The keys that `read_common` reads, and those of the sizes."""
    return write_sizes(arch) | {
        'rms_norm_eps': arch.norm_eps,
        'hidden_act': write_activation(arch),
        'tie_word_embeddings': arch.tied,
    }


def read_biases(config: Config) -> dict[str, bool]:
    """Biases of all projections of attention, by one switch."""
    bias = config.flag('attention_bias', False)
    return {'qkv_bias': bias, 'o_bias': bias}


def _read_llama(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config)
    config.only('rope_interleaved', False, None)
    return {
        **read_common(config, sizes),
        **read_biases(config),
        **read_rope(config, sizes),
        'mlp_bias': config.flag('mlp_bias', False),
    }


def _write_llama(arch: Architecture) -> dict[str, Any]:
    biases = {'attention_bias': arch.qkv_bias, 'mlp_bias': arch.mlp_bias}
    return {**write_common(arch), **biases, **write_rope(arch)}


def _read_mistral(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=8)
    window = config.get('sliding_window', 4096)
    fields = {**read_common(config, sizes), **read_rope(config, sizes)}
    return fields | {'windows': (window,) if window else ()}


def _write_mistral(arch: Architecture) -> dict[str, Any]:
    window = write_windows(arch)['sliding_window']
    return {**write_common(arch), **write_rope(arch), 'sliding_window': window}


def _read_smollm3(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=4)
    layers, each = sizes['layers'], config.get('no_rope_layer_interval', 4)
    turned = config.get('no_rope_layers') or [(i + 1) % each for i in range(layers)]
    if len(turned) != layers:
        raise config.error('no_rope_layers', turned, f'it must have {layers} values')
    used, window = (
        config.flag('use_sliding_window', False),
        config.get('sliding_window'),
    )
    kinds = [
        'sliding_attention' if used and window and not turns else 'full_attention'
        for turns in turned
    ]
    return {
        **read_common(config, sizes, tied=True),
        **read_biases(config),
        **read_rope(config, sizes, theta=2e6),
        'mlp_bias': config.flag('mlp_bias', False),
        'unrotated': pattern([not turns for turns in turned]),
        'windows': read_windows(config, layers, window, kinds),
    }


def _write_smollm3(arch: Architecture) -> dict[str, Any]:
    unrotated = spread(arch.unrotated or (False,), arch.layers)
    return {
        **_write_llama(arch),
        **write_windows(arch),
        'use_sliding_window': any(arch.windows),
        'no_rope_layers': [int(not flag) for flag in unrotated],
    }


def _read_phi3(config: Config) -> dict[str, Any]:
    sizes, window = read_sizes(config), config.get('sliding_window')
    for key in ('attention_bias', 'mlp_bias', 'lm_head_bias'):
        config.only(key, False, None)
    for key in ('full_attn_mod', 'interpolate_factor'):
        config.only(key, 1, None)
    rope = read_rope(
        config, sizes, keys=_PHI3_KEYS, original=4096, renamed=('su', 'yarn')
    )
    windows = (window,) if window else ()
    return {**read_common(config, sizes, eps=1e-5), 'windows': windows, **rope}


def _write_phi3(arch: Architecture) -> dict[str, Any]:
    config = _write_mistral(arch) | write_rope(arch, _PHI3_KEYS)
    return {'original_max_position_embeddings': arch.max_length, **config}


def _read_olmo2(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config)
    fields = {**read_common(config, sizes, eps=1e-5), **read_biases(config)}
    return {**fields, **read_rope(config, sizes)}


def _write_olmo2(arch: Architecture) -> dict[str, Any]:
    return {**write_common(arch), 'attention_bias': arch.qkv_bias, **write_rope(arch)}


def row(
    name: str,
    stem: str,
    read: Callable[[Config], dict[str, Any]],
    write: Callable[[Architecture], dict[str, Any]],
    inside: tuple[Name, ...] = PLAIN,
    fields: Mapping[str, Any] | None = None,
    ignored: tuple[str, ...] = (),
) -> Family:
    """A family with the names of Llama.

    Args:
        name: of the family, and its `model_type`.
        stem: of its classes in transformers.
        read, write, fields, ignored: as in `Family`.
        inside: names in a layer.
    """
    classes = f'{stem}ForCausalLM', f'{stem}ForSequenceClassification'
    shared, foreign = fields or {}, llama_names(*inside)
    return Family(name, shared, name, classes, read, write, foreign, ignored=ignored)


_AFTER = {'norm_at': 'after', 'qk_norm': 'whole'}
ROWS = (
    row(
        'llama', 'Llama', _read_llama, _write_llama,
        # files of Llama 1 and Vicuna have the length of their training beside
        ignored=('is_llama_config', 'max_sequence_length'),
    ),
    row('mistral', 'Mistral', _read_mistral, _write_mistral),
    row(
        'smollm3', 'SmolLM3', _read_smollm3, _write_smollm3,
        ignored=('max_window_layers',),
    ),
    row('phi3', 'Phi3', _read_phi3, _write_phi3, (*names.FUSED, *names.BEFORE)),
    row(
        'olmo2', 'Olmo2', _read_olmo2, _write_olmo2,
        (*names.ATTENTION, *names.MLP, *names.AFTER), _AFTER,
    ),
)  # fmt: skip
