"""Whole numbers of 4 or 8 bits with a scale and an offset for each group of inputs."""

import dataclasses
import functools
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from perl.weights.declared import Leaf
from perl.weights.stored import (
    Stored,
    by_group,
    grouped,
    pack,
    parts,
    ungrouped,
    unpack,
)


@dataclasses.dataclass(frozen=True)
class Affine(Stored):
    """`scale * code + offset`, from the minimum to the maximum of a group, as in
    QA-LoRA (arXiv 2309.14717, section 3.2).

    Attributes:
        codes: uint8 `[G, group, *outputs]`; half as many where two are in a byte.
        scale: float32 `[G, *outputs]`.
        offset: float32 `[G, *outputs]`, the value of code 0.
        group: inputs of one output that share scale and offset.
        bits: of a code.
    """

    codes: jax.Array
    scale: jax.Array
    offset: jax.Array
    group: ClassVar[int]
    bits: ClassVar[int]

    @classmethod
    def declare(cls, leaf: Leaf, dtype: str) -> Self:
        """A kernel with a `Leaf` in the place of each of its arrays."""
        groups, array = parts(leaf, cls.group)
        inputs = leaf.shape[leaf.layered : leaf.layered + leaf.inputs]
        axis, stored = leaf.axes[leaf.layered], cls.group * cls.bits // 8
        codes = array('uint8', (groups, axis), (stored, None))
        scale, offset = (array('float32', (groups, axis)) for _ in range(2))
        return cls(inputs, dtype, codes, scale, offset)

    @classmethod
    def encode(cls, w: jax.Array, inputs: int, dtype: str) -> Self:
        """The stored form of one kernel `[*inputs, *outputs]`."""
        groups = grouped(w, inputs, cls.group, 'edge')
        codes, scale, low = by_group(functools.partial(_encoded, cls.bits), groups)
        return cls(w.shape[:inputs], dtype, codes, scale, low)

    def decode(self) -> jax.Array:
        """The kernel `[*inputs, *outputs]` in float32."""
        codes = unpack(self.codes) if self.bits == 4 else self.codes
        codes = codes.astype(self.scale.dtype)
        groups = codes * self.scale[:, None] + self.offset[:, None]
        return ungrouped(groups, self.inputs)

    def shifted(self, change: jax.Array) -> Self:
        """The kernel with `change [G, *outputs]` added to every input of a group: its
        codes stay, and nothing is rounded."""
        return dataclasses.replace(self, offset=self.offset + change)


def _encoded(bits, groups):
    """Codes `[G, group, *outputs]`, two in a byte where they are of four bits, and
    scales and minima `[G, *outputs]`."""
    low, high, most = jnp.min(groups, axis=1), jnp.max(groups, axis=1), 2**bits - 1
    scale = (high - low) / most
    steps = (groups - low[:, None]) / jnp.where(scale > 0, scale, 1)[:, None]
    codes = jnp.clip(jnp.round(steps), 0, most).astype(jnp.uint8)
    return pack(codes) if bits == 4 else codes, scale, low


def _kind(cls: Any) -> Any:
    return jax.tree_util.register_dataclass(
        cls, ['codes', 'scale', 'offset'], ['inputs', 'dtype']
    )


@_kind
@dataclasses.dataclass(frozen=True)
class Int4(Affine):
    """Four bits in groups of 32, the group of QA-LoRA: 0.75 bytes a weight."""

    group: ClassVar[int] = 32
    bits: ClassVar[int] = 4
    name: ClassVar[str] = 'int4'


@_kind
@dataclasses.dataclass(frozen=True)
class Int8(Affine):
    """Eight bits in groups of 64: 1.125 bytes a weight."""

    group: ClassVar[int] = 64
    bits: ClassVar[int] = 8
    name: ClassVar[str] = 'int8'
