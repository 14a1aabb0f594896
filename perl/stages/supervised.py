"""What every stage that trains on batches of records has in common."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.models.architecture import Architecture, parameters
from perl.runs.inputs import inputs
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.account import account
from perl.stages.best import Best
from perl.system import metrics
from perl.training import optimizer as optimizers
from perl.training.fit import fit
from perl.training.plan import Plan
from perl.training.step import Loss, values

Batch = dict[str, np.ndarray]


def plan(
    arch: Architecture,
    config: ConfigDict,
    stage: str,
    loss: Loss,
    batch: Any,
    **changes: Any,
) -> Plan:
    """The step of a stage that tunes the base, on paper.

    Args:
        arch: the decoder.
        config: of the experiment.
        stage: its name in the config.
        loss: of the stage.
        batch: of one step, on paper.
        **changes: other fields of the plan than those of a stage without a head.
    """
    section = config[stage]
    tuning, leaves = configs.tuning(section.tuning), parameters(arch)
    fields = {
        'trainable': tuning.declare(leaves),
        'frozen': {} if tuning.replaces_base else leaves,
        'frozen_dtype': arch.dtype,
        'micro_batches': section.micro_batches,
        'seed': config.seed,
        **changes,
    }
    if 'optimizer' not in fields:
        fields['optimizer'] = optimizers.make(
            section.optimizer, section.steps, fields['trainable']
        )
    return Plan(loss=loss, batch=batch, **fields)


def train(
    run: Run,
    stage: str,
    role: Role,
    plan: Plan,
    batch: Callable[[int], Batch],
    validate: Callable[[Role], dict[str, float]],
    examples: int,
    shown: tuple[str, ...] = ('loss',),
    best: str | None = None,
    frozen: Any = None,
    sample: Callable[[Role, int], None] | None = None,
) -> tuple[Role, dict[str, Any]]:
    """Trains a role and returns it with the figures that every stage reports.

    Args:
        run: what all stages share.
        stage: its name in the config and in the run folder.
        role: before the first step, on the mesh.
        plan: of the step.
        batch: host arrays of a step, a pure function of the step.
        validate: figures of a role on held-out data, named `val_...`.
        examples: how many there are to train on; steps are counted in epochs too.
        shown: metrics in the progress bar.
        best: with `keep_best`, the figure whose largest value chooses the role.
        frozen: the arrays of the plan's frozen tree; the role's base by default.
        sample: shows what the role says after a step, every `eval_every` steps.
    """
    config = run.config[stage]
    state = place_state(run, plan.init(role.delta))
    update = plan.update(state)
    frozen = role.base if frozen is None else frozen
    chosen = Best(run, stage, best if best and config.keep_best else None)

    rate = optimizers.schedule(config.optimizer, config.steps)

    def advance(state, at):
        rows = batch(at)
        state, figures = update(state, frozen, sharding.shard_batch(rows, run.mesh))
        return state, {
            **values(figures),
            'learning_rate': rate(at),
            'epoch': (at + 1) * config.batch_size / examples,
            'tokens': np.sum(rows['segments'] >= 0),
        }

    def now(state):
        return dataclasses.replace(role, delta=state['trainable'])

    def evaluate(state, at):
        figures = validate(now(state))
        chosen.offer(figures, at, now(state))
        if sample and config.eval_every and at % config.eval_every == 0:
            sample(now(state), at)
        return figures

    state, took = fit(
        run.workdir / stage,
        state,
        advance,
        steps=config.steps,
        save_every=config.save_every,
        interrupt=run.interrupt,
        inputs=inputs(run, stage),
        begin=run.record_sitting,
        evaluate=evaluate,
        evaluate_start=lambda state: validate(now(state)),
        eval_every=config.eval_every,
        program=update,
        memory=chosen.memory,
        tensorboard=run.config.tensorboard,
        shown=shown,
        before_update=('loss', 'grad_norm'),
    )
    role = chosen.choose(now(state))
    figures = account(run, stage, [role], took)
    if 'best_step' in chosen.memory:
        figures['best_step'] = chosen.memory['best_step']
    row = metrics.read(run.workdir / stage)[figures.get('best_step', config.steps) - 1]
    if 'val_loss' in row:
        figures['val_loss'] = row['val_loss']
    return role, figures


def place_state(run: Run, state: Any) -> Any:
    """Leaves that are not on the mesh yet (counters) on every device of it."""
    return jax.tree.map(
        lambda x: x if len(x.devices()) == run.mesh.size else run.replicate(x), state
    )
