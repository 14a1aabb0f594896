"""From the scores of responses to the advantage of every token.

All arrays are [B, T] with mask True on the response tokens. Slots outside the mask
(the prompt, the padding) are passed over as if they were not there: nothing is read
from them, and nothing is bootstrapped past the end of a response.
"""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def shaped_rewards(
    scores: jax.Array,
    kl: jax.Array,
    mask: jax.Array,
    coefficient: jax.Array | float,
    reward_weight: jax.Array | float = 1.0,
) -> jax.Array:
    """The reward of each token: minus its KL, and the score at the last real one.

    Args:
        scores: [B], the reward model's verdict on the whole response.
        kl: [B, T], an estimate per token.
        mask: [B, T]; a row without a token gets no reward.
        coefficient: beta, the price of a nat.
        reward_weight: 1 as in InstructGPT; PERL's objective, (1 - beta) r - beta KL
            (arXiv 2403.10704, A.1.3), takes 1 - beta.

    Returns:
        [B, T], 0 outside the mask.
    """
    mask = jnp.asarray(mask, bool)
    slots = jnp.arange(mask.shape[1])
    last = jnp.max(jnp.where(mask, slots, -1), 1, keepdims=True)  # [B, 1]
    final = jnp.where(slots == last, reward_weight * as_float(scores)[:, None], 0)
    return jnp.where(mask, final - coefficient * as_float(kl), 0)


def gae(
    rewards: jax.Array, values: jax.Array, mask: jax.Array, gamma: float, lam: float
) -> tuple[jax.Array, jax.Array]:
    """Generalised advantage estimation (Schulman et al., arXiv 1506.02438, eq. 16).

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1}

    Args:
        rewards: [B, T].
        values: [B, T], V_t is what the state before token t is worth.
        mask: [B, T].
        gamma: discount per token.
        lam: 0 is the one-step error, 1 the return minus the value.

    Returns:
        Advantages, and returns (advantages + values), [B, T] and 0 outside the mask.
    """
    mask = jnp.asarray(mask, bool)
    rewards = jnp.where(mask, as_float(rewards), 0)
    values = jnp.where(mask, as_float(values), 0)

    def back(carry, now):
        next_value, next_advantage = carry
        reward, value, real = now
        delta = reward + gamma * next_value - value
        advantage = delta + gamma * lam * next_advantage
        carry = (
            jnp.where(real, value, next_value),
            jnp.where(real, advantage, next_advantage),
        )
        return carry, jnp.where(real, advantage, 0)

    zero = jnp.zeros(mask.shape[0], jnp.result_type(rewards, values))
    columns = (rewards.T, values.T, mask.T)
    _, advantages = jax.lax.scan(back, (zero, zero), columns, reverse=True)
    return advantages.T, advantages.T + values


def returns_to_go(rewards: jax.Array, mask: jax.Array, gamma: float = 1.0) -> jax.Array:
    """The discounted sum of this reward and all later ones: [B, T] -> [B, T]."""
    return gae(rewards, jnp.zeros_like(rewards), mask, gamma, 1.0)[1]
