"""Losses of comparisons by hand, and what joins them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.losses import direct, preference

CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = np.random.default_rng(0).normal(
    -20, 4, (4, 7)
)
LENGTHS = np.arange(1, 8)
MARGINS = np.random.default_rng(1).normal(size=5)


def margins(chosen=CHOSEN, rejected=REJECTED):
    """Of DPO with beta 0.3."""
    pairs = (chosen, REF_CHOSEN), (rejected, REF_REJECTED)
    ours, other = (direct.log_ratio(x, y, LENGTHS, 0.3) for x, y in pairs)
    return ours - other


def test_dpo_by_hand():
    want = 0.3 * ((CHOSEN - REF_CHOSEN) - (REJECTED - REF_REJECTED))
    np.testing.assert_allclose(margins(), want, atol=1e-9)
    got = direct.pair_loss('dpo', margins(), 0.3)
    np.testing.assert_allclose(got, -np.log(1 / (1 + np.exp(-want))), atol=1e-9)


def test_dpo_is_bradley_terry_of_implicit_rewards():
    chosen, rejected = 0.3 * (CHOSEN - REF_CHOSEN), 0.3 * (REJECTED - REF_REJECTED)
    want = preference.bradley_terry(chosen, rejected)
    got = direct.pair_loss('dpo', margins(), 0.3)
    np.testing.assert_allclose(got, want, atol=1e-9)


@pytest.mark.parametrize('name', ['dpo', 'robust'])
def test_a_policy_at_its_reference_has_log_2(name):
    at = margins(REF_CHOSEN, REF_REJECTED)
    got = direct.pair_loss(name, at, 0.3, smoothing=0.2)
    np.testing.assert_allclose(got, np.log(2), atol=1e-12)


@pytest.mark.parametrize('name', ['dpo', 'ipo', 'simpo', 'orpo'])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.4])
def test_smoothing_mixes_both_orders(name, smoothing):
    got = direct.pair_loss(name, MARGINS, 0.3, smoothing=smoothing)
    right, reverse = (direct.pair_loss(name, x, 0.3) for x in (MARGINS, -MARGINS))
    want = (1 - smoothing) * right + smoothing * reverse
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.4])
def test_robust_undoes_wrong_labels_in_the_mean(smoothing):
    """Labels of which a share is wrong cost on average what right ones cost."""
    right, wrong = (
        direct.pair_loss('robust', x, 0.3, smoothing=smoothing)
        for x in (MARGINS, -MARGINS)
    )
    mean = (1 - smoothing) * right + smoothing * wrong
    np.testing.assert_allclose(mean, direct.pair_loss('dpo', MARGINS, 0.3), atol=1e-9)


@pytest.mark.parametrize('sure', [0.0, 0.3, 0.5, 1.0])
def test_a_soft_label_of_dpo_is_a_cross_entropy(sure):
    p = 1 / (1 + np.exp(-MARGINS))
    want = -sure * np.log(p) - (1 - sure) * np.log(1 - p)
    got = direct.pair_loss('dpo', MARGINS, 0.3, sure)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_the_gradient_of_dpo_weighs_pairs_that_are_wrong():
    """beta sigmoid(-margin), of the difference of log-probs (eq. 7 and after)."""
    grad = jax.grad(lambda x: direct.pair_loss('dpo', margins(x), 0.3).sum())(
        jnp.asarray(CHOSEN)
    )
    np.testing.assert_allclose(grad, -0.3 / (1 + np.exp(margins())), atol=1e-9)


def test_ipo_is_least_where_the_log_ratio_is_half_of_1_over_beta():
    beta = 0.25
    got = direct.pair_loss('ipo', beta * np.array([2.0, 1.0, 4.0]), beta)
    np.testing.assert_allclose(got, [0, 1, 4], atol=1e-9)


def test_simpo_by_hand():
    """Means over tokens, and a margin to reach."""
    rewards = direct.mean_log_prob(np.array([-6.0, -4.0]), None, np.array([3, 4]), 2.0)
    np.testing.assert_allclose(rewards, [-4, -2])
    got = direct.pair_loss('simpo', np.array([1.0]), 2.0, target=1.0)
    np.testing.assert_allclose(got, np.log(2), atol=1e-9)


def test_simpo_of_one_token_without_target_is_dpo_without_reference():
    ones = np.ones(7)
    simpo = direct.mean_log_prob(CHOSEN, None, ones, 0.3)
    dpo = direct.log_ratio(CHOSEN, np.zeros(7), ones, 0.3)
    np.testing.assert_allclose(simpo, dpo, atol=1e-9)


def test_log_odds_by_hand():
    """Two tokens of probabilities 1/2 and 1/8: a geometric mean of 1/4, odds 1/3."""
    got = direct.log_odds(np.log([1 / 16]), None, np.array([2]), 0.1)
    np.testing.assert_allclose(got, np.log(1 / 3), rtol=1e-6)
    certain = jax.value_and_grad(
        lambda x: direct.log_odds(x, None, jnp.ones(1), 0.1)[0]
    )
    assert all(np.isfinite(x).all() for x in certain(jnp.zeros(1)))
