"""What is reported of a rollout and of what is learned from it."""

import jax
import jax.numpy as jnp

from perl.losses import kl, policy
from perl.losses.reduce import masked_sum
from perl.rollout.responses import Rollout
from perl.stages.policy.episodes import Experience, Scores
from perl.stages.policy.objective import Objective


def figures(
    rollout: Rollout,
    scores: Scores,
    rewards: jax.Array,
    penalty: jax.Array,
    experience: Experience,
    objective: Objective,
) -> dict[str, jax.Array]:
    """Scalars: means over responses or tokens. `kl` is k1 from where the policy
    started, `penalty_...` is what is optimised.

    Args:
        rollout: B responses of R slots.
        scores: of it.
        rewards: `[B, R]`, with the KL term where that is in the reward.
        penalty: `[B, R]`, the KL term.
        experience: what the update learns from.
        objective: the numbers.
    """
    mask, finished = rollout.mask, rollout.responses.finished
    episodes, tokens = mask.shape[0], jnp.sum(mask)
    metrics = {
        'reward': jnp.mean(scores.rewards),
        'reward_std': jnp.std(scores.rewards),
        'return': jnp.sum(jnp.where(mask, rewards, 0)) / episodes,
        'entropy': -masked_sum(scores.log_probs, mask) / tokens.astype(jnp.float32),
        'response_length': tokens / episodes,
        'no_eos': jnp.mean(~finished),
    }
    if scores.sampler_gap is not None:
        metrics['sampler_gap'] = scores.sampler_gap
    if scores.reference is not None:
        start = scores.reference if scores.start is None else scores.start
        metrics['kl'] = masked_sum(kl.k1(scores.log_probs, start), mask) / episodes
        metrics['kl_k3'] = masked_sum(kl.k3(scores.log_probs, start), mask) / episodes
        paid = masked_sum(penalty, mask) / episodes
        metrics[f'penalty_{objective.kl_estimator}'] = paid
    if experience.weights is not None:
        share = policy.effective_share(experience.weights, mask)
        metrics['effective_share'] = share
    return metrics
