import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from perl.losses import language
from perl.losses.reduce import masked_sum

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (2, 4, 7))
TARGETS = RNG.integers(0, 7, (2, 4))
MASK = np.array([[1, 1, 1, 0], [0, 1, 0, 0]], bool)


@pytest.mark.parametrize('temperature', [1.0, 0.7, 2.0])
def test_log_probs_loop(temperature):
    got = language.log_probs(LOGITS, TARGETS, temperature)
    assert got.dtype == jnp.float64
    for b, t in np.ndindex(2, 4):
        p = scipy.special.softmax(LOGITS[b, t] / temperature)
        assert got[b, t] == pytest.approx(np.log(p[TARGETS[b, t]]), abs=1e-9)


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_entropy_loop(temperature):
    got = language.entropy(LOGITS, temperature)
    for b, t in np.ndindex(2, 4):
        p = scipy.special.softmax(LOGITS[b, t] / temperature)
        assert got[b, t] == pytest.approx(scipy.stats.entropy(p), abs=1e-9)


def test_entropy_of_known_distributions():
    logits = jnp.array([[[0.0, 0, 0, 0], [0, 0, -jnp.inf, -jnp.inf], [900, 0, 0, 0]]])
    got = language.entropy(logits)[0]
    np.testing.assert_allclose(got, [np.log(4), np.log(2), 0], atol=1e-12)
    assert np.isfinite(jax.grad(lambda x: language.entropy(x).sum())(logits)).all()


def cross_entropy(logits, targets, mask):
    """The loss of a language model, as the stages have it."""
    return -masked_sum(language.log_probs(logits, targets), mask)


def test_cross_entropy_is_optax_summed_over_the_mask():
    each = optax.softmax_cross_entropy_with_integer_labels(LOGITS, TARGETS)
    total = cross_entropy(LOGITS, TARGETS, MASK)
    assert total == pytest.approx(float(np.asarray(each)[MASK].sum()), abs=1e-9)


def test_gradient_is_probability_minus_target():
    grad = jax.grad(lambda x: cross_entropy(x, TARGETS, MASK))(LOGITS)
    want = scipy.special.softmax(LOGITS, -1) - np.eye(7)[TARGETS]
    np.testing.assert_allclose(grad, want * MASK[..., None], atol=1e-9)


def test_masked_tokens_change_nothing():
    longer = np.concatenate([LOGITS, np.full((2, 3, 7), np.inf)], 1)
    targets, mask = (np.pad(x, ((0, 0), (0, 3))) for x in (TARGETS, MASK))
    want = cross_entropy(LOGITS, TARGETS, MASK)
    assert cross_entropy(longer, targets, mask) == want


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_extreme_logits_are_finite(dtype):
    logits = jnp.array([[[3e4, -3e4, 0.0], [-1e30, 0.0, 1e30]]], dtype)
    targets = jnp.array([[1, 0]])
    for f in (lambda x: language.log_probs(x, targets), language.entropy):
        value, back = jax.vjp(f, logits)
        assert value.dtype == jnp.float32
        assert np.isfinite(value).all()
        assert np.isfinite(back(jnp.ones_like(value))[0].astype('float32')).all()


def test_half_precision_loses_nothing_but_the_inputs_rounding():
    half = jnp.asarray(LOGITS, 'bfloat16')
    got = language.log_probs(half, TARGETS, 0.7)
    want = language.log_probs(half.astype('float64'), TARGETS, 0.7)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)
