"""Rows of this process; `tests/test_hosts_runs.py` has two processes."""

import numpy as np
import pytest

from perl import sharding
from perl.data.own_rows import own_rows, place
from perl.system.errors import UserError

MESH = sharding.make_mesh(data=2, fsdp=2, tensor=2)


@pytest.mark.parametrize('size', [8, 4, 6, 1])
def test_one_process_has_all_rows(size):
    assert own_rows(size, MESH).tolist() == list(range(size))


def test_place():
    rows = {'tokens': np.arange(16).reshape(8, 2), 'labels': np.arange(8.0)}
    placed = place(rows, 8, MESH)
    wanted = sharding.shard_batch(rows, MESH)
    for name, x in wanted.items():
        assert placed[name].sharding == x.sharding
        np.testing.assert_array_equal(placed[name], x)
    with pytest.raises(UserError, match='a batch of 6 rows does not divide'):
        place(np.zeros((6, 2)), 6, MESH)
