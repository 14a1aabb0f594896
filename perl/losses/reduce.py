"""Sums and means over the entries that a mask selects.

A mask is True (or nonzero) where an entry counts. Other entries are never read, so
infinities or NaN in the padding do not change a value. They do make a gradient NaN (0
times infinity), so a caller must mask the inputs of a computation that may overflow.
"""

import chex
import jax
import jax.numpy as jnp

Axis = int | tuple[int, ...] | None


def as_float(x: jax.Array) -> jax.Array:
    """`x`, of any shape, in float32; float64 stays float64."""
    x = jnp.asarray(x)
    return x.astype(x.dtype if x.dtype == jnp.float64 else jnp.float32)


def masked_sum(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The sum of `x [...]` over `mask [...]` along `axis`, by default all axes."""
    chex.assert_equal_shape((x, mask))
    return jnp.sum(jnp.where(jnp.asarray(mask, bool), as_float(x), 0), axis)


def masked_mean(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The mean of `x [...]` over `mask [...]` along `axis`; 0 where the mask selects no
    entry."""
    count = jnp.sum(jnp.asarray(mask, bool), axis)
    total = masked_sum(x, mask, axis)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def masked_whiten(
    x: jax.Array, mask: jax.Array, shift_mean: bool = True, epsilon: float = 1e-8
) -> jax.Array:
    """`x` scaled to variance 1 over `mask`, and 0 outside the mask.

    Args:
        x: any shape.
        mask: same shape.
        shift_mean: whether the mean becomes 0 (for advantages) or stays (for rewards).
            Huang et al. 2024 (arXiv 2403.17031), details 13 and 14.
        epsilon: added to the variance, which divides by n, not n - 1.
    """
    x = as_float(x)
    mean = masked_mean(x, mask)
    variance = masked_mean(jnp.square(x - mean), mask)
    scaled = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    if not shift_mean:
        scaled = scaled + mean
    return jnp.where(jnp.asarray(mask, bool), scaled, 0)
