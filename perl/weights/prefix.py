"""Trained keys and values that every token of a layer attends to."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.contract import Bound, Weight
from perl.weights.product import beside
from perl.weights.whole_batch import WholeBatch, no_ids


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=['k', 'v', 'gate'], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Prefix(WholeBatch):
    """Slots of one attention layer (prefix tuning, arXiv 2101.00190) with the gate of
    LLaMA-Adapter (arXiv 2303.16199).

    A token attends to the slots apart from the text, and the result is added with a
    gate that is 0 before training: slots in the same softmax would change the model
    before the first step, so that a policy would not begin at its reference.

    Attributes:
        k, v: `[S, K, N]` float32 (a leading `L` where layers are stacked).
        gate: `[H]` float32, of each query head; its tanh is the weight of the slots.
    """

    k: jax.Array
    v: jax.Array
    gate: jax.Array

    def bind(
        self,
        base: Weight | None,
        ids: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> 'Slots':
        """What an attention layer reads; there is no kernel `[*inputs, *outputs]`
        below it."""
        del base, key
        no_ids(self, ids)
        return Slots(self)

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Prefix'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> 'Prefix':
        """The weighted sum of each array, as of weights that are tuned in full."""
        del axis, base
        return cls.summed(adapters, coefficients)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=['prefix'], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Slots(Bound):
    """The slots as attention reads them."""

    prefix: Prefix

    def attend(self, q: jax.Array) -> jax.Array:
        """What queries `[B, T, H, N]`, without their rotation, get from the slots:
        `[B, T, H, N]`."""
        k, v = self.prefix.k.astype(q.dtype), self.prefix.v.astype(q.dtype)
        grouped = q.reshape(*q.shape[:2], k.shape[1], -1, q.shape[-1])
        scores = jnp.einsum(
            'btkgn,skn->btkgs', grouped, k, preferred_element_type=jnp.float32
        )
        shares = jax.nn.softmax(scores * q.shape[-1] ** -0.5, axis=-1).astype(q.dtype)
        out = jnp.einsum('btkgs,skn->btkgn', shares, v).reshape(q.shape)
        return out * beside(jnp.tanh(self.prefix.gate)[:, None], out)

    def contract(self, eqn: str, x: jax.Array, dtype: Any) -> jax.Array:
        """No kernel, for an `x` of any shape.

        Raises:
            UserError: always.
        """
        raise UserError('tuning: a prefix is not a kernel')

    def rows(self, ids: jax.Array) -> jax.Array:
        """No embedding `[V, D]`.

        Raises:
            UserError: always.
        """
        raise UserError('tuning: a prefix is not an embedding')

    def dense(self) -> jax.Array:
        """No kernel `[*inputs, *outputs]`.

        Raises:
            UserError: always.
        """
        raise UserError(
            'adapters: a prefix cannot be merged into a kernel; keep the adapter '
            'beside its base'
        )
