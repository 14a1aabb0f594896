"""Preference learning without a reward model."""

import jax

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


def dpo(margins: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """-log sigmoid(margin), [B] -> [B] (arXiv 2305.18290, eq. 7).

    With `smoothing` that share of the labels is taken to be wrong: conservative DPO.
    """
    margins = as_float(margins)
    right, wrong = jax.nn.softplus(-margins), jax.nn.softplus(margins)
    return (1 - smoothing) * right + smoothing * wrong
