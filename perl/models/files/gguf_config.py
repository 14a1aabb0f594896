"""The metadata of a GGUF file as the `config.json` that it was made from."""

import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from perl.models.files.gguf_header import Header
from perl.models.files.gguf_metadata import Metadata
from perl.models.files.gguf_names import DIALECTS, ROPE_FACTORS
from perl.models.files.gguf_tensors import tensor_of
from perl.system.errors import UserError
from perl.system.suggest import meant

_IDS = {
    'bos_token_id': 'bos_token_id',
    'eos_token_id': 'eos_token_id',
    'pad_token_id': 'padding_token_id',
}
_LLAMA3 = {'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
_LLAMA3_LENGTH = 8192  # what Llama 3 was trained with before its positions were scaled
# layers of the largest Gemma 2 and 3, which alone scale their scores by width / heads
_LARGEST_GEMMA = {'gemma2': 46, 'gemma3': 62}
_PATTERN = 'attention.sliding_window_pattern'


def architecture(file: pathlib.Path, header: Header) -> str:
    """The name of the file's architecture.

    Raises:
        UserError: it is not one of `DIALECTS`, or the file is a part of a model.
    """
    if header.metadata.get('split.count', 1) > 1:
        raise UserError(
            f'model.path: {file} is one part of a model in several files; join them '
            'with llama-gguf-split --merge'
        )
    name = header.metadata.get('general.architecture')
    if name not in DIALECTS:
        raise UserError(
            f'model.path: {file} has the architecture {name!r:.40}, which is not one '
            f'of {", ".join(DIALECTS)}{meant(str(name), DIALECTS)}'
        )
    return name


def config_of(file: pathlib.Path, header: Header) -> dict[str, Any]:
    """The config of Hugging Face that is equivalent to the metadata.

    Raises:
        UserError: a key is missing or not handled, or has a value that is not.
    """
    arch = architecture(file, header)
    meta, dialect = Metadata(file, header, arch), DIALECTS[arch]
    heads, width = meta.need('attention.head_count'), meta.need('embedding_length')
    head_width = meta.get('attention.key_length', width // heads)
    for key in ('attention.value_length', 'rope.dimension_count'):
        if meta.get(key, head_width) != head_width:
            raise meta.error(key, f'the heads are {head_width} wide')
    if 'token_embd.weight' not in header.tensors:
        raise UserError(f'model.path: {file} has no token_embd.weight; copy it again')
    config = {
        'architectures': [dialect.model_class],
        'model_type': dialect.model_type,
        'vocab_size': header.tensors['token_embd.weight'].shape[0],
        'hidden_size': width,
        'intermediate_size': meta.need('feed_forward_length'),
        'num_hidden_layers': meta.need('block_count'),
        'num_attention_heads': heads,
        'num_key_value_heads': meta.get('attention.head_count_kv', heads),
        'head_dim': head_width,
        'max_position_embeddings': meta.need('context_length'),
        'rms_norm_eps': meta.need('attention.layer_norm_rms_epsilon'),
        'rope_theta': meta.get('rope.freq_base', 10000.0),
        'rope_scaling': _rope_scaling(file, header, meta),
        'tie_word_embeddings': 'output.weight' not in header.tensors,
        **_FIELDS[arch](meta, header),
        **ids(header),
    }
    meta.check_used()
    return config


def ids(header: Header) -> dict[str, int]:
    """The special ids that the metadata name, as a config names them."""
    named = {
        ours: header.metadata.get(f'tokenizer.ggml.{theirs}')
        for ours, theirs in _IDS.items()
    }
    return {name: number for name, number in named.items() if number is not None}


def _rope_scaling(file, header, meta):
    kind, factor = meta.get('rope.scaling.type'), meta.get('rope.scaling.factor')
    length = meta.get('rope.scaling.original_context_length')
    factor = factor or meta.get('rope.scale_linear')
    if ROPE_FACTORS in header.tensors:
        return _llama3(file, header, meta, length or _LLAMA3_LENGTH)
    if kind in (None, 'none') and factor in (None, 1.0):
        return None
    if kind in (None, 'linear') and factor:
        return {'rope_type': 'linear', 'factor': factor}
    if kind == 'yarn' and factor and length:
        return {
            'rope_type': 'yarn',
            'factor': factor,
            'original_max_position_embeddings': length,
        }
    raise meta.error('rope.scaling.type', 'it is not one of none, linear and yarn')


def _llama3(file, header, meta, length):
    """The scaling of Llama 3.1, whose result alone is in the file: what each frequency
    is divided by. It is taken where it gives that very result."""
    stored = tensor_of(file, ROPE_FACTORS, header.tensors[ROPE_FACTORS]).read()
    theta, half = meta.get('rope.freq_base', 10000.0), stored.size
    factor = float(stored.max())
    turns = length * theta ** -(np.arange(half) / half) / (2 * math.pi)
    low, high = _LLAMA3.values()
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    divided = 1 / ((1 - smooth) / factor + smooth)
    if not np.allclose(stored, divided, rtol=1e-4):
        raise UserError(
            f'model.path: {file}: {ROPE_FACTORS} is not the scaling of Llama 3.1; give '
            'the model as a folder of Hugging Face'
        )
    return {
        'rope_type': 'llama3',
        'factor': factor,
        'original_max_position_embeddings': length,
        **_LLAMA3,
    }


def _llama(meta, header):
    del meta
    return {
        'hidden_act': 'silu',
        'attention_bias': 'blk.0.attn_output.bias' in header.tensors,
        'mlp_bias': 'blk.0.ffn_up.bias' in header.tensors,
    }


def _qwen2(meta, header):
    del meta, header
    return {'hidden_act': 'silu', 'use_sliding_window': False}


def _qwen3(meta, header):
    bias = 'blk.0.attn_q.bias' in header.tensors
    return {**_qwen2(meta, header), 'attention_bias': bias}


def _gemma(meta, header):
    del meta, header
    act = 'gelu_pytorch_tanh'
    return {'hidden_act': act, 'hidden_activation': act, 'attention_bias': False}


def _windowed(meta, header, arch, every):
    """Every so-many-th layer sees all, the others a window."""
    heads, layers = meta.need('attention.head_count'), meta.need('block_count')
    width = meta.need('embedding_length')
    scaled_by = meta.get('attention.key_length', width // heads)
    if layers == _LARGEST_GEMMA[arch]:
        scaled_by = width // heads
    windowed = [bool((i + 1) % every) for i in range(layers)]
    if meta.layers(_PATTERN) not in (None, every, windowed):
        raise meta.error(_PATTERN, f'every {every}th layer must see all positions')
    kinds = ('full_attention', 'sliding_attention')
    return {
        **_gemma(meta, header),
        'query_pre_attn_scalar': scaled_by,
        'attn_logit_softcapping': meta.get('attn_logit_softcapping'),
        'final_logit_softcapping': meta.get('final_logit_softcapping'),
        'sliding_window': meta.need('attention.sliding_window'),
        'layer_types': [kinds[own] for own in windowed],
    }


def _gemma3(meta, header):
    local = meta.get('rope.freq_base_swa', 10000.0)
    return {
        **_windowed(meta, header, 'gemma3', 6),
        'rope_local_base_freq': local,
    }


_FIELDS: dict[str, Callable[[Metadata, Header], dict[str, Any]]] = {
    'llama': _llama,
    'qwen2': _qwen2,
    'qwen3': _qwen3,
    'gemma': _gemma,
    'gemma2': functools.partial(_windowed, arch='gemma2', every=2),
    'gemma3': _gemma3,
}
