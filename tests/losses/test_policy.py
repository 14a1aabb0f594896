import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.losses import policy
from perl.losses.reduce import masked_mean

RNG = np.random.default_rng(0)
NEW, OLD, ADVANTAGES = RNG.normal(0, 0.4, (3, 4, 5))


def test_ppo_by_hand():
    ratio = np.array([[0.5, 0.9, 1.5, 0.5, 1.5]])
    gain = np.array([[1.0, 1.0, 1.0, -2.0, -2.0]])
    loss = policy.ppo(np.log(ratio), np.zeros_like(ratio), gain, 0.2)
    np.testing.assert_allclose(loss, [[-0.5, -0.9, -1.2, 1.6, 3.0]], atol=1e-9)
    held = policy.clip_fraction(np.log(ratio), np.zeros_like(ratio), gain, 0.2)
    np.testing.assert_array_equal(held, [[0, 0, 1, 1, 0]])
    assert masked_mean(held, np.ones_like(held)) == pytest.approx(0.4)


def test_ppo_loop():
    got = policy.ppo(NEW, OLD, ADVANTAGES, 0.2)
    for b, t in np.ndindex(4, 5):
        ratio, a = np.exp(NEW[b, t] - OLD[b, t]), ADVANTAGES[b, t]
        held = min(max(ratio, 0.8), 1.2)
        assert got[b, t] == pytest.approx(-min(ratio * a, held * a), abs=1e-9)


def test_a_token_whose_gain_is_clipped_has_no_gradient():
    grad = jax.grad(lambda x: policy.ppo(x, OLD, ADVANTAGES, 0.2).sum())(NEW)
    held = policy.clip_fraction(NEW, OLD, ADVANTAGES, 0.2) > 0
    assert 0 < held.sum() < held.size
    np.testing.assert_array_equal(grad == 0, held)


def test_ppo_at_ratio_one_has_the_gradient_of_reinforce():
    ppo = jax.grad(lambda x: policy.ppo(x, NEW, ADVANTAGES, 0.2).sum())(NEW)
    reinforce = jax.grad(lambda x: policy.reinforce(x, ADVANTAGES).sum())(NEW)
    np.testing.assert_allclose(ppo, reinforce, atol=1e-9)
    np.testing.assert_allclose(reinforce, -ADVANTAGES, atol=1e-9)
    np.testing.assert_allclose(policy.ppo(NEW, NEW, ADVANTAGES, 0.2), -ADVANTAGES)


def test_reinforce_is_minus_log_prob_times_advantage():
    np.testing.assert_allclose(policy.reinforce(NEW, ADVANTAGES), -NEW * ADVANTAGES)


def test_advantages_and_old_log_probs_get_no_gradient():
    old, gain = jax.grad(
        lambda old, gain: policy.ppo(NEW, old, gain, 0.2).sum(), argnums=(0, 1)
    )(OLD, ADVANTAGES)
    reinforce = jax.grad(lambda gain: policy.reinforce(NEW, gain).sum())(ADVANTAGES)
    for grad in (old, gain, reinforce):
        np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize('log_ratio', [1e4, -1e4])
@pytest.mark.parametrize('gain', [1.0, -1.0])
def test_extreme_ratios_are_finite(log_ratio, gain):
    x, old, gain = jnp.float32(log_ratio), jnp.float32(0), jnp.float32(gain)
    value, grad = jax.value_and_grad(policy.ppo)(x, old, gain, 0.2)
    assert value.dtype == jnp.float32
    assert np.isfinite(value) and np.isfinite(grad)
