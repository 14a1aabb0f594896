"""Rotary position embedding (arXiv 2104.09864)."""

import jax
import jax.numpy as jnp

from perl.models.description import Architecture
from perl.models.layer_kinds import Kind, choose
from perl.models.scaling import frequencies

Rope = tuple[jax.Array, jax.Array]  # cosines and signed sines


def rotations(
    arch: Architecture, positions: jax.Array, local: bool = False
) -> Rope | None:
    """Cosines and signed sines, float32, of rotary positions `[B, T]`.

    They broadcast against `[B, T, H, 2, W/2]`, or `[B, T, H, W/2, 2]` for pairs, where
    W components turn: the axis of two holds those that turn together.

    Args:
        arch: the decoder; None comes back where its positions are not rotary.
        positions: `[B, T]` int32.
        local: whether they are those of layers with a window.
    """
    if arch.positions != 'rotary':
        return None
    axis, scaling = _turned(arch), None if local else arch.rope_scaling
    theta = arch.rope_local_theta if local else arch.rope_theta
    radians = frequencies(theta, arch.rope_width or arch.head_width, scaling)
    angles = positions[..., None].astype(jnp.float32) * radians[None, None]
    angles = angles[:, :, None]  # for every head
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if scaling and scaling.magnitude != 1:
        cos, sin = cos * scaling.magnitude, sin * scaling.magnitude
    return jnp.stack([cos, cos], axis), jnp.stack([-sin, sin], axis)


def both_rotations(
    arch: Architecture, positions: jax.Array
) -> tuple[Rope | None, Rope | None]:
    """The rotations of layers without and with a window, of positions `[B, T]`; None
    for the second where they are those of the first."""
    local = rotations(arch, positions, True) if arch.rope_local_theta else None
    return rotations(arch, positions), local


def rope_of(both: tuple[Rope | None, Rope | None], kind: Kind) -> Rope | None:
    """The rotations of a layer of this kind; None rotates nothing.

    Args:
        both: of `both_rotations`.
        kind: of the layer.
    """
    rope, local = both
    if local is not None:
        rope = choose(kind.local, local, rope)
    if kind.unrotated is None or rope is None:
        return rope
    if isinstance(kind.unrotated, bool):
        return None if kind.unrotated else rope
    nothing = jnp.ones_like(rope[0]), jnp.zeros_like(rope[1])
    return choose(kind.unrotated, nothing, rope)


def rotate(arch: Architecture, x: jax.Array, rope: Rope | None) -> jax.Array:
    """`x [B, T, H, N]` turned, of the same shape.

    Written with a flip of two components rather than by cutting and joining them: one
    pass over `x` on CPU, forward and backward.
    """
    if rope is None:
        return x
    if arch.turned < x.shape[-1]:
        first, rest = x[..., : arch.turned], x[..., arch.turned :]
        return jnp.concatenate([rotate(arch, first, rope), rest], axis=-1)
    cos, sin = rope
    shape = (2, -1) if arch.rope_layout == 'halves' else (-1, 2)
    pairs = x.reshape(*x.shape[:-1], *shape)
    rotated = pairs.astype(cos.dtype) * cos
    rotated += jnp.flip(pairs, _turned(arch)).astype(sin.dtype) * sin
    return rotated.astype(x.dtype).reshape(x.shape)


def _turned(arch):
    return -2 if arch.rope_layout == 'halves' else -1
