"""Rotary position embedding (arXiv 2104.09864)."""

import jax
import jax.numpy as jnp

from perl.models.architecture import Architecture


def rotations(arch: Architecture, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and signed sines, float32, of rotary positions `[B, T]`.

    They broadcast against `[B, T, H, 2, N/2]`, or `[B, T, H, N/2, 2]` for pairs: the
    axis of two holds the components that turn together.
    """
    axis = _turned(arch)
    half = jnp.arange(0, arch.head_width, 2, dtype=jnp.float32) / arch.head_width
    frequencies = jnp.float32(arch.rope_theta) ** -half  # [N/2]
    angles = positions[..., None].astype(jnp.float32) * frequencies[None, None]
    angles = angles[:, :, None]  # for every head
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.stack([cos, cos], axis), jnp.stack([-sin, sin], axis)


def rotate(arch: Architecture, x: jax.Array, rope) -> jax.Array:
    """Rotary position embedding (arXiv 2104.09864) of `x [B, T, H, N]`.

    Written with a flip of two components rather than by cutting and joining them: one
    pass over `x` on CPU, forward and backward.
    """
    cos, sin = rope
    shape = (2, -1) if arch.rope_layout == 'halves' else (-1, 2)
    pairs = x.reshape(*x.shape[:-1], *shape)
    rotated = pairs * cos + jnp.flip(pairs, _turned(arch)) * sin
    return rotated.astype(x.dtype).reshape(x.shape)


def _turned(arch):
    return -2 if arch.rope_layout == 'halves' else -1
