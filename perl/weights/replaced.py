"""The weights of the last layers, in the place of the base's."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.contract import Bound, Weight
from perl.weights.whole_batch import WholeBatch, no_ids


@functools.partial(jax.tree_util.register_dataclass, data_fields=['w'], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Replaced(WholeBatch):
    """One parameter of the last layers.

    Attributes:
        w: `[k, ...]` float32, of the last k of `L` layers.
    """

    w: jax.Array

    def bind(
        self, base: Weight, ids: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """The parameter of all layers `[L, ...]`, in the dtype of the base.

        Where layers are unrolled, each reads its own part and nothing is copied; a scan
        over layers copies the parameter in every step.

        Raises:
            UserError: the base is stored in fewer bits.
        """
        del key
        no_ids(self, ids)
        if isinstance(base, Bound):
            raise UserError(
                'tuning: weights themselves are trained, and the base holds none in '
                'floating point; set model.quantization to none'
            )
        lower = base[: base.shape[0] - self.w.shape[0]]
        return jnp.concatenate([lower, self.w.astype(base.dtype)])

    @classmethod
    def combine(
        cls,
        adapters: Sequence['Replaced'],
        coefficients: Sequence[Any],
        axis: int,
        base: Weight | None,
    ) -> 'Replaced':
        """The weighted sum of the weights."""
        del axis, base
        return cls.summed(adapters, coefficients)
