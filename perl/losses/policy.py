"""Losses of a policy, one for each token: mask and sum them with `reduce`."""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float

# A ratio is held below e^30: far outside any clip range, yet it keeps a token whose
# probability exploded from turning the gradient of a whole batch into NaN.
_MAX_LOG_RATIO = 30.0


def _surrogates(log_probs, old_log_probs, advantages, clip):
    """Minus the plain and minus the clipped surrogate objective, `[B, T]` each."""
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
        log_probs: `[B, T]`, of the policy that is trained; only it has a gradient.
        old_log_probs: `[B, T]`, of the policy that sampled the tokens.
        advantages: `[B, T]`.
        clip: epsilon: past 1 - clip and 1 + clip a larger change of the ratio gains
            nothing.

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
    plain, clipped = _surrogates(log_probs, old_log_probs, advantages, clip)
    return as_float(clipped > plain)


def reinforce(log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """-log pi * stop_gradient(advantage) (RLAIF, arXiv 2309.00267, A.3).

    `[B, T]`, `[B, T]` -> `[B, T]` float32.
    """
    chex.assert_equal_shape((log_probs, advantages))
    return -as_float(log_probs) * jax.lax.stop_gradient(as_float(advantages))
