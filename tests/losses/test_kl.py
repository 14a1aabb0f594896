import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.losses import kl, language

RNG = np.random.default_rng(0)
P, Q = RNG.normal(0, 2, (2, 3, 5, 6))  # [B, T, V] each
log_probs = st.floats(-15, 0)


def divergences():
    p, q = scipy.special.softmax(P, -1), scipy.special.softmax(Q, -1)
    return p, q, scipy.stats.entropy(p, q, axis=-1)


def test_estimators_by_hand():
    log_p, log_q = np.log([[0.5, 0.2]]), np.log([[0.25, 0.8]])
    np.testing.assert_allclose(kl.k1(log_p, log_q), np.log([[2, 0.25]]), atol=1e-9)
    np.testing.assert_allclose(
        kl.k2(log_p, log_q), np.log([[2, 0.25]]) ** 2 / 2, atol=1e-9
    )
    want = [[0.5 - 1 + np.log(2), 4 - 1 + np.log(0.25)]]
    np.testing.assert_allclose(kl.k3(log_p, log_q), want, atol=1e-9)


def test_full_and_the_expected_k1_and_k3_are_the_divergence():
    p, q, want = divergences()
    np.testing.assert_allclose(kl.full(P, Q), want, atol=1e-9)
    for estimator in (kl.k1, kl.k3):
        expected = np.sum(p * np.asarray(estimator(np.log(p), np.log(q))), -1)
        np.testing.assert_allclose(expected, want, atol=1e-9)


def test_k2_agrees_to_second_order():
    near = P + 1e-3 * (Q - P)
    log_p, log_q = (jax.nn.log_softmax(jnp.asarray(x)) for x in (P, near))
    expected = np.sum(np.exp(log_p) * kl.k2(log_p, log_q), -1)
    np.testing.assert_allclose(expected, kl.full(P, near), rtol=1e-2)


def test_the_regularisers_of_sun_et_al_by_hand():
    """p = .5 and .2 against q = .25 and .8; the terms as the paper's code has them."""
    p, q = np.array([[0.5, 0.2]]), np.array([[0.25, 0.8]])
    log_p, log_q = np.log(p), np.log(q)
    m = (p + q) / 2
    want = {
        'abs': np.abs(log_p - log_q),
        'clamped': [[np.log(2), 0]],
        'bregman': (q / p - 1) + log_p - log_q,
        'squared': 0.5 * (log_p - log_q) ** 2,
        'jensen_shannon': 0.5
        * (np.maximum(np.log(p / m), 0) + np.maximum(np.log(q / m), 0)),
    }
    for name, term in want.items():
        got = kl.ESTIMATORS[name](log_p, log_q)
        np.testing.assert_allclose(got, term, atol=1e-9, err_msg=name)
    assert set(kl.FAMILY) == {'k1', 'k2', 'k3', 'full', 'none', *want}


@settings(deadline=None, max_examples=50)
@given(log_probs, log_probs)
def test_jensen_shannon_is_symmetric_bounded_and_zero_at_equality(log_p, log_q):
    term = kl.jensen_shannon(log_p, log_q)
    assert term == kl.jensen_shannon(log_q, log_p)
    assert 0 <= term <= np.log(2) / 2 + 1e-9
    assert kl.jensen_shannon(log_p, log_p) == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(log_probs, log_probs)
def test_clamped_and_absolute_split_k1(log_p, log_q):
    ratio, back = kl.clamped(log_p, log_q), kl.clamped(log_q, log_p)
    assert ratio - back == pytest.approx(float(kl.k1(log_p, log_q)), abs=1e-12)
    assert ratio + back == pytest.approx(float(kl.absolute(log_p, log_q)), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(log_probs, log_probs)
def test_k3_is_never_negative_and_zero_at_equality(log_p, log_q):
    assert kl.k3(log_p, log_q) >= 0
    assert kl.k3(log_p, log_p) == kl.k1(log_p, log_p) == kl.k2(log_p, log_p) == 0


def test_full_against_a_uniform_reference_is_the_missing_entropy():
    got = kl.full(P, np.zeros_like(P), temperature=0.7)
    np.testing.assert_allclose(got, np.log(6) - language.entropy(P, 0.7), atol=1e-9)


def test_full_of_impossible_tokens():
    p = jnp.array([[[0.0, 0.0, -jnp.inf]]])
    q = jnp.array([[[0.0, np.log(3), -jnp.inf]]])
    want = -0.5 * np.log(0.25 * 0.75) - np.log(2)
    assert kl.full(p, q)[0, 0] == pytest.approx(want, abs=1e-9)
    assert np.isfinite(jax.grad(lambda x: kl.full(x, q).sum())(p)).all()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_extreme_logits_are_finite(dtype):
    p = jnp.array([[[3e4, -3e4, 0.0]]], dtype)
    q = jnp.array([[[-3e4, 3e4, 0.0]]], dtype)
    value, grad = jax.value_and_grad(lambda x: kl.full(x, q).sum())(p)
    assert value.dtype == jnp.float32
    assert value == pytest.approx(6e4, rel=1e-2)
    assert np.isfinite(grad.astype('float32')).all()


@pytest.mark.parametrize(
    'observed, factor',
    [
        (6.0, 1.0),  # on target
        (6.6, 1 + 0.1 * 64 / 10_000),  # 10 % above
        (600.0, 1 + 0.2 * 64 / 10_000),  # held at 20 %
        (0.0, 1 - 0.2 * 64 / 10_000),
        (-3.0, 1 - 0.2 * 64 / 10_000),  # an estimate may be negative
    ],
)
def test_adaptive_by_hand(observed, factor):
    got = kl.adaptive(0.15, observed, target=6.0, horizon=10_000, batch_size=64)
    assert float(got) == pytest.approx(0.15 * factor, abs=1e-9)
