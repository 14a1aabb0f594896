"""The pipeline from pretraining to a policy, and what it leaves behind."""

import json
import shutil

import pytest
import runs
from commands import launch
from runs import config, copy, rows, run

from perl import train
from perl.system.errors import UserError

STAGES = ('pretrain', 'sft', 'reward', 'reward_full', 'policy')
OF_A_STAGE = {
    'kind',
    'tuning',
    'trainable',
    'total',
    'trainable_share',
    'steps',
    'seconds',
    'step_bytes',
    'peak_bytes',
}
OF_A_REWARD = {'n', 'accuracy', 'ci95'}
OF_A_POLICY = {
    'algorithm',
    'reward_before',
    'reward_after',
    'kl',
    'win_rate',
    'win_rate_ci95',
    'gold_before',
    'gold_after',
    'judge',
}


def test_what_a_run_leaves_behind(finished):
    for name in ('config.json', 'results.json', 'report.md', 'tokenizer'):
        assert (finished / name).exists(), name
    assert list((finished / 'plots').glob('*.png'))
    assert list((finished / 'tables').glob('*.csv'))
    for stage in STAGES:
        assert [row['step'] for row in rows(finished / stage)] == list(range(1, 7))
        assert (finished / stage / 'checkpoints' / '6').is_dir()
    for stage in STAGES[1:]:
        assert (finished / stage / 'adapter' / 'adapter.safetensors').is_file()
        assert (finished / stage / 'adapter' / 'adapter.json').is_file()
    assert (finished / 'pretrain' / 'base' / 'model.safetensors').is_file()
    samples = (finished / 'policy' / 'samples.jsonl').read_text().splitlines()
    assert len(samples) == 8
    assert {'prompt', 'response', 'reward', 'gold'} <= json.loads(samples[0]).keys()


def test_a_stage_that_has_not_begun_may_change(finished, tmp_path):
    before = ['pretrain', 'sft', 'reward']
    workdir = copy(finished, tmp_path / 'run', before, config=True)
    changed = config().unlock()
    changed.policy.steps = 2
    changed.again = changed.policy.copy_and_resolve_references()
    changed.stages = (*before, 'policy', 'again')
    figures = run(changed.lock(), workdir)
    assert list(figures) == [*before, 'policy', 'again']
    assert figures['policy']['steps'] == figures['again']['steps'] == 2
    kept = json.loads((workdir / 'config.json').read_text())
    assert kept['stages'][-1] == 'again' and kept['policy']['steps'] == 2
    with pytest.raises(UserError, match=r'policy\.steps: was 2, is 6'):
        run(config(), workdir)


def test_checkpoints_hold_no_base(finished):
    """LoRA's is smaller than the base alone, moments and all."""
    base = finished / 'pretrain' / 'base' / 'model.safetensors'
    card = json.loads(
        json.loads((finished / 'sft' / 'checkpoints' / '6' / 'card.json').read_text())[
            'content'
        ]
    )
    names = [name for name in card['arrays'] if 'embed' in name or 'mlp' in name]
    assert base.is_file() and card['arrays'] and not names


@pytest.mark.parametrize(
    ('stage', 'keys'),
    [
        ('pretrain', set()),
        ('sft', set()),
        ('reward', OF_A_REWARD),
        ('reward_full', OF_A_REWARD),
        ('policy', OF_A_POLICY),
    ],
)
def test_figures(finished, stage, keys):
    found = runs.results(finished)[stage]
    assert found.keys() >= OF_A_STAGE | keys
    assert found['seconds'] > 0 and found['step_bytes'] > 0 and found['steps'] == 6
    share = found['trainable_share']
    assert share == 1 if stage in ('pretrain', 'reward_full') else 0 < share < 0.5


def test_losses_fall(finished):
    losses = [row['loss'] for row in rows(finished / 'pretrain')]
    assert losses[-1] < losses[0]


def test_the_policy_moved(finished):
    first = rows(finished / 'policy')[0]
    assert first['adapter_active'] > 0
    assert first['check_ratio'] < 1e-4 and first['check_kl'] < 1e-4
    assert first['check_reward'] < 1e-4


def test_second_call_does_nothing(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    before = runs.files(workdir)
    ended = launch(workdir, arg='pair')
    assert ended.code == 0 and ended.err == ''
    assert ended.out.splitlines() == [
        *(f'{stage}: finished before' for stage in STAGES),
        f'report: {workdir / "report.md"}',
    ]
    assert runs.files(workdir) == before


def test_a_broken_line_of_a_finished_stage_is_told(finished, tmp_path, capfd):
    workdir = runs.clone(finished, tmp_path / 'run')
    with (workdir / 'policy' / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 7, \n')
    run(config('pair'), workdir)
    assert capfd.readouterr().err == (
        f'report: left out, could not be read: {workdir}/policy/metrics.jsonl: line 7 '
        'is not a JSON object; remove that line\n'
    )


@pytest.mark.parametrize('lost', ['pretrain', 'sft', 'policy/adapter/adapter.json'])
def test_a_stage_that_is_lost_is_trained_again(finished, tmp_path, capfd, lost):
    workdir = runs.clone(finished, tmp_path / 'run')
    (workdir / lost).rename(tmp_path / 'lost')
    stage = lost.partition('/')[0]
    before = runs.results(workdir)
    figures = run(config('pair=1'), workdir)
    out = capfd.readouterr().out
    assert f'{stage}: finished before, but its output in {workdir / stage} is' in out
    assert out.count('finished before\n') == len(STAGES) - 1
    runs.assert_same(workdir, finished, stage)
    assert list(figures) == list(STAGES)
    for name in set(STAGES) - {stage}:
        assert figures[name] == before[name], 'what comes after keeps its results'


def test_a_removed_stage_is_trained_with_other_settings(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    shutil.rmtree(workdir / 'policy')
    figures = run(config('pair=1', **{'policy.steps': 2}), workdir)
    assert figures['policy']['steps'] == 2 and list(figures) == list(STAGES)
    kept = json.loads((workdir / 'config.json').read_text())
    assert kept['policy']['steps'] == 2


def test_nothing_on_stderr_but_progress(finished, tmp_path):
    """Libraries do not talk into a run's output."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    ended = launch(workdir, '--stages=sft')
    assert ended.code == 0 and ended.err == ''
    assert '\nsft: 6 steps of 8, lora r=2: 4 kinds' in ended.out


def test_some_stages(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    figures = run(config(), workdir, ['sft'])
    assert list(figures) == ['pretrain', 'sft'] and not (workdir / 'reward').exists()
    runs.assert_same(workdir, finished, 'sft')


@pytest.mark.parametrize(
    ('stage', 'done', 'said'),
    [
        ('sft', [], 'run the stage pretrain first'),
        ('reward', ['pretrain'], 'run the stage sft first'),
        ('policy', ['pretrain', 'sft'], 'run the stage reward first'),
    ],
)
def test_stage_before_its_predecessor(finished, tmp_path, stage, done, said):
    workdir = copy(finished, tmp_path / 'run', done)
    with pytest.raises(UserError, match=said):
        run(config(), workdir, [stage])


def test_full_tuning_everywhere(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    changes = {'policy.value_start': 'base', 'policy.steps': 2, 'reward.steps': 2}
    figures = run(config('tuning=full', **changes), workdir)
    assert [figures[name]['tuning'] for name in ('sft', 'reward', 'policy')] == [
        'full'
    ] * 3
    assert runs.trained(workdir / 'policy').keys() == {
        f'{role}/adapter.{kind}'
        for role in ('adapter', 'value')
        for kind in ('json', 'safetensors')
    }


def test_reinforce_with_everything(finished, tmp_path):
    """The other algorithm, value start, controller and reward scaling."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain', 'sft', 'reward'])
    changes = {
        'policy.algorithm': 'reinforce',
        'policy.value_start': 'reward',
        'policy.kl_controller': 'adaptive',
        'policy.kl_target': 0.01,
        'policy.kl_horizon': 20.0,
        'policy.scale_rewards': True,
        'policy.missing_eos_penalty': 3.0,
        'policy.micro_batches': 2,
        'policy.steps': 3,
        'tensorboard': True,
    }
    figures = run(config(**changes), workdir)
    assert figures['policy']['algorithm'] == 'reinforce'
    found = rows(workdir / 'policy')
    beta = [row['kl_coefficient'] for row in found]
    assert len(set(beta)) > 1, 'the controller steers'
    assert max(row['no_eos'] for row in found) > 0
    assert list((workdir / 'policy' / 'tensorboard').iterdir())


def test_base_start_leaves_sft_out(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    changes = {'reward.start': 'base', 'reward.steps': 2}
    figures = run(config(stages=('pretrain', 'reward'), **changes), workdir)
    assert 'accuracy' in figures['reward']
    assert len(rows(workdir / 'reward')) == 2


def test_start_from_sft_without_sft(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    with pytest.raises(
        UserError,
        match=r'reward\.start: the stage sft is neither .*set reward\.start=base',
    ):
        run(config(stages=('pretrain', 'reward')), workdir)


def reward_rows(finished, workdir, **changes):
    copy(finished, workdir, ['pretrain', 'sft'])
    figures = run(config(**changes), workdir, ['reward'])
    return rows(workdir / 'reward'), figures['reward']


@pytest.mark.parametrize(
    'changes',
    [{'reward.share_prompts': 'never'}, {'reward.micro_batches': 4}],
    ids=['a prompt each', 'four parts'],
)
def test_same_reward_in_another_way(finished, tmp_path, changes):
    found, figures = reward_rows(finished, tmp_path / 'run', **changes)
    for row, wanted in zip(found, rows(finished / 'reward'), strict=True):
        assert row['loss'] == pytest.approx(wanted['loss'], abs=1e-4)
        assert row['grad_norm'] == pytest.approx(wanted['grad_norm'], rel=1e-2)
    wanted = runs.results(finished)['reward']
    assert figures['n'] == wanted['n']
    assert figures['accuracy'] == pytest.approx(wanted['accuracy'], abs=0.1)


@pytest.mark.parametrize(
    ('setting', 'stages'),
    [('model.dtype', ('sft', 'reward', 'policy')), ('model.precision', ('sft',))],
)
def test_bfloat16(finished, tmp_path, setting, stages):
    """A policy in such products is in `test_iteration.py`."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    steps = {f'{stage}.steps': 2 for stage in stages}
    figures = run(config(**steps, **{setting: 'bfloat16'}), workdir, stages)
    assert list(figures) == ['pretrain', *stages]
    half, single = rows(workdir / 'sft')[0], rows(finished / 'sft')[0]
    assert half['loss'] != single['loss']
    assert half['loss'] == pytest.approx(single['loss'], rel=0.02)


def test_best_instead_of_last(finished, tmp_path):
    changes = {'reward.keep_best': True, 'reward.eval_every': 1}
    changes['reward.optimizer.learning_rate'] = 0.1
    found, figures = reward_rows(finished, tmp_path / 'run', **changes)
    best = max(row['val_accuracy'] for row in found)
    first = next(row['step'] for row in found if row['val_accuracy'] == best)
    assert figures['best_step'] == first
    folder = tmp_path / 'run' / 'reward'
    assert runs.weights(folder / 'adapter') == runs.weights(folder / 'best'), (
        'what is kept is what was best'
    )


@pytest.fixture
def tables(tmp_path):
    """Ratings, comparisons, demonstrations and prompts as JSON lines."""
    return runs.write_tables(tmp_path / 'data')


def test_ratings_from_files(finished, tmp_path, tables):
    workdir = copy(finished, tmp_path / 'run', ['pretrain', 'sft'])
    changes = {'reward.loss': 'pointwise', 'reward.steps': 3}
    figures = run(config(f'files={tables}', **changes), workdir, ['reward'])
    assert figures['reward']['n'] > 0 and 0 <= figures['reward']['auc'] <= 1
    assert 'val_auc' in rows(workdir / 'reward')[-1]


def test_ratings_of_one_class_have_no_auc(finished, tmp_path, tables):
    """Their losses are sound, so the run goes on, and the last model is the chosen."""
    file = tables / 'ratings.jsonl'
    ratings = map(json.loads, file.read_text().splitlines())
    file.write_text(''.join(json.dumps({**x, 'label': 1}) + '\n' for x in ratings))
    workdir = copy(finished, tmp_path / 'run', ['pretrain', 'sft'])
    changes = {'reward.loss': 'pointwise', 'reward.keep_best': True}
    figures = run(config(f'files={tables}', **changes), workdir, ['reward'])['reward']
    assert figures['positives'] == figures['n'] and figures['auc'] is None
    assert 'best_step' not in figures
    assert 'val_auc' not in rows(workdir / 'reward')[-1]


def test_comparisons_from_files(finished, tmp_path, tables):
    """Without a gold reward the reward model is the judge."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain', 'sft'])
    changes = {'reward.steps': 2, 'policy.steps': 2}
    figures = run(config(f'files={tables}', **changes), workdir)
    assert figures['policy']['judge'] == 'reward'
    assert 'gold_after' not in figures['policy']


def test_result_for_a_notebook(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    result = train.run(config('pair=1'), workdir)
    assert list(result.metrics) == list(STAGES)
    assert result.metrics['sft'][0]['step'] == 1
    assert {path.suffix for path in result.plot()} == {'.png'}


def test_unmoved_policy_stops(finished, tmp_path):
    """Promise 4."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain', 'sft', 'reward'])
    nothing = {f'policy.{x}learning_rate': 1e-30 for x in ('optimizer.', 'value_')}
    with pytest.raises(UserError, match='an update left every log-prob as it was'):
        run(config(**nothing), workdir)
    assert 'policy' not in runs.results(workdir)
