"""Scores to advantages by hand, and what the roles say of a rollout."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from rolled import (
    ARCH,
    BASE,
    FROZEN,
    PPO,
    REINFORCE,
    SCORED,
    TRAINABLE,
    R,
    rollout,
    scored,
)

from perl.adapters import tree
from perl.adapters.network import Network
from perl.losses import kl
from perl.models import decoder
from perl.rollout.responses import Responses, Rollout
from perl.stages.policy import experience
from perl.stages.policy.episodes import Scores

# two responses of three and one tokens; the second was cut before its end
ROLLOUT = Rollout(
    tokens=jnp.zeros((2, 5), jnp.int32),
    prompt_lengths=jnp.array([2, 1]),
    responses=Responses(
        tokens=jnp.zeros((2, 3), jnp.int32),
        log_probs=jnp.zeros((2, 3)),
        lengths=jnp.array([3, 1]),
        finished=jnp.array([True, False]),
    ),
)
SCORES = Scores(
    log_probs=jnp.array([[-1.0, -2.0, -0.5], [-3.0, 99.0, 99.0]]),
    reference=jnp.array([[-1.5, -1.0, -0.5], [-2.0, 55.0, 55.0]]),
    rewards=jnp.array([2.0, 1.0]),
    values=jnp.array([[0.1, 0.2, 0.3], [0.4, 77.0, 77.0]]),
)
MASK = np.asarray(ROLLOUT.mask)
MEMORY = {name: jnp.float32(0) for name in ('count', 'mean', 'm2')}


def estimate(objective=PPO, beta=0.1, memory=MEMORY, **changes):
    memory = {'kl_coefficient': jnp.float32(beta), **memory}
    scores = dataclasses.replace(SCORES, **changes)
    return experience.estimate(ROLLOUT, scores, memory, objective=objective)


def rewards_of(learn, objective):
    """Undoes the estimation of advantages: the rewards that went into it."""
    gains, values = (np.asarray(x, float) for x in (learn.advantages, learn.values))
    mask = np.asarray(learn.mask)
    after = np.pad(np.where(mask, values, 0), ((0, 0), (0, 1)))[:, 1:]
    later = np.pad(gains, ((0, 0), (0, 1)))[:, 1:]
    lam = 1.0 if objective.algorithm == 'reinforce' else objective.lam
    gamma = objective.gamma
    return np.where(mask, gains - gamma * lam * later - gamma * after + values, 0)


@pytest.mark.parametrize(
    'objective, weight', [(PPO, 1.0), (REINFORCE, 0.9)], ids=['ppo', 'reinforce']
)
def test_rewards_are_the_score_at_the_last_token_less_the_kl(objective, weight):
    learn, _, _ = estimate(objective)
    # log-ratios 0.5, -1, 0 and -1; scores 2, and 1 less the penalty of 0.5
    want = [[-0.05, 0.1, weight * 2.0], [0.1 + weight * 0.5, 0, 0]]
    np.testing.assert_allclose(rewards_of(learn, objective), want, atol=1e-6)


def test_ppo_advantages_by_hand():
    learn, _, _ = estimate()
    last = 2.0 - 0.3
    middle = 0.1 + 0.9 * 0.3 - 0.2 + 0.45 * last
    first = -0.05 + 0.9 * 0.2 - 0.1 + 0.45 * middle
    want = np.array([[first, middle, last], [0.6 - 0.4, 0, 0]])
    np.testing.assert_allclose(learn.advantages, want, atol=1e-6)
    values = [[0.1, 0.2, 0.3], [0.4, 0, 0]]
    np.testing.assert_allclose(learn.returns, want + values, atol=1e-6)


def test_reinforce_advantages_are_returns_less_values():
    learn, _, _ = estimate(REINFORCE)
    third = 0.9 * 2.0
    second = 0.1 + 0.9 * third
    returns = [[-0.05 + 0.9 * second, second, third], [0.1 + 0.9 * 0.5, 0, 0]]
    np.testing.assert_allclose(learn.returns, returns, atol=1e-6)
    values = [[0.1, 0.2, 0.3], [0.4, 0, 0]]
    np.testing.assert_allclose(
        learn.advantages, np.subtract(returns, values), atol=1e-6
    )


@pytest.mark.parametrize(
    'algorithm', ['rloo', 'reinforce_pp', 'grpo', 'dr_grpo', 'best_of_n']
)
def test_groups_share_one_advantage_a_response(algorithm):
    objective = dataclasses.replace(PPO, algorithm=algorithm, samples=2)
    learn, _, _ = estimate(objective)
    totals = np.array([2.0 - 0.1 * (0.5 - 1), 0.5 - 0.1 * (-1.0)])  # score - beta KL
    gap = totals[0] - totals[1]
    want = {
        'rloo': [gap, -gap],
        'dr_grpo': [gap / 2, -gap / 2],
        # of four tokens, three in the first response: mean gap / 4
        'reinforce_pp': [1 / np.sqrt(3), -np.sqrt(3)],
        'grpo': [0.5 * gap / (0.5 * gap + 1e-4), -0.5 * gap / (0.5 * gap + 1e-4)],
        'best_of_n': [1, 0],
    }[algorithm]
    mask = MASK
    want = np.where(mask, np.array(want)[:, None], 0)
    np.testing.assert_allclose(learn.advantages, want, atol=1e-6)
    assert learn.values is None and learn.returns is None


@pytest.mark.parametrize('name', kl.ESTIMATORS)
def test_the_estimator_that_is_asked_for_prices_the_reward(name):
    objective = dataclasses.replace(PPO, kl_estimator=name)
    learn, _, metrics = estimate(objective)
    mask = MASK
    term = np.asarray(kl.ESTIMATORS[name](SCORES.log_probs, SCORES.reference))
    want = np.where(mask, -0.1 * term, 0) + np.array([[0, 0, 2.0], [0.5, 0, 0]])
    np.testing.assert_allclose(rewards_of(learn, PPO), want, atol=1e-6)
    paid = np.where(mask, term, 0).sum() / 2
    np.testing.assert_allclose(metrics[f'penalty_{name}'], paid, rtol=1e-5)
    np.testing.assert_allclose(metrics['kl'], -0.75, rtol=1e-5)


def test_a_kl_term_of_the_loss_leaves_the_reward_alone():
    objective = dataclasses.replace(PPO, kl_in='loss', kl_estimator='k3')
    learn, _, metrics = estimate(objective)
    np.testing.assert_allclose(
        rewards_of(learn, PPO), [[0, 0, 2], [0.5, 0, 0]], atol=1e-6
    )
    reference = jnp.where(MASK, SCORES.reference, 0)
    np.testing.assert_array_equal(learn.reference, reference)
    np.testing.assert_allclose(learn.beta, [0.1, 0.1])
    assert metrics['penalty_k3'] > 0


def test_rewards_are_clipped_and_whitened():
    clipped, _, _ = estimate(dataclasses.replace(PPO, clip_rewards=1.5))
    want = np.array([[-0.05, 0.1, 1.5], [0.6, 0, 0]])
    np.testing.assert_allclose(rewards_of(clipped, PPO), want, atol=1e-6)
    white, _, _ = estimate(dataclasses.replace(PPO, whiten_rewards=True))
    mask = MASK
    plain = np.array([-0.05, 0.1, 2.0, 0.6])
    want = (plain - plain.mean()) / plain.std() + plain.mean()
    np.testing.assert_allclose(rewards_of(white, PPO)[mask], want, atol=1e-5)


def test_advantages_are_whitened_over_the_tokens_sampled():
    plain, _, _ = estimate()
    white, _, _ = estimate(dataclasses.replace(PPO, whiten_advantages=True))
    mask = MASK
    gains = np.asarray(plain.advantages)[mask]
    want = (gains - gains.mean()) / gains.std()
    np.testing.assert_allclose(np.asarray(white.advantages)[mask], want, atol=1e-5)
    assert not np.asarray(white.advantages)[~mask].any()
    np.testing.assert_array_equal(white.returns, plain.returns)


def test_without_a_reference_there_is_no_kl():
    learn, _, metrics = estimate(beta=0.0, reference=None)
    np.testing.assert_allclose(
        rewards_of(learn, PPO), [[0, 0, 2], [0.5, 0, 0]], atol=1e-6
    )
    assert 'kl' not in metrics and 'kl_k3' not in metrics


def test_no_kl_term_is_beta_0():
    none = dataclasses.replace(REINFORCE, kl_estimator='none')
    got, want = (
        estimate(objective, beta, reference=None)[0].returns
        for objective, beta in ((none, 0.5), (REINFORCE, 0.0))
    )
    np.testing.assert_array_equal(got, want)


def test_with_a_moving_reference_the_kl_is_that_from_the_start():
    start = jnp.array([[-2.0, -2.0, -1.5], [-3.5, 9.0, 9.0]])
    learn, _, metrics = estimate(start=start)
    np.testing.assert_allclose(metrics['kl'], (1.0 + 0 + 1.0 + 0.5) / 2)
    np.testing.assert_allclose(metrics['penalty_k1'], (-0.5 - 1.0) / 2)
    np.testing.assert_array_equal(learn.advantages, estimate()[0].advantages)


def test_metrics_by_hand():
    _, _, metrics = estimate()
    want = {
        'reward': 1.5,
        'reward_std': 0.5,
        'return': (2.05 + 0.6) / 2,
        'entropy': (3.5 + 3) / 4,
        'response_length': 2.0,
        'no_eos': 0.5,
        'kl_coefficient': 0.1,
        'kl': (-0.5 - 1.0) / 2,
        'kl_k3': (np.exp(-0.5) - 0.5 + np.exp(1) - 2 + np.exp(1) - 2) / 2,
        'penalty_k1': (-0.5 - 1.0) / 2,
    }
    assert metrics.keys() == want.keys()
    for name, x in want.items():
        np.testing.assert_allclose(metrics[name], x, atol=1e-5, err_msg=name)


def test_running_statistics_equal_those_of_all_batches():
    rng, memory, scores = np.random.default_rng(0), MEMORY, []
    objective = dataclasses.replace(PPO, scale_rewards=True, missing_eos_penalty=0.0)
    for _ in range(5):
        scores.append(rng.normal(3, 2, 2))
        learn, memory, _ = estimate(
            objective, memory=memory, rewards=jnp.asarray(scores[-1], jnp.float32)
        )
        memory = {k: memory[k] for k in MEMORY}
        every = np.concatenate(scores)
        assert memory['count'] == len(every)
        np.testing.assert_allclose(memory['mean'], every.mean(), rtol=1e-5)
        variance = memory['m2'] / (memory['count'] - 1)
        np.testing.assert_allclose(variance, every.var(ddof=1), rtol=1e-4)
        want = scores[-1] / every.std(ddof=1)
        got = rewards_of(learn, objective)
        np.testing.assert_allclose(got[0, 2], want[0], rtol=1e-4)
        np.testing.assert_allclose(got[1, 0] - 0.1, want[1], rtol=1e-3, atol=1e-4)


def test_the_sampler_is_corrected_where_it_differs():
    """The trainer says 1/2 of the second token of the first response where the sampler
    said 1/4, and 1/8 of the third where it said 1/4."""
    apart = jnp.log(jnp.array([[1.0, 2.0, 0.5], [1.0, 1.0, 1.0]]))
    rounded = {'log_probs': ROLLOUT.responses.log_probs + apart}
    objective = dataclasses.replace(PPO, correction_limit=1.5)
    for name, want in (('truncated', [1, 1.5, 0.5]), ('masked', [1, 0, 0.5])):
        chosen = dataclasses.replace(objective, sampler_correction=name)
        learn, _, figures = estimate(chosen, **rounded, sampler_gap=jnp.float32(0.1))
        np.testing.assert_allclose(learn.weights[0], want, atol=1e-6)
        weights = np.array([*want, 1.0])
        share = weights.sum() ** 2 / (4 * (weights**2).sum())
        assert float(figures['effective_share']) == pytest.approx(share, rel=1e-5)
        assert estimate(chosen, **rounded)[0].weights is None  # they agree exactly
    plain, _, figures = estimate(objective, **rounded, sampler_gap=jnp.float32(0.1))
    assert plain.weights is None and 'effective_share' not in figures


def test_a_loss_of_whole_responses_is_corrected_by_whole_responses():
    """The geometric mean of the ratios 1, 2 and 1/4 of the first one."""
    apart = jnp.log(jnp.array([[1.0, 2.0, 0.25], [4.0, 1.0, 1.0]]))
    rounded = {'log_probs': ROLLOUT.responses.log_probs + apart}
    gspo = dataclasses.replace(
        PPO, algorithm='gspo', samples=2, sampler_correction='masked'
    )
    learn, _, _ = estimate(gspo, **rounded, sampler_gap=jnp.float32(0.1))
    np.testing.assert_allclose(learn.weights[0], 0.5 ** (1 / 3), rtol=1e-5)
    assert not learn.weights[1].any()


def test_a_long_response_pays():
    """Three of three tokens, the last two of which cost; the other has one."""
    objective = dataclasses.replace(PPO, overlong_tokens=2, missing_eos_penalty=0.0)
    got = rewards_of(estimate(objective)[0], objective)
    want = rewards_of(
        estimate(dataclasses.replace(objective, overlong_tokens=0))[0], objective
    )
    np.testing.assert_allclose(got[0, 2], want[0, 2] - 1, atol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-5)


def test_statistics_count_the_penalty():
    _, memory, _ = estimate()
    np.testing.assert_allclose(memory['mean'], (2.0 + 0.5) / 2)
    assert memory['kl_coefficient'] == jnp.float32(0.1)


@functools.cache
def bare(row, params_of, head):
    """Logits and head of one row without padding, by the plain decoder."""
    rows = rollout()
    n = int(rows.prompt_lengths[row])
    tokens = rows.tokens[row, 4 - n :][None]
    role = {
        'reference': BASE,
        'reward': tree.bind(BASE, SCORED),
        'value': tree.bind(BASE, TRAINABLE['value']),
    }[params_of]
    states = decoder.hidden(ARCH, role, tokens, jnp.arange(tokens.size)[None])[0]
    if head:
        return np.asarray(states @ role['head']['kernel'] + role['head']['bias'])
    logits = decoder.unembed(ARCH, role, states[None])[0] / PPO.temperature
    scores = np.asarray(jax.nn.log_softmax(logits))
    return scores[np.arange(n - 1, n + R - 1), np.asarray(tokens[0, n:])]


@pytest.mark.parametrize('row, n, said', [(0, 4, 3), (1, 2, 1)])
def test_what_the_roles_say_of_a_row_alone(row, n, said):
    scores = scored()
    np.testing.assert_array_equal(rollout().mask[row], np.arange(R) < said)
    np.testing.assert_allclose(
        scores.reference[row], bare(row, 'reference', False), atol=1e-4
    )
    raw = bare(row, 'reward', True)[n + said - 1]
    np.testing.assert_allclose(scores.rewards[row], (raw - 0.25) / 2, atol=1e-4)
    values = bare(row, 'value', True)[n - 1 : n + R - 1]
    np.testing.assert_allclose(scores.values[row], values, atol=1e-4)


def test_the_start_is_seen_beside_a_reference_that_moved():
    run = functools.partial(
        experience.score, arch=ARCH, objective=PPO, with_reference=True
    )
    moved = Network(BASE, TRAINABLE['policy'])
    frozen = dataclasses.replace(FROZEN, reference=moved, start=FROZEN.reference)
    scores = jax.jit(run)(TRAINABLE, frozen, rollout())
    np.testing.assert_array_equal(scores.start, scored().reference)
    assert np.abs(scores.reference - scores.start).max() > 1e-3
    assert scored().start is None


def test_without_a_reference_none_is_run():
    def dots(with_reference):
        run = functools.partial(
            experience.score,
            arch=ARCH,
            objective=PPO,
            with_reference=with_reference,
        )
        made = jax.make_jaxpr(run)(TRAINABLE, FROZEN, rollout())
        return str(made).count('dot_general')

    forward = jax.make_jaxpr(functools.partial(decoder.hidden, ARCH))(
        BASE, *tiny.rows()
    )
    # the forward of the bare base, and its unembedding
    assert dots(True) - dots(False) == str(forward).count('dot_general') + 1
