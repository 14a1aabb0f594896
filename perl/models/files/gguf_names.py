"""How llama.cpp names and changes the tensors of each architecture, undone.

Source: the converters of llama.cpp (convert_hf_to_gguf.py, gguf/tensor_mapping.py).
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perl.models.files.checkpoint import Tensor

ROPE_FACTORS = 'rope_freqs.weight'  # of Llama 3.1: part of its config, not a weight
_OUTSIDE = {
    'token_embd': 'model.embed_tokens',
    'output_norm': 'model.norm',
    'output': 'lm_head',
}
_INSIDE = {
    'attn_norm': 'input_layernorm',
    'attn_q': 'self_attn.q_proj',
    'attn_k': 'self_attn.k_proj',
    'attn_v': 'self_attn.v_proj',
    'attn_output': 'self_attn.o_proj',
    'ffn_norm': 'post_attention_layernorm',
    'ffn_gate': 'mlp.gate_proj',
    'ffn_up': 'mlp.up_proj',
    'ffn_down': 'mlp.down_proj',
}
_NORMS_OF_HEADS = {'attn_q_norm': 'self_attn.q_norm', 'attn_k_norm': 'self_attn.k_norm'}
_NORMS_AFTER = {
    'post_attention_norm': 'post_attention_layernorm',
    'ffn_norm': 'pre_feedforward_layernorm',
    'post_ffw_norm': 'post_feedforward_layernorm',
}


@dataclasses.dataclass(frozen=True)
class Dialect:
    """What llama.cpp does to the models of one architecture.

    Attributes:
        model_type, model_class: of Hugging Face.
        inside: names of the tensors of a layer, ours by theirs.
        pairs: the rows of q and k are reordered so that the two components of a
            rotation are neighbours.
        norms_plus_one: norms are stored as 1 + w.
    """

    model_type: str
    model_class: str
    inside: Mapping[str, str] = dataclasses.field(default_factory=lambda: _INSIDE)
    pairs: bool = False
    norms_plus_one: bool = False


DIALECTS = {
    'llama': Dialect('llama', 'LlamaForCausalLM', pairs=True),
    'qwen2': Dialect('qwen2', 'Qwen2ForCausalLM'),
    'qwen3': Dialect('qwen3', 'Qwen3ForCausalLM', _INSIDE | _NORMS_OF_HEADS),
    'gemma': Dialect('gemma', 'GemmaForCausalLM', norms_plus_one=True),
    'gemma2': Dialect(
        'gemma2', 'Gemma2ForCausalLM', _INSIDE | _NORMS_AFTER, norms_plus_one=True
    ),
    'gemma3': Dialect(
        'gemma3_text',
        'Gemma3ForCausalLM',
        _INSIDE | _NORMS_AFTER | _NORMS_OF_HEADS,
        norms_plus_one=True,
    ),
}


def name_of(dialect: Dialect, theirs: str) -> str | None:
    """Hugging Face's name of a tensor of llama.cpp; None where it is not known."""
    parts = re.fullmatch(r'(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)', theirs)
    if not parts:
        return None
    layer, name, end = parts.groups()
    ours = (_OUTSIDE if layer is None else dialect.inside).get(name)
    if ours is None:
        return None
    return f'{ours}.{end}' if layer is None else f'model.layers.{layer}.{ours}.{end}'


def undone(
    dialect: Dialect, name: str, tensor: Tensor, config: Mapping[str, Any]
) -> Tensor:
    """The tensor of any shape as Hugging Face has it, under its name there."""
    if dialect.norms_plus_one and name.endswith('norm.weight'):
        return _changed(tensor, lambda x: x - np.ones((), x.dtype))
    for proj, heads in (('q', 'num_attention_heads'), ('k', 'num_key_value_heads')):
        if dialect.pairs and f'.self_attn.{proj}_proj.' in name:
            return _changed(tensor, functools.partial(halves, heads=config[heads]))
    return tensor


def halves(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows `[H * N, ...]` of neighbours (2i, 2i + 1) as halves (i, i + N / 2)."""
    return (
        x.reshape(heads, -1, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)  # [H, 2]
    )


def _changed(tensor: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return Tensor(tensor.shape, tensor.dtype, lambda: change(tensor.read()))
