"""DPO by hand, and its identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.losses import direct, preference

RNG = np.random.default_rng(0)
CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = RNG.normal(-20, 4, (4, 7))


def test_by_hand():
    got = direct.margins(CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED, 0.3)
    want = 0.3 * ((CHOSEN - REF_CHOSEN) - (REJECTED - REF_REJECTED))
    np.testing.assert_allclose(got, want, atol=1e-9)
    np.testing.assert_allclose(
        direct.dpo(got), -np.log(1 / (1 + np.exp(-want))), atol=1e-9
    )


def test_it_is_bradley_terry_of_implicit_rewards():
    chosen, rejected = 0.3 * (CHOSEN - REF_CHOSEN), 0.3 * (REJECTED - REF_REJECTED)
    margins = direct.margins(CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED, 0.3)
    want = preference.bradley_terry(chosen, rejected)
    np.testing.assert_allclose(direct.dpo(margins), want, atol=1e-9)


def test_a_policy_at_its_reference_has_log_2():
    margins = direct.margins(CHOSEN, REJECTED, CHOSEN, REJECTED, 0.1)
    np.testing.assert_allclose(direct.dpo(margins), np.log(2), atol=1e-12)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.4])
def test_smoothing_mixes_both_orders(smoothing):
    margins = jnp.asarray(RNG.normal(size=5))
    got = direct.dpo(margins, smoothing=smoothing)
    want = (1 - smoothing) * direct.dpo(margins) + smoothing * direct.dpo(-margins)
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize('sure', [0.0, 0.3, 0.5, 1.0])
def test_a_soft_label_is_a_cross_entropy(sure):
    margins = RNG.normal(size=5)
    p = 1 / (1 + np.exp(-margins))
    want = -sure * np.log(p) - (1 - sure) * np.log(1 - p)
    np.testing.assert_allclose(direct.dpo(margins, sure), want, atol=1e-9)


def test_the_gradient_weighs_pairs_that_are_wrong():
    """beta sigmoid(-margin), of the difference of log-probs (eq. 7 and after)."""
    margin = direct.margins(CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED, 0.3)
    grad = jax.grad(
        lambda x: direct.dpo(
            direct.margins(x, REJECTED, REF_CHOSEN, REF_REJECTED, 0.3)
        ).sum()
    )(jnp.asarray(CHOSEN))
    np.testing.assert_allclose(grad, -0.3 / (1 + np.exp(margin)), atol=1e-9)
