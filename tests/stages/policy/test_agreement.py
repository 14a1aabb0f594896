"""Two passes that agree are let through; of two that do not, the cause is named."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from perl.stages.policy import agreement
from perl.stages.policy.episodes import Scores
from perl.stages.policy.limits import LIMITS
from perl.system.errors import UserError

MASK = jnp.array([[True, True, False], [True, False, False]])
LOG_PROBS = jnp.array([[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
SCORES = Scores(log_probs=LOG_PROBS, reference=LOG_PROBS)
EXACT, HALF = LIMITS['float32'], LIMITS['bfloat16']


def test_rollouts_that_agree_pass():
    past_the_end = LOG_PROBS.at[1, 2].set(-50.0)
    assert agreement.agreement(LOG_PROBS, past_the_end, MASK, EXACT) == 0
    assert agreement.at_reference(SCORES, MASK, EXACT) == 0


@pytest.mark.parametrize('wrong', [0.01, -5.0, np.nan])
def test_sampler_and_trainer_that_differ(wrong):
    with pytest.raises(UserError, match=r'sampler and trainer differ.*top-k'):
        agreement.agreement(LOG_PROBS, LOG_PROBS.at[0, 1].add(wrong), MASK, EXACT)


@pytest.mark.parametrize('wrong', [0.01, np.nan])
def test_a_policy_that_does_not_start_at_its_reference(wrong):
    scores = dataclasses.replace(SCORES, reference=LOG_PROBS.at[1, 0].add(wrong))
    with pytest.raises(UserError, match='from its reference'):
        agreement.at_reference(scores, MASK, EXACT)


def test_bfloat16_may_round_more():
    trained = LOG_PROBS + 0.05
    assert agreement.agreement(LOG_PROBS, trained, MASK, HALF) == pytest.approx(0.05)
    with pytest.raises(UserError):
        agreement.agreement(LOG_PROBS, trained, MASK, EXACT)


def rounded(n, mean=0.03, seed=0):
    """Differences of healthy log-probs in bfloat16."""
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(1, n)) * mean


@pytest.mark.parametrize('n', [16, 800, 100_000])
def test_the_verdict_does_not_depend_on_the_number_of_tokens(n):
    mask, truth = np.ones((1, n), bool), np.full((1, n), -2.0)
    healthy = truth + rounded(n)
    assert agreement.agreement(healthy, truth, mask, HALF) < 0.06
    if n > 800:
        assert np.abs(healthy - truth).max() > 0.25, 'the limit of the largest'
    for wrong in (0.19, 0.3):  # the mean of a gross fault
        with pytest.raises(UserError, match='differ'):
            agreement.agreement(healthy + wrong, truth, mask, HALF)


def noisy(scale, effect, n=4000):
    """Log-probs by sampler, trainer and base, with bfloat16's rounding in each, of a
    sampler whose adapter has `scale` times its effect."""
    change = np.random.default_rng(9).laplace(size=(1, n)) * effect
    base, trained, sampled = (
        -2 + share * change + rounded(n, seed=seed)
        for seed, share in ((1, 0.0), (2, 1.0), (3, scale))
    )
    return sampled, trained, base, np.ones((1, n), bool), HALF


@pytest.mark.parametrize('effect', [0.0, 0.02, 0.1, 0.3, 3.0])
def test_a_healthy_sampler_is_as_far_from_the_base_as_the_trainer(effect):
    assert agreement.bound(*noisy(1.0, effect)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize('scale', [0.0, 0.75, 1.25])
@pytest.mark.parametrize('effect', [0.15, 1.0])
def test_an_adapter_that_is_not_bound_or_has_another_scale(scale, effect):
    """Its effect is too small for the mean: the noise alone is 0.04."""
    arguments = noisy(scale, effect)
    if effect < 1:
        mean = np.abs(arguments[0] - arguments[1]).mean()
        assert mean < HALF.mean or scale == 0
    with pytest.raises(UserError, match='not bound, or one with another scale'):
        agreement.bound(*arguments)


@pytest.mark.parametrize('seed', range(5))
def test_another_scale_is_found_where_a_few_tokens_move_most(seed):
    """As in stories260K: the effect of an adapter has a standard deviation of 0.3 nats,
    most of it in a few tokens, and the scale changes each token a little differently.
    """
    rng = np.random.default_rng(seed)
    change = 0.15 * rng.standard_t(2.2, size=(1, 768))
    base = np.full((1, 768), -2.0)
    scale = 1.25 + 0.25 * rng.normal(size=change.shape)
    scale = np.where(np.abs(change) > 0.6, scale - 0.1, scale)
    trained, sampled = (base + s * change for s in (1, scale))
    mask = np.ones((1, 768), bool)
    assert agreement.bound(trained, trained, base, mask, HALF) == 1
    with pytest.raises(UserError, match=r'is 1\.[12]. times as far'):
        agreement.bound(sampled, trained, base, mask, HALF)
