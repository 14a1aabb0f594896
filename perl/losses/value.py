"""Losses of a value function, one per token: mask and reduce them with `reduce`.

Both carry a factor 1/2, so that the gradient is the plain error; RLAIF (arXiv
2309.00267, A.3) prints its squared loss without it.
"""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def squared(values: jax.Array, returns: jax.Array) -> jax.Array:
    """(V - R)^2 / 2, with no gradient into the returns: [B, T], [B, T] -> [B, T]."""
    returns = jax.lax.stop_gradient(as_float(returns))
    return jnp.square(as_float(values) - returns) / 2


def clipped(
    values: jax.Array, old_values: jax.Array, returns: jax.Array, clip: float
) -> jax.Array:
    """The worse of the squared losses at V and at V held within `clip` of the old V.

    Huang et al. 2024 (arXiv 2403.17031), detail 15.

    Args:
        values: [B, T], the only one with a gradient.
        old_values: [B, T], at the time of the rollout.
        returns: [B, T].
        clip: how far a value may move per batch of rollouts, in units of reward.
    """
    values, old_values = as_float(values), jax.lax.stop_gradient(as_float(old_values))
    held = jnp.clip(values, old_values - clip, old_values + clip)
    return jnp.maximum(squared(values, returns), squared(held, returns))
