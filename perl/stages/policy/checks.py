"""What must hold before the first update of a policy, and after it.

Sampler and trainer must agree on every log-prob, a policy that equals its reference
must be at KL 0 from it, a reward must not depend on padding or batch mates, and an
update must move the policy. Where one fails, learning would fail in silence.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.models.architecture import Architecture
from perl.rollout import scoring
from perl.system.errors import UserError

# of a log-prob, by compute dtype: rounding only
TOLERANCE = {'float32': 2e-3, 'bfloat16': 0.25, 'float16': 0.1}

# iterations after which a policy must have moved: in half precision the first updates
# of a fresh adapter are smaller than the rounding of what they are added to
PATIENCE = {'float32': 1, 'bfloat16': 20, 'float16': 20}


def before(
    seen: dict[str, jax.Array],
    teacher: jax.Array,
    arch: Architecture,
    starts_at_reference: bool,
) -> dict[str, float]:
    """Checks the first rollout of a run.

    Args:
        seen: from `experience.observe`.
        teacher: `[B, R]` log-probs of the same tokens by the training pass.
        arch: the decoder, for its tolerance.
        starts_at_reference: the policy has not been updated yet.

    Returns:
        The largest differences found, for the log.

    Raises:
        UserError: one is larger than rounding.
    """
    mask = np.asarray(seen['mask'])
    sampled = np.asarray(seen['log_probs'])
    limit = TOLERANCE[arch.dtype]
    found = {'ratio': _largest(sampled - np.asarray(teacher), mask)}
    if not found['ratio'] <= limit:  # nor NaN
        raise UserError(
            f'policy: sampler and trainer differ by {found["ratio"]:.2g} nats on a '
            'token before the first update, so the ratio is not 1; the cause is a '
            'sampling transform (top-k, top-p), a mask or positions that differ'
        )
    if starts_at_reference and 'reference' in seen:
        found['kl'] = _largest(sampled - np.asarray(seen['reference']), mask)
        if not found['kl'] <= limit:
            raise UserError(
                f'policy: it starts {found["kl"]:.2g} nats from its reference on a '
                'token; the cause is a reference that is not what the policy starts '
                'from'
            )
    return found


def reward_alone(
    frozen: Any, seen: dict[str, jax.Array], responses: jax.Array, arch: Architecture
) -> float:
    """The largest change of a reward when its row is scored apart from the batch and
    with more padding.

    Args:
        frozen: the roles; `reward` is read.
        seen: from `experience.observe`.
        responses: `[B]` lengths of the responses.
        arch: the decoder.

    Raises:
        UserError: it is larger than rounding.
    """
    R, rows = seen['mask'].shape[1], min(2, seen['mask'].shape[0])

    @jax.jit
    def score(judges, tokens, lengths, responses):
        wide = jnp.pad(tokens, ((0, 0), (16, 0)))
        return scoring.rewards(arch, judges, wide, lengths, responses, R)

    host = jax.device_get((seen['tokens'], seen['lengths'], responses))
    alone = score(frozen['reward'], *(x[:rows] for x in host))
    scores = np.asarray(seen['scores'])[:rows]
    difference = float(np.max(np.abs(np.asarray(alone) - scores)))
    limit = TOLERANCE[arch.dtype] * max(1.0, float(np.abs(scores).max()))
    if not difference <= limit:
        raise UserError(
            f'reward: a score changes by {difference:.2g} with padding and batch '
            'mates; the cause is a mask or positions that do not come from lengths'
        )
    return difference


def moved(
    before: jax.Array, after: jax.Array, mask: jax.Array, last: bool = True
) -> float:
    """How far log-probs `[B, R]` of sampled tokens moved in the updates so far, the
    largest of them. Both are of the training pass: its difference from the sampler is
    rounding, and no move.

    Raises:
        UserError: not at all, and `last` says that they should have by now: the
            sampler would go on drawing from the old policy; or to where log-probs are
            no numbers.
    """
    change = _largest(np.asarray(before) - np.asarray(after), mask)
    if not np.isfinite(change):
        raise UserError(
            'policy: after an update a log-prob is not a number; lower '
            'optimizer.learning_rate or set optimizer.clip'
        )
    if change == 0 and last:
        raise UserError(
            'policy: an update left every log-prob as it was; the cause is an adapter '
            'that is not bound, a learning rate of 0, or rewards that are all equal'
        )
    return change


def _largest(difference: np.ndarray, mask: Any) -> float:
    return float(np.max(np.abs(np.where(np.asarray(mask), difference, 0))))
