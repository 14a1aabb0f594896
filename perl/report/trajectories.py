"""How far policies went from their start and what they got for it, over some runs."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures import frontier, over_optimisation
from perl.report import recorded
from perl.report.recorded import is_number

REWARDS = {'gold': 'true reward', 'reward': 'model reward'}


def ways(workdirs: Sequence[str | os.PathLike]) -> dict[str, Any]:
    """The way of every policy of some runs, and the frontier of them all.

    Args:
        workdirs: of runs, finished or not; only their files are read.

    Returns:
        ways: of each policy stage its label, points (`frontier.path`), held_out (kl,
        reward and gold of the finished stage) and curves: by `reward` and `gold` kl and
        gain of each iteration, and the fit of the RL form. And by `reward` and `gold`
        the points of all that no other beats. Empty without a policy.
    """
    folders = [pathlib.Path(workdir) for workdir in workdirs]
    found = []
    for folder in folders:
        read = recorded.read(folder)
        for stage in read.stages('policy'):
            if read.metrics.get(stage):
                several = f'{folder.absolute().name}/' if len(folders) > 1 else ''
                found.append({'label': f'{several}{stage}', **_way(read, stage)})
    points = [{'label': way['label'], **x} for way in found for x in way['points']]
    best = {name: frontier.frontier(points, name) for name in REWARDS}
    return {'ways': found, **best} if found else {}


def _way(read, stage):
    rows, figures = read.metrics[stage], read.results.get(stage, {})
    held = {name: figures.get(f'{name}_after') for name in REWARDS}
    held['kl'] = figures.get('kl')
    curves = {name: _curve(rows, name) for name in REWARDS}
    return {
        'points': frontier.path(rows),
        'held_out': {name: x for name, x in held.items() if is_number(x)},
        'curves': {name: curve for name, curve in curves.items() if curve},
    }


def _curve(rows, name):
    kl, values = recorded.series(rows, name, 'kl')
    if not kl:
        return None
    fit = over_optimisation.fit_metrics('rl', kl, values)
    # without a fit the first iteration says where the policy started
    start = fit['start'] if np.isfinite(fit['start']) else values[0]
    gain = np.array(values) - start
    return {'kl': kl, 'gain': gain.tolist(), 'fit': fit}
