"""The rows of a batch that are on the devices of this process, which makes no others.

Where a run has one process, these are all rows.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from perl import sharding
from perl.system import placement


def own_rows(size: int, mesh: Mesh) -> np.ndarray:
    """The places, int64 `[n]` in order, of those of `size` rows that are on devices of
    this process; all of them where the rows do not divide over the devices."""
    where = NamedSharding(mesh, sharding.spec(('batch',), (size,), mesh))
    parts = where.addressable_devices_indices_map((size,)).values()
    return np.unique(np.concatenate([np.arange(size)[part] for part in parts]))


def place(batch: Any, size: int, mesh: Mesh) -> Any:
    """Places the rows that each process has made as one batch on the mesh.

    Args:
        batch: a tree of host arrays `[n, ...]`, of the rows `own_rows(size, mesh)`.
        size: N, the rows of the whole batch.
        mesh: of devices.

    Returns:
        Arrays `[N, ...]`, N divided over `data` and `fsdp`.

    Raises:
        UserError: N is not divisible.
    """
    own = own_rows(size, mesh)
    if len(own) == size:
        return sharding.shard_batch(batch, mesh)

    def whole(x):
        shape = size, *x.shape[1:]
        axes = ('batch', *[None] * (x.ndim - 1))
        where = NamedSharding(mesh, sharding.spec(axes, shape, mesh))

        def part(index):
            rows = np.searchsorted(own, np.arange(size)[index[0]])
            return x[rows][:, *index[1:]]

        return placement.put_parts(part, shape, where)

    return jax.tree.map(whole, batch)
