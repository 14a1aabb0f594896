"""Policy losses per token: mask and sum them with `reduce`."""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float, masked_mean

# A ratio is limited to e^30. This is far outside any clip range, and it prevents one
# token with an exploding probability from making the gradient of the batch NaN.
_MAX_LOG_RATIO = 30.0

Clip = float | tuple[float, float]


def _ratio(log_probs, old_log_probs):
    """`[B, T]`; the old log-probs get no gradient."""
    log_ratio = as_float(log_probs) - jax.lax.stop_gradient(as_float(old_log_probs))
    return jnp.exp(jnp.minimum(log_ratio, _MAX_LOG_RATIO))


def _clipped(ratio, clip):
    low, high = clip if isinstance(clip, tuple) else (clip, clip)
    return jnp.clip(ratio, 1 - low, 1 + high)


def _surrogates(log_probs, old_log_probs, advantages, clip):
    """The negated unclipped and clipped surrogate objectives, `[B, T]` each."""
    chex.assert_equal_shape((log_probs, old_log_probs, advantages))
    advantages = jax.lax.stop_gradient(as_float(advantages))
    ratio = _ratio(log_probs, old_log_probs)
    return -advantages * ratio, -advantages * _clipped(ratio, clip)


def ppo(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: Clip
) -> jax.Array:
    """The clipped surrogate loss of PPO (Schulman et al., arXiv 1707.06347, eq. 7).

    With a pair of ranges it is that of DAPO (arXiv 2503.14476, eq. 8).

    Args:
        log_probs: `[B, T]`, of the policy in training; the only input with a gradient.
        old_log_probs: `[B, T]`, of the policy that sampled the tokens.
        advantages: `[B, T]`.
        clip: epsilon; a ratio outside [1 - clip, 1 + clip] does not improve the
            objective further. A pair has the epsilons below and above 1.

    Returns:
        `[B, T]` float32, the larger of the two negated surrogates.
    """
    return jnp.maximum(*_surrogates(log_probs, old_log_probs, advantages, clip))


def clip_fraction(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: Clip
) -> jax.Array:
    """1.0 where the clipped surrogate is the larger loss, else 0.0.

    `[B, T]` three times -> `[B, T]` float32; its mean is the clip fraction.
    """
    unclipped, clipped = _surrogates(log_probs, old_log_probs, advantages, clip)
    return as_float(clipped > unclipped)


def cut_fraction(
    log_probs: jax.Array, old_log_probs: jax.Array, clip: Clip
) -> jax.Array:
    """1.0 where the ratio is outside of the range, else 0.0: of `cispo`.

    `[B, T]` twice -> `[B, T]` float32.
    """
    ratio = _ratio(log_probs, old_log_probs)
    return as_float(_clipped(ratio, clip) != ratio)


def reinforce(log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """-log pi * stop_gradient(advantage) (RLAIF, arXiv 2309.00267, A.3).

    `[B, T]`, `[B, T]` -> `[B, T]` float32.
    """
    chex.assert_equal_shape((log_probs, advantages))
    return -as_float(log_probs) * jax.lax.stop_gradient(as_float(advantages))


def cispo(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip: Clip
) -> jax.Array:
    """-sg(clipped ratio) * advantage * log pi: every token keeps its gradient, and the
    ratio that weighs it is bounded (CISPO: MiniMax-M1, arXiv 2506.13585, eq. 4 and 5).

    `[B, T]` three times -> `[B, T]` float32; the arguments are those of `ppo`.
    """
    chex.assert_equal_shape((log_probs, old_log_probs, advantages))
    weight = _clipped(_ratio(log_probs, old_log_probs), clip)
    gains = weight * as_float(advantages)
    return -as_float(log_probs) * jax.lax.stop_gradient(gains)


def sequence_log_ratios(
    log_probs: jax.Array, old_log_probs: jax.Array, mask: jax.Array
) -> jax.Array:
    """The mean log-ratio of the tokens of each response, in all of its slots.

    `[B, T]` three times -> `[B, T]` float32. Its exponential is the ratio of whole
    responses of GSPO, a geometric mean over tokens (arXiv 2507.18071, eq. 7).
    """
    chex.assert_equal_shape((log_probs, old_log_probs, mask))
    log_ratio = as_float(log_probs) - jax.lax.stop_gradient(as_float(old_log_probs))
    mean = masked_mean(log_ratio, mask, 1)
    return jnp.broadcast_to(mean[:, None], log_ratio.shape)


def importance_weights(
    old_log_probs: jax.Array, sampled: jax.Array, most: float, masked: bool
) -> jax.Array:
    """What a token counts where another program sampled it than the one that trains.

    `[B, T]` twice -> `[B, T]` float32: the ratio of the trainer's probability before
    the update to the sampler's. It is 1 where the two agree.

    Args:
        old_log_probs: of the trainer, before any update.
        sampled: of the sampler.
        most: a larger ratio is cut to it, or counts nothing.
        masked: whether it counts nothing (masked importance sampling) or is cut
            (truncated importance sampling).
    """
    chex.assert_equal_shape((old_log_probs, sampled))
    ratio = jax.lax.stop_gradient(_ratio(old_log_probs, sampled))
    above = jnp.zeros_like(ratio) if masked else most
    return jnp.where(ratio > most, above, ratio)


def effective_share(weights: jax.Array, mask: jax.Array) -> jax.Array:
    """The effective sample size of `weights [B, T]` over `mask [B, T]`, as a share of
    the tokens: (sum w)^2 / (n sum w^2), 1 where all are equal (Kish 1965)."""
    squares = masked_mean(jnp.square(weights), mask)
    return jnp.square(masked_mean(weights, mask)) / jnp.maximum(squares, 1e-30)
