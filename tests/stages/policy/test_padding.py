"""A reward that depends on padding or batch mates is found."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.judges import panel
from perl.rollout import scoring
from perl.rollout.responses import Responses, Rollout
from perl.runs.roles import Role
from perl.stages.frozen import Frozen
from perl.stages.policy.episodes import Scores
from perl.stages.policy.padding import reward_alone
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def scored():
    """Rewards of three ragged rows, and the panel that gave them."""
    base, delta = tiny.weights(), {**tiny.adapter(), 'head': tiny.head()}
    judges = panel.build([Role(base, 'base', delta, tiny.LORA, 0.5, 2.0)])
    tokens, _ = tiny.rows((3, 8))
    lengths, count = jnp.array([2, 5, 4]), jnp.array([1, 3, 2])
    rewards = jax.jit(scoring.rewards, static_argnums=(0, 5))(
        tiny.ARCH, judges, tokens, lengths, count, 3
    )
    empty = jnp.zeros((3, 3))
    responses = Responses(tokens[:, 5:], empty, count, jnp.zeros(3, bool))
    frozen = Frozen(policy=base, reward=judges)
    return frozen, Rollout(tokens, lengths, responses), Scores(empty, rewards=rewards)


def test_a_reward_that_stands_alone_passes(scored):
    assert reward_alone(*scored, tiny.ARCH) < 1e-5


@pytest.mark.parametrize('wrong', [0.5, np.nan])
def test_a_reward_that_changes_with_its_batch(scored, wrong):
    frozen, rollout, scores = scored
    scores = dataclasses.replace(scores, rewards=scores.rewards.at[1].add(wrong))
    with pytest.raises(UserError, match='padding and batch mates; the cause is a mask'):
        reward_alone(frozen, rollout, scores, tiny.ARCH)


def test_a_reward_that_reads_its_padding_is_caught(scored, monkeypatch):
    def careless(lengths, prompt, response=0):
        slots = jnp.arange(prompt + response)
        slots = jnp.broadcast_to(slots, (len(lengths), slots.size))
        return slots, jnp.zeros_like(slots)

    monkeypatch.setattr(scoring, 'left_padded', careless)
    with pytest.raises(UserError, match='padding and batch mates'):
        reward_alone(*scored, tiny.ARCH)
