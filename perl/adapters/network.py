"""A frozen base and a delta over it, which together are one network."""

import dataclasses
import functools
from typing import Any

import jax

from perl.adapters import tree


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'delta'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Network:
    """The parameters of one decoder, in two parts.

    Attributes:
        base: frozen parameters; an empty dict where the delta holds every weight.
        delta: what is, or was, trained; an empty dict where nothing was.
    """

    base: Any
    delta: Any

    def bound(self) -> Any:
        """The tree that the model reads."""
        return tree.bind(self.base, self.delta)
