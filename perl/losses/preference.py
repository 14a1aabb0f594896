"""Losses on preferences, one for each comparison or rating.

A reward model learns from its rewards, and DPO from the implicit rewards of a policy.
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
        rejected: rewards of the others, of a shape that broadcasts with `chosen`.
        margin: by how much the better one should lead, whichever that is (Llama 2,
            arXiv 2307.09288, eq. 2); broadcasts.
        preference: the probability, in [0, 1], that the order is right; broadcasts.
        smoothing: in [0, 1/2), the share of labels assumed to be wrong: the loss is
            (1 - smoothing) times that of this order plus smoothing times the other's.

    Returns:
        float32, of the shape of `chosen - rejected`.
    """
    lead, margin = as_float(chosen) - as_float(rejected), jnp.asarray(margin)
    right = jnp.asarray(preference) * (1 - 2 * smoothing) + smoothing
    for x in (margin, right):
        chex.assert_is_broadcastable(x.shape, lead.shape)
    this, other = jax.nn.softplus(margin - lead), jax.nn.softplus(margin + lead)
    return right * this + (1 - right) * other


def pointwise(rewards: jax.Array, labels: jax.Array) -> jax.Array:
    """The binary cross-entropy of sigmoid(reward) with a label in [0, 1].

    `[B]`, `[B]` -> `[B]` float32. The paper (arXiv 2403.10704, A.1.2) prints its second
    term as (1 - p) log sigmoid(1 - r). That is a misprint, because its minimum is not
    where sigmoid(r) = p; this is the usual (1 - p) log(1 - sigmoid(r)).
    """
    rewards, labels = as_float(rewards), as_float(labels)
    chex.assert_equal_shape((rewards, labels))
    return labels * jax.nn.softplus(-rewards) + (1 - labels) * jax.nn.softplus(rewards)


def dpo_margins(
    chosen: jax.Array,
    rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    beta: float,
) -> jax.Array:
    """By how much the implicit reward of the chosen response is the larger.

    The implicit reward is beta log(policy / reference) of the whole response (Rafailov
    et al., arXiv 2305.18290, eq. 5, up to a term of the prompt alone).

    Args:
        chosen, rejected: `[B]` or `[B, pairs]`, summed log-probs by the policy.
        reference_chosen, reference_rejected: of the same shape, by the reference.
        beta: the strength of the KL penalty.

    Returns:
        float32, of the same shape.
    """
    chex.assert_equal_shape((chosen, rejected, reference_chosen, reference_rejected))
    gained = as_float(chosen) - as_float(reference_chosen)
    return beta * (gained - as_float(rejected) + as_float(reference_rejected))


def dpo(
    margins: jax.Array, preference: jax.Array | float = 1.0, smoothing: float = 0.0
) -> jax.Array:
    """-log sigmoid(margin) (arXiv 2305.18290, eq. 7), of the shape of the margins.

    Args:
        margins: `[B]` or `[B, pairs]`, from `dpo_margins`.
        preference: as in `bradley_terry`.
        smoothing: as in `bradley_terry`: conservative DPO.
    """
    return bradley_terry(margins, jnp.zeros_like(margins), 0.0, preference, smoothing)


def pair_mean(x: jax.Array, present: jax.Array | None = None) -> jax.Array:
    """The mean over the pairs of each comparison: `[B, K (K - 1) / 2]` -> `[B]`.

    Args:
        x: a number for each pair, in the order of `jnp.triu_indices(K, 1)`.
        present: bool `[B, K]`, which completions there are; by default all. A pair
            counts where both of its completions are there.
    """
    chex.assert_rank(x, 2)
    if present is None:
        return jnp.mean(x, axis=1)
    better, worse = jnp.triu_indices(present.shape[1], 1)
    return masked_mean(x, present[:, better] & present[:, worse], 1)


def as_labelled(ahead: jax.Array, preference: jax.Array | float) -> jax.Array:
    """Leads of the completion that the label calls better: `[B, ...]` float32.

    A lead changes its sign where the label prefers the second completion, and is 0
    where it prefers neither.

    Args:
        ahead: `[B, ...]`, the first reward minus the second.
        preference: the probability that the first is better; broadcasts.
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
    """1, 1/2 or 0 for a lead above, at or below 0; of any shape."""
    return (1 + jnp.sign(ahead)) / 2
