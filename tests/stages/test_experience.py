"""Scores to advantages by hand, and the two losses against each other."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.adapters import tree
from perl.models import decoder
from perl.rollout.sampler import Responses
from perl.stages import experience
from perl.stages.experience import Objective

PPO = Objective(
    algorithm='ppo',
    temperature=0.8,
    gamma=0.9,
    lam=0.5,
    clip=0.2,
    value_clip=0.2,
    value_coefficient=0.3,
    whiten_advantages=False,
    missing_eos_penalty=0.5,
    scale_rewards=False,
)
REINFORCE = dataclasses.replace(PPO, algorithm='reinforce')

# two responses of three and one tokens; the second was cut before its end
SEEN = {
    'tokens': jnp.zeros((2, 5), jnp.int32),
    'lengths': jnp.array([2, 1]),
    'mask': jnp.array([[True, True, True], [True, False, False]]),
    'log_probs': jnp.array([[-1.0, -2.0, -0.5], [-3.0, 99.0, 99.0]]),
    'reference': jnp.array([[-1.5, -1.0, -0.5], [-2.0, 55.0, 55.0]]),
    'finished': jnp.array([True, False]),
    'scores': jnp.array([2.0, 1.0]),
    'values': jnp.array([[0.1, 0.2, 0.3], [0.4, 77.0, 77.0]]),
}
MEMORY = {name: jnp.float32(0) for name in ('count', 'mean', 'm2')}


def judge(objective=PPO, beta=0.1, memory=MEMORY, **changes):
    memory = {'kl_coefficient': jnp.float32(beta), **memory}
    return experience.judge(SEEN | changes, memory, objective=objective)


def rewards_of(learn, objective):
    """Undoes the estimation of advantages: the rewards that went into it."""
    gains, values = (np.asarray(learn[k], float) for k in ('advantages', 'values'))
    mask = np.asarray(learn['mask'])
    after = np.pad(np.where(mask, values, 0), ((0, 0), (0, 1)))[:, 1:]
    later = np.pad(gains, ((0, 0), (0, 1)))[:, 1:]
    lam = 1.0 if objective.algorithm == 'reinforce' else objective.lam
    gamma = objective.gamma
    return np.where(mask, gains - gamma * lam * later - gamma * after + values, 0)


@pytest.mark.parametrize(
    'objective, weight', [(PPO, 1.0), (REINFORCE, 0.9)], ids=['ppo', 'reinforce']
)
def test_rewards_are_the_score_at_the_last_token_less_the_kl(objective, weight):
    learn, _, _ = judge(objective)
    # log-ratios 0.5, -1, 0 and -1; scores 2, and 1 less the penalty of 0.5
    want = [[-0.05, 0.1, weight * 2.0], [0.1 + weight * 0.5, 0, 0]]
    np.testing.assert_allclose(rewards_of(learn, objective), want, atol=1e-6)


def test_ppo_advantages_by_hand():
    learn, _, _ = judge()
    last = 2.0 - 0.3
    middle = 0.1 + 0.9 * 0.3 - 0.2 + 0.45 * last
    first = -0.05 + 0.9 * 0.2 - 0.1 + 0.45 * middle
    want = np.array([[first, middle, last], [0.6 - 0.4, 0, 0]])
    np.testing.assert_allclose(learn['advantages'], want, atol=1e-6)
    values = [[0.1, 0.2, 0.3], [0.4, 0, 0]]
    np.testing.assert_allclose(learn['returns'], want + values, atol=1e-6)


def test_reinforce_advantages_are_returns_less_values():
    learn, _, _ = judge(REINFORCE)
    third = 0.9 * 2.0
    second = 0.1 + 0.9 * third
    returns = [[-0.05 + 0.9 * second, second, third], [0.1 + 0.9 * 0.5, 0, 0]]
    np.testing.assert_allclose(learn['returns'], returns, atol=1e-6)
    values = [[0.1, 0.2, 0.3], [0.4, 0, 0]]
    np.testing.assert_allclose(
        learn['advantages'], np.subtract(returns, values), atol=1e-6
    )


def test_advantages_are_whitened_over_the_tokens_sampled():
    plain, _, _ = judge()
    white, _, _ = judge(dataclasses.replace(PPO, whiten_advantages=True))
    mask = np.asarray(SEEN['mask'])
    gains = np.asarray(plain['advantages'])[mask]
    want = (gains - gains.mean()) / gains.std()
    np.testing.assert_allclose(np.asarray(white['advantages'])[mask], want, atol=1e-5)
    assert not np.asarray(white['advantages'])[~mask].any()
    np.testing.assert_array_equal(white['returns'], plain['returns'])


def test_without_a_reference_there_is_no_kl():
    seen = {k: v for k, v in SEEN.items() if k != 'reference'}
    memory = {'kl_coefficient': jnp.float32(0), **MEMORY}
    learn, _, metrics = experience.judge(seen, memory, objective=PPO)
    np.testing.assert_allclose(
        rewards_of(learn, PPO), [[0, 0, 2], [0.5, 0, 0]], atol=1e-6
    )
    assert 'kl' not in metrics and 'kl_k3' not in metrics


def test_metrics_by_hand():
    _, _, metrics = judge()
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
    }
    assert metrics.keys() == want.keys()
    for name, x in want.items():
        np.testing.assert_allclose(metrics[name], x, atol=1e-5, err_msg=name)


def test_running_statistics_equal_those_of_all_batches():
    rng, memory, scores = np.random.default_rng(0), MEMORY, []
    objective = dataclasses.replace(PPO, scale_rewards=True, missing_eos_penalty=0.0)
    for _ in range(5):
        scores.append(rng.normal(3, 2, 2))
        learn, memory, _ = judge(
            objective, memory=memory, scores=jnp.asarray(scores[-1], jnp.float32)
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


def test_statistics_count_the_penalty():
    _, memory, _ = judge()
    np.testing.assert_allclose(memory['mean'], (2.0 + 0.5) / 2)
    assert memory['kl_coefficient'] == jnp.float32(0.1)


R = 3
BASE = tiny.weights()
TRAINABLE = {
    'policy': tiny.adapter(),
    'value': {**tiny.adapter(seed=5), 'head': tiny.head()},
}
FROZEN = {
    'policy': BASE,
    'value': BASE,
    'reference': {'base': BASE, 'delta': {}},
    'reward': {
        'base': BASE,
        'delta': {**tiny.adapter(seed=7), 'head': tiny.head(8)},
        'shift': jnp.float32(0.25),
        'scale': jnp.float32(2.0),
    },
}


def rollout():
    """Two ragged prompts in four slots, and what was said."""
    tokens, _ = tiny.rows((2, 4 + R))
    return tokens[:, :4], jnp.array([4, 2]), Responses(
        tokens[:, 4:], jnp.zeros((2, R)), jnp.array([3, 1]), jnp.array([False, True])
    )  # fmt: skip


@functools.cache
def observed():
    return jax.jit(
        functools.partial(
            experience.observe, arch=tiny.ARCH, objective=PPO, with_reference=True
        )
    )(TRAINABLE, FROZEN, *rollout())


@functools.cache
def bare(row, params_of, head):
    """Logits and head of one row without padding, by the plain decoder."""
    prompts, lengths, said = rollout()
    n = int(lengths[row])
    tokens = jnp.concatenate([prompts[row, 4 - n :], said.tokens[row]])[None]
    role = {
        'reference': BASE,
        'reward': tree.bind(BASE, FROZEN['reward']['delta']),
        'value': tree.bind(BASE, TRAINABLE['value']),
    }[params_of]
    states = decoder.hidden(tiny.ARCH, role, tokens, jnp.arange(tokens.size)[None])[0]
    if head:
        return np.asarray(states @ role['head']['kernel'] + role['head']['bias'])
    logits = decoder.unembed(tiny.ARCH, role, states[None])[0] / PPO.temperature
    scores = np.asarray(jax.nn.log_softmax(logits))
    return scores[np.arange(n - 1, n + R - 1), np.asarray(tokens[0, n:])]


@pytest.mark.parametrize('row, n, said', [(0, 4, 3), (1, 2, 1)])
def test_what_the_roles_say_of_a_row_alone(row, n, said):
    seen = observed()
    np.testing.assert_array_equal(seen['mask'][row], np.arange(R) < said)
    np.testing.assert_allclose(
        seen['reference'][row], bare(row, 'reference', False), atol=1e-4
    )
    raw = bare(row, 'reward', True)[n + said - 1]
    np.testing.assert_allclose(seen['scores'][row], (raw - 0.25) / 2, atol=1e-4)
    values = bare(row, 'value', True)[n - 1 : n + R - 1]
    np.testing.assert_allclose(seen['values'][row], values, atol=1e-4)


def test_without_a_reference_none_is_run():
    def dots(with_reference):
        run = functools.partial(
            experience.observe,
            arch=tiny.ARCH,
            objective=PPO,
            with_reference=with_reference,
        )
        made = jax.make_jaxpr(run)(TRAINABLE, FROZEN, *rollout())
        return str(made).count('dot_general')

    forward = jax.make_jaxpr(functools.partial(decoder.hidden, tiny.ARCH))(
        BASE, *tiny.rows()
    )
    # the forward of the bare base, and its unembedding
    assert dots(True) - dots(False) == str(forward).count('dot_general') + 1


@functools.partial(jax.jit, static_argnums=0)
def learned(objective, trainable, batch):
    run = functools.partial(experience.loss, arch=tiny.ARCH, objective=objective)
    return jax.value_and_grad(run, has_aux=True)(
        trainable, FROZEN, batch, jax.random.key(0)
    )


def batch(**changes):
    """What `judge` hands on, at ratio 1: the old policy is the new one."""
    seen = observed()
    new = jax.jit(experience.log_probs, static_argnums=(0, 4, 5))(
        tiny.ARCH, tree.bind(BASE, TRAINABLE['policy']), seen['tokens'],
        seen['lengths'], R, PPO.temperature,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    gains, returns = (
        jnp.asarray(rng.normal(size=(2, R)), jnp.float32) for _ in range(2)
    )
    return {
        **{k: seen[k] for k in ('tokens', 'lengths', 'mask', 'values')},
        'log_probs': new,
        'advantages': gains,
        'returns': returns,
        **changes,
    }


def test_the_gradient_of_ppo_at_ratio_1_is_that_of_reinforce():
    (_, (count, sums)), ppo = learned(PPO, TRAINABLE, batch())
    _, reinforce = learned(REINFORCE, TRAINABLE, batch())
    tiny.close(ppo, reinforce, atol=1e-5)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(ppo['policy']))
    assert count == 4
    assert sums['clip_fraction'][0] == 0
    np.testing.assert_allclose(sums['update_kl'][0], 0, atol=1e-6)


def test_losses_by_hand():
    given = batch()
    old = np.asarray(given['log_probs'])
    shift = np.array([[0.5, -0.5, 0.1], [-0.05, 9, 9]])  # new - old
    given |= {'log_probs': jnp.asarray(old - shift, jnp.float32)}
    mask = np.asarray(given['mask'])
    gains, returns, values = (
        np.asarray(given[k], float) for k in ('advantages', 'returns', 'values')
    )
    ratio = np.exp(shift)
    pushed = np.maximum(-gains * ratio, -gains * np.clip(ratio, 0.8, 1.2))[mask].sum()
    missed = (0.5 * (values - returns) ** 2)[mask].sum()
    (total, (_, sums)), _ = learned(PPO, TRAINABLE, given)
    np.testing.assert_allclose(sums['policy_loss'][0], pushed, rtol=1e-3)
    np.testing.assert_allclose(sums['value_loss'][0], missed, rtol=1e-3)
    np.testing.assert_allclose(total, pushed + 0.3 * missed, rtol=1e-3)
    (total, (_, sums)), _ = learned(REINFORCE, TRAINABLE, given)
    np.testing.assert_allclose(
        sums['policy_loss'][0], -(old * gains)[mask].sum(), rtol=1e-3
    )
    np.testing.assert_allclose(sums['value_loss'][0], missed, rtol=1e-3)


def test_tokens_after_the_end_teach_nothing():
    given = batch()
    noise = {
        name: jnp.where(given['mask'], given[name], 1e4)
        for name in ('advantages', 'returns', 'log_probs', 'values')
    }
    got, want = learned(PPO, TRAINABLE, given | noise), learned(PPO, TRAINABLE, given)
    tiny.close(got, want, atol=1e-6)
