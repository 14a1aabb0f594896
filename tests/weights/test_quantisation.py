"""A whole base in few bits."""

import jax
import numpy as np
import pytest
import tiny

from perl.models import architecture
from perl.weights import QUANTISATIONS, Stored, abstract, flatten, quantisation

LEAVES = flatten(architecture.parameters(tiny.ARCH))
ARRAYS = flatten(tiny.weights())


@pytest.mark.parametrize('kind', QUANTISATIONS)
def test_it_has_the_arrays_that_are_declared(kind):
    said = abstract(quantisation.declare(LEAVES, kind, 'bfloat16'), 'bfloat16')
    said = flatten(said)
    for path, leaf in LEAVES.items():
        held = quantisation.store(path, leaf, ARRAYS[path], kind, 'bfloat16')
        assert jax.tree.structure(held) == jax.tree.structure(said[path]), path
        for x, y in zip(*map(jax.tree.leaves, (held, said[path])), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        kernel = path.startswith('layers') and leaf.inputs > 0
        assert isinstance(held, Stored) == kernel


def test_each_layer_is_encoded_by_itself():
    path = 'layers/mlp/up'
    held = quantisation.store(path, LEAVES[path], ARRAYS[path], 'nf4', 'float32')
    for i in range(tiny.ARCH.layers):
        alone = QUANTISATIONS['nf4'].encode(ARRAYS[path][i], 1, 'float32')
        own = jax.tree.map(lambda x, i=i: x[i], held)
        np.testing.assert_allclose(own.decode(), alone.decode(), rtol=1e-6)


def test_without_quantisation_all_are_arrays():
    plain = quantisation.declare(LEAVES, 'none', 'float32')
    assert flatten(plain) == LEAVES
    held = quantisation.store('norm', LEAVES['norm'], ARRAYS['norm'], 'none', 'float16')
    assert held.dtype == 'float16'
