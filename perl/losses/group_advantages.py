"""Advantages of whole responses from others to the same prompt: no value function.

Scores are [B], where `size` neighbours answer one prompt: rows 0 … size - 1 the first,
and so on. What comes back is [B], the same for every token of a response.
"""

import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


def leave_one_out(scores: jax.Array, size: int) -> jax.Array:
    """Each score less the mean of the others in its group.

    RLOO (Ahmadian et al., arXiv 2402.14740, section 3.2). With two in a group it is
    their difference, of either sign.
    """
    grouped = as_float(scores).reshape(-1, size)
    others = (grouped.sum(1, keepdims=True) - grouped) / (size - 1)
    return (grouped - others).reshape(-1)


def normalised(scores: jax.Array, size: int, epsilon: float = 1e-4) -> jax.Array:
    """Each score with its group's mean taken off, over its standard deviation.

    GRPO (Shao et al., arXiv 2402.03300, section 4.1.2); the deviation divides by n, and
    `epsilon` is added to it.
    """
    grouped = as_float(scores).reshape(-1, size)
    grouped = grouped - grouped[:, :1]  # equal scores are then exactly 0
    centred = grouped - grouped.mean(1, keepdims=True)
    return (centred / (grouped.std(1, keepdims=True) + epsilon)).reshape(-1)


def best(scores: jax.Array, size: int) -> jax.Array:
    """1 for the best of each group (the first where several are), 0 for the rest.

    With the loss of REINFORCE it is imitation of the best of n: one round of expert
    iteration (AlpacaFarm, arXiv 2305.14387; RAFT, arXiv 2304.06767).
    """
    grouped = as_float(scores).reshape(-1, size)
    return jax.nn.one_hot(jnp.argmax(grouped, 1), size).reshape(-1)
