"""Scores to advantages by hand, and the two losses against each other."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.adapters import tree
from perl.losses import groups, kl
from perl.models import decoder, panel
from perl.rollout import scoring
from perl.rollout.sampler import Responses
from perl.stages import experience
from perl.stages import objective as objectives
from perl.stages.roles import Role

PPO = dataclasses.replace(
    tiny.OBJECTIVE,
    temperature=0.8,
    gamma=0.9,
    lam=0.5,
    value_coefficient=0.3,
    whiten_advantages=False,
    missing_eos_penalty=0.5,
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


@pytest.mark.parametrize('algorithm', ['rloo', 'grpo', 'best_of_n'])
def test_groups_share_one_advantage_a_response(algorithm):
    objective = dataclasses.replace(PPO, algorithm=algorithm, samples=2)
    learn, _, _ = judge(objective)
    totals = np.array([2.0 - 0.1 * (0.5 - 1), 0.5 - 0.1 * (-1.0)])  # score - beta KL
    gap = totals[0] - totals[1]
    want = {
        'rloo': [gap, -gap],
        'grpo': [0.5 * gap / (0.5 * gap + 1e-4), -0.5 * gap / (0.5 * gap + 1e-4)],
        'best_of_n': [1, 0],
    }[algorithm]
    mask = np.asarray(SEEN['mask'])
    want = np.where(mask, np.array(want)[:, None], 0)
    np.testing.assert_allclose(learn['advantages'], want, atol=1e-6)
    assert not {'values', 'returns'} & learn.keys()


@pytest.mark.parametrize('name', kl.ESTIMATORS)
def test_the_estimator_that_is_asked_for_prices_the_reward(name):
    objective = dataclasses.replace(PPO, kl_estimator=name)
    learn, _, metrics = judge(objective)
    mask = np.asarray(SEEN['mask'])
    term = np.asarray(kl.ESTIMATORS[name](SEEN['log_probs'], SEEN['reference']))
    want = np.where(mask, -0.1 * term, 0) + np.array([[0, 0, 2.0], [0.5, 0, 0]])
    np.testing.assert_allclose(rewards_of(learn, PPO), want, atol=1e-6)
    paid = np.where(mask, term, 0).sum() / 2
    np.testing.assert_allclose(metrics[f'penalty_{name}'], paid, rtol=1e-5)
    np.testing.assert_allclose(metrics['kl'], -0.75, rtol=1e-5)


def test_a_kl_term_of_the_loss_leaves_the_reward_alone():
    objective = dataclasses.replace(PPO, kl_in='loss', kl_estimator='k3')
    learn, _, metrics = judge(objective)
    np.testing.assert_allclose(
        rewards_of(learn, PPO), [[0, 0, 2], [0.5, 0, 0]], atol=1e-6
    )
    np.testing.assert_array_equal(learn['reference'], SEEN['reference'])
    np.testing.assert_allclose(learn['beta'], [0.1, 0.1])
    assert metrics['penalty_k3'] > 0


def test_rewards_are_clipped_and_whitened():
    clipped, _, _ = judge(dataclasses.replace(PPO, clip_rewards=1.5))
    want = np.array([[-0.05, 0.1, 1.5], [0.6, 0, 0]])
    np.testing.assert_allclose(rewards_of(clipped, PPO), want, atol=1e-6)
    white, _, _ = judge(dataclasses.replace(PPO, whiten_rewards=True))
    mask = np.asarray(SEEN['mask'])
    plain = np.array([-0.05, 0.1, 2.0, 0.6])
    want = (plain - plain.mean()) / plain.std() + plain.mean()
    np.testing.assert_allclose(rewards_of(white, PPO)[mask], want, atol=1e-5)


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
SCORED = {**tiny.adapter(seed=7), 'head': tiny.head(8)}
TRAINABLE = {
    'policy': tiny.adapter(),
    'value': {**tiny.adapter(seed=5), 'head': tiny.head()},
}
FROZEN = {
    'policy': BASE,
    'value': BASE,
    'reference': {'base': BASE, 'delta': {}},
    'reward': panel.build([Role(BASE, 'base', SCORED, tiny.LORA, 0.25, 2.0)]),
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
        'reward': tree.bind(BASE, SCORED),
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
    run = functools.partial(objectives.loss, arch=tiny.ARCH, objective=objective)
    return jax.value_and_grad(run, has_aux=True)(
        trainable, FROZEN, batch, jax.random.key(0)
    )


def batch(**changes):
    """What `judge` hands on, at ratio 1: the old policy is the new one."""
    seen = observed()
    new = jax.jit(scoring.log_probs, static_argnums=(0, 4, 5))(
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


def policy_alone(**changes):
    """A batch without a critic."""
    names = ('values', 'returns')
    return {k: v for k, v in batch(**changes).items() if k not in names}


def only(trainable):
    return {'policy': trainable['policy']}


def test_one_rloo_update_is_reinforce_with_the_others_as_baseline():
    """At ratio 1 the clip is idle: RLOO of two is REINFORCE on their difference."""
    rloo = dataclasses.replace(PPO, algorithm='rloo', samples=2)
    scores = jnp.array([1.5, -0.5])
    mask = observed()['mask']
    gains = jnp.where(mask, groups.leave_one_out(scores, 2)[:, None], 0)
    _, got = learned(rloo, only(TRAINABLE), policy_alone(advantages=gains))
    pushed = jnp.where(mask, jnp.array([[2.0], [-2.0]]), 0)
    _, want = learned(REINFORCE, TRAINABLE, batch(advantages=pushed))
    tiny.close(got['policy'], want['policy'], atol=1e-5)


def test_grpo_weighs_responses_alike():
    grpo = dataclasses.replace(PPO, algorithm='grpo', samples=2)
    given = policy_alone()
    (total, (count, _)), _ = learned(grpo, only(TRAINABLE), given)
    gains, mask = np.asarray(given['advantages']), np.asarray(given['mask'])
    rows = [-gains[i][mask[i]].mean() for i in range(2)]  # ratio 1
    assert count == 2
    np.testing.assert_allclose(total / count, np.mean(rows), rtol=1e-4)


def test_best_of_n_is_imitation_of_the_best():
    best = dataclasses.replace(PPO, algorithm='best_of_n', samples=2)
    gains = jnp.where(
        observed()['mask'], groups.best(jnp.array([0.2, 0.9]), 2)[:, None], 0
    )
    given = policy_alone(advantages=gains)
    (total, _), _ = learned(best, only(TRAINABLE), given)
    old, mask = np.asarray(given['log_probs']), np.asarray(given['mask'])
    np.testing.assert_allclose(total, -old[1][mask[1]].sum(), rtol=1e-4)


def test_the_entropy_bonus_pays_for_entropy():
    bonus = dataclasses.replace(PPO, entropy_coefficient=0.7)
    (plain, (_, sums)), _ = learned(PPO, TRAINABLE, batch())
    (paid, _), grads = learned(bonus, TRAINABLE, batch())
    entropy = sums['policy_entropy'][0]
    assert 0 < entropy < 4 * np.log(32)
    np.testing.assert_allclose(paid, plain - 0.7 * entropy, rtol=1e-5)
    without = learned(PPO, TRAINABLE, batch())[1]
    differ = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), grads['policy'], without['policy']
    )
    assert max(jax.tree.leaves(differ)) > 1e-4


@pytest.mark.parametrize('name', ['k2', 'k3', 'full'])
def test_a_kl_term_in_the_loss_by_hand(name):
    objective = dataclasses.replace(PPO, kl_in='loss', kl_estimator=name)
    seen, given = observed(), batch()
    beta = jnp.array([0.3, 0.3])
    with_term = {**given, 'reference': seen['reference'], 'beta': beta}
    (total, (_, sums)), grads = learned(objective, TRAINABLE, with_term)
    (plain, _), _ = learned(PPO, TRAINABLE, given)
    mask = np.asarray(given['mask'])
    if name == 'full':
        term = jax.jit(scoring.divergence, static_argnums=(0, 5, 6))(
            tiny.ARCH, tree.bind(BASE, TRAINABLE['policy']), BASE, seen['tokens'],
            seen['lengths'], R, PPO.temperature,
        )  # fmt: skip
    else:
        term = kl.ESTIMATORS[name](given['log_probs'], seen['reference'])
    paid = np.asarray(term)[mask].sum()
    assert paid > 0
    np.testing.assert_allclose(sums[f'loss_{name}'][0], paid, rtol=1e-4)
    np.testing.assert_allclose(total, plain + 0.3 * paid, rtol=1e-4)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


def test_text_joins_the_loss_with_its_weight():
    """PPO-ptx: the gradient is the sum of both, and parts are the whole."""
    tokens, positions = tiny.rows((2, 8), seed=9)
    rows = {
        'tokens': tokens,
        'positions': positions,
        'segments': jnp.zeros_like(tokens),
        'completion': jnp.ones_like(tokens, bool).at[1, 5:].set(False),
        'weight': jnp.array([0.4, 0.4]),
    }
    (total, (_, sums)), got = learned(PPO, TRAINABLE, {**batch(), 'ptx': rows})
    (plain, _), policy = learned(PPO, TRAINABLE, batch())
    logits = decoder.unembed(
        tiny.ARCH,
        tree.bind(BASE, TRAINABLE['policy']),
        decoder.hidden(
            tiny.ARCH, tree.bind(BASE, TRAINABLE['policy']), tokens, positions
        ),
    )
    scores = np.asarray(jax.nn.log_softmax(logits))[:, :-1]
    missed = -np.take_along_axis(scores, np.asarray(tokens)[:, 1:, None], 2)[..., 0]
    missed = missed[np.asarray(rows['completion'])[:, 1:]]
    np.testing.assert_allclose(sums['ptx_loss'][0], missed.sum(), rtol=1e-4)
    assert sums['ptx_loss'][1] == missed.size == 11
    np.testing.assert_allclose(total, plain + 0.4 * missed.sum(), rtol=1e-4)
    tiny.close(got['value'], policy['value'], atol=1e-6)


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
