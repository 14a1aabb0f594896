"""Device meshes, and the table that maps logical axis names to mesh axes.

Every parameter and batch is placed by a `NamedSharding` derived from its logical
axes; `jax.jit` does the rest. Up to rounding, a run computes the same on any mesh.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import (
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
)

from perl.system import arrays, placement
from perl.system.errors import UserError
from perl.weights import Leaf

AXES = ('data', 'fsdp', 'tensor')

RULES: dict[str | None, str | tuple[str, ...] | None] = {
    'batch': ('data', 'fsdp'),
    'vocab': 'tensor',
    'embed': 'fsdp',
    'heads': 'tensor',
    'kv_heads': 'tensor',
    'hidden': 'tensor',
    'head': None,
    'norm': None,
    'rank': None,
    'layers': None,
    None: None,
}


def devices() -> list[jax.Device]:
    """All devices.

    On CPU, programs that overlap on several devices can deadlock in their collectives.
    So they are set to run one after the other, which costs nothing on one device. JAX
    reads this setting when the first device is requested.

    Raises:
        UserError: JAX finds no device of the platform that it was told to use.
    """
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    try:
        return jax.devices()
    except (RuntimeError, AssertionError):  # which of them differs by platform
        raise UserError(
            f'JAX_PLATFORMS={jax.config.jax_platforms or ""}: JAX finds no such device '
            "on this machine; install '.[cuda]' or '.[tpu]' for it, or set "
            'JAX_PLATFORMS=cpu'
        ) from None


def make_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh of `data x fsdp x tensor` devices (data = -1 uses all remaining ones).

    Raises:
        UserError: there are fewer devices than the mesh needs, or an axis is below 1.
    """
    available = devices()
    data, fsdp, tensor = shape = sizes(data, fsdp, tensor, len(available))
    need = math.prod(shape)
    if need > len(available):
        raise UserError(
            f'mesh: {data} x {fsdp} x {tensor} needs {need} devices, there are '
            f'{len(available)}; choose a smaller mesh'
        )
    return Mesh(np.array(available[:need]).reshape(shape), AXES)


def abstract_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> AbstractMesh:
    """The same mesh on paper, which may be of devices that this machine lacks.

    Raises:
        UserError: an axis is below 1.
    """
    shape = sizes(data, fsdp, tensor, len(devices()))
    return AbstractMesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def sizes(data: int, fsdp: int, tensor: int, devices: int) -> tuple[int, int, int]:
    """The mesh's shape, with data = -1 resolved.

    Raises:
        UserError: an axis is below 1.
    """
    if min(fsdp, tensor) < 1 or (data < 1 and data != -1):
        raise UserError(
            f'mesh: {data} x {fsdp} x {tensor} has an axis below 1; give 1 or more '
            'devices to each, or data=-1 for all that are left'
        )
    if data == -1:
        data = max(1, devices // (fsdp * tensor))
    return data, fsdp, tensor


def spec(axes: tuple[str | None, ...], shape: tuple[int, ...], mesh) -> PartitionSpec:
    """The partition of an array with these logical axes. An axis whose length is not
    divisible by its mesh axes (few key/value heads, many devices) is replicated.

    Raises:
        KeyError: an axis name has no rule.
    """
    parts = []
    for name, length in zip(axes, shape, strict=True):
        if name not in RULES:
            raise KeyError(f'no sharding rule for the logical axis {name!r}')
        rule = RULES[name]
        names = (rule,) if isinstance(rule, str) else rule or ()
        ways = math.prod(mesh.shape[n] for n in names)
        parts.append(rule if length % ways == 0 else None)
    return PartitionSpec(*parts)


def shardings(leaves: Any, mesh: Mesh) -> Any:
    """A tree of `NamedSharding` for a tree of declared parameters."""
    return jax.tree.map(
        lambda leaf: NamedSharding(mesh, spec(leaf.axes, leaf.shape, mesh)),
        leaves,
        is_leaf=lambda x: isinstance(x, Leaf),
    )


def place(leaf: Leaf, x: Any, mesh: Mesh, dtype: str) -> jax.Array:
    """The numbers of a parameter, of the shape that `leaf` has, placed on a mesh."""
    x = x.astype(dtype) if isinstance(x, jax.Array) else arrays.aligned(x, dtype)
    return placement.put(x, shardings(leaf, mesh))


def batch_rows(size: int, total: int, mesh: Mesh) -> int:
    """The rows of a batch: at most `size`, and no more than `total` rows need; at least
    one, and a multiple of the devices that share a batch."""
    devices = mesh.shape['data'] * mesh.shape['fsdp']
    return -(-max(1, min(size, total)) // devices) * devices


def rows_of_a_device(rows: int) -> int:
    """How many of the rows of a batch each device of the mesh that is set has; all of
    them where there is no mesh, or where they do not divide."""
    mesh = jax.sharding.get_abstract_mesh()
    ways = 1 if mesh.empty else mesh.shape['data'] * mesh.shape['fsdp']
    return rows if rows % ways else rows // ways


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def on_paper(batch: Any, mesh: Mesh) -> Any:
    """Arrays or shapes `[N, ...]` as shapes on a mesh, divided as by `shard_batch`."""

    def place(x):
        axes = ('batch', *[None] * (x.ndim - 1))[: x.ndim]
        where = NamedSharding(mesh, spec(axes, x.shape, mesh))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

    return jax.tree.map(place, batch)


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """Places host arrays `[N, ...]` on the mesh, N divided over `data` and `fsdp`.

    Raises:
        UserError: N is not divisible.
    """
    ways = mesh.shape['data'] * mesh.shape['fsdp']

    def place(x):
        if x.shape[0] % ways:
            raise UserError(
                f'mesh: a batch of {x.shape[0]} rows does not divide over data x fsdp '
                f'= {ways} devices; choose a batch size that is a multiple of {ways}'
            )
        axes = ('batch',) + (None,) * (x.ndim - 1)
        return placement.put(x, NamedSharding(mesh, spec(axes, x.shape, mesh)))

    return jax.tree.map(place, batch)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Constrains the sharding of an activation of any shape inside a jitted step, by
    the logical name of each axis; does nothing without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec(axes, x.shape, mesh))
