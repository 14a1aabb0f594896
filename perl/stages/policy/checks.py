"""What must hold before the first update of a policy, and after it.

Where a check fails, learning would fail in silence. What is checked is in
`agreement.py`, `padding.py` and `movement.py`; this says when.
"""

from collections.abc import Callable
from typing import Any

import jax

from perl.models.architecture import Architecture
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy import agreement
from perl.stages.policy.episodes import Scores
from perl.stages.policy.limits import limits
from perl.stages.policy.movement import moved
from perl.stages.policy.padding import reward_alone

# iterations after which a policy must have moved: in half precision the first updates
# of a fresh adapter are smaller than the rounding of what they are added to
PATIENCE = {'float32': 1, 'bfloat16': 20, 'float16': 20}


class Checks:
    """The checks of one process: of its first rollout, and of the first rollout after
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
            delta: the policy's, of the shapes that its tuning declares.
            frozen: the roles.
            rollout: what was sampled: tokens `[B, P + R]`.
            scores: what the roles say of it, `[B, R]` and `[B]`.

        Raises:
            UserError: something differs by more than rounding.
        """
        first = self._probe is None or at == self._still
        if not (first or self._pending):
            if scores.sampler_gap is not None:
                agreement.within(float(scores.sampler_gap), limits(self.arch).mean)
            return {}
        trained = self._log_probs(delta, frozen.policy, rollout)
        sampled, mask = rollout.responses.log_probs, rollout.mask
        allowed = limits(self.arch)
        figures = {'ratio': agreement.agreement(sampled, trained, mask, allowed)}
        if frozen.policy and not self.arch.exact:
            base = self._log_probs({}, frozen.policy, rollout)
            agreement.bound(sampled, trained, base, mask, allowed)
        self._pending = False
        if first:
            self._probe = rollout, trained
            if at == 0 and scores.reference is not None:
                figures['kl'] = agreement.at_reference(scores, mask, allowed)
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
            UserError: the policy has not moved, or its log-probs are not finite.
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
