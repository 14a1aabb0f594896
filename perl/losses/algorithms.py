"""The table of policy-gradient algorithms and the choices in which they differ."""

import dataclasses
from collections.abc import Callable

import jax

from perl.losses import group_advantages


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """How a policy loss is computed from rewards.

    Attributes:
        clipped: what is clipped: `ratio`, of a token, in PPO's surrogate; `sequence`,
            the ratio of a whole response, likewise; `weight`, of the log-probs, as in
            CISPO; '' for nothing, as in REINFORCE.
        group: computes advantages by comparing the responses to one prompt; with None,
            a value function is trained and advantages come from GAE.
        whitened: whether the advantages of a group are scaled to mean 0 and variance 1
            over the tokens of the batch.
        convex: whether the reward is scaled by 1 - beta, as in PERL, and the advantage
            is the return minus the value.
        average: what the loss is a mean over: `tokens`; `responses`, of the mean over
            their tokens; `slots`, all that responses could have.
    """

    clipped: str
    group: Callable[[jax.Array, int], jax.Array] | None = None
    whitened: bool = False
    convex: bool = False
    average: str = 'tokens'


ALGORITHMS = {
    # Schulman et al., arXiv 1707.06347, as in InstructGPT
    'ppo': Algorithm('ratio'),
    # PERL, arXiv 2403.10704; RLAIF, arXiv 2309.00267, A.3
    'reinforce': Algorithm('', convex=True),
    # Ahmadian et al., arXiv 2402.14740; clipping has an effect from the second update
    'rloo': Algorithm('ratio', group_advantages.leave_one_out),
    # Hu et al., arXiv 2501.03262: REINFORCE++ with the mean of a prompt as baseline
    'reinforce_pp': Algorithm('ratio', group_advantages.centred, whitened=True),
    # Shao et al., arXiv 2402.03300
    'grpo': Algorithm('ratio', group_advantages.normalised, average='responses'),
    # Liu et al., arXiv 2503.20783: neither a deviation nor a length divides
    'dr_grpo': Algorithm('ratio', group_advantages.centred, average='slots'),
    # Yu et al., arXiv 2503.14476
    'dapo': Algorithm('ratio', group_advantages.normalised),
    # Zheng et al., arXiv 2507.18071
    'gspo': Algorithm('sequence', group_advantages.normalised, average='responses'),
    # MiniMax-M1, arXiv 2506.13585
    'cispo': Algorithm('weight', group_advantages.normalised),
    # imitation of the best of n: AlpacaFarm's expert iteration
    'best_of_n': Algorithm('', group_advantages.best),
}
