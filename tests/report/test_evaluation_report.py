import csv

import matplotlib.image
import numpy as np
import pytest

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
    evaluated,
    frontiers,
    trajectories,
    verdicts,
)
from perl.system import metrics

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
    folder = tmp_path_factory.mktemp('ways') / 'long/run'
    out = metrics.Metrics(folder / 'policy')
    for step in range(40):
        d = step / 10
        gold = d * (0.5 - 0.4 * np.log(d or 1))
        out.write(step + 1, {'kl': d * d, 'reward': d, 'gold': gold})
    return {
        'reward': reward_model(1),
        'reward_full': reward_model(3),
        'policy against sft': policy(),
        'frontier': trajectories.ways([folder, folder]),
        'best_of_n': best_of_n(),
    }


@pytest.fixture(scope='module')
def made(found, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('evaluated')
    old = workdir / 'evaluation' / 'old.png'
    old.parent.mkdir()
    old.touch()
    file = evaluated.write(workdir, found)
    assert file == workdir / 'evaluation' / 'evaluation.md'
    assert not old.exists(), 'plots of another evaluation are gone'
    return file.parent


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
    want = 100 * figures['length_control']['length_controlled_win_rate']
    assert float(shown.split(' %')[0]) == pytest.approx(want, abs=0.05)
    assert row_of(text, 'words before → after') == ['10 → 12']
    assert row_of(text, 'harmless before → after [95 %]') == [
        '50.0 % [40.0, 60.0] → 75.0 % [40.0, 60.0]'
    ]
    overlap = '0.250 / 0.125 / 0.200, n=3'
    shown = row_of(text, 'ROUGE-1 / -2 / -L before → after')
    assert shown == [f'{overlap} → {overlap}']


def test_a_peak_is_told_where_it_was_reached(made, found):
    text = (made / 'evaluation.md').read_text()
    names = [way['label'] for way in found['frontier']['ways']]
    peak = np.exp(2 * (0.5 / 0.4 - 1))
    shown = row_of(text, f'{names[0]}: true reward')[4]
    assert float(shown.split()[0]) == pytest.approx(peak, rel=0.01)
    assert row_of(text, f'{names[0]}: model reward')[4] == 'not reached'


def test_every_plot_is_shown_and_readable(made):
    text = (made / 'evaluation.md').read_text()
    files = sorted(made.glob('*.png'))
    assert [file.stem for file in files] == [
        'best_of_n',
        'buckets',
        'frontier',
        'reliability',
        'run_policy_optimisation',
    ]
    for file in files:
        assert f']({file.name})' in text
        pixels = matplotlib.image.imread(file)
        assert pixels.shape[1] == 900 and np.ptp(pixels) > 0.5


def test_tables_hold_the_figures(made, found):
    def read(name):
        with (made / f'{name}.csv').open() as file:
            return list(csv.DictReader(file))

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
    file = evaluated.write(tmp_path, {'policy': {'kl': 1.0}, 'frontier': {}})
    assert file.read_text().count('##') == 0
    assert list(file.parent.iterdir()) == [file]
    assert diagrams.reliability({}) is None and diagrams.buckets({}) is None
    assert frontiers.frontier({}) is None and frontiers.optimisation({}, '') is None


def test_a_win_rate_whose_lengths_are_not_known():
    figures = policy()
    del figures['length_control']
    table = verdicts.policies({'a': figures})
    said = dict(zip(table.header, table.rows[0], strict=True))
    assert said['win rate [95 %]'] and not said['length-controlled win rate [95 %]']


def test_a_curve_through_too_few_points(tmp_path):
    out = metrics.Metrics(tmp_path / 'policy')
    out.write(1, {'kl': 0.0, 'reward': 1.0})
    text = evaluated.write(
        tmp_path, {'frontier': trajectories.ways([tmp_path])}
    ).read_text()
    assert 'frontier.png' in text and 'd (α' not in text
