"""The common part of adapters that serve all rows of a batch alike."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights.contract import Adapter


def no_ids(kind: Any, ids: jax.Array | None) -> None:
    """Raises a `UserError` where there are `ids [B]`, an adapter for each example."""
    if ids is not None:
        raise UserError(
            f'adapters: those of kind {type(kind).__name__} cannot be chosen by '
            'example; use LoRA, or score with one adapter at a time'
        )


class WholeBatch(Adapter):
    """An adapter whose kernel serves a whole batch: several of them are mapped over,
    one after the other, and are never chosen by example."""

    @classmethod
    def stack(cls, adapters: Sequence[Self], axis: int) -> Self:
        """The arrays of several adapters with a new axis, for `jax.vmap`.

        Raises:
            UserError: they have other settings or shapes.
        """
        return _arrays(lambda *x: jnp.stack(x, axis), adapters)

    @classmethod
    def summed(cls, adapters: Sequence[Self], coefficients: Sequence[Any]) -> Self:
        """The weighted sum of each array. This is the average of adapters whose arrays
        are added to the model, or replace a part of it."""
        return _arrays(
            lambda *x: sum(c * y for c, y in zip(coefficients, x, strict=True)),
            adapters,
        )


def _arrays(function, adapters):
    for name in (f.name for f in dataclasses.fields(adapters[0])):
        values = [getattr(x, name) for x in adapters]
        found = {getattr(v, 'shape', v) for v in values}
        if len(found) > 1:
            raise UserError(
                f'adapters: they differ in {name} '
                f'({", ".join(map(str, sorted(found, key=str)))}); train them with '
                'the same settings'
            )
    return jax.tree.map(function, *adapters)
