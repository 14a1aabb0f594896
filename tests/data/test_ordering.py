"""The order is a pure stream of permutations, by length or not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data import order


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31), st.booleans())
def test_order_visits_all_of_every_epoch(n, batch_size, seed, by_length):
    lengths = np.arange(n)[::-1] % 7 if by_length else None
    # As many steps as end an epoch and a window of sorted batches at once.
    steps = n * 8
    batches = [order(n, batch_size, seed, step, lengths) for step in range(steps)]
    counts = np.bincount(np.concatenate(batches), minlength=n)
    assert counts.tolist() == [batch_size * 8] * n


def test_order_is_a_permutation_each_epoch():
    first = np.concatenate([order(12, 4, 0, step) for step in range(3)])
    second = np.concatenate([order(12, 4, 0, step) for step in range(3, 6)])
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()


def test_order_is_pure():
    lengths = np.arange(50) % 9
    forwards = [order(50, 8, 3, step, lengths).tolist() for step in range(20)]
    backwards = [order(50, 8, 3, step, lengths).tolist() for step in range(19, -1, -1)]
    assert forwards == backwards[::-1]
    assert forwards != [order(50, 8, 4, step, lengths).tolist() for step in range(20)]


def test_order_by_length_pads_less():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)

    def padding(**options):
        batches = [order(1000, 16, 0, step, **options) for step in range(60)]
        return np.mean([lengths[b].max() - lengths[b].mean() for b in batches])

    assert padding(lengths=lengths) < 0.4 * padding()
