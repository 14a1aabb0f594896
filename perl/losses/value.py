"""Value-function losses per token: mask and sum them with `reduce`.

Both have a factor 1/2, so that the gradient equals the error. RLAIF (arXiv 2309.00267,
A.3) prints its squared loss without this factor.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def squared(values: jax.Array, returns: jax.Array) -> jax.Array:
    """(V - R)^2 / 2; the returns R get no gradient.

    `[B, T]`, `[B, T]` -> `[B, T]` float32.
    """
    chex.assert_equal_shape((values, returns))
    returns = jax.lax.stop_gradient(as_float(returns))
    return jnp.square(as_float(values) - returns) / 2


def clipped(
    values: jax.Array, old_values: jax.Array, returns: jax.Array, clip: float
) -> jax.Array:
    """The larger squared loss of V and of V clipped to the old V +- `clip`.

    Huang et al. 2024 (arXiv 2403.17031), detail 15.

    Args:
        values: `[B, T]`, the only input with a gradient.
        old_values: `[B, T]`, at the time of the rollout.
        returns: `[B, T]`.
        clip: in units of reward.

    Returns:
        `[B, T]` float32.
    """
    chex.assert_equal_shape((values, old_values, returns))
    values, old_values = as_float(values), jax.lax.stop_gradient(as_float(old_values))
    limited = jnp.clip(values, old_values - clip, old_values + clip)
    return jnp.maximum(squared(values, returns), squared(limited, returns))
