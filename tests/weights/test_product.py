"""Products of activations with weights, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.weights.product import product

# inputs first, outputs first (a tied unembedding), two inputs, two outputs, and one
# kernel per example
EQUATIONS = {
    'btd,df->btf': {'b': 2, 't': 3, 'd': 5, 'f': 4},
    'btd,vd->btv': {'b': 2, 't': 3, 'd': 5, 'v': 7},
    'bthn,hnd->btd': {'b': 2, 't': 3, 'h': 2, 'n': 4, 'd': 5},
    'btd,dhn->bthn': {'b': 2, 't': 3, 'h': 2, 'n': 4, 'd': 5},
    'btd,bdf->btf': {'b': 2, 't': 3, 'd': 5, 'f': 4},
}


def operands(eqn):
    """Random `x`, `w` and the gradient of the output."""
    lengths, rng = EQUATIONS[eqn], np.random.default_rng(0)
    labels = eqn.replace('->', ',').split(',')
    return [
        jnp.asarray(rng.normal(size=[lengths[c] for c in part]), jnp.float32)
        for part in labels
    ]


def pulled(eqn, x, w, g):
    """The product and its two gradients."""
    y, pull = jax.vjp(lambda x, w: product(eqn, x, w, jnp.float32), x, w)
    return y, *pull(g)


def rounded(x):
    return np.asarray(x.astype(jnp.bfloat16).astype(jnp.float32), np.float64)


@pytest.mark.parametrize('eqn', EQUATIONS)
def test_it_is_the_einsum(eqn):
    x, w, g = operands(eqn)
    left, right, out = eqn.replace('->', ',').split(',')
    found = pulled(eqn, x, w, g)
    wanted = (
        np.einsum(eqn, x, w),
        np.einsum(f'{out},{right}->{left}', g, w),
        np.einsum(f'{left},{out}->{right}', x, g),
    )
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('eqn', EQUATIONS)
def test_rounded_operands_are_added_in_float32(eqn):
    x, w, g = operands(eqn)
    left, right, out = eqn.replace('->', ',').split(',')
    with jax.default_matmul_precision('bfloat16'):
        found = jax.jit(pulled, static_argnums=0)(eqn, x, w, g)
    x, w, g = rounded(x), rounded(w), rounded(g)
    wanted = (
        np.einsum(eqn, x, w),
        np.einsum(f'{out},{right}->{left}', g, w),
        np.einsum(f'{left},{out}->{right}', x, g),
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_operands_in_half_precision_stay_so():
    x, w, _ = operands('btd,df->btf')
    x, w = x.astype(jnp.float16), w.astype(jnp.float16)
    with jax.default_matmul_precision('bfloat16'):
        found = product('btd,df->btf', x, w, jnp.float16)
    assert found.dtype == jnp.float16
    np.testing.assert_array_equal(found, product('btd,df->btf', x, w, jnp.float16))
