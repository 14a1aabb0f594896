"""What reward models give to held-out data, and how well that agrees with the labels.

A reward model is a role, or a panel of several. Averages and ensembles read the data
and the loss of the stages that they are made of (`lineage.origin`).
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

# (rewards [B, K], batch) -> sum of the losses, (how many, further sums)
OnRewards = Callable[[Any, Any], tuple[jax.Array, tuple[jax.Array, dict]]]

# the figure of the validation split that chooses a role, by loss
BEST = {'bradley_terry': 'val_accuracy', 'pointwise': 'val_auc'}


def score(arch: Architecture, params: Any, batch: Any) -> jax.Array:
    """Raw rewards `[B, K]` float32 of a batch whose rows are `[B, rows, T]`."""
    rewards = heads.rewards(arch, params, rows(batch))
    return rewards.reshape(batch['tokens'].shape[0], -1)


def rows(batch: Any) -> Any:
    """What the model reads of a batch, `[B, rows, ...]` as `[B * rows, ...]`."""
    names = ('tokens', 'positions', 'segments', 'ends')
    return {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in names}


def normalisation(run: Run, stage: str, model: RewardModel) -> tuple[float, float]:
    """What to take off a reward, and then to divide it by.

    So the responses of the validation split have rewards of variance 1 and average 0;
    or its demonstrations do that, as Stiennon 2020 (arXiv 2009.01325) has it.
    """
    config = run.config[lineage.origin(run.config, stage)]
    held = scores(run, stage, model, records(run, stage, 'val'))
    shift = np.nanmean(held)
    if config.centre == 'demonstrations':
        shown = run.encoded(run.dataset.demonstrations['val'])
        shift = scores(run, stage, model, shown).mean()
    return float(shift), float(np.nanstd(held)) or 1.0


def held_out(
    run: Run, stage: str, model: RewardModel, data: Examples, loss: OnRewards
) -> dict[str, float]:
    """The figures of the validation split that are shown during training.

    Args:
        run: what all stages share.
        stage: of the reward model.
        model: the reward model.
        data: n examples.
        loss: of the training, on their rewards.

    Returns:
        val_loss, and of comparisons val_accuracy on those that are not labelled as
        ties, of ratings val_auc. Without the latter two where there are no such
        comparisons, or ratings of one class alone.
    """
    config = run.config[lineage.origin(run.config, stage)]
    found = scores(run, stage, model, data)
    figures = {'val_loss': _mean_loss(found, data, loss)}
    if config.loss == 'pointwise':
        figure = accuracy.auc(found[:, 0], data.labels)
    else:
        compared = pairs.of_scores(by_record(found, data), data.preferences)
        right = compared.right()[~compared.tied]
        figure = right.mean() if len(right) else np.nan
    if np.isfinite(figure):
        figures[BEST[config.loss]] = float(figure)
    return figures


def _mean_loss(found, data, loss):
    """The training loss of rewards `[n, K]`, a mean over the n examples."""
    columns = {name: getattr(data, name) for name in batching.COLUMNS}
    batch = {name: x for name, x in columns.items() if x is not None}
    present = np.isfinite(found)
    if not present.all():
        batch['present'] = present
    total, (count, _) = loss(np.nan_to_num(found), batch)
    return float(total / count)


def evaluate(
    run: Run, stage: str, model: RewardModel, split: str, baselines: bool = True
) -> dict[str, Any]:
    """Figures of a trained reward model on a split.

    The threshold of the balanced accuracy is chosen on validation. That of the plain
    accuracy is 0, for a reward is a logit. What a panel combines is no logit, so there
    the chosen threshold is taken for both.

    Args:
        run: what all stages share.
        stage: of the reward model.
        model: the reward model.
        split: of the data.
        baselines: whether the baselines are measured beside it.

    Returns:
        reward_kind ('pairwise' or 'pointwise'), the figures of
        `accuracy.comparison_metrics` or `accuracy.rating_metrics`, and those of
        `against_baselines`.
    """
    config = run.config[lineage.origin(run.config, stage)]
    data, read = records(run, stage, split), raw_records(run, stage)
    measured = data.select(read[split])
    found, at = scores(run, stage, model, data), clusters.of_records(measured)
    if config.loss == 'pointwise':
        val, threshold = records(run, stage, 'val'), 0.0
        if len(val):
            logits = scores(run, stage, model, val)[:, 0]
            threshold = accuracy.best_threshold(logits, val.labels)
        if isinstance(model, Panel):
            found, threshold = found - threshold, 0.0
        figures = {'reward_kind': 'pointwise'}
        figures |= accuracy.rating_metrics(found[:, 0], data.labels, threshold, at)
    else:
        compared = pairs.of_scores(by_record(found, data), data.preferences)
        figures = {'reward_kind': 'pairwise'}
        figures |= accuracy.comparison_metrics(compared, at)
    if baselines:
        apart = {**read, split: measured}
        figures |= against_baselines(apart, split, by_record(found, data), figures)
    return figures


def raw_records(run: Run, stage: str) -> dict[str, list]:
    """The comparisons or ratings that a stage reads, by split."""
    kind, _ = lineage.reads(run.config, stage)
    return getattr(run.dataset, kind)


def records(run: Run, stage: str, split: str, name: str = '') -> Examples:
    """The comparisons or ratings of a split, encoded; with a name what is cut is
    printed."""
    return run.encoded(raw_records(run, stage)[split], name)


def collate(
    config: Any, data: Examples, rows: Any, multiple: int
) -> dict[str, np.ndarray]:
    """A batch whose arrays all lead with the examples: tokens `[B, rows, T]`."""
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
    """Rewards float32 `[n, K]` of all examples: raw ones of a role, those of a panel.

    K is the most completions that an example has. The rewards of the completions that
    another example lacks are NaN.
    """
    config = run.config[lineage.origin(run.config, stage)]
    size = size or config.batch_size
    parts = model if isinstance(model, Panel) else (model.base, model.delta)
    # sorted by completions and length, so that a batch pads little
    counts = data.completion_counts
    by_length = np.lexsort((data.lengths, counts))
    out = np.zeros((len(data), counts.max()), np.float32)
    for rows, new in slices(len(data), size):
        batch = collate(config, data, by_length[rows], run.multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        found = _scorer(run.arch)(parts, batch)
        rewards = np.asarray(found)[:new]
        out[by_length[rows[:new]], : rewards.shape[1]] = rewards
    return np.where(np.arange(counts.max()) < counts[:, None], out, np.float32(np.nan))


def by_record(scores: np.ndarray, data: Examples) -> list[np.ndarray]:
    """The scores of each record alone: `[n, K]` -> n arrays, as long as it has
    completions."""
    sizes = map(len, data.completions)
    return [row[:size] for row, size in zip(scores, sizes, strict=True)]


@functools.cache
def _scorer(arch):
    def scorer(parts, batch):
        if isinstance(parts, Panel):
            found = panel.rewards(arch, parts, rows(batch))
            return found.reshape(batch['tokens'].shape[0], -1)
        return score(arch, tree.bind(*parts), batch)

    return jax.jit(scorer)
