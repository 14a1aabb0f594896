"""Reward models from a common probe, their averages and their ensembles, end to end."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
import runs
import tiny

from perl import check, evaluate
from perl import config as configs
from perl.adapters import averaging, bundle, tree
from perl.evaluation.reward_task import reward_task
from perl.export import export, stage_role
from perl.judges import panel
from perl.models import families, heads
from perl.models.files import open_checkpoint
from perl.runs import opening, reward_models, teachers
from perl.runs.judging import open_judge
from perl.runs.roles import without_head
from perl.system import jsonl
from perl.system.errors import UserError
from perl.system.metrics import read

BEFORE = ('pretrain', 'sft', 'reward')
REWARDS = ('reward_a', 'reward_b')
ENSEMBLES = {
    'mean': {},
    'min': {},
    'mean_std': {'deviations': 2.0},
    'gate': {},
    'mole': {},
}
GATES = {'gate': 3 * 16 * 3 + 1, 'mole': runs.config().model.layers * (3 * 16 * 3 + 1)}


def experiment():
    """The small one with a probe, two reward models of it, and what they make."""
    config = runs.config().unlock()
    tuning = config.sft.tuning
    short = {'tuning': tuning, 'steps': 3, 'batch_size': 8, 'save_every': 2}
    made = {
        'probe': configs.stage_config(
            'reward', 1e-2, start='sft', head_only=True, **short
        ),
        'reward_a': configs.stage_config(
            'reward', 1e-2, start='probe', label_smoothing=0.1, **short
        ),
        'reward_b': configs.stage_config(
            'reward', 1e-2, start='probe', shuffle=1, centre='demonstrations', **short
        ),
        'warm': configs.average_config(REWARDS, rank=3),
        'arc': configs.average_config(REWARDS, method='slerp'),
        'back': configs.average_config(
            ('arc',), method='interpolate_to_start', weight=0.3
        ),
    }
    for name, changes in ENSEMBLES.items():
        made[f'by_{name}'] = configs.ensemble_config(
            (*REWARDS, 'warm'), 1e-2, combine=name, steps=3, batch_size=8, **changes
        )
    once = {'steps': 1, 'batch_size': 8, 'minibatches': 1, 'epochs': 1}
    made['policy_b'] = configs.policy_config(
        1e-2, tuning=tuning, reward='by_mole', **once
    )
    made['warp'] = configs.average_config(('policy', 'policy_b'), method='slerp')
    for name, stage in made.items():
        config[name] = stage
    config.stages = ('pretrain', 'sft', 'reward', 'policy', *made)
    return config.lock()


@pytest.fixture(scope='module')
def made(finished, tmp_path_factory):
    """The folder of that experiment, finished."""
    workdir = tmp_path_factory.mktemp('made') / 'run'
    runs.copy(finished, workdir, (*BEFORE, 'policy'))
    runs.run(experiment(), workdir)
    return workdir


@pytest.fixture(scope='module')
def run(made):
    """The same, opened."""
    return opening.open_finished(made)


@pytest.fixture
def figures(made):
    return runs.results(made)


@pytest.fixture(scope='module')
def evaluated(run):
    """The evaluation of the last policy, which is the average."""
    return evaluate.evaluate(run)


def test_a_probe_moves_nothing_but_its_head(made, run, figures):
    probe, source = run.reward_role('probe'), run.source('sft')
    tiny.close(without_head(probe.delta), source.delta, 0)
    fresh = heads.init_head(run.key('probe/head'), 16)
    assert np.abs(probe.delta['head']['kernel'] - fresh['kernel']).max() > 1e-3
    assert figures['probe']['trainable'] == 17
    assert read(made / 'probe')[0]['grad_norm'] > 0


def test_reward_models_go_on_from_the_probe(made, run):
    one, other = (run.reward_role(name).delta for name in REWARDS)
    probe = run.reward_role('probe').delta
    q = [d['layers']['attention']['q'].a for d in (one, other, probe)]
    kernels = [d['head']['kernel'] for d in (one, other, probe)]
    for parts in (q, kernels):
        moved = [np.abs(x - parts[2]).max() for x in parts[:2]]
        assert all(0 < x < 0.1 for x in moved)
    assert np.any(kernels[0] != kernels[1])  # another order of the data
    losses = [read(made / name)[0]['loss'] for name in REWARDS]
    assert losses[0] != losses[1]


def test_rewards_average_0_where_the_config_says(run):
    for name, records in (('reward_a', 'comparisons'), ('reward_b', 'demonstrations')):
        role = run.reward_role(name)
        data = run.encoded(getattr(run.dataset, records)['val'])
        raw = reward_task(run, name).scores(role, data)
        assert role.shift == pytest.approx(raw.mean(), abs=1e-5)


def test_the_average_is_the_mean_of_the_products(run):
    parts = [run.reward_role(name).delta for name in REWARDS]
    whole = averaging.combine(parts, [0.5, 0.5])
    want, _ = averaging.compress(whole, 3)
    got = run.reward_role('warm')
    assert got.delta['layers']['attention']['q'].a.shape[-1] == 3
    assert got.scale != 1 and got.tuning.rank == 3
    tiny.close(
        tree.merge(got.base, without_head(got.delta)),
        tree.merge(got.base, without_head(want)),
        1e-5,
    )
    tiny.close(got.delta['head'], whole['head'], 1e-6)


def test_slerp_and_back(run):
    arc, back, probe = (
        run.reward_role(name).delta for name in ('arc', 'back', 'probe')
    )
    ranks = [d['layers']['attention']['q'].a.shape[-1] for d in (probe, arc, back)]
    assert ranks == [2, 6, 8]
    head = 0.7 * probe['head']['kernel'] + 0.3 * arc['head']['kernel']
    np.testing.assert_allclose(back['head']['kernel'], head, atol=1e-6)


def test_averages_are_measured_like_reward_models(figures):
    for name in ('warm', 'arc', 'back'):
        row = figures[name]
        assert row['kind'] == 'reward' and 0 <= row['accuracy'] <= 1
        assert set(row['ci95']) == {'accuracy'}
    assert figures['warm']['tuning'] == 'lora r=3, mean of reward_a, reward_b'


def test_a_policy_may_be_judged_by_an_ensemble(made, figures):
    row = read(made / 'policy_b')[0]
    assert np.isfinite(row['reward']) and row['check_reward'] < 1e-2
    assert np.isfinite(figures['policy_b']['reward_after'])


def test_each_policy_is_evaluated_by_the_reward_model_that_taught_it(
    run, evaluated, figures
):
    found = {x: evaluate.evaluate(run, policy=x) for x in ('policy', 'policy_b')}
    for stage, whole in {**found, 'warp': evaluated}.items():
        row = whole[f'{stage} against sft']
        for name in ('reward_before', 'reward_after', 'win_rate'):
            assert row[name] == pytest.approx(figures[stage][name]), stage
    by = evaluate.evaluate(run, policy='policy_b', judge='reward')
    by = by['policy_b against sft']['reward_after']
    assert by != pytest.approx(figures['policy_b']['reward_after'])


def test_an_average_of_policies_is_compared_with_the_reference(made, figures):
    row = figures['warp']
    assert row['kind'] == 'policy' and {'win_rate', 'kl', 'reward_after'} <= row.keys()
    assert (made / 'warp' / 'samples.jsonl').is_file()


@pytest.mark.parametrize('combine', ENSEMBLES)
def test_ensembles(made, run, figures, combine):
    name, row = f'by_{combine}', figures[f'by_{combine}']
    assert row['kind'] == 'reward' and 0 <= row['accuracy'] <= 1
    want = {k: {'accuracy': figures[k]['accuracy']} for k in (*REWARDS, 'warm')}
    assert row['members'] == want
    task = reward_task(run, name)
    data = task.records('val')
    scores = task.scores(reward_models.load_panel(run, name), data)
    assert scores.mean() == pytest.approx(0, abs=1e-4)
    assert scores.std() == pytest.approx(1, abs=1e-4)
    assert (made / name / 'gate.safetensors').is_file() == (combine in GATES)
    if combine in GATES:
        return
    alone = []
    for part in (*REWARDS, 'warm'):
        role = run.reward_role(part)
        raw = reward_task(run, part).scores(role, data)
        alone.append((raw - role.shift) / role.scale)
    together = {
        'mean': np.mean(alone, 0),
        'min': np.min(alone, 0),
        'mean_std': np.mean(alone, 0) - 2.0 * np.std(alone, 0),
    }[combine]
    together = (together - together.mean()) / together.std()
    np.testing.assert_allclose(scores, together, atol=2e-3)


@pytest.mark.parametrize('combine', GATES)
def test_a_gate_is_trained_and_the_members_are_not(made, run, figures, combine):
    rows = read(made / f'by_{combine}')
    assert rows[0]['balance'] == pytest.approx(3 * np.log(3), abs=1e-4)
    assert rows[0]['largest_share'] == pytest.approx(1 / 3, abs=1e-5)
    assert rows[-1]['largest_share'] > 1 / 3 + 1e-6
    assert 'val_accuracy' in rows[-1]
    gate = reward_models.load_panel(run, f'by_{combine}').gate
    assert np.abs(gate['e']).max() > 0
    assert figures[f'by_{combine}']['trainable'] == GATES[combine]


@pytest.mark.parametrize('name', [f'by_{combine}' for combine in GATES])
def test_a_gate_resumes_exactly(made, tmp_path, name):
    stages = (*BEFORE, 'policy', 'probe', *REWARDS, 'warm')
    again = runs.copy(made, tmp_path / 'again', stages)
    with pytest.raises(runs.Killed), runs.dying(name, 2, runs.killed):
        runs.run(experiment(), again, [name])
    runs.run(experiment(), again, [name])
    assert runs.rows(again / name) == runs.rows(made / name)
    gates = [(f / name / 'gate.safetensors').read_bytes() for f in (made, again)]
    assert gates[0] == gates[1]


def test_panels_by_name(made, run):
    one = reward_models.load_panel(run, 'reward_a')
    assert one.sizes == (1,) and float(one.scales[0]) == pytest.approx(
        run.reward_role('reward_a').scale
    )
    three = reward_models.load_panel(run, 'by_gate')
    assert three.sizes == (3,) and three.stacks[0][0] is run.base
    elsewhere = reward_models.load_panel(run, str(made / 'by_min'))
    assert jax.tree.structure(elsewhere) == jax.tree.structure(
        reward_models.load_panel(run, 'by_min')
    )
    folder = reward_models.load_panel(run, str(made / 'reward_b' / 'adapter'))
    assert folder.sizes == (1,)
    with pytest.raises(
        UserError, match='sft: it makes a policy, so it is not a reward'
    ):
        reward_models.load_panel(run, 'sft')
    with pytest.raises(UserError, match='it has no scalar head, so it is not a reward'):
        reward_models.load_panel(run, str(made / 'sft' / 'adapter'))
    with pytest.raises(UserError, match='it has a scalar head, so it is not a policy'):
        run.role(str(made / 'reward_b' / 'adapter'))
    with pytest.raises(UserError, match='by_min: it makes a reward model, so it is no'):
        run.role('by_min')


@pytest.mark.parametrize(
    'spoil, says',
    [
        (lambda f: (f / 'ensemble.json').unlink(), 'has no ensemble yet; run the'),
        (lambda f: (f / 'ensemble.json').write_text('{'), 'is damaged'),
        (lambda f: (f / 'ensemble.json').write_text('{"of": []}'), 'combine is m'),
        (lambda f: (f / 'gate.safetensors').unlink(), 'gate.safetensors is not there'),
        (lambda f: (f / 'gate.safetensors').write_bytes(b'x'), 'is damaged'),
        (lambda f: flip(f / 'gate.safetensors'), 'the sha256 of gate.safetensors is'),
        (lambda f: flip(f / 'ensemble.json'), 'ensemble.json or its gate is damaged'),
        (lambda f: edit(f, of=['reward_a', 'warm']), r'is not one of 2 members'),
        (lambda f: edit(f, of=None), r'of: None .* is not a list'),
        (lambda f: edit(f, of=[]), 'it has no members'),
        (lambda f: edit(f, of=[7]), r'of\[0\]: 7 .* is not text'),
        (lambda f: edit(f, combine='most'), "combine: 'most' is not one of mean, min"),
        (lambda f: edit(f, shift='0'), "shift: '0' .* is not a number"),
        (lambda f: edit(f, shift=float('inf')), 'shift: inf must be finite'),
        (lambda f: edit(f, scale=0), 'a scale that is not above 0'),
        (lambda f: edit(f, scale=10**400), r'scale: the number is larger than'),
        (lambda f: edit(f, deviations=None), 'deviations: None .* is not a number'),
        (lambda f: edit(f, colour='red'), 'colour is unknown'),
    ],
)
def test_a_spoilt_ensemble_is_said(made, run, tmp_path, spoil, says):
    workdir = pathlib.Path(runs.clone(made, tmp_path / 'spoilt'))
    spoil(workdir / 'by_gate')
    moved = dataclasses.replace(run, workdir=workdir)
    with pytest.raises(UserError, match=says):
        reward_models.load_panel(moved, 'by_gate')


def flip(file):
    data = bytearray(file.read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)


def edit(folder, **changes):
    card = json.loads((folder / 'ensemble.json').read_text())
    del card['checksum']
    (folder / 'ensemble.json').write_text(json.dumps(card | changes))


def test_the_evaluation_knows_them_all(evaluated, figures):
    names = ('reward', 'probe', *REWARDS, 'warm', 'by_gate')
    for name in names:
        assert evaluated[name]['accuracy'] == figures[name]['accuracy']
    assert evaluated['warp against sft']['win_rate'] == figures['warp']['win_rate']


@pytest.mark.parametrize(
    ('judge', 'trained'),
    [
        ('by_mole', True),  # the ensemble that trained it
        ('reward_b', True),  # a member of it
        ('by_min', True),  # another ensemble of its members
        ('warm', True),  # an average that is a member
        ('reward', False),
        ('probe', False),
    ],
)
def test_a_judge_that_trained_the_policy_is_known(run, judge, trained):
    teacher = teachers.trained_by(run, 'policy_b')
    assert teacher == ('by_mole', '')
    assert teachers.taught(run, teacher, open_judge(judge, run)) is trained
    elsewhere = run.workdir / judge
    folder = elsewhere if (elsewhere / 'ensemble.json').is_file() else None
    by_folder = open_judge(str(folder or elsewhere / 'adapter'), run)
    assert teachers.taught(run, teacher, by_folder) is trained


def test_a_policy_from_elsewhere_has_no_known_teacher(run, tmp_path):
    assert teachers.trained_by(run, str(tmp_path)) is None
    assert teachers.trained_by(run, str(run.workdir / 'policy_b' / 'adapter'))
    assert not teachers.taught(run, ('', ''), open_judge('reward', run))


def test_the_report_shows_them(made):
    from perl.report import run_folder, tables

    folder = run_folder.read(made)
    (table,) = tables.reward_models(folder)
    shown = {row[0]: row for row in table.rows}
    assert {'warm', 'by_mean', 'by_gate', 'probe'} <= shown.keys()
    assert 'by_gate' in table.markdown()
    assert shown['by_min'][1] == 'min of reward_a, reward_b, warm'
    policies = tables.policies(folder).markdown()
    assert 'warp' in policies and folder.trained_by('warp') == 'reward'


def test_what_is_checked_before(tmp_path):
    found = check.check(experiment(), tmp_path / 'run')['stages']
    for combine, count in GATES.items():
        assert found[f'by_{combine}']['trainable'] == count
    assert found['by_gate']['bytes_a_device']['optimizer'] >= 2 * 4 * 145
    assert found['warm'] == {
        'coverage': 'mean of reward_a, reward_b',
        'advice': [],
        'trainable': 0,
        'bytes_a_device': dict.fromkeys(
            ('frozen', 'trainable', 'gradients', 'optimizer'), 0
        ),
    }
    assert found['probe']['trainable'] == 17


def test_an_adapter_of_an_average_is_whole(made, run):
    _, card = bundle.load(made / 'arc' / 'adapter')
    assert card.role == 'average' and card.tuning.rank == 6
    assert panel.build([run.reward_role('arc'), run.reward_role('back')]).sizes == (2,)
    assert jsonl.load(made / 'by_min' / 'ensemble.json')['combine'] == 'min'


@pytest.mark.parametrize('form', ['bundle', 'peft'])
@pytest.mark.parametrize('stage', ['arc', 'warp'])
def test_an_average_leaves_its_run(run, tmp_path, stage, form):
    role = stage_role(run, stage)
    export(run, role, form, tmp_path / form)
    wanted = 'reward model' if stage == 'arc' else 'policy'
    back = run.adapter(str(tmp_path / form), wanted)
    tiny.close(back.delta, role.delta, 0)
    assert (back.shift, back.scale) == (role.shift, role.scale)


def test_an_average_is_merged(run, tmp_path):
    rewards, policies = tmp_path / 'rewards', tmp_path / 'policies'
    export(run, stage_role(run, 'arc'), 'merged', rewards)
    assert families.is_classifier(open_checkpoint(rewards).config)
    export(run, stage_role(run, 'warp'), 'merged', policies)
    assert not families.is_classifier(open_checkpoint(policies).config)


def test_a_mesh_makes_the_same(made, tmp_path):
    before = (*BEFORE, 'policy', 'probe', *REWARDS)
    again = runs.copy(made, tmp_path / 'again', before)
    config = experiment().unlock()
    config.mesh.update(data=2, tensor=2)
    names = [f'by_{combine}' for combine in GATES]
    config.stages = (*before, 'warm', *names)
    runs.run(config.lock(), again)
    for name in names:
        cards = [jsonl.load(f / name / 'ensemble.json') for f in (made, again)]
        assert cards[1]['scale'] == pytest.approx(cards[0]['scale'], rel=1e-3)
        losses = [
            [row['loss'] for row in runs.rows(folder / name)]
            for folder in (made, again)
        ]
        assert len(losses[0]) == 3, 'one of each step'
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
