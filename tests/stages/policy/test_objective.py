"""The loss of a policy: by hand, its gradients, and algorithms against each other."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from rolled import ARCH, BASE, FROZEN, PPO, REINFORCE, TRAINABLE, R, rollout, scored

from perl import config as configs
from perl.adapters import tree
from perl.losses import group_advantages, kl
from perl.models import decoder
from perl.models.shared_rows import together
from perl.rollout import scoring
from perl.stages.policy import objective as objectives
from perl.stages.policy.episodes import Experience
from perl.stages.policy.epochs import Epochs


@functools.partial(jax.jit, static_argnums=0)
def learned(objective, trainable, batch):
    run = functools.partial(objectives.loss, arch=ARCH, objective=objective)
    return jax.value_and_grad(run, has_aux=True)(
        trainable, FROZEN, batch, jax.random.key(0)
    )


def batch(**changes):
    """What `estimate` hands on, at ratio 1: the old policy is the new one."""
    rows = rollout()
    new = jax.jit(scoring.log_probs, static_argnums=(0, 4, 5))(
        ARCH, tree.bind(BASE, TRAINABLE['policy']), rows.tokens,
        rows.prompt_lengths, R, PPO.temperature,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    gains, returns = (
        jnp.asarray(rng.normal(size=(2, R)), jnp.float32) for _ in range(2)
    )
    fields = {
        'tokens': rows.tokens,
        'prompt_lengths': rows.prompt_lengths,
        'mask': rows.mask,
        'values': scored().values,
        'log_probs': new,
        'advantages': gains,
        'returns': returns,
    }
    return Experience(**{**fields, **changes})


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
    return batch(values=None, returns=None, **changes)


def only(trainable):
    return {'policy': trainable['policy']}


def test_one_rloo_update_is_reinforce_with_the_others_as_baseline():
    """At ratio 1 the clip is idle: RLOO of two is REINFORCE on their difference."""
    rloo = dataclasses.replace(PPO, algorithm='rloo', samples=2)
    scores = jnp.array([1.5, -0.5])
    mask = rollout().mask
    gains = jnp.where(mask, group_advantages.leave_one_out(scores, 2)[:, None], 0)
    _, got = learned(rloo, only(TRAINABLE), policy_alone(advantages=gains))
    pushed = jnp.where(mask, jnp.array([[2.0], [-2.0]]), 0)
    _, want = learned(REINFORCE, TRAINABLE, batch(advantages=pushed))
    tiny.close(got['policy'], want['policy'], atol=1e-5)


def test_grpo_weighs_responses_alike():
    grpo = dataclasses.replace(PPO, algorithm='grpo', samples=2)
    given = policy_alone()
    (total, (count, _)), _ = learned(grpo, only(TRAINABLE), given)
    gains, mask = np.asarray(given.advantages), np.asarray(given.mask)
    rows = [-gains[i][mask[i]].mean() for i in range(2)]  # ratio 1
    assert count == 2
    np.testing.assert_allclose(total / count, np.mean(rows), rtol=1e-4)


def in_groups(algorithm, **changes):
    """PPO's numbers for an algorithm that compares two responses."""
    return dataclasses.replace(PPO, algorithm=algorithm, samples=2, **changes)


def test_dr_grpo_divides_by_no_length():
    """The sum over tokens, over all slots that the responses could have."""
    given = policy_alone()
    (total, (count, sums)), _ = learned(in_groups('dr_grpo'), only(TRAINABLE), given)
    gains, mask = np.asarray(given.advantages), np.asarray(given.mask)
    np.testing.assert_allclose(total / count, -gains[mask].sum() / (2 * R), rtol=1e-4)
    told, tokens = sums['policy_entropy']  # a mean over tokens, as elsewhere
    (_, (_, others)), _ = learned(in_groups('dapo'), only(TRAINABLE), given)
    assert tokens == mask.sum() < 2 * R
    np.testing.assert_allclose(told, others['policy_entropy'][0], rtol=1e-6)


def test_dr_grpo_of_full_length_is_grpo():
    given = policy_alone(mask=jnp.ones((2, R), bool), log_probs=jnp.full((2, R), -2.0))
    (want, slope), (got, gradient) = (
        learned(in_groups(name, clip=0.9), only(TRAINABLE), given)
        for name in ('grpo', 'dr_grpo')
    )
    tiny.close((got[0], gradient), (want[0], slope), atol=1e-6)


def test_gspo_clips_whole_responses():
    """The geometric mean of the ratios of a response, by hand: 1.1 is in the range, 0.5
    with a gain below 0 is not."""
    now = policy_alone()
    mask, new = np.asarray(now.mask), np.asarray(now.log_probs)
    means = np.log([[1.1], [0.5]])
    spread = np.linspace(-0.3, 0.3, R) * mask
    spread = (spread - spread.sum(1, keepdims=True) / mask.sum(1, keepdims=True)) * mask
    given = dataclasses.replace(
        now,
        log_probs=jnp.asarray(new - means - spread, jnp.float32),
        advantages=jnp.where(now.mask, jnp.array([[2.0], [-1.0]]), 0),
    )
    gspo = in_groups('gspo', clip=0.2)
    (total, (count, sums)), _ = learned(gspo, only(TRAINABLE), given)
    np.testing.assert_allclose(total / count, (-1.1 * 2 + 0.8) / 2, rtol=1e-4)
    assert float(sums['clip_fraction'][0]) == pytest.approx(1)  # of two responses


@pytest.mark.parametrize('algorithm', ['dapo', 'cispo', 'reinforce_pp'])
def test_at_ratio_1_every_token_is_pushed_alike(algorithm):
    _, got = learned(in_groups(algorithm), only(TRAINABLE), policy_alone())
    _, want = learned(in_groups('rloo'), only(TRAINABLE), policy_alone())
    tiny.close(got, want, atol=1e-5)


def test_weights_of_tokens_multiply_the_policy_loss_alone():
    given = batch(weights=jnp.where(rollout().mask, 0.5, jnp.nan))
    (total, (_, sums)), _ = learned(PPO, TRAINABLE, given)
    (_, (_, plain)), _ = learned(PPO, TRAINABLE, batch())
    assert np.isfinite(total)
    for name, factor in (('policy_loss', 0.5), ('value_loss', 1.0)):
        np.testing.assert_allclose(
            sums[name][0], factor * plain[name][0], rtol=1e-5, err_msg=name
        )


def test_best_of_n_is_imitation_of_the_best():
    best = dataclasses.replace(PPO, algorithm='best_of_n', samples=2)
    gains = jnp.where(
        rollout().mask, group_advantages.best(jnp.array([0.2, 0.9]), 2)[:, None], 0
    )
    given = policy_alone(advantages=gains)
    (total, _), _ = learned(best, only(TRAINABLE), given)
    old, mask = np.asarray(given.log_probs), np.asarray(given.mask)
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
    given, reference = batch(), scored().reference
    beta = jnp.array([0.3, 0.3])
    with_term = batch(reference=reference, beta=beta)
    (total, (_, sums)), grads = learned(objective, TRAINABLE, with_term)
    (plain, _), _ = learned(PPO, TRAINABLE, given)
    mask = np.asarray(given.mask)
    if name == 'full':
        term = jax.jit(scoring.divergence, static_argnums=(0, 5, 6))(
            ARCH, tree.bind(BASE, TRAINABLE['policy']), BASE, given.tokens,
            given.prompt_lengths, R, PPO.temperature,
        )  # fmt: skip
    else:
        term = kl.ESTIMATORS[name](given.log_probs, reference)
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
    (total, (_, sums)), got = learned(PPO, TRAINABLE, batch(text=rows))
    (plain, _), policy = learned(PPO, TRAINABLE, batch())
    logits = decoder.unembed(
        ARCH,
        tree.bind(BASE, TRAINABLE['policy']),
        decoder.hidden(ARCH, tree.bind(BASE, TRAINABLE['policy']), tokens, positions),
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
    old = np.asarray(given.log_probs)
    shift = np.array([[0.5, -0.5, 0.1], [-0.05, 9, 9]])  # new - old
    given = batch(log_probs=jnp.asarray(old - shift, jnp.float32))
    mask = np.asarray(given.mask)
    gains, returns, values = (
        np.asarray(getattr(given, k), float)
        for k in ('advantages', 'returns', 'values')
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
        name: jnp.where(given.mask, getattr(given, name), 1e4)
        for name in ('advantages', 'returns', 'log_probs', 'values')
    }
    got, want = (learned(PPO, TRAINABLE, x) for x in (batch(**noise), given))
    tiny.close(got, want, atol=1e-6)


def test_an_unlikely_token_after_the_end_leaves_the_gradient_finite():
    """Past 88 nats the slope of k3 is infinite, and 0 times that is no number."""
    objective = dataclasses.replace(PPO, kl_in='loss', kl_estimator='k3')
    mask, beta = rollout().mask, jnp.array([0.3, 0.3])
    assert not mask.all()
    far, near = (
        batch(reference=jnp.where(mask, scored().reference, x), beta=beta)
        for x in (200.0, 0.0)
    )
    (total, _), grads = learned(objective, TRAINABLE, far)
    assert learned(objective, TRAINABLE, near)[0][0] == total
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


def test_responses_behind_one_prompt_give_the_loss_of_rows_apart():
    """Of GRPO with an exact KL term, and of PPO with its critic."""
    tokens, _ = tiny.rows((4, 4 + R), seed=9)
    tokens = tokens.at[1::2, :4].set(tokens[::2, :4])
    rng, lengths = np.random.default_rng(0), jnp.array([4, 4, 2, 2])
    numbers = jnp.asarray(rng.normal(size=(4, 4, R)), jnp.float32)
    common = {
        'tokens': tokens,
        'prompt_lengths': lengths,
        'mask': jnp.arange(R)[None] < jnp.array([3, 1, 2, 3])[:, None],
        'log_probs': numbers[0] - 3,
        'advantages': numbers[1],
    }
    grpo = dataclasses.replace(
        PPO, algorithm='grpo', samples=2, kl_estimator='full', kl_in='loss'
    )
    cases = {
        grpo: Experience(**common, reference=numbers[2] - 3, beta=jnp.full(4, 0.1)),
        dataclasses.replace(PPO, entropy_coefficient=0.1): Experience(
            **common, returns=numbers[2], values=numbers[3]
        ),
    }
    assert together(ARCH.width, 2, 4, R) == 2
    for objective, experience in cases.items():
        trained = only(TRAINABLE) if objective is grpo else TRAINABLE
        run = functools.partial(objectives.loss, arch=ARCH, objective=objective)
        want, got = (
            jax.jit(
                jax.value_and_grad(functools.partial(run, samples=n), has_aux=True)
            )(trained, FROZEN, experience, jax.random.key(0))
            for n in (1, 2)
        )
        tiny.close(got, want)


@pytest.mark.parametrize(
    ('minibatches', 'micro_batches', 'want'),
    [(1, 1, 4), (2, 1, 4), (4, 1, 2), (1, 2, 4), (1, 4, 2), (2, 4, 1)],
)
def test_minibatches_keep_the_responses_to_a_prompt_together(
    minibatches, micro_batches, want
):
    """As many as fit: half of a prompt's four where a minibatch, or a micro-batch of
    it, has two rows."""
    section = configs.policy_config(
        1e-3,
        algorithm='rloo',
        batch_size=8,
        minibatches=minibatches,
        micro_batches=micro_batches,
        epochs=6,
    )
    assert objectives.neighbours(section) == want
    seen = []

    def update(state, frozen, batch):
        seen.append(np.asarray(batch.tokens)[:, 0])
        return state, {}

    rows = jnp.arange(8)
    experience = Experience(rows[:, None], rows, rows, rows, rows)
    Epochs(section, types.SimpleNamespace(seed=1), update).learn(
        {}, None, experience, 0
    )
    epochs = np.array(seen).reshape(6, -1)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), rows)
        blocks = epoch.reshape(-1, want)
        np.testing.assert_array_equal(blocks[:, 0] % want, 0)
        np.testing.assert_array_equal(
            blocks - blocks[:, :1], [range(want)] * len(blocks)
        )
    if minibatches > 1:
        assert len({tuple(epoch) for epoch in epochs}) > 1, 'they are shuffled'
