"""Foreign configs as decoders: every key is handled, ignored or an error."""

import dataclasses

import foreign
import numpy as np
import pytest
import tiny

from perl.models.families import (
    FAMILIES,
    family_named,
    from_foreign,
    is_classifier,
    to_config,
)
from perl.models.scaling import Scaling
from perl.system.errors import UserError

SIZES = {k: v for k, v in foreign.CONFIG.items() if k not in ('architectures',)}
GPT2 = {'model_type': 'gpt2', 'vocab_size': 32, 'n_embd': 16, 'n_head': 4}
GPT2 |= {'n_layer': 3, 'n_positions': 64}
KINDS = ['full_attention', 'sliding_attention', 'sliding_attention']


def arch(family='llama', **changes):
    """The decoder of a small config; a change to `...` takes a key away."""
    base = GPT2 if family == 'gpt2' else SIZES
    config = {**base, 'model_type': family, **changes}
    if family == 'gpt_neox':
        own = {k: v for k, v in config.items() if k not in NOT_OF_NEOX}
        config = own | changes
    return from_foreign({k: v for k, v in config.items() if v is not ...})[1]


NOT_OF_NEOX = ('num_key_value_heads', 'head_dim', 'rms_norm_eps', 'rope_theta')


def test_a_llama_is_read_whole():
    family, read = from_foreign(foreign.CONFIG)
    assert family is FAMILIES['llama']
    assert read == tiny.arch(scan=True)


@pytest.mark.parametrize(
    'family, changes, fields',
    [
        ('llama', {'num_key_value_heads': ...}, {'kv_heads': 4}),
        ('llama', {'num_key_value_heads': None}, {'kv_heads': 4}),
        ('llama', {'head_dim': ..., 'hidden_size': 32}, {'head_width': 8}),
        ('llama', {'head_dim': 10}, {'head_width': 10}),
        ('llama', {'rms_norm_eps': ...}, {'norm_eps': 1e-6}),
        ('llama', {'tie_word_embeddings': ...}, {'tied': False}),
        ('llama', {'attention_bias': True}, {'qkv_bias': True, 'o_bias': True}),
        ('llama', {'mlp_bias': True}, {'mlp_bias': True, 'o_bias': False}),
        ('llama', {'hidden_act': 'gelu'}, {'activation': 'gelu'}),
        ('llama', {'torch_dtype': 'bfloat16', 'dtype': 'float16'}, {}),
        ('llama', {'_name_or_path': 'x', 'use_cache': False}, {}),
        ('llama', {'rope_scaling': None, 'pretraining_tp': 4}, {}),
        (
            'llama',
            {'unsloth_fixed': True, 'unsloth_version': '2025.1', 'use_return_dict': 1},
            {},
        ),
        ('llama', {'hidden_dropout_prob': 0, 'attention_probs_dropout_prob': 0}, {}),
        (
            'llama',
            {'max_sequence_length': 32, 'gradient_checkpointing': False},
            {'max_length': 64},
        ),
        ('mistral', {'num_attention_heads': 8}, {'windows': (4096,)}),
        ('mistral', {'sliding_window': None}, {'windows': ()}),
        ('qwen2', {}, {'qkv_bias': True, 'o_bias': False, 'windows': ()}),
        (
            'qwen2',
            {'use_sliding_window': False, 'max_window_layers': 0},
            {'windows': ()},
        ),
        (
            'qwen2',
            {'use_sliding_window': True, 'max_window_layers': 1, 'sliding_window': 7},
            {'windows': (0, 7)},
        ),
        ('qwen3', {'head_dim': ...}, {'head_width': 128, 'qk_norm': 'head'}),
        (
            'qwen3',
            {
                'use_sliding_window': True, 'num_hidden_layers': 3, 'sliding_window': 7,
                'layer_types': KINDS,
            },
            {'windows': (0, 7, 7)},
        ),
        ('gemma', {'hidden_act': 'gelu', 'head_dim': ...}, {'head_width': 256}),
        (
            'gemma',
            {'hidden_act': 'gelu', 'tie_word_embeddings': ...},
            {'activation': 'gelu_tanh', 'tied': True, 'embed_scale': 4.0},
        ),
        ('gemma', {'hidden_act': ..., 'hidden_activation': None}, {'gated': True}),
        (
            'gemma2',
            {'hidden_act': 'silu'},
            {
                'activation': 'gelu_tanh', 'windows': (4096, 0), 'logit_cap': 30.0,
                'attention_cap': 50.0, 'query_scalar': 256, 'norm_at': 'both',
            },
        ),
        ('gemma2', {'final_logit_softcapping': None}, {'logit_cap': 0.0}),
        (
            'gemma3_text',
            {'num_hidden_layers': 6, 'rope_theta': ...},
            {
                'windows': (4096,) * 5 + (0,), 'rope_theta': 1e6,
                'rope_local_theta': 1e4, 'logit_cap': 0.0,
            },
        ),
        ('smollm3', {'num_hidden_layers': 8}, {'unrotated': (False,) * 3 + (True,)}),
        ('smollm3', {'no_rope_layers': [1, 1]}, {'unrotated': ()}),
        ('smollm3', {'rope_theta': ...}, {'rope_theta': 2e6}),
        ('phi3', {'partial_rotary_factor': 0.5}, {'rope_width': 2}),
        ('phi3', {'original_max_position_embeddings': 64}, {'rope_scaling': None}),
        ('olmo2', {}, {'norm_at': 'after', 'qk_norm': 'whole'}),
        ('gpt_neox', {'hidden_size': 32}, {'rope_width': 2, 'parallel': True}),
        ('gpt_neox', {'rotary_pct': 1.0}, {'rope_width': 0, 'norm': 'layer'}),
        (
            'gpt_neox',
            {'hidden_size': 32, 'rotary_pct': 0.5, 'partial_rotary_factor': 0.5},
            {'rope_width': 4},
        ),
        (
            'gpt_neox',
            {'rotary_emb_base': 77, 'rope_theta': 77.0, 'hidden_size': 32},
            {'rope_theta': 77},
        ),
        (
            'gpt2',
            {'n_special': 0, 'predict_special_tokens': True, 'output_past': True},
            {'tied': True},
        ),
        ('gpt2', {}, {'hidden': 64, 'tied': True, 'positions': 'learned'}),
        ('gpt2', {'n_inner': 20, 'n_ctx': 64}, {'hidden': 20, 'kv_heads': 4}),
    ],
)  # fmt: skip
def test_what_a_config_says(family, changes, fields):
    read = arch(family, **changes)
    assert {name: getattr(read, name) for name in fields} == fields


@pytest.mark.parametrize(
    'family, changes, says',
    [
        ('llama', {'attention_multiplier': 0.5}, 'the key attention_multiplier is not'),
        ('llama', {'sliding_window': 8}, 'the key sliding_window is not handled'),
        (
            'llama',
            {'hiden_act': 'silu'},
            "hiden_act .*mean 'hidden_act'",
        ),
        ('llama', {'hidden_act': 'mish'}, "hidden_act is 'mish'.*one of silu"),
        ('llama', {'hidden_size': ...}, 'has no hidden_size'),
        (
            'llama',
            {'num_key_value_heads': 3},
            'heads=4 is not a multiple of kv_heads=3',
        ),
        ('llama', {'head_dim': ..., 'hidden_size': 18}, 'num_attention_heads is 4'),
        ('llama', {'hidden_size': 'wide'}, "hidden_size is 'wide', .*a whole number"),
        ('llama', {'num_hidden_layers': '2'}, "num_hidden_layers is '2', .*a whole"),
        ('gpt_neox', {'num_hidden_layers': 0}, 'num_hidden_layers is 0, .*above 0'),
        ('llama', {'head_dim': '8'}, "head_dim is '8', .*a whole"),
        ('llama', {'rms_norm_eps': -1}, r'config\.json: model\.norm_eps: -1 must be'),
        ('llama', {'attention_bias': 'no'}, "attention_bias is 'no'.*True, False"),
        ('llama', {'partial_rotary_factor': 0.5}, 'partial_rotary_factor is 0.5'),
        ('llama', {'quantization_config': {'bits': 4}}, 'quantization_config is'),
        ('llama', {'architectures': ['LlamaForTokenClassification']}, 'architectures'),
        ('llama', {'rope_interleaved': True}, 'rope_interleaved is True'),
        ('lama', {}, "model_type 'lama' is not one of .*did you mean 'llama'"),
        ('gemma3', {}, 'gemma3'),
        ('mistral', {'layer_types': KINDS}, 'the key layer_types is not handled'),
        ('qwen2', {'layer_types': ['sliding_attention'] * 2}, 'sliding_window is None'),
        ('qwen3', {'layer_types': ['full_attention'] * 3}, 'must have 2 kinds'),
        ('qwen3', {'layer_types': ['chunked', 'x']}, "layer_types is 'chunked'"),
        ('gemma', {'hidden_activation': 'relu'}, "hidden_activation is 'relu'"),
        (
            'gemma2',
            {'use_bidirectional_attention': True},
            'use_bidirectional_attention',
        ),
        ('smollm3', {'no_rope_layers': [1]}, 'no_rope_layers is .*have 2 values'),
        ('phi3', {'lm_head_bias': True}, 'lm_head_bias is True'),
        ('gpt_neox', {'rope_theta': 5.0}, 'rope_theta is 5.0.*rotary_emb_base is 1'),
        ('gpt_neox', {'partial_rotary_factor': 1.0}, 'rotary_pct is 0.25'),
        ('gpt_neox', {'rotary_pct': 0.0}, 'rotary_pct is 0.0.*no part of a head'),
        ('gpt2', {'scale_attn_by_inverse_layer_idx': True}, 'scale_attn_by_inverse'),
        ('gpt2', {'add_cross_attention': True}, 'add_cross_attention is True'),
    ],
)
def test_what_is_not_supported_is_named(family, changes, says):
    changes = {'hidden_act': ..., **changes} if family == 'gemma' else changes
    with pytest.raises(UserError, match=says):
        arch(family, **changes)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_config_that_is_written_gives_the_same_decoder(name):
    row = FAMILIES[name]
    changes = {'hidden_size': 32} if name == 'gpt_neox' else {}
    changes |= {'head_dim': 8} if name not in ('gpt2', 'gpt_neox') else {}
    if name.startswith('gemma'):
        changes['hidden_act'] = 'gelu_pytorch_tanh'
    if name == 'mistral':
        changes['sliding_window'] = 5
    read = arch(row.model_type, **changes)
    run = dataclasses.replace(read, scan=False, dtype='bfloat16', pieces=20)
    config = to_config(run, row)
    assert config['model_type'] == row.model_type
    assert from_foreign(config)[1] == read
    assert from_foreign(to_config(run))[1] == read


def test_a_decoder_that_no_family_describes():
    with pytest.raises(UserError, match='the decoder is not one of llama'):
        to_config(tiny.arch(o_bias=True, qk_norm='whole'))
    with pytest.raises(UserError, match='the decoder is not llama in the format'):
        to_config(tiny.arch(qkv_bias=True), FAMILIES['llama'])


def test_a_classifier_declares_no_unembedding():
    config = foreign.CONFIG | {'architectures': ['LlamaForSequenceClassification']}
    assert is_classifier(config) and not is_classifier(foreign.CONFIG)
    assert from_foreign(config)[1].tied


def test_a_scaled_window_is_read():
    values = {'rope_type': 'yarn', 'factor': 4.0, 'beta_fast': 16}
    read = arch('llama', rope_scaling=values)
    scaling = Scaling('yarn', 4.0, 64, fast=16, magnitude=0.1 * np.log(4.0) + 1)
    assert read.rope_scaling == scaling and hash(read)


@pytest.mark.parametrize(
    'name, says',
    [('lama', "did you mean 'llama'"), ('json:dumps', 'is not a perl.models.families')],
)
def test_an_unknown_family_is_named(name, says):
    with pytest.raises(UserError, match=says):
        family_named(name)
