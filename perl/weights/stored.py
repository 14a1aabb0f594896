"""Weights that lie in memory in fewer bits than they are computed with.

A stored weight is a leaf of a frozen base, as an array is, and adapters sit on either.
It is decoded where it is used and decoded again for the gradient, so that the decoded
copy of one kernel lives only as long as its product.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.contract import Bound, OnArray
from perl.weights.declared import Leaf
from perl.weights.product import product


@dataclasses.dataclass(frozen=True)
class Stored(Bound):
    """One kernel in fewer bits.

    A subclass is a frozen dataclass, registered as a pytree whose arrays all have the
    layer axis first where layers are stacked, and these two as its plain values.

    Attributes:
        inputs: the lengths of the kernel's input axes.
        dtype: that it is decoded to, the compute dtype.
        name: in configs.
    """

    inputs: tuple[int, ...]
    dtype: str
    name: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    def declare(cls, leaf: Leaf, dtype: str) -> Self:
        """A kernel with a `Leaf` in the place of each of its arrays."""

    @classmethod
    @abc.abstractmethod
    def encode(cls, w: jax.Array, inputs: int, dtype: str) -> Self:
        """The stored form of one kernel `[*inputs, *outputs]`, without a layer axis.

        Args:
            w: floating-point numbers.
            inputs: how many axes are inputs.
            dtype: that it is decoded to.
        """

    @abc.abstractmethod
    def decode(self) -> jax.Array:
        """The kernel `[*inputs, *outputs]` in float32."""

    def dense(self) -> jax.Array:
        """The kernel `[*inputs, *outputs]` in its `dtype`."""
        return self.decode().astype(self.dtype)

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`einsum(eqn, x, decoded)`, of the shape that `eqn` says."""
        return _multiply(eqn, str(x.dtype), dtype, x, self)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows `[..., D]` of the decoded kernel."""
        return jnp.take(self.dense(), ids, axis=0)

    def folded(self, lossy: bool = False) -> Self:
        """The kernel as it is."""
        del lossy
        return self

    def like(self, array: jax.Array, lossy: bool = False) -> Self:
        """Another kernel `[*inputs, *outputs]`, stored as this one is.

        Raises:
            UserError: `lossy` does not allow the rounding.
        """
        if not lossy:
            raise UserError(
                f'adapters: a merge into a base in {self.name} would round what was '
                'trained; keep the adapter beside its base, merge into floating point '
                '(perl.export --decoded), or ask for it (lossy)'
            )
        return type(self).encode(array, len(self.inputs), self.dtype)

    def on_arrays(self, function: OnArray, axes: tuple[str | None, ...]) -> Self:
        """The kernel as it is: its arrays are of other shapes and have other axes."""
        del function, axes
        return self


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _multiply(eqn, x_dtype, dtype, x, stored):
    # tied to x, so that XLA decodes a kernel when it is its turn: it would decode the
    # kernels of all layers first, or take them out of the loop over tokens
    x, stored = jax.lax.optimization_barrier((x, stored))
    return product(eqn, x, stored.dense().astype(x_dtype), dtype)


def _forward(eqn, x_dtype, dtype, x, stored):
    return _multiply(eqn, x_dtype, dtype, x, stored), stored


def _backward(eqn, x_dtype, dtype, stored, g):
    """The gradient of x needs the kernel again: it is decoded again, and not kept."""
    del dtype
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    g, stored = jax.lax.optimization_barrier((g.astype(x_dtype), stored))
    kernel = stored.dense().astype(x_dtype)
    back = f'{out},{w_labels}->{x_labels}'
    return product(back, g, kernel, jnp.dtype(x_dtype)), None


_multiply.defvjp(_forward, _backward)


def grouped(w: jax.Array, inputs: int, size: int, mode: str) -> jax.Array:
    """`[G, size, *outputs]` of a kernel `[*inputs, *outputs]`: groups of the inputs of
    one output.

    Args:
        w: the kernel.
        inputs: how many axes are inputs.
        size: of a group.
        mode: what fills the last group up, see `jnp.pad`.
    """
    flat = w.reshape(-1, *w.shape[inputs:])
    widths = [(0, -len(flat) % size), *[(0, 0)] * (flat.ndim - 1)]
    return jnp.pad(flat, widths, mode=mode).reshape(-1, size, *w.shape[inputs:])


def by_group(function: Callable[[jax.Array], Any], groups: jax.Array) -> Any:
    """What a function makes of `groups [G, size, *outputs]` of any dtype: arrays `[G,
    ...]`.

    It is given one after the other as float32 `[1, size, *outputs]`, so that no float32
    copy of the kernel is made, and makes arrays `[1, ...]` of it.
    """
    apart = groups[:, None]
    found = jax.lax.map(lambda group: function(group.astype(jnp.float32)), apart)
    return jax.tree.map(lambda x: x[:, 0], found)


def ungrouped(groups: jax.Array, inputs: tuple[int, ...]) -> jax.Array:
    """The inverse of `grouped`: `[G, size, *outputs]` to `[*inputs, *outputs]`."""
    outputs = groups.shape[2:]
    return groups.reshape(-1, *outputs)[: math.prod(inputs)].reshape(*inputs, *outputs)


def pack(codes: jax.Array) -> jax.Array:
    """Codes below 16, `[G, size, *outputs]`, two in a byte: `[G, size / 2, *outputs]`
    uint8. The first of two has the upper four bits."""
    codes = codes.astype(jnp.uint8)
    return (codes[:, 0::2] << 4) | codes[:, 1::2]


def unpack(packed: jax.Array) -> jax.Array:
    """The inverse of `pack`, uint8 `[G, size, *outputs]`."""
    pairs = jnp.stack([packed >> 4, packed & 15], axis=2)
    return pairs.reshape(len(packed), -1, *packed.shape[2:])


def parts(leaf: Leaf, size: int) -> tuple[int, Any]:
    """The number of groups of a kernel's inputs, and a function that declares an array
    of it: `(dtype, lengths and axes between layers and outputs) -> Leaf`.

    Args:
        leaf: the kernel.
        size: of a group.
    """
    first, cut = int(leaf.layered), leaf.layered + leaf.inputs
    groups = -(-math.prod(leaf.shape[first:cut]) // size)

    def array(dtype: str, *middle: tuple[int, str | None], outputs: bool = True):
        lengths, axes = zip(*middle, strict=True) if middle else ((), ())
        last = slice(cut, None) if outputs else slice(0, 0)
        return Leaf(
            (*leaf.shape[:first], *lengths, *leaf.shape[last]),
            (*leaf.axes[:first], *axes, *leaf.axes[last]),
            0,
            None,
            dtype,
        )

    return groups, array
