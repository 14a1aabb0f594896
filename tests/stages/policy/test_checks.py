"""Each check passes what is right and names the cause of what is not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.judges import panel
from perl.rollout import scoring
from perl.rollout.responses import Responses, Rollout
from perl.runs.roles import Role
from perl.stages.frozen import Frozen
from perl.stages.policy import checks
from perl.stages.policy.experience import Scores
from perl.system.errors import UserError

MASK = jnp.array([[True, True, False], [True, False, False]])
LOG_PROBS = jnp.array([[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
SCORES = Scores(log_probs=LOG_PROBS, reference=LOG_PROBS)
EXACT, HALF = checks.LIMITS['float32'], checks.LIMITS['bfloat16']


def test_rollouts_that_agree_pass():
    past_the_end = LOG_PROBS.at[1, 2].set(-50.0)
    assert checks.agreement(LOG_PROBS, past_the_end, MASK, EXACT) == 0
    assert checks.at_reference(SCORES, MASK, EXACT) == 0


@pytest.mark.parametrize('wrong', [0.01, -5.0, np.nan])
def test_sampler_and_trainer_that_differ(wrong):
    with pytest.raises(UserError, match=r'sampler and trainer differ.*top-k'):
        checks.agreement(LOG_PROBS, LOG_PROBS.at[0, 1].add(wrong), MASK, EXACT)


@pytest.mark.parametrize('wrong', [0.01, np.nan])
def test_a_policy_that_does_not_start_at_its_reference(wrong):
    scores = dataclasses.replace(SCORES, reference=LOG_PROBS.at[1, 0].add(wrong))
    with pytest.raises(UserError, match='from its reference'):
        checks.at_reference(scores, MASK, EXACT)


def test_bfloat16_may_round_more():
    trained = LOG_PROBS + 0.05
    assert checks.agreement(LOG_PROBS, trained, MASK, HALF) == pytest.approx(0.05)
    with pytest.raises(UserError):
        checks.agreement(LOG_PROBS, trained, MASK, EXACT)


def test_limits_are_of_the_arithmetic():
    assert checks.limits(tiny.ARCH) == EXACT
    assert checks.limits(tiny.arch(dtype='bfloat16')) == HALF
    assert checks.limits(tiny.arch(precision='default')) == HALF


def rounded(n, mean=0.03, seed=0):
    """Differences of healthy log-probs in bfloat16."""
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(1, n)) * mean


@pytest.mark.parametrize('n', [16, 800, 100_000])
def test_the_verdict_does_not_depend_on_the_number_of_tokens(n):
    mask, truth = np.ones((1, n), bool), np.full((1, n), -2.0)
    healthy = truth + rounded(n)
    assert checks.agreement(healthy, truth, mask, HALF) < 0.06
    if n > 800:
        assert np.abs(healthy - truth).max() > 0.25, 'the limit of the largest'
    for wrong in (0.19, 0.3):  # the mean of a gross fault
        with pytest.raises(UserError, match='differ'):
            checks.agreement(healthy + wrong, truth, mask, HALF)


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
    assert checks.bound(*noisy(1.0, effect)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize('scale', [0.0, 0.75, 1.25])
@pytest.mark.parametrize('effect', [0.15, 1.0])
def test_an_adapter_that_is_not_bound_or_has_another_scale(scale, effect):
    """Its effect is too small for the mean: the noise alone is 0.04."""
    arguments = noisy(scale, effect)
    if effect < 1:
        mean = np.abs(arguments[0] - arguments[1]).mean()
        assert mean < HALF.mean or scale == 0
    with pytest.raises(UserError, match='not bound, or one with another scale'):
        checks.bound(*arguments)


def test_an_update_must_move_the_policy():
    assert checks.moved(LOG_PROBS, LOG_PROBS - 0.25, MASK, 1.0) == 0.25
    for after in (LOG_PROBS, LOG_PROBS.at[0, 2].set(9.0)):
        with pytest.raises(UserError, match=r'left every log-prob.*learning rate of 0'):
            checks.moved(LOG_PROBS, after, MASK, 1.0)
    with pytest.raises(UserError, match='not a number'):
        checks.moved(LOG_PROBS, LOG_PROBS * jnp.nan, MASK, 1.0)
    assert checks.moved(LOG_PROBS, LOG_PROBS, MASK, 1.0, last=False) == 0


@pytest.mark.parametrize(
    'gradient, cause',
    [
        (0.0, 'rewards that are all equal'),
        (1e25, r'a gradient of norm 1e\+25.*lower kl_coefficient'),
        (np.inf, 'a gradient of norm inf'),
        (np.nan, 'a gradient of norm nan'),
        (0.3, 'a learning rate of 0 or so small'),
    ],
)
def test_why_nothing_moved(gradient, cause):
    with pytest.raises(UserError, match=cause):
        checks.moved(LOG_PROBS, LOG_PROBS, MASK, gradient)


@pytest.fixture(scope='module')
def scored():
    """Rewards of three ragged rows, and the panel that gave them."""
    base, delta = tiny.weights(), {**tiny.adapter(), 'head': tiny.head()}
    judges = panel.build([Role(base, 'base', delta, tiny.LORA, 0.5, 2.0)])
    tokens, _ = tiny.rows((3, 8))
    lengths, count = jnp.array([2, 5, 4]), jnp.array([1, 3, 2])
    rewards = jax.jit(scoring.rewards, static_argnums=(0, 5))(
        tiny.ARCH, judges, tokens, lengths, count, 3
    )
    empty = jnp.zeros((3, 3))
    responses = Responses(tokens[:, 5:], empty, count, jnp.zeros(3, bool))
    frozen = Frozen(policy=base, reward=judges)
    return frozen, Rollout(tokens, lengths, responses), Scores(empty, rewards=rewards)


def test_a_reward_that_stands_alone_passes(scored):
    assert checks.reward_alone(*scored, tiny.ARCH) < 1e-5


@pytest.mark.parametrize('wrong', [0.5, np.nan])
def test_a_reward_that_changes_with_its_batch(scored, wrong):
    frozen, rollout, scores = scored
    scores = dataclasses.replace(scores, rewards=scores.rewards.at[1].add(wrong))
    with pytest.raises(UserError, match='padding and batch mates; the cause is a mask'):
        checks.reward_alone(frozen, rollout, scores, tiny.ARCH)


def test_a_reward_that_reads_its_padding_is_caught(scored, monkeypatch):
    def careless(lengths, prompt, response=0):
        slots = jnp.arange(prompt + response)
        return jnp.broadcast_to(slots, (len(lengths), slots.size)), None

    monkeypatch.setattr(scoring, 'left_padded', careless)
    with pytest.raises(UserError, match='padding and batch mates'):
        checks.reward_alone(*scored, tiny.ARCH)
