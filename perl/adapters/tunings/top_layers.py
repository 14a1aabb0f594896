"""The last layers in full, as the baseline FT-top2."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.tunings.base import Tuning
from perl.system.errors import UserError
from perl.weights import (
    LAYERS,
    Adapter,
    Leaf,
    Replaced,
    flatten,
    in_layers,
    is_leaf,
    unflatten,
)


@dataclasses.dataclass(frozen=True)
class TopLayers(Tuning):
    """Every parameter of the last layers (FT-top2 of arXiv 2101.00190).

    Attributes:
        layers: how many.
    """

    layers: int = 2
    name: str = 'top_layers'
    adapter: ClassVar[type[Adapter]] = Replaced
    trains_weights: ClassVar[bool] = True

    def declare(self, leaves: Any) -> Any:
        """The parameters of the last layers, with a `Leaf` in the place of each.

        Raises:
            UserError: the model has fewer layers.
        """

        def last(leaf: Leaf) -> Replaced:
            if self.layers > leaf.shape[0]:
                raise UserError(
                    f'tuning.layers: {self.layers} are more than the '
                    f'{leaf.shape[0]} of the model; choose fewer, or full tuning'
                )
            return Replaced(leaf._replace(shape=(self.layers, *leaf.shape[1:])))

        return {LAYERS: jax.tree.map(last, leaves[LAYERS], is_leaf=is_leaf)}

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """A float32 copy of the base's last layers, `[k, ...]` each."""
        del key
        return unflatten(
            {
                path: Replaced(jnp.array(x[-self.layers :], jnp.float32))
                for path, x in flatten(base).items()
                if in_layers(path)
            }
        )

    @property
    def label(self) -> str:
        """`top_layers k=2`."""
        return f'{self.name} k={self.layers}'
