"""What every stage that trains on batches of records has in common."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from perl import config as configs
from perl.data import ordering
from perl.data.batching import Batch
from perl.data.examples import Examples
from perl.data.own_rows import own_rows, place
from perl.models import frozen_base
from perl.models.architecture import Architecture, parameters
from perl.runs import roles
from perl.runs.roles import Role
from perl.stages.account import account
from perl.stages.best import Best
from perl.stages.sitting import Sitting, place_state
from perl.system import metrics
from perl.training import optimizer as optimizers
from perl.training.fit import fit
from perl.training.plan import Plan
from perl.training.step import Loss, values


def stream(
    data: Examples,
    size: int,
    seed: int,
    collate: Callable[..., Batch],
) -> Callable[[int, np.ndarray], Batch]:
    """The batch of each step, a pure function of the step and of the rows to make.

    Args:
        data: the examples; those of about one length come together.
        size: examples of a batch.
        seed: of their order.
        collate: the batch of the examples and of the indices `[size]` of some of them;
            of that batch only the rows `own`.
    """
    shapes = ordering.shapes(data)

    def batch(at, own):
        rows = ordering.order(len(data), size, seed, at, shapes)
        return collate(data, rows, own=own)

    return batch


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
    tuning = configs.tuning(section.tuning)
    fields = {
        'trainable': tuning.declare(parameters(arch)),
        'frozen': {} if tuning.replaces_base else frozen_base.declared(arch),
        'frozen_dtype': arch.base_dtype,
        'micro_batches': section.micro_batches,
        'seed': config.seed,
        **changes,
    }
    if 'optimizer' not in fields:
        fields['optimizer'] = optimizers.make(
            section.optimizer, section.steps, fields['trainable']
        )
    return Plan(loss=loss, batch=batch, **fields)


@dataclasses.dataclass(frozen=True)
class Supervision:
    """What a role learns from, and what it is measured by while it learns.

    Attributes:
        batch: host arrays of a step and of some rows of its batch, a pure function.
        examples: how many there are to train on; steps are counted in epochs too.
        validate: figures of a role on held-out data, named `val_...`.
        shown: metrics in the progress bar.
        best: with `keep_best`, the figure whose largest value chooses the role.
        sample: shows what the role says after a step, every `eval_every` steps.
        sample_at_end: shows it after the last step too; a stage that compares its
            policy with the reference at the end gets samples from that.
    """

    batch: Callable[[int, np.ndarray], Batch]
    examples: int
    validate: Callable[[Role], dict[str, float]]
    shown: tuple[str, ...] = ('loss',)
    best: str | None = None
    sample: Callable[[Role, int], None] | None = None
    sample_at_end: bool = False


def train(
    sitting: Sitting,
    role: Role,
    plan: Plan,
    supervision: Supervision,
    frozen: Any = None,
) -> tuple[Role, dict[str, Any]]:
    """Trains a role and returns it with the figures that every stage reports.

    Args:
        sitting: what the training takes from the run.
        role: before the first step, on the mesh.
        plan: of the step.
        supervision: what the role learns from.
        frozen: the arrays of the plan's frozen tree; the role's base by default.
    """
    section, mesh, size = sitting.section, sitting.mesh, sitting.section.batch_size
    state = place_state(plan.init(role.delta), mesh)
    update, best = plan.update(state), _best(sitting, supervision)
    rate = optimizers.schedule(section.optimizer, section.steps)

    def learn(state, at):
        arrays = place(supervision.batch(at, own_rows(size, mesh)), size, mesh)
        state, figures = update(state, role.base if frozen is None else frozen, arrays)
        figures = values(figures) | {
            'learning_rate': rate(at),
            'epoch': (at + 1) * section.batch_size / supervision.examples,
        }
        if 'segments' in arrays:  # a head that reads known states reads no tokens
            there = arrays['segments'] >= 0
            figures |= {'tokens': jnp.sum(there), 'padding': jnp.mean(~there)}
        return state, figures

    state, took = fit(
        sitting.loop(
            evaluate=functools.partial(_evaluate, section, supervision, best, role),
            evaluate_start=lambda state: supervision.validate(_after(role, state)),
            program=update,
            memory=best.memory,
            shown=supervision.shown,
            before_update=('loss', 'grad_norm'),
        ),
        state,
        learn,
    )
    role = best.choose(_after(role, state))
    figures = account(section, sitting.leaves, [role], took)
    return role, figures | _chosen_step(sitting.folder, best, section.steps)


def _best(sitting, supervision):
    """Keeps the best role where the config of the stage asks for it."""
    section = sitting.section
    wanted = supervision.best and section.keep_best
    card = functools.partial(roles.card, name=section.kind, tokenizer=sitting.tokenizer)
    figure = supervision.best if wanted else None
    return Best(sitting.folder, figure, card, sitting.place)


def _after(role, state):
    """The role with what the state has learned."""
    return dataclasses.replace(role, delta=state['trainable'])


def _evaluate(section, supervision, best, role, state, at):
    """Figures on held-out data after a step; offers the role and shows samples."""
    role = _after(role, state)
    figures = supervision.validate(role)
    best.offer(figures, at, role)
    due = supervision.sample_at_end and at == section.steps
    due |= section.eval_every > 0 and at % section.eval_every == 0
    if supervision.sample and due:
        supervision.sample(role, at)
    return figures


def _chosen_step(folder, best, last):
    """`best_step`, where the best role was kept, and `val_loss` of the chosen step."""
    figures = {}
    if 'best_step' in best.memory:
        figures['best_step'] = best.memory['best_step']
    row = metrics.read(folder)[figures.get('best_step', last) - 1]
    if 'val_loss' in row:
        figures['val_loss'] = row['val_loss']
    return figures
