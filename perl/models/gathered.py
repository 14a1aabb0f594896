"""Weights on a mesh, whole along `fsdp` where a layer computes with them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from perl.models.architecture import parameters
from perl.models.description import Architecture
from perl.sharding import RULES, constrain
from perl.weights import LAYERS, Bound, Weight, flatten, on_arrays, unflatten


def whole(x: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    """A parameter of any shape as every device of `fsdp` has it whole; nothing changes
    without a mesh.

    Args:
        x: the parameter.
        axes: the logical name of each of its axes.
    """
    return constrain(x, *(None if RULES[name] == 'fsdp' else name for name in axes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gathered(x: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    """As `whole`, of any shape, and its gradient is divided as the parameter is stored:
    each device needs a part of the sum."""
    return whole(x, axes)


gathered.defvjp(
    lambda x, axes: (whole(x, axes), None),
    lambda axes, _, gradient: (constrain(gradient, *axes),),
)


def gathered_layer(arch: Architecture, weights: Any) -> Any:
    """The weights of one layer, of shapes that `parameters` declares, with each kernel
    and LoRA factor gathered once over `fsdp`.

    A kernel is an operand of two products in the pass backward of a layer that is
    computed again: of that layer's output, and of the gradient of its input. Left to
    itself, the compiler for TPUs gathers it for each. Where layers are not computed
    again (`arch.remat`), weights stay as they are: the pass forward would keep what it
    gathered, which is the whole model.

    Args:
        arch: the decoder.
        weights: bound or plain, without the axis of layers.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if not arch.remat or mesh.empty or mesh.shape['fsdp'] == 1:
        return weights
    declared = flatten(parameters(arch)[LAYERS])
    cut = {path: x.axes[1:] for path, x in declared.items() if 'embed' in x.axes}
    flat = flatten(weights)
    changed = {path: _kernel(arch, flat[path], axes) for path, axes in cut.items()}
    return unflatten({**flat, **changed})


def _kernel(arch, w: Weight, axes) -> Weight:
    """A kernel that is tuned in full is cast first: it is stored in float32, and half
    of the bytes need not be sent."""
    if isinstance(w, Bound):
        return on_arrays(gathered, w, axes)
    if w.dtype.itemsize > jnp.dtype(arch.dtype).itemsize:
        w = w.astype(arch.dtype)
    return gathered(w, axes)
