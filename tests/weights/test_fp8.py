"""e4m3 with a scale for each output."""

import jax.numpy as jnp
import numpy as np

from perl.weights.fp8 import Fp8


def test_an_output_by_hand():
    # the largest of an output is 448 steps; e4m3 has 1.125 and 1.25, not 1.2
    w = jnp.array([[448.0, 896.0], [1.2, 2.25], [-448.0, 0.0]])
    stored = Fp8.encode(w, 1, 'float32')
    np.testing.assert_array_equal(stored.scale, [1, 2])
    want = [[448, 896], [1.25, 2.25], [-448, 0]]
    np.testing.assert_array_equal(stored.decode(), want)


def test_the_error_is_a_sixteenth():
    """Three bits of fraction; below 2^-6 of a scale steps are of one size."""
    w = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32)
    stored = Fp8.encode(jnp.asarray(w), 2, 'float32')
    limit = np.maximum(np.abs(w) / 16, np.asarray(stored.scale) * 2.0**-10)
    assert np.all(np.abs(stored.decode() - w) <= limit * 1.001)


def test_zeros_stay_zeros():
    stored = Fp8.encode(jnp.zeros((5, 2)), 1, 'float32')
    np.testing.assert_array_equal(stored.decode(), np.zeros((5, 2)))
