"""Preference losses, one per comparison or rating.

Those of a policy on comparisons are in `direct`.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float, masked_mean


def bradley_terry(
    chosen: jax.Array,
    rejected: jax.Array,
    margin: jax.Array | float = 0.0,
    preference: jax.Array | float = 1.0,
    smoothing: float = 0.0,
) -> jax.Array:
    """-log sigmoid(chosen - rejected - margin), or a mixture of both orders.

    With the defaults it is -log sigmoid(chosen - rejected), the pairwise loss of PERL
    (arXiv 2403.10704, A.1.2) and InstructGPT. With a preference it is the soft loss of
    RLAIF (arXiv 2309.00267), the cross-entropy of softmax((chosen, rejected)).

    Args:
        chosen: `[B]` or `[B, pairs]`, rewards of the completions labelled better.
        rejected: rewards of the others, in a shape that broadcasts with `chosen`.
        margin: the reward difference to reach, in the direction of each order (Llama 2,
            arXiv 2307.09288, eq. 2); broadcasts.
        preference: the probability, in [0, 1], that the order is right; broadcasts.
        smoothing: in [0, 1/2), the share of labels assumed to be wrong: the loss is
            (1 - smoothing) times that of this order plus smoothing times the reverse.

    Returns:
        float32, of the shape of `chosen - rejected`.
    """
    lead, margin = as_float(chosen) - as_float(rejected), jnp.asarray(margin)
    p_right = jnp.asarray(preference) * (1 - 2 * smoothing) + smoothing
    for x in (margin, p_right):
        chex.assert_is_broadcastable(x.shape, lead.shape)
    right, reverse = jax.nn.softplus(margin - lead), jax.nn.softplus(margin + lead)
    return p_right * right + (1 - p_right) * reverse


def pointwise(rewards: jax.Array, labels: jax.Array) -> jax.Array:
    """The binary cross-entropy of sigmoid(reward) with a label in [0, 1].

    `[B]`, `[B]` -> `[B]` float32. The paper (arXiv 2403.10704, A.1.2) prints the second
    term as (1 - p) log sigmoid(1 - r). That is a misprint: its minimum is not at
    sigmoid(r) = p. The code uses the standard term (1 - p) log(1 - sigmoid(r)).
    """
    rewards, labels = as_float(rewards), as_float(labels)
    chex.assert_equal_shape((rewards, labels))
    return labels * jax.nn.softplus(-rewards) + (1 - labels) * jax.nn.softplus(rewards)


def pair_mean(x: jax.Array, present: jax.Array | None = None) -> jax.Array:
    """The mean over the pairs of each comparison: `[B, K (K - 1) / 2]` -> `[B]`.

    Args:
        x: a number for each pair, in the order of `jnp.triu_indices(K, 1)`.
        present: bool `[B, K]`, which completions exist; by default all. A pair counts
            if both of its completions exist.
    """
    chex.assert_rank(x, 2)
    if present is None:
        return jnp.mean(x, axis=1)
    better, worse = jnp.triu_indices(present.shape[1], 1)
    return masked_mean(x, present[:, better] & present[:, worse], 1)


def as_labelled(ahead: jax.Array, preference: jax.Array | float) -> jax.Array:
    """Reward of the completion labelled better minus that of the other: `[B, ...]`.

    The difference changes its sign where the label prefers the second completion, and
    is 0 where the label is a tie. float32.

    Args:
        ahead: `[B, ...]`, the first reward minus the second.
        preference: the probability that the first is better; broadcasts.
    """
    return ahead * jnp.sign(2 * jnp.asarray(preference) - 1)


def decided_right(
    ahead: jax.Array, preference: jax.Array | float, present: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Counts the comparisons that the rewards put in the labelled order.

    A comparison labelled as a tie (preference 1/2) does not count. If all are ties, the
    result is 1/2 of one comparison.

    Args:
        ahead: `[B, K (K - 1) / 2]`, differences from `as_labelled`.
        preference: `[B, 1]` or a number.
        present: bool `[B, K]`, as in `pair_mean`.

    Returns:
        Two float32 scalars: the sum over comparisons of the share of pairs in the right
        order, and the number of comparisons.
    """
    shares = pair_mean(share_right(ahead), present)
    decided = jnp.broadcast_to(jnp.asarray(preference) != 0.5, (len(ahead), 1))[:, 0]
    count = jnp.sum(decided, dtype=jnp.float32)
    right = jnp.sum(shares * decided.astype(shares.dtype))
    return jnp.where(count > 0, right, 0.5), jnp.maximum(count, 1)


def share_right(ahead: jax.Array) -> jax.Array:
    """1 where `ahead` is above 0, 1/2 at 0, 0 below 0; any shape."""
    return (1 + jnp.sign(ahead)) / 2
