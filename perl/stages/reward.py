"""Reward models: a scalar head on the last token, by comparisons or by ratings."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters import tree
from perl.data import SPLITS, batching
from perl.evaluation.reward_metrics import (
    BEST,
    OnRewards,
    evaluate,
    held_out,
    normalisation,
)
from perl.evaluation.reward_task import RewardTask, reward_task
from perl.losses import preference
from perl.models import heads
from perl.models.architecture import Architecture, parameters
from perl.runs import roles
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages import probe, supervised
from perl.stages.sitting import sitting
from perl.stages.supervised import Supervision, stream, train
from perl.training import optimizer as optimizers
from perl.training.plan import Plan


def bradley_terry(
    trainable: Any,
    base: Any,
    batch: Any,
    key: jax.Array,
    *,
    arch: Architecture,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """The loss of a reward model on comparisons `[B, K, T]`; options of `ranked`."""
    rewards = heads.score(arch, tree.bind(base, trainable, key=key), batch)
    return ranked(rewards, batch, **options)


def ranked(
    rewards: jax.Array, batch: Any, smoothing: float = 0.0, margins: bool = True
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """All pairs of each comparison, completions best first; one comparison counts
    one, however many pairs it has (InstructGPT; Bradley-Terry where K = 2).

    Args:
        rewards: `[B, K]`.
        batch: margins and preferences `[B]`, where the data have them. A margin is
            that of neighbours in rank: completions further apart have a larger one.
            `present` `[B, K]` where comparisons have different numbers of completions.
        smoothing: the share of labels taken to be wrong.
        margins: whether those of the batch are taken.
    """
    B, K = rewards.shape
    better, worse = jnp.triu_indices(K, 1)
    chosen, rejected = rewards[:, better], rewards[:, worse]
    lead = 0.0
    if margins and 'margins' in batch:
        apart = (worse - better).astype(batch['margins'].dtype)
        lead = batch['margins'][:, None] * apart[None]
    sure = batch['preferences'][:, None] if 'preferences' in batch else 1.0
    losses = preference.bradley_terry(chosen, rejected, lead, sure, smoothing)
    ahead = preference.as_labelled(chosen - rejected, sure)
    count = jnp.float32(B)
    present = batch.get('present')
    total, margin = (jnp.sum(preference.pair_mean(x, present)) for x in (losses, ahead))
    accuracy = preference.decided_right(ahead, sure, present)
    return total, (count, {'accuracy': accuracy, 'margin': (margin, count)})


def pointwise(
    trainable: Any, base: Any, batch: Any, key: jax.Array, *, arch: Architecture
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """The loss of a reward model on ratings, rows `[B, 1, T]`."""
    return rated(heads.score(arch, tree.bind(base, trainable, key=key), batch), batch)


def rated(rewards: jax.Array, batch: Any) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Cross-entropy of sigma(r) with the rating: rewards `[B, 1]`, labels `[B]`."""
    rewards, labels = rewards[:, 0], batch['labels']
    count = jnp.float32(rewards.shape[0])
    right = jnp.sum((rewards > 0) == (labels >= 0.5), dtype=jnp.float32)
    total = jnp.sum(preference.pointwise(rewards, labels))
    return total, (count, {'accuracy': (right, count)})


LOSSES = {'bradley_terry': bradley_terry, 'pointwise': pointwise}
ON_REWARDS = {'bradley_terry': ranked, 'pointwise': rated}


def on_rewards(config: Any) -> OnRewards:
    """The loss of a reward stage on rewards that are known."""
    return functools.partial(ON_REWARDS[config.loss], **options(config))


def options(config: Any) -> dict[str, Any]:
    """What the config of a reward stage says of its loss."""
    if config.loss == 'pointwise':
        return {}
    return {'smoothing': config.label_smoothing, 'margins': config.margins}


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The step of a reward model on paper, for two completions of full length."""
    section = config[stage]
    loss = functools.partial(LOSSES[section.loss], arch=arch, **options(section))
    length = config.lengths.prompt + config.lengths.response
    completions = 1 if section.loss == 'pointwise' else 2
    batch = batching.on_paper((section.batch_size, completions, length))
    if section.loss == 'pointwise':
        batch['labels'] = jax.ShapeDtypeStruct((section.batch_size,), jnp.float32)
    delta = configs.tuning(section.tuning).declare(parameters(arch))
    changes = {'trainable': {**delta, heads.HEAD: heads.head_leaves(arch.width)}}
    if section.head_only:
        optimizer = optimizers.make(
            section.optimizer, section.steps, changes['trainable']
        )
        changes['optimizer'] = optimizers.only(optimizer, heads.HEAD)
        changes['updated'], loss = heads.HEAD, _probing(loss)
    return supervised.plan(arch, config, stage, loss, batch, **changes)


def reward(run: Run, stage: str) -> dict[str, Any]:
    """Trains a reward model; saves the role, returns its held-out figures."""
    config, task = run.config[stage], reward_task(run, stage)
    # test too, so that a row that is wrong there is found now
    data = {split: task.records(split, f'{stage}/{split}') for split in SPLITS}
    role, key = run.begin(stage), run.key(f'{stage}/head')
    role = run.place(roles.with_head(key, role, run.arch.width))
    if config.head_only:
        task, read_bytes = probe.read(task, role, data, stage, run.interrupt)
        data = task.known

    def validate(role):
        return held_out(task, role, data['val'], on_rewards(config))

    seed, best = run.config.seed + config.shuffle, BEST[config.loss]
    role, figures = train(
        sitting(run, stage),
        role,
        plan(run.arch, run.config, stage),
        Supervision(
            batch=stream(data['train'], config.batch_size, seed, task.collate),
            examples=len(data['train']),
            validate=validate,
            shown=('loss', 'accuracy', best),
            best=best,
        ),
    )
    if config.head_only:
        trained = tree.size(role.delta[heads.HEAD])
        share = trained / figures['total']
        figures |= {'trainable': trained, 'trainable_share': share}
        figures['step_bytes'] = max(figures['step_bytes'], read_bytes)
    role = normalised(task, role)
    run.save_role(stage, role)
    return figures | evaluate(task, role, 'test')


def normalised(task: RewardTask, role: Role) -> Role:
    """A reward model with its shift and scale, measured on the validation split."""
    shift, scale = normalisation(task, role)
    return dataclasses.replace(role, shift=shift, scale=scale)


def _probing(loss):
    """The loss without a gradient of anything but the head."""

    def head_loss(trainable, *rest):
        fixed = jax.lax.stop_gradient(trainable)
        return loss({**fixed, heads.HEAD: trainable[heads.HEAD]}, *rest)

    return head_loss
