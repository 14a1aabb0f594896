"""Whether two passes over the same sampled tokens agree on their log-probs.

Sampler and trainer must agree, a policy that equals its reference must be at KL 0 from
it, and the adapter that the sampler reads must be the one that is trained.
"""

import jax
import numpy as np

from perl.stages.policy.episodes import Scores
from perl.stages.policy.limits import Limits
from perl.system import placement
from perl.system.errors import UserError

SURE = 4  # standard errors


def agreement(
    sampled: jax.Array, trained: jax.Array, mask: jax.Array, limits: Limits
) -> float:
    """The mean distance of the sampler's log-probs from the trainer's, in nats.

    Args:
        sampled: `[B, R]`, by the sampler.
        trained: `[B, R]`, of the same tokens by the training pass.
        mask: `[B, R]` bool, the tokens that count.
        limits: of the arithmetic.

    Raises:
        UserError: it is larger than rounding.
    """
    mean, high = _apart(sampled, trained, mask)
    within(mean, limits.mean)
    within(high, limits.high)
    return mean


def bound(
    sampled: jax.Array,
    trained: jax.Array,
    base: jax.Array,
    mask: jax.Array,
    limits: Limits,
) -> float:
    """How far the sampler is from the base, as a share of how far the trainer is.

    It is 1 but for sampling error: 0 for a sampler without the adapter, 1.25 for one
    whose adapter is scaled by 1.25. Rounding adds the same noise to both distances, so
    that this finds an adapter whose effect is as small as the rounding. A smaller one
    is not looked at, and 1 is returned.

    Args:
        sampled, trained, base: `[B, R]` log-probs by the sampler, by the training pass,
            and by the training pass without the adapter.
        mask: `[B, R]` bool, the tokens that count.
        limits: of the arithmetic.

    Raises:
        UserError: it is not 1.
    """
    mask, *three = placement.fetch((mask, base, sampled, trained))
    base, *two = (x.astype(np.float64)[mask] for x in three)
    ours, theirs = (np.abs(x - base) for x in two)
    if np.sqrt(np.mean(theirs**2)) < limits.mean:
        return 1.0
    # a ratio of squares would depend on a few tokens and have a large sampling error
    ratio = ours.mean() / theirs.mean()
    # of the logarithm of the ratio, by the delta method
    spread = np.std(ours / max(ours.mean(), 1e-30) - theirs / theirs.mean())
    error = spread / np.sqrt(len(ours))
    if abs(np.log(max(ratio, 1e-30))) > 0.1 + SURE * error:
        raise UserError(
            f'policy: the sampler is {ratio:.2f} times as far from the base as the '
            'trainer is, so it does not sample from the policy that is trained; the '
            'cause is an adapter that is not bound, or one with another scale'
        )
    return float(ratio)


def at_reference(scores: Scores, mask: jax.Array, limits: Limits) -> float:
    """The mean distance in nats of a policy that was not updated from its reference.

    Args:
        scores: with `log_probs` and `reference`, `[B, R]`.
        mask: `[B, R]` bool, the tokens that count.
        limits: of the arithmetic.

    Raises:
        UserError: it is larger than rounding.
    """
    mean, high = _apart(scores.log_probs, scores.reference, mask)
    if not (mean <= limits.mean and high <= limits.high):  # nor NaN
        raise UserError(
            f'policy: it starts {mean:.2g} nats a token from its reference (1 % of '
            f'them: {high:.2g} or more); the cause is a reference that is not what the '
            'policy starts from'
        )
    return mean


def _apart(one, other, mask):
    """The mean and the 99th percentile of `|one - other|` over the mask."""
    one, other, mask = placement.fetch((one, other, mask))
    apart = np.abs(one.astype(np.float64) - other)[mask]
    return float(apart.mean()), float(np.quantile(apart, 0.99))


def within(difference: float, limit: float) -> None:
    """Raises a `UserError` where sampler and trainer differ by more than the limit."""
    if not difference <= limit:  # nor NaN
        raise UserError(
            f'policy: sampler and trainer differ by {difference:.2g} nats on a token '
            f'where rounding explains {limit:.2g}, so the ratio is not 1; the cause is '
            'a sampling transform (top-k, top-p), a mask or positions that differ, or '
            'an adapter that is not bound'
        )
