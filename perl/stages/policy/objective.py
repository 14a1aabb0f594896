"""What a policy optimises: its numbers, and the loss of one minibatch."""

import dataclasses
import functools
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl.adapters import tree
from perl.losses import kl, policy, value
from perl.losses.algorithms import ALGORITHMS, Algorithm
from perl.losses.reduce import masked_sum
from perl.models import likelihood
from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.stages.frozen import Frozen


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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        'tokens', 'prompt_lengths', 'mask', 'log_probs', 'advantages', 'returns',
        'values', 'reference', 'beta', 'text',
    ],
    meta_fields=[],
)  # fmt: skip
@dataclasses.dataclass(frozen=True)
class Experience:
    """What an update learns from: B responses of R slots after prompts of P slots.

    Attributes:
        tokens: `[B, P + R]` int32, prompts padded on the left, then responses.
        prompt_lengths: `[B]` int32, real tokens of each prompt.
        mask: `[B, R]` bool, which slots hold a sampled token.
        log_probs: `[B, R]` float32, of the policy that sampled; the ratio is to these.
        advantages: `[B, R]` float32.
        returns: `[B, R]` float32, what the value learns; None without a critic.
        values: `[B, R]` float32, the values before the update; None without a critic.
        reference: `[B, R]` float32, log-probs of the reference, where a KL term is in
            the loss.
        beta: `[B]` float32, its coefficient, the same in every row.
        text: rows of text that join the update (PPO-ptx, arXiv 2203.02155): tokens,
            positions, segments `[N, T]` int32, completion `[N, T]` bool, weight `[N]`.
    """

    tokens: jax.Array
    prompt_lengths: jax.Array
    mask: jax.Array
    log_probs: jax.Array
    advantages: jax.Array
    returns: jax.Array | None = None
    values: jax.Array | None = None
    reference: jax.Array | None = None
    beta: jax.Array | None = None
    text: dict[str, jax.Array] | None = None


def loss(
    trainable: Any,
    frozen: Frozen,
    batch: Experience,
    key: jax.Array,
    *,
    arch: Architecture,
    objective: Objective,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Policy loss and, as the objective asks, those of value, KL, entropy and text.

    Each is `[B, R]`, summed over tokens with the same weights, so that one division
    averages.
    REINFORCE with a value baseline: RLAIF, arXiv 2309.00267, A.3.

    Args:
        trainable: deltas of `policy` and, where there is a critic, `value`.
        frozen: their bases, and the reference.
        batch: of B responses.
        key: not used: with dropout the ratio would not be 1 before the first update.
        arch: the decoder.
        objective: the numbers.

    Returns:
        The loss, a sum; and what it is to be divided by, and `{name: (sum, count)}`.
    """
    del key
    rows, mask = (batch.tokens, batch.prompt_lengths), batch.mask
    R, rules = mask.shape[1], objective.rules
    params = tree.bind(frozen.policy, trainable['policy'])
    new, entropy = scoring.scores(arch, params, *rows, R, objective.temperature)
    # past the end of a response a token may be so unlikely that the slope of a KL term
    # overflows
    new = jnp.where(mask, new, 0)
    old, gains = batch.log_probs, batch.advantages
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
        critic = tree.bind(frozen.value, trainable['value'])
        errors = _value_loss(scoring.values(arch, critic, *rows, R), batch, objective)
        total = total + objective.value_coefficient * summed(errors)
        sums['value_loss'] = summed(errors), count
    if batch.beta is not None:
        penalty = _penalty(arch, params, frozen, batch, new, objective)
        total = total + summed(batch.beta[:, None] * penalty)
        sums[f'loss_{objective.kl_estimator}'] = summed(penalty), count
    if batch.text is not None:
        weighted, bare, words = _text_loss(arch, params, batch.text)
        total = total + weighted
        sums['ptx_loss'] = bare, words
    return total, (count, sums)


def _value_loss(values, batch, objective):
    """`[B, R]`."""
    if objective.rules.clipped:
        return value.clipped(values, batch.values, batch.returns, objective.value_clip)
    return value.squared(values, batch.returns)


def _penalty(arch, params, frozen, batch, new, objective):
    """The KL term of the loss, `[B, R]`."""
    if objective.kl_estimator != 'full':
        return kl.ESTIMATORS[objective.kl_estimator](new, batch.reference)
    return scoring.divergence(
        arch,
        params,
        frozen.reference.bound(),
        batch.tokens,
        batch.prompt_lengths,
        new.shape[1],
        objective.temperature,
    )


def _text_loss(arch, params, rows):
    """Next-token loss of rows of text: weighted by each row's `weight`, bare, count."""
    log_probs, mask = likelihood.next_token_log_probs(arch, params, rows)
    weighted = masked_sum(-log_probs * rows['weight'][:, None], mask)
    return weighted, masked_sum(-log_probs, mask), jnp.sum(mask)
