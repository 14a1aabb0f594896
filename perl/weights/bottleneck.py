"""A small network behind a sublayer, on the output of its last kernel."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.contract import Bound, Weight, einsum
from perl.weights.product import beside
from perl.weights.whole_batch import WholeBatch, no_ids

ACTIVATIONS = {'relu': jax.nn.relu, 'swish': jax.nn.swish}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['down', 'down_bias', 'up', 'up_bias'],
    meta_fields=['activation'],
)
@dataclasses.dataclass(frozen=True)
class Bottleneck(WholeBatch):
    """`y + up(act(down(y)))` of the outputs of one kernel (arXiv 1902.00751).

    Attributes:
        down: `[D, W]` float32 (a leading `L` where layers are stacked).
        down_bias: `[W]`.
        up: `[W, D]`.
        up_bias: `[D]`.
        activation: in `ACTIVATIONS`.
    """

    down: jax.Array
    down_bias: jax.Array
    up: jax.Array
    up_bias: jax.Array
    activation: str = 'swish'

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> 'Followed':
        """The kernel `[*inputs, D]` with the network behind it."""
        del key
        no_ids(self, ids)
        return Followed(base, self)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Bottleneck'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> 'Bottleneck':
        """The weighted sum of each array, as of weights that are tuned in full."""
        del axis, base
        return cls.summed(adapters, coefficients)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=['base', 'network'], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Followed(Bound):
    """A frozen kernel and a small network on its outputs."""

    base: Weight
    network: Bottleneck

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """`y + up(act(down(y)))` with `y = x W`, of the shape that `eqn` says."""
        y, n = einsum(eqn, x, self.base, dtype), self.network
        inner = jnp.matmul(y, n.down.astype(dtype))
        inner = ACTIVATIONS[n.activation](inner + beside(n.down_bias, inner))
        return y + jnp.matmul(inner, n.up.astype(dtype)) + beside(n.up_bias, y)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Not of an embedding `[V, D]`.

        Raises:
            UserError: always.
        """
        raise UserError('tuning: a bottleneck is for the last kernel of a sublayer')

    def dense(self) -> jax.Array:
        """No kernel `[*inputs, *outputs]` does the same.

        Raises:
            UserError: always.
        """
        raise UserError(
            'adapters: a bottleneck is not linear, so it cannot be merged into a '
            'kernel; keep the adapter beside its base'
        )
