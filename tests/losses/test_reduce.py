import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.losses.reduce import as_float, masked_mean, masked_sum, masked_whiten

X = np.array([[1.0, 2.0, np.nan], [4.0, np.inf, 6.0]])
MASK = np.array([[1, 1, 0], [1, 0, 0]], bool)


@pytest.mark.parametrize('mask', [MASK, MASK.astype(np.int32), MASK.astype(np.float32)])
def test_masked_entries_alone_are_read(mask):
    assert masked_sum(X, mask) == 7
    assert masked_mean(X, mask) == pytest.approx(7 / 3)
    np.testing.assert_allclose(masked_sum(X, mask, axis=1), [3, 4])
    np.testing.assert_allclose(masked_mean(X, mask, axis=1), [1.5, 4])


def test_an_empty_mask_gives_zero_and_a_zero_gradient():
    none = np.zeros_like(MASK)
    for reduce in (masked_sum, masked_mean, lambda x, m: masked_whiten(x, m).sum()):
        value, grad = jax.value_and_grad(reduce)(jnp.ones_like(X), none)
        assert value == 0
        np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize(
    'given, want',
    [('bfloat16', 'float32'), ('int32', 'float32'), ('float64', 'float64')],
)
def test_half_precision_is_summed_in_float32(given, want):
    x = jnp.ones((1000,), given)
    assert as_float(x).dtype == masked_sum(x, x).dtype == want
    assert masked_sum(x, x) == 1000


@pytest.mark.parametrize('shift_mean', [True, False])
def test_whitening(shift_mean):
    rng = np.random.default_rng(0)
    x, mask = rng.normal(5, 3, (4, 7)), rng.random((4, 7)) < 0.6
    white = np.asarray(masked_whiten(x, mask, shift_mean, epsilon=0))
    real = x[mask]
    want = (real - real.mean()) / real.std() + (0 if shift_mean else real.mean())
    np.testing.assert_allclose(white[mask], want, atol=1e-9)
    np.testing.assert_array_equal(white[~mask], 0)
    assert white[mask].std() == pytest.approx(1)


def test_whitening_a_constant_stays_finite():
    x = jnp.full((2, 3), 4.0)
    np.testing.assert_allclose(masked_whiten(x, jnp.ones((2, 3))), 0)
    grad = jax.grad(lambda x: masked_whiten(x, jnp.ones((2, 3))).sum())(x)
    assert np.isfinite(grad).all()


@settings(deadline=None, max_examples=30)
@given(
    scale=st.floats(0.1, 10),
    shift=st.floats(-10, 10),
    seed=st.integers(0, 99),
)
def test_whitening_forgets_scale_and_shift(scale, shift, seed):
    x = np.random.default_rng(seed).normal(size=(2, 5))
    mask = np.ones((2, 5), bool)
    want = masked_whiten(x, mask, epsilon=0)
    got = masked_whiten(scale * x + shift, mask, epsilon=0)
    np.testing.assert_allclose(got, want, atol=1e-9)
