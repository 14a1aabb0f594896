"""Gates that weigh the members of an ensemble (MoLE, arXiv 2404.13628).

Gates are trained on the data of the members, which stay as they are.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl import sharding
from perl.adapters import tree
from perl.config import lineage
from perl.evaluation.reward_metrics import BEST, held_out
from perl.evaluation.reward_task import RewardTask
from perl.judges import mixture, panel
from perl.judges.panel import Panel
from perl.models import frozen_base, heads
from perl.models.architecture import Architecture
from perl.runs.roles import Role
from perl.stages import paper, reward
from perl.stages.reward import ON_REWARDS, options
from perl.stages.sitting import Sitting
from perl.stages.supervised import Supervision, stream, train
from perl.system import placement
from perl.training import optimizer as optimizers
from perl.training.plan import Plan


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
    """The members' loss on the rewards that the gate mixes, plus a load-balancing
    loss: `balance * -log prod_i q_i`, with `q_i` member i's mean share in the batch
    `[B, K, T]` (or in a part of it, where the batch is taken in parts).

    Args:
        gate: what is trained.
        frozen: the members, with a gate that is not read.
        batch: of `by_example.collate`.
        key: not used; members have no dropout here.
        arch: the decoder.
        name: of the loss, as the members' config has it.
        balance: 0.5 in MoLE.
        **options: of the members' loss.
    """
    del key
    gated = dataclasses.replace(frozen, gate=gate)
    mixed, shares = panel.gated(arch, gated, heads.rows(batch))
    mixed = mixed.reshape(batch['tokens'].shape[0], -1)
    total, (count, sums) = ON_REWARDS[name](mixed, batch, **options)
    balancing = -jnp.sum(jnp.log(shares))
    sums |= {'balance': (balancing * count, count)}
    sums |= {'largest_share': (jnp.max(shares) * count, count)}
    return total + balance * balancing * count, (count, sums)


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan | None:
    """The step of the gate on paper; None where the members need none."""
    section = config[stage]
    if section.combine not in mixture.GATED:
        return None
    trained = config[lineage.origin(config, stage)]
    members = paper.panel_of(arch, config, stage, frozen_base.declared(arch))
    return Plan(
        loss=_loss(arch, section, trained),
        trainable=members.gate,
        frozen=members,
        batch=reward.plan(arch, config, lineage.origin(config, stage)).batch,
        optimizer=optimizers.make(section.optimizer, section.steps, members.gate),
        frozen_dtype=arch.base_dtype,
        micro_batches=section.micro_batches,
        seed=config.seed,
    )


def _loss(arch, section, trained):
    return functools.partial(
        loss,
        arch=arch,
        name=trained.loss,
        balance=section.balance,
        **options(trained),
    )


def train_gate(
    sitting: Sitting, task: RewardTask, joined: list[Role], plan: Plan
) -> tuple[Any, dict[str, Any]]:
    """The gate of an ensemble of members, and the figures of its training.

    Args:
        sitting: of the ensemble's stage.
        task: that the members were trained on.
        joined: the members.
        plan: the step of the gate.
    """
    config, trained = sitting.section, task.section
    data = {split: task.records(split) for split in ('train', 'val')}
    count = len(joined)
    gate = mixture.fresh(task.arch, config.combine, count)
    everywhere = sharding.replicated(task.mesh)
    gate = placement.put(gate, dict.fromkeys(gate, everywhere))
    # a copy, since training takes the other apart
    frozen = panel.build(joined, config.combine, gate=jax.tree.map(jnp.copy, gate))

    learned = reward.on_rewards(trained)

    def validate(role):
        gated = dataclasses.replace(frozen, gate=role.delta)
        return held_out(task, gated, data['val'], learned)

    best = BEST[trained.loss]
    role, figures = train(
        sitting,
        Role({}, '', gate, None),
        plan,
        Supervision(
            batch=stream(data['train'], config.batch_size, plan.seed, task.collate),
            examples=len(data['train']),
            validate=validate,
            shown=('loss', 'accuracy', best),
        ),
        frozen=frozen,
    )
    total = count * figures['total']
    share = tree.size(gate) / total
    return role.delta, figures | {'total': total, 'trainable_share': share}
