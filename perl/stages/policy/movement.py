"""Whether an update moves the policy, and if not, why."""

import jax
import numpy as np

from perl.system import placement
from perl.system.errors import UserError

LARGE = 1e8  # a norm of gradients: clipped to near 1, they are too small for Adam


def moved(
    before: jax.Array,
    after: jax.Array,
    mask: jax.Array,
    gradient: float,
    last: bool = True,
) -> float:
    """The largest change of a log-prob of a sampled token in the updates so far.

    Args:
        before, after: `[B, R]`, both of the training pass: the distance of the sampler
            is rounding, and no move.
        mask: `[B, R]` bool, the tokens that count.
        gradient: the mean norm of the gradients, which tells why nothing moved.
        last: whether the policy must have moved by now.

    Raises:
        UserError: nothing moved, so that the sampler would go on drawing from the old
            policy; or a log-prob is not a number.
    """
    difference = placement.fetch(before) - placement.fetch(after)
    change = float(np.max(np.abs(np.where(placement.fetch(mask), difference, 0))))
    if not np.isfinite(change):
        raise UserError(
            'policy: after an update a log-prob is not a number; lower '
            'optimizer.learning_rate or set optimizer.clip'
        )
    if change == 0 and last:
        raise UserError(
            'policy: an update left every log-prob as it was; the cause is '
            f'{_why_still(gradient)}'
        )
    return change


def _why_still(gradient):
    if not gradient <= LARGE:  # nor NaN
        return (
            f'a gradient of norm {gradient:.2g}, of which clipping leaves nothing to '
            'learn from; lower kl_coefficient, value_coefficient or the scale of the '
            'rewards'
        )
    if gradient == 0:
        return (
            'a gradient of 0: rewards that are all equal, or an adapter that is not '
            'bound'
        )
    return (
        'an adapter that is not bound, or a learning rate of 0 or so small that '
        'rounding loses it'
    )
