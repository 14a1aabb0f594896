"""Reward models that score together.

The mean, the least and the mean less some standard deviations of the members' rewards
need no training; the gates of `gate.py` do.
"""

import dataclasses
import time
from typing import Any

import jax.numpy as jnp

from perl.config import kinds
from perl.evaluation import reward_metrics
from perl.evaluation.reward_task import reward_task
from perl.judges import mixture, panel
from perl.runs import ensembles
from perl.runs.reward_models import members
from perl.runs.run import Run
from perl.stages.gate import plan, train_gate
from perl.stages.sitting import sitting
from perl.system import memory


def ensemble(run: Run, stage: str) -> dict[str, Any]:
    """Forms the ensemble; saves it, returns its figures and those of its members."""
    config = run.config[stage]
    joined, task = members(run, config.of), reward_task(run, stage)
    figures, gate = {}, None
    if config.combine in mixture.GATED:
        gate, figures = train_gate(
            sitting(run, stage), task, joined, plan(run.arch, run.config, stage)
        )
    began = time.monotonic()
    made = panel.build(joined, config.combine, config.deviations, gate)
    shift, scale = reward_metrics.normalisation(task, made)
    made = dataclasses.replace(made, shift=jnp.float32(shift), scale=jnp.float32(scale))
    ensembles.save(run.workdir / stage, made, config.of)
    alone = {
        name: reward_metrics.evaluate(
            reward_task(run, name), role, 'test', baselines=False
        )
        for name, role in zip(config.of, joined, strict=True)
    }
    shown = ('accuracy', 'auc')
    return {
        **figures,
        'kind': 'reward',
        'tuning': kinds.of(config).recipe(config),
        'combine': config.combine,
        **reward_metrics.evaluate(task, made, 'test'),
        'members': {
            name: {key: found[key] for key in shown if key in found}
            for name, found in alone.items()
        },
        'evaluation_seconds': time.monotonic() - began,
        'peak_bytes': memory.peak_bytes(),
    }
