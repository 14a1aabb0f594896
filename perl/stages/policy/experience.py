"""From a rollout to what the policy learns from: pure functions on arrays.

Rows are a prompt padded on the left to P slots and R slots of response. What is said of
tokens is `[B, R]`, of whole responses `[B]`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.losses import advantages, kl, policy
from perl.losses.reduce import masked_mean, masked_whiten
from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy.episodes import Experience, Scores
from perl.stages.policy.figures import figures
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
    rewards -= advantages.overlong(
        rollout.responses.lengths, mask.shape[1], objective.overlong_tokens
    )
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
        if objective.rules.whitened:
            fields['advantages'] = masked_whiten(fields['advantages'], mask)
    else:
        fields = _with_critic(shaped, scores.values, mask, objective)
    if objective.kl_in == 'loss' and scores.reference is not None:
        fields['reference'] = jnp.where(mask, scores.reference, 0)
        fields['beta'] = jnp.broadcast_to(beta, mask.shape[:1])
    if scores.sampler_gap is not None and objective.sampler_correction != 'none':
        fields['weights'] = _corrected(rollout, scores, objective)
    experience = Experience(
        tokens=rollout.tokens,
        prompt_lengths=rollout.prompt_lengths,
        mask=mask,
        log_probs=scores.log_probs,
        **fields,
    )
    metrics = figures(rollout, scores, shaped, penalty, experience, objective)
    return experience, memory, metrics | {'kl_coefficient': beta}


def _penalty(scores, objective):
    """The KL term that is optimised, `[B, R]`; 0 where there is no reference."""
    if scores.reference is None:
        return jnp.zeros(scores.log_probs.shape)
    if objective.kl_estimator == 'full':
        return scores.divergence
    return kl.ESTIMATORS[objective.kl_estimator](scores.log_probs, scores.reference)


def _corrected(rollout, scores, objective):
    """The weights of tokens `[B, R]` by the sampler's and the trainer's log-probs; of
    whole responses, where the loss compares these."""
    rows = scores.log_probs, rollout.responses.log_probs
    if objective.rules.clipped == 'sequence':
        ratios = policy.sequence_log_ratios(*rows, rollout.mask)
        rows = ratios, jnp.zeros_like(ratios)
    return policy.importance_weights(
        *rows,
        objective.correction_limit,
        masked=objective.sampler_correction == 'masked',
    )


def _with_critic(rewards, values, mask, objective):
    """Advantages of tokens from a value function, and the returns that it learns."""
    if objective.whiten_rewards:
        rewards = masked_whiten(rewards, mask, shift_mean=False)
    lam = 1.0 if objective.rules.convex else objective.lam  # return minus value
    gains, returns = advantages.gae(rewards, values, mask, objective.gamma, lam)
    if objective.whiten_advantages:
        gains = masked_whiten(gains, mask)
    return {'advantages': gains, 'returns': returns, 'values': values}


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
