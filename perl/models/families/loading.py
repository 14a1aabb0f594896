"""Parameters of a foreign checkpoint, one leaf at a time."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from perl.models.architecture import Architecture
from perl.models.families.table import from_foreign, is_classifier
from perl.models.families.tensors import KERNEL, checked, declared, names_of
from perl.models.files.checkpoint import Checkpoint
from perl.models.heads import HEAD
from perl.system.arrays import aligned
from perl.weights import Layers, unflatten
from perl.weights.layers import Encode, Place


def load(
    checkpoint: Checkpoint,
    arch: Architecture,
    dtype: str | None = None,
    place: Place | None = None,
    encode: Encode | None = None,
) -> Any:
    """The parameters of a checkpoint, as `parameters(arch)` declares them.

    One foreign tensor and the leaves that it is part of are in host memory at a time;
    of a leaf that is encoded, one layer.
    The scores of a classifier become the scalar head.

    Args:
        checkpoint: of any family of the table.
        arch: what `from_foreign` says of its config, run in any way.
        dtype: that the numbers are converted to; None leaves each leaf that of its
            tensors.
        place: what is done with each leaf, given its path, declaration and numbers: put
            on devices, or stored in fewer bits; an array of JAX by default.
        encode: for a path and its declaration, what makes of one layer that which
            `place` gets of it, stacked; None leaves the layers as they are.

    Raises:
        UserError: a tensor is missing, has another shape, or would not be used.
    """
    family = from_foreign(checkpoint.config, checkpoint.where)[0]
    tensors, place = checked(checkpoint, family, arch), place or _as_array
    leaves = declared(arch, is_classifier(checkpoint.config))
    flat = {}
    for name in names_of(family, leaves):
        own = [leaves[path] for path in name.paths]
        parts = functools.partial(_parts, name, tensors, own, dtype)
        if name.layered:
            encoders = [encode and encode(path, leaves[path]) for path in name.paths]
            arrays = _gathered(parts, arch.layers, encoders)
        else:
            arrays = parts(0)
        for path, leaf in zip(name.paths, own, strict=True):
            flat[path] = place(path, leaf, arrays.pop(0))
    if KERNEL in flat:
        kernel = flat.pop(KERNEL)
        flat |= {KERNEL: kernel[0], f'{HEAD}/bias': jnp.zeros((), kernel.dtype)}
    return unflatten(flat)


def _parts(name, tensors, leaves, dtype, layer):
    """Our parameters of one layer, or of all, that a foreign tensor holds."""
    tensor = tensors[name.foreign.format(layer)].read()
    kind = np.dtype(dtype or tensor.dtype)
    return [aligned(part, kind) for part in name.ours(tensor, leaves)]


def _gathered(parts, layers, encoders):
    """The same of all layers, stacked."""
    gathered = [Layers(layers, encode) for encode in encoders]
    for i in range(layers):
        own = parts(i)
        for all_layers in gathered:
            all_layers.add(own.pop(0))
    return [all_layers.whole() for all_layers in gathered]


def _as_array(path, leaf, array):
    del path, leaf
    return jnp.asarray(array)
