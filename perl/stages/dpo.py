"""Direct preference optimisation: a policy from comparisons, with no reward model.

The step is that of every stage; a reward, if the config names one, scores the result.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.adapters import tree
from perl.config import lineage
from perl.data import by_example, predictions
from perl.data.ordering import once
from perl.losses import preference
from perl.losses.preference import (
    as_labelled,
    decided_right,
    pair_mean,
    share_right,
)
from perl.losses.reduce import masked_sum
from perl.models import frozen_base, likelihood
from perl.models.architecture import Architecture
from perl.runs.judging import open_reward
from perl.runs.run import Run
from perl.stages import paper, supervised
from perl.stages.compared import compared
from perl.stages.frozen import Frozen
from perl.stages.sample_writer import sample_writer
from perl.stages.sitting import sitting
from perl.stages.supervised import Supervision, stream, train
from perl.system import placement
from perl.training.plan import Plan


def totals(arch: Architecture, params: Any, batch: Any) -> jax.Array:
    """Log-probs `[B, K]` float32 of whole completions.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        batch: comparisons, tokens `[B, rows, T]`; their K completions are in one row
            each, or behind one prompt in one row.
    """
    rows = {name: x.reshape(-1, x.shape[-1]) for name, x in batch.items() if x.ndim > 2}
    log_probs = likelihood.predicted_log_probs(arch, params, rows)
    completions = jnp.arange(1, rows['ends'].shape[1] + 1)
    owned = rows['owners'][:, None] == completions[None, :, None]  # [N, E, S]
    each = jnp.broadcast_to(log_probs[:, None], owned.shape)
    return masked_sum(each, owned, 2).reshape(len(batch['tokens']), -1)


def margins(
    trainable: Any, frozen: Frozen, batch: Any, *, arch: Architecture, beta: float
) -> tuple[jax.Array, jax.Array]:
    """Margins `[B, pairs]` of implicit rewards, and these rewards `[B, K]`, float32.

    Args:
        trainable: the policy's delta.
        frozen: the policy's base, and the reference.
        batch: comparisons with the best completion first; see `totals`.
        arch: the decoder.
        beta: the strength of the KL penalty.
    """
    policy = totals(arch, tree.bind(frozen.policy, trainable), batch)
    reference = totals(arch, frozen.reference.bound(), batch)
    better, worse = jnp.triu_indices(policy.shape[1], 1)
    pairs = (x[:, i] for x in (policy, reference) for i in (better, worse))
    return preference.dpo_margins(*pairs, beta), beta * (policy - reference)


def loss(
    trainable: Any,
    frozen: Frozen,
    batch: Any,
    key: jax.Array | None,
    *,
    arch: Architecture,
    beta: float,
    smoothing: float,
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """DPO over all pairs of each comparison, rows `[B, rows, T]`; one counts one.

    Args:
        trainable, frozen, batch, arch, beta: as in `margins`.
        key: not used: with dropout the loss at the reference would not be ln 2.
        smoothing: the share of labels assumed to be wrong.

    Returns:
        The loss, a sum; and what it is to be divided by, and `{name: (sum, count)}`.
    """
    del key
    ahead, implicit = margins(trainable, frozen, batch, arch=arch, beta=beta)
    count = jnp.float32(len(implicit))

    def summed(x):
        return jnp.sum(pair_mean(x, batch.get('present'))), count

    sure = _sure(batch)
    total, _ = summed(preference.dpo(ahead, sure, smoothing))
    ahead = as_labelled(ahead, sure)
    accuracy = decided_right(ahead, sure, batch.get('present'))
    figures = {'accuracy': accuracy, 'margin': summed(ahead)}
    best = jnp.where(jnp.ravel(sure) < 0.5, implicit[:, -1], implicit[:, 0])
    return total, (count, {**figures, 'chosen_reward': (jnp.sum(best), count)})


def _sure(batch):
    return batch['preferences'][:, None] if 'preferences' in batch else 1.0


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The step of DPO on paper, for two completions of full length."""
    section, base = config[stage], frozen_base.declared(arch)
    learn = functools.partial(
        loss, arch=arch, beta=section.beta, smoothing=section.label_smoothing
    )
    prompt, response = config.lengths.prompt, config.lengths.response
    shared = by_example.shares(section.share_prompts, prompt, response)
    E = 2 if shared else 1  # completions in a row
    shape = section.batch_size, 2 // E, prompt + E * response
    batch = predictions.on_paper(shape, E * response, E)
    tuning = configs.tuning(section.tuning)
    frozen = Frozen(
        policy={} if tuning.replaces_base else base,
        reference=paper.source_of(arch, config, stage, base),
    )
    return supervised.plan(arch, config, stage, learn, batch, frozen=frozen)


def dpo(run: Run, stage: str) -> dict[str, Any]:
    """Trains a policy by DPO; saves it, returns its figures beside the reference's."""
    config = run.config[stage]
    reference = run.source(config.start)
    reward = open_reward(run, stage)
    records = run.dataset.comparisons
    data = {
        split: run.encoded(records[split], f'{stage}/{split}')
        for split in ('train', 'val')
    }
    policy = run.place(run.begin(stage))
    frozen = Frozen(policy=policy.base, reference=reference.network)
    batches = functools.partial(
        by_example.comparisons, config.share_prompts, multiple=run.multiple
    )
    policy, figures = train(
        sitting(run, stage),
        policy,
        plan(run.arch, run.config, stage),
        Supervision(
            batch=stream(data['train'], config.batch_size, run.config.seed, batches),
            examples=len(data['train']),
            validate=_held_out(
                run.arch, run.mesh, config, frozen, data['val'], batches
            ),
            shown=('loss', 'accuracy', 'val_accuracy'),
            best='val_accuracy',
            sample=sample_writer(run, stage, run.dataset.prompts['val']),
        ),
        frozen=frozen,
    )
    run.save_role(stage, policy)
    trained_by = lineage.trained_by(run.config, stage)
    judged = compared(run, run.workdir / stage, policy, reference, reward, trained_by)
    return {**figures, 'algorithm': 'dpo', **judged}


def _held_out(arch, mesh, section, frozen, data, batches):
    """`validate` of comparisons: the loss, and the accuracy on those that are not
    labelled as ties."""
    measure = jax.jit(functools.partial(margins, arch=arch, beta=section.beta))

    def validate(role):
        right, lost = [], []
        for rows, new in once(data, section.batch_size):
            batch = sharding.shard_batch(batches(data, rows), mesh)
            ahead, _ = measure(role.delta, frozen, batch)
            shares = share_right(as_labelled(ahead, _sure(batch)))
            losses = preference.dpo(ahead, _sure(batch), section.label_smoothing)
            decided = data.preferences[rows[:new]] != 0.5
            present = batch.get('present')
            means = [pair_mean(x, present) for x in (shares, losses)]
            shares, losses = (x[:new] for x in placement.fetch(means))
            right.append(shares[decided])
            lost.append(losses)
        figures = {'val_loss': float(np.concatenate(lost).mean())}
        if (right := np.concatenate(right)).size:
            figures['val_accuracy'] = float(right.mean())
        return figures

    return validate
