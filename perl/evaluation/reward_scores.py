"""Scores held-out data with reward models and measures agreement with the labels.

A reward model is a role, or a panel of several. Averages and ensembles use the data and
the loss of their member stages (`lineage.origin`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.config import lineage
from perl.data import batching
from perl.data.batching import slices
from perl.data.examples import Examples
from perl.evaluation.figures import accuracy, clusters, pairs
from perl.evaluation.figures.against_baselines import against_baselines
from perl.judges import panel
from perl.judges.panel import Panel
from perl.models import heads
from perl.models.architecture import Architecture
from perl.runs.roles import Role
from perl.runs.run import Run

RewardModel = Role | Panel

# (rewards [B, K], batch) -> sum of the losses, (count, further sums)
OnRewards = Callable[[Any, Any], tuple[jax.Array, tuple[jax.Array, dict]]]

# the validation figure by which the best checkpoint is chosen, by loss
BEST = {'bradley_terry': 'val_accuracy', 'pointwise': 'val_auc'}


def score(arch: Architecture, params: Any, batch: Any) -> jax.Array:
    """Raw rewards float32 `[B, K]` of a batch with tokens `[B, rows, T]`."""
    rewards = heads.rewards(arch, params, rows(batch))
    return rewards.reshape(batch['tokens'].shape[0], -1)


def rows(batch: Any) -> Any:
    """The model's inputs in a batch: `[B, rows, ...]` -> `[B * rows, ...]`."""
    names = ('tokens', 'positions', 'segments', 'ends')
    return {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in names}


def normalisation(run: Run, stage: str, model: RewardModel) -> tuple[float, float]:
    """The shift and the scale that normalise a reward: (raw - shift) / scale.

    Responses of the validation split then have rewards with variance 1 and mean 0; or
    its demonstrations have mean 0, as in Stiennon et al. 2020 (arXiv 2009.01325).
    """
    config = run.config[lineage.origin(run.config, stage)]
    raw = scores(run, stage, model, records(run, stage, 'val'))
    shift = np.nanmean(raw)
    if config.centre == 'demonstrations':
        demonstrations = run.encoded(run.dataset.demonstrations['val'])
        shift = scores(run, stage, model, demonstrations).mean()
    return float(shift), float(np.nanstd(raw)) or 1.0


def held_out(
    run: Run, stage: str, model: RewardModel, data: Examples, loss: OnRewards
) -> dict[str, float]:
    """The validation figures that are shown during training.

    Args:
        run: the run.
        stage: the stage of the reward model.
        model: the reward model.
        data: n examples.
        loss: the training loss, as a function of their rewards.

    Returns:
        val_loss; for comparisons val_accuracy on those that are not labelled as ties,
        if there are any; for ratings val_auc, if there are both classes.
    """
    config = run.config[lineage.origin(run.config, stage)]
    rewards = scores(run, stage, model, data)
    figures = {'val_loss': _mean_loss(rewards, data, loss)}
    if config.loss == 'pointwise':
        figure = accuracy.auc(rewards[:, 0], data.labels)
    else:
        compared = pairs.of_scores(by_record(rewards, data), data.preferences)
        right = compared.right()[~compared.tied]
        figure = right.mean() if len(right) else np.nan
    if np.isfinite(figure):
        figures[BEST[config.loss]] = float(figure)
    return figures


def _mean_loss(rewards, data, loss):
    """The mean training loss of rewards `[n, K]` over n examples."""
    columns = {name: getattr(data, name) for name in batching.COLUMNS}
    batch = {name: x for name, x in columns.items() if x is not None}
    present = np.isfinite(rewards)
    if not present.all():
        batch['present'] = present
    total, (count, _) = loss(np.nan_to_num(rewards), batch)
    return float(total / count)


def evaluate(
    run: Run, stage: str, model: RewardModel, split: str, baselines: bool = True
) -> dict[str, Any]:
    """Figures of a trained reward model on a split.

    The threshold of the balanced accuracy is chosen on validation. The threshold of the
    plain accuracy is 0, because a reward is a logit. The combined reward of a panel is
    not a logit, so the chosen threshold is used for both.

    Args:
        run: the run.
        stage: the stage of the reward model.
        model: the reward model.
        split: the split of the data.
        baselines: whether to measure the baselines too.

    Returns:
        reward_kind ('pairwise' or 'pointwise'), the figures of
        `accuracy.comparison_metrics` or `accuracy.rating_metrics`, and those of
        `against_baselines`.
    """
    config = run.config[lineage.origin(run.config, stage)]
    data, raw = records(run, stage, split), raw_records(run, stage)
    measured = data.select(raw[split])
    rewards, at = scores(run, stage, model, data), clusters.of_records(measured)
    if config.loss == 'pointwise':
        val, threshold = records(run, stage, 'val'), 0.0
        if len(val):
            logits = scores(run, stage, model, val)[:, 0]
            threshold = accuracy.best_threshold(logits, val.labels)
        if isinstance(model, Panel):
            rewards, threshold = rewards - threshold, 0.0
        figures = {'reward_kind': 'pointwise'}
        figures |= accuracy.rating_metrics(rewards[:, 0], data.labels, threshold, at)
    else:
        compared = pairs.of_scores(by_record(rewards, data), data.preferences)
        figures = {'reward_kind': 'pairwise'}
        figures |= accuracy.comparison_metrics(compared, at)
    if baselines:
        by_split = {**raw, split: measured}
        figures |= against_baselines(by_split, split, by_record(rewards, data), figures)
    return figures


def raw_records(run: Run, stage: str) -> dict[str, list]:
    """The comparisons or ratings of a stage, by split, before encoding."""
    kind, _ = lineage.reads(run.config, stage)
    return getattr(run.dataset, kind)


def records(run: Run, stage: str, split: str, name: str = '') -> Examples:
    """The encoded comparisons or ratings of a split; with a name, cuts are printed."""
    return run.encoded(raw_records(run, stage)[split], name)


def collate(
    config: Any, data: Examples, rows: Any, multiple: int
) -> dict[str, np.ndarray]:
    """A batch in which the first axis of all arrays is the example: tokens
    `[B, rows, T]`."""
    shared = config.share_prompts and len(data.completions[0]) > 1
    layout = 'shared' if shared else 'apart'
    batch = batching.collate(data, rows, layout, multiple)
    return {
        name: x
        if name in batching.PER_EXAMPLE
        else x.reshape(len(rows), -1, *x.shape[1:])
        for name, x in batch.items()
    }


def scores(
    run: Run, stage: str, model: RewardModel, data: Examples, size: int = 0
) -> np.ndarray:
    """Rewards float32 `[n, K]` of all examples: raw for a role, normalised for a panel.

    K is the largest number of completions of an example. The rewards of missing
    completions are NaN.
    """
    config = run.config[lineage.origin(run.config, stage)]
    size = size or config.batch_size
    parts = model if isinstance(model, Panel) else (model.base, model.delta)
    # sorted by number of completions and by length for little padding
    counts = data.completion_counts
    by_length = np.lexsort((data.lengths, counts))
    out = np.zeros((len(data), counts.max()), np.float32)
    for rows, new in slices(len(data), size):
        batch = collate(config, data, by_length[rows], run.multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        rewards = np.asarray(_scorer(run.arch)(parts, batch))[:new]
        out[by_length[rows[:new]], : rewards.shape[1]] = rewards
    return np.where(np.arange(counts.max()) < counts[:, None], out, np.float32(np.nan))


def by_record(scores: np.ndarray, data: Examples) -> list[np.ndarray]:
    """The scores of each record's completions: `[n, K]` -> n arrays `[K_i]`."""
    sizes = map(len, data.completions)
    return [row[:size] for row, size in zip(scores, sizes, strict=True)]


@functools.cache
def _scorer(arch):
    def scorer(parts, batch):
        if isinstance(parts, Panel):
            rewards = panel.rewards(arch, parts, rows(batch))
            return rewards.reshape(batch['tokens'].shape[0], -1)
        return score(arch, tree.bind(*parts), batch)

    return jax.jit(scorer)
