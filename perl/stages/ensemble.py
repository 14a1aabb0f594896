"""Reward models that judge together, and the gate that may weigh them.

The mean, the least and the mean less some standard deviations of what the members say
need no training. Gates (MoLE, arXiv 2404.13628) are trained on the data of the members,
which stay as they are.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.config import lineage
from perl.data import order
from perl.evaluation import reward_scores
from perl.judges import mixture, panel
from perl.judges.panel import Panel
from perl.models.architecture import Architecture
from perl.runs.panels import members, save_panel
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.reward import ON_REWARDS, options
from perl.stages.supervised import train
from perl.system import memory


def ensemble(run: Run, stage: str) -> dict[str, Any]:
    """Forms the ensemble; saves it, returns its figures and those of its members."""
    config = run.config[stage]
    joined = members(run, config.of)
    figures, gate = {}, None
    if config.combine in mixture.GATED:
        gate, figures = _trained_gate(run, stage, joined)
    began = time.monotonic()
    made = panel.build(joined, config.combine, config.deviations, gate)
    shift, scale = reward_scores.normalisation(run, stage, made)
    made = dataclasses.replace(made, shift=jnp.float32(shift), scale=jnp.float32(scale))
    save_panel(run, stage, made)
    alone = {
        name: reward_scores.evaluate(run, name, role, 'test')
        for name, role in zip(config.of, joined, strict=True)
    }
    shown = ('accuracy', 'auc')
    return {
        **figures,
        'kind': 'reward',
        'tuning': lineage.recipe(config),
        'combine': config.combine,
        **reward_scores.evaluate(run, stage, made, 'test'),
        'members': {
            name: {key: found[key] for key in shown if key in found}
            for name, found in alone.items()
        },
        'evaluation_seconds': time.monotonic() - began,
        'peak_bytes': memory.peak_bytes(),
    }


def loss(
    gate: Any,
    frozen: Panel,
    batch: Any,
    key: jax.Array,
    *,
    arch: Architecture,
    name: str,
    balance: float,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """The members' loss on the rewards that the gate mixes, and what keeps it from
    neglecting a member: `balance * -log prod_i q_i`, with `q_i` member i's mean share
    in the batch (or in a part of it, where the batch is taken in parts).

    Args:
        gate: what is trained.
        frozen: the members, with a gate that is not read.
        batch: of `judging.collate`.
        key: not used; members have no dropout here.
        arch: the decoder.
        name: of the loss, as the members' config has it.
        balance: 0.5 in MoLE.
        **options: of the members' loss.
    """
    del key
    made = dataclasses.replace(frozen, gate=gate)
    mixed, shares = panel.gated(arch, made, reward_scores.rows(batch))
    mixed = mixed.reshape(batch['tokens'].shape[0], -1)
    total, (count, sums) = ON_REWARDS[name](mixed, batch, **options)
    neglect = -jnp.sum(jnp.log(shares))
    sums |= {'balance': (neglect * count, count)}
    sums |= {'largest_share': (jnp.max(shares) * count, count)}
    return total + balance * neglect * count, (count, sums)


def _trained_gate(run, stage, joined):
    config = run.config[stage]
    trained = run.config[lineage.origin(run.config, stage)]
    data = {
        split: reward_scores.records(run, stage, split) for split in ('train', 'val')
    }
    lengths = run.buckets(data['train'].lengths, run.multiple)
    learn = functools.partial(
        loss,
        arch=run.arch,
        name=trained.loss,
        balance=config.balance,
        **options(trained),
    )
    count = len(config.of)
    gate = run.replicate(mixture.fresh(run.arch, config.combine, count))
    # a copy, since training takes the other apart
    frozen = panel.build(joined, config.combine, gate=jax.tree.map(jnp.copy, gate))

    def batch(at):
        rows = order(len(lengths), config.batch_size, run.config.seed, at, lengths)
        return reward_scores.collate(trained, data['train'], rows, run.multiple)

    def validate(role):
        gated = dataclasses.replace(frozen, gate=role.delta)
        return reward_scores.held_out(run, stage, gated, data['val'])

    best = reward_scores.BEST[trained.loss]
    role, figures = train(
        run,
        stage,
        Role({}, '', gate, None),
        learn,
        batch,
        validate,
        shown=('loss', 'accuracy', best),
        frozen=frozen,
    )
    total = count * figures['total']
    share = tree.size(gate) / total
    return role.delta, figures | {'total': total, 'trainable_share': share}
