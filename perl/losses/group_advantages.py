"""Advantages of whole responses, compared with other responses to the same prompt.

No value function is needed. Scores are `[B]`; each group of `size` consecutive rows
answers one prompt. The result is `[B]` float32, one advantage for all tokens of a
response.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def leave_one_out(scores: jax.Array, size: int) -> jax.Array:
    """Each score minus the mean of the other scores in its group.

    `[B]` -> `[B]`. RLOO (Ahmadian et al., arXiv 2402.14740, section 3.2). In a group of
    two, the advantages are plus and minus the difference of the scores.
    """
    grouped = _grouped(scores, size)
    others = (grouped.sum(1, keepdims=True) - grouped) / (size - 1)
    return (grouped - others).reshape(-1)


def centred(scores: jax.Array, size: int) -> jax.Array:
    """Each score minus the mean of its group.

    `[B]` -> `[B]`. Dr. GRPO (Liu et al., arXiv 2503.20783, section 3.2): a division by
    the deviation would give easy and hard prompts larger weights.
    """
    grouped = _grouped(scores, size)
    return (grouped - grouped.mean(1, keepdims=True)).reshape(-1)


def normalised(scores: jax.Array, size: int, epsilon: float = 1e-4) -> jax.Array:
    """Each score minus the mean of its group, divided by the group's deviation.

    `[B]` -> `[B]`. GRPO (Shao et al., arXiv 2402.03300, section 4.1.2). The standard
    deviation is that of the population (divided by n); `epsilon` is added to it.
    """
    grouped = _grouped(scores, size)
    grouped = grouped - grouped[:, :1]  # equal scores are then exactly 0
    centred = grouped - grouped.mean(1, keepdims=True)
    return (centred / (grouped.std(1, keepdims=True) + epsilon)).reshape(-1)


def best(scores: jax.Array, size: int) -> jax.Array:
    """1 for the best score of each group (the first one in a tie), 0 for the rest.

    `[B]` -> `[B]`. With the REINFORCE loss this imitates the best of n responses: one
    round of expert iteration (AlpacaFarm, arXiv 2305.14387; RAFT, arXiv 2304.06767).
    """
    grouped = _grouped(scores, size)
    return jax.nn.one_hot(jnp.argmax(grouped, 1), size).reshape(-1)


def _grouped(scores: jax.Array, size: int) -> jax.Array:
    """`[B]` -> `[B / size, size]`, one row per prompt."""
    chex.assert_rank(scores, 1)
    return as_float(scores).reshape(-1, size)
