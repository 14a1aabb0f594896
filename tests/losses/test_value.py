import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.losses import value

RNG = np.random.default_rng(0)
VALUES, OLD, RETURNS = RNG.normal(size=(3, 4, 5))


def test_squared():
    np.testing.assert_allclose(
        value.squared(VALUES, RETURNS), (VALUES - RETURNS) ** 2 / 2
    )
    grad = jax.grad(lambda v: value.squared(v, RETURNS).sum())(VALUES)
    np.testing.assert_allclose(grad, VALUES - RETURNS, atol=1e-9)


def test_clipped_by_hand():
    # Old value 0, clip 0.2: V is held in [-0.2, 0.2] in the second loss.
    values, returns = (
        np.array([[0.1, 1.0, 1.0, -1.0]]),
        np.array([[1.0, 1.0, 0.0, 1.0]]),
    )
    want = [[0.81 / 2, 0.64 / 2, 1 / 2, 4 / 2]]
    got = value.clipped(values, np.zeros_like(values), returns, 0.2)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_clipped_loop():
    got = value.clipped(VALUES, OLD, RETURNS, 0.3)
    for i in np.ndindex(4, 5):
        held = OLD[i] + min(max(VALUES[i] - OLD[i], -0.3), 0.3)
        worse = max((VALUES[i] - RETURNS[i]) ** 2, (held - RETURNS[i]) ** 2)
        assert got[i] == pytest.approx(worse / 2, abs=1e-9)


def test_a_wide_clip_changes_nothing():
    got = value.clipped(VALUES, OLD, RETURNS, 1e3)
    np.testing.assert_allclose(got, value.squared(VALUES, RETURNS), atol=1e-9)


def test_only_the_values_get_a_gradient():
    old, returns = jax.grad(
        lambda old, returns: value.clipped(VALUES, old, returns, 0.3).sum(),
        argnums=(0, 1),
    )(OLD, RETURNS)
    np.testing.assert_array_equal(old, 0)
    np.testing.assert_array_equal(returns, 0)


def test_half_precision_is_computed_in_float32():
    half = jnp.asarray(VALUES, 'bfloat16')
    assert value.squared(half, half).dtype == jnp.float32
    assert value.clipped(half, half, half, 0.2).dtype == jnp.float32
