"""From a rollout to what the policy learns from: pure functions on arrays.

Rows are a prompt padded on the left to P slots and R slots of response. What is said of
tokens is `[B, R]`, of whole responses `[B]`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.losses import advantages, kl
from perl.losses.reduce import masked_mean, masked_sum, masked_whiten
from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy.episodes import Experience, Scores
from perl.stages.policy.objective import Objective


def score(
    trainable: Any,
    frozen: Frozen,
    rollout: Rollout,
    *,
    arch: Architecture,
    objective: Objective,
    with_reference: bool,
) -> Scores:
    """What every role computes for a rollout of B responses.

    In exact arithmetic the sampler's log-probs are the trainer's. Elsewhere they differ
    by rounding, which would put tokens outside of the clip range before any update and
    noise into the KL: there the trainer scores its own tokens once more.

    Args:
        trainable: deltas of `policy` and, where there is a critic, `value`, of the
            shapes that their tunings declare.
        frozen: the rest of the roles; without `reward` the rewards come from elsewhere.
        rollout: prompts and responses, `[B, P + R]`.
        arch: the decoder.
        objective: the numbers.
        with_reference: whether there is a KL term. Without one no reference is run.

    Returns:
        `[B, R]` of tokens, `[B]` of responses, as `Scores` lists them.
    """
    rows = rollout.tokens, rollout.prompt_lengths, rollout.width
    samples, mask = objective.samples, rollout.mask
    options = objective.temperature, samples
    policy = tree.bind(frozen.policy, trainable['policy'])
    sampled = rollout.responses.log_probs
    scores = {'log_probs': sampled}
    if not arch.exact:
        trained = scoring.log_probs(arch, policy, *rows, *options)
        scores['log_probs'] = jnp.where(mask, trained, 0)
        scores['sampler_gap'] = masked_mean(jnp.abs(sampled - trained), mask)
    if frozen.reward is not None:
        lengths = rollout.prompt_lengths, rollout.responses.lengths
        scores['rewards'] = scoring.rewards(
            arch, frozen.reward, rollout.tokens, *lengths, rollout.width, samples
        )
    if 'value' in trainable:
        value = tree.bind(frozen.value, trainable['value'])
        scores['values'] = scoring.values(arch, value, *rows, samples)
    if with_reference:
        reference = frozen.reference.bound()
        scores['reference'] = scoring.log_probs(arch, reference, *rows, *options)
        if objective.kl_estimator == 'full':
            scores['divergence'] = scoring.divergence(
                arch, policy, reference, *rows, *options
            )
        if frozen.start is not None:
            start = frozen.start.bound()
            scores['start'] = scoring.log_probs(arch, start, *rows, *options)
    return Scores(**scores)


def estimate(
    rollout: Rollout,
    scores: Scores,
    memory: dict[str, jax.Array],
    *,
    objective: Objective,
) -> tuple[Experience, dict[str, jax.Array], dict[str, jax.Array]]:
    """Advantages of a rollout.

    Args:
        rollout: prompts and responses.
        scores: from `score`, with rewards.
        memory: scalars: kl_coefficient, and the running statistics of rewards: count,
            mean, m2.
        objective: the algorithm.

    Returns:
        What the update learns from, the new memory, and scalar metrics.
    """
    mask, beta = rollout.mask, memory['kl_coefficient']
    finished = rollout.responses.finished
    unfinished = (~finished).astype(scores.rewards.dtype)
    rewards = scores.rewards - objective.missing_eos_penalty * unfinished
    memory = memory | _count(memory, rewards)
    if objective.scale_rewards:
        variance = memory['m2'] / jnp.maximum(memory['count'] - 1, 1)
        rewards = rewards / jnp.sqrt(variance + 1e-8)
    if objective.clip_rewards:
        rewards = jnp.clip(rewards, -objective.clip_rewards, objective.clip_rewards)
    penalty = _penalty(scores, objective)
    price = beta if objective.kl_in == 'reward' else 0.0
    # PERL: (1 - beta) r - beta KL; others, and without a KL term: r - beta KL
    convex = objective.rules.convex and objective.kl_estimator != 'none'
    weight = 1 - beta if convex else 1.0
    shaped = advantages.shaped_rewards(rewards, penalty, mask, price, weight)
    fields = {}
    if objective.rules.group:
        whole = objective.rules.group(jnp.sum(shaped, 1), objective.samples)
        fields['advantages'] = jnp.where(mask, whole[:, None], 0)
    else:
        fields = _with_critic(shaped, scores.values, mask, objective)
    if objective.kl_in == 'loss' and scores.reference is not None:
        fields['reference'] = jnp.where(mask, scores.reference, 0)
        fields['beta'] = jnp.broadcast_to(beta, mask.shape[:1])
    experience = Experience(
        tokens=rollout.tokens,
        prompt_lengths=rollout.prompt_lengths,
        mask=mask,
        log_probs=scores.log_probs,
        **fields,
    )
    metrics = _metrics(rollout, scores, shaped, penalty, objective)
    return experience, memory, metrics | {'kl_coefficient': beta}


def _penalty(scores, objective):
    """The KL term that is optimised, `[B, R]`; 0 where there is no reference."""
    if scores.reference is None:
        return jnp.zeros(scores.log_probs.shape)
    if objective.kl_estimator == 'full':
        return scores.divergence
    return kl.ESTIMATORS[objective.kl_estimator](scores.log_probs, scores.reference)


def _with_critic(rewards, values, mask, objective):
    """Advantages of tokens from a value function, and the returns that it learns."""
    if objective.whiten_rewards:
        rewards = masked_whiten(rewards, mask, shift_mean=False)
    lam = 1.0 if objective.rules.convex else objective.lam  # return minus value
    gains, returns = advantages.gae(rewards, values, mask, objective.gamma, lam)
    if objective.whiten_advantages:
        gains = masked_whiten(gains, mask)
    return {'advantages': gains, 'returns': returns, 'values': values}


def _metrics(rollout, scores, rewards, penalty, objective):
    """Means over responses or tokens. `kl` is k1 from where the policy started,
    `penalty_...` is what is optimised."""
    mask, finished = rollout.mask, rollout.responses.finished
    episodes, tokens = mask.shape[0], jnp.sum(mask)
    metrics = {
        'reward': jnp.mean(scores.rewards),
        'reward_std': jnp.std(scores.rewards),
        'return': jnp.sum(jnp.where(mask, rewards, 0)) / episodes,
        'entropy': -masked_sum(scores.log_probs, mask) / tokens.astype(jnp.float32),
        'response_length': tokens / episodes,
        'no_eos': jnp.mean(~finished),
    }
    if scores.sampler_gap is not None:
        metrics['sampler_gap'] = scores.sampler_gap
    if scores.reference is not None:
        start = scores.reference if scores.start is None else scores.start
        metrics['kl'] = masked_sum(kl.k1(scores.log_probs, start), mask) / episodes
        metrics['kl_k3'] = masked_sum(kl.k3(scores.log_probs, start), mask) / episodes
        paid = masked_sum(penalty, mask) / episodes
        metrics[f'penalty_{objective.kl_estimator}'] = paid
    return metrics


def _count(memory, rewards):
    """Welford's running mean and variance, a batch at a time (Chan et al.)."""
    n, before = rewards.shape[0], memory['count']
    mean = jnp.mean(rewards)
    apart, total = mean - memory['mean'], before + n
    return {
        'count': total,
        'mean': memory['mean'] + apart * n / total,
        'm2': memory['m2']
        + jnp.sum(jnp.square(rewards - mean))
        + apart**2 * before * n / total,
    }
