"""What a tuning is: how a base becomes a trainable delta."""

import abc
import dataclasses
import math
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from perl.weights import Adapter, Leaf, flatten, is_leaf


class Tuning(abc.ABC):
    """How a stage tunes. A subclass is a frozen dataclass of plain values.

    Everything else in the package asks a tuning these questions, and never its name.
    `bind` and `merge` of `perl.adapters.tree` serve the deltas of every tuning, so that
    one step function trains them all.

    Attributes:
        name: in configs and cards; of a tuning from elsewhere `module:class`.
        replaces_base: the delta holds every weight, so that no base is needed.
        trains_weights: some of what it trains takes the place of weights of the base,
            which must then be floating-point arrays.
        quantization: that the base must be stored in; '' leaves it to the config.
        adapter: the kind of leaf that sits beside a kernel, where there is one.
        dropout: rate on the adapters' inputs while training.
    """

    name: str
    replaces_base: ClassVar[bool] = False
    trains_weights: ClassVar[bool] = False
    quantization: ClassVar[str] = ''
    adapter: ClassVar[type[Adapter] | None] = None
    dropout: float = 0.0

    @abc.abstractmethod
    def declare(self, leaves: Any) -> Any:
        """The delta with a `Leaf` in the place of every array.

        Args:
            leaves: the model's tree of `Leaf`.

        Raises:
            UserError: the settings do not fit the model.
        """

    @abc.abstractmethod
    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """A fresh float32 delta of the shapes that `declare` says; it changes nothing.

        Args:
            key: a random key, consumed.
            base: the parameters; most adapters do not read them, and then it may be
                None.
            leaves: the model's tree of `Leaf`.
        """

    def kept(self, leaves: Any) -> list[Leaf]:
        """The declared arrays of a delta that are not trained."""
        said = jax.tree.leaves(self.declare(leaves), is_leaf=is_leaf)
        return [leaf for leaf in said if not leaf.rate]

    def describing(self, delta: Any) -> tuple[Any, 'Tuning']:
        """A delta that is an average of deltas of this tuning, and the tuning that
        declares it."""
        return delta, self

    def alike(self, other: 'Tuning') -> bool:
        """Whether a delta of one can go on as a delta of the other."""
        return self == other

    def with_dropout(self, rate: float) -> Self:
        """The same with another rate of dropout, where the tuning has any."""
        fields = {field.name for field in dataclasses.fields(self)}
        known = 'dropout' in fields
        return dataclasses.replace(self, dropout=rate) if known else self

    @property
    def label(self) -> str:
        """A short name for tables."""
        return self.name.rpartition(':')[2]

    def coverage(self, leaves: Any) -> str:
        """One line for a person: what is trained and what share that is."""
        total, trainable = (
            parameter_count(leaves),
            parameter_count(self.declare(leaves)),
        )
        return (
            f'{self.label}: {trainable:,} of {total:,} parameters '
            f'({trainable / total:.2%})'
        )


def trained_copy(params: Any) -> Any:
    """Float32 copies of arrays of any shapes, on buffers that a step may donate."""
    return jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), params)


def parameter_count(declared: Any) -> int:
    """The number of elements of a tree of `Leaf` that are trained."""
    leaves = jax.tree.leaves(declared, is_leaf=is_leaf)
    return sum(math.prod(leaf.shape) for leaf in leaves if leaf.rate)


def matrix_count(paths: Any, leaves: Any) -> int:
    """How many matrices the kernels at these paths are, each layer counted."""
    flat = flatten(leaves)
    return sum(flat[path].shape[0] if flat[path].layered else 1 for path in paths)
