"""What tells one policy-gradient algorithm from another, in one table."""

import dataclasses
from collections.abc import Callable

import jax

from perl.losses import group_advantages


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One way from rewards to a policy loss.

    Attributes:
        clipped: the clipped surrogate of PPO, else REINFORCE.
        group: advantages of responses to one prompt from each other; None trains a
            value function and takes generalised advantages of tokens.
        convex: the reward weighs 1 - beta, as PERL has it, and the advantage is the
            return less the value.
        by_response: the loss is the mean over responses of the mean over their tokens,
            else the mean over tokens.
    """

    clipped: bool
    group: Callable[[jax.Array, int], jax.Array] | None = None
    convex: bool = False
    by_response: bool = False


ALGORITHMS = {
    # Schulman et al., arXiv 1707.06347, as in InstructGPT
    'ppo': Algorithm(clipped=True),
    # PERL, arXiv 2403.10704; RLAIF, arXiv 2309.00267, A.3
    'reinforce': Algorithm(clipped=False, convex=True),
    # Ahmadian et al., arXiv 2402.14740; the clip matters from the second update on
    'rloo': Algorithm(clipped=True, group=group_advantages.leave_one_out),
    # Shao et al., arXiv 2402.03300
    'grpo': Algorithm(
        clipped=True, group=group_advantages.normalised, by_response=True
    ),
    # imitation of the best of n: AlpacaFarm's expert iteration
    'best_of_n': Algorithm(clipped=False, group=group_advantages.best),
}
