"""Arrays go to a mesh and come back."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from perl import sharding
from perl.system import placement

MESH = sharding.make_mesh(data=4)
ROWS = NamedSharding(MESH, PartitionSpec('data'))
X = np.arange(24, dtype=np.float32).reshape(8, 3)


def test_there_and_back():
    tree = {'x': X, 'y': (jnp.asarray(X), 3)}
    placed = placement.put({'x': X, 'y': jnp.asarray(X)}, {'x': ROWS, 'y': ROWS})
    assert all(x.sharding == ROWS for x in jax.tree.leaves(placed))
    back = placement.fetch({**placed, 'y': (placed['y'], 3)})
    assert jax.tree.all(jax.tree.map(np.array_equal, back, tree))
    assert isinstance(back['x'], np.ndarray)


def test_parts():
    asked = []

    def read(index):
        asked.append(index)
        return X[index]

    placed = placement.put_parts(read, X.shape, ROWS)
    np.testing.assert_array_equal(placed, X)
    assert sorted(rows.start for rows, _ in asked) == [0, 2, 4, 6]
