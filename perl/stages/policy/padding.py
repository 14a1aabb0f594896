"""Whether a reward depends on padding or batch mates, which it must not."""

import jax
import jax.numpy as jnp
import numpy as np

from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy.episodes import Scores
from perl.stages.policy.limits import limits
from perl.system import placement
from perl.system.errors import UserError


def reward_alone(
    frozen: Frozen, rollout: Rollout, scores: Scores, arch: Architecture
) -> float:
    """The largest change of a reward when its row is scored apart from the batch and
    with more padding.

    Args:
        frozen: with the reward models.
        rollout: of B responses; the first two are scored again.
        scores: with `rewards` `[B]`.
        arch: the decoder.

    Raises:
        UserError: it is larger than rounding.
    """
    rows, width = min(2, len(rollout.tokens)), rollout.width

    @jax.jit
    def score(judges, tokens, lengths, responses):
        wide = jnp.pad(tokens, ((0, 0), (16, 0)))
        return scoring.rewards(arch, judges, wide, lengths, responses, width)

    lengths = rollout.prompt_lengths, rollout.responses.lengths
    host = placement.fetch((rollout.tokens, *lengths))
    alone = score(frozen.reward, *(x[:rows] for x in host))
    rewards = placement.fetch(scores.rewards)[:rows]
    difference = float(np.max(np.abs(placement.fetch(alone) - rewards)))
    limit = limits(arch).reward * max(1.0, float(np.abs(rewards).max()))
    if not difference <= limit:
        raise UserError(
            f'reward: a score changes by {difference:.2g} with padding and batch '
            'mates; the cause is a mask or positions that do not come from lengths'
        )
    return difference
