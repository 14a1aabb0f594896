"""Log-probabilities of tokens, and the loss of a language model."""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float, masked_sum


def log_probs(
    logits: jax.Array, targets: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """The log-probability of each target, [B, T].

    Written as logit minus logsumexp: no array of log-probabilities over the whole
    vocabulary is made, and half-precision logits are read as they are.

    Args:
        logits: [B, T, V], where logits[:, t] predicts targets[:, t]: the caller shifts.
        targets: [B, T] integers in [0, V).
        temperature: the one that the tokens were sampled at, so that sampler and
            teacher-forced log-probabilities agree (arXiv 2403.17031, detail 16).
    """
    # The target is picked before the cast, so that no float32 copy of the logits is
    # made for its sake alone.
    target = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    normaliser = jax.nn.logsumexp(as_float(logits) / temperature, -1)
    return as_float(target) / temperature - normaliser


def entropy(logits: jax.Array, temperature: float = 1.0) -> jax.Array:
    """The entropy in nats of each next-token distribution: [B, T, V] -> [B, T].

    A logit of minus infinity is a token that cannot occur.
    """
    log_p = jax.nn.log_softmax(as_float(logits) / temperature)
    p = jnp.exp(log_p)
    return -jnp.sum(p * jnp.where(p > 0, log_p, 0), -1)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minus the log-probability of the masked targets, as (sum, count).

    Args:
        logits: [B, T, V], already shifted: logits[:, t] predicts targets[:, t].
        targets: [B, T] integers.
        mask: [B, T], True where the target is to be learnt.
    """
    count = jnp.sum(jnp.asarray(mask, bool))
    return -masked_sum(log_probs(logits, targets), mask), count
