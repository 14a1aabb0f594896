"""Parameters of checkpoints: each tensor is used, each parameter is set."""

import dataclasses

import foreign
import jax
import numpy as np
import pytest
import tiny

from perl import weights
from perl.models import architecture
from perl.models.families import from_foreign, load
from perl.models.files import Checkpoint, Tensor
from perl.system.errors import UserError

ARCH = tiny.arch(scan=True)


def loaded(arrays=None, config=foreign.CONFIG, **options):
    source = Checkpoint(config, foreign.tensors(arrays), where='here')
    return load(source, from_foreign(config)[1], **options)


def test_every_parameter_is_set_from_its_tensor():
    arrays = foreign.arrays()
    params = loaded()
    said = weights.flatten(architecture.parameters(ARCH))
    got = weights.flatten(params)
    assert {k: x.shape for k, x in got.items()} == {k: x.shape for k, x in said.items()}
    q = arrays['model.layers.1.self_attn.q_proj.weight']
    np.testing.assert_array_equal(got['layers/attention/q'][1].reshape(16, 16), q.T)
    np.testing.assert_array_equal(got['embed'], arrays['model.embed_tokens.weight'])
    np.testing.assert_array_equal(got['unembed'], arrays['lm_head.weight'].T)


def test_leaves_are_placed_one_by_one_in_the_dtype_that_is_asked_for():
    seen = []

    def place(path, leaf, array):
        seen.append((path, leaf.shape == array.shape, str(array.dtype)))
        return path

    params = loaded(dtype='bfloat16', place=place)
    assert all(shape and dtype == 'bfloat16' for _, shape, dtype in seen)
    assert weights.flatten(params) == {path: path for path, _, _ in seen}
    assert len(seen) == len(weights.flatten(architecture.parameters(ARCH)))


def test_a_tensor_is_read_once():
    reads = []

    def counted(name, array):
        return Tensor(array.shape, array.dtype, lambda: reads.append(name) or array)

    arrays = foreign.arrays()
    tensors = {name: counted(name, x) for name, x in arrays.items()}
    load(Checkpoint(foreign.CONFIG, tensors), from_foreign(foreign.CONFIG)[1])
    assert sorted(reads) == sorted(arrays)


@pytest.mark.parametrize(
    'change, says',
    [
        ({'model.norm.weight': ...}, 'here has no tensor model.norm.weight'),
        ({'lm_head.weight': ...}, 'here has no tensor lm_head.weight'),
        ({'model.layers.0.self_attn.q_proj.bias': (16,)}, 'q_proj.bias would not be'),
        ({'model.layers.2.mlp.up_proj.weight': (24, 16)}, 'layers.2.mlp.up_proj'),
        ({'model.norm.weight': (15,)}, r'shape \(15,\), the config wants \(16,\)'),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_read(change, says):
    def unread():
        raise AssertionError('it was read')

    tensors = {
        name: Tensor(x.shape, x.dtype, unread) for name, x in foreign.arrays().items()
    }
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not ...:
            tensors[name] = Tensor(shape, np.dtype('float32'), unread)
    source = Checkpoint(foreign.CONFIG, tensors, where='here')
    with pytest.raises(UserError, match=says):
        load(source, from_foreign(foreign.CONFIG)[1])


def test_buffers_and_a_second_copy_of_a_tied_embedding_are_no_weights():
    config = foreign.CONFIG | {'tie_word_embeddings': True}
    arrays = foreign.arrays(config)
    arrays['model.layers.0.self_attn.rotary_emb.inv_freq'] = np.ones(2, np.float32)
    arrays['lm_head.weight'] = arrays['model.embed_tokens.weight']
    assert 'unembed' not in loaded(arrays, config)
    arrays['lm_head.weight'] = arrays['lm_head.weight'] + 1
    with pytest.raises(UserError, match='would not be used'):
        loaded(arrays, config)


def test_a_file_of_the_model_alone_has_no_prefix():
    arrays = foreign.arrays()
    short = {name.removeprefix('model.'): x for name, x in arrays.items()}
    tiny.close(loaded(short), loaded(arrays), atol=0)


def test_the_scores_of_a_classifier_become_the_head():
    config = foreign.CONFIG | {'architectures': ['LlamaForSequenceClassification']}
    arrays = foreign.arrays()
    del arrays['lm_head.weight']
    with pytest.raises(UserError, match='has no tensor score'):
        loaded(arrays, config)
    arrays['score.weight'] = np.arange(16, dtype=np.float32)[None]
    params = loaded(arrays, config)
    np.testing.assert_array_equal(params['head']['kernel'], np.arange(16))
    assert params['head']['bias'] == 0 and 'unembed' not in params
    arrays['score.weight'] = np.zeros((2, 16), np.float32)
    with pytest.raises(UserError, match=r'score.weight has shape \(2, 16\)'):
        loaded(arrays, config)


def test_what_is_loaded_runs():
    arch = dataclasses.replace(from_foreign(foreign.CONFIG)[1], scan=False)
    out = jax.jit(lambda p: p['embed'].sum())(loaded())
    assert np.isfinite(out) and arch == tiny.ARCH
