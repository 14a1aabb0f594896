"""The order is a pure stream of permutations, by length or not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data import order
from perl.data.ordering import WINDOW


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31), st.booleans())
def test_order_visits_all_of_every_epoch(n, batch_size, seed, by_length):
    lengths = np.arange(n)[::-1] % 7 if by_length else None
    # As many steps as end an epoch and a window of sorted batches at once.
    steps = n * WINDOW
    batches = [order(n, batch_size, seed, step, lengths) for step in range(steps)]
    counts = np.bincount(np.concatenate(batches), minlength=n)
    assert counts.tolist() == [batch_size * WINDOW] * n


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


@pytest.mark.parametrize(
    ('n', 'batch_size'), [(20, 16), (10, 16), (40, 16), (100, 16), (57, 8)]
)
def test_order_by_length_repeats_no_more(n, batch_size):
    lengths = np.random.default_rng(1).integers(1, 5, n)

    def repeats(**options):
        steps = range(25 * WINDOW)
        batches = [order(n, batch_size, 0, step, **options) for step in steps]
        return np.mean([batch_size - len(set(batch.tolist())) for batch in batches])

    assert repeats(lengths=lengths) == repeats()


def test_order_by_length_of_an_epoch_is_as_it_was():
    # a window of batches within an epoch: sorted, cut, and their batches shuffled
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    plain = np.concatenate([order(1000, 4, 0, step) for step in range(WINDOW)])
    got = [order(1000, 4, 0, step, lengths) for step in range(WINDOW)]
    want = plain[np.argsort(lengths[plain], kind='stable')].reshape(WINDOW, 4)
    assert sorted(x.tolist() for x in got) == sorted(want.tolist())
    assert [x.tolist() for x in got] != want.tolist()


def test_order_by_length_pads_less():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)

    def padding(**options):
        batches = [order(1000, 16, 0, step, **options) for step in range(60)]
        return np.mean([lengths[b].max() - lengths[b].mean() for b in batches])

    assert padding(lengths=lengths) < 0.4 * padding()
