"""Contracts activations with a weight array as one matrix product."""

import math
from typing import Any

import jax
import jax.numpy as jnp


def beside(x: jax.Array, y: jax.Array) -> jax.Array:
    """`x [...]` in the dtype of `y`, with as many axes: new ones in front."""
    return jnp.expand_dims(x.astype(y.dtype), range(y.ndim - x.ndim))


def product(eqn: str, x: jax.Array, w: jax.Array, dtype: Any) -> jax.Array:
    """`jnp.einsum(eqn, x, w)` in `dtype`, over the last axes of `x`.

    The gradients of a matrix product contract one axis too. For an einsum of tensors,
    XLA would first make a transposed copy of every operand of the gradient of `w`.

    Args:
        eqn: two operands, explicit output, no spaces.
        x: activations `[B, ..., *inputs]`; the labels shared with `w` come last.
        w: an array in which the shared labels all come first or all come last.
        dtype: dtype of the result and of the accumulation.
    """
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    shared = [c for c in x_labels if c in w_labels]
    if any(c in out for c in shared):  # one kernel per example
        return jnp.einsum(eqn, x, w, preferred_element_type=dtype)
    split, first = x.ndim - len(shared), w_labels[0] in shared
    inner = math.prod(x.shape[split:])
    flat = w.reshape((inner, -1) if first else (-1, inner))
    axes = (((1,), (0 if first else 1,)), ((), ()))
    y = jax.lax.dot_general(
        x.reshape(-1, inner), flat, axes, preferred_element_type=dtype
    )
    rest = w.shape[len(shared) :] if first else w.shape[: -len(shared)]
    return y.reshape(*x.shape[:split], *rest)
