"""Products of activations with the kernels of a layer, and their biases."""

from typing import Any

import jax
import jax.numpy as jnp

from perl.weights import einsum, find


def projected(eqn: str, x: jax.Array, weights: Any, path: str) -> jax.Array:
    """`einsum(eqn, x, kernel)` of the shape that `eqn` says, plus the bias if there is
    one.

    Args:
        eqn: two operands, explicit output, whose first two labels are batch and tokens.
        x: activations `[B, T, ...]`.
        weights: a tree with the kernel at `path`, and the bias, if any, at
            `{path}_bias`.
        path: of the kernel.
    """
    y = einsum(eqn, x, find(weights, path))
    part, _, name = path.rpartition('/')
    bias = find(weights, part).get(f'{name}_bias')
    if bias is None:
        return y
    return y + jnp.expand_dims(bias.astype(y.dtype), (0, 1))
