"""How far a policy p has moved from its reference q, in nats: the whole family.

`ESTIMATORS` read one sampled token each (drawn from p) and may serve in the reward or
in the loss: k1, k2 and k3 of Schulman ("Approximating KL divergence", 2020), and the
regularisers of Sun et al. (arXiv 2309.09055), whose squared error is k2 and whose
Bregman divergence is k3. `full` sums over the vocabulary.

In the loss an estimator is differentiated as it stands. That of k1 is then no help:
its gradient is the score function, zero on average; k2, k3 and `full` do what they say.
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


def absolute(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """|log p/q|. [B, T], [B, T] -> [B, T]."""
    return jnp.abs(k1(log_p, log_q))


def clamped(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """max(log p/q, 0): k1 that never pays for falling below q. [B, T] twice."""
    return jnp.maximum(k1(log_p, log_q), 0)


def jensen_shannon(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """(max(log p/m, 0) + max(log q/m, 0)) / 2 with m = (p + q) / 2: [B, T] twice.

    The clamped term of a token that Sun et al. penalise; symmetric, and no unbiased
    estimate of the Jensen-Shannon divergence.
    """
    log_p, log_q = as_float(log_p), as_float(log_q)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    return (jnp.maximum(log_p - log_m, 0) + jnp.maximum(log_q - log_m, 0)) / 2


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


ESTIMATORS = {
    'k1': k1,
    'k2': k2,
    'k3': k3,
    'abs': absolute,
    'clamped': clamped,
    'bregman': k3,
    'squared': k2,
    'jensen_shannon': jensen_shannon,
}
FAMILY = (*ESTIMATORS, 'full', 'none')
