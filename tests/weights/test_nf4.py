"""NF4 on blocks that are worked out by hand, and its two codebooks."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.weights import Leaf
from perl.weights.nf4 import DYNAMIC, LEVELS, Nf4


def encode(w):
    return Nf4.encode(jnp.asarray(w, jnp.float32), 1, 'float32')


def test_the_levels_are_quantiles_of_a_normal():
    """`create_normal_map(offset=0.9677083)` of bitsandbytes."""
    icdf = np.vectorize(statistics.NormalDist().inv_cdf)
    offset = 0.9677083
    above = icdf(np.linspace(offset, 0.5, 9)[:-1])
    below = -icdf(np.linspace(offset, 0.5, 8)[:-1])
    want = np.sort([*above, 0.0, *below])
    np.testing.assert_allclose(LEVELS, want / want.max(), atol=1e-6)


def test_the_levels_of_scales():
    assert len(DYNAMIC) == 256 and np.all(np.diff(DYNAMIC) > 0)
    # one fraction at the smallest exponent: the middle of [0.1, 1], times 10^-6
    assert DYNAMIC[127] == 0 and np.isclose(DYNAMIC[128], 0.55e-6)
    # 64 fractions at the largest: steps of 0.9 / 64 from 0.1
    assert DYNAMIC[255] == 1 and np.isclose(DYNAMIC[254], 1 - 0.45 / 64)
    assert np.isclose(DYNAMIC[0], -(1 - 0.45 / 64))


def test_a_block_of_levels_is_exact():
    w = 0.5 * np.tile(LEVELS, 4)[:, None]
    stored = encode(w)
    # two to a byte, the first in the upper four bits: 0x01, 0x23, ..., 0xef
    pairs = [16 * i + i + 1 for i in range(0, 16, 2)]
    np.testing.assert_array_equal(stored.codes[0, :, 0], np.tile(pairs, 4))
    assert float(stored.scale_mean) == 0.5 and float(stored.scale_peaks[0]) == 0
    np.testing.assert_array_equal(stored.decode(), w.astype(np.float32))


def test_a_weight_goes_to_the_nearest_level():
    # halfway between levels 7 (0) and 8 (0.0796), and 14 (0.723) and 15 (1)
    x = [0.0397, 0.0399, 0.8614, 0.8616, -0.0455, -0.0456]
    stored = encode(np.array([1.0, *x, *[0.0] * 57])[:, None])
    codes = np.asarray(stored.codes)[0, :4, 0]
    assert [*(codes >> 4), *(codes & 15)] == [15, 8, 15, 6, 7, 14, 7, 7]


def test_scales_are_stored_less_their_mean():
    # two blocks with scales 1 and 3: mean 2, differences -1 and 1, of which the
    # larger is a level and -1 goes to the lowest one
    w = np.zeros((128, 1))
    w[0], w[64] = 1, 3
    stored = encode(w)
    assert float(stored.scale_mean) == 2 and float(stored.scale_peaks[0]) == 1
    np.testing.assert_array_equal(stored.scale_codes[:, 0], [0, 255])
    np.testing.assert_allclose(stored.scales()[:, 0], [2 - (1 - 0.45 / 64), 3])
    np.testing.assert_allclose(stored.decode()[0, 0], 2 - (1 - 0.45 / 64))


def test_blocks_of_scales_follow_one_output():
    """5 outputs of 64 blocks: the first 256 scales are those of 4 outputs."""
    w = np.ones((64 * 64, 5))
    w[:, 4] = 2  # the last output alone is in the second block of scales
    stored = encode(w)
    mean = (4 + 2) / 5
    assert stored.scale_peaks.shape == (2,)
    np.testing.assert_allclose(stored.scale_peaks, [mean - 1, 2 - mean], rtol=1e-5)
    np.testing.assert_array_equal(stored.scale_codes[:, 4], np.full(64, 255))


def test_zeros_stay_zeros():
    np.testing.assert_array_equal(encode(np.zeros((64, 2))).decode(), np.zeros((64, 2)))


def test_at_most_56_hundredths_of_a_byte():
    leaf = Leaf((2, 576, 9, 64), ('layers', 'embed', 'heads', 'head'), 1, 1.0)
    arrays = jax.tree.leaves(
        Nf4.declare(leaf, 'bfloat16'), is_leaf=lambda x: isinstance(x, Leaf)
    )
    held = sum(np.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arrays)
    assert 0.5 < held / np.prod(leaf.shape) < 0.56


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 200), st.integers(1, 3), st.integers(0, 9))
def test_the_error_of_any_shape_is_that_of_the_levels(inputs, outputs, seed):
    w = np.random.default_rng(seed).normal(size=(inputs, outputs))
    stored = encode(w)
    got, scales = stored.decode(), np.asarray(stored.scales())
    assert got.shape == w.shape
    widest = np.max(np.diff(LEVELS)) / 2
    # the scale itself is off by at most half a step of its own levels
    off = float(stored.scale_peaks.max()) * np.max(np.diff(DYNAMIC))
    limit = np.repeat(scales + off, 64, axis=0)[:inputs] * widest + off
    assert np.all(np.abs(got - w) <= limit + 1e-6)
