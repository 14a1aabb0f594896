"""Tables of an evaluation."""

from typing import Any

from perl.report.recorded import is_number
from perl.report.tables import Table, percent, with_interval
from perl.report.wording import count, number

FORMS = {'best_of_n': 'd (α − β d)', 'rl': 'd (α − β log d)'}
STRATA = ('shorter', 'alike', 'longer')


def reward_models(found: dict[str, dict[str, Any]]) -> Table:
    """Accuracy and calibration of each reward model."""
    header = (
        'reward model',
        'accuracy [95 %]',
        'ECE [95 %]',
        'ECE if it were calibrated: mean, 95 % quantile',
        'largest gap',
        'Brier score',
        'log loss, nats',
        'temperature, fitted on validation',
        'ECE with it [95 %]',
        'log loss with it, nats',
    )
    rows = []
    for stage, figures in found.items():
        calibration = figures['calibration']
        before, after = calibration['before'], calibration['after']
        chance = ', '.join(f'{x:.3f}' for x in before['ece_by_chance'])
        row = [stage, percent(figures, 'accuracy'), with_interval(before, 'ece')]
        row += [chance, *(_three(before, x) for x in ('largest_gap', 'brier'))]
        row += [_three(before, 'log_loss'), number(calibration['temperature'])]
        rows.append([*row, with_interval(after, 'ece'), _three(after, 'log_loss')])
    return Table('Reward models', header, rows)


def policies(found: dict[str, dict[str, Any]]) -> Table:
    """Who won, how surely, and whether by length."""
    header = (
        'comparison',
        'judge',
        'win rate [95 %]',
        'won / tied / lost',
        'sign test, p',
        'same place won twice',
        'length-controlled win rate [95 %]',
        'share of longer responses',
        *(f'win rate where {name} [95 %]' for name in STRATA),
        'words before → after',
        'harmless before → after [95 %]',
        'ROUGE-1 / -2 / -L before → after',
    )
    rows = [[name, *_policy(figures)] for name, figures in found.items()]
    return Table('Policies', header, rows)


def fits(found: dict[str, dict[str, Any]]) -> Table:
    """Fitted curves of over-optimisation, by what they are of."""
    header = (
        'curve',
        'form, d = √KL',
        'points',
        'α [95 %]',
        'β [95 %]',
        'peak at KL, nats [95 %]',
        'gain at the peak',
        'R²',
        'largest KL measured',
    )
    rows = [
        [
            name,
            FORMS[fit['form']],
            count(fit['points']),
            with_interval(fit, 'alpha'),
            with_interval(fit, 'beta'),
            *_peak(fit),
            number(fit['r2']),
            number(fit['farthest'] ** 2),
        ]
        for name, fit in found.items()
        if is_number(fit['alpha'])
    ]
    return Table('Over-optimisation', header, rows)


def _policy(figures):
    controlled = figures.get('length_control', {})
    strata = {row['length']: row for row in controlled.get('strata', ())}
    return [
        str(figures['judge']),
        percent(figures, 'win_rate'),
        ' / '.join(count(figures[name]) for name in ('wins', 'ties', 'losses')),
        f'{figures["sign_test"]:.2g}',
        percent(figures, 'position_bias'),
        percent(controlled, 'length_controlled_win_rate'),
        percent(controlled, 'longer'),
        *(_stratum(strata.get(name)) for name in STRATA),
        _moved(figures, 'lengths', lambda x: number(x['words'])),
        _moved(figures, 'harmless', lambda x: percent(x, 'harmless_rate')),
        _moved(figures, 'rouge', _rouge),
    ]


def _peak(fit):
    # a curve says nothing of where nobody has measured
    if is_number(fit['peak']) and fit['peak'] <= fit['farthest']:
        low, high = (number(d**2) if is_number(d) else '∞' for d in fit['ci95']['peak'])
        return f'{number(fit["peak_kl"])} [{low}, {high}]', number(fit['highest'])
    return 'not reached', ''


def _stratum(row):
    return f'{percent(row, "win_rate")}, n={row["n"]}' if row else ''


def _rouge(figures):
    names = 'rouge1', 'rouge2', 'rougeL'
    return f'{" / ".join(_three(figures, name) for name in names)}, n={figures["n"]}'


def _moved(figures, name, say):
    both = figures.get(name)
    return f'{say(both["before"])} → {say(both["after"])}' if both else ''


def _three(figures, name):
    return f'{figures[name]:.3f}' if is_number(figures[name]) else ''
