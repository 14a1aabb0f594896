"""Preference learning without a reward model."""

import jax
import jax.numpy as jnp

from perl.losses.preference import bradley_terry
from perl.losses.reduce import as_float


def margins(
    chosen: jax.Array,
    rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    beta: float,
) -> jax.Array:
    """How much more the policy's implicit reward gives the chosen response: [B].

    The implicit reward is beta log(policy / reference) of the whole response (Rafailov
    et al., arXiv 2305.18290, eq. 5, up to a term of the prompt alone).

    Args:
        chosen, rejected: [B], summed log-probs of the two by the policy.
        reference_chosen, reference_rejected: [B], by the reference.
        beta: the price of a nat.
    """
    gained = as_float(chosen) - as_float(reference_chosen)
    return beta * (gained - as_float(rejected) + as_float(reference_rejected))


def dpo(
    margins: jax.Array, preference: jax.Array | float = 1.0, smoothing: float = 0.0
) -> jax.Array:
    """-log sigmoid(margin), [B] -> [B] (arXiv 2305.18290, eq. 7).

    Args:
        margins: [B], from `margins`.
        preference: [B] or one, how sure it is that the chosen is the better: the
            cross-entropy with a soft label.
        smoothing: the share of labels taken to be wrong: conservative DPO.
    """
    return bradley_terry(margins, jnp.zeros(()), 0.0, preference, smoothing)
