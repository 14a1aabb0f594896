"""Parameters of a foreign checkpoint, one leaf at a time."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from perl.models.architecture import Architecture
from perl.models.families.table import from_foreign, is_classifier
from perl.models.families.tensors import KERNEL, checked, declared, names_of
from perl.models.files.checkpoint import Checkpoint
from perl.models.heads import HEAD
from perl.system.arrays import aligned_empty
from perl.weights import Leaf, unflatten

Place = Callable[[str, Leaf, np.ndarray], Any]


def load(
    checkpoint: Checkpoint,
    arch: Architecture,
    dtype: str | None = None,
    place: Place | None = None,
) -> Any:
    """The parameters of a checkpoint, as `parameters(arch)` declares them.

    One foreign tensor and the leaves that it is part of are in host memory at a time.
    The scores of a classifier become the scalar head.

    Args:
        checkpoint: of any family of the table.
        arch: what `from_foreign` says of its config, run in any way.
        dtype: that the numbers are converted to; None leaves each leaf that of its
            tensors.
        place: what is done with each leaf, given its path, declaration and numbers: put
            on devices, or stored in fewer bits; an array of JAX by default.

    Raises:
        UserError: a tensor is missing, has another shape, or would not be used.
    """
    family = from_foreign(checkpoint.config, checkpoint.where)[0]
    tensors, place = checked(checkpoint, family, arch), place or _as_array
    leaves = declared(arch, is_classifier(checkpoint.config))
    flat = {}
    for name in names_of(family, leaves):
        own = [leaves[path] for path in name.paths]
        layers = arch.layers if name.layered else 1
        arrays = None
        for i in range(layers):
            tensor = tensors[name.foreign.format(i)].read()
            if arrays is None:
                kind = np.dtype(dtype or tensor.dtype)
                arrays = [aligned_empty(leaf.shape, kind) for leaf in own]
            for array, part in zip(arrays, name.ours(tensor, own), strict=True):
                array[i if name.layered else ...] = part
            del tensor, array, part  # of arrays, which are to go when they are placed
        for path, leaf in zip(name.paths, own, strict=True):
            flat[path] = place(path, leaf, arrays.pop(0))
    if KERNEL in flat:
        kernel = flat.pop(KERNEL)
        flat |= {KERNEL: kernel[0], f'{HEAD}/bias': jnp.zeros((), kernel.dtype)}
    return unflatten(flat)


def _as_array(path, leaf, array):
    del path, leaf
    return jnp.asarray(array)
