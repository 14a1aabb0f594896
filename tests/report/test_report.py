import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from perl.report import plots, report
from perl.report.csv_text import from_csv
from perl.system import jsonl, metrics, results, samples
from perl.system.environment import SITTINGS

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


def said():
    return [
        {'prompt': f'p{i} | *x*', 'reference': 'no <b>', 'response': 'yes\nindeed'}
        | {'reward_reference': 0.0, 'reward': float(i), 'gold': i / 20}
        | {'note': '=1+1', 'other': 'a\r\r# WIN RATE 100 %'}
        for i in range(20)
    ]


def sitting(day):
    return {
        'date': f'2026-01-{day + 1:02}T00:00:00Z',
        'command': 'python -m perl.train --workdir=`a|b`',
        'perl': '0.1',
        'commit': 'abc123+',
        'host': 'box',
        'cores': 2,
        'device': 'cpu',
        'devices': 1,
        'python': '3.11',
        'jax': '0.10',
    }


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
        samples.append(folder / stage, [{'step': 8, 'prompt': 'on the way'}])
        results.write(folder, stage, figures()[stage])
    samples.append(folder / 'policy', said())
    jsonl.save_rows(folder / SITTINGS, [sitting(n) for n in range(12)])
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


def test_figures_stand_under_their_titles(made):
    text = (made / 'report.md').read_text()
    parts = dict(part.split('\n', 1) for part in text.split('\n## ')[1:])
    assert row_of(parts['Reward models on held-out data'], 'stage') == STAGES[1:3]
    assert row_of(parts['Policies'], 'won / tied / lost') == ['150 / 24 / 26']
    assert row_of(parts['Language modelling'], 'perplexity') == ['2.72']
    assert 'AUC' not in parts['Reward models on held-out data']


def test_where_it_was_computed(made):
    text = (made / 'report.md').read_text().split('## Where it was computed')[1]
    rows = [line for line in text.splitlines() if line.startswith('| 2026')]
    assert 'The last 10 of 12 processes' in text and len(rows) == 10
    cells = [cell.strip() for cell in rows[-1].replace('\\|', '¦').split('|')[1:-1]]
    assert cells == [
        '2026-01-12T00:00:00Z',
        'python -m perl.train --workdir=\\`a¦b\\`',
        '0.1',
        'abc123, with changes',
        'box',
        '2',
        'cpu',
        '3.11, 0.10',
    ]


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
    def read(name):
        return from_csv((made / 'tables' / f'{name}.csv').read_bytes().decode())

    rows = {row['stage']: row for row in read('results')}
    assert rows['policy']['win_rate_ci95.1'] == '0.86'
    assert rows['reward']['ci95.accuracy.0'] == '0.79'
    assert float(read('policy_metrics')[-1]['kl']) == 12.0
    assert read('sittings')[0]['host'] == 'box'
    texts = ('prompt', 'reference', 'response', 'note', 'other')
    want = [[row[name] for name in texts] for row in said()]
    assert [[row[name] for name in texts] for row in read('policy_samples')] == want


def test_a_picture_that_fails_costs_no_figure(run, monkeypatch, capsys):
    """At the moment when pictures are drawn, the figures are on the disk."""

    def fail(folder, stage):
        assert '| win rate' in (run / 'report.md').read_text()
        assert (run / 'tables' / 'results.csv').is_file()
        raise IndexError('too many indices')

    monkeypatch.setattr(plots, 'histograms', fail)
    text = report.write(run).read_text()
    line = 'policy_rewards.png could not be drawn: IndexError: too many indices'
    assert f'\n> {line}\n' in text.replace('\\_', '_')
    assert capsys.readouterr().err == f'{line}\n'
    assert '(plots/policy_curves.png)' in text and '| win rate' in text
    assert not (run / 'plots' / 'policy_rewards.png').exists()


def test_samples_go_from_loss_to_gain_and_cannot_break_the_table(made):
    text = (made / 'report.md').read_text().split('## Samples')[1]
    lines = [line for line in text.splitlines() if line.startswith('| p')][1:]
    assert len(lines) == 8
    assert lines[0].startswith('| p0 \\| \\*x\\* | no &lt;b&gt; | yes<br>indeed |')
    assert 'on the way' not in text
    assert lines[-1].startswith('| p19')


def test_samples_of_a_stage_without_a_reference(run):
    """SFT, and a stage that is not finished: the responses of the last step."""
    for step in (8, 16):
        rows = [{'step': step, 'prompt': f'q{step} |', 'response': '=1'}] * 2
        samples.append(run / 'sft', rows)
    (text,) = report.write(run).read_text().split('## Samples of sft\n')[1:]
    part = text.split('\n## ')[0]
    assert 'Responses to held-out prompts at step 16.' in part and 'q8' not in part
    assert part.count('\n| q16 \\| | =1 |') == 2
    csv = (run / 'tables' / 'sft_samples.csv').read_text()
    assert csv.count('q16 |') == 2 and 'q8' not in csv


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
    monkeypatch.setattr(Figure, 'savefig', lambda figure, file, format: None)  # slow
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
    results.write(tmp_path, 'reward', {'accuracy': float('nan'), 'ci95': [None, 1]})
    results.write(tmp_path, 'policy', {'kl': 'none', 'seconds': {'rollout': None}})
    (tmp_path / 'policy').mkdir()
    lines = '[1]\n"text"\n{"step": 1, "kl": null}\n{"step": 2, "reward": "x"}\n'
    (tmp_path / 'policy' / 'metrics.jsonl').write_text(lines)
    (tmp_path / 'policy' / 'samples.jsonl').write_text('{"reward": null}\n{}\n3\n')
    assert '# ' in report.write(tmp_path).read_text()
