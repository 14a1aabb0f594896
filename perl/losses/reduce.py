"""Sums and means over the entries that a mask selects.

A mask is True (or nonzero) where an entry counts. Other entries are never read, so
infinities or NaN in the padding do not spoil a value. They do spoil a gradient (0 times
infinity), so a caller masks whatever may overflow there before it is computed.
"""

import chex
import jax
import jax.numpy as jnp

Axis = int | tuple[int, ...] | None


def as_float(x: jax.Array) -> jax.Array:
    """`x`, of any shape, in float32, or in float64 where it is float64 already."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def masked_sum(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The sum of `x` over `mask` (both of one shape) along `axis`, by default all."""
    chex.assert_equal_shape((x, mask))
    return jnp.sum(jnp.where(jnp.asarray(mask, bool), as_float(x), 0), axis)


def masked_mean(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The mean of `x` over `mask` (both of one shape) along `axis`; 0 where the mask
    selects no entry."""
    count = jnp.sum(jnp.asarray(mask, bool), axis)
    return masked_sum(x, mask, axis) / jnp.maximum(count, 1)


def masked_whiten(
    x: jax.Array, mask: jax.Array, shift_mean: bool = True, epsilon: float = 1e-8
) -> jax.Array:
    """`x` scaled to variance 1 over `mask`, and 0 outside the mask.

    Args:
        x: any shape.
        mask: of the same shape.
        shift_mean: whether the mean becomes 0 (for advantages) or stays (for rewards).
            Huang et al. 2024 (arXiv 2403.17031), details 13 and 14.
        epsilon: added to the variance, which divides by n and not by n - 1.
    """
    x = as_float(x)
    mean = masked_mean(x, mask)
    variance = masked_mean(jnp.square(x - mean), mask)
    white = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    return jnp.where(jnp.asarray(mask, bool), white if shift_mean else white + mean, 0)
