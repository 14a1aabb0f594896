"""FP8: eight-bit floats with a scale for each output that is set once."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from perl.weights.declared import Leaf
from perl.weights.product import beside
from perl.weights.stored import Stored, parts

LARGEST = 448.0  # of e4m3


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['codes', 'scale'],
    meta_fields=['inputs', 'dtype'],
)
@dataclasses.dataclass(frozen=True)
class Fp8(Stored):
    """e4m3 (arXiv 2209.05433), one byte a weight.

    Attributes:
        codes: float8_e4m3fn `[*inputs, *outputs]`.
        scale: float32 `[*outputs]`; the largest weight of an output is 448 scales.
    """

    codes: jax.Array
    scale: jax.Array
    name: ClassVar[str] = 'fp8'

    @classmethod
    def declare(cls, leaf: Leaf, dtype: str) -> 'Fp8':
        """A kernel with a `Leaf` in the place of each of its arrays."""
        _, array = parts(leaf, 1)
        codes = Leaf(leaf.shape, leaf.axes, 0, None, 'float8_e4m3fn')
        inputs = leaf.shape[leaf.layered : leaf.layered + leaf.inputs]
        return cls(inputs, dtype, codes, array('float32'))

    @classmethod
    def encode(cls, w: jax.Array, inputs: int, dtype: str) -> 'Fp8':
        """The stored form of one kernel `[*inputs, *outputs]`."""
        w = w.astype(jnp.float32)
        scale = jnp.max(jnp.abs(w), axis=tuple(range(inputs))) / LARGEST
        codes = w / beside(jnp.where(scale > 0, scale, 1), w)
        codes = jnp.clip(codes, -LARGEST, LARGEST)
        return cls(w.shape[:inputs], dtype, codes.astype(jnp.float8_e4m3fn), scale)

    def decode(self) -> jax.Array:
        """The kernel `[*inputs, *outputs]` in float32."""
        codes = self.codes.astype(jnp.float32)
        return codes * beside(self.scale, codes)
