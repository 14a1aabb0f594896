"""LoRA: a frozen kernel and a low-rank correction beside it.

The product of the factors is never formed: `x W + s (x A) B` costs two thin products,
and the gradient with respect to `A` and `B` needs neither `dW` nor a merged `W`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.weights.contract import (
    Adapter,
    Bound,
    OnArray,
    Weight,
    einsum,
    on_arrays,
    plus,
    take,
)
from perl.weights.product import product


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['a', 'b'],
    meta_fields=['scale', 'dropout'],
)
@dataclasses.dataclass(frozen=True)
class Lora(Adapter):
    """Two low-rank factors of one kernel (LoRA, arXiv 2106.09685, eq. 3).

    Attributes:
        a: `[*inputs, R]` float32, with leading axes for stacked layers (`L`) and then
            for stacked adapters, if any.
        b: `[R, *outputs]` float32, with the same leading axes.
        scale: factor of the product of the factors; a tuple has one for each of the
            stacked layers, as adapters of PEFT may.
        dropout: dropout rate on the adapter's input in training.
    """

    a: jax.Array
    b: jax.Array
    scale: float | tuple[float, ...]
    dropout: float = 0.0

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'Adapted':
        """The kernel `[*inputs, *outputs]` with these factors beside it."""
        return Adapted(base, self.with_one_scale(), ids, key)

    def with_dropout(self, rate: float) -> 'Lora':
        """The same factors with another dropout rate."""
        return dataclasses.replace(self, dropout=rate)

    def with_one_scale(self) -> 'Lora':
        """The same with the scale of the first layer; see `one_scale`."""
        return one_scale(self)

    @classmethod
    def stack(cls, adapters: Sequence['Lora'], axis: int) -> 'Lora':
        """Stacks the factors of several adapters; lower ranks are padded with zeros.

        The scales are multiplied into `b`, so adapters of different scale can be
        stacked.
        """
        rank = max(lora.a.shape[-1] for lora in adapters)
        a = [_pad(x.a, rank, x.a.ndim - 1) for x in adapters]
        b = [_pad(x.b * x.scale, rank, axis) for x in adapters]
        first = adapters[0]
        a, b = jnp.stack(a, axis), jnp.stack(b, axis)
        return dataclasses.replace(first, a=a, b=b, scale=1.0, dropout=0.0)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Lora'],
        coefficients: Sequence[jax.Array | float],
        axis: int,
        base: Weight | None = None,
    ) -> 'Lora':
        """Factors side by side, whose product is the weighted sum of the products:
        `a [*inputs, M]`, `b [M, *outputs]`, where M is the sum of their ranks.
        Coefficients may be arrays that broadcast against `b`."""
        del base
        parts = zip(coefficients, adapters, strict=True)
        b = jnp.concatenate([c * x.scale * x.b for c, x in parts], axis=axis)
        a = jnp.concatenate([x.a for x in adapters], axis=-1)
        return dataclasses.replace(adapters[0], a=a, b=b, scale=1.0, dropout=0.0)

    def delta(self) -> jax.Array:
        """The correction `scale * A B` of one layer, `[*inputs, *outputs]`."""
        change = jnp.tensordot(self.a, self.b, axes=1, precision='highest')
        return change * self.scale


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'lora', 'ids', 'key'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Adapted(Bound):
    """A frozen kernel and its low-rank factors.

    Attributes:
        base: the kernel, an array or another kind of weight.
        lora: its factors; with `ids` they carry a leading axis of adapters.
        ids: `[B]` int32, the adapter of each example, or None.
        key: a random key for dropout, or None for no dropout.
    """

    base: Weight
    lora: Lora
    ids: jax.Array | None = None
    key: jax.Array | None = None

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`x W + s (x A) B`, of the shape that `eqn` says."""
        x_low = dropped(x, self.lora.dropout, self.key)
        low = low_rank(eqn, x_low, self.lora, dtype, self.ids)
        return einsum(eqn, x, self.base, dtype) + low

    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows `[..., D]` of `W` plus rows of `s A B`.

        Dropout does not apply to a lookup, as in PEFT: the input is a token id, which
        has no components to drop.
        """
        a, b = self.lora.a, self.lora.b
        if self.ids is None:
            delta = jnp.take(a, ids, axis=0) @ b
        else:
            delta = jnp.einsum('btr,brd->btd', a[self.ids[:, None], ids], b[self.ids])
        rows = take(self.base, ids)
        return rows + (self.lora.scale * delta).astype(rows.dtype)

    def dense(self) -> jax.Array:
        """`W + s A B`, `[*inputs, *outputs]`, added in float32."""
        return plus(self.base, self.lora.delta())

    def on_arrays(self, function: OnArray, axes: tuple[str | None, ...]) -> 'Adapted':
        """As of `Bound`, with `a [*inputs, R]` and `b [R, *outputs]` changed too."""
        lead = () if self.ids is None else (None,)
        cut = self.lora.a.ndim - 1 - len(lead)
        a = function(self.lora.a, (*lead, *axes[:cut], 'rank'))
        b = function(self.lora.b, (*lead, 'rank', *axes[cut:]))
        lora = dataclasses.replace(self.lora, a=a, b=b)
        return Adapted(on_arrays(function, self.base, axes), lora, self.ids, self.key)


def one_scale(adapter: Any) -> Any:
    """An adapter with the scale of its first layer; `b [L, R, ...]` of each other layer
    is multiplied by the ratio of its scale to that one."""
    scales = adapter.scale
    if not isinstance(scales, tuple):
        return adapter
    ratios = jnp.asarray([scale / scales[0] for scale in scales], jnp.float32)
    b = adapter.b * jnp.expand_dims(ratios, range(1, adapter.b.ndim))
    return dataclasses.replace(adapter, b=b, scale=scales[0])


def low_rank(
    eqn: str, x: jax.Array, lora: Lora, dtype: Any, ids: jax.Array | None = None
) -> jax.Array:
    """`s (x A) B`, or `s (x B) A` where the kernel's outputs come first, of the shape
    that `eqn` says."""
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    a, b, batch = lora.a.astype(x.dtype), lora.b.astype(x.dtype), ''
    if ids is not None:
        a, b, batch = a[ids], b[ids], x_labels[0]
    split = a.ndim - 1 - len(batch)
    rank = next(c for c in 'rRzZ' if c not in eqn)
    first = (a, batch + w_labels[:split] + rank)
    second = (b, batch + rank + w_labels[split:])
    if not set(w_labels[:split]) & set(x_labels):  # a tied unembedding: B first
        first, second = second, first
    free = ''.join(c for c in x_labels if c not in first[1] or c in batch)
    thin = product(f'{x_labels},{first[1]}->{free}{rank}', x, first[0], dtype)
    thin = thin.astype(x.dtype) * lora.scale
    return product(f'{free}{rank},{second[1]}->{out}', thin, second[0], dtype)


def dropped(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """An adapter's input of any shape, with dropout where there is a key."""
    if key is None or not rate:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def _pad(x, rank, axis):
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, rank - x.shape[axis])
    return jnp.pad(x, widths)
