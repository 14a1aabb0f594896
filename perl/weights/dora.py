"""DoRA: a low-rank correction of a kernel's direction, and a trained magnitude."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.weights.contract import Bound, Weight, dense, einsum, take
from perl.weights.lora import Adapted, Lora, one_scale
from perl.weights.product import beside
from perl.weights.whole_batch import WholeBatch, no_ids

_LEAST = 1e-30  # a norm below which an output counts as zero


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['a', 'b', 'magnitude'],
    meta_fields=['scale', 'dropout'],
)
@dataclasses.dataclass(frozen=True)
class Dora(WholeBatch):
    """Factors and magnitude of one kernel (DoRA, arXiv 2402.09353, eq. 5).

    Attributes:
        a, b, scale, dropout: as in `Lora`.
        magnitude: `[*outputs]` float32 (a leading `L` where layers are stacked), the
            norm that the weights of an output have.
    """

    a: jax.Array
    b: jax.Array
    magnitude: jax.Array
    scale: float | tuple[float, ...]
    dropout: float = 0.0

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'Decomposed':
        """The kernel `[*inputs, *outputs]` with its direction and magnitude."""
        no_ids(self, ids)
        lora = Lora(self.a, self.b, self.scale, self.dropout).with_one_scale()
        return Decomposed(Adapted(base, lora, None, key), self.magnitude)

    def with_dropout(self, rate: float) -> 'Dora':
        """The same arrays with another rate of dropout."""
        return dataclasses.replace(self, dropout=rate)

    def with_one_scale(self) -> 'Dora':
        """The same with the scale of the first layer, as of `Lora`."""
        return one_scale(self)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Dora'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> 'Dora':
        """The DoRA whose kernel is the weighted sum of the kernels, exactly; the ranks
        add up.

        A kernel is `g (W + A B)` with `g = magnitude / norm`. The sum of those is
        `h (W + sum_i A_i (c_i g_i B_i / h))` with `h = sum_i c_i g_i`. Coefficients
        add up to 1.
        """

        def one(adapters, base):
            gains = [x.bind(base).gain() for x in adapters]
            total = sum(c * g for c, g in zip(coefficients, gains, strict=True))
            shares = [g / jnp.where(total == 0, 1, total) for g in gains]
            b = [
                x.b * beside(c * x.scale * share, x.b)
                for c, share, x in zip(coefficients, shares, adapters, strict=True)
            ]
            a = jnp.concatenate([x.a for x in adapters], axis=-1)
            lora = Lora(a, jnp.concatenate(b), 1.0)
            norm = Decomposed(Adapted(base, lora), total).norm()
            return cls(lora.a, lora.b, total * norm, 1.0)

        return (jax.vmap(one) if axis else one)(list(adapters), base)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'magnitude'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Decomposed(Bound):
    """A kernel whose outputs have norms of their own.

    Attributes:
        base: the frozen kernel with its low-rank correction.
        magnitude: `[*outputs]`.
    """

    base: Adapted
    magnitude: jax.Array

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`g (x W + s (x A) B)`, of the shape that `eqn` says."""
        x_labels, w_labels, _ = eqn.replace('->', ',').split(',')
        gain = self.gain()
        if w_labels[-1] in x_labels:  # a tied unembedding: the outputs are contracted
            return einsum(eqn, x * beside(gain, x), self.base, dtype)
        y = einsum(eqn, x, self.base, dtype)
        return y * beside(gain, y)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Rows `[..., D]` of the kernel."""
        rows = take(self.base, ids)
        return rows * beside(self.gain(), rows)

    def dense(self) -> jax.Array:
        """`g (W + s A B)`, `[*inputs, *outputs]`, computed in float32."""
        base = dense(self.base.base)
        kernel = base.astype(jnp.float32) + self.base.lora.delta()
        return (kernel * beside(self.gain(), kernel)).astype(base.dtype)

    def gain(self) -> jax.Array:
        """`magnitude / norm`, `[*outputs]` float32. The norm counts as a constant in
        the gradient, as the paper has it (section 4.3). Weights of an output that are
        all zero stay zero."""
        norm = jnp.maximum(jax.lax.stop_gradient(self.norm()), _LEAST)
        return self.magnitude / norm

    def norm(self) -> jax.Array:
        """The norm of `W + s A B` over its inputs, `[*outputs]` float32.

        `|W|^2 + 2 s W.(A B) + s^2 |A B|^2`, where no array of the kernel's size is
        kept: the middle is `B.(A' W)`, and the last `B.(A' A) B`.
        """
        frozen, lora = self.base.base, jax.lax.stop_gradient(self.base.lora)
        inputs = 'abcd'[: lora.a.ndim - 1]
        outputs = 'wxyz'[: lora.b.ndim - 1]
        rows = jnp.moveaxis(lora.a, -1, 0)
        eqn = f'r{inputs},{inputs}{outputs}->r{outputs}'
        cross = jnp.sum(lora.b * einsum(eqn, rows, frozen, jnp.float32), axis=0)
        gram = jnp.einsum(f'{inputs}r,{inputs}s->rs', lora.a, lora.a)
        square = jnp.einsum(
            f'r{outputs},rs,s{outputs}->{outputs}', lora.b, gram, lora.b
        )
        total = column_squares(frozen, len(inputs)) + 2 * lora.scale * cross
        return jnp.sqrt(jnp.maximum(total + lora.scale**2 * square, 0))


def column_squares(w: Weight, inputs: int) -> jax.Array:
    """The sum of squares over the inputs of each output of a kernel
    `[*inputs, *outputs]`: `[*outputs]` float32."""
    kernel = jax.lax.stop_gradient(dense(w)).astype(jnp.float32)
    return jnp.sum(kernel * kernel, axis=tuple(range(inputs)))
