"""Metadata of GGUF files as configs; what is not handled is refused by its name."""

import gguf_files
import numpy as np
import pytest

from perl.models.files import gguf_config, gguf_header
from perl.system.errors import UserError

GEMMA = {'attention.key_length': 16, 'attention.value_length': 16}
WINDOWED = {**GEMMA, 'attention.sliding_window': 24}


def config(tmp_path, arch='llama', values=(), said=(), tensors=None, without=()):
    values = {**gguf_files.SIZES, **dict(values)}
    values = {k: v for k, v in values.items() if k not in without}
    if tensors is None:
        tensors = {'token_embd.weight': np.zeros((96, 32), np.float32)}
    file = gguf_files.write(tmp_path / 'x.gguf', arch, values, tensors, said)
    return gguf_config.config_of(file, gguf_header.read_header(file))


def test_llama(tmp_path):
    said = {'tokenizer.ggml.bos_token_id': 1, 'tokenizer.ggml.padding_token_id': 0}
    assert config(tmp_path, said=said) == {
        'architectures': ['LlamaForCausalLM'],
        'model_type': 'llama',
        'vocab_size': 96,
        'hidden_size': 32,
        'intermediate_size': 64,
        'num_hidden_layers': 2,
        'num_attention_heads': 4,
        'num_key_value_heads': 2,
        'head_dim': 8,
        'max_position_embeddings': 64,
        'rms_norm_eps': 1e-5,
        'rope_theta': 10000.0,
        'rope_scaling': None,
        'tie_word_embeddings': True,
        'hidden_act': 'silu',
        'attention_bias': False,
        'mlp_bias': False,
        'bos_token_id': 1,
        'pad_token_id': 0,
    }


def test_an_unembedding_of_its_own(tmp_path):
    array = np.zeros((96, 32), np.float32)
    tensors = {'token_embd.weight': array, 'output.weight': array}
    assert config(tmp_path, tensors=tensors)['tie_word_embeddings'] is False


def test_what_may_be_left_out(tmp_path):
    found = config(tmp_path, without=('attention.head_count_kv', 'rope.freq_base'))
    assert (found['num_key_value_heads'], found['rope_theta']) == (4, 10000.0)


def test_one_number_for_every_layer(tmp_path):
    found = config(tmp_path, values={'attention.head_count_kv': [2, 2]})
    assert found['num_key_value_heads'] == 2
    with pytest.raises(UserError, match=r'head_count_kv is \[2, 4\]: a value of each'):
        config(tmp_path, values={'attention.head_count_kv': [2, 4]})


@pytest.mark.parametrize('arch', ['qwen2', 'qwen3'])
def test_qwen(tmp_path, arch):
    found = config(tmp_path, arch, {'attention.key_length': 16})
    assert (found['model_type'], found['head_dim']) == (arch, 16)
    assert found['use_sliding_window'] is False


def test_gemma(tmp_path):
    found = config(tmp_path, 'gemma', GEMMA)
    assert (found['model_type'], found['head_dim']) == ('gemma', 16)
    assert found['hidden_activation'] == 'gelu_pytorch_tanh'


def test_gemma_2(tmp_path):
    caps = {'attn_logit_softcapping': 50.0, 'final_logit_softcapping': 30.0}
    found = config(tmp_path, 'gemma2', {**WINDOWED, **caps, 'block_count': 3})
    assert {k: found[k] for k in caps} == caps
    assert (found['sliding_window'], found['query_pre_attn_scalar']) == (24, 16)
    sliding, full = 'sliding_attention', 'full_attention'
    assert found['layer_types'] == [sliding, full, sliding]


@pytest.mark.parametrize(('arch', 'layers'), [('gemma2', 46), ('gemma3', 62)])
def test_the_largest_gemma_scales_its_scores_otherwise(tmp_path, arch, layers):
    found = config(tmp_path, arch, {**WINDOWED, 'block_count': layers})
    assert found['query_pre_attn_scalar'] == 32 // 4


def test_gemma_3(tmp_path):
    values = {**WINDOWED, 'block_count': 8, 'rope.freq_base': 1e6}
    scaled = {'rope.scaling.type': 'linear', 'rope.scaling.factor': 8.0}
    found = config(tmp_path, 'gemma3', {**values, **scaled})
    assert found['model_type'] == 'gemma3_text'
    assert found['rope_theta'] == 1e6
    assert found['rope_local_base_freq'] == 10000.0
    assert found['rope_scaling'] == {'rope_type': 'linear', 'factor': 8.0}
    full = [i for i, x in enumerate(found['layer_types']) if x == 'full_attention']
    assert full == [5]


@pytest.mark.parametrize('pattern', [6, [True] * 5 + [False, True, True]])
def test_a_pattern_that_is_named(tmp_path, pattern):
    values = {**WINDOWED, 'block_count': 8, 'attention.sliding_window_pattern': pattern}
    assert config(tmp_path, 'gemma3', values)['layer_types'][5] == 'full_attention'
    values['attention.sliding_window_pattern'] = 4
    with pytest.raises(UserError, match='every 6th layer must see all positions'):
        config(tmp_path, 'gemma3', values)


def test_yarn(tmp_path):
    values = {
        'rope.scaling.type': 'yarn',
        'rope.scaling.factor': 4.0,
        'rope.scaling.original_context_length': 16,
    }
    assert config(tmp_path, 'qwen2', values)['rope_scaling'] == {
        'rope_type': 'yarn',
        'factor': 4.0,
        'original_max_position_embeddings': 16,
    }


@pytest.mark.parametrize('factor', [8.0, 32.0])
@pytest.mark.parametrize('half', [4, 32, 64])
def test_the_scaling_of_llama_3(tmp_path, factor, half):
    values = {'attention.key_length': 2 * half, 'rope.freq_base': 500000.0}
    written = gguf_files.factors(half, 500000.0, factor)
    tensors = {
        'token_embd.weight': np.zeros((96, 32), np.float32),
        'rope_freqs.weight': written,
    }
    assert config(tmp_path, values=values, tensors=tensors)['rope_scaling'] == {
        'rope_type': 'llama3',
        'factor': factor,
        'low_freq_factor': 1.0,
        'high_freq_factor': 4.0,
        'original_max_position_embeddings': 8192,
    }
    tensors['rope_freqs.weight'] = written[::-1].copy()
    with pytest.raises(UserError, match='is not the scaling of Llama'):
        config(tmp_path, values=values, tensors=tensors)


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'expert_count': 8}, r'llama\.expert_count is 8: it is not handled'),
        ({'attention.new': 1.0}, r'llama\.attention\.new is 1\.0: it is not handled'),
        ({'rope.scaling.type': 'longrope'}, 'is not one of none, linear and yarn'),
        ({'rope.scaling.type': 'yarn'}, 'is not one of none, linear and yarn'),
        ({'rope.dimension_count': 4}, 'dimension_count is 4: the heads are 8 wide'),
        ({'attention.value_length': 4}, 'value_length is 4: the heads are 8 wide'),
        ({'attention.causal': False}, r'causal is False: it is not handled'),
        ({'block_count': 0}, 'block_count is 0: a number above 0 was expected'),
        ({'block_count': 'two'}, "block_count is 'two': a number above 0"),
    ],
)
def test_what_is_not_handled(tmp_path, values, said):
    with pytest.raises(UserError, match=said):
        config(tmp_path, values=values)


@pytest.mark.parametrize(
    'values', [{'expert_count': 0}, {'vocab_size': 96}, {'attention.causal': True}]
)
def test_what_changes_nothing(tmp_path, values):
    assert config(tmp_path, values=values) == config(tmp_path)


def test_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="block_count is 'missing': a number above 0"):
        config(tmp_path, without=('block_count',))
    with pytest.raises(UserError, match=r'has no token_embd\.weight'):
        config(tmp_path, tensors={})


def test_another_architecture(tmp_path):
    with pytest.raises(UserError, match=r"'lama', which is not one of .* mean 'llama'"):
        config(tmp_path, 'lama')


def test_a_part_of_a_model(tmp_path):
    with pytest.raises(UserError, match='one part of a model in several files'):
        config(tmp_path, said={'split.count': 3})
