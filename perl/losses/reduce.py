"""Sums over the entries that count.

A mask is True (or nonzero) where an entry counts. What lies under the rest is never
read, so infinities or NaN in the padding do no harm to a value. They do to a gradient
(0 times infinity), so what may overflow there is masked before, too.
"""

import jax
import jax.numpy as jnp

Axis = int | tuple[int, ...] | None


def as_float(x: jax.Array) -> jax.Array:
    """`x` in float32, or in float64 where it is so already."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def masked_sum(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The sum of `x` over `mask` (both of one shape) along `axis`, all by default."""
    return jnp.sum(jnp.where(jnp.asarray(mask, bool), as_float(x), 0), axis)


def masked_mean(x: jax.Array, mask: jax.Array, axis: Axis = None) -> jax.Array:
    """The mean of `x` over `mask` along `axis`; 0 where nothing counts."""
    count = jnp.sum(jnp.asarray(mask, bool), axis)
    return masked_sum(x, mask, axis) / jnp.maximum(count, 1)


def masked_whiten(
    x: jax.Array, mask: jax.Array, shift_mean: bool = True, epsilon: float = 1e-8
) -> jax.Array:
    """`x` with variance 1 over `mask`, and 0 outside of it.

    Args:
        x: any shape.
        mask: of the same shape.
        shift_mean: move the mean to 0 too (advantages); otherwise it stays as it is
            (rewards). Huang et al. 2024 (arXiv 2403.17031), details 13 and 14.
        epsilon: added to the variance, which divides by n and not by n - 1.
    """
    x = as_float(x)
    mean = masked_mean(x, mask)
    variance = masked_mean(jnp.square(x - mean), mask)
    white = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    return jnp.where(jnp.asarray(mask, bool), white if shift_mean else white + mean, 0)
