"""Losses of a policy, one per token: mask and reduce them with `reduce`."""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float

# A ratio is held below e^30: far outside any clip range, yet it keeps a token whose
# probability exploded from turning the gradient of a whole batch into NaN.
_MAX_LOG_RATIO = 30.0


def _surrogates(log_probs, old_log_probs, advantages, clip):
    """Minus the plain and minus the clipped surrogate objective, [B, T] each."""
    advantages = jax.lax.stop_gradient(as_float(advantages))
    log_ratio = as_float(log_probs) - jax.lax.stop_gradient(as_float(old_log_probs))
    ratio = jnp.exp(jnp.minimum(log_ratio, _MAX_LOG_RATIO))
    return -advantages * ratio, -advantages * jnp.clip(ratio, 1 - clip, 1 + clip)


def ppo(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: float
) -> jax.Array:
    """The clipped surrogate loss of PPO (Schulman et al., arXiv 1707.06347, eq. 7).

    Args:
        log_probs: [B, T], of the policy being trained; the only one with a gradient.
        old_log_probs: [B, T], of the policy that sampled the tokens.
        advantages: [B, T].
        clip: how far the ratio may move from 1 before the gain stops.

    Returns:
        [B, T], the larger of the two negated surrogates.
    """
    return jnp.maximum(*_surrogates(log_probs, old_log_probs, advantages, clip))


def clip_fraction(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: float
) -> jax.Array:
    """1.0 where the clipped surrogate is in force, else 0.0: [B, T]; take its mean."""
    plain, clipped = _surrogates(log_probs, old_log_probs, advantages, clip)
    return as_float(clipped > plain)


def reinforce(log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """-log pi * stop_gradient(advantage), [B, T] (RLAIF, arXiv 2309.00267, A.3)."""
    return -as_float(log_probs) * jax.lax.stop_gradient(as_float(advantages))
