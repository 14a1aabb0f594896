"""Decoders as checkpoints of other projects."""

import dataclasses

import foreign
import jax
import numpy as np
import pytest
import tiny

from perl import weights
from perl.models import decoder
from perl.models.architecture import parameters
from perl.models.families import FAMILIES, from_foreign, load, to_foreign
from perl.models.families.tensors import names_of
from perl.models.files import Checkpoint
from perl.system.errors import UserError

TOKENS, POSITIONS = tiny.rows()
BIASED = {'qkv_bias': True, 'o_bias': True, 'mlp_bias': True}
KINDS = {
    'llama': {},
    'llama, biases': BIASED,
    'mistral': {'windows': (3,)},
    'qwen2': {'qkv_bias': True},
    'qwen3': {'qk_norm': 'head'},
    'olmo2': {'qk_norm': 'whole', 'norm_at': 'after', 'tied': True},
    'gemma2': {
        'norm': 'rms_offset', 'norm_at': 'both', 'embed_scale': 4.0, 'windows': (3, 0),
        'activation': 'gelu_tanh', 'query_scalar': 9, 'logit_cap': 2.0, 'tied': True,
        'attention_cap': 3.0,
    },
    'smollm3': {'unrotated': (False, True), 'tied': True},
    'gpt_neox': {
        **BIASED, 'norm': 'layer', 'gated': False, 'parallel': True, 'kv_heads': 4,
        'rope_width': 2, 'activation': 'gelu',
    },
    'gpt2': {
        **BIASED, 'norm': 'layer', 'gated': False, 'positions': 'learned',
        'kv_heads': 4, 'activation': 'gelu_tanh', 'tied': True,
    },
}  # fmt: skip


def states(arch, params):
    return decoder.hidden(arch, params, TOKENS, POSITIONS)


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_written_is_read_bit_for_bit(kind):
    arch = tiny.arch(scan=True, **KINDS[kind])
    params = tiny.weights(arch)
    written = to_foreign(arch, params, extra={'eos_token_id': 7})
    assert written.config['model_type'] == kind.split(',')[0]
    assert written.config['eos_token_id'] == 7
    assert from_foreign(written.config)[1] == arch
    back = load(written, arch)
    tiny.close(back, params, atol=0)


@pytest.mark.parametrize('kind', [*KINDS, 'phi3', 'gemma, biases'])
def test_a_name_gives_back_what_it_was_given(kind):
    """Joined tensors too: each number has one place."""
    options = {'gemma, biases': BIASED | {'mlp_bias': False}}
    arch = tiny.arch(**(KINDS | options).get(kind, {}))
    leaves = weights.flatten(parameters(arch))
    own = weights.flatten(tiny.weights(arch))
    for name in names_of(FAMILIES[kind.split(',')[0]], leaves):
        said = [leaves[path] for path in name.paths]
        parts = [np.asarray(own[path]) for path in name.paths]
        parts = [x[1] if name.layered else x for x in parts]
        tensor = name.theirs(parts, said)
        assert tensor.shape == name.shape(said)
        for got, want in zip(name.ours(tensor, said), parts, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize('changes', [{}, {'qkv_bias': True}, {'qk_norm': 'head'}])
def test_rotations_of_pairs_are_written_as_halves(changes):
    arch = tiny.arch(rope_layout='pairs', **changes)
    params = tiny.weights(arch)
    written = to_foreign(arch, params)
    read = dataclasses.replace(from_foreign(written.config)[1], scan=False)
    assert read.rope_layout == 'halves'
    got, want = states(read, load(written, read)), states(arch, params)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_a_head_makes_a_classifier():
    params = {**tiny.weights(), 'head': {**tiny.head(), 'bias': np.float32(0)}}
    written = to_foreign(tiny.ARCH, params)
    assert written.config['architectures'] == ['LlamaForSequenceClassification']
    assert 'lm_head.weight' not in written.tensors
    np.testing.assert_array_equal(
        written.tensors['score.weight'].read(), params['head']['kernel'][None]
    )
    arch = from_foreign(written.config)[1]
    back = load(written, arch)
    want = {k: v for k, v in params.items() if k != 'unembed'}
    jax.tree.map(np.testing.assert_array_equal, back, want)
    with pytest.raises(UserError, match=r'the head has the bias 0\.3'):
        to_foreign(tiny.ARCH, {**tiny.weights(), 'head': tiny.head()})


def test_parameters_that_are_missing_or_too_many_are_named():
    params = tiny.weights()
    with pytest.raises(UserError, match='unembed does not match the parameters of'):
        to_foreign(tiny.arch(tied=True), params)
    with pytest.raises(UserError, match='the decoder is not qwen2'):
        to_foreign(tiny.ARCH, params, FAMILIES['qwen2'])


def test_a_checkpoint_keeps_its_names():
    arrays = foreign.arrays()
    arch = from_foreign(foreign.CONFIG)[1]
    params = load(Checkpoint(foreign.CONFIG, foreign.tensors(arrays)), arch)
    written = to_foreign(arch, params)
    assert written.tensors.keys() == arrays.keys()
    for name, tensor in written.tensors.items():
        np.testing.assert_array_equal(tensor.read(), arrays[name])


def test_files_of_neox_name_the_unembedding_in_their_own_way():
    arch = tiny.arch(scan=True, **KINDS['gpt_neox'])
    params = tiny.weights(arch)
    written = to_foreign(arch, params)
    tensors = dict(written.tensors)
    tensors['lm_head.weight'] = tensors.pop('embed_out.weight')
    back = load(dataclasses.replace(written, tensors=tensors), arch)
    tiny.close(back, params, atol=0)
