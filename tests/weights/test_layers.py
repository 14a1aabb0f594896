"""Layers that come one after the other, in one array each."""

import weakref

import numpy as np
import pytest

from perl.weights import Layers


def rows(dtype=np.float32):
    return np.arange(24, dtype=dtype).reshape(4, 2, 3)


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_they_are_stacked_in_their_order(dtype):
    layers = Layers(4)
    for row in rows(dtype):
        layers.add(row)
    whole = layers.whole()
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole, rows(dtype))


def test_only_what_is_made_of_a_layer_is_kept():
    layers = Layers(4, lambda x: {'peak': x.max(), 'codes': x.astype(np.uint8)})
    for row in rows():
        row = row.copy()
        alive = weakref.ref(row)
        layers.add(row)
        del row
        assert alive() is None
    whole = layers.whole()
    np.testing.assert_array_equal(whole['peak'], [5, 11, 17, 23])
    np.testing.assert_array_equal(whole['codes'], rows(np.uint8))


def test_nothing_is_left_once_they_are_handed_over():
    layers = Layers(4)
    for row in rows():
        layers.add(row)
    whole = layers.whole()
    alive = weakref.ref(whole)
    del whole
    assert alive() is None
