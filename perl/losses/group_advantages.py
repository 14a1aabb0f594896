"""Advantages of whole responses, from comparison with others to the same prompt.

No value function is needed. Scores are `[B]`, and `size` neighbours answer one prompt:
rows 0 to size - 1 the first prompt, and so on. The result is `[B]` float32; it holds
for every token of a response.
"""

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def leave_one_out(scores: jax.Array, size: int) -> jax.Array:
    """Each score less the mean of the others in its group.

    `[B]` -> `[B]`. RLOO (Ahmadian et al., arXiv 2402.14740, section 3.2). In a group of
    two it is their difference, with either sign.
    """
    grouped = _grouped(scores, size)
    others = (grouped.sum(1, keepdims=True) - grouped) / (size - 1)
    return (grouped - others).reshape(-1)


def normalised(scores: jax.Array, size: int, epsilon: float = 1e-4) -> jax.Array:
    """Each score minus the mean of its group, divided by the group's deviation.

    `[B]` -> `[B]`. GRPO (Shao et al., arXiv 2402.03300, section 4.1.2). The standard
    deviation divides by n, and `epsilon` is added to it.
    """
    grouped = _grouped(scores, size)
    grouped = grouped - grouped[:, :1]  # equal scores are then exactly 0
    centred = grouped - grouped.mean(1, keepdims=True)
    return (centred / (grouped.std(1, keepdims=True) + epsilon)).reshape(-1)


def best(scores: jax.Array, size: int) -> jax.Array:
    """1 for the best of each group (the first of equals), 0 for the rest.

    `[B]` -> `[B]`. With the loss of REINFORCE it is imitation of the best of n: one
    round of expert iteration (AlpacaFarm, arXiv 2305.14387; RAFT, arXiv 2304.06767).
    """
    grouped = _grouped(scores, size)
    return jax.nn.one_hot(jnp.argmax(grouped, 1), size).reshape(-1)


def _grouped(scores: jax.Array, size: int) -> jax.Array:
    """`[B]` as `[B / size, size]`, a prompt in each row."""
    chex.assert_rank(scores, 1)
    return as_float(scores).reshape(-1, size)
