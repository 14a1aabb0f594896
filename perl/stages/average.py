"""Averages of what earlier stages trained: one adapter in the place of several.

Of reward models it is WARM (arXiv 2401.12187), of policies a step of WARP (arXiv
2406.16768). Nothing is trained; what comes out is saved and measured like any other
reward model or policy.
"""

import time
from typing import Any

import jax

from perl.adapters import averaging
from perl.config import kinds, lineage
from perl.runs.judging import open_reward
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.compared import compared
from perl.stages.reward import finish
from perl.system import memory
from perl.system.errors import UserError

# (what they were trained from, the deltas, the weight) -> the average
TOWARDS = {
    'slerp': averaging.slerp,
    'interpolate_to_start': averaging.interpolate_to_start,
}


def average(run: Run, stage: str) -> dict[str, Any]:
    """Averages stages; saves the role, returns its held-out figures."""
    config, began = run.config[stage], time.monotonic()
    role, lost = averaged_role(run, stage)
    sort = lineage.makes(run.config, stage)
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
        figures |= finish(run, stage, role)
    else:
        run.save_role(stage, role)
        figures |= _compared(run, stage, role)
    return {
        **figures,
        'evaluation_seconds': time.monotonic() - began,
        'peak_bytes': memory.peak_bytes(),
    }


def averaged_role(run: Run, stage: str) -> tuple[Role, float]:
    """The averaged role, on the mesh, and the share of its change that a lower rank
    has lost.

    Raises:
        UserError: a stage is not finished, or they sit on different bases.
    """
    config = run.config[stage]
    rewards = lineage.makes(run.config, stage) == 'reward'
    trained = [(run.reward_role if rewards else run.role)(name) for name in config.of]
    bases = {role.base_id for role in trained}
    if len(bases) > 1:
        raise UserError(
            f'{stage}.of: {", ".join(config.of)} sit on different bases '
            f'({", ".join(sorted(bases))}); train them on the same one'
        )
    deltas = [role.delta for role in trained]
    if config.method == 'mean':
        shares = [1 / len(deltas)] * len(deltas)
        delta = averaging.combine(deltas, shares, trained[0].base)
    else:
        init = run.begin(lineage.origin(run.config, stage)).delta
        delta = TOWARDS[config.method](init, *deltas, config.weight)
    lost = 0.0
    if config.rank:
        delta, lost = averaging.compress(delta, config.rank)
    delta, tuning = trained[0].tuning.describing(jax.device_get(delta))
    return run.place(Role(trained[0].base, trained[0].base_id, delta, tuning)), lost


def _compared(run, stage, role):
    trained = run.config[lineage.origin(run.config, stage)]
    reference, reward = run.source(trained.start), open_reward(run, stage)
    return {
        'algorithm': 'average',
        **compared(run, stage, role, reference, reward),
    }
