import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.losses import preference

scores = st.floats(-30, 30)


def test_bradley_terry_by_hand():
    chosen, rejected = jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, np.log(3), -1.0])
    want = [np.log(2), np.log(4), np.log1p(np.exp(-3))]
    got = preference.bradley_terry(chosen, rejected)
    np.testing.assert_allclose(got, want, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(scores, scores, st.floats(-10, 10))
def test_either_order_wins_with_probabilities_that_add_to_one(a, b, shift):
    one, other = preference.bradley_terry(a, b), preference.bradley_terry(b, a)
    assert float(np.exp(-one) + np.exp(-other)) == pytest.approx(1, abs=1e-9)
    shifted = preference.bradley_terry(a + shift, b + shift)
    assert float(shifted) == pytest.approx(float(one), abs=1e-9)


def test_bradley_terry_broadcasts_to_all_pairs():
    s = np.array([[3.0, 1.0, -2.0]])
    pairs = preference.bradley_terry(s[:, :, None], s[:, None, :])
    assert pairs.shape == (1, 3, 3)
    assert pairs[0, 0, 2] == pytest.approx(np.log1p(np.exp(-5)))


def test_pointwise_is_binary_cross_entropy():
    rng = np.random.default_rng(0)
    rewards, labels = rng.normal(0, 4, 50), rng.random(50)
    labels[:20] = rng.integers(0, 2, 20)
    got = preference.pointwise(rewards, labels)
    p = scipy.special.expit(rewards)
    by_hand = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    np.testing.assert_allclose(got, by_hand, atol=1e-9)
    want = optax.sigmoid_binary_cross_entropy(rewards, labels)
    np.testing.assert_allclose(got, want, atol=1e-9)


@pytest.mark.parametrize('label', [0.0, 0.3, 1.0])
def test_pointwise_gradient_is_sigmoid_minus_label(label):
    grad = jax.grad(preference.pointwise)(1.7, label)
    assert grad == pytest.approx(scipy.special.expit(1.7) - label, abs=1e-9)


@pytest.mark.parametrize('score', [1e4, -1e4, 3e38, -3e38])
def test_extreme_scores_are_finite(score):
    score = jnp.float32(score)
    for loss in (
        lambda s: preference.bradley_terry(s, jnp.float32(0)),
        lambda s: preference.pointwise(s, jnp.float32(1)),
        lambda s: preference.pointwise(s, jnp.float32(0)),
    ):
        value, grad = jax.value_and_grad(loss)(score)
        assert value.dtype == jnp.float32
        assert np.isfinite(value) and abs(grad) <= 1
