"""Plans: the step of every kind of stage, compiled for arrays that are never made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl import sharding
from perl.stages.table import STAGES

RATE = 1e-3


def experiment():
    """A config with a stage of every kind, of the size of `tiny.ARCH`."""
    config = configs.experiment('paper')
    config.lengths.update(prompt=8, response=8)
    tuning = configs.tuning_config('lora', 2)
    common = {'batch_size': 8, 'steps': 3}
    config.pretrain.update(common)
    for name in ('sft', 'reward', 'policy'):
        config[name].update(common | {'tuning': tuning})
    config.probe = configs.stage_config('reward', RATE, head_only=True, **common)
    config.rated = configs.stage_config('reward', RATE, loss='pointwise', **common)
    config.full = configs.stage_config(
        'reward', RATE, tuning=configs.tuning_config('full'), **common
    )
    config.dpo = configs.dpo_config(RATE, tuning=tuning, **common)
    config.mean = configs.ensemble_config(('reward', 'probe'))
    config.gated = configs.ensemble_config(('reward', 'full'), combine='gate', **common)
    config.warm = configs.average_config(('reward', 'probe'))
    config.grpo = configs.policy_config(
        RATE, algorithm='grpo', tuning=tuning, ptx_coefficient=0.1, ptx_batch_size=8,
        **common,
    )  # fmt: skip
    return config


CONFIG = experiment()
TRAINED = ('pretrain', 'sft', 'reward', 'probe', 'rated', 'full', 'dpo', 'gated',
           'policy', 'grpo')  # fmt: skip


def plan(name):
    return STAGES[CONFIG[name].kind].plan(tiny.ARCH, CONFIG, name)


@pytest.mark.parametrize('name', ['mean', 'warm'])
def test_a_stage_without_steps_has_no_plan(name):
    assert plan(name) is None


@pytest.mark.parametrize('name', TRAINED)
def test_a_step_of_shapes_gives_the_state_it_took(name):
    """The update of abstract arrays: no memory, and a state of the same shapes."""
    paper = plan(name)
    state, frozen, batch = paper.abstract()
    after, metrics = jax.eval_shape(paper.step(), state, frozen, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    jax.tree.map(lambda x, y: np.testing.assert_equal(x.shape, y.shape), after, state)
    assert {'loss', 'grad_norm'} <= metrics.keys()
    for x in jax.tree.leaves(state['trainable']):
        assert x.dtype == jnp.float32


@pytest.mark.parametrize('name', ['reward', 'policy'])
def test_a_step_compiles_for_a_mesh_without_arrays(name):
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    paper = plan(name)
    with jax.set_mesh(mesh):
        program = paper.update().lower(*paper.abstract(mesh)).compile()
    arguments = program.memory_analysis().argument_size_in_bytes
    held = paper.bytes_per_device(mesh)
    # roles that share a base take it as an argument each, so there are more of them
    assert arguments >= held['frozen'] + held['trainable'] + held['optimizer']


def test_bytes_are_counted_by_hand():
    """Rank 2 on q, k, v, o of two layers, and a head: 4 bytes each, two moments."""
    alone = sharding.make_mesh()
    arch = tiny.ARCH
    D, inner, kv = arch.width, arch.heads * arch.head_width, 2 * arch.head_width
    factors = 2 * 2 * ((D + inner) + 2 * (D + kv) + (inner + D))
    held = plan('reward').bytes_per_device(alone)
    assert held['trainable'] == held['gradients'] == 4 * (factors + D + 1)
    assert held['optimizer'] == pytest.approx(2 * held['trainable'], abs=16)
    assert plan('reward').parameter_count() == factors + D + 1


def test_a_probe_moves_its_head_alone():
    alone = sharding.make_mesh()
    held = plan('probe').bytes_per_device(alone)
    assert plan('probe').parameter_count() == tiny.ARCH.width + 1
    assert held['gradients'] == 4 * (tiny.ARCH.width + 1) < held['trainable']
    assert held['optimizer'] < 2 * held['gradients'] + 32


def test_a_mesh_shares_what_it_can():
    alone = plan('pretrain').bytes_per_device(sharding.make_mesh())
    shared = plan('pretrain').bytes_per_device(sharding.make_mesh(fsdp=2, tensor=2))
    assert shared['trainable'] < 0.5 * alone['trainable']
    assert shared['optimizer'] < 0.5 * alone['optimizer']


@pytest.mark.parametrize('reward', ['reward', 'full', 'mean'])
def test_reward_models_on_paper_are_divided_as_in_a_run(reward):
    """One adapter, all weights in float32, and a stack of two adapters."""
    config = CONFIG.copy_and_resolve_references()
    config.policy.reward = reward
    policy = STAGES['policy'].plan(tiny.ARCH, config, 'policy')
    ((base, _),) = policy.frozen.reward.stacks
    assert (base == {}) == (reward == 'full')
    mesh = sharding.make_mesh(fsdp=8)
    _, frozen, _ = policy.abstract(mesh)
    ((_, placed),) = frozen.reward.stacks
    q = placed['layers']['attention']['q']
    array, width = (q, 1) if reward == 'full' else (q.a, 1 + (reward == 'mean'))
    assert array.dtype == jnp.float32
    part = array.sharding.shard_shape(array.shape)
    assert part[width] == array.shape[width] // 8 == 2
    assert (array.shape[1] == 2) == (reward == 'mean')
