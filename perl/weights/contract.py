"""The three operations of a weight: einsum, take and dense.

A weight is an array, or a `Bound` leaf: an object that computes with a frozen weight
and, for example, an adapter. Layer code calls `einsum(eqn, x, w)`, an embedding calls
`take(w, ids)`, merging calls `dense(w)`; each calls the leaf's method. A new kind of
weight (another adapter, a quantised kernel) is a new class with these three methods;
no model changes.

Dimensions in all of the package: B batch, T tokens, S keys, D width, H query
heads, K key/value heads, N head width, F hidden width, V vocabulary, R rank,
L layers.
"""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.product import product


class Bound(abc.ABC):
    """A weight leaf that is not an array; it exists only inside a jitted step.

    A subclass is a frozen dataclass, registered as a pytree. The weight that it sits
    on is its field `base`, which may be an array or a `Bound` leaf again; a `Stored`
    weight sits on none.
    """

    base: Any

    @abc.abstractmethod
    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`einsum(eqn, x, weight)` in `dtype`, of the shape that `eqn` says; `eqn` has
        no spaces."""

    @abc.abstractmethod
    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows of an embedding `[V, D]` for `ids [...]`: `[..., D]`."""

    @abc.abstractmethod
    def dense(self) -> jax.Array:
        """The weight as one array `[*inputs, *outputs]`, in the dtype of its base: for
        merging only.

        Raises:
            UserError: no array does what the leaf does.
        """

    def folded(self, lossy: bool = False) -> 'Weight':
        """The weight without its adapters, `[*inputs, *outputs]`, of the kind of the
        frozen weight below them.

        Args:
            lossy: allows that the sum is rounded to that kind again.

        Raises:
            UserError: it would be rounded, and that is not allowed; or as in `dense`.
        """
        return self.like(self.dense(), lossy)

    def like(self, array: jax.Array, lossy: bool = False) -> 'Weight':
        """An array `[*inputs, *outputs]` as a weight of the kind of the frozen one."""
        return self.base.like(array, lossy) if isinstance(self.base, Bound) else array

    def on_arrays(self, function: 'OnArray', axes: tuple[str | None, ...]) -> 'Bound':
        """The leaf with `function(array, axes)` in the place of the arrays (any shape)
        of the weight whose logical axes these are. LoRA has its factors changed too;
        other adapters leave theirs."""
        return dataclasses.replace(self, base=on_arrays(function, self.base, axes))


class Adapter(abc.ABC):
    """A trained leaf beside a kernel; a delta consists of adapters and arrays.

    A subclass is a frozen dataclass, registered as a pytree.
    """

    @abc.abstractmethod
    def bind(
        self, base: Any, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> Bound:
        """The weight that the model reads: only structure, no copy, no computation.

        Args:
            base: the kernel, an array or a `Bound` leaf.
            ids: `[B]` int32, the index of the stacked adapter for each example.
            key: a random key for dropout; None turns dropout off.
        """

    def with_dropout(self, rate: float) -> Self:
        """The same arrays with another dropout rate, if this kind has dropout."""
        del rate
        return self

    def with_one_scale(self) -> Self:
        """The same change of the kernel with one scale for all layers, if this kind may
        have one of each layer."""
        return self

    @classmethod
    def stack(cls, adapters: Sequence[Self], axis: int) -> Self:
        """Several adapters of one kernel in one, to be chosen by `ids` or mapped over.

        Args:
            adapters: of this kind.
            axis: position of the new axis in every array.

        Raises:
            UserError: this kind cannot be stacked.
        """
        del adapters, axis
        raise UserError(
            f'adapters: those of kind {cls.__name__} cannot serve one batch together; '
            'use LoRA, or score with one adapter at a time'
        )

    @classmethod
    def combine(
        cls,
        adapters: Sequence[Self],
        coefficients: Sequence[jax.Array | float],
        axis: int,
        base: 'Weight | None',
    ) -> 'Adapter':
        """One adapter in the place of several of one kernel, weighted: arrays of any
        shape, which is kept, or factors whose ranks add up.

        Args:
            adapters: of this kind.
            coefficients: one for each, which multiplies its change of the kernel.
            axis: 1 where layers are stacked, else 0.
            base: the frozen kernel, where there is one.

        Raises:
            UserError: there is no average of this kind.
        """
        del adapters, coefficients, axis, base
        raise UserError(
            f'adapters: they are of kind {cls.__name__}, which cannot be '
            'averaged; average LoRA adapters or full weights'
        )


Weight = jax.Array | Bound
# an array and the logical name of each of its axes, to an array of the same shape
OnArray = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]


def einsum(eqn: str, x: jax.Array, w: Weight, dtype: Any = None) -> jax.Array:
    """`jnp.einsum(eqn, x, w)` in the dtype of `x`, for a weight `w` of any kind.

    Args:
        eqn: two operands, explicit output; the first label of `x` is the batch.
        x: activations `[B, T, ...]`, in the shape that `eqn` states.
        w: the weight; its leading axes are the inputs, as the model declares them.
        dtype: dtype of the result; by default that of `x`.
    """
    eqn, dtype = eqn.replace(' ', ''), dtype or x.dtype
    if isinstance(w, Bound):
        return w.contract(eqn, x, dtype)
    return product(eqn, x, w.astype(x.dtype), dtype)


def take(w: Weight, ids: jax.Array) -> jax.Array:
    """Rows of an embedding `[V, D]` for `ids [...]`: `[..., D]`."""
    return w.rows(ids) if isinstance(w, Bound) else jnp.take(w, ids, axis=0)


def dense(w: Weight) -> jax.Array:
    """The weight as one array `[*inputs, *outputs]`: for merging only, never in a
    training step."""
    return w.dense() if isinstance(w, Bound) else w


def plus(w: Weight, change: jax.Array) -> jax.Array:
    """`dense(w)` and a float32 change of it, both `[*inputs, *outputs]`, added in
    float32; in the dtype of `w`."""
    base = dense(w)
    return (base.astype(jnp.float32) + change).astype(base.dtype)


def on_arrays(function: OnArray, w: Weight, axes: tuple[str | None, ...]) -> Weight:
    """The weight with `function` applied to its arrays, of any shape; see `Bound`. A
    stored weight stays.

    Args:
        function: keeps the shape.
        w: a weight of any kind.
        axes: the logical name of each axis of the weight, as it is declared.
    """
    return w.on_arrays(function, axes) if isinstance(w, Bound) else function(w, axes)
