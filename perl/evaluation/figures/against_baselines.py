"""Compares a reward model with its baselines on the same records."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perl.data.records import Comparison
from perl.evaluation.figures import accuracy, baselines, clusters, pairs
from perl.evaluation.figures.baselines import Records
from perl.evaluation.figures.intervals import Interval, share
from perl.evaluation.figures.resampling import bootstrap

# the figure used to compare reward models; an AUC needs no threshold
FIGURES = {'pairwise': 'accuracy', 'pointwise': 'auc'}


def against_baselines(
    records: Mapping[str, Records],
    split: str,
    scores: Sequence[np.ndarray],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """The baselines of a reward model, and the difference from the best of them.

    Args:
        records: comparisons or ratings by split; baselines are fitted on 'train' and
            'val'.
        split: the split on which the model was measured, n records.
        scores: the model's scores, n arrays `[K]`.
        figures: the model's figures, including reward_kind.

    Returns:
        baselines: the figures of each by its name (see `baselines.metrics`). If there
        is a finite baseline, also best_baseline: its name and rule, the figure
        (accuracy of comparisons, AUC of ratings) of the `model` and of the `baseline`,
        their difference and difference_ci95, paired by record.
    """
    measured = baselines.metrics(records, split)
    figure = FIGURES[figures['reward_kind']]
    known = {
        name: row[figure]
        for name, (row, _) in measured.items()
        if np.isfinite(row[figure])
    }
    compared = {'baselines': {name: row for name, (row, _) in measured.items()}}
    if not known or not np.isfinite(figures[figure]):
        return compared
    best = max(known, key=known.get)
    row, other = measured[best]
    return compared | {
        'best_baseline': {
            'name': best,
            'rule': row['rule'],
            'figure': figure,
            'model': figures[figure],
            'baseline': known[best],
            'difference': figures[figure] - known[best],
            'difference_ci95': list(
                _difference(records[split], scores, other, figures['ci95'])
            ),
        }
    }


def sentence(figures: Mapping[str, Any]) -> str:
    """One line that compares a reward model with its best baseline; '' without one."""
    best = figures.get('best_baseline')
    if not best:
        return ''
    if best['figure'] == 'accuracy':
        title, scale, digits, unit, rows = 'accuracy', 100, 1, ' %', 'comparisons'
    else:
        title, scale, digits, unit, rows = 'AUC', 1, 3, '', 'ratings'
    model, other = (
        f'{scale * best[x]:.{digits}f}{unit}' for x in ('model', 'baseline')
    )
    lead, low, high = (
        f'{scale * x:+.{digits}f}'
        for x in (best['difference'], *best['difference_ci95'])
    )
    return (
        f'{title} {model} of {figures["n"]:,} held-out {rows}, {verdict(best)} the '
        f'best baseline, {best["name"].replace("_", " ")} ({best["rule"]}): {other}; '
        f'difference {lead} [{low}, {high}]'
    )


def verdict(best: Mapping[str, Any]) -> str:
    """How a reward model compares with its best baseline: `better than` or `worse than`
    where the interval of the difference leaves out 0, else `not clearly better than`
    or, where the difference is negative, `lower but not clearly worse than`.

    Args:
        best: the `best_baseline` of `against_baselines`.
    """
    bottom, top = best['difference_ci95']
    if bottom > 0:
        return 'better than'
    if top < 0:
        return 'worse than'
    if best['difference'] < 0:
        return 'lower but not clearly worse than'
    return 'not clearly better than'


def _difference(records, model, baseline, intervals) -> Interval:
    """The 95 % interval of the difference of two scorers on the same records."""
    at = clusters.of_records(records)
    if isinstance(records[0], Comparison):
        preferences = np.array([record.preference for record in records])
        both = [pairs.of_scores(scores, preferences) for scores in (model, baseline)]
        decided = ~both[0].tied
        lead = (both[0].right() - both[1].right())[decided]
        low, high = share((1 + lead) / 2, at[decided])
        return 2 * low - 1, 2 * high - 1
    labels = np.array([rating.label for rating in records])
    one, other = np.ravel(model), np.ravel(baseline)
    if np.ptp(other) == 0:  # the AUC of a constant score is exactly 1/2
        low, high = intervals['auc']
        return low - 0.5, high - 0.5
    return bootstrap(
        lambda w: accuracy.auc(one, labels, w) - accuracy.auc(other, labels, w),
        len(records),
        at,
    )
