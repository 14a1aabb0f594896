"""What pretraining, SFT and reward modelling have in common."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perl import sharding
from perl.runs.inputs import inputs
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.account import account
from perl.stages.best import Best
from perl.training import optimizer as optimizers
from perl.training.compiled import Compiled
from perl.training.fit import fit
from perl.training.step import Loss, init, step

Batch = dict[str, np.ndarray]


def train(
    run: Run,
    stage: str,
    role: Role,
    loss: Loss,
    batch: Callable[[int], Batch],
    validate: Callable[[Role], dict[str, float]],
    shown: tuple[str, ...] = ('loss',),
    best: str | None = None,
    frozen: Any = None,
    part: str | None = None,
) -> tuple[Role, dict[str, Any]]:
    """Trains a role and returns it with the figures that every stage reports.

    Args:
        run: what all stages share.
        stage: its name in the config and in the run folder.
        role: before the first step, on the mesh.
        loss: `(trainable, frozen, batch, key)`, see `perl.training.step`.
        batch: host arrays of a step, a pure function of the step.
        validate: figures of a role on held-out data, named `val_...`.
        shown: metrics in the progress bar.
        best: with `keep_best`, the figure whose largest value chooses the role.
        frozen: what the loss reads beside it; the role's base by default.
        part: of the role's delta, the only one that is updated; all by default.
    """
    config = run.config[stage]
    optimizer = optimizers.make(config.optimizer, config.steps)
    if part:
        optimizer = optimizers.only(optimizer, part)
    state = place_state(run, init(role.delta, optimizer))
    update = Compiled(
        functools.partial(
            step,
            loss=loss,
            optimizer=optimizer,
            seed=run.config.seed,
            micro_batches=config.micro_batches,
        ),
        donate_argnames=('state',),
        out_shardings=(jax.tree.map(lambda x: x.sharding, state), None),
    )
    frozen = role.base if frozen is None else frozen
    chosen = Best(run, stage, best if best and config.keep_best else None)

    def advance(state, at):
        return update(state, frozen, sharding.shard_batch(batch(at), run.mesh))

    def now(state):
        return dataclasses.replace(role, delta=state['trainable'])

    def evaluate(state, at):
        figures = validate(now(state))
        chosen.offer(figures, at, now(state))
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
        eval_every=config.eval_every,
        program=update,
        memory=chosen.memory,
        tensorboard=run.config.tensorboard,
        shown=shown,
    )
    role = chosen.choose(now(state))
    figures = account(run, stage, [role], took)
    if 'best_step' in chosen.memory:
        figures['best_step'] = chosen.memory['best_step']
    return role, figures


def place_state(run: Run, state: Any) -> Any:
    """Leaves that are not on the mesh yet (counters) on every device of it."""
    return jax.tree.map(
        lambda x: x if len(x.devices()) == run.mesh.size else run.replicate(x), state
    )
