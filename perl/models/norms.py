"""Norms of the residual stream, of queries and of keys."""

from typing import Any

import jax
import jax.numpy as jnp

from perl.models.description import Architecture
from perl.weights import find


def normed(arch: Architecture, x: jax.Array, weights: Any, path: str) -> jax.Array:
    """`x [..., *S]` normed over the axes S of the weight at `path`, of the same shape.

    Computed in float32: RMSNorm (arXiv 1910.07467), with its weight as an offset from 1
    (Gemma), or LayerNorm (arXiv 1607.06450) with the bias at `{path}_bias`.

    Args:
        arch: says which norm.
        x: of any dtype.
        weights: a tree that has the path.
        path: of the weight.
    """
    y, weight = x.astype(jnp.float32), find(weights, path).astype(jnp.float32)
    axes = tuple(range(-weight.ndim, 0))
    if arch.norm == 'layer':
        y = y - jnp.mean(y, axis=axes, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=axes, keepdims=True) + arch.norm_eps)
    y = y * _beside(y, 1 + weight if arch.norm == 'rms_offset' else weight)
    if arch.norm == 'layer':
        y = y + _beside(y, find(weights, f'{path}_bias'))
    return y.astype(x.dtype)


def before(arch: Architecture, x: jax.Array, weights: Any, part: str) -> jax.Array:
    """The input of attention or the MLP, from the residual stream `[B, T, D]`."""
    if arch.norm_at == 'after':
        return x
    return normed(arch, x, weights, f'{part}/norm')


def after(arch: Architecture, y: jax.Array, weights: Any, part: str) -> jax.Array:
    """The term that attention or the MLP adds to the residual stream, `[B, T, D]`."""
    if arch.norm_at == 'before':
        return y
    return normed(arch, y, weights, f'{part}/post_norm')


def _beside(y, weight):
    """A weight `[*S]` as float32 of as many axes as `y [..., *S]`."""
    weight = weight.astype(jnp.float32)
    return jnp.expand_dims(weight, range(y.ndim - weight.ndim))
