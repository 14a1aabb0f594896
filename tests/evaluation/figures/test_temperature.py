import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from perl.evaluation.figures import temperature

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.3, 1.5, 400)
OUTCOMES = (RNG.random(400) < expit(LOGITS)).astype(float)


@given(st.floats(0.01, 100), st.integers(0, 3))
def test_scaled_logits_scale_the_temperature(c, seed):
    logits = np.random.default_rng(seed).normal(0, 2, 50)
    once = temperature.fit(c * logits, expit(logits))
    assert once == pytest.approx(c, rel=1e-6)
    hard = np.where(np.arange(50) % 5, logits > 0, logits < 0)
    one, other = (temperature.fit(x, hard) for x in (logits, c * logits))
    assert other == pytest.approx(c * one, rel=1e-6)


def test_the_temperature_is_the_best_one():
    fitted = temperature.fit(3 * LOGITS, OUTCOMES)
    found = scipy.optimize.minimize_scalar(
        lambda t: temperature.log_loss(3 * LOGITS / t, OUTCOMES),
        bounds=(0.1, 30),
        method='bounded',
        options={'xatol': 1e-9},
    )
    assert fitted == pytest.approx(found.x, rel=1e-4)
    assert 2 < fitted < 4


def test_a_temperature_that_is_nowhere():
    logits = np.array([3.0, -3.0])
    assert temperature.fit(logits, np.array([1.0, 0.0])) == pytest.approx(0.003)
    assert temperature.fit(logits, np.array([0.0, 1.0])) == pytest.approx(3000)
    assert temperature.fit(np.zeros(2), np.array([0.0, 1.0])) == 1
