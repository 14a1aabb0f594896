"""How one role begins from another, and that all of them hold one base."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl import sharding, weights
from perl.adapters import tree
from perl.adapters.tunings import Full, LoraTuning
from perl.data.records import Dataset
from perl.judges import panel
from perl.models import architecture, heads
from perl.runs import roles
from perl.runs.reward_models import load_panel
from perl.runs.role_memory import memory
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.policy import stage
from perl.system.errors import UserError

LEAVES = architecture.parameters(tiny.ARCH)
BASE = tiny.weights()
KEY = jax.random.key(0)


def source(kind=None, head=False):
    """The base, or what a stage made of it."""
    if kind is None:
        return Role(BASE, 'base1', {}, None)
    if isinstance(kind, Full):
        delta, base = jax.tree.map(lambda x: x + 0.1, BASE), {}
    else:
        delta, base = tiny.adapter(kind=kind), BASE
    if head:
        delta = {**delta, 'head': tiny.head()}
    return Role(base, 'base1', delta, kind, shift=1.0, scale=2.0)


def plain(role):
    """What the role computes with, its head apart, in one tree."""
    return tree.merge(role.base, roles.without_head(role.delta))


@pytest.mark.parametrize('head', [False, True])
@pytest.mark.parametrize(
    'old, new',
    [
        (None, tiny.LORA),
        (None, Full()),
        (tiny.LORA, tiny.LORA),
        (tiny.LORA, Full()),
        (Full(), Full()),
    ],
    ids=lambda kind: kind.label if kind else 'base',
)
def test_a_role_begins_as_its_source(old, new, head):
    start = source(old, head and old is not None)
    role = roles.begin(KEY, new, start, LEAVES, 'sft')
    tiny.close(plain(role), plain(start), 1e-6)
    assert (role.tuning, role.base_id) == (new, 'base1')
    assert (role.shift, role.scale) == (0.0, 1.0)
    assert role.base == {} if isinstance(new, Full) else role.base is BASE


@pytest.mark.parametrize('new', [tiny.LORA, Full()], ids=lambda kind: kind.label)
def test_a_head_goes_on_with_its_adapter(new):
    start = source(tiny.LORA, head=True)
    role = roles.begin(KEY, new, start, LEAVES, 'reward')
    tiny.close(role.delta['head'], start.delta['head'], 0)


@pytest.mark.parametrize('kind', [tiny.LORA, Full()], ids=lambda kind: kind.label)
def test_what_begins_shares_no_buffer_with_what_it_began_from(kind):
    # the new delta is donated to every step: its source must survive that
    start = source(kind, head=True)
    role = roles.begin(KEY, kind, start, LEAVES, 'sft')
    assert not pointers(role.delta) & (pointers(start.delta) | pointers(BASE))


def pointers(tree):
    return {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)}


@pytest.mark.parametrize(
    'new', [LoraTuning(3, 12.0, targets=tiny.EVERYWHERE), LoraTuning(4)]
)
def test_an_adapter_of_another_shape_or_scale_is_refused(new):
    with pytest.raises(UserError, match=r'reward\.tuning: .*set reward\.start to base'):
        roles.begin(KEY, new, source(tiny.LORA), LEAVES, 'reward')


def test_dropout_is_the_new_stages():
    """As WARM's members have it, which go on from one probe with dropouts of their
    own."""
    start, new = source(tiny.LORA), dataclasses.replace(tiny.LORA, dropout=0.15)
    role = roles.begin(KEY, new, start, LEAVES, 'reward')
    assert role.tuning == new
    loras = jax.tree.leaves(role.delta, is_leaf=tree.is_adapter)
    assert {x.dropout for x in loras} == {0.15}
    tiny.close(plain(role), plain(start), 0)


def test_a_head_is_kept_or_made():
    had = source(tiny.LORA, head=True)
    assert roles.with_head(KEY, had, 16) is had
    made = roles.with_head(KEY, source(tiny.LORA), 16)
    assert made.delta['head']['kernel'].shape == (16,)
    assert roles.without_head(made.delta).keys() == source(tiny.LORA).delta.keys()


@pytest.mark.parametrize('kind', [None, tiny.LORA, Full()])
@pytest.mark.parametrize('head', [False, True])
def test_the_declaration_has_the_shape_of_the_delta(kind, head):
    role = source(kind, head and kind is not None)
    said = roles.declared(role, LEAVES, 16)
    is_leaf = weights.is_leaf
    assert jax.tree.structure(said, is_leaf=is_leaf) == jax.tree.structure(role.delta)
    for leaf, x in zip(
        jax.tree.leaves(said, is_leaf=is_leaf), jax.tree.leaves(role.delta), strict=True
    ):
        assert leaf.shape == x.shape


def test_the_card_of_a_role():
    card = roles.card(source(tiny.LORA, head=True), 'reward', 'words1')
    assert (card.role, card.base, card.tokenizer) == ('reward', 'base1', 'words1')
    assert (card.tuning, card.shift, card.scale) == (tiny.LORA, 1.0, 2.0)


def opened(workdir, mesh, sft='lora', reward='lora', **policy):
    """A run whose SFT and reward stages have left their adapters."""
    config = configs.experiment('tiny')
    how = {name: configs.tuning_config(name, 3, alpha=6.0) for name in ('lora', 'full')}
    config.sft.tuning, config.reward.tuning = how[sft], how[reward]
    config.policy.update(tuning=how['lora'], **policy)
    words = types.SimpleNamespace(fingerprint='words1')
    mesh = sharding.make_mesh(*mesh)
    run = Run(config, workdir, mesh, Dataset('none'), words, tiny.ARCH)
    run.use_base(BASE)
    run.save_role('sft', trained(run, 'sft'))
    made = roles.with_head(KEY, trained(run, 'reward'), 16)
    run.save_role('reward', made)
    return run


def trained(run, stage):
    role = run.begin(stage)
    delta = jax.tree.map(lambda x: x + 0.01, role.delta)
    return Role(role.base, role.base_id, delta, role.tuning, 0.5, 2.0)


@pytest.mark.parametrize(
    'sft, mesh, value_start',
    [
        *(('lora', (1, 1, 1), start) for start in ('sft', 'reward', 'base')),
        *(('lora', (2, 2, 2), start) for start in ('sft', 'reward', 'base')),
        # a value from the base has another one than SFT in full has made
        *(('full', (1, 1, 1), start) for start in ('sft', 'reward')),
    ],
)
def test_all_roles_of_a_policy_hold_the_same_base(tmp_path, sft, mesh, value_start):
    run = opened(tmp_path, mesh, sft, value_start=value_start)
    team = stage.assemble(run, 'policy') | {'reward': run.reward_role('reward')}
    assert team.keys() == {'policy', 'value', 'reward', 'reference'}
    base = jax.tree.leaves(team['reference'].base)
    for name, role in team.items():
        for own, one in zip(jax.tree.leaves(role.base), base, strict=True):
            assert own is one, name
    assert (base[0] is jax.tree.leaves(run.base)[0]) is (sft == 'lora')
    # what is trained is donated: nothing else may hold it
    for name in ('policy', 'value'):
        others = jax.tree.leaves([r.delta for n, r in team.items() if n != name])
        assert not any(
            x is y for x in jax.tree.leaves(team[name].delta) for y in others
        )
        if mesh == (1, 1, 1):
            assert not pointers(team[name].delta) & (pointers(others) | pointers(base))


def test_the_policy_begins_as_its_reference(tmp_path):
    run = opened(tmp_path, (1, 1, 1))
    team = stage.assemble(run, 'policy')
    tiny.close(team['policy'].delta, team['reference'].delta, 0)
    assert 'head' in team['value'].delta
    assert 'head' not in team['policy'].delta


def test_judges_share_the_base_and_keep_their_normalisation(tmp_path):
    run = opened(tmp_path, (1, 1, 1))
    panel = load_panel(run, 'reward')
    (base, delta), *none = panel.stacks
    assert not none and 'head' in delta
    own = zip(jax.tree.leaves(base), jax.tree.leaves(run.base), strict=True)
    assert all(x is y for x, y in own)
    assert (panel.shifts.tolist(), panel.scales.tolist()) == ([0.5], [2.0])
    said = memory(stage.assemble(run, 'policy'), panel)
    assert said.startswith('bases ') and ', reward ' in said


def test_a_value_that_starts_as_the_reward_model_gives_its_reward(tmp_path):
    run = opened(tmp_path, (1, 1, 1), value_start='reward')
    value = stage.assemble(run, 'policy')['value']
    row = tiny.ended()
    model = {k: row[k] for k in ('tokens', 'positions', 'segments', 'ends')}
    got = heads.rewards(run.arch, value.bound(), model)
    want = panel.rewards(run.arch, load_panel(run, 'reward'), model)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert (value.shift, value.scale) == (0, 1)


def test_a_reward_model_in_full_needs_no_base(tmp_path):
    run = opened(tmp_path, (1, 1, 1), reward='full')
    role = run.reward_role('reward')
    assert role.base == {}
    tiny.close(
        role.bound()['embed'], np.asarray(BASE['embed']) + np.float32(0.01), 1e-6
    )


def test_a_stage_that_has_not_run_is_named(tmp_path):
    run = opened(tmp_path, (1, 1, 1))
    with pytest.raises(UserError, match=r'run the stage policy first'):
        run.role('policy')
    says = r"'polcy' is neither a stage nor a folder; did you mean 'policy'"
    with pytest.raises(UserError, match=says):
        run.role('polcy')
    (tmp_path / 'reward' / 'adapter' / 'adapter.json').unlink()
    with pytest.raises(UserError, match=r'reward: .* has no adapter yet'):
        run.reward_role('reward')


def test_an_adapter_of_another_base_is_refused(tmp_path):
    run = opened(tmp_path, (1, 1, 1))
    run.use_base(jax.tree.map(lambda x: jnp.asarray(x * 2), BASE))
    with pytest.raises(UserError, match='was trained on the base'):
        run.role('sft')
