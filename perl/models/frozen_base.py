"""The frozen base of a run as it lies in memory: on a mesh, in few or in many bits."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from perl import sharding
from perl.models.architecture import Architecture, parameters
from perl.system import placement
from perl.weights import Leaf, Stored, flatten, quantisation, unflatten


def declared(arch: Architecture, leaves: Any = None) -> Any:
    """The declared parameters as a frozen base holds them: those of the decoder, with
    the kernels of its layers in the architecture's quantization.

    Args:
        arch: the decoder.
        leaves: its declared parameters, where they are made already.
    """
    leaves = parameters(arch) if leaves is None else leaves
    return quantisation.declare(leaves, arch.quantization, arch.base_dtype)


def name(arch: Architecture, digits: str) -> str:
    """The fingerprint of a base and how it is stored: an adapter that was trained on
    the one does not fit the other."""
    stored = arch.quantization
    return digits if stored == 'none' else f'{digits}-{stored}'


def place_leaf(
    arch: Architecture, mesh: Mesh, path: str, leaf: Leaf, array: Any
) -> Any:
    """One parameter of a frozen base on the mesh, in the compute dtype or stored.

    A loader that reads a file leaf by leaf hands each over here and lets it go.

    Args:
        arch: the decoder.
        mesh: of devices.
        path: of the parameter, such as `layers/mlp/up`.
        leaf: its declaration.
        array: its numbers, of the shape of the leaf, or what `encoder` made of its
            layers, or what a file has that holds them in few bits.
    """
    kind, dtype = arch.quantization, arch.base_dtype
    if not quantisation.applies(path, leaf, kind):
        return sharding.place(leaf, array, mesh, dtype)
    if isinstance(array, Stored):
        stored = dataclasses.replace(array, dtype=dtype)
    else:
        stored = quantisation.store(leaf, array, kind, dtype)
    said = quantisation.QUANTISATIONS[kind].declare(leaf, dtype)
    return placement.put(stored, sharding.shardings(said, mesh))


def encoder(arch: Architecture, path: str, leaf: Leaf) -> Callable | None:
    """A function that encodes one layer of a parameter as the base stores it; None
    where the base stores the array itself.

    A loader applies it as soon as it has read a layer, so that a base in few bits never
    has a copy of a parameter in floating point beside it.

    Args:
        arch: the decoder.
        path: of the parameter.
        leaf: its declaration.
    """
    kind, dtype = arch.quantization, arch.base_dtype
    if not quantisation.applies(path, leaf, kind):
        return None
    return quantisation.encoder(leaf, kind, dtype)


def place(arch: Architecture, params: Any, mesh: Mesh) -> Any:
    """All parameters of a frozen base on the mesh, one after the other.

    Args:
        arch: the decoder.
        params: floating-point arrays of the shapes of `parameters(arch)`.
        mesh: of devices.
    """
    leaves, flat = flatten(parameters(arch)), flatten(params)
    return unflatten(
        {
            path: place_leaf(arch, mesh, path, leaves[path], array)
            for path, array in flat.items()
        }
    )
