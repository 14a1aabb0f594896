"""Names of llama.cpp, and what it does to tensors."""

import numpy as np
import pytest

from perl.models.files import Tensor, gguf_names
from perl.models.files.gguf_names import DIALECTS


@pytest.mark.parametrize(
    ('arch', 'theirs', 'ours'),
    [
        ('llama', 'token_embd.weight', 'model.embed_tokens.weight'),
        ('llama', 'output_norm.weight', 'model.norm.weight'),
        ('llama', 'output.weight', 'lm_head.weight'),
        ('llama', 'blk.0.attn_norm.weight', 'model.layers.0.input_layernorm.weight'),
        ('llama', 'blk.11.ffn_norm.weight',
         'model.layers.11.post_attention_layernorm.weight'),
        ('qwen2', 'blk.3.attn_q.bias', 'model.layers.3.self_attn.q_proj.bias'),
        ('qwen3', 'blk.3.attn_q_norm.weight', 'model.layers.3.self_attn.q_norm.weight'),
        ('gemma2', 'blk.3.ffn_norm.weight',
         'model.layers.3.pre_feedforward_layernorm.weight'),
        ('gemma3', 'blk.3.post_ffw_norm.weight',
         'model.layers.3.post_feedforward_layernorm.weight'),
        ('gemma3', 'blk.3.post_attention_norm.weight',
         'model.layers.3.post_attention_layernorm.weight'),
        ('qwen2', 'blk.3.attn_q_norm.weight', None),
        ('llama', 'blk.0.ffn_gate_exps.weight', None),
        ('llama', 'attn_norm.weight', None),
        ('llama', 'blk.0.token_embd.weight', None),
        ('llama', 'x', None),
    ],
)  # fmt: skip
def test_names(arch, theirs, ours):
    assert gguf_names.name_of(DIALECTS[arch], theirs) == ours


def permuted(weights, heads):
    """The reordering of llama.cpp's convert_hf_to_gguf.py, `LlamaModel.permute`."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


@pytest.mark.parametrize('heads', [1, 2, 3])
@pytest.mark.parametrize('shape', [(24, 5), (24,)])
def test_halves_undo_what_llama_cpp_does(heads, shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(gguf_names.halves(permuted(x, heads), heads), x)


CONFIG = {'num_attention_heads': 4, 'num_key_value_heads': 2}
LAYER = 'model.layers.0.'


@pytest.mark.parametrize(
    ('arch', 'name', 'changes'),
    [
        ('llama', 'self_attn.q_proj.weight', True),
        ('llama', 'self_attn.k_proj.bias', True),
        ('llama', 'self_attn.v_proj.weight', False),
        ('qwen2', 'self_attn.q_proj.weight', False),
        ('llama', 'input_layernorm.weight', False),
        ('gemma', 'input_layernorm.weight', True),
        ('gemma3', 'self_attn.q_norm.weight', True),
        ('qwen3', 'self_attn.q_norm.weight', False),
        ('gemma2', 'mlp.up_proj.weight', False),
    ],
)
def test_what_is_undone(arch, name, changes):
    x = np.arange(16, dtype=np.float32)
    found = gguf_names.undone(DIALECTS[arch], LAYER + name, Tensor.of(x), CONFIG)
    assert (found.shape, found.dtype) == ((16,), np.float32)
    want = x
    if changes and name.endswith('norm.weight'):
        want = x - 1
    elif changes:
        want = gguf_names.halves(x, 4 if 'q_proj' in name else 2)
    np.testing.assert_array_equal(found.read(), want)
    assert (found.read() != x).any() == changes
