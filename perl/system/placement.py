"""Arrays between the memory of the host and a mesh that may span several processes.

A process sees only the parts of an array that are on its own devices. Where all devices
are of this process, `put` is `jax.device_put` and `fetch` is `jax.device_get`.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def put(tree: Any, shardings: Any) -> Any:
    """Places arrays of any shapes; each process moves the parts for its own devices.

    Args:
        tree: of arrays that have the same numbers in every process; an array that is
            spread over the processes already is moved between devices.
        shardings: a tree of the same structure.
    """
    return jax.tree.map(_put, tree, shardings)


def put_parts(read: Any, shape: tuple[int, ...], sharding: Any) -> jax.Array:
    """An array of any shape, of which each process provides the parts that it holds.

    Args:
        read: `index -> numpy array`: the numbers at an index of the whole array.
        shape: of the whole array.
        sharding: where its parts lie.
    """
    return jax.make_array_from_callback(shape, sharding, read)


def fetch(tree: Any) -> Any:
    """The numbers of arrays of any shapes, as numpy arrays in every process.

    What is spread over several processes is gathered, in which all of them take part.
    """
    return jax.tree.map(_fetch, tree)


def _put(x, sharding):
    spread = isinstance(x, jax.Array) and not x.is_fully_addressable
    if sharding.is_fully_addressable or spread:
        return jax.device_put(x, sharding)
    host = np.asarray(x)
    return put_parts(lambda index: host[index], host.shape, sharding)


def _fetch(x):
    if isinstance(x, jax.Array) and not (
        x.is_fully_addressable or x.is_fully_replicated
    ):
        return multihost_utils.process_allgather(x, tiled=True)
    return jax.device_get(x)
