"""An adapted kernel against the merged one, for every contraction of the model."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.models import decoder, mlp, self_attention
from perl.weights import (
    Adapted,
    Lora,
    einsum,
    on_arrays,
    take,
)

# equation: shapes of activations and kernel, and the kernel's input axes
EQUATIONS = {
    'btd,dhn->bthn': ((3, 5, 8), (8, 2, 4), 1),
    'btd,dkn->btkn': ((3, 5, 8), (8, 2, 4), 1),
    'bthn,hnd->btd': ((3, 5, 2, 4), (2, 4, 8), 2),
    'btd,df->btf': ((3, 5, 8), (8, 12), 1),
    'btf,fd->btd': ((3, 5, 12), (12, 8), 1),
    'btd,dv->btv': ((3, 5, 8), (8, 10), 1),
    'btd,vd->btv': ((3, 5, 8), (10, 8), 1),
}
every_equation = pytest.mark.parametrize('eqn', EQUATIONS)


def normal(shape, seed, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def make(eqn, rank=3, adapters=(), dtype=jnp.float32, dropout=0.0):
    """Activations, a kernel and its factors; `adapters` of them stacked."""
    x_shape, w_shape, inputs = EQUATIONS[eqn]
    lora = Lora(
        normal((*adapters, *w_shape[:inputs], rank), 1),
        normal((*adapters, rank, *w_shape[inputs:]), 2),
        0.7,
        dropout,
    )
    return normal(x_shape, 3, dtype), normal(w_shape, 4, dtype), lora


def one(lora, i):
    return Lora(lora.a[i], lora.b[i], lora.scale)


def test_the_equations_are_those_of_the_model():
    found = r"(?:einsum|projected)\(\s*'([a-z,>-]+)'"
    source = ''.join(map(inspect.getsource, (decoder, self_attention, mlp)))
    used = re.findall(found, source)
    assert set(used) == set(EQUATIONS)


@every_equation
def test_adapted_equals_merged(eqn):
    x, w, lora = make(eqn)
    got = einsum(eqn, x, Adapted(w, lora))
    want = jnp.einsum(eqn, x, w + lora.delta())
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert np.abs(got - jnp.einsum(eqn, x, w)).max() > 0.1


@every_equation
def test_gradients_equal_those_through_the_merged_kernel(eqn):
    x, w, lora = make(eqn)
    weight = normal(jnp.einsum(eqn, x, w).shape, 5)

    def bound(x, lora):
        return jnp.sum(weight * einsum(eqn, x, Adapted(w, lora)))

    def merged(x, lora):
        return jnp.sum(weight * jnp.einsum(eqn, x, w + lora.delta()))

    got, want = (jax.grad(f, argnums=(0, 1))(x, lora) for f in (bound, merged))
    jax.tree.map(lambda g, h: np.testing.assert_allclose(g, h, rtol=1e-3, atol=1e-3),
                 got, want)  # fmt: skip


@every_equation
def test_each_example_gets_the_adapter_of_its_id(eqn):
    x, w, lora = make(eqn, adapters=(4,))
    ids = jnp.array([2, 0, 2])
    got = einsum(eqn, x, Adapted(w, lora, ids))
    for i, adapter in enumerate(ids):
        want = einsum(eqn, x[i : i + 1], Adapted(w, one(lora, adapter)))
        np.testing.assert_allclose(got[i : i + 1], want, rtol=1e-4, atol=1e-4)


@every_equation
def test_bfloat16_stays_near_float32_and_accumulates_where_asked(eqn):
    x, w, lora = make(eqn, dtype=jnp.bfloat16)
    exact = einsum(eqn, x.astype(jnp.float32), Adapted(w.astype(jnp.float32), lora))
    for dtype in (None, jnp.float32):
        got = einsum(eqn, x, Adapted(w, lora), dtype)
        assert got.dtype == (dtype or jnp.bfloat16)
        error = np.abs(got.astype(jnp.float32) - exact).max()
        assert error < 0.03 * np.abs(exact).max()


def test_a_float32_kernel_does_not_widen_the_activations():
    x, w, _ = make('btd,df->btf')
    assert einsum('btd,df->btf', x.astype(jnp.bfloat16), w).dtype == jnp.bfloat16


def test_a_fresh_adapter_is_an_exact_identity():
    x, w, lora = make('btd,df->btf')
    fresh = Lora(lora.a, jnp.zeros_like(lora.b), lora.scale)
    np.testing.assert_array_equal(
        einsum('btd,df->btf', x, Adapted(w, fresh)), einsum('btd,df->btf', x, w)
    )


@pytest.mark.parametrize('rate', [0.2, 0.5])
def test_dropout_keeps_the_mean_and_touches_the_adapter_alone(rate):
    width = 8000
    x, w = jnp.ones((1, 1, width)), normal((width, 1), 0)
    lora = Lora(jnp.full((width, 1), 1 / width), jnp.ones((1, 1)), 1.0, rate)
    plain = einsum('btd,df->btf', x, w)
    change = einsum('btd,df->btf', x, Adapted(w, lora, key=jax.random.key(0))) - plain
    deviation = (rate / (1 - rate) / width) ** 0.5
    assert 0 < abs(float(change[0, 0, 0]) - 1) < 5 * deviation
    silent = Lora(lora.a, 0 * lora.b, 1.0, rate)
    got = einsum('btd,df->btf', x, Adapted(w, silent, key=jax.random.key(0)))
    np.testing.assert_array_equal(got, plain)


@every_equation
def test_dropout_is_off_without_a_key_and_without_a_rate(eqn):
    x, w, lora = make(eqn)
    dropping = Lora(lora.a, lora.b, lora.scale, 0.5)
    want = einsum(eqn, x, Adapted(w, lora))
    key = jax.random.key(1)
    np.testing.assert_array_equal(einsum(eqn, x, Adapted(w, dropping)), want)
    np.testing.assert_array_equal(einsum(eqn, x, Adapted(w, lora, key=key)), want)
    assert np.any(einsum(eqn, x, Adapted(w, dropping, key=key)) != want)


@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-5), ('bfloat16', 0.06)])
def test_rows_of_an_adapted_embedding_equal_the_merged_ones(dtype, tolerance):
    w = normal((10, 8), 1, dtype)
    lora = Lora(normal((10, 3), 2), normal((3, 8), 3), 0.7)
    ids = jnp.array([[0, 9, 3], [3, 3, 1]])
    got = take(Adapted(w, lora), ids)
    assert got.dtype == dtype
    want = (w.astype(jnp.float32) + lora.delta())[ids]
    np.testing.assert_allclose(
        got.astype(jnp.float32), want, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_array_equal(take(w, ids), w[ids])


def test_rows_of_an_embedding_by_id_equal_one_by_one():
    w, tokens = normal((10, 8), 1), jnp.array([[0, 9], [3, 3], [1, 2]])
    lora = Lora(normal((4, 10, 3), 2), normal((4, 3, 8), 3), 0.7)
    ids = jnp.array([3, 1, 3])
    got = take(Adapted(w, lora, ids), tokens)
    for i, adapter in enumerate(ids):
        want = take(Adapted(w, one(lora, adapter)), tokens[i])
        np.testing.assert_allclose(got[i], want, rtol=1e-5, atol=1e-5)


def test_the_correction_of_stacked_layers_is_that_of_each_layer():
    lora = Lora(normal((2, 2, 4, 3), 1), normal((2, 3, 8), 2), 0.7)  # `o` of two layers
    got = jax.vmap(Lora.delta)(lora)
    for i in range(2):
        np.testing.assert_allclose(got[i], one(lora, i).delta(), rtol=1e-5, atol=1e-6)


def test_scales_of_layers_are_as_if_each_had_one():
    a, b, scales = normal((3, 8, 2), 0), normal((3, 2, 5), 1), (2.0, 0.3, 1.0)
    kernel, lora = normal((3, 8, 5), 2), Lora(a, b, scales)
    got = jax.vmap(lambda w: w.dense())(lora.bind(kernel))
    for i, scale in enumerate(scales):
        want = kernel[i] + scale * a[i] @ b[i]
        np.testing.assert_allclose(got[i], want, atol=1e-5)
    assert lora.with_one_scale().scale == 2.0


@pytest.mark.parametrize('stacked', [False, True])
def test_arrays_are_told_their_axes(stacked):
    """The kernel `[H, N, D]` and its factors, which a stack has several of."""
    lead, ids = ((2,), jnp.array([1, 0, 1])) if stacked else ((), None)
    lora = Lora(jnp.ones((*lead, 4, 8, 3)), jnp.ones((*lead, 3, 32)), 1.0)
    bound = Adapted(jnp.ones((4, 8, 32)), lora, ids)
    said = {}

    def noted(x, axes):
        said[axes] = x.shape
        return -x

    moved = on_arrays(noted, bound, ('heads', 'head', 'embed'))
    first = (None,) * len(lead)
    assert said == {
        ('heads', 'head', 'embed'): (4, 8, 32),
        (*first, 'heads', 'head', 'rank'): (*lead, 4, 8, 3),
        (*first, 'rank', 'embed'): (*lead, 3, 32),
    }
    assert moved.ids is ids
    for x in (moved.base, moved.lora.a, moved.lora.b):
        np.testing.assert_array_equal(x, -1)
