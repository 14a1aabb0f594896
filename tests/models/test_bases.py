"""Bases from every kind of file, each parameter placed as soon as it is read."""

import dataclasses
import functools
import weakref

import foreign
import gguf_files
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tiny

from perl import sharding
from perl.models import base_file, bases, frozen_base, store
from perl.models import files as models
from perl.models.architecture import parameters
from perl.models.files import gguf_names
from perl.system import arrays
from perl.system.errors import UserError
from perl.weights import Stored, flatten


def keep(name, leaf, x):
    assert name.split('/')[0] in ('embed', 'layers', 'norm', 'unembed')
    assert leaf.shape == x.shape
    return jnp.asarray(x)


def test_a_base_of_ours(tmp_path):
    params = tiny.weights()
    store.save(tmp_path, tiny.ARCH, params)
    assert bases.describe(tmp_path) == tiny.ARCH
    found, base_id = bases.load(tmp_path, tiny.ARCH, keep)
    assert base_id == base_file.fingerprint(params)
    tiny.close(found, params, 0)


def test_the_folder_of_a_stage_is_told_its_base(tmp_path):
    store.save(tmp_path / 'base', tiny.ARCH, tiny.weights())
    with pytest.raises(UserError, match=f'not of a base; give {tmp_path}/base'):
        bases.describe(tmp_path)


def test_a_folder_of_hugging_face(tmp_path):
    values = foreign.arrays()
    arch = bases.describe(foreign.write(tmp_path, values))
    assert (arch.vocabulary, arch.width, arch.layers) == (32, 16, 2)
    assert (arch.heads, arch.kv_heads, arch.head_width, arch.hidden) == (4, 2, 4, 24)
    params, _ = bases.load(tmp_path, arch, keep)
    shapes = {name: x.shape for name, x in flatten(params).items()}
    assert shapes == {k: leaf.shape for k, leaf in flatten(parameters(arch)).items()}
    np.testing.assert_array_equal(params['embed'], values['model.embed_tokens.weight'])
    for i in range(2):
        name = f'model.layers.{i}.self_attn.k_proj.weight'
        k = params['layers']['attention']['k'][i].reshape(16, -1).T
        np.testing.assert_array_equal(k, values[name])


def test_gguf_is_the_same_model(tmp_path):
    """Written as llama.cpp writes it, with neighbours where others have halves."""
    values = {**gguf_files.SIZES}
    file = gguf_files.write(tmp_path / 'x.gguf', 'llama', values, gguf_files.tensors())
    read = models.open_checkpoint(file)
    models.write_checkpoint(tmp_path / 'folder', read.config, read.tensors)
    arch = bases.describe(file)
    assert bases.describe(tmp_path / 'folder') == arch
    found = [bases.load(path, arch, keep)[0] for path in (file, tmp_path / 'folder')]
    tiny.close(*found, 0)


@pytest.mark.parametrize('arch', gguf_names.DIALECTS)
def test_gguf_of_every_architecture(tmp_path, arch):
    values = {**gguf_files.SIZES, 'attention.key_length': 16}
    if arch in ('gemma2', 'gemma3'):
        values['attention.sliding_window'] = 24
    tensors = gguf_files.tensors(arch, values, tied='gemma' in arch)
    file = gguf_files.write(tmp_path / 'x.gguf', arch, values, tensors)
    described = bases.describe(file)
    params, _ = bases.load(file, described, keep)
    assert (described.head_width, described.tied) == (16, 'gemma' in arch)
    norm = tensors['output_norm.weight'] - (1 if 'gemma' in arch else 0)
    np.testing.assert_array_equal(jax.tree.leaves(params['norm'])[0], norm)


def test_fingerprints_are_of_weights_and_config(tmp_path):
    changed = foreign.arrays()
    changed['model.norm.weight'][0] += 1e-6
    theta = {**foreign.CONFIG, 'rope_theta': 5e5}
    folders = [
        foreign.write(tmp_path / 'a'),
        foreign.write(tmp_path / 'b', changed),
        foreign.write(tmp_path / 'c', config=theta),
        foreign.write(tmp_path / 'again'),
    ]
    found = [bases.load(x, bases.describe(x), keep)[1] for x in folders]
    assert len({*found}) == 3
    assert found[0] == found[3]


def test_the_compute_dtype_changes_no_fingerprint(tmp_path):
    foreign.write(tmp_path, foreign.arrays(dtype=ml_dtypes.bfloat16))
    arch = bases.describe(tmp_path)
    half = dataclasses.replace(arch, dtype='bfloat16')
    found = [bases.load(tmp_path, x, keep)[1] for x in (arch, half)]
    assert found[0] == found[1]


def test_each_parameter_is_placed_before_the_next_is_read(tmp_path, monkeypatch):
    """So what waits in host memory is never more than one of them."""
    foreign.write(tmp_path)
    waiting, most, read = [], [], models.Tensor.read

    def watched(tensor):
        array = read(tensor)
        waiting.append(array.nbytes)
        return array

    def place(name, leaf, x):
        most.append((sum(waiting), x.nbytes))
        waiting.clear()
        return jax.device_put(x)

    monkeypatch.setattr(models.Tensor, 'read', watched)
    bases.load(tmp_path, bases.describe(tmp_path), place)
    assert len(most) > 8
    for before, own in most:
        assert before <= 2 * own  # a tensor is read through the fingerprint's account


def test_each_parameter_of_ours_is_let_go_before_the_next_is_read(
    tmp_path, monkeypatch
):
    store.save(tmp_path, tiny.ARCH, tiny.weights())
    alive, read = [], arrays.read

    def watched(*args):
        assert not any(x() is not None for x in alive)
        array = read(*args)
        alive.append(weakref.ref(array))
        return array

    monkeypatch.setattr(arrays, 'read', watched)
    bases.load(tmp_path, tiny.ARCH, lambda name, leaf, x: x.copy())
    assert len(alive) == len(flatten(parameters(tiny.ARCH)))


def quantised(path, kind):
    """A base as a run has it, what was read and encoded, and what it is to be."""
    arch = dataclasses.replace(bases.describe(path), quantization=kind)
    mesh = sharding.make_mesh()
    place = functools.partial(frozen_base.place_leaf, arch, mesh)
    encode = functools.partial(frozen_base.encoder, arch)
    whole = frozen_base.place(arch, bases.load(path, arch, keep)[0], mesh)
    return bases.load(path, arch, place, encode)[0], whole


@pytest.mark.parametrize('kind', ['nf4', 'int4', 'fp8'])
@pytest.mark.parametrize('ours', [True, False])
def test_a_base_that_is_stored_as_it_is_read(tmp_path, ours, kind):
    """It equals the one that is encoded once it is there whole."""
    if ours:
        store.save(tmp_path, tiny.ARCH, tiny.weights())
    else:
        foreign.write(tmp_path)
    found, whole = quantised(tmp_path, kind)
    assert jax.tree.structure(found) == jax.tree.structure(whole)
    assert any(isinstance(x, Stored) for x in flatten(found).values())
    for x, y in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('ours', [True, False])
def test_a_layer_is_stored_before_the_next_is_read(tmp_path, monkeypatch, ours):
    if ours:
        store.save(tmp_path, tiny.ARCH, tiny.weights())
    else:
        foreign.write(tmp_path)
    arch, done, read = bases.describe(tmp_path), [], arrays.read

    def watched(*args):
        done.append('read')
        return read(*args)

    def encode(path, leaf):
        def layer(x):
            assert x.shape == leaf.shape[1:]
            done.append('encode')
            return x

        return layer if path == 'layers/mlp/up' else None

    monkeypatch.setattr(arrays, 'read', watched)
    bases.load(tmp_path, arch, keep, encode)
    text = ' '.join(done)
    assert text.count('read encode') == text.count('encode') == arch.layers


def test_a_run_folder_and_a_base_of_ours_have_files_of_the_same_name(tmp_path):
    store.save(tmp_path, tiny.ARCH, tiny.weights())
    (tmp_path / 'config.json').write_text('{}')
    assert bases.describe(tmp_path) == tiny.ARCH


@pytest.mark.parametrize('begin', [b'PK\x03\x04', b'\x80\x02}q\x00'])
def test_a_pickle_with_the_name_of_a_llama2c_file(tmp_path, begin):
    (tmp_path / 'pytorch_model.bin').write_bytes(begin + bytes(100))
    for call in (bases.describe, lambda x: bases.load(x, tiny.ARCH, keep)):
        with pytest.raises(UserError, match=r'model\.bin is a pickle; .*never opened'):
            call(tmp_path / 'pytorch_model.bin')


@pytest.mark.parametrize('name', ['x.pt', 'x.gguf', 'folder'])
def test_what_is_not_there(tmp_path, name):
    for call in (bases.describe, lambda x: bases.load(x, tiny.ARCH, keep)):
        with pytest.raises(UserError, match=r'model\.path: .* is not there'):
            call(tmp_path / name)


def test_a_tensor_too_few_or_too_many(tmp_path):
    values = foreign.arrays()
    lost = values.pop('model.layers.1.mlp.up_proj.weight')
    arch = bases.describe(foreign.write(tmp_path / 'whole'))
    few = foreign.write(tmp_path / 'few', values)
    many = foreign.write(tmp_path / 'many', foreign.arrays() | {'model.extra': lost})
    for call in (bases.describe, lambda x: bases.load(x, arch, keep)):
        with pytest.raises(UserError, match=r'no tensor .*layers\.1\.mlp\.up_proj'):
            call(few)
        with pytest.raises(UserError, match=r'tensor model\.extra would not be used'):
            call(many)


def test_a_classifier_is_no_base(tmp_path):
    config = {**foreign.CONFIG, 'architectures': ['LlamaForSequenceClassification']}
    with pytest.raises(UserError, match='is a classifier, which has no logits'):
        bases.describe(foreign.write(tmp_path, config=config))
