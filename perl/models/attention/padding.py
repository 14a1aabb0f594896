"""Lengths that a kernel can be given."""

import jax
import jax.numpy as jnp


def padded(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    """An array of any shape with zeros, or False, at the end of an axis, so that its
    length is a multiple."""
    missing = -x.shape[axis] % multiple
    if not missing:
        return x
    return jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
