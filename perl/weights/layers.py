"""The layers of one parameter, which come one after the other."""

import gc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perl.system.arrays import aligned_empty
from perl.weights.declared import Leaf

# what becomes of a parameter that a loader has read, given its path, its declaration
# and its numbers
Place = Callable[[str, Leaf, Any], Any]
# for the same path and declaration, what makes of one layer that which `Place` is given
# of it, stacked; None leaves the layers as they are
Encode = Callable[[str, Leaf], Callable[[Any], Any] | None]


class Layers:
    """Layers of one parameter in the arrays of all of them, in host memory.

    Nothing of a layer is kept but its own place in them: a stored parameter never has
    more than one layer of floating-point numbers beside it.
    """

    def __init__(self, count: int, encode: Callable[[Any], Any] | None = None):
        """Holds `count` layers; `encode` makes of a layer the stored tree of arrays."""
        self._count, self._encode = count, encode or (lambda layer: layer)
        self._arrays: list[np.ndarray] = []
        self._structure: Any = None
        self._at = 0

    def add(self, layer: np.ndarray | jax.Array) -> None:
        """The next layer, an array of the shape that the parameter has without `L`."""
        leaves, structure = jax.tree.flatten(self._encode(layer))
        if not self._at:
            shapes = [((self._count, *x.shape), x.dtype) for x in leaves]
            self._arrays = [aligned_empty(*shape) for shape in shapes]
            self._structure = structure
        for whole, x in zip(self._arrays, leaves, strict=True):
            whole[self._at] = x
        self._at += 1
        del leaves, x
        gc.collect(0)  # JAX lets go of the memory of a layer when Python collects

    def whole(self) -> Any:
        """All layers, stacked in the first axis; nothing is left here."""
        arrays, self._arrays = self._arrays, []
        return self._structure.unflatten(arrays)
