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


def test_a_wider_range_above_1_by_hand():
    """DAPO's clip-higher: 1.25 is in the range above, 1.5 is not, 0.5 is below."""
    ratio = np.array([[1.25, 1.5, 0.5]])
    ones = np.ones_like(ratio)
    loss = policy.ppo(np.log(ratio), 0 * ratio, ones, (0.2, 0.28))
    np.testing.assert_allclose(loss, [[-1.25, -1.28, -0.5]], atol=1e-9)
    loss = policy.ppo(np.log(ratio), 0 * ratio, -ones, (0.2, 0.28))
    np.testing.assert_allclose(loss, [[1.25, 1.5, 0.8]], atol=1e-9)
    same = policy.ppo(NEW, OLD, ADVANTAGES, (0.2, 0.2))
    np.testing.assert_array_equal(same, policy.ppo(NEW, OLD, ADVANTAGES, 0.2))


def test_cispo_by_hand():
    ratio, gain = np.array([[0.5, 1.5, 4.0]]), np.array([[1.0, -2.0, 3.0]])
    new = np.log(ratio) - 2
    got, grad = jax.value_and_grad(
        lambda x: policy.cispo(x, jnp.full(x.shape, -2.0), gain, (1.0, 1.0)).sum()
    )(new)
    weights = np.array([[0.5, 1.5, 2.0]])
    np.testing.assert_allclose(got, -(weights * gain * new).sum(), atol=1e-9)
    np.testing.assert_allclose(grad, -weights * gain, atol=1e-9)  # none is lost


def test_cut_fraction_by_hand():
    """Whatever the sign of the advantage."""
    ratio = np.array([[0.5, 1.0, 10.0, 0.9]])
    got = policy.cut_fraction(np.log(ratio), 0 * ratio, (0.2, 5.0))
    np.testing.assert_array_equal(got, [[1, 0, 1, 0]])


def test_cispo_at_ratio_one_has_the_gradient_of_reinforce():
    cispo = jax.grad(lambda x: policy.cispo(x, NEW, ADVANTAGES, 0.2).sum())(NEW)
    np.testing.assert_allclose(cispo, -ADVANTAGES, atol=1e-9)


MASK = np.arange(5)[None] < np.array([5, 3, 1, 2])[:, None]


def test_sequence_log_ratios_equal_a_loop():
    got = policy.sequence_log_ratios(NEW, OLD, MASK)
    for row, new, old, mask in zip(got, NEW, OLD, MASK, strict=True):
        want = (new - old)[mask].mean()
        np.testing.assert_allclose(row, np.full(5, want), atol=1e-9)


def test_the_ratio_of_one_token_is_its_own():
    """GSPO of responses of one token is PPO."""
    one = np.arange(5)[None] < np.ones((4, 1))
    got = policy.sequence_log_ratios(NEW, OLD, one)
    gains = ADVANTAGES[:, :1]
    ours = policy.ppo(got[:, :1], np.zeros((4, 1)), gains, 0.2)
    want = policy.ppo(NEW[:, :1], OLD[:, :1], gains, 0.2)
    np.testing.assert_allclose(ours, want, atol=1e-9)


@pytest.mark.parametrize(
    ('masked', 'want'), [(False, [[0.5, 1, 1.5, 2, 2]]), (True, [[0.5, 1, 1.5, 2, 0]])]
)
def test_importance_weights_by_hand(masked, want):
    ratio = np.array([[0.5, 1.0, 1.5, 2.0, 3.0]])
    got = policy.importance_weights(np.log(ratio), 0 * ratio, 2 + 1e-9, masked)
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize('masked', [False, True])
def test_on_policy_the_weights_are_1_exactly(masked):
    weights = policy.importance_weights(OLD, OLD, 1.0, masked)
    assert (weights == 1).all()
    assert policy.effective_share(weights, MASK) == 1


def test_effective_share_by_hand():
    weights = jnp.array([[1.0, 1.0, 2.0, 99.0]])
    mask = jnp.array([[True, True, True, False]])
    assert policy.effective_share(weights, mask) == pytest.approx(16 / (3 * 6))
    assert policy.effective_share(jnp.zeros((1, 4)), mask) == 0
