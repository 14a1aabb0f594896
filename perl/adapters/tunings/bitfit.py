"""BitFit: biases alone."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters import targets as rules
from perl.adapters.targets import ALL_LINEAR
from perl.adapters.tunings.base import Tuning
from perl.weights import Adapter, Bias, Leaf, is_leaf, unflatten


@dataclasses.dataclass(frozen=True)
class BitFit(Tuning):
    """A bias of every kernel of the layers (arXiv 2106.10199).

    The paper trains the biases that a model has. Decoders of today have none, or few,
    so each kernel gets one that begins at zero, beside one that it may have.

    Attributes:
        targets: see `perl.adapters.targets.choose`; ranks have no meaning but 0.
    """

    targets: tuple[str, ...] = ALL_LINEAR
    name: str = 'bitfit'
    adapter: ClassVar[type[Adapter]] = Bias

    def declare(self, leaves: Any) -> Any:
        """A bias of each kernel, with a `Leaf` in its place."""
        chosen = rules.choose(self.targets, 1, leaves)
        return unflatten({path: Bias(_outputs(x)) for path, (x, _) in chosen.items()})

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """Biases of zero, float32 `[*outputs]`."""
        del key, base
        said = self.declare(leaves)
        return jax.tree.map(
            lambda x: jnp.zeros(x.shape, jnp.float32), said, is_leaf=is_leaf
        )


def _outputs(leaf):
    first, cut = int(leaf.layered), leaf.layered + leaf.inputs
    shape = (*leaf.shape[:first], *leaf.shape[cut:])
    return Leaf(shape, (*leaf.axes[:first], *leaf.axes[cut:]), 0, 0.0)
