"""A trained bias of a frozen kernel."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax

from perl.system.errors import UserError
from perl.weights.contract import Bound, Weight, einsum
from perl.weights.product import beside
from perl.weights.whole_batch import WholeBatch, no_ids


@functools.partial(jax.tree_util.register_dataclass, data_fields=['b'], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Bias(WholeBatch):
    """What is added to the outputs of one kernel (BitFit, arXiv 2106.10199).

    Attributes:
        b: `[*outputs]` float32 (a leading `L` where layers are stacked).
    """

    b: jax.Array

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'Biased':
        """The kernel `[*inputs, *outputs]` with its bias."""
        del key
        no_ids(self, ids)
        return Biased(base, self.b)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Bias'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> 'Bias':
        """The weighted sum of the biases."""
        del axis, base
        return cls.summed(adapters, coefficients)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=['base', 'b'], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Biased(Bound):
    """A frozen kernel and a bias of its outputs."""

    base: Weight
    b: jax.Array

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`x W + b`, of the shape that `eqn` says."""
        y = einsum(eqn, x, self.base, dtype)
        return y + beside(self.b, y)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Not of an embedding `[V, D]`.

        Raises:
            UserError: always.
        """
        raise UserError('tuning.targets: bitfit is for kernels of layers')

    def dense(self) -> jax.Array:
        """No kernel `[*inputs, *outputs]` adds a bias.

        Raises:
            UserError: always.
        """
        raise UserError(
            'adapters: a trained bias cannot be merged into a kernel; keep the adapter '
            'beside its base'
        )
