import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.losses import advantages

RNG = np.random.default_rng(0)
gae = jax.jit(advantages.gae)
REWARDS, VALUES = RNG.normal(size=(2, 3, 6))
MASK = np.arange(6) < np.array([[6], [3], [1]])


def gae_loop(rewards, values, gamma, lam):
    """By the definition: sum over l of (gamma lam)^l delta_{t+l}, for one response."""
    n = len(rewards)
    after = np.append(values[1:], 0)
    delta = rewards + gamma * after - values
    return np.array(
        [
            sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n))
            for t in range(n)
        ]
    )


@pytest.mark.parametrize('gamma', [1.0, 0.9])
@pytest.mark.parametrize('lam', [0.0, 0.95, 1.0])
def test_gae_loop(gamma, lam):
    got, returns = gae(REWARDS, VALUES, MASK, gamma, lam)
    for b, row in enumerate(MASK):
        want = gae_loop(REWARDS[b, row], VALUES[b, row], gamma, lam)
        np.testing.assert_allclose(got[b, row], want, atol=1e-9)
        np.testing.assert_allclose(returns[b, row], want + VALUES[b, row], atol=1e-9)
        np.testing.assert_array_equal(got[b, ~row], 0)
        np.testing.assert_array_equal(returns[b, ~row], 0)


def test_gae_by_hand():
    got, returns = gae(
        jnp.array([[0.0, 1.0, 9.0]]),
        jnp.array([[0.5, 0.25, 9.0]]),
        jnp.array([[True, True, False]]),
        gamma=0.5,
        lam=0.5,
    )
    # delta_1 = 1 - 0.25, delta_0 = 0.5 * 0.25 - 0.5, A_0 = delta_0 + 0.25 delta_1
    np.testing.assert_allclose(got, [[-0.1875, 0.75, 0]], atol=1e-9)
    np.testing.assert_allclose(returns, [[0.3125, 1.0, 0]], atol=1e-9)


@pytest.mark.parametrize('gamma', [1.0, 0.9])
def test_lambda_one_without_values_is_the_return_to_go(gamma):
    want = np.zeros_like(REWARDS)
    for b, t in zip(*np.nonzero(MASK), strict=True):
        later = [k for k in range(t, 6) if MASK[b, k]]
        want[b, t] = sum(gamma ** (k - t) * REWARDS[b, k] for k in later)
    got, _ = gae(REWARDS, np.zeros_like(VALUES), MASK, gamma, 1.0)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_lambda_one_returns_do_not_depend_on_the_values():
    _, returns = gae(REWARDS, VALUES, MASK, 0.9, 1.0)
    want = gae(REWARDS, np.zeros_like(VALUES), MASK, 0.9, 1.0)[1]
    np.testing.assert_allclose(returns, want, atol=1e-9)


def test_lambda_zero_is_the_one_step_error():
    got, _ = gae(REWARDS, VALUES, MASK, 0.9, 0.0)
    after = np.where(MASK, VALUES, 0)[:, 1:]
    after = np.pad(after, ((0, 0), (0, 1)))
    want = np.where(MASK, REWARDS + 0.9 * after - VALUES, 0)
    np.testing.assert_allclose(got, want, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 99))
def test_masked_slots_are_as_if_they_were_not_there(row, seed):
    mask = np.pad(np.array([row]), ((0, 0), (0, 8 - len(row))))
    rewards, values = np.random.default_rng(seed).normal(size=(2, 1, 8))
    rewards, values = (np.where(mask, x, np.nan) for x in (rewards, values))
    got = gae(rewards, values, mask, 0.9, 0.8)[0]
    assert np.isfinite(got).all()
    want = gae_loop(rewards[mask], values[mask], 0.9, 0.8)
    np.testing.assert_allclose(np.asarray(got)[mask], want, atol=1e-9)


@pytest.mark.parametrize('weight', [1.0, 0.95])
def test_shaped_rewards_by_hand(weight):
    mask = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    kl = np.where(mask, [[1.0, 2.0, 3.0, 4.0]] * 3, np.nan)
    got = advantages.shaped_rewards(
        np.array([10.0, 20.0, 30.0]), kl, mask, 0.05, reward_weight=weight
    )
    want = [[0, -0.1, 10 * weight - 0.15, 0], [20 * weight - 0.05, 0, 0, 0], [0] * 4]
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_the_undiscounted_return_is_the_papers_objective():
    scores, kl = RNG.normal(size=3), RNG.normal(size=(3, 6))
    beta = 0.05
    rewards = advantages.shaped_rewards(scores, kl, MASK, beta, 1 - beta)
    to_go = gae(rewards, np.zeros_like(VALUES), MASK, 1.0, 1.0)[1]
    want = (1 - beta) * scores - beta * np.sum(kl, 1, where=MASK)
    np.testing.assert_allclose(to_go[:, 0], want, atol=1e-9)


def test_half_precision_is_computed_in_float32():
    half = jnp.asarray(REWARDS, 'bfloat16')
    got, returns = gae(half, half, MASK, 0.9, 0.8)
    assert got.dtype == returns.dtype == jnp.float32


def test_overlong_by_hand():
    """DAPO: 16 tokens at most, of which the last 4 cost."""
    got = advantages.overlong(np.array([0, 12, 13, 15, 16]), 16, 4)
    np.testing.assert_allclose(got, [0, 0, 0.25, 0.75, 1])
    assert not advantages.overlong(np.array([3, 16]), 16, 0).any()
