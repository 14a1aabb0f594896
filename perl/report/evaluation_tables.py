"""The tables of an evaluation report."""

from collections.abc import Mapping
from typing import Any

from perl.report import reward_figures
from perl.report.formatting import count, number, percent, with_interval
from perl.report.judge import win_rate
from perl.report.markdown import Table, inert
from perl.report.reward_columns import columns
from perl.report.values import is_number

FORMS = {'best_of_n': 'd (α − β d)', 'rl': 'd (α − β log d)'}
STRATA = ('shorter', 'alike', 'longer')
Figures = Mapping[str, Any]


def reward_models(models: Mapping[str, Figures]) -> list[Table]:
    """Accuracy, baselines and calibration: one table for the reward models on
    comparisons, and one for those on ratings."""
    groups = reward_figures.by_kind(models)
    return [_reward_models(kind, group) for kind, group in groups.items()]


def _reward_models(kind, models):
    titles, cells = columns(models)
    header = (
        'reward model',
        'examples',
        *titles,
        'ECE [95 %]',
        'ECE if it were calibrated: mean, 95 % quantile',
        'largest gap',
        'Brier score',
        'log loss, nats',
        'temperature, fitted on validation',
        'ECE with it [95 %]',
        'log loss with it, nats',
        'confidence in labelled ties, ideally 50 %',
    )
    rows = [
        [
            inert(stage),
            count(figures.get('n')),
            *cells[stage],
            *_calibration(figures.get('calibration')),
        ]
        for stage, figures in models.items()
    ]
    return Table(f'Reward models on {reward_figures.KINDS[kind]}', header, rows)


def _calibration(figures):
    """The figures of a calibration as cells; empty cells without a calibration."""
    if not figures:
        return [''] * 9
    before, after = figures['before'], figures['after']
    chance = before.get('ece_by_chance') or ()
    return [
        with_interval(before, 'ece'),
        ', '.join(number(x, 2) for x in chance),
        *(number(before.get(x), 2) for x in ('largest_gap', 'brier', 'log_loss')),
        number(figures['temperature']),
        with_interval(after, 'ece'),
        number(after.get('log_loss'), 2),
        _confidence_in_ties(figures.get('ties')),
    ]


def _confidence_in_ties(ties):
    if not ties:
        return ''
    return percent({'n': ties['n'], **ties['after']}, 'confidence')


def policies(found: Mapping[str, Figures]) -> Table:
    """Win rates, their significance and the effect of length in each comparison."""
    header = (
        'comparison',
        'prompts',
        'independent groups (prompts, dialogs)',
        'win rate [95 %] and who judged',
        'won / tied / lost',
        'sign test, p',
        'questions without a verdict',
        'same place won twice',
        'length-controlled win rate [95 %]',
        'share of longer responses',
        *(f'win rate where {name} [95 %]' for name in STRATA),
        'responses without an end, cut at the limit',
        'words before → after',
        'harmless before → after [95 %]',
        'ROUGE-1 / -2 / -L before → after',
    )
    rows = [[inert(name), *_policy(figures)] for name, figures in found.items()]
    return Table('Policies', header, rows)


def fits(curves: Mapping[str, Figures]) -> Table:
    """Fitted curves of over-optimisation.

    Args:
        curves: kl, gain and fit of each curve, by its name.
    """
    header = (
        'curve',
        'form, d = √KL',
        'points',
        'α [95 %]',
        'β [95 %]',
        'peak of the fitted curve at KL, nats [95 %]',
        'its gain at the peak',
        'R²',
        'largest KL measured',
        'highest gain measured, and its KL',
    )
    rows = [
        [
            inert(name),
            FORMS[curve['fit']['form']],
            count(curve['fit']['points']),
            with_interval(curve['fit'], 'alpha'),
            with_interval(curve['fit'], 'beta'),
            *_peak(curve['fit']),
            number(curve['fit']['r2'], 2),
            number(curve['fit']['farthest'] ** 2),
            _highest(curve),
        ]
        for name, curve in curves.items()
        if is_number(curve['fit']['alpha'])
    ]
    return Table('Over-optimisation', header, rows)


def _policy(figures):
    controlled = figures.get('length_control', {})
    strata = {row['length']: row for row in controlled.get('strata', ())}
    games = [count(figures.get(name)) for name in ('wins', 'ties', 'losses')]
    return [
        *(count(figures.get(name)) for name in ('n', 'clusters')),
        win_rate(figures),
        ' / '.join(games) if all(games) else '',
        number(figures.get('sign_test'), 2),
        count(figures.get('unanswered')),
        percent(figures, 'position_bias'),
        percent(controlled, 'length_controlled_win_rate'),
        percent(controlled, 'longer'),
        *(_stratum(strata.get(name)) for name in STRATA),
        percent(figures, 'no_eos'),
        _moved(figures, 'lengths', lambda x: number(x['words'], 2)),
        _moved(figures, 'harmless', lambda x: percent(x, 'harmless_rate')),
        _moved(figures, 'rouge', _rouge),
    ]


def _peak(fit):
    """The peak of a fitted curve and its gain, if it is within the measured range."""
    if not is_number(fit['peak']):
        return 'the curve never falls', ''
    if fit['peak'] > fit['farthest']:
        return 'beyond the largest KL measured', ''
    low, high = (number(d**2, 2) if is_number(d) else '∞' for d in fit['ci95']['peak'])
    return f'{number(fit["peak_kl"], 2)} [{low}, {high}]', number(fit['highest'], 2)


def _highest(curve):
    gain, kl = max(zip(curve['gain'], curve['kl'], strict=True))
    return f'{number(gain, 2)} at {number(kl, 2)}'


def _stratum(row):
    return f'{percent(row, "win_rate")}, n={row["n"]}' if row else ''


def _rouge(figures):
    names = 'rouge1', 'rouge2', 'rougeL'
    shown = ' / '.join(number(figures.get(name), 2) for name in names)
    return f'{shown}, n={figures["n"]}'


def _moved(figures, name, write):
    both = figures.get(name)
    return f'{write(both["before"])} → {write(both["after"])}' if both else ''
