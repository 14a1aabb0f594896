"""Losses of a reward model, one per comparison or rating."""

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
    """-log sigmoid(chosen - rejected - margin), or a mixture of both orders: [B] twice.

    With the defaults it is -log sigmoid(chosen - rejected), the pairwise loss of PERL
    (arXiv 2403.10704, A.1.2) and InstructGPT. With a preference it is the soft loss of
    RLAIF (arXiv 2309.00267), the cross-entropy of softmax((chosen, rejected)). Shapes
    broadcast, so that all pairs of K completions are one call.

    Args:
        chosen, rejected: rewards of the completion named better, and of the other.
        margin: by how much the better one should lead, whichever that is (Llama 2,
            arXiv 2307.09288, eq. 2).
        preference: how sure it is that the order is right, in [0, 1].
        smoothing: in [0, 1/2), the share of labels that are taken to be wrong: the
            loss is (1 - smoothing) of this order's and smoothing of the other's.
    """
    lead, margin = as_float(chosen) - as_float(rejected), jnp.asarray(margin)
    right = jnp.asarray(preference) * (1 - 2 * smoothing) + smoothing
    this, other = jax.nn.softplus(margin - lead), jax.nn.softplus(margin + lead)
    return right * this + (1 - right) * other


def pointwise(rewards: jax.Array, labels: jax.Array) -> jax.Array:
    """The binary cross-entropy of sigmoid(reward) with a label in [0, 1]: [B] -> [B].

    The paper (arXiv 2403.10704, A.1.2) prints its second term as
    (1 - p) log sigmoid(1 - r). That is a misprint, for it is not least where
    sigmoid(r) = p; this is the ordinary (1 - p) log(1 - sigmoid(r)).
    """
    rewards, labels = as_float(rewards), as_float(labels)
    return labels * jax.nn.softplus(-rewards) + (1 - labels) * jax.nn.softplus(rewards)


def pair_mean(x: jax.Array, present: jax.Array | None = None) -> jax.Array:
    """The mean over the pairs of each comparison: [B, K (K - 1) / 2] -> [B].

    Args:
        x: a number for each pair, in the order of `jnp.triu_indices(K, 1)`.
        present: bool [B, K], which completions there are; all by default. A pair
            counts where both of its completions are there.
    """
    if present is None:
        return jnp.mean(x, axis=1)
    better, worse = jnp.triu_indices(present.shape[1], 1)
    return masked_mean(x, present[:, better] & present[:, worse], 1)


def as_labelled(ahead: jax.Array, preference: jax.Array | float) -> jax.Array:
    """Leads of the first completion, turned round where the label is for the other,
    and 0, which is half right, where it is for neither.

    Args:
        ahead: first minus second.
        preference: how sure it is that the first is the better; broadcasts.
    """
    return ahead * jnp.sign(2 * jnp.asarray(preference) - 1)


def decided_right(
    ahead: jax.Array, preference: jax.Array | float, present: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """How many comparisons are in the right order, of those that have one.

    A comparison whose label is a tie (preference 1/2) can be neither right nor wrong,
    and does not count. Where no label is decided the answer is half of one comparison.

    Args:
        ahead: [B, K (K - 1) / 2] leads of `as_labelled`.
        preference: [B, 1] or a number.
        present: bool [B, K] as of `pair_mean`.

    Returns:
        The sum of the shares of their pairs that are right, and their number.
    """
    shares = pair_mean(share_right(ahead), present)
    decided = jnp.broadcast_to(jnp.asarray(preference) != 0.5, (len(ahead), 1))[:, 0]
    count = jnp.sum(decided, dtype=jnp.float32)
    right = jnp.sum(shares * decided)
    return jnp.where(count > 0, right, 0.5), jnp.maximum(count, 1)


def share_right(ahead: jax.Array) -> jax.Array:
    """1, 1/2 or 0 for a lead above, at or below 0."""
    return (1 + jnp.sign(ahead)) / 2
