"""What a policy optimises: its numbers, and the loss of one minibatch."""

import dataclasses
import math
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
from perl.stages.policy.averages import Averages
from perl.stages.policy.episodes import Experience


@dataclasses.dataclass(frozen=True)
class Objective:
    """The numbers of the algorithm; names as in the config of a policy stage."""

    algorithm: str
    samples: int
    temperature: float
    gamma: float
    lam: float
    clip: float
    clip_high: float
    value_clip: float
    value_coefficient: float
    whiten_advantages: bool
    whiten_rewards: bool
    scale_rewards: bool
    clip_rewards: float
    missing_eos_penalty: float
    overlong_tokens: int
    sampler_correction: str
    correction_limit: float
    kl_estimator: str
    kl_in: str
    entropy_coefficient: float

    @classmethod
    def of(cls, section: ConfigDict) -> 'Objective':
        """The numbers of a policy stage's section."""
        return cls(**{field.name: section[field.name] for field in fields(cls)})

    @property
    def rules(self) -> Algorithm:
        """The settings in which the algorithm differs from others."""
        return ALGORITHMS[self.algorithm]


def neighbours(section: ConfigDict) -> int:
    """How many consecutive responses to a prompt stay together when episodes are
    shuffled, and in micro-batches: all of them where these have whole groups, else as
    many as divide both. Each is alone where text joins micro-batches, whose rows have
    no neighbours.
    """
    if section.micro_batches > 1 and section.ptx_coefficient:
        return 1
    rows = section.batch_size // section.minibatches // section.micro_batches
    return math.gcd(rows, section.samples)


def loss(
    trainable: Any,
    frozen: Frozen,
    batch: Experience,
    key: jax.Array,
    *,
    arch: Architecture,
    objective: Objective,
    samples: int = 1,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Policy loss and, as the objective asks, those of value, KL, entropy and text.

    Each is `[B, R]`, summed with the same weights, so that one division averages.
    REINFORCE with a value baseline: RLAIF, arXiv 2309.00267, A.3.

    Args:
        trainable: deltas of `policy` and, where there is a critic, `value`.
        frozen: their bases, and the reference.
        batch: of B responses.
        key: not used: with dropout the ratio would not be 1 before the first update.
        arch: the decoder.
        objective: the numbers.
        samples: so many consecutive responses of the batch answer one prompt.

    Returns:
        The loss, a sum; and what it is to be divided by, and `{name: (sum, count)}`.
    """
    del key
    rows, R = (batch.tokens, batch.prompt_lengths), batch.mask.shape[1]
    params = tree.bind(frozen.policy, trainable['policy'])
    new, entropy = scoring.scores(
        arch, params, *rows, R, objective.temperature, samples
    )
    # past the end a token may be so unlikely that the slope of a KL term overflows
    new = jnp.where(batch.mask, new, 0)
    means = Averages(batch.mask, objective.rules.average)
    terms = _policy_terms(new, batch, objective)
    sums = {name: means.told(x) for name, x in terms.items()}
    sums['policy_loss'] = means.learned(terms['policy_loss'])
    sums['policy_entropy'] = means.told(entropy)
    total = sums['policy_loss'][0]
    if objective.entropy_coefficient:
        total = total - objective.entropy_coefficient * means.learned(entropy)[0]
    if not objective.rules.group:
        critic = tree.bind(frozen.value, trainable['value'])
        values = scoring.values(arch, critic, *rows, R, samples)
        sums['value_loss'] = means.learned(_value_loss(values, batch, objective))
        total = total + objective.value_coefficient * sums['value_loss'][0]
    if batch.beta is not None:
        penalty = _penalty(arch, params, frozen, batch, new, objective, samples)
        total = total + means.learned(batch.beta[:, None] * penalty)[0]
        sums[f'loss_{objective.kl_estimator}'] = means.told(penalty)
    if batch.text is not None:
        weighted, bare, words = _text_loss(arch, params, batch.text)
        total = total + weighted
        sums['ptx_loss'] = bare, words
    return total, (means.count, sums)


def _policy_terms(new, batch, objective):
    """The policy loss, and terms that tell how far an update goes, `[B, R]` each."""
    old, gains = batch.log_probs, batch.advantages
    clip = objective.clip, objective.clip_high or objective.clip
    if objective.rules.clipped == 'sequence':
        ratios = policy.sequence_log_ratios(new, old, batch.mask)
        rows = ratios, jnp.zeros_like(ratios), gains
    else:
        rows = new, old, gains
    held = policy.clip_fraction(*rows, clip)
    match objective.rules.clipped:
        case '':
            pushed = policy.reinforce(new, gains)
        case 'weight':
            pushed = policy.cispo(*rows, clip)
            held = policy.cut_fraction(new, old, clip)
        case _:
            pushed = policy.ppo(*rows, clip)
    if batch.weights is not None:
        pushed = batch.weights * pushed
    return {'policy_loss': pushed, 'clip_fraction': held, 'update_kl': kl.k3(old, new)}


def _value_loss(values, batch, objective):
    """`[B, R]`."""
    if objective.rules.clipped:
        return value.clipped(values, batch.values, batch.returns, objective.value_clip)
    return value.squared(values, batch.returns)


def _penalty(arch, params, frozen, batch, new, objective, samples):
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
        samples,
    )


def _text_loss(arch, params, rows):
    """Next-token loss of rows of text: weighted by each row's `weight`, bare, count."""
    log_probs, mask = likelihood.next_token_log_probs(arch, params, rows)
    weighted = masked_sum(-log_probs * rows['weight'][:, None], mask)
    return weighted, masked_sum(-log_probs, mask), jnp.sum(mask)
