"""PiSSA: factors that begin as the largest singular vectors of the kernel.

The published method trains `A B` on a base from which its start is taken away. Here
several roles share one base, so the start stays beside the factors, and what is added
to the base is the difference.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.weights.contract import Bound, Weight, einsum, plus, take
from perl.weights.lora import Lora, dropped, low_rank
from perl.weights.whole_batch import WholeBatch, no_ids


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['a', 'b', 'start_a', 'start_b'],
    meta_fields=['scale', 'dropout'],
)
@dataclasses.dataclass(frozen=True)
class Pissa(WholeBatch):
    """Factors of one kernel and their initial values (PiSSA, arXiv 2404.02948).

    Attributes:
        a, b, scale, dropout: as in `Lora`.
        start_a, start_b: the factors before the first step, never updated.
    """

    a: jax.Array
    b: jax.Array
    start_a: jax.Array
    start_b: jax.Array
    scale: float
    dropout: float = 0.0

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'Moved':
        """The kernel `[*inputs, *outputs]` plus the change of the factors' product."""
        no_ids(self, ids)
        start = Lora(*jax.lax.stop_gradient((self.start_a, self.start_b)), self.scale)
        return Moved(base, Lora(self.a, self.b, self.scale, self.dropout), start, key)

    def with_dropout(self, rate: float) -> 'Pissa':
        """The same arrays with another rate of dropout."""
        return dataclasses.replace(self, dropout=rate)

    def as_lora(self, axis: int) -> Lora:
        """The same change of the kernel as LoRA of twice the rank, on the same base;
        the ranks of factors with layers are on `axis` 1 of `b`, else 0."""
        pair = (
            Lora(self.a, self.b, self.scale),
            Lora(self.start_a, self.start_b, self.scale),
        )
        return Lora.combine(pair, (1.0, -1.0), axis)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Pissa'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> Lora:
        """LoRA whose change is the weighted sum of the changes, exactly."""
        changes = [x.as_lora(axis) for x in adapters]
        return Lora.combine(changes, coefficients, axis, base)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'lora', 'start', 'key'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Moved(Bound):
    """A frozen kernel, its factors, and their initial values.

    Attributes:
        base: the kernel, an array or another kind of weight.
        lora, start: the factors now and then.
        key: a random key for dropout, or None to leave dropout out.
    """

    base: Weight
    lora: Lora
    start: Lora
    key: jax.Array | None = None

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`x W + s (x A B - x A0 B0)`, of the shape that `eqn` says."""
        x_low = dropped(x, self.lora.dropout, self.key)
        moved = low_rank(eqn, x_low, self.lora, dtype)
        moved = moved - low_rank(eqn, x_low, self.start, dtype)
        return einsum(eqn, x, self.base, dtype) + moved

    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows `[..., D]` of the kernel; dropout does not apply to a lookup."""
        rows = take(self.base, ids)
        now, then = (
            lora.scale * (jnp.take(lora.a, ids, axis=0) @ lora.b)
            for lora in (self.lora, self.start)
        )
        return rows + (now - then).astype(rows.dtype)

    def dense(self) -> jax.Array:
        """`W + s (A B - A0 B0)`, `[*inputs, *outputs]`, added in float32."""
        return plus(self.base, self.lora.delta() - self.start.delta())
