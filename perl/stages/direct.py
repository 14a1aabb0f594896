"""What a stage of kind dpo optimises: its numbers, and the loss of comparisons."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl.adapters import tree
from perl.losses import direct
from perl.losses.preference import as_labelled, decided_right, pair_mean
from perl.losses.reduce import masked_sum
from perl.models import likelihood
from perl.models.architecture import Architecture
from perl.stages.frozen import Frozen


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers of the loss; names as in the config of a dpo stage."""

    loss: str = 'dpo'
    beta: float = 0.1
    target_margin: float = 0.0
    nll_coefficient: float = 0.0
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, section: ConfigDict) -> 'Numbers':
        """Those of a stage's section."""
        return cls(**{x.name: section[x.name] for x in dataclasses.fields(cls)})

    def pair_loss(self, margins: jax.Array, sure: jax.Array | float) -> jax.Array:
        """`[B, pairs]` of margins likewise; see `direct.pair_loss`."""
        return direct.pair_loss(
            self.loss,
            margins,
            self.beta,
            sure,
            self.label_smoothing,
            self.target_margin,
        )


def totals(arch: Architecture, params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    """Log-probs float32 of whole completions, and their tokens, `[B, K]` each.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        batch: comparisons, tokens `[B, rows, T]`; their K completions are in one row
            each, or behind one prompt in one row.
    """
    rows = {name: x.reshape(-1, x.shape[-1]) for name, x in batch.items() if x.ndim > 2}
    log_probs = likelihood.predicted_log_probs(arch, params, rows)
    completions = jnp.arange(1, rows['ends'].shape[1] + 1)
    owned = rows['owners'][:, None] == completions[None, :, None]  # [N, E, S]
    each = jnp.broadcast_to(log_probs[:, None], owned.shape)
    shape = len(batch['tokens']), -1
    return masked_sum(each, owned, 2).reshape(shape), jnp.sum(owned, 2).reshape(shape)


def rewards(
    trainable: Any, frozen: Frozen, batch: Any, *, arch: Architecture, numbers: Numbers
) -> tuple[jax.Array, jax.Array]:
    """Implicit rewards, and the mean log-prob of a token, `[B, K]` float32 each.

    Args:
        trainable: the policy's delta.
        frozen: the policy's base, and the reference where the loss has one.
        batch: comparisons with the best completion first; see `totals`.
        arch: the decoder.
        numbers: of the loss.
    """
    said, lengths = totals(arch, tree.bind(frozen.policy, trainable), batch)
    rule, reference = direct.DIRECT[numbers.loss], None
    if rule.referenced:
        reference, _ = totals(arch, frozen.reference.bound(), batch)
    gained = rule.reward(said, reference, lengths, numbers.beta)
    return gained, said / jnp.maximum(lengths, 1).astype(said.dtype)


def margins(rewards: jax.Array) -> jax.Array:
    """Of all pairs: rewards `[B, K]` -> `[B, K (K - 1) / 2]`."""
    better, worse = jnp.triu_indices(rewards.shape[1], 1)
    return rewards[:, better] - rewards[:, worse]


def loss(
    trainable: Any,
    frozen: Frozen,
    batch: Any,
    key: jax.Array | None,
    *,
    arch: Architecture,
    numbers: Numbers,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Over all pairs of each comparison, rows `[B, rows, T]`; one counts one.

    Args:
        trainable, frozen, batch, arch, numbers: as in `rewards`.
        key: not used: with dropout the loss at the reference would not be ln 2.

    Returns:
        The loss, a sum; and what it is to be divided by, and `{name: (sum, count)}`.
    """
    del key
    gained, said = rewards(trainable, frozen, batch, arch=arch, numbers=numbers)
    ahead, count, sure = margins(gained), jnp.float32(len(gained)), labels(batch)

    def summed(x):
        return jnp.sum(pair_mean(x, batch.get('present'))), count

    total, _ = summed(numbers.pair_loss(ahead, sure))
    ahead = as_labelled(ahead, sure)
    accuracy = decided_right(ahead, sure, batch.get('present'))
    figures = {'accuracy': accuracy, 'margin': summed(ahead)}
    figures['chosen_reward'] = jnp.sum(of_better(gained, sure)), count
    if numbers.nll_coefficient:
        unlikely = -jnp.sum(of_better(said, sure))
        total += numbers.nll_coefficient * unlikely
        figures['chosen_nll'] = unlikely, count
    return total, (count, figures)


def of_better(x: jax.Array, sure: jax.Array | float) -> jax.Array:
    """`[B]` of `x [B, K]`: of the first completion, or of the last where the label says
    that the order is the other way round; in a tie of the first.

    Args:
        x: of the completions.
        sure: from `labels`.
    """
    return jnp.where(jnp.ravel(sure) < 0.5, x[:, -1], x[:, 0])


def labels(batch: Any) -> jax.Array | float:
    """How sure the order of each comparison is, `[B, 1]`, or 1 for all."""
    return batch['preferences'][:, None] if 'preferences' in batch else 1.0
