"""Next-token training: pretraining on text, SFT on demonstrations."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from perl import sharding
from perl.adapters import tree
from perl.data import batching
from perl.data.ordering import once, order, slices
from perl.data.packing import pack
from perl.losses.reduce import masked_sum
from perl.models import architecture, likelihood, store
from perl.models.architecture import Architecture
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages import supervised
from perl.stages.sample_writer import sample_writer
from perl.stages.sitting import sitting
from perl.stages.supervised import Supervision, stream, train
from perl.system import hosts, placement
from perl.training.plan import Plan


def loss(
    trainable: Any, base: Any, batch: Any, key: jax.Array, *, arch: Architecture
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Negative log-likelihood of completions in rows `[B, T]`, summed over tokens."""
    params = tree.bind(base, trainable, key=key)
    log_probs, mask = likelihood.next_token_log_probs(arch, params, batch)
    return -masked_sum(log_probs, mask), (jnp.sum(mask), {})


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The step of pretraining or SFT on paper, for rows of full length."""
    length = config.lengths.prompt + config.lengths.response
    batch = batching.on_paper((config[stage].batch_size, length))
    learn = functools.partial(loss, arch=arch)
    return supervised.plan(arch, config, stage, learn, batch)


def pretrain(run: Run, stage: str) -> dict[str, Any]:
    """Makes the base from scratch on the dataset's text; returns its figures."""
    config = run.config[stage]
    length = run.config.lengths.prompt + run.config.lengths.response
    texts = run.dataset.text
    rows = pack(texts['train'], run.tokenizer, length)
    packed = pack(texts['val'], run.tokenizer, length)

    def held_out():
        for rows, new in slices(len(packed['tokens']), config.batch_size):
            yield {name: x[rows] for name, x in packed.items()}, new

    params = architecture.init(run.key(stage), run.arch)
    role = run.place(Role({}, '', params, run.tuning(stage)))
    role, figures = train(
        sitting(run, stage),
        role,
        plan(run.arch, run.config, stage),
        Supervision(
            batch=functools.partial(_rows, rows, config.batch_size, run.config.seed),
            examples=len(rows['tokens']),
            validate=_held_out_loss(run.arch, run.mesh, held_out),
        ),
    )
    folder = run.workdir / stage / 'base'
    plain = store.changed(run.arch, quantization='none')
    params = placement.fetch(role.delta)

    def save():
        run.tokenizer.save(folder / 'tokenizer')
        store.save(folder, plain, params)

    hosts.first(save)
    return figures


def sft(run: Run, stage: str) -> dict[str, Any]:
    """Supervised fine-tuning on demonstrations; saves the role, returns its figures."""
    config = run.config[stage]
    records = run.dataset.demonstrations
    data = {
        split: run.encoded(records[split], f'{stage}/{split}')
        for split in ('train', 'val')
    }
    collate = functools.partial(batching.collate, multiple=run.multiple)

    def held_out():
        for rows, new in once(data['val'], config.batch_size):
            yield collate(data['val'], rows), new

    prompts = [record.prompt for record in records['val']]
    role, figures = train(
        sitting(run, stage),
        run.place(run.begin(stage)),
        plan(run.arch, run.config, stage),
        Supervision(
            batch=stream(data['train'], config.batch_size, run.config.seed, collate),
            examples=len(data['train']),
            validate=_held_out_loss(run.arch, run.mesh, held_out),
            shown=('loss', 'val_loss'),
            sample=sample_writer(run, stage, prompts),
            sample_at_end=True,
        ),
    )
    run.save_role(stage, role)
    return figures


def _rows(batch, size, seed, at, own):
    chosen = order(len(batch['tokens']), size, seed, at)[own]
    return {name: x[chosen] for name, x in batch.items()}


def _held_out_loss(arch, mesh, held_out):
    """`validate` of the batches `[B, T]` that `held_out` yields, each with how many of
    its rows are new: the mean over their tokens."""
    measure = _measure(arch)

    def validate(role):
        total = count = 0.0
        for batch, new in held_out():
            counted = np.arange(len(batch['completion'])) < new
            batch['completion'] = batch['completion'] & counted[:, None]
            batch = sharding.shard_batch(batch, mesh)
            summed, tokens = measure(role.delta, role.base, batch)
            total, count = total + float(summed), count + float(tokens)
        return {'val_loss': total / count}

    return validate


@functools.cache
def _measure(arch):
    def measure(trainable, base, batch):
        total, (count, _) = loss(trainable, base, batch, None, arch=arch)
        return total, count

    return jax.jit(measure)
