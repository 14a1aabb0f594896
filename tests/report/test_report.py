import csv
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from perl.report import (
    canvas,
    recorded,
    report,
    tables,
    wording,
)
from perl.system import metrics

STAGES = ['sft', 'reward', 'reward_full', 'policy']


def figures():
    reward = {
        'kind': 'reward',
        'n': 400,
        'trainable': 14_097,
        'trainable_share': 0.0352,
    }
    return {
        'sft': {'kind': 'sft', 'val_loss': 1.0, 'seconds': 75.0},
        'reward': reward
        | {'accuracy': 0.831, 'ci95': {'accuracy': [0.79, 0.866]}, 'tuning': 'lora r=8'}
        | {'step_bytes': 3 * 2**29},
        'reward_full': reward
        | {'accuracy': 0.84, 'ci95': [0.8, 0.87], 'tuning': 'full', 'auc': None},
        'policy': {'kind': 'policy', 'reward_before': -0.1, 'reward_after': 1.8}
        | {'kl': 13.25, 'win_rate': 0.81, 'win_rate_ci95': [0.75, 0.86]}
        | {'wins': 150, 'ties': 24, 'losses': 26, 'reward_ci95': [1.6, 2.0]}
        | {'seconds': 10.0, 'evaluation_seconds': 2.0},
    }


def samples():
    rows = [
        {'prompt': f'p{i} | *x*', 'reference': 'no <b>', 'response': 'yes\nindeed'}
        | {'reward_reference': 0.0, 'reward': float(i), 'gold': i / 20}
        for i in range(20)
    ]
    return rows


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    config = {'name': 'toy', 'seed': 7, 'stages': STAGES}
    (folder / 'config.json').write_text(json.dumps(config))
    for stage in STAGES:
        out = metrics.Metrics(folder / stage)
        for step in range(1, 25):
            row = {'loss': 1 / step, 'accuracy': step / 25}
            if stage == 'policy':
                row = {'reward': step / 5, 'kl': step / 2, 'entropy': 1 / step}
                row |= {'seconds_rollout': 0.25, 'seconds_update': 0.125}
            if step % 8 == 0 and stage != 'policy':
                row |= {'val_loss': 1.0, 'val_accuracy': float('nan')}
            out.write(step, row)
        metrics.results(folder, stage, figures()[stage])
    metrics.append_samples(folder / 'policy', samples())
    assert report.write(folder) == folder / 'report.md'
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy without what a report has written."""
    leave = shutil.ignore_patterns('plots', 'tables', 'report.md')
    return shutil.copytree(made, tmp_path / 'run', ignore=leave)


def row_of(text, name):
    lines = [line for line in text.splitlines() if line.startswith(f'| {name} |')]
    return [cell.strip() for cell in lines[0].split('|')[2:-1]]


def test_lora_and_full_stand_side_by_side(made):
    text = (made / 'report.md').read_text().split('## Policies')[0]
    assert row_of(text, 'stage') == ['reward', 'reward_full']
    assert row_of(text, 'accuracy [95 %]') == [
        '83.1 % [79.0, 86.6]',
        '84.0 % [80.0, 87.0]',
    ]
    assert row_of(text, 'trainable share') == ['3.52 %', '3.52 %']
    assert row_of(text, 'memory of a step') == ['1.50 GiB', '–']
    assert 'AUC' not in text


def test_what_the_policy_gained(made):
    text = (made / 'report.md').read_text().split('## Policies')[1]
    assert row_of(text, 'reward before → after [95 %]') == ['-0.1 → 1.8 [1.6, 2]']
    assert row_of(text, 'win rate [95 %]') == ['81.0 % [75.0, 86.0]']
    assert row_of(text, 'won / tied / lost') == ['150 / 24 / 26']
    assert row_of(text, 'KL to the reference, nats') == ['13.2']
    assert row_of(text, 'perplexity') == ['2.72']


def test_every_plot_is_shown_and_readable(made):
    text = (made / 'report.md').read_text()
    files = sorted((made / 'plots').iterdir())
    assert [file.stem for file in files] == [
        'accuracies',
        'policy_curves',
        'policy_reward_kl',
        'policy_rewards',
        'reward_curves',
        'reward_full_curves',
        'sft_curves',
        'time',
    ]
    for file in files:
        assert f'(plots/{file.name})' in text
        pixels = matplotlib.image.imread(file)
        assert pixels.shape[1] == 900 and np.ptp(pixels) > 0.5


def test_tables_hold_every_figure(made):
    with (made / 'tables' / 'results.csv').open() as file:
        rows = {row['stage']: row for row in csv.DictReader(file)}
    assert rows['policy']['win_rate_ci95.1'] == '0.86'
    assert rows['reward']['ci95.accuracy.0'] == '0.79'
    with (made / 'tables' / 'policy_metrics.csv').open() as file:
        assert [float(row['kl']) for row in csv.DictReader(file)][-1] == 12.0


def test_samples_go_from_loss_to_gain_and_cannot_break_the_table(made):
    text = (made / 'report.md').read_text().split('## Samples')[1]
    lines = [line for line in text.splitlines() if line.startswith('| p')][1:]
    assert len(lines) == 8
    assert lines[0].startswith('| p0 \\| \\*x\\* | no &lt;b&gt; | yes<br>indeed |')
    assert lines[-1].startswith('| p19')


@pytest.mark.parametrize(
    'gone',
    [
        'results.json',
        'config.json',
        'policy/metrics.jsonl',
        'policy/samples.jsonl',
        'reward',
        '*',
    ],
)
@pytest.mark.parametrize('broken', [False, True])
def test_a_partial_run_has_a_partial_report(run, gone, broken, monkeypatch):
    monkeypatch.setattr(Figure, 'savefig', lambda figure, file: file.touch())  # slow
    for path in run.glob(gone):
        if broken and path.is_file():
            path.write_text('{"a": [1\nrubbish\n')
        elif path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path)
    text = report.write(run).read_text()
    noted = broken and (gone == '*' or '.json' in gone)
    assert ('could not be read' in text) == noted
    assert ('## Reward models' in text) == (gone != '*')


def test_odd_values_are_left_out(tmp_path):
    metrics.results(tmp_path, 'reward', {'accuracy': float('nan'), 'ci95': [None, 1]})
    metrics.results(tmp_path, 'policy', {'kl': 'none', 'seconds': {'rollout': None}})
    (tmp_path / 'policy').mkdir()
    lines = '[1]\n"text"\n{"step": 1, "kl": null}\n{"step": 2, "reward": "x"}\n'
    (tmp_path / 'policy' / 'metrics.jsonl').write_text(lines)
    (tmp_path / 'policy' / 'samples.jsonl').write_text('{"reward": null}\n{}\n3\n')
    assert '# ' in report.write(tmp_path).read_text()


def test_phases_add_up_to_the_seconds(made):
    found = recorded.phases(recorded.read(made), 'policy')
    assert found == {'rollout': 6.0, 'update': 3.0, 'other': 1.0, 'evaluation': 2.0}


@pytest.mark.parametrize(
    ('said', 'value'),
    [
        (wording.duration(9.04), '9.0 s'),
        (wording.duration(119.6), '2 min 00 s'),
        (wording.duration(3720), '1 h 02 min'),
        (wording.amount(2**20), '1.0 MiB'),
        (wording.number(0.123456), '0.123'),
        (wording.number(12345.6), '12,346'),
        (wording.number(None), ''),
        (wording.count(1e6), '1,000,000'),
        (wording.text('a' * 9, 4), '…aaaa'),
    ],
)
def test_wording(said, value):
    assert said == value


@pytest.mark.parametrize('n', [1, 2, 40, 200])
def test_smoothing_keeps_lines_straight(n):
    assert np.allclose(canvas.smooth(np.full(n, 3.0)), 3)
    inner = slice(n // 40 + 1, n - n // 40 - 1)
    assert np.allclose(canvas.smooth(np.arange(n))[inner], np.arange(n)[inner])


def test_flat_names():
    assert tables.flat({'a': {'b': [1, 2]}, 'c': 'x'}) == {
        'a.b.0': 1,
        'a.b.1': 2,
        'c': 'x',
    }
