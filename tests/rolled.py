"""A rollout with all its roles, for tests of scoring and of the update."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import tiny

from perl.adapters.network import Network
from perl.judges import panel
from perl.rollout.responses import Responses, Rollout
from perl.runs.roles import Role
from perl.stages.frozen import Frozen
from perl.stages.policy import experience

PPO = dataclasses.replace(
    tiny.OBJECTIVE,
    temperature=0.8,
    gamma=0.9,
    lam=0.5,
    value_coefficient=0.3,
    whiten_advantages=False,
    missing_eos_penalty=0.5,
)
REINFORCE = dataclasses.replace(PPO, algorithm='reinforce')

R = 3
ARCH = tiny.arch(layers=1)
BASE = tiny.weights(ARCH)
SCORED = {**tiny.adapter(ARCH, seed=7), 'head': tiny.head(8)}
TRAINABLE = {
    'policy': tiny.adapter(ARCH),
    'value': {**tiny.adapter(ARCH, seed=5), 'head': tiny.head()},
}
FROZEN = Frozen(
    policy=BASE,
    value=BASE,
    reference=Network(BASE, {}),
    reward=panel.build([Role(BASE, 'base', SCORED, tiny.LORA, 0.25, 2.0)]),
)


def rollout():
    """Two prompts of different length in four slots, and the responses to them."""
    tokens, _ = tiny.rows((2, 4 + R))
    responses = Responses(
        tokens[:, 4:], jnp.zeros((2, R)), jnp.array([3, 1]), jnp.array([False, True])
    )
    return Rollout.join(tokens[:, :4], jnp.array([4, 2]), responses)


@functools.cache
def scored():
    """The scores of the rollout."""
    return jax.jit(
        functools.partial(
            experience.score, arch=ARCH, objective=PPO, with_reference=True
        )
    )(TRAINABLE, FROZEN, rollout())
