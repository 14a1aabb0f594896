"""Contracts activations with a weight array as one matrix product."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp


def beside(x: jax.Array, y: jax.Array) -> jax.Array:
    """`x [...]` in the dtype of `y`, with as many axes: new ones in front."""
    return jnp.expand_dims(x.astype(y.dtype), range(y.ndim - x.ndim))


def product(eqn: str, x: jax.Array, w: jax.Array, dtype: Any) -> jax.Array:
    """`jnp.einsum(eqn, x, w)` in `dtype`, over the last axes of `x`.

    Where JAX's default precision of products is `bfloat16`, float32 operands are
    rounded to it and products are added in float32, in the gradients too and on every
    platform: XLA's CPU compiler does not read that setting, and a processor with
    AVX512-BF16 or AMX runs such products two to five times as fast.

    Args:
        eqn: two operands, explicit output, no spaces.
        x: activations `[B, ..., *inputs]`; the labels shared with `w` come last.
        w: an array in which the shared labels all come first or all come last.
        dtype: dtype of the result and of the accumulation.
    """
    rounds = jax.config.jax_default_matmul_precision == 'bfloat16'
    if rounds and x.dtype == w.dtype == jnp.float32:
        return _rounded(eqn, x, w).astype(dtype)
    return _product(eqn, x, w, dtype)


def _product(eqn, x, w, dtype):
    """As `product`, of operands as they are.

    The gradients of a matrix product contract one axis too. For an einsum of tensors,
    XLA would first make a transposed copy of every operand of the gradient of `w`.
    """
    shared, split, first = _axes(eqn, x)
    if shared is None:
        return jnp.einsum(eqn, x, w, preferred_element_type=dtype)
    inner = math.prod(x.shape[split:])
    flat = w.reshape((inner, -1) if first else (-1, inner))
    axes = (((1,), (0 if first else 1,)), ((), ()))
    y = jax.lax.dot_general(
        x.reshape(-1, inner), flat, axes, preferred_element_type=dtype
    )
    rest = w.shape[shared:] if first else w.shape[: w.ndim - shared]
    return y.reshape(*x.shape[:split], *rest)


def _axes(eqn, x):
    """How many axes the operands share (None where there is one kernel per example),
    the first of them in `x`, and whether they come first in `w`."""
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    shared = [c for c in x_labels if c in w_labels]
    count = None if any(c in out for c in shared) else len(shared)
    return count, x.ndim - len(shared), w_labels[0] in shared


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded(eqn, x, w):
    """The float32 product of operands rounded to bfloat16."""
    return _product(eqn, _round(x), _round(w), jnp.float32)


def _forward(eqn, x, w):
    x, w = _round(x), _round(w)
    return _product(eqn, x, w, jnp.float32), (x, w)


def _backward(eqn, operands, g):
    x, w = operands
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    g = _round(g)
    dx = _product(f'{out},{w_labels}->{x_labels}', g, w, jnp.float32)
    return dx, _weight_gradient(eqn, x, w.shape, g)


def _weight_gradient(eqn, x, shape, g):
    """The gradient of `w [*shape]` of a product, in float32."""
    shared, split, first = _axes(eqn, x)
    if shared is None:
        x_labels, w_labels, out = eqn.replace('->', ',').split(',')
        back = f'{x_labels},{out}->{w_labels}'
        return jnp.einsum(back, x, g, preferred_element_type=jnp.float32)
    rows = math.prod(x.shape[:split])
    x, g = x.reshape(rows, -1), g.reshape(rows, -1)
    axes = (((0,), (0,)), ((), ()))
    operands = (x, g) if first else (g, x)
    dw = jax.lax.dot_general(*operands, axes, preferred_element_type=jnp.float32)
    return dw.reshape(shape)


def _round(x):
    return x.astype(jnp.bfloat16)


_rounded.defvjp(_forward, _backward)
