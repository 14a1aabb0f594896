"""Whole numbers with scales and offsets, on groups that are worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from perl.weights.affine import Int4, Int8


def test_a_group_by_hand():
    # 32 inputs from -1 to 2: a step is 3 / 15
    w = np.linspace(-1, 2, 32)[:, None]
    stored = Int4.encode(jnp.asarray(w, jnp.float32), 1, 'float32')
    np.testing.assert_allclose(stored.scale, [[0.2]], rtol=1e-6)
    np.testing.assert_allclose(stored.offset, [[-1]])
    codes = np.round((w[:, 0] + 1) / 0.2)
    np.testing.assert_array_equal(stored.codes[0, :, 0] >> 4, codes[0::2])
    np.testing.assert_array_equal(stored.codes[0, :, 0] & 15, codes[1::2])
    np.testing.assert_allclose(stored.decode()[:, 0], -1 + 0.2 * codes, atol=1e-6)


@pytest.mark.parametrize('kind', [Int4, Int8])
@pytest.mark.parametrize('inputs', [5, 64, 70])
def test_the_error_is_half_a_step(kind, inputs):
    w = np.random.default_rng(0).normal(size=(inputs, 3)).astype(np.float32)
    stored = kind.encode(jnp.asarray(w), 1, 'float32')
    step = np.repeat(stored.scale, kind.group, axis=0)[:inputs]
    assert np.all(np.abs(stored.decode() - w) <= 0.5 * step + 1e-6)
    assert kind is Int4 or np.abs(stored.decode() - w).max() < 0.02


def test_a_group_of_one_number_is_exact():
    w = jnp.full((32, 2), 0.3)
    np.testing.assert_array_equal(Int4.encode(w, 1, 'float32').decode(), w)


def test_shifting_keeps_the_codes():
    rng = np.random.default_rng(1)
    stored = Int4.encode(
        jnp.asarray(rng.normal(size=(64, 3)), jnp.float32), 1, 'float32'
    )
    change = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    shifted = stored.shifted(change)
    assert shifted.codes is stored.codes and shifted.scale is stored.scale
    want = stored.decode() + np.repeat(change, 32, axis=0)
    np.testing.assert_allclose(shifted.decode(), want, atol=1e-6)
