"""The kinds of stored weights by name, and a base in one of them."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax

from perl.weights.affine import Int4, Int8
from perl.weights.declared import Leaf, flatten, in_layers, unflatten
from perl.weights.fp8 import Fp8
from perl.weights.layers import Layers
from perl.weights.nf4 import Nf4
from perl.weights.stored import Stored

QUANTISATIONS: dict[str, type[Stored]] = {
    kind.name: kind for kind in (Nf4, Int4, Int8, Fp8)
}


def declare(leaves: Any, kind: str, dtype: str) -> Any:
    """The declared base as it is stored: the kernels of the layers in the quantisation
    of that name, and embeddings, norms and biases as they are.

    Args:
        leaves: the model's tree of `Leaf`.
        kind: a name in `QUANTISATIONS`, or `none` for a base of plain arrays.
        dtype: of compute.
    """
    return unflatten(
        {
            path: QUANTISATIONS[kind].declare(leaf, dtype)
            if applies(path, leaf, kind)
            else leaf
            for path, leaf in flatten(leaves).items()
        }
    )


def applies(path: str, leaf: Leaf, kind: str) -> bool:
    """Whether a parameter is stored in that quantisation: the kernels of layers are."""
    return kind in QUANTISATIONS and in_layers(path) and leaf.inputs > 0


def store(leaf: Leaf, layers: Iterable[Any], kind: str, dtype: str) -> Stored:
    """One kernel of a base as it is stored, in host memory.

    It is encoded layer by layer, so that no float32 copy of all layers is made.

    Args:
        leaf: its declaration.
        layers: their numbers, an array `leaf.shape` or one layer after the other.
        kind: a name in `QUANTISATIONS`.
        dtype: of compute.
    """
    stored = Layers(leaf.shape[0], encoder(leaf, kind, dtype))
    for layer in layers:
        stored.add(layer)
    return stored.whole()


def encoder(leaf: Leaf, kind: str, dtype: str) -> Callable[[Any], Stored]:
    """A compiled function that stores one layer of a kernel; arguments as `store`."""
    return _encoder(kind, leaf.inputs, dtype)


@functools.cache
def _encoder(kind, inputs, dtype):
    row = QUANTISATIONS[kind]
    encode = jax.jit(lambda w: row.encode(w, inputs, dtype))
    # on a CPU `device_put` does not copy the array, which an argument of numpy would
    return lambda w: encode(jax.device_put(w))
