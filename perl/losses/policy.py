"""Policy losses per token: mask and sum them with `reduce`."""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float

# A ratio is limited to e^30. This is far outside any clip range, and it prevents one
# token with an exploding probability from making the gradient of the batch NaN.
_MAX_LOG_RATIO = 30.0


def _surrogates(log_probs, old_log_probs, advantages, clip):
    """The negated unclipped and clipped surrogate objectives, `[B, T]` each."""
    chex.assert_equal_shape((log_probs, old_log_probs, advantages))
    advantages = jax.lax.stop_gradient(as_float(advantages))
    log_ratio = as_float(log_probs) - jax.lax.stop_gradient(as_float(old_log_probs))
    ratio = jnp.exp(jnp.minimum(log_ratio, _MAX_LOG_RATIO))
    return -advantages * ratio, -advantages * jnp.clip(ratio, 1 - clip, 1 + clip)


def ppo(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: float
) -> jax.Array:
    """The clipped surrogate loss of PPO (Schulman et al., arXiv 1707.06347, eq. 7).

    Args:
        log_probs: `[B, T]`, of the policy in training; the only input with a gradient.
        old_log_probs: `[B, T]`, of the policy that sampled the tokens.
        advantages: `[B, T]`.
        clip: epsilon; a ratio outside [1 - clip, 1 + clip] does not improve the
            objective further.

    Returns:
        `[B, T]` float32, the larger of the two negated surrogates.
    """
    return jnp.maximum(*_surrogates(log_probs, old_log_probs, advantages, clip))


def clip_fraction(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: float
) -> jax.Array:
    """1.0 where the clipped surrogate is the larger loss, else 0.0.

    `[B, T]` three times -> `[B, T]` float32; its mean is the clip fraction.
    """
    unclipped, clipped = _surrogates(log_probs, old_log_probs, advantages, clip)
    return as_float(clipped > unclipped)


def reinforce(log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """-log pi * stop_gradient(advantage) (RLAIF, arXiv 2309.00267, A.3).

    `[B, T]`, `[B, T]` -> `[B, T]` float32.
    """
    chex.assert_equal_shape((log_probs, advantages))
    return -as_float(log_probs) * jax.lax.stop_gradient(as_float(advantages))
