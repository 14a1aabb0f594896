"""NF4: four bits a weight, with the levels and scales of QLoRA (arXiv 2305.14314).

The numbers are those of bitsandbytes: the levels of its `create_normal_map`, blocks of
64 inputs of one output, and for the scales of a kernel their mean, the 8-bit code of
its `create_dynamic_map` and blocks of 256. Where the number of inputs of a kernel
is not a multiple of 64, blocks here end with the inputs; there they continue in the
next output.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

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

BLOCK, SCALE_BLOCK = 64, 256
LEVELS = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634),
        *(0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    ],
    np.float32,
)


def _dynamic() -> np.ndarray:
    """The 256 levels of an 8-bit float with a fraction that grows with the exponent
    (arXiv 1511.04561), sorted: `create_dynamic_map` of bitsandbytes."""
    values = [0.0, 1.0]
    for i in range(7):
        edges = np.linspace(0.1, 1, 2**i + 1)
        means = 10.0 ** (i - 6) * (edges[:-1] + edges[1:]) / 2
        values += [*means, *-means]
    return np.sort(values).astype(np.float32)


DYNAMIC = _dynamic()


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['codes', 'scale_codes', 'scale_peaks', 'scale_mean'],
    meta_fields=['inputs', 'dtype'],
)
@dataclasses.dataclass(frozen=True)
class Nf4(Stored):
    """A kernel in NF4 with doubly quantised scales, 0.516 bytes a weight.

    Attributes:
        codes: uint8 `[G, 32, *outputs]`, two levels in a byte.
        scale_codes: uint8 `[G, *outputs]`, levels of the scales less their mean.
        scale_peaks: float32 `[M]`, the largest magnitude of each 256 of those.
        scale_mean: float32 `[]`.
    """

    codes: jax.Array
    scale_codes: jax.Array
    scale_peaks: jax.Array
    scale_mean: jax.Array
    name: ClassVar[str] = 'nf4'

    @classmethod
    def declare(cls, leaf: Leaf, dtype: str) -> 'Nf4':
        """A kernel with a `Leaf` in the place of each of its arrays."""
        groups, array = parts(leaf, BLOCK)
        cut = leaf.layered + leaf.inputs
        scales, axis = groups * int(np.prod(leaf.shape[cut:])), leaf.axes[leaf.layered]
        return cls(
            leaf.shape[leaf.layered : cut],
            dtype,
            array('uint8', (groups, axis), (BLOCK // 2, None)),
            array('uint8', (groups, axis)),
            array('float32', (-(-scales // SCALE_BLOCK), None), outputs=False),
            array('float32', outputs=False),
        )

    @classmethod
    def encode(cls, w: jax.Array, inputs: int, dtype: str) -> 'Nf4':
        """The stored form of one kernel `[*inputs, *outputs]`."""
        codes, scales = by_group(_encoded, grouped(w, inputs, BLOCK, 'constant'))
        mean = jnp.mean(scales)
        blocks = _blocks(scales - mean)
        peaks = jnp.max(jnp.abs(blocks), axis=1)
        scale_codes = _nearest(DYNAMIC, blocks * _inverse(peaks)[:, None])
        scale_codes = _unblocked(scale_codes, scales.shape).astype(jnp.uint8)
        return cls(w.shape[:inputs], dtype, codes, scale_codes, peaks, mean)

    def scales(self) -> jax.Array:
        """The scale of each block, float32 `[G, *outputs]`."""
        blocks = jnp.asarray(DYNAMIC)[_blocks(self.scale_codes)]
        found = blocks * self.scale_peaks[:, None]
        return _unblocked(found, self.scale_codes.shape) + self.scale_mean

    def decode(self) -> jax.Array:
        """The kernel `[*inputs, *outputs]` in float32."""
        levels = jnp.asarray(LEVELS)[unpack(self.codes)]
        return ungrouped(levels * self.scales()[:, None], self.inputs)


def _encoded(groups):
    """Packed codes `[G, 32, *outputs]` and scales `[G, *outputs]` of blocks."""
    scales = jnp.max(jnp.abs(groups), axis=1)
    codes = _nearest_of_few(LEVELS, groups * _inverse(scales)[:, None])
    return pack(codes), scales


def _nearest(levels, x):
    """The index of the level next to each element."""
    return jnp.searchsorted(jnp.asarray((levels[1:] + levels[:-1]) / 2), x)


def _nearest_of_few(levels, x):
    """The same in uint8 by one comparison a level: XLA makes one pass of them, where a
    search keeps several arrays of the size of `x` beside it."""
    edges = (levels[1:] + levels[:-1]) / 2
    return sum((x > edge).astype(jnp.uint8) for edge in edges)


def _inverse(x):
    return 1 / jnp.maximum(x, 1e-38)


def _blocks(x):
    """Scales `[G, *outputs]` in blocks `[M, 256]`, those of one output together."""
    flat = jnp.moveaxis(x, 0, -1).reshape(-1)
    return jnp.pad(flat, (0, -flat.size % SCALE_BLOCK)).reshape(-1, SCALE_BLOCK)


def _unblocked(blocks, shape):
    """The inverse of `_blocks`, `[G, *outputs]`."""
    groups, *outputs = shape
    size = int(np.prod(shape))
    flat = blocks.reshape(-1)[:size].reshape(*outputs, groups)
    return jnp.moveaxis(flat, -1, 0)
