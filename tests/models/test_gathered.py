"""Weights of a layer gathered over `fsdp`, and their gradients divided again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows_of_tunings
import tiny

from perl import sharding
from perl.adapters import tree
from perl.models import decoder
from perl.models.gathered import gathered_layer
from perl.weights import LAYERS, flatten

ARCH = tiny.arch(scan=True, remat=True)


def layer(arch=ARCH):
    """The weights of the first layer, with LoRA everywhere."""
    bound = tree.bind(tiny.weights(arch), tiny.adapter(arch))
    return jax.tree.map(lambda x: x[0], bound[LAYERS])


def parts(x):
    return {shard.data.shape for shard in x.addressable_shards}


def test_kernels_and_factors_are_whole_over_fsdp_alone():
    weights = layer()
    with jax.set_mesh(sharding.make_mesh(2, 2, 2)):
        whole = jax.jit(lambda w: gathered_layer(ARCH, w))(weights)
    tiny.close(whole, weights)
    q, o = whole['attention']['q'], whole['attention']['o']
    assert parts(q.base) == {(16, 2, 4)} and parts(o.base) == {(2, 4, 16)}
    assert parts(q.lora.a) == {(16, 3)} and parts(q.lora.b) == {(3, 2, 4)}
    assert parts(o.lora.a) == {(2, 4, 3)} and parts(o.lora.b) == {(3, 16)}


def test_nothing_changes_where_no_layer_is_computed_again():
    weights, mesh = layer(), sharding.make_mesh(fsdp=8)
    assert gathered_layer(ARCH, weights) is weights  # no mesh
    with jax.set_mesh(sharding.make_mesh(data=8)):
        assert gathered_layer(ARCH, weights) is weights
    with jax.set_mesh(mesh):
        kept = dataclasses.replace(ARCH, remat=False)
        assert gathered_layer(kept, weights) is weights


def test_what_is_stored_wide_is_sent_narrow():
    arch = dataclasses.replace(ARCH, dtype='bfloat16')
    weights = jax.tree.map(lambda x: x[0], tiny.weights(ARCH)[LAYERS])
    with jax.set_mesh(sharding.make_mesh(fsdp=8)):
        whole = jax.eval_shape(lambda w: gathered_layer(arch, w), weights)
    dtypes = {path: x.dtype.name for path, x in flatten(whole).items()}
    assert dtypes['mlp/down'] == 'bfloat16' and dtypes['mlp/norm'] == 'float32'


def gradients(arch, base, delta, *shape):
    """Gradients of a delta on a mesh, or on one device."""
    base, delta = jax.device_get((base, delta))

    def loss(delta, base, rows):
        states = decoder.hidden(arch, tree.bind(base, delta), rows, rows)
        return jnp.sum(states**2)

    gradient = jax.jit(jax.grad(loss))
    rows = np.ones((8, 6), np.int32)
    if not shape:
        return gradient(delta, base, rows)
    with jax.set_mesh(sharding.make_mesh(*shape)):
        return gradient(delta, base, rows)


@pytest.mark.parametrize('name', ['lora', 'dora', 'qlora', 'prefix', 'top_layers'])
def test_gradients_are_those_of_one_device(name):
    arch = rows_of_tunings.arch(name, scan=True, remat=True)
    base = rows_of_tunings.base(name, scan=True, remat=True)
    delta = rows_of_tunings.trained(name, base)
    got, want = gradients(arch, base, delta, 2, 2, 2), gradients(arch, base, delta)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(want)) > 1e-2
    tiny.close(got, want, atol=1e-4)


def test_the_gradient_is_divided_as_the_weight_is_stored():
    weights = tiny.weights(ARCH)
    got, want = gradients(ARCH, {}, weights, 1, 4, 2), gradients(ARCH, {}, weights)
    tiny.close(got, want, atol=1e-4)
    assert parts(got[LAYERS]['mlp']['up']) == {(2, 4, 12)}
