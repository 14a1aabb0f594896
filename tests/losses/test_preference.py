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


def test_pair_mean_counts_the_pairs_that_are_there():
    x = jnp.array([[1.0, 2.0, 6.0], [4.0, np.inf, np.nan]])
    present = jnp.array([[True, True, True], [True, True, False]])
    np.testing.assert_allclose(preference.pair_mean(x, present), [3, 4])
    np.testing.assert_allclose(preference.pair_mean(x[:1]), [3])


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


@settings(deadline=None, max_examples=30)
@given(scores, scores, st.floats(0, 3), st.floats(0, 1), st.floats(0, 0.49))
def test_the_soft_loss_is_the_mixture_of_both_orders(a, b, margin, preference, smooth):
    got = preference_loss(a, b, margin, preference, smooth)
    right = preference * (1 - 2 * smooth) + smooth
    both = [-scipy.special.log_expit(lead - margin) for lead in (a - b, b - a)]
    assert float(got) == pytest.approx(right * both[0] + (1 - right) * both[1])
    swapped = preference_loss(b, a, margin, 1 - preference, smooth)
    assert float(got) == pytest.approx(float(swapped))


def preference_loss(*args):
    return preference.bradley_terry(*map(jnp.float64, args[:2]), *args[2:])


def test_a_sure_label_without_a_margin_is_minus_log_sigmoid():
    lead = np.linspace(-20, 20, 41)
    got = preference.bradley_terry(lead, 0 * lead, 0.0, 1.0, 0.0)
    np.testing.assert_allclose(got, -scipy.special.log_expit(lead), atol=1e-12)


def test_an_even_label_has_no_order():
    got = preference.bradley_terry(1.5, 0.25, preference=0.5)
    assert got == preference.bradley_terry(0.25, 1.5, preference=0.5)


def test_a_soft_label_is_the_cross_entropy_of_the_softmax():
    rng = np.random.default_rng(1)
    rewards, p = rng.normal(size=(20, 2)), rng.random(20)
    got = preference.bradley_terry(*rewards.T, preference=p)
    want = -np.sum(
        np.stack([p, 1 - p], 1) * scipy.special.log_softmax(rewards, axis=1), 1
    )
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_smoothing_mixes_both_orders():
    one, other = preference.bradley_terry(2.0, 0.5), preference.bradley_terry(0.5, 2.0)
    got = preference.bradley_terry(2.0, 0.5, smoothing=0.1)
    assert float(got) == pytest.approx(0.9 * float(one) + 0.1 * float(other), abs=1e-9)


def test_a_margin_is_the_better_ones_whichever_that_is():
    first = preference.bradley_terry(0.5, 0.0, margin=1.0, preference=0.0)
    second = preference.bradley_terry(0.0, 0.5, margin=1.0)
    assert float(first) == float(second) == pytest.approx(np.log1p(np.exp(1.5)))


def test_a_label_for_neither_is_half_right():
    ahead = preference.as_labelled(jnp.array([2.0, 2.0, 2.0]), jnp.array([1, 0, 0.5]))
    assert ahead.tolist() == [2, -2, 0]
    assert preference.share_right(ahead).tolist() == [1, 0, 0.5]


@pytest.mark.parametrize('p', [0.0, 0.3, 1.0])
def test_the_gradient_is_least_where_the_chance_is_the_label(p):
    grad = jax.grad(lambda r: preference.bradley_terry(r, 0.0, 0.0, p, 0.05))(1.2)
    want = scipy.special.expit(1.2) - (0.9 * p + 0.05)
    assert float(grad) == pytest.approx(want, abs=1e-9)


def test_labelled_ties_are_neither_right_nor_wrong():
    ahead = jnp.array([[1.0, -1.0], [0.0, 0.0], [2.0, 3.0]])
    preferences = jnp.array([[0.9], [0.5], [0.8]])
    right, count = preference.decided_right(ahead, preferences)
    assert (float(right), float(count)) == (1.5, 2)
    right, count = preference.decided_right(ahead, 1.0)
    assert (float(right), float(count)) == (2, 3)
    # without a label there is nothing to be right about
    right, count = preference.decided_right(ahead, jnp.full((3, 1), 0.5))
    assert (float(right), float(count)) == (0.5, 1)
