"""How far a policy p has moved from its reference q: KL(p || q), in nats.

k1, k2 and k3 estimate it from one sampled token each (tokens drawn from p; Schulman,
"Approximating KL divergence", 2020); `full` sums over the vocabulary.
"""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def k1(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """log p/q: unbiased, of either sign. [B, T], [B, T] -> [B, T]."""
    return as_float(log_p) - as_float(log_q)


def k2(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """(log p/q)^2 / 2: biased, but little while p and q are near. [B, T] -> [B, T]."""
    return jnp.square(k1(log_p, log_q)) / 2


def k3(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """q/p - 1 - log q/p: unbiased and never negative. [B, T], [B, T] -> [B, T].

    Infinite in float32 past log q/p = 88, so rare a token that p never draws it.
    """
    log_ratio = k1(log_p, log_q)
    return jnp.expm1(-log_ratio) + log_ratio


def full(
    logits_p: jax.Array, logits_q: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """The exact divergence of each next-token distribution: [B, T, V] twice -> [B, T].

    Infinite where p gives a chance to a token that q rules out.
    """
    log_p = jax.nn.log_softmax(as_float(logits_p) / temperature)
    log_q = jax.nn.log_softmax(as_float(logits_q) / temperature)
    p = jnp.exp(log_p)
    return jnp.sum(p * jnp.where(p > 0, log_p - log_q, 0), -1)


def adaptive(
    coefficient: jax.Array | float,
    observed: jax.Array | float,
    target: float,
    horizon: float,
    batch_size: int,
) -> jax.Array:
    """The next KL coefficient, steered so that the observed KL nears the target.

    Ziegler et al. 2019 (arXiv 1909.08593, section 2.2): a proportional controller
    in the logarithm, its error clipped to 20 %.

    Args:
        coefficient: the one in use, > 0.
        observed: mean KL per episode of the last batch, in nats.
        target: the KL to hold, > 0, in nats.
        horizon: episodes over which a full error would double the coefficient.
        batch_size: episodes in the last batch.
    """
    error = jnp.clip(as_float(observed) / target - 1, -0.2, 0.2)
    return coefficient * (1 + error * batch_size / horizon)
