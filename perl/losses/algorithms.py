"""The table of policy-gradient algorithms and the choices in which they differ."""

import dataclasses
from collections.abc import Callable

import jax

from perl.losses import group_advantages


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """How a policy loss is computed from rewards.

    Attributes:
        clipped: whether the loss is PPO's clipped surrogate; else it is REINFORCE.
        group: computes advantages by comparing the responses to one prompt; with None,
            a value function is trained and advantages come from GAE.
        convex: whether the reward is scaled by 1 - beta, as in PERL, and the advantage
            is the return minus the value.
        by_response: whether the loss is the mean over responses of the mean over their
            tokens; else it is the mean over tokens.
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
    # Ahmadian et al., arXiv 2402.14740; clipping has an effect from the second update
    'rloo': Algorithm(clipped=True, group=group_advantages.leave_one_out),
    # Shao et al., arXiv 2402.03300
    'grpo': Algorithm(
        clipped=True, group=group_advantages.normalised, by_response=True
    ),
    # imitation of the best of n: AlpacaFarm's expert iteration
    'best_of_n': Algorithm(clipped=False, group=group_advantages.best),
}
