"""Advantages of tokens, from the scores of whole responses.

Arrays are `[B, T]`, and the mask is True on the tokens of the responses. Other slots
(prompt and padding) are skipped: no value is read from them, and no value is
bootstrapped past the end of a response.
"""

import chex
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
    """The reward of each token: minus beta times its KL, plus the score of the response
    at its last token.

    Args:
        scores: `[B]`, the reward of each whole response.
        kl: `[B, T]`, an estimate for each token, in nats.
        mask: bool `[B, T]`; a row without a response token gets reward 0.
        coefficient: beta, the strength of the KL penalty.
        reward_weight: factor of the score: 1 as in InstructGPT, and 1 - beta for the
            objective of PERL, (1 - beta) r - beta KL (arXiv 2403.10704, A.1.3).

    Returns:
        `[B, T]` float32, 0 outside the mask.
    """
    chex.assert_rank((scores, kl), (1, 2))
    chex.assert_equal_shape((kl, mask))
    chex.assert_equal_shape_prefix((scores, kl), 1)
    mask = jnp.asarray(mask, bool)
    slots = jnp.arange(mask.shape[1])[None]
    last = jnp.max(jnp.where(mask, slots, -1), 1, keepdims=True)  # [B, 1]
    final = jnp.where(slots == last, reward_weight * as_float(scores)[:, None], 0)
    return jnp.where(mask, final - coefficient * as_float(kl), 0)


def overlong(lengths: jax.Array, most: int, tokens: int) -> jax.Array:
    """What a response pays for its length, from 0 to 1.

    `[B]` int -> `[B]` float32. Nothing up to `most - tokens`, then linearly up to 1 at
    `most` (DAPO's soft overlong punishment, arXiv 2503.14476, eq. 13).

    Args:
        lengths: tokens of each response.
        most: tokens that a response can have.
        tokens: the last ones of these, which are paid for; 0 for none.
    """
    if not tokens:
        return jnp.zeros(lengths.shape)
    return jnp.clip((as_float(lengths) - (most - tokens)) / tokens, 0, 1)


def gae(
    rewards: jax.Array, values: jax.Array, mask: jax.Array, gamma: float, lam: float
) -> tuple[jax.Array, jax.Array]:
    """Generalised advantage estimation (Schulman et al., arXiv 1506.02438, eq. 16).

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1}

    Args:
        rewards: `[B, T]`.
        values: `[B, T]`; V_t is the value of the state before token t.
        mask: bool `[B, T]`.
        gamma: discount factor per token.
        lam: lambda; 0 gives the one-step error, 1 the return minus the value.

    Returns:
        Advantages, and returns (advantages + values): `[B, T]` float32 each, 0 outside
        the mask.
    """
    chex.assert_rank(mask, 2)
    chex.assert_equal_shape((rewards, values, mask))
    mask = jnp.asarray(mask, bool)
    rewards = jnp.where(mask, as_float(rewards), 0)
    values = jnp.where(mask, as_float(values), 0)

    def backward(carry, column):
        next_value, next_advantage = carry
        reward, value, in_mask = column
        delta = reward + gamma * next_value - value
        advantage = delta + gamma * lam * next_advantage
        carry = (
            jnp.where(in_mask, value, next_value),
            jnp.where(in_mask, advantage, next_advantage),
        )
        return carry, jnp.where(in_mask, advantage, 0)

    zero = jnp.zeros(mask.shape[0], jnp.result_type(rewards, values))
    columns = (rewards.T, values.T, mask.T)
    _, advantages = jax.lax.scan(backward, (zero, zero), columns, reverse=True)
    return advantages.T, advantages.T + values
