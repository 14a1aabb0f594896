"""The evaluation of a run for people: `evaluation.md`, plots and tables."""

import os
import pathlib
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from perl.evaluation.figures import frontier
from perl.report import (
    diagrams,
    frontiers,
    recorded,
    tables,
    verdicts,
)
from perl.report.canvas import STYLE
from perl.report.trajectories import REWARDS
from perl.system import atomic, jsonl

APART = ('split', 'frontier', 'best_of_n')  # what is no figure of a stage


def folder_of(split: str) -> str:
    """The name of what an evaluation leaves, so that those of two splits do not replace
    each other: `evaluation` of test, `evaluation_val` of val."""
    return 'evaluation' if split == 'test' else f'evaluation_{split}'


def write(workdir: str | os.PathLike, found: dict[str, Any]) -> pathlib.Path:
    """Writes `evaluation/` of a run anew and returns the path of its `evaluation.md`.

    Args:
        workdir: of the run.
        found: what `perl.evaluate` found, by stage and comparison, and under
            `split`, `frontier` and `best_of_n`.
    """
    workdir, found = pathlib.Path(workdir), jsonl.plain(found)
    folder = workdir / folder_of(found.get('split', 'test'))
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob('*.png'), *folder.glob('*.csv')):
        old.unlink()
    stages = {name: x for name, x in found.items() if name not in APART}
    rewards = {name: x for name, x in stages.items() if 'calibration' in x}
    policies = {name: x for name, x in stages.items() if 'win_rate' in x}
    draw = _Drawn(folder)
    parts = [
        f'# Evaluation of {recorded.read(workdir).name}\n',
        *_rewards(rewards, draw),
        *_policies(policies),
        *_frontier(found.get('frontier', {}), draw),
        *_best_of_n(found.get('best_of_n', {}), draw),
    ]
    for name, rows in _rows(rewards, policies, found).items():
        if rows:
            atomic.write_text(folder / f'{name}.csv', tables.to_csv(rows))
    file = folder / 'evaluation.md'
    atomic.write_text(file, '\n'.join(filter(None, parts)))
    return file


class _Drawn:
    """Saves plots and says how the page shows them."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def __call__(self, title: str, name: str, figure: Figure | None) -> str:
        if figure is None:
            return ''
        file = self._folder / f'{name}.png'
        with atomic.replacing(file) as new, matplotlib.rc_context(STYLE):
            figure.savefig(new)
        return f'![{title}]({name}.png)\n'


def _rewards(found: dict[str, Any], draw: _Drawn) -> list[str]:
    if not found:
        return []
    return [
        '## Reward models\n',
        verdicts.reward_models(found).across().markdown(),
        'An expected calibration error (ECE) below the quantile that a calibrated '
        'model has by chance is no sign of miscalibration. A temperature above 1 says '
        'that the model was too sure. It changes no order, so the accuracy stays.\n',
        draw('Calibration', 'reliability', diagrams.reliability(found)),
        'Lines are 95 % intervals; a hollow point stands for fewer than '
        f'{diagrams.FEW}; pale bars say how many fall into each bin with the '
        'temperature.\n',
        '### Where they are right\n',
        draw('Accuracy by bucket', 'buckets', diagrams.buckets(found)),
    ]


def _policies(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    return [
        '## Policies\n',
        verdicts.policies(found).across().markdown(),
        'A win counts only if the judge prefers the response in both orders; all else '
        'is a tie, half a win. The length-controlled rate is what a logistic '
        'regression expects of responses of equal length; it is missing where one side '
        'is always the longer one.\n',
    ]


def _frontier(found: dict[str, Any], draw: _Drawn) -> list[str]:
    if not found:
        return []
    drawn = {
        f'{way["label"]}: {REWARDS[name]}': curve['fit']
        for way in found['ways']
        for name, curve in way['curves'].items()
    }
    fits = verdicts.fits(drawn)
    return [
        '## Reward against KL\n',
        f'A point is the mean of neighbouring iterations, at most {frontier.POINTS} a '
        'policy; a star is the finished policy on held-out prompts. Rewards of '
        'different reward models do not compare.\n',
        draw('Frontier', 'frontier', frontiers.frontier(found)),
        '### Over-optimisation\n' if fits.rows else '',
        *(_over(way, draw) for way in found['ways']),
        fits.markdown() if fits.rows else '',
    ]


def _over(way: dict[str, Any], draw: _Drawn) -> str:
    name = way['label'].replace('/', '_')
    figure = frontiers.optimisation(way['curves'], way['label'])
    return draw(f'Over-optimisation of {way["label"]}', f'{name}_optimisation', figure)


def _best_of_n(found: dict[str, Any], draw: _Drawn) -> list[str]:
    if not found:
        return []
    curves = found['curves']
    fits = verdicts.fits({REWARDS[name]: curves[name]['fit'] for name in curves})
    return [
        '## Best of n\n',
        f'Of {found["samples"]} samples for each of {found["prompts"]} prompts the '
        'reward model chooses the best of n; the mean over all such choices.\n',
        draw('Best of n', 'best_of_n', frontiers.optimisation(curves, 'best of n')),
        fits.markdown(),
    ]


def _rows(rewards, policies, found) -> dict[str, list[dict[str, Any]]]:
    """The tables as rows of CSV, by name."""
    ways = found.get('frontier', {}).get('ways', [])
    best = found.get('best_of_n', {})
    return {
        'reward_models': [_row(name, x) for name, x in rewards.items()],
        'policies': [_row(name, x) for name, x in policies.items()],
        'reliability': [
            {'stage': stage, 'temperature': when} | tables.flat(row)
            for stage, x in rewards.items()
            for when in ('before', 'after')
            for row in x['calibration'][when]['curve']
        ],
        'buckets': [
            {'stage': stage, 'by': by} | tables.flat(row)
            for stage, x in rewards.items()
            for by, rows in {'margin': x['by_margin'], **x['by_group']}.items()
            for row in rows
        ],
        'win_rate_by_length': [
            {'comparison': name} | tables.flat(row)
            for name, x in policies.items()
            for row in x.get('length_control', {}).get('strata', ())
        ],
        'frontier': [
            {'policy': way['label']} | row for way in ways for row in way['points']
        ],
        'optimisation': [
            {'policy': way['label'], 'reward': name} | tables.flat(curve['fit'])
            for way in ways
            for name, curve in way['curves'].items()
        ],
        'best_of_n': [
            {'reward': name, 'n': n, 'kl': kl, 'gain': gain}
            for name, curve in best.get('curves', {}).items()
            for n, kl, gain in zip(
                best['sizes'], curve['kl'], curve['gain'], strict=True
            )
        ],
        'best_of_n_fits': [
            {'reward': name} | tables.flat(curve['fit'])
            for name, curve in best.get('curves', {}).items()
        ],
    }


def _row(name, figures):
    """Figures in one row, without those that are tables of their own."""
    apart = ('by_margin', 'by_group', 'strata', 'curve')

    def kept(value):
        if isinstance(value, dict):
            return {key: kept(x) for key, x in value.items() if key not in apart}
        return value

    return {'name': name} | tables.flat(kept(figures))
