"""The scalar head alone learns from states that are computed once."""

import functools

import jax
import numpy as np
import pytest
import tiny
from reward_tasks import ARCH, RANKINGS, ROLE, a_task, encoded

from perl.stages import probe, reward
from perl.system.interrupt import Interrupt, Stopped


def known(**changes):
    data = {'train': encoded(RANKINGS), 'val': encoded(RANKINGS[1:])}
    return probe.read(a_task(**changes), ROLE, data, 'probe', Interrupt())[0]


@pytest.mark.parametrize('share', ['never', 'always'])
def test_rewards_of_known_states_are_those_of_the_texts(share):
    task = known(share_prompts=share)
    for split, rankings in (('train', RANKINGS), ('val', RANKINGS[1:])):
        data = task.records(split)
        assert data.states.shape == (len(rankings), 4, ARCH.width)
        want = a_task().scores(ROLE, encoded(rankings))
        np.testing.assert_allclose(task.scores(ROLE, data), want, atol=1e-5)


def test_a_step_on_known_states_is_that_on_texts():
    """Values and gradients, with rankings of different lengths in a batch."""
    loss = reward._probing(functools.partial(reward.bradley_terry, arch=ARCH))
    of = jax.jit(jax.value_and_grad(loss, has_aux=True))
    rows = np.array([2, 0])
    data = known().records('train')
    batches = [a_task().collate(x, rows) for x in (data, encoded(RANKINGS))]
    assert set(batches[0]) == {'states', 'labels', 'margins', 'preferences', 'present'}
    (got, sums), slope = of(ROLE.delta, ROLE.base, batches[0], None)
    (want, same), gradient = of(ROLE.delta, ROLE.base, batches[1], None)
    tiny.close((got, sums, slope), (want, same, gradient), 1e-5)
    assert np.abs(slope['head']['kernel']).min() > 0


def test_a_batch_without_the_longest_ranking_has_no_empty_completions():
    batch = a_task().collate(known().records('train'), np.array([1, 1]))
    assert batch['states'].shape == (2, 2, ARCH.width) and 'present' not in batch


def test_it_can_be_stopped():
    interrupt = Interrupt()
    interrupt.requested = True
    with pytest.raises(Stopped, match='probe: stopped before its first step'):
        probe.read(a_task(), ROLE, {'val': encoded(RANKINGS)}, 'probe', interrupt)
