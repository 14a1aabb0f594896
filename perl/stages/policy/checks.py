"""What must hold before the first update of a policy, and after it.

Sampler and trainer must agree on the log-probs of sampled tokens, a policy that equals
its reference must be at KL 0 from it, a reward must not depend on padding or batch
mates, and an update must move the policy. Where one fails, learning would fail in
silence.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy.experience import Scores
from perl.system.errors import UserError

# iterations after which a policy must have moved: in half precision the first updates
# of a fresh adapter are smaller than the rounding of what they are added to
PATIENCE = {'float32': 1, 'bfloat16': 20, 'float16': 20}
LARGE = 1e8  # a gradient of which clipping to a norm near 1 leaves nothing to Adam
SURE = 4  # standard errors


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far two computations of the same log-probs may be apart, in nats.

    Neither of the first two grows with the number of tokens that are compared, as the
    largest difference does. Healthy runs in bfloat16 had means of 0.01 to 0.04 and 99th
    percentiles of 0.1 to 0.4; a wrong temperature, a visible pad or a lost token of the
    prompt had means from 0.19.

    Attributes:
        mean: of the absolute difference of log-probs.
        high: of its 99th percentile.
        reward: of the difference of a reward, in units of it.
    """

    mean: float
    high: float
    reward: float


LIMITS = {
    'float32': Limits(mean=5e-4, high=2e-3, reward=2e-3),
    'bfloat16': Limits(mean=0.1, high=0.5, reward=0.25),
    'float16': Limits(mean=0.02, high=0.1, reward=0.1),
}


def limits(arch: Architecture) -> Limits:
    """Those of the arithmetic of a decoder.

    float32 products may have their operands rounded to bfloat16 (`precision`).
    """
    rounded = arch.dtype == 'float32' and not arch.exact
    return LIMITS['bfloat16' if rounded else arch.dtype]


class Checks:
    """The checks of one sitting: of its first rollout, and of the first rollout after
    the policy has moved, which shows that the sampler reads what the trainer writes.

    Args:
        arch: the decoder.
        log_probs: `(delta, base, rollout) -> [B, R]`, those of the training pass.
        still: how many iterations the policy does not learn.
    """

    def __init__(
        self,
        arch: Architecture,
        log_probs: Callable[[Any, Any, Rollout], jax.Array],
        still: int,
    ):
        self.arch, self._log_probs, self._still = arch, log_probs, still
        self._probe: tuple[Rollout, jax.Array] | None = None
        self._updates, self._moved, self._pending = 0, False, True

    def before(
        self, at: int, delta: Any, frozen: Frozen, rollout: Rollout, scores: Scores
    ) -> dict[str, float]:
        """Checks the rollout of iteration `at`; returns what was measured.

        Args:
            at: the iteration, from 0.
            delta: the policy's.
            frozen: the roles.
            rollout: what was sampled.
            scores: what the roles say of it.

        Raises:
            UserError: something differs by more than rounding.
        """
        first = self._probe is None or at == self._still
        if not (first or self._pending):
            if scores.sampler_gap is not None:
                _within(float(scores.sampler_gap), limits(self.arch).mean)
            return {}
        trained = self._log_probs(delta, frozen.policy, rollout)
        sampled, mask = rollout.responses.log_probs, rollout.mask
        figures = {'ratio': agreement(sampled, trained, mask, limits(self.arch))}
        if frozen.policy and not self.arch.exact:
            base = self._log_probs({}, frozen.policy, rollout)
            bound(sampled, trained, base, mask, limits(self.arch))
        self._pending = False
        if first:
            self._probe = rollout, trained
            if at == 0 and scores.reference is not None:
                figures['kl'] = at_reference(scores, mask, limits(self.arch))
            if frozen.reward is not None:
                figures['reward'] = reward_alone(frozen, rollout, scores, self.arch)
        return {f'check_{name}': x for name, x in figures.items()}

    def after(self, at: int, delta: Any, base: Any, gradient: float) -> float | None:
        """How far iteration `at` moved the policy, until it has moved; then None.

        Args:
            at: the iteration, from 0.
            delta, base: the policy's, after the updates.
            gradient: the mean norm of the gradients.

        Raises:
            UserError: the policy has not moved, or to where log-probs are no numbers.
        """
        if self._moved or at < self._still:
            return None
        rollout, trained = self._probe
        self._updates += 1
        last = self._updates >= PATIENCE[self.arch.dtype]
        after = self._log_probs(delta, base, rollout)
        change = moved(trained, after, rollout.mask, gradient, last)
        self._moved = self._pending = change > 0
        return change


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
    _within(mean, limits.mean)
    _within(high, limits.high)
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
    mask = np.asarray(mask)
    base = np.asarray(base, np.float64)[mask]
    ours, theirs = (
        np.square(np.asarray(x, np.float64)[mask] - base) for x in (sampled, trained)
    )
    if np.sqrt(theirs.mean()) < limits.mean:
        return 1.0
    ratio = np.sqrt(ours.mean() / theirs.mean())
    # of the logarithm of the ratio, by the delta method
    spread = np.std(ours / max(ours.mean(), 1e-30) - theirs / theirs.mean())
    error = spread / np.sqrt(len(ours)) / 2
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
    host = jax.device_get((rollout.tokens, *lengths))
    alone = score(frozen.reward, *(x[:rows] for x in host))
    rewards = np.asarray(scores.rewards)[:rows]
    difference = float(np.max(np.abs(np.asarray(alone) - rewards)))
    limit = limits(arch).reward * max(1.0, float(np.abs(rewards).max()))
    if not difference <= limit:
        raise UserError(
            f'reward: a score changes by {difference:.2g} with padding and batch '
            'mates; the cause is a mask or positions that do not come from lengths'
        )
    return difference


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
    difference = np.asarray(before) - np.asarray(after)
    change = float(np.max(np.abs(np.where(np.asarray(mask), difference, 0))))
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


def _apart(one, other, mask):
    """The mean and the 99th percentile of `|one - other|` over the mask."""
    apart = np.abs(np.asarray(one, np.float64) - np.asarray(other))[np.asarray(mask)]
    return float(apart.mean()), float(np.quantile(apart, 0.99))


def _within(difference, limit):
    if not difference <= limit:  # nor NaN
        raise UserError(
            f'policy: sampler and trainer differ by {difference:.2g} nats on a token '
            f'where rounding explains {limit:.2g}, so the ratio is not 1; the cause is '
            'a sampling transform (top-k, top-p), a mask or positions that differ, or '
            'an adapter that is not bound'
        )
