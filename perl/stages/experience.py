"""From a rollout to what the policy learns from: pure functions on arrays.

Rows are a prompt padded on the left to P slots and R slots of response; everything
per token is `[B, R]`, and `mask` says which of them were sampled.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.losses import advantages, kl, policy, value
from perl.losses.reduce import masked_sum, masked_whiten
from perl.models import decoder, heads
from perl.models.architecture import Architecture
from perl.rollout.sampler import Responses, left_padded


@dataclasses.dataclass(frozen=True)
class Objective:
    """The numbers of the algorithm; names as in the config of a policy stage."""

    algorithm: str
    temperature: float
    gamma: float
    lam: float
    clip: float
    value_clip: float
    value_coefficient: float
    whiten_advantages: bool
    missing_eos_penalty: float
    scale_rewards: bool


def log_probs(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
) -> jax.Array:
    """Log-probs `[B, R]` of the responses at the end of `tokens [B, P + R]`."""
    states = _states(arch, params, tokens, lengths, response)
    targets = tokens[:, -response:]
    return heads.token_log_probs(arch, params, states, targets, temperature)


def values(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
) -> jax.Array:
    """What each state before a response token is worth, `[B, R]`."""
    return heads.scalar(params, _states(arch, params, tokens, lengths, response))


def raw_rewards(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    prompt_lengths: jax.Array,
    response_lengths: jax.Array,
    response: int,
) -> jax.Array:
    """The reward model's output `[B]` at the last token of each response."""
    prompt = tokens.shape[1] - response
    positions, segments = left_padded(prompt_lengths, prompt, response)
    batch = {'tokens': tokens, 'positions': positions, 'segments': segments}
    batch['ends'] = (prompt + response_lengths - 1)[:, None]
    return heads.rewards(arch, params, batch)[:, 0]


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

    Without a KL term the reference is not run at all.
    """
    R = responses.tokens.shape[1]
    tokens = jnp.concatenate([prompts, responses.tokens], axis=1)
    mask = jnp.arange(R) < responses.lengths[:, None]
    reward = frozen['reward']
    scores = raw_rewards(arch, _bound(reward), tokens, lengths, responses.lengths, R)
    scores = (scores - reward['shift']) / reward['scale']
    seen = {
        'tokens': tokens,
        'lengths': lengths,
        'mask': mask,
        'log_probs': responses.log_probs,
        'finished': responses.finished,
        'scores': scores,
        'values': values(
            arch, tree.bind(frozen['value'], trainable['value']), tokens, lengths, R
        ),
    }
    if with_reference:
        seen['reference'] = log_probs(
            arch, _bound(frozen['reference']), tokens, lengths, R, objective.temperature
        )
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
    reference = seen.get('reference', seen['log_probs'])
    moved = kl.k1(seen['log_probs'], reference)
    # PERL: (1 - beta) r - beta KL; InstructGPT and PPO: r - beta KL
    weight = 1 - beta if objective.algorithm == 'reinforce' else 1.0
    rewards = advantages.shaped_rewards(scores, moved, mask, beta, weight)
    gamma, lam = objective.gamma, objective.lam
    if objective.algorithm == 'reinforce':
        lam = 1.0  # the return minus the value
    gains, returns = advantages.gae(rewards, seen['values'], mask, gamma, lam)
    if objective.whiten_advantages:
        gains = masked_whiten(gains, mask)
    episodes, tokens = mask.shape[0], jnp.sum(mask)
    metrics = {
        'reward': jnp.mean(seen['scores']),
        'reward_std': jnp.std(seen['scores']),
        'return': jnp.sum(jnp.where(mask, rewards, 0)) / episodes,
        'entropy': -masked_sum(seen['log_probs'], mask) / tokens,
        'response_length': tokens / episodes,
        'no_eos': jnp.mean(~seen['finished']),
        'kl_coefficient': beta,
    }
    if 'reference' in seen:
        metrics['kl'] = masked_sum(moved, mask) / episodes
        metrics['kl_k3'] = (
            masked_sum(kl.k3(seen['log_probs'], reference), mask) / episodes
        )
    names = ('tokens', 'lengths', 'mask', 'log_probs', 'values')
    learn = {name: seen[name] for name in names}
    return learn | {'advantages': gains, 'returns': returns}, memory, metrics


def loss(
    trainable: Any,
    frozen: Any,
    batch: dict[str, jax.Array],
    key: jax.Array,
    *,
    arch: Architecture,
    objective: Objective,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Policy and value loss, summed over tokens.

    PPO: clipped policy and value losses. REINFORCE with a value baseline (RLAIF, arXiv
    2309.00267, A.3): -log pi (Z - V) and (Z - V)^2.
    """
    tokens, lengths, mask = batch['tokens'], batch['lengths'], batch['mask']
    R = mask.shape[1]
    new = log_probs(
        arch,
        tree.bind(frozen['policy'], trainable['policy'], key=key),
        tokens,
        lengths,
        R,
        objective.temperature,
    )
    worth = values(
        arch, tree.bind(frozen['value'], trainable['value']), tokens, lengths, R
    )
    old, gains = batch['log_probs'], batch['advantages']
    count = jnp.sum(mask)
    if objective.algorithm == 'ppo':
        pushed = policy.ppo(new, old, gains, objective.clip)
        missed = value.clipped(
            worth, batch['values'], batch['returns'], objective.value_clip
        )
    else:
        pushed = policy.reinforce(new, gains)
        missed = value.squared(worth, batch['returns'])
    sums = {
        'policy_loss': masked_sum(pushed, mask),
        'value_loss': masked_sum(missed, mask),
        'clip_fraction': masked_sum(
            policy.clip_fraction(new, old, gains, objective.clip), mask
        ),
        'update_kl': masked_sum(kl.k3(old, new), mask),
    }
    total = sums['policy_loss'] + objective.value_coefficient * sums['value_loss']
    return total, (count, {name: (x, count) for name, x in sums.items()})


def _states(arch, params, tokens, lengths, response):
    prompt = tokens.shape[1] - response
    positions, segments = left_padded(lengths, prompt, response)
    before = jnp.arange(prompt - 1, prompt + response - 1)
    before = jnp.broadcast_to(before, (len(tokens), response))
    return decoder.hidden(arch, params, tokens, positions, segments, before)


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
