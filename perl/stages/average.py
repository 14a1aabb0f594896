"""Averages of what earlier stages trained: one adapter in the place of several.

For reward models this is WARM (arXiv 2401.12187), for policies a step of WARP
(arXiv 2406.16768). Nothing is trained; the average is saved and measured like any other
reward model or policy.
"""

import time
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import averaging
from perl.config import kinds, lineage
from perl.evaluation.reward_metrics import evaluate
from perl.evaluation.reward_task import reward_task
from perl.runs.judging import open_reward
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.compared import compared
from perl.stages.reward import normalised
from perl.system import memory, placement
from perl.system.errors import UserError

# (the delta they were trained from, the deltas, the weight) -> the average
TOWARDS = {
    'slerp': averaging.slerp,
    'interpolate_to_start': averaging.interpolate_to_start,
}


def average(run: Run, stage: str) -> dict[str, Any]:
    """Averages stages; saves the role, returns its held-out figures."""
    config, began = run.config[stage], time.monotonic()
    sort, origin = lineage.makes(run.config, stage), lineage.origin(run.config, stage)
    open_role = run.reward_role if sort == 'reward' else run.role
    trained = [open_role(name) for name in config.of]
    _check_bases(stage, config.of, trained)
    init = run.begin(origin).delta if config.method in TOWARDS else None
    role, lost = averaged(config, trained, init)
    role = run.place(role)
    figures = {
        'kind': sort,
        'tuning': f'{role.label}, {kinds.of(config).recipe(config)}',
        'method': config.method,
        'of': list(config.of),
    }
    if config.rank:
        figures['truncation_error'] = lost
        print(f'{stage}: rank {config.rank} loses {lost:.2%} of the change', flush=True)
    if sort == 'reward':
        task = reward_task(run, stage)
        role = normalised(task, role)
    run.save_role(stage, role)
    if sort == 'reward':
        figures |= evaluate(task, role, 'test')
    else:
        figures |= {'algorithm': 'average'} | compared(
            run,
            run.workdir / stage,
            role,
            run.source(run.config[origin].start),
            open_reward(run, stage),
            lineage.trained_by(run.config, stage),
        )
    return {
        **figures,
        'evaluation_seconds': time.monotonic() - began,
        'peak_bytes': memory.peak_bytes(),
    }


def averaged(section: ConfigDict, trained: list[Role], init: Any) -> tuple[Role, float]:
    """The average of roles on one base, and the share of its change that a lower rank
    has lost.

    Args:
        section: of the stage.
        trained: what is averaged.
        init: the delta that they were all trained from; the mean does not read it.
    """
    deltas = [role.delta for role in trained]
    if section.method == 'mean':
        shares = [1 / len(deltas)] * len(deltas)
        delta = averaging.combine(deltas, shares, trained[0].base)
    else:
        delta = TOWARDS[section.method](init, *deltas, section.weight)
    lost = 0.0
    if section.rank:
        delta, lost = averaging.compress(delta, section.rank)
    delta, tuning = trained[0].tuning.describing(placement.fetch(delta))
    return Role(trained[0].base, trained[0].base_id, delta, tuning), lost


def _check_bases(stage, names, trained):
    bases = {role.base_id for role in trained}
    if len(bases) > 1:
        raise UserError(
            f'{stage}.of: {", ".join(names)} sit on different bases '
            f'({", ".join(sorted(bases))}); train them on the same one'
        )
