"""Log-probabilities of tokens and entropies of next-token distributions.

The loss of a language model is minus the `masked_sum` of these log-probabilities.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def log_probs(
    logits: jax.Array, targets: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """The log-probability of each target, `[B, T]` float32.

    Computed as logit minus logsumexp: no array of log-probabilities over the whole
    vocabulary is made, and half-precision logits are not copied.

    Args:
        logits: `[B, T, V]`; logits[:, t] predicts targets[:, t], so the caller shifts.
        targets: `[B, T]` integers in [0, V).
        temperature: the sampling temperature, so that the log-probs of the sampler and
            of teacher forcing agree (arXiv 2403.17031, detail 16).
    """
    chex.assert_rank((logits, targets), (3, 2))
    chex.assert_equal_shape_prefix((logits, targets), 2)
    # Selecting the target before the cast avoids a float32 copy of all logits.
    target = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    normaliser = jax.nn.logsumexp(as_float(logits) / temperature, -1)
    return as_float(target) / temperature - normaliser


def entropy(logits: jax.Array, temperature: float = 1.0) -> jax.Array:
    """The entropy in nats of each next-token distribution: `[B, T, V]` -> `[B, T]`.

    A logit of minus infinity means that a token cannot occur.
    """
    chex.assert_rank(logits, 3)
    log_p = jax.nn.log_softmax(as_float(logits) / temperature)
    p = jnp.exp(log_p)
    return -jnp.sum(p * jnp.where(p > 0, log_p, 0), -1)
