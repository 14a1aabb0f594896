"""Losses of a reward model, one per comparison or rating."""

import jax

from perl.losses.reduce import as_float


def bradley_terry(chosen: jax.Array, rejected: jax.Array) -> jax.Array:
    """-log sigmoid(chosen - rejected), elementwise: [B], [B] -> [B].

    The pairwise loss of PERL (arXiv 2403.10704, A.1.2) and InstructGPT. Shapes
    broadcast, so that all pairs of K completions are one call.
    """
    return jax.nn.softplus(as_float(rejected) - as_float(chosen))


def pointwise(rewards: jax.Array, labels: jax.Array) -> jax.Array:
    """The binary cross-entropy of sigmoid(reward) with a label in [0, 1]: [B] -> [B].

    The paper (arXiv 2403.10704, A.1.2) prints its second term as
    (1 - p) log sigmoid(1 - r). That is a misprint, for it is not least where
    sigmoid(r) = p; this is the ordinary (1 - p) log(1 - sigmoid(r)).
    """
    rewards, labels = as_float(rewards), as_float(labels)
    return labels * jax.nn.softplus(-rewards) + (1 - labels) * jax.nn.softplus(rewards)
