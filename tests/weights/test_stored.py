"""What all stored weights have in common: the verbs, the gradient, what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.system.errors import UserError
from perl.weights import QUANTISATIONS, Lora, dense, einsum, on_arrays, take
from perl.weights.stored import grouped, pack, ungrouped, unpack

# equation: shapes of activations and kernel, and the kernel's input axes
EQUATIONS = {
    'btd,dhn->bthn': ((3, 5, 64), (64, 2, 4), 1),
    'bthn,hnd->btd': ((3, 5, 8, 8), (8, 8, 6), 2),
    'btf,fd->btd': ((3, 5, 70), (70, 8), 1),
}
every_kind = pytest.mark.parametrize('kind', QUANTISATIONS)


def normal(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make(kind, eqn='btf,fd->btd', dtype='float32'):
    x_shape, w_shape, inputs = EQUATIONS[eqn]
    stored = QUANTISATIONS[kind].encode(normal(w_shape, 1), inputs, dtype)
    return normal(x_shape, 0), stored


@every_kind
@pytest.mark.parametrize('eqn', EQUATIONS)
def test_it_contracts_as_the_decoded_kernel_does(kind, eqn):
    x, stored = make(kind, eqn)
    weight = normal(jax.eval_shape(lambda: einsum(eqn, x, stored)).shape, 2)
    stored_loss = lambda x: jnp.sum(weight * einsum(eqn, x, stored))  # noqa: E731
    plain_loss = lambda x: jnp.sum(weight * einsum(eqn, x, stored.decode()))  # noqa: E731
    got, want = (jax.value_and_grad(f)(x) for f in (stored_loss, plain_loss))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-5)


@every_kind
def test_nothing_decoded_is_kept_for_the_gradient(kind):
    x, stored = make(kind)
    _, back = jax.vjp(lambda x: einsum('btf,fd->btd', x, stored), x)
    kept = [x for x in jax.tree.leaves(back) if hasattr(x, 'dtype')]
    floats = [x for x in kept if x.dtype == jnp.float32]
    assert kept and max((x.size for x in floats), default=0) < 70 * 8


@every_kind
def test_it_decodes_to_the_compute_dtype(kind):
    x, stored = make(kind, dtype='bfloat16')
    assert dense(stored).dtype == jnp.bfloat16
    half = x.astype(jnp.bfloat16)
    assert einsum('btf,fd->btd', half, stored).dtype == jnp.bfloat16
    assert einsum('btf,fd->btd', half, stored, jnp.float32).dtype == jnp.float32
    assert jax.grad(lambda x: einsum('btf,fd->btd', x, stored).sum())(half).dtype == (
        jnp.bfloat16
    )
    ids = jnp.array([3, 0])
    np.testing.assert_array_equal(take(stored, ids), dense(stored)[ids])


@every_kind
def test_adapters_sit_on_it(kind):
    x, stored = make(kind)
    lora = Lora(normal((70, 3), 2), normal((3, 8), 3), 0.5)
    bound = lora.bind(stored)
    want = x @ (stored.decode() + 0.5 * lora.a @ lora.b)
    got = einsum('btf,fd->btd', x, bound)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(x @ bound.dense(), want, rtol=1e-4, atol=1e-4)
    twice = lora.bind(bound)
    want = x @ (stored.decode() + lora.a @ lora.b)
    np.testing.assert_allclose(einsum('btf,fd->btd', x, twice), want, atol=1e-3)
    moved = on_arrays(lambda w, axes: w * len(axes), bound, ('embed', 'hidden'))
    assert moved.base is stored and moved.lora.scale == lora.scale
    np.testing.assert_array_equal(moved.lora.a, 2 * lora.a)


@every_kind
def test_a_lossy_merge_is_refused_unless_asked_for(kind):
    _, stored = make(kind)
    bound = Lora(normal((70, 3), 2), normal((3, 8), 3), 0.5).bind(stored)
    with pytest.raises(UserError, match=f'a base in {kind} would round'):
        bound.folded()
    folded = bound.folded(lossy=True)
    assert type(folded) is type(stored)
    np.testing.assert_allclose(folded.decode(), bound.dense(), atol=2)
    assert stored.folded() is stored


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 9))
def test_packing_is_a_round_trip(groups, half, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (groups, 2 * half, 3))
    packed = pack(jnp.asarray(codes))
    assert packed.shape == (groups, half, 3) and packed.dtype == jnp.uint8
    np.testing.assert_array_equal(unpack(packed), codes)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=2), st.integers(1, 8))
def test_grouping_is_a_round_trip(inputs, size):
    w = normal((*inputs, 3), 0)
    groups = grouped(w, len(inputs), size, 'constant')
    assert groups.shape == (-(-np.prod(inputs) // size), size, 3)
    np.testing.assert_array_equal(ungrouped(groups, tuple(inputs)), w)
