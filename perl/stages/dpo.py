"""Direct preference optimisation: a policy from comparisons, with no reward model.

The step is that of every stage; a reward, if the config names one, scores the result.
"""

import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.config import lineage
from perl.data import by_example, predictions
from perl.data.ordering import once
from perl.losses.direct import DIRECT
from perl.losses.preference import as_labelled, pair_mean, share_right
from perl.models import frozen_base
from perl.models.architecture import Architecture
from perl.runs.judging import open_reward
from perl.runs.run import Run
from perl.stages import paper, supervised
from perl.stages.compared import compared
from perl.stages.direct import (
    Numbers,
    labels,
    loss,
    margins,
    of_better,
    rewards,
)
from perl.stages.frozen import Frozen
from perl.stages.sample_writer import sample_writer
from perl.stages.sitting import sitting
from perl.stages.supervised import Supervision, stream, train
from perl.system import placement
from perl.training.plan import Plan


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The step of DPO on paper, for two completions of full length."""
    section, base = config[stage], frozen_base.declared(arch)
    numbers = Numbers.of(section)
    learn = functools.partial(loss, arch=arch, numbers=numbers)
    prompt, response = config.lengths.prompt, config.lengths.response
    # `auto` depends on the data: two rows have more slots than one
    E = 2 if section.share_prompts == 'always' else 1  # completions in a row
    shape = section.batch_size, 2 // E, prompt + E * response
    batch = predictions.on_paper(shape, E * response, E)
    tuning = configs.tuning(section.tuning)
    frozen = Frozen(
        policy={} if tuning.replaces_base else base,
        reference=paper.source_of(arch, config, stage, base)
        if DIRECT[numbers.loss].referenced
        else None,
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
    referenced = DIRECT[config.loss].referenced
    frozen = Frozen(policy.base, reference=reference.network if referenced else None)
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
    return {**figures, 'algorithm': config.loss, **judged}


def _held_out(arch, mesh, section, frozen, data, batches):
    """`validate` of comparisons: the loss, and the accuracy on those that are not
    labelled as ties."""
    numbers = Numbers.of(section)
    measure = jax.jit(functools.partial(rewards, arch=arch, numbers=numbers))

    def validate(role):
        right, lost = [], []
        for rows, new in once(data, section.batch_size):
            batch = sharding.shard_batch(batches(data, rows), mesh)
            gained, said = measure(role.delta, frozen, batch)
            ahead, sure = margins(gained), labels(batch)
            shares = share_right(as_labelled(ahead, sure))
            losses = numbers.pair_loss(ahead, sure)
            decided = data.preferences[rows[:new]] != 0.5
            present = batch.get('present')
            means = [pair_mean(x, present) for x in (shares, losses)]
            means = placement.fetch([*means, of_better(said, sure)])
            shares, losses, said = (x[:new] for x in means)
            right.append(shares[decided])
            lost.append(losses - numbers.nll_coefficient * said)
        figures = {'val_loss': float(np.concatenate(lost).mean())}
        if (right := np.concatenate(right)).size:
            figures['val_accuracy'] = float(right.mean())
        return figures

    return validate
