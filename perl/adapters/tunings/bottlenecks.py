"""Bottleneck adapters behind the sublayers, of Houlsby and of Pfeiffer."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.tunings.base import Tuning
from perl.system.errors import UserError
from perl.weights import Adapter, Bottleneck, Leaf, flatten, in_layers, unflatten


@dataclasses.dataclass(frozen=True)
class Houlsby(Tuning):
    """A small network behind attention and MLP of each layer (arXiv 1902.00751).

    It sits on the output of the last kernel of a sublayer, before the residual sum.

    Attributes:
        width: of the network's inner layer.
    """

    width: int = 16
    name: str = 'houlsby'
    adapter: ClassVar[type[Adapter]] = Bottleneck
    activation: ClassVar[str] = 'swish'
    after_attention: ClassVar[bool] = True

    def declare(self, leaves: Any) -> Any:
        """The networks, with a `Leaf` in the place of each array."""
        chosen = {
            path: self._behind(leaf)
            for path, leaf in flatten(leaves).items()
            if in_layers(path) and leaf.inputs and leaf.axes[-1] == 'embed'
            if self.after_attention or '/attention/' not in path
        }
        if not chosen:
            raise UserError(
                f'tuning.name: {self.name} sits behind kernels that write into the '
                'residual stream, and this model declares none; choose another tuning'
            )
        return unflatten(chosen)

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """Networks that give zero: `down` normal with variance `1 / D`, the rest zero;
        float32 `down [D, W]`, `up [W, D]` and their biases."""
        del base
        flat = {}
        for i, (path, said) in enumerate(sorted(flatten(self.declare(leaves)).items())):
            own, shape = jax.random.fold_in(key, i), said.down.shape
            down = jax.random.normal(own, shape, jnp.float32) * shape[-2] ** -0.5
            zeros = jax.tree.map(
                lambda x: jnp.zeros(x.shape, jnp.float32),
                said,
                is_leaf=lambda x: isinstance(x, Leaf),
            )
            flat[path] = dataclasses.replace(zeros, down=down)
        return unflatten(flat)

    @property
    def label(self) -> str:
        """`houlsby w=16`."""
        return f'{self.name} w={self.width}'

    def _behind(self, leaf):
        lead, axes = leaf.shape[: leaf.layered], leaf.axes[: leaf.layered]

        def array(std, *parts):
            lengths, names = zip(*parts, strict=True)
            return Leaf((*lead, *lengths), (*axes, *names), len(parts) - 1, std)

        outer, inner = (leaf.shape[-1], 'embed'), (self.width, 'rank')
        return Bottleneck(
            down=array(None, outer, inner),
            down_bias=array(0.0, inner),
            up=array(0.0, inner, outer),
            up_bias=array(0.0, (leaf.shape[-1], 'norm')),
            activation=self.activation,
        )


@dataclasses.dataclass(frozen=True)
class Pfeiffer(Houlsby):
    """A small network behind the MLP of each layer alone (arXiv 2005.00247)."""

    name: str = 'pfeiffer'
    activation: ClassVar[str] = 'relu'
    after_attention: ClassVar[bool] = False
