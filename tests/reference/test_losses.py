"""Losses beside TRL's trainers, or torch where TRL has none; values and gradients."""

import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hugging_face import tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.reward_trainer import RewardTrainer

from perl.losses import advantages, group_advantages, kl, policy, preference, value
from perl.losses.reduce import masked_sum, masked_whiten

RNG = np.random.default_rng(0)
B, T = 6, 5
LENGTHS = np.array([5, 2, 4, 1, 3, 5])
MASK = np.arange(T) < LENGTHS[:, None]
BETA = 0.3


def normal(*shape, scale=1.0):
    return (scale * RNG.normal(size=shape)).astype(np.float32)


NEW, OLD, REFERENCE = (normal(B, T, scale=0.3) - 2 for _ in range(3))
SCORES = normal(B)


def both_gradients(ours, theirs, x):
    """Value and gradient of a function of one array, in jax and in torch."""
    mine, slope = jax.value_and_grad(ours)(jnp.asarray(x))
    leaf = tensor(x).requires_grad_()
    total = theirs(leaf)
    total.backward()
    np.testing.assert_allclose(mine, total.item(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, leaf.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('margins', [False, True])
def test_bradley_terry_is_the_loss_of_trl(margins):
    lead = np.abs(normal(B)) * margins

    def theirs(rewards):
        trainer = mock.MagicMock()
        trainer.args.center_rewards_coefficient = None
        trainer._tp_size, trainer._total_train_tokens = 1, 0
        outputs = types.SimpleNamespace(logits=rewards.T.reshape(-1, 1))
        inputs = {'attention_mask': torch.ones(2 * B, 1)}
        if margins:
            inputs['margin'] = tensor(lead)
        return RewardTrainer.compute_loss(trainer, lambda **_: outputs, inputs)

    def ours(rewards):
        return jnp.mean(preference.bradley_terry(rewards[:, 0], rewards[:, 1], lead))

    both_gradients(ours, theirs, normal(B, 2))


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_smoothed_preferences(smoothing):
    """The conservative loss of DPO and of reward models, in torch."""

    def theirs(rewards):
        lead = rewards[:, 0] - rewards[:, 1]
        right, wrong = -F.logsigmoid(lead), -F.logsigmoid(-lead)
        return ((1 - smoothing) * right + smoothing * wrong).mean()

    def ours(rewards):
        first, second = rewards.T
        losses = preference.bradley_terry(first, second, smoothing=smoothing)
        return jnp.mean(losses)

    both_gradients(ours, theirs, normal(B, 2))


def test_ratings_are_binary_cross_entropy():
    labels = RNG.random(B).astype(np.float32)
    both_gradients(
        lambda x: jnp.mean(preference.pointwise(x, labels)),
        lambda x: F.binary_cross_entropy_with_logits(x, tensor(labels)),
        normal(B),
    )


def test_grpo_is_the_loss_of_trl():
    """Mean over responses of the mean over tokens of the clipped surrogate and k3."""
    gains = group_advantages.normalised(SCORES, 3)

    def theirs(new):
        trainer = mock.MagicMock()
        trainer._get_per_token_logps_and_entropies.return_value = (
            new, torch.zeros(B, T), None,
        )  # fmt: skip
        for name, setting in {
            'top_entropy_quantile': 1.0, 'off_policy_mask_threshold': None,
            'importance_sampling_level': 'token', 'beta': BETA, 'loss_type': 'grpo',
            'epsilon_low': 0.2, 'epsilon_high': 0.2, 'aux_loss_enabled': False,
            'use_vllm': False, '_entropy_bonus_enabled': False,
            'use_adaptive_entropy': False, 'current_gradient_accumulation_steps': 1,
        }.items():  # fmt: skip
            setattr(trainer, name, setting)
        trainer.args.use_bias_correction_kl = False
        trainer.args.delta = None
        trainer.model.training = True
        trainer.accelerator.num_processes = 1
        trainer.accelerator.gather = lambda x: x
        inputs = {
            'prompt_ids': torch.zeros(B, 1, dtype=torch.int64),
            'prompt_mask': torch.ones(B, 1),
            'completion_ids': torch.zeros(B, T, dtype=torch.int64),
            'completion_mask': tensor(MASK.astype(np.float32)),
            'advantages': tensor(gains),
            'old_per_token_logps': tensor(OLD),
            'ref_per_token_logps': tensor(REFERENCE),
        }
        return GRPOTrainer._compute_loss(trainer, None, inputs)

    def ours(new):
        token = policy.ppo(new, OLD, jnp.broadcast_to(gains[:, None], (B, T)), 0.2)
        token = token + BETA * kl.k3(new, REFERENCE)
        return jnp.mean(masked_sum(token, MASK, 1) / LENGTHS.astype(np.float32))

    both_gradients(ours, theirs, NEW)


def test_group_advantages_of_torch():
    grouped = tensor(SCORES).view(-1, 3)
    others = (grouped.sum(1, keepdim=True) - grouped) / 2
    np.testing.assert_allclose(
        group_advantages.leave_one_out(SCORES, 3),
        (grouped - others).flatten().numpy(),
        atol=1e-6,
    )
    spread = grouped.std(1, keepdim=True, unbiased=False) + 1e-4
    want = (grouped - grouped.mean(1, keepdim=True)) / spread
    got = group_advantages.normalised(SCORES, 3)
    np.testing.assert_allclose(got, want.flatten().numpy(), rtol=1e-4, atol=1e-5)


def test_generalised_advantages_by_a_loop():
    """PPO's recursion, one response at a time, in float64."""
    rewards, values = normal(B, T), normal(B, T)
    got, returns = advantages.gae(rewards, values, MASK, 0.97, 0.9)
    for row, length in enumerate(LENGTHS):
        last = 0.0
        for t in reversed(range(length)):
            following = values[row, t + 1] if t + 1 < length else 0.0
            error = rewards[row, t] + 0.97 * following - values[row, t]
            last = float(error) + 0.97 * 0.9 * last
            np.testing.assert_allclose(got[row, t], last, rtol=1e-4, atol=1e-5)
            want = last + values[row, t]
            np.testing.assert_allclose(returns[row, t], want, rtol=1e-4, atol=1e-5)


def test_ppo_in_torch():
    """Surrogate, clipped value loss and whitening, as TRL's PPO wrote them."""
    gains, old_values, returns = normal(B, T), normal(B, T), normal(B, T)
    mask = torch.tensor(MASK)

    def whiten(x):
        mean = x[mask].mean()
        variance = ((x[mask] - mean) ** 2).mean()
        return (x - mean) * torch.rsqrt(variance + 1e-8)

    def theirs(new):
        ratio = torch.exp(new - tensor(OLD))
        white = whiten(tensor(gains))
        first, second = -white * ratio, -white * ratio.clamp(0.8, 1.2)
        return torch.max(first, second)[mask].mean()

    def ours(new):
        token = policy.ppo(new, OLD, masked_whiten(gains, MASK), 0.2)
        return masked_sum(token, MASK) / float(MASK.sum())

    both_gradients(ours, theirs, NEW)

    def their_value(values):
        held = torch.clamp(values, tensor(old_values) - 0.2, tensor(old_values) + 0.2)
        plain = (values - tensor(returns)) ** 2
        clipped = (held - tensor(returns)) ** 2
        return 0.5 * torch.max(plain, clipped)[mask].mean()

    def our_value(values):
        token = value.clipped(values, old_values, returns, 0.2)
        return masked_sum(token, MASK) / float(MASK.sum())

    both_gradients(our_value, their_value, normal(B, T))


def test_the_exact_divergence_is_torchs():
    p, q = normal(B, T, 7), normal(B, T, 7)
    want = F.kl_div(
        torch.log_softmax(tensor(q), -1), torch.log_softmax(tensor(p), -1),
        reduction='none', log_target=True,
    ).sum(-1)  # fmt: skip
    np.testing.assert_allclose(kl.full(p, q), want.numpy(), rtol=1e-4, atol=1e-5)
