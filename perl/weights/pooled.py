"""QA-LoRA: low-rank factors on group sums of the input, for bases of whole numbers."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.affine import Affine
from perl.weights.contract import Bound, Weight, einsum, plus
from perl.weights.lora import Lora, dropped
from perl.weights.product import product
from perl.weights.stored import ungrouped


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['a', 'b'],
    meta_fields=['scale', 'dropout', 'group', 'inputs'],
)
@dataclasses.dataclass(frozen=True)
class Pooled(Lora):
    """Factors of one kernel on sums over groups of its inputs (QA-LoRA, arXiv
    2309.14717).

    All inputs of a group have the same row of `A`, so the product adds one number to
    all weights of a group and an output, as a change of the group's offset does.

    Attributes:
        a: `[G, R]` float32, a row for each group (layers and adapters lead, as in
            `Lora`).
        group: inputs in a group.
        inputs: the lengths of the kernel's input axes.
    """

    group: int = 32
    inputs: tuple[int, ...] = ()

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'PooledKernel':
        """The kernel `[*inputs, *outputs]` with these factors beside it."""
        if ids is not None:
            raise UserError(
                'adapters: those of QA-LoRA cannot be chosen by example; merge them '
                'into the base, or score with one adapter at a time'
            )
        return PooledKernel(base, self, key)

    def grouped_delta(self) -> jax.Array:
        """What is added to every weight of a group, `[G, *outputs]` float32."""
        return jnp.tensordot(self.a, self.b, axes=1, precision='highest') * self.scale

    def delta(self) -> jax.Array:
        """The correction of one layer, `[*inputs, *outputs]`."""
        change = jnp.repeat(self.grouped_delta()[:, None], self.group, axis=1)
        return ungrouped(change, self.inputs)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'lora', 'key'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class PooledKernel(Bound):
    """A frozen kernel and factors on group sums of its input.

    Attributes:
        base: the kernel; its merge is exact where it is `Affine` with these groups.
        lora: the factors.
        key: a random key for dropout, or None to leave dropout out.
    """

    base: Weight
    lora: Pooled
    key: jax.Array | None = None

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`x W + s (pool(x) A) B`, of the shape that `eqn` says."""
        x_labels, w_labels, out = eqn.replace('->', ',').split(',')
        count = len(self.lora.inputs)
        free, ends = x_labels[:-count], w_labels[count:]
        pooled = self._pool(dropped(x, self.lora.dropout, self.key))
        a, b = self.lora.a.astype(x.dtype), self.lora.b.astype(x.dtype)
        low = product(f'{free}G,GR->{free}R', pooled, a, dtype).astype(x.dtype)
        low = product(f'{free}R,R{ends}->{out}', low * self.lora.scale, b, dtype)
        return einsum(eqn, x, self.base, dtype) + low

    def rows(self, ids: jax.Array) -> jax.Array:
        """An embedding `[V, D]` has no input to pool.

        Raises:
            UserError: always.
        """
        raise UserError(
            'tuning.targets: QA-LoRA pools the input of a kernel, and an embedding '
            'has none; leave embeddings out of the targets'
        )

    def dense(self) -> jax.Array:
        """`W` and the correction, `[*inputs, *outputs]`, added in float32."""
        return plus(self.base, self.lora.delta())

    def folded(self, lossy: bool = False) -> Weight:
        """The kernel with the correction in its offsets: its codes stay, and nothing is
        rounded."""
        if isinstance(self.base, Affine) and self.base.group == self.lora.group:
            return self.base.shifted(self.lora.grouped_delta())
        return super().folded(lossy)

    def _pool(self, x):
        """The sums over groups, `[..., G]` of `x [..., *inputs]`."""
        flat = x.reshape(*x.shape[: x.ndim - len(self.lora.inputs)], -1)
        short = -flat.shape[-1] % self.lora.group
        flat = jnp.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, short)])
        groups = flat.reshape(*flat.shape[:-1], -1, self.lora.group)
        return groups.sum(axis=-1)
