"""The three verbs of a weight, whatever kind of leaf it is.

A weight is an array, or a `Bound` leaf: something that computes with a frozen weight
and more. Layer code calls `einsum(eqn, x, w)`, an embedding `take(w, ids)`, merging
`dense(w)`; each asks the leaf. A new kind of weight (another adapter, a quantised
kernel) is a new class with these three verbs, and no model changes.

Dimensions used all over the package: B batch, T tokens, S keys, D width, H query
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
    """A weight leaf that is not an array; it lives only inside a jitted step.

    A subclass is a frozen dataclass, registered as a pytree. The weight that it sits
    on is its field `base`, which may be an array or a `Bound` leaf again.
    """

    base: Any

    @abc.abstractmethod
    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`einsum(eqn, x, weight)` in `dtype`, of the shape that `eqn` says; it has no
        spaces."""

    @abc.abstractmethod
    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows of an embedding `[V, D]` for `ids [...]`: `[..., D]`."""

    @abc.abstractmethod
    def dense(self) -> jax.Array:
        """The weight as one array `[*inputs, *outputs]`, in the dtype of its base: for
        merging only."""


class Adapter(abc.ABC):
    """A trained leaf that sits beside a kernel: what a tuning puts into a delta.

    A subclass is a frozen dataclass, registered as a pytree.
    """

    @abc.abstractmethod
    def bind(
        self, base: Any, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> Bound:
        """The weight that the model reads: structural, no copy, no compute.

        Args:
            base: the kernel, an array or a `Bound` leaf.
            ids: `[B]` int32, which of the stacked adapters serves each example.
            key: a random key that turns dropout on.
        """

    def with_dropout(self, rate: float) -> Self:
        """The same arrays with another rate of dropout, where the kind has any."""
        del rate
        return self

    @classmethod
    def stack(cls, adapters: Sequence[Self], axis: int) -> Self:
        """Several adapters of one kernel in one, to be chosen by `ids`.

        Args:
            adapters: of this kind.
            axis: where the new axis goes in every array.

        Raises:
            UserError: this kind cannot be stacked.
        """
        del adapters, axis
        raise UserError(
            f'adapters: those of kind {cls.__name__} cannot serve one batch together; '
            'use LoRA, or score with one adapter at a time'
        )


Weight = jax.Array | Bound


def einsum(eqn: str, x: jax.Array, w: Weight, dtype: Any = None) -> jax.Array:
    """`jnp.einsum(eqn, x, w)` in the dtype of `x`, whatever kind of leaf `w` is.

    Args:
        eqn: two operands, explicit output; the first label of `x` is the batch.
        x: activations, of the shape that `eqn` says, `[B, T, ...]`.
        w: the weight; its leading axes are the inputs, as the model declares them.
        dtype: of the result; that of `x` by default.
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


def on_base(function: Callable[[jax.Array], jax.Array], w: Weight) -> Weight:
    """The weight with `function` applied to the frozen array below all adapters, of
    whatever shape."""
    if isinstance(w, Bound):
        return dataclasses.replace(w, base=on_base(function, w.base))
    return function(w)
