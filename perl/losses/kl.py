"""KL divergence of a policy p from its reference q, in nats: estimators and control.

`ESTIMATORS` take the log-probs of sampled tokens (drawn from p) under p and q. They
serve in the reward or in the loss: k1, k2 and k3 of Schulman ("Approximating KL
divergence", 2020), and the regularisers of Sun et al. (arXiv 2309.09055). The squared
error of Sun et al. is k2, their Bregman divergence is k3. `full` sums over the
vocabulary.

In the loss, an estimator is differentiated directly. The gradient of k1 is then the
score function, which is zero on average, so k1 has no effect there; use k2, k3 or
`full`.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def k1(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """log p/q: unbiased, can be negative. `[B, T]`, `[B, T]` -> `[B, T]`."""
    log_p, log_q = _floats(log_p, log_q)
    return log_p - log_q


def k2(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """(log p/q)^2 / 2: biased; the bias is small while p and q are close.

    `[B, T]`, `[B, T]` -> `[B, T]`.
    """
    return jnp.square(k1(log_p, log_q)) / 2


def k3(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """q/p - 1 - log q/p: unbiased and never negative.

    `[B, T]`, `[B, T]` -> `[B, T]`. In float32 it is infinite where log q/p > 88, but a
    token that rare is never sampled from p.
    """
    log_ratio = k1(log_p, log_q)
    return jnp.expm1(-log_ratio) + log_ratio


def absolute(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """|log p/q|. `[B, T]`, `[B, T]` -> `[B, T]`."""
    return jnp.abs(k1(log_p, log_q))


def clamped(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """max(log p/q, 0): k1, but 0 for a token that is less likely under p than q.

    `[B, T]`, `[B, T]` -> `[B, T]`.
    """
    return jnp.maximum(k1(log_p, log_q), 0)


def jensen_shannon(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """(max(log p/m, 0) + max(log q/m, 0)) / 2 with m = (p + q) / 2.

    `[B, T]`, `[B, T]` -> `[B, T]`. This is the clamped term of Sun et al. It is
    symmetric, but a biased estimate of the Jensen-Shannon divergence.
    """
    log_p, log_q = _floats(log_p, log_q)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    return (jnp.maximum(log_p - log_m, 0) + jnp.maximum(log_q - log_m, 0)) / 2


def full(
    logits_p: jax.Array, logits_q: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """The exact KL divergence of each next-token distribution.

    `[B, T, V]`, `[B, T, V]` -> `[B, T]`. It is infinite where a token is possible under
    p but not under q. A logit of minus infinity means that a token cannot occur.
    """
    chex.assert_equal_shape((logits_p, logits_q))
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
    """The next KL coefficient, adjusted to bring the observed KL to the target.

    Ziegler et al. 2019 (arXiv 1909.08593, section 2.2): a proportional controller of
    the logarithm; its relative error is clipped to 20 %.

    Args:
        coefficient: the current coefficient, scalar, > 0.
        observed: scalar, the mean KL per episode of the last batch, in nats.
        target: the KL to reach, > 0, in nats.
        horizon: number of episodes after which an unclipped relative error of 1 would
            double the coefficient.
        batch_size: number of episodes in the last batch.

    Returns:
        A scalar.
    """
    error = jnp.clip(as_float(observed) / target - 1, -0.2, 0.2)
    return coefficient * (1 + error * batch_size / horizon)


def _floats(log_p, log_q):
    """Both in float32 (or float64), after a check that their shapes are equal."""
    log_p, log_q = as_float(log_p), as_float(log_q)
    chex.assert_equal_shape((log_p, log_q))
    return log_p, log_q


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
