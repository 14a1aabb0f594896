"""The file of a base whose kernels are in few bits, or of a reward model."""

import json

import jax
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from perl import sharding
from perl.models import base_file, bases, decoder, frozen_base, store
from perl.system import arrays
from perl.system.errors import UserError
from perl.weights import QUANTISATIONS, Stored, flatten

TOKENS, POSITIONS = tiny.rows()


def stored(kind, **changes):
    """The tiny decoder with its kernels in few bits."""
    arch = tiny.arch(quantization=kind, **changes)
    return arch, frozen_base.place(arch, tiny.weights(arch), sharding.make_mesh())


@pytest.mark.parametrize('kind', QUANTISATIONS)
def test_a_base_in_few_bits_comes_back(kind, tmp_path):
    arch, params = stored(kind)
    store.save(tmp_path, arch, jax.device_get(params))
    got_arch, got = store.load(tmp_path)
    assert got_arch == arch == bases.describe(tmp_path)
    assert jax.tree.structure(got) == jax.tree.structure(params)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(params), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    names = arrays.shapes(tmp_path / 'model.safetensors')
    assert 'layers/mlp/up/codes' in names and 'layers/mlp/up' not in names
    assert store.read(tmp_path, lambda *x: None)[2] == base_file.fingerprint(params)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_it_is_placed_as_it_lies_and_decoded_to_the_dtype_of_the_run(dtype, tmp_path):
    """A loader that would encode kernels leaves those alone that are."""
    arch, params = stored('int4')
    store.save(tmp_path, arch, jax.device_get(params))
    run = store.changed(arch, dtype=dtype)
    mesh = sharding.make_mesh()
    place = lambda *x: frozen_base.place_leaf(run, mesh, *x)  # noqa: E731
    encode = lambda *x: frozen_base.encoder(run, *x)  # noqa: E731
    got, _ = bases.load(tmp_path, run, place, encode)
    kernels = [x for x in flatten(got).values() if isinstance(x, Stored)]
    assert len(kernels) == 7 and {x.dtype for x in kernels} == {dtype}
    assert str(got['embed'].dtype) == dtype
    np.testing.assert_array_equal(
        got['layers']['mlp']['up'].codes, params['layers']['mlp']['up'].codes
    )
    want = decoder.hidden(arch, params, TOKENS, POSITIONS)
    states = decoder.hidden(run, got, TOKENS, POSITIONS)
    tolerance = 1e-6 if dtype == 'float32' else 0.1
    np.testing.assert_allclose(states.astype('float32'), want, atol=tolerance)


def test_a_reward_model_is_no_language_model(tmp_path):
    arch, params = stored('int4')
    store.save(tmp_path / 'base', arch, jax.device_get(params))
    store.save(
        tmp_path / 'reward', arch, {**jax.device_get(params), 'head': tiny.head()}
    )
    assert bases.is_classifier(tmp_path / 'reward')
    assert not bases.is_classifier(tmp_path / 'base')
    got = store.load(tmp_path / 'reward')[1]
    tiny.close(got['head'], tiny.head(), 0)
    assert bases.describe(tmp_path / 'reward', scores=True) == arch
    with pytest.raises(UserError, match='reward is a classifier, which has no logits'):
        bases.describe(tmp_path / 'reward')


@pytest.mark.parametrize(
    ('name', 'change', 'says'),
    [
        ('layers/mlp/up/scale', lambda x: None, 'up/scale has shape None'),
        ('layers/mlp/up/scale', lambda x: x[:1], 'up/scale has shape'),
        (
            'layers/mlp/up/codes',
            lambda x: x.astype(np.int32),
            'int32, not one of uint8',
        ),
        ('layers/mlp/up/scale', lambda x: x * np.nan, 'up/scale are NaN or infinite'),
    ],
)
def test_arrays_that_are_not_those_of_the_card(name, change, says, tmp_path):
    arch, params = stored('int4')
    store.save(tmp_path, arch, jax.device_get(params))
    file, card = tmp_path / 'model.safetensors', tmp_path / 'model.json'
    held = load_file(file)
    held[name] = change(held[name])
    save_file({k: x for k, x in held.items() if x is not None}, file)
    values = json.loads(card.read_text())
    kept = {k: x for k, x in values.items() if k not in ('sha256', 'checksum')}
    card.write_text(json.dumps(kept))
    with pytest.raises(UserError, match=says):
        store.load(tmp_path)
