"""Reward models: a scalar head on the last token, by comparisons or by ratings."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.data import batching, examples, order
from perl.data.examples import Examples
from perl.evaluation import accuracy
from perl.losses import preference
from perl.models import heads
from perl.models.architecture import Architecture
from perl.stages import roles
from perl.stages.opening import needs
from perl.stages.roles import Role
from perl.stages.run import Run
from perl.stages.supervised import slices, train


def score(arch: Architecture, params: Any, batch: Any) -> jax.Array:
    """Raw rewards `[B, K]` float32 of a batch whose rows are `[B, rows, T]`."""
    flat = {
        name: batch[name].reshape(-1, batch[name].shape[-1])
        for name in ('tokens', 'positions', 'segments', 'ends')
    }
    return heads.rewards(arch, params, flat).reshape(batch['tokens'].shape[0], -1)


def bradley_terry(
    trainable: Any, base: Any, batch: Any, key: jax.Array, *, arch: Architecture
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """All pairs of each comparison, completions best first; one comparison counts
    one, however many pairs it has (InstructGPT; Bradley-Terry where K = 2)."""
    rewards = score(arch, tree.bind(base, trainable, key=key), batch)
    better, worse = jnp.triu_indices(rewards.shape[1], 1)
    chosen, rejected = rewards[:, better], rewards[:, worse]
    count = jnp.float32(rewards.shape[0])
    right = jnp.sum(jnp.mean(chosen > rejected, axis=1))
    margin = jnp.sum(jnp.mean(chosen - rejected, axis=1))
    total = jnp.sum(jnp.mean(preference.bradley_terry(chosen, rejected), axis=1))
    return total, (count, {'accuracy': (right, count), 'margin': (margin, count)})


def pointwise(
    trainable: Any, base: Any, batch: Any, key: jax.Array, *, arch: Architecture
) -> tuple[jax.Array, tuple[jax.Array, dict]]:
    """Cross-entropy of sigma(r) with the rating."""
    rewards = score(arch, tree.bind(base, trainable, key=key), batch)[:, 0]
    labels = batch['labels']
    count = jnp.float32(rewards.shape[0])
    right = jnp.sum((rewards > 0) == (labels >= 0.5))
    total = jnp.sum(preference.pointwise(rewards, labels))
    return total, (count, {'accuracy': (right, count)})


LOSSES = {'bradley_terry': bradley_terry, 'pointwise': pointwise}


def reward(run: Run, stage: str) -> dict[str, Any]:
    """Trains a reward model; saves the role, returns its held-out figures."""
    config = run.config[stage]
    data = {split: records(run, stage, split) for split in ('train', 'val', 'test')}
    role = run.begin(stage)
    role = roles.with_head(run.key(f'{stage}/head'), role, run.arch.width)
    lengths = run.buckets(data['train'].lengths, run.multiple)

    def batch(at):
        rows = order(len(lengths), config.batch_size, run.config.seed, at, lengths)
        return collate(config, data['train'], rows, run.multiple)

    def validate(role):
        figures = measure(config, scores(run, stage, role, data['val']), data['val'])
        chosen = 'accuracy' if config.loss == 'bradley_terry' else 'auc'
        return {f'val_{chosen}': figures[chosen]}

    best = 'val_accuracy' if config.loss == 'bradley_terry' else 'val_auc'
    role, figures = train(
        run,
        stage,
        run.place(role),
        functools.partial(LOSSES[config.loss], arch=run.arch),
        batch,
        validate,
        shown=('loss', 'accuracy', best),
        best=best,
    )
    held = scores(run, stage, role, data['val'])
    role = dataclasses.replace(
        role, shift=float(held.mean()), scale=float(held.std()) or 1.0
    )
    run.save_role(stage, role)
    return figures | evaluate(run, stage, role, 'test')


def evaluate(run: Run, stage: str, role: Role, split: str) -> dict[str, Any]:
    """Figures of a trained reward model on a split; the threshold of the balanced
    accuracy is chosen on validation."""
    config, data = run.config[stage], records(run, stage, split)
    threshold = 0.0
    if config.loss == 'pointwise':
        val = records(run, stage, 'val')
        threshold = accuracy.best_threshold(
            scores(run, stage, role, val)[:, 0], val.labels
        )
    return measure(config, scores(run, stage, role, data), data, threshold)


def records(run: Run, stage: str, split: str) -> Examples:
    """The comparisons or ratings of a split, encoded."""
    kind, _ = needs(run.config[stage])
    found = getattr(run.dataset, kind)[split]
    limits = run.config.lengths
    return examples.encode(found, run.tokenizer, limits.prompt, limits.response)[0]


def collate(
    config: Any, data: Examples, rows: Any, multiple: int
) -> dict[str, np.ndarray]:
    """A batch whose arrays all lead with the examples: tokens `[B, rows, T]`."""
    shared = config.share_prompts and len(data.completions[0]) > 1
    layout = 'shared' if shared else 'apart'
    batch = batching.collate(data, rows, layout, multiple)
    labels = batch.pop('labels')
    batch = {k: x.reshape(len(labels), -1, *x.shape[1:]) for k, x in batch.items()}
    return {**batch, 'labels': labels}


def scores(
    run: Run, stage: str, role: Role, data: Examples, size: int = 0
) -> np.ndarray:
    """Raw rewards `[n, K]` of all examples."""
    config = run.config[stage]
    size = size or config.batch_size
    # sorted by length, so that a batch pads little
    by_length = np.argsort(data.lengths, kind='stable')
    out = np.zeros((len(data), len(data.completions[0])), np.float32)
    for rows, new in slices(len(data), size):
        batch = collate(config, data, by_length[rows], run.multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        found = _scorer(run.arch)(role.delta, role.base, batch)
        out[by_length[rows[:new]]] = np.asarray(found)[:new]
    return out


def measure(
    config: Any, scores: np.ndarray, data: Examples, threshold: float = 0.0
) -> dict[str, Any]:
    """Held-out figures of raw rewards `[n, K]`."""
    if config.loss == 'bradley_terry':
        return accuracy.comparison_metrics(scores)
    return accuracy.rating_metrics(scores[:, 0], data.labels, threshold=threshold)


@functools.cache
def _scorer(arch):
    return jax.jit(
        lambda delta, base, batch: score(arch, tree.bind(base, delta), batch)
    )
