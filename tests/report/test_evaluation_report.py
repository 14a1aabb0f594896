import os

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from perl import judges
from perl.evaluation.figures import (
    best_of_n_estimate,
    buckets,
    calibration,
    length_control,
    over_optimisation,
    winrate,
)
from perl.report import (
    diagrams,
    evaluation_report,
    evaluation_tables,
    formatting,
    frontiers,
    trajectories,
)
from perl.report.csv_text import from_csv
from perl.system import jsonl, metrics

RNG = np.random.default_rng(0)


def reward_model(scale):
    margins = scale * RNG.normal(1, 1, 200)
    right = margins > 0
    ones = np.ones_like(margins)
    return {
        'n': 200,
        'accuracy': float(right.mean()),
        'ci95': {'accuracy': [0.7, 0.9]},
        'calibration': calibration.calibration_metrics(
            margins, ones, (margins, ones), pairs=True
        ),
        'by_margin': buckets.by_margin(right, abs(margins)),
        'by_group': {
            'batch': buckets.by_group(right, [f'b{i % 3}' for i in range(200)])
        },
    }


def policy():
    a, b = (['x' * n for n in RNG.integers(5, 30, 80)] for _ in range(2))
    sizes = [list(map(len, texts)) for texts in (a, b)]
    longer = judges.preference(judges.each(lambda prompt, text: len(text)))
    labels = judges.both_orders(longer, ['p'] * 80, a, b)
    rated = {'n': 80, 'harmless_rate': 0.5, 'harmless_rate_ci95': [0.4, 0.6]}
    overlap = {'n': 3, 'rouge1': 0.25, 'rouge2': 0.125, 'rougeL': 0.2}
    return {
        **winrate.win_metrics(labels.won, labels.biased),
        'judge': 'gold',
        'length_control': length_control.length_metrics(
            labels.won, *map(np.array, sizes)
        ),
        'lengths': {'before': {'words': 10.0}, 'after': {'words': 12.0}},
        'harmless': {'before': rated, 'after': rated | {'harmless_rate': 0.75}},
        'rouge': {'before': overlap, 'after': overlap},
    }


def best_of_n():
    kl = best_of_n_estimate.best_of_n_kl([1, 2, 4, 8])
    gain = np.sqrt(kl) * (1 - 0.5 * np.sqrt(kl)) + RNG.normal(0, 0.01, (20, 4))
    curve = {'kl': kl.tolist(), 'gain': gain.mean(0).tolist()}
    curve['fit'] = over_optimisation.fit_metrics('best_of_n', kl, gain)
    curves = {'reward': curve, 'gold': curve}
    return {'prompts': 20, 'samples': 8, 'sizes': [1, 2, 4, 8], 'curves': curves}


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs') / 'long/run'
    out = metrics.Metrics(folder / 'policy')
    for step in range(40):
        d = step / 10
        gold = d * (0.5 - 0.4 * np.log(d or 1))
        out.write(step + 1, {'kl': d * d, 'reward': d, 'gold': gold})
    return {
        'reward': reward_model(1),
        'reward_full': reward_model(3),
        'policy against sft': policy(),
        'frontier': trajectories.trajectories([folder]),
        'best_of_n': best_of_n(),
        'split': 'test',
        'computed': {'host': 'box', 'cores': 2, 'commit': 'abc'},
    }


@pytest.fixture(scope='module')
def made(found, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('evaluated')
    old = workdir / 'evaluation' / 'old.png'
    old.parent.mkdir()
    old.touch()
    file = evaluation_report.write(workdir, found)
    assert file == workdir / 'evaluation' / 'evaluation.md'
    assert not old.exists(), 'plots of another evaluation are gone'
    return file.parent


def test_tables_that_a_kill_has_left_are_drawn_from_the_new_figures(
    found, tmp_path, monkeypatch
):
    monkeypatch.setattr(Figure, 'savefig', lambda figure, file, format: None)  # slow
    file = tmp_path / 'evaluation.json'
    jsonl.save(file, found)
    page = evaluation_report.redraw_split(tmp_path, 'test')
    first = {path.name: path.read_text() for path in page.parent.glob('*.csv')}
    jsonl.save(file, found | {'reward': reward_model(9)})  # and is killed here
    for damage in (lambda path: None, lambda path: path.write_text(''), os.unlink):
        damage(page.with_name('reward_models.csv'))
        evaluation_report.redraw(tmp_path)
        second = {path.name: path.read_text() for path in page.parent.glob('*.csv')}
        assert second.keys() == first.keys() and all(second.values())
        assert second['reward_models.csv'] != first['reward_models.csv']


def test_figures_of_another_version_cost_a_line(tmp_path, capsys):
    jsonl.save(tmp_path / 'evaluation_val.json', {'frontier': 3, 'reward': {'n': 'x'}})
    evaluation_report.redraw(tmp_path)
    assert capsys.readouterr().err.startswith('evaluation_val.json could not be drawn')


def row_of(text, name):
    line = next(x for x in text.splitlines() if x.startswith(f'| {name} |'))
    return [cell.strip() for cell in line.split('|')[2:-1]]


def test_reward_models_stand_side_by_side(made, found):
    text = (made / 'evaluation.md').read_text()
    assert row_of(text, 'reward model') == ['reward', 'reward_full']
    shown = row_of(text, 'temperature, fitted on validation')
    want = [found[x]['calibration']['temperature'] for x in ('reward', 'reward_full')]
    assert [float(x) for x in shown] == pytest.approx(want, rel=0.01)


def test_what_is_said_of_a_policy(made, found):
    text, figures = (made / 'evaluation.md').read_text(), found['policy against sft']
    (shown,) = row_of(text, 'length-controlled win rate [95 %]')
    controlled = figures['length_control']
    assert shown == formatting.percent(controlled, 'length_controlled_win_rate')
    assert row_of(text, 'words before → after') == ['10 → 12']
    assert row_of(text, 'harmless before → after [95 %]') == [
        '50 % [40, 60] → 75 % [40, 60]'
    ]
    overlap = '0.25 / 0.12 / 0.2, n=3'
    shown = row_of(text, 'ROUGE-1 / -2 / -L before → after')
    assert shown == [f'{overlap} → {overlap}']


def test_a_peak_is_told_where_it_was_reached(made, found):
    text = (made / 'evaluation.md').read_text()
    names = [policy['label'] for policy in found['frontier']['policies']]
    peak = np.exp(2 * (0.5 / 0.4 - 1))
    shown = row_of(text, f'{names[0]}: gold reward')[4]
    assert shown.split()[0] == formatting.number(peak, 2)
    assert row_of(text, f'{names[0]}: reward')[4] == 'the curve never falls'


def test_every_plot_is_shown_and_readable(made):
    text = (made / 'evaluation.md').read_text()
    files = sorted(made.glob('*.png'))
    assert [file.stem for file in files] == [
        'best_of_n',
        'buckets',
        'frontier',
        'policy_optimisation',
        'reliability',
    ]
    for file in files:
        assert f']({file.name})' in text
        pixels = matplotlib.image.imread(file)
        assert pixels.shape[1] == 900 and np.ptp(pixels) > 0.5


def test_tables_hold_the_figures(made, found):
    def read(name):
        return from_csv((made / f'{name}.csv').read_bytes().decode())

    curve = found['reward']['calibration']['before']['curve']
    rows = [row for row in read('reliability') if row['stage'] == 'reward']
    rows = [row for row in rows if row['temperature'] == 'before']
    assert [float(row['found']) for row in rows] == [row['found'] for row in curve]
    assert {row['by'] for row in read('buckets')} == {'margin', 'batch'}
    assert (
        float(read('policies')[0]['win_rate'])
        == (found['policy against sft']['win_rate'])
    )
    assert [float(row['kl']) for row in read('frontier')][-1] > 10
    assert {row['form'] for row in read('optimisation')} == {'rl'}
    assert [row['n'] for row in read('best_of_n')] == ['1', '2', '4', '8'] * 2
    assert len(read('win_rate_by_length')) > 1


def test_what_is_missing_is_left_out(tmp_path):
    file = evaluation_report.write(tmp_path, {'policy': {'kl': 1.0}, 'frontier': {}})
    assert file.read_text().count('##') == 0
    assert list(file.parent.iterdir()) == [file]
    assert diagrams.reliability({}) is None and diagrams.buckets({}) is None
    assert frontiers.frontier({}) is None and frontiers.optimisation({}, '') is None


def test_a_win_rate_whose_lengths_are_not_known():
    figures = policy()
    del figures['length_control']
    table = evaluation_tables.policies({'a': figures})
    shown = dict(zip(table.header, table.rows[0], strict=True))
    assert shown['win rate [95 %] and who judged']
    assert not shown['length-controlled win rate [95 %]']


def test_a_curve_through_too_few_points(tmp_path):
    out = metrics.Metrics(tmp_path / 'policy')
    out.write(1, {'kl': 0.0, 'reward': 1.0})
    text = evaluation_report.write(
        tmp_path, {'frontier': trajectories.trajectories([tmp_path])}
    ).read_text()
    assert 'frontier.png' in text and 'd (α' not in text


def test_the_page_says_of_which_split_and_where(made):
    text = (made / 'evaluation.md').read_text()
    assert text.splitlines()[0].endswith(' on the test split')
    assert row_of(text, 'host') == ['box'] and row_of(text, 'commit') == ['abc']


def test_evaluations_of_two_splits_stand_beside_each_other(tmp_path):
    files = [evaluation_report.write(tmp_path, {'split': x}) for x in ('test', 'val')]
    assert [file.parent.name for file in files] == ['evaluation', 'evaluation_val']


def test_a_picture_that_fails_costs_no_figure(found, tmp_path, monkeypatch, capsys):
    file = tmp_path / 'evaluation' / 'evaluation.md'

    def fail(models):
        assert '| accuracy' in file.read_text()
        assert (file.parent / 'buckets.csv').is_file()
        raise ValueError('odd')

    monkeypatch.setattr(diagrams, 'buckets', fail)
    text = evaluation_report.write(tmp_path, found).read_text()
    line = 'buckets.png could not be drawn: ValueError: odd'
    assert f'\n> {line}\n' in text and capsys.readouterr().err == f'{line}\n'
    assert '(reliability.png)' in text and '(best_of_n.png)' in text


def test_the_highest_measured_gain_stands_beside_a_peak_that_lies_beyond():
    """The points fall although the fitted curve does not."""
    fit = {'form': 'best_of_n', 'points': 3, 'alpha': 1.0, 'beta': 0.1, 'peak': 5.0}
    fit |= {'peak_kl': 25.0, 'highest': 2.5, 'r2': 0.9, 'farthest': 2.0}
    fit['ci95'] = {'alpha': [0.9, 1.1], 'beta': [0.05, 0.15], 'peak': [4, None]}
    curve = {'kl': [0.0, 1.0, 4.0], 'gain': [0.0, 1.2, 0.9], 'fit': fit}
    table = evaluation_tables.fits({'a': curve})
    shown = dict(zip(table.header, table.rows[0], strict=True))
    peak = shown['peak of the fitted curve at KL, nats [95 %]']
    assert peak == 'beyond the largest KL measured'
    assert shown['highest gain measured, and its KL'] == '1.2 at 1'


def test_only_ties_are_told_instead_of_empty_sections(tmp_path):
    tied = {'n': 0, 'accuracy': None, 'labelled_ties': 12, 'by_margin': []}
    tied |= {'by_group': {}, 'reward_kind': 'pairwise'}
    sentence = (
        'has no accuracy, no calibration and no accuracy by subset, because all 12 '
        'comparisons of this split are labelled as ties, so no order is right.'
    )
    text = evaluation_report.write(tmp_path, {'reward': tied}).read_text()
    assert f'\nreward {sentence}\n' in text
    assert 'Accuracy by subset' not in text and 'ECE' not in text
    both = {'reward': tied, 'other': reward_model(1)}
    text = evaluation_report.write(tmp_path, both).read_text()
    assert text.count(sentence) == 1 and '### Accuracy by subset\n' in text
