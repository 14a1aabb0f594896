"""What a policy stage carries from one iteration to the next, in addition to the state
of every stage: the coefficient of the KL, the statistics of rewards, and a moving
reference."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl.adapters.network import Network
from perl.losses import kl
from perl.losses.algorithms import ALGORITHMS
from perl.stages.frozen import Frozen
from perl.training.plan import Plan


def start(plan: Plan, section: ConfigDict, trainable: Any) -> dict[str, Any]:
    """The state before the first iteration.

    Args:
        plan: of the update.
        section: the config of the stage.
        trainable: deltas of the policy and, where there is a critic, the value.

    Returns:
        That of the plan; `memory`, scalars that go from one iteration to the next; and
        `anchor`, the delta of the reference, where that follows the policy.
    """
    state = plan.init(trainable)
    zero = jnp.zeros((), jnp.float32)
    state['memory'] = dict.fromkeys(('count', 'mean', 'm2'), zero)
    state['memory']['kl_coefficient'] = jnp.float32(section.kl_coefficient)
    if section.ema_rate:
        state['anchor'] = jax.tree.map(lambda x: x.copy(), trainable['policy'])
    return state


def with_anchor(frozen: Frozen, state: dict[str, Any]) -> Frozen:
    """What is frozen in an iteration. Where the reference follows the policy, it is a
    copy of the state's anchor, because an update donates the state."""
    if 'anchor' not in state:
        return frozen
    delta = jax.tree.map(lambda x: x.copy(), state['anchor'])
    return dataclasses.replace(
        frozen, reference=Network(frozen.policy, delta), start=frozen.reference
    )


def follow(state: dict[str, Any], rate: float) -> dict[str, Any]:
    """The state with its anchor, if any, nearer to the policy by the share `rate`."""
    if 'anchor' not in state:
        return state
    policy = state['trainable']['policy']
    return {**state, 'anchor': _interpolate(state['anchor'], policy, rate)}


def steered(
    memory: dict[str, jax.Array], figures: dict[str, Any], section: ConfigDict
) -> dict[str, jax.Array]:
    """The memory with the KL coefficient of the next iteration, a scalar.

    Args:
        memory: of a state.
        figures: of this iteration, with `kl`.
        section: the config of the stage.
    """
    if section.kl_controller != 'adaptive':
        return memory
    beta = kl.adaptive(
        memory['kl_coefficient'],
        figures['kl'],
        section.kl_target,
        section.kl_horizon,
        section.batch_size,
    )
    if ALGORITHMS[section.algorithm].convex:  # above 1 the reward would change its sign
        beta = jnp.minimum(beta, 1.0)
    return {**memory, 'kl_coefficient': beta}


@jax.jit
def _interpolate(anchor, policy, rate):
    """The anchor a little nearer to the policy (WARP, arXiv 2406.16768, section 3.1).
    For adapters the factors are averaged, which is close to averaging the products.
    """
    return jax.tree.map(lambda a, x: a + rate * (x - a), anchor, policy)
