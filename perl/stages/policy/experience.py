"""From a rollout to what the policy learns from: pure functions on arrays.

Rows are a prompt padded on the left to P slots and R slots of response; everything
per token is `[B, R]`, and `mask` says which of them were sampled.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.losses import advantages, kl
from perl.losses.reduce import masked_sum, masked_whiten
from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.rollout.sampler import Responses
from perl.stages.policy.objective import Objective


def observe(
    trainable: Any,
    frozen: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    responses: Responses,
    *,
    arch: Architecture,
    objective: Objective,
    with_reference: bool,
) -> dict[str, jax.Array]:
    """All that the frozen roles and the value say about a rollout.

    Without a KL term the reference is not run at all, nor a reward model where
    another scores. Where the reference moves, `frozen` has the `start` too: a KL is
    reported from there.
    """
    R = responses.tokens.shape[1]
    tokens = jnp.concatenate([prompts, responses.tokens], axis=1)
    mask = jnp.arange(R) < responses.lengths[:, None]
    seen = {
        'tokens': tokens,
        'lengths': lengths,
        'mask': mask,
        'log_probs': responses.log_probs,
        'finished': responses.finished,
    }
    rows = tokens, lengths, R
    if 'reward' in frozen:
        seen['scores'] = scoring.rewards(
            arch, frozen['reward'], tokens, lengths, responses.lengths, R
        )
    if 'value' in trainable:
        params = tree.bind(frozen['value'], trainable['value'])
        seen['values'] = scoring.values(arch, params, *rows)
    if with_reference:
        reference, temperature = _bound(frozen['reference']), objective.temperature
        seen['reference'] = scoring.log_probs(arch, reference, *rows, temperature)
        if objective.kl_estimator == 'full':
            params = tree.bind(frozen['policy'], trainable['policy'])
            seen['divergence'] = scoring.divergence(
                arch, params, reference, *rows, temperature
            )
        if 'start' in frozen:
            start = _bound(frozen['start'])
            seen['start'] = scoring.log_probs(arch, start, *rows, temperature)
    return seen


def judge(
    seen: dict[str, jax.Array], memory: dict[str, jax.Array], *, objective: Objective
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
    """Advantages of a rollout.

    Args:
        seen: from `observe`.
        memory: kl_coefficient, and the running reward statistics count, mean, m2.
        objective: the algorithm.

    Returns:
        What the update learns from, the new reward statistics, and metrics.
    """
    mask, beta = seen['mask'], memory['kl_coefficient']
    scores = seen['scores'] - objective.missing_eos_penalty * ~seen['finished']
    memory = memory | _count(memory, scores)
    if objective.scale_rewards:
        variance = memory['m2'] / jnp.maximum(memory['count'] - 1, 1)
        scores = scores / jnp.sqrt(variance + 1e-8)
    if objective.clip_rewards:
        scores = jnp.clip(scores, -objective.clip_rewards, objective.clip_rewards)
    # PERL: (1 - beta) r - beta KL; others, and without a KL term: r - beta KL
    if objective.rules.convex and objective.kl_estimator != 'none':
        scores = (1 - beta) * scores
    penalty = _penalty(seen, objective)
    price = beta if objective.kl_in == 'reward' else 0.0
    rewards = advantages.shaped_rewards(scores, penalty, mask, price)
    if objective.rules.group:
        whole = objective.rules.group(jnp.sum(rewards, 1), objective.samples)
        learn = {'advantages': jnp.where(mask, whole[:, None], 0)}
    else:
        learn = _critic(rewards, seen, objective)
    names = ('tokens', 'lengths', 'mask', 'log_probs')
    learn |= {name: seen[name] for name in names}
    if objective.kl_in == 'loss' and 'reference' in seen:
        learn['reference'] = jnp.where(mask, seen['reference'], 0)
        learn['beta'] = jnp.broadcast_to(beta, mask.shape[:1])
    return learn, memory, _metrics(seen, rewards, penalty, beta, objective)


def _penalty(seen, objective):
    """The KL term that is optimised, `[B, R]`; 0 where there is no reference."""
    if 'reference' not in seen:
        return jnp.zeros(seen['mask'].shape)
    if objective.kl_estimator == 'full':
        return seen['divergence']
    return kl.ESTIMATORS[objective.kl_estimator](seen['log_probs'], seen['reference'])


def _critic(rewards, seen, objective):
    """Advantages of tokens from a value function, and the returns that it learns."""
    mask = seen['mask']
    if objective.whiten_rewards:
        rewards = masked_whiten(rewards, mask, shift_mean=False)
    lam = 1.0 if objective.rules.convex else objective.lam  # the return less the value
    gains, returns = advantages.gae(rewards, seen['values'], mask, objective.gamma, lam)
    if objective.whiten_advantages:
        gains = masked_whiten(gains, mask)
    return {'advantages': gains, 'returns': returns, 'values': seen['values']}


def _metrics(seen, rewards, penalty, beta, objective):
    """Means over responses, or tokens; `kl` is k1 from where the policy started,
    `penalty_...` what is optimised."""
    mask = seen['mask']
    episodes, tokens = mask.shape[0], jnp.sum(mask)
    found = {
        'reward': jnp.mean(seen['scores']),
        'reward_std': jnp.std(seen['scores']),
        'return': jnp.sum(jnp.where(mask, rewards, 0)) / episodes,
        'entropy': -masked_sum(seen['log_probs'], mask) / tokens,
        'response_length': tokens / episodes,
        'no_eos': jnp.mean(~seen['finished']),
        'kl_coefficient': beta,
    }
    if 'reference' in seen:
        ratios = seen['log_probs'], seen.get('start', seen['reference'])
        found['kl'] = masked_sum(kl.k1(*ratios), mask) / episodes
        found['kl_k3'] = masked_sum(kl.k3(*ratios), mask) / episodes
        found[f'penalty_{objective.kl_estimator}'] = (
            masked_sum(penalty, mask) / episodes
        )
    return found


def _bound(role):
    return tree.bind(role['base'], role['delta'])


def _count(memory, scores):
    """Welford's running mean and variance, a batch at a time (Chan et al.)."""
    n, seen = scores.shape[0], memory['count']
    mean = jnp.mean(scores)
    apart, total = mean - memory['mean'], seen + n
    return {
        'count': total,
        'mean': memory['mean'] + apart * n / total,
        'm2': memory['m2']
        + jnp.sum(jnp.square(scores - mean))
        + apart**2 * seen * n / total,
    }
