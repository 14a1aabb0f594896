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
    said = flatten(quantisation.declare(LEAVES, kind, 'bfloat16'))
    for path, leaf in LEAVES.items():
        kernel = path.startswith('layers') and leaf.inputs > 0
        assert quantisation.applies(path, leaf, kind) == kernel
        if not kernel:
            assert said[path] is leaf
            continue
        stored = quantisation.store(leaf, ARRAYS[path], kind, 'bfloat16')
        shapes = abstract(said[path])
        assert isinstance(stored, Stored)
        assert jax.tree.structure(stored) == jax.tree.structure(shapes), path
        for x, y in zip(*map(jax.tree.leaves, (stored, shapes)), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype), path


def test_each_layer_is_encoded_by_itself():
    leaf, arrays = LEAVES['layers/mlp/up'], ARRAYS['layers/mlp/up']
    stored = quantisation.store(leaf, arrays, 'nf4', 'float32')
    for i in range(tiny.ARCH.layers):
        alone = QUANTISATIONS['nf4'].encode(arrays[i], 1, 'float32')
        own = jax.tree.map(lambda x, i=i: x[i], stored)
        np.testing.assert_allclose(own.decode(), alone.decode(), rtol=1e-6)


def test_without_quantisation_all_are_arrays():
    plain = quantisation.declare(LEAVES, 'none', 'float32')
    assert flatten(plain) == LEAVES
