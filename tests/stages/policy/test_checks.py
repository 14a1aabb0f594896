"""Each check passes what is right and names the cause of what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.judges import panel
from perl.rollout import scoring
from perl.runs.roles import Role
from perl.stages.policy import checks
from perl.system.errors import UserError

MASK = jnp.array([[True, True, False], [True, False, False]])
LOG_PROBS = jnp.array([[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
SEEN = {'mask': MASK, 'log_probs': LOG_PROBS, 'reference': LOG_PROBS}


def test_rollouts_that_agree_pass():
    past_the_end = LOG_PROBS.at[1, 2].set(-50.0)
    found = checks.before(SEEN, past_the_end, tiny.ARCH, True)
    assert found == {'ratio': 0.0, 'kl': 0.0}


@pytest.mark.parametrize('wrong', [0.01, -5.0, np.nan])
def test_sampler_and_trainer_that_differ(wrong):
    with pytest.raises(UserError, match=r'sampler and trainer differ.*top-k'):
        checks.before(SEEN, LOG_PROBS.at[0, 1].add(wrong), tiny.ARCH, True)


@pytest.mark.parametrize('wrong', [0.01, np.nan])
def test_a_policy_that_does_not_start_at_its_reference(wrong):
    seen = SEEN | {'reference': LOG_PROBS.at[1, 0].add(wrong)}
    with pytest.raises(UserError, match='nats from its reference'):
        checks.before(seen, LOG_PROBS, tiny.ARCH, True)
    assert 'kl' not in checks.before(seen, LOG_PROBS, tiny.ARCH, False)


def test_without_a_reference_there_is_no_kl_to_check():
    seen = {name: SEEN[name] for name in ('mask', 'log_probs')}
    assert checks.before(seen, LOG_PROBS, tiny.ARCH, True) == {'ratio': 0.0}


def test_bfloat16_may_round_more():
    teacher = LOG_PROBS + 0.1
    checks.before(SEEN, teacher, tiny.arch(dtype='bfloat16'), False)
    with pytest.raises(UserError):
        checks.before(SEEN, teacher, tiny.ARCH, False)


def test_an_update_must_move_the_policy():
    assert checks.moved(LOG_PROBS, LOG_PROBS - 0.25, SEEN['mask']) == 0.25
    for after in (LOG_PROBS, LOG_PROBS.at[0, 2].set(9.0)):
        with pytest.raises(UserError, match=r'left every log-prob.*learning rate of 0'):
            checks.moved(LOG_PROBS, after, SEEN['mask'])
    with pytest.raises(UserError, match='not a number'):
        checks.moved(LOG_PROBS, LOG_PROBS * jnp.nan, SEEN['mask'])


@pytest.fixture(scope='module')
def scored():
    """Rewards of three ragged rows, and the panel that gave them."""
    base, delta = tiny.weights(), {**tiny.adapter(), 'head': tiny.head()}
    judges = panel.build([Role(base, 'base', delta, tiny.LORA, 0.5, 2.0)])
    tokens, _ = tiny.rows((3, 8))
    lengths, responses = jnp.array([2, 5, 4]), jnp.array([1, 3, 2])
    scores = jax.jit(scoring.rewards, static_argnums=(0, 5))(
        tiny.ARCH, judges, tokens, lengths, responses, 3
    )
    mask = jnp.arange(3) < responses[:, None]
    seen = {'tokens': tokens, 'lengths': lengths, 'mask': mask}
    return {'reward': judges}, seen | {'scores': scores}, responses


def test_a_reward_that_stands_alone_passes(scored):
    assert checks.reward_alone(*scored, tiny.ARCH) < 1e-5


@pytest.mark.parametrize('wrong', [0.5, np.nan])
def test_a_reward_that_changes_with_its_batch(scored, wrong):
    frozen, seen, responses = scored
    seen = seen | {'scores': seen['scores'].at[1].add(wrong)}
    with pytest.raises(UserError, match='padding and batch mates; the cause is a mask'):
        checks.reward_alone(frozen, seen, responses, tiny.ARCH)


def test_a_reward_that_reads_its_padding_is_caught(scored, monkeypatch):
    frozen, seen, responses = scored

    def careless(lengths, prompt, response=0):
        slots = jnp.arange(prompt + response)
        return jnp.broadcast_to(slots, (len(lengths), slots.size)), None

    monkeypatch.setattr(scoring, 'left_padded', careless)
    with pytest.raises(UserError, match='padding and batch mates'):
        checks.reward_alone(frozen, seen, responses, tiny.ARCH)
