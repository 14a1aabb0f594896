"""Measures how well a reward model agrees with the labels of held-out data."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perl.data import batching
from perl.data.examples import Examples
from perl.evaluation.figures import accuracy, agreement, clusters, pairs
from perl.evaluation.figures.against_baselines import against_baselines
from perl.evaluation.reward_scores import RewardModel, by_record
from perl.evaluation.reward_task import RewardTask
from perl.judges.panel import Panel

# (rewards [B, K], batch) -> sum of the losses, (count, further sums)
OnRewards = Callable[[Any, Any], tuple[jax.Array, tuple[jax.Array, dict]]]

# the validation figure by which the best checkpoint is chosen, by loss
BEST = {'bradley_terry': 'val_accuracy', 'pointwise': 'val_auc'}


def normalisation(task: RewardTask, model: RewardModel) -> tuple[float, float]:
    """The shift and the scale that normalise a reward: (raw - shift) / scale.

    Responses of the validation split then have rewards with variance 1 and mean 0; or
    its demonstrations have mean 0, as in Stiennon et al. 2020 (arXiv 2009.01325).
    """
    raw = task.scores(model, task.records('val'))
    shift = np.nanmean(raw)
    if task.section.centre == 'demonstrations':
        shift = task.scores(model, task.encode(task.demonstrations)).mean()
    return float(shift), float(np.nanstd(raw)) or 1.0


def held_out(
    task: RewardTask, model: RewardModel, data: Examples, loss: OnRewards
) -> dict[str, float]:
    """The validation figures that are shown during training.

    Args:
        task: of the reward model.
        model: the reward model.
        data: n examples.
        loss: the training loss, as a function of their rewards.

    Returns:
        val_loss; for comparisons val_accuracy on those that are not labelled as ties,
        if there are any; for ratings val_auc, if there are both classes.
    """
    rewards = task.scores(model, data)
    figures = {'val_loss': _mean_loss(rewards, data, loss)}
    if task.section.loss == 'pointwise':
        figure = accuracy.auc(rewards[:, 0], data.labels)
    else:
        compared = pairs.of_scores(by_record(rewards, data), data.preferences)
        right = compared.right()[~compared.tied]
        figure = right.mean() if len(right) else np.nan
    if np.isfinite(figure):
        figures[BEST[task.section.loss]] = float(figure)
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
    task: RewardTask, model: RewardModel, split: str, baselines: bool = True
) -> dict[str, Any]:
    """Figures of a trained reward model on a split.

    The threshold of the balanced accuracy is chosen on validation. The threshold of the
    plain accuracy is 0, because a reward is a logit. The combined reward of a panel is
    not a logit, so the chosen threshold is used for both.

    Args:
        task: of the reward model.
        model: the reward model.
        split: the split of the data.
        baselines: whether to measure the baselines too.

    Returns:
        reward_kind ('pairwise' or 'pointwise'), the figures of
        `agreement.comparison_metrics` or `agreement.rating_metrics`, and those of
        `against_baselines`.
    """
    data = task.records(split)
    measured = data.select(task.raw[split])
    rewards, at = task.scores(model, data), clusters.of_records(measured)
    if task.section.loss == 'pointwise':
        val, threshold = task.records('val'), 0.0
        if len(val):
            logits = task.scores(model, val)[:, 0]
            threshold = accuracy.best_threshold(logits, val.labels)
        if isinstance(model, Panel):
            rewards, threshold = rewards - threshold, 0.0
        figures = {'reward_kind': 'pointwise'}
        figures |= agreement.rating_metrics(rewards[:, 0], data.labels, threshold, at)
    else:
        compared = pairs.of_scores(by_record(rewards, data), data.preferences)
        figures = {'reward_kind': 'pairwise'}
        figures |= agreement.comparison_metrics(compared, at)
    if baselines:
        by_split = {**task.raw, split: measured}
        figures |= against_baselines(by_split, split, by_record(rewards, data), figures)
    return figures
