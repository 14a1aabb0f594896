"""What a policy optimises: its numbers, and the loss of one minibatch."""

import dataclasses
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl.adapters import tree
from perl.losses import kl, policy, value
from perl.losses.algorithms import ALGORITHMS, Algorithm
from perl.losses.reduce import masked_sum
from perl.models import decoder, heads
from perl.models.architecture import Architecture
from perl.rollout import scoring


@dataclasses.dataclass(frozen=True)
class Objective:
    """The numbers of the algorithm; names as in the config of a policy stage."""

    algorithm: str
    samples: int
    temperature: float
    gamma: float
    lam: float
    clip: float
    value_clip: float
    value_coefficient: float
    whiten_advantages: bool
    whiten_rewards: bool
    scale_rewards: bool
    clip_rewards: float
    missing_eos_penalty: float
    kl_estimator: str
    kl_in: str
    entropy_coefficient: float

    @classmethod
    def of(cls, section: ConfigDict) -> 'Objective':
        """The numbers of a policy stage's section."""
        return cls(**{field.name: section[field.name] for field in fields(cls)})

    @property
    def rules(self) -> Algorithm:
        """What tells the algorithm from others."""
        return ALGORITHMS[self.algorithm]


def loss(
    trainable: Any,
    frozen: Any,
    batch: dict[str, Any],
    key: jax.Array,
    *,
    arch: Architecture,
    objective: Objective,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Policy loss and, as the objective asks, those of value, KL, entropy and text.

    Each is summed over tokens with the same weights, so that one division averages.
    REINFORCE with a value baseline: RLAIF, arXiv 2309.00267, A.3.

    Args:
        trainable: deltas of `policy` and, where there is a critic, `value`.
        frozen: their bases, and the reference.
        batch: what `experience.judge` hands on to learn from; `ptx` are rows of text
            (PPO-ptx, arXiv 2203.02155).
        key: of dropout.
        arch: the decoder.
        objective: the numbers.
    """
    tokens, lengths, mask = batch['tokens'], batch['lengths'], batch['mask']
    R, rules = mask.shape[1], objective.rules
    params = tree.bind(frozen['policy'], trainable['policy'], key=key)
    new, entropy = scoring.scores(
        arch, params, tokens, lengths, R, objective.temperature
    )
    # what lies beyond a response may be so unlikely that a KL term's slope overflows
    new = jnp.where(mask, new, 0)
    old, gains = batch['log_probs'], batch['advantages']
    share, count = jnp.ones(mask.shape), jnp.sum(mask)
    if rules.by_response:
        share = share / jnp.maximum(jnp.sum(mask, 1, keepdims=True), 1)
        count = jnp.float32(mask.shape[0])

    def summed(x):
        return masked_sum(x * share, mask)

    if rules.clipped:
        pushed = policy.ppo(new, old, gains, objective.clip)
    else:
        pushed = policy.reinforce(new, gains)
    clipped = policy.clip_fraction(new, old, gains, objective.clip)
    total = summed(pushed)
    sums = {
        'policy_loss': (total, count),
        'clip_fraction': (summed(clipped), count),
        'update_kl': (summed(kl.k3(old, new)), count),
        'policy_entropy': (summed(entropy), count),
    }
    if objective.entropy_coefficient:
        total = total - objective.entropy_coefficient * summed(entropy)
    if not rules.group:
        worth = scoring.values(
            arch, tree.bind(frozen['value'], trainable['value']), tokens, lengths, R
        )
        missed = summed(_value_loss(worth, batch, objective))
        total = total + objective.value_coefficient * missed
        sums['value_loss'] = missed, count
    if 'beta' in batch:
        penalty = _penalty(arch, params, frozen, batch, new, objective)
        total = total + summed(batch['beta'][:, None] * penalty)
        sums[f'loss_{objective.kl_estimator}'] = summed(penalty), count
    if 'ptx' in batch:
        pushed, text, words = _text(arch, params, batch['ptx'])
        total = total + pushed
        sums['ptx_loss'] = text, words
    return total, (count, sums)


def _value_loss(worth, batch, objective):
    if objective.rules.clipped:
        return value.clipped(
            worth, batch['values'], batch['returns'], objective.value_clip
        )
    return value.squared(worth, batch['returns'])


def _penalty(arch, params, frozen, batch, new, objective):
    """The KL term of the loss, `[B, R]`."""
    if objective.kl_estimator != 'full':
        return kl.ESTIMATORS[objective.kl_estimator](new, batch['reference'])
    role = frozen['reference']
    return scoring.divergence(
        arch,
        params,
        tree.bind(role['base'], role['delta']),
        batch['tokens'],
        batch['lengths'],
        new.shape[1],
        objective.temperature,
    )


def _text(arch, params, rows):
    """Next-token loss of rows of text: weighted by each row's `weight`, bare, count."""
    states = decoder.hidden(
        arch, params, rows['tokens'], rows['positions'], rows['segments']
    )
    targets = jnp.roll(rows['tokens'], -1, axis=1)
    mask = jnp.roll(rows['completion'], -1, axis=1).at[:, -1].set(False)
    missed = -heads.token_log_probs(arch, params, states, targets)
    weighted = masked_sum(missed * rows['weight'][:, None], mask)
    return weighted, masked_sum(missed, mask), jnp.sum(mask)
