"""The trajectories of policies in the plane of KL and reward, over several runs."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures import frontier, over_optimisation
from perl.report import run_folder
from perl.report.values import is_number, series

REWARDS = {'gold': 'gold reward', 'reward': 'reward'}


def trajectories(workdirs: Sequence[str | os.PathLike]) -> dict[str, Any]:
    """The trajectory of every policy of several runs, and the frontier of all policies.

    Args:
        workdirs: run folders, finished or not; only their files are read. A repeated
            folder is read once.

    Returns:
        policies: for each policy stage its label, points (`frontier.path`), held_out
        (kl, reward and gold of the finished stage) and curves: for `reward` and `gold`
        kl and gain of each iteration, and the fit of the RL form. And for `reward` and
        `gold` the frontier of the points of all policies. Empty without a policy.
    """
    folders = dict.fromkeys(pathlib.Path(workdir).resolve() for workdir in workdirs)
    names = _names(list(folders))
    policies = []
    for folder, name in zip(folders, names, strict=True):
        run = run_folder.read(folder)
        for stage in run.stages('policy'):
            if run.metrics.get(stage):
                policies.append({'label': f'{name}{stage}', **_policy(run, stage)})
    points = [{'label': x['label'], **row} for x in policies for row in x['points']]
    best = {name: frontier.frontier(points, name) for name in REWARDS}
    return {'policies': policies, **best} if policies else {}


def _names(folders: list[pathlib.Path]) -> list[str]:
    """Short distinct prefixes: '' for one folder, else the fewest last path parts."""
    if len(folders) < 2:
        return [''] * len(folders)
    for count in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ['/'.join(folder.parts[-count:]) for folder in folders]
        if len(set(names)) == len(folders):
            break
    return [f'{name}/' for name in names]


def _policy(run, stage):
    rows, figures = run.metrics[stage], run.results.get(stage, {})
    held_out = {name: figures.get(f'{name}_after') for name in REWARDS}
    held_out['kl'] = figures.get('kl')
    curves = {name: _curve(rows, name) for name in REWARDS}
    return {
        'points': frontier.path(rows),
        'held_out': {name: x for name, x in held_out.items() if is_number(x)},
        'curves': {name: curve for name, curve in curves.items() if curve},
    }


def _curve(rows, name):
    kl, values = series(rows, name, 'kl')
    if not kl:
        return None
    fit = over_optimisation.fit_metrics('rl', kl, values)
    # without a fit, the first iteration gives the reward at the start
    start = fit['start'] if np.isfinite(fit['start']) else values[0]
    gain = np.array(values) - start
    return {'kl': kl, 'gain': gain.tolist(), 'fit': fit}
