"""All figures of the agreement of scores with labels, with their intervals."""

from typing import Any

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.accuracy import accuracy, auc, balanced_accuracy, is_good
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import bounded, share
from perl.evaluation.figures.pairs import Pairs
from perl.system.errors import UserError


def rating_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.0,
    clusters: Clusters = None,
) -> dict[str, Any]:
    """All figures of scored ratings.

    Args:
        scores: `[n]` logits.
        labels: `[n]` in [0, 1].
        threshold: for the balanced accuracy; `best_threshold` of the validation split.
            The plain accuracy uses 0, where the model's probability is 1/2.
        clusters: `[n]`, the cluster of each rating; by default every row is its own.

    Returns:
        n, clusters (their number), positives, accuracy, balanced_accuracy, auc,
        threshold, and ci95: the interval [low, high] of each figure by its name.

    Raises:
        UserError: lengths differ, there are no scores, or a score is not finite.
    """
    scores, labels = _checked(scores), np.asarray(labels)
    n, good = len(scores), is_good(labels)
    if labels.shape != scores.shape:
        raise UserError(
            f'evaluation: {n} scores for {len(labels)} labels; score the '
            'split that the labels come from'
        )
    at = cluster.numbers(clusters, n)
    # the smaller number of clusters among the two classes
    fewest = min(len(np.unique(at[side])) for side in (good, ~good))
    figures = {
        'balanced_accuracy': lambda w: balanced_accuracy(scores, labels, threshold, w),
        'auc': lambda w: auc(scores, labels, w),
    }
    right = (scores > 0) == good
    return {
        'n': n,
        'clusters': int(at.max()) + 1,
        'positives': int(good.sum()),
        'accuracy': float(accuracy(scores, labels)),
        **{name: float(figure(np.ones(n))) for name, figure in figures.items()},
        'threshold': float(threshold),
        'ci95': {
            'accuracy': list(share(right, at)),
            **{
                name: list(bounded(figure, n, at, fewest))
                for name, figure in figures.items()
            },
        },
    }


def comparison_metrics(pairs: Pairs, clusters: Clusters = None) -> dict[str, Any]:
    """All figures of n scored comparisons, some of which may be labelled as ties.

    Args:
        pairs: the pairs of the comparisons.
        clusters: `[n]`, the cluster of each comparison; by default every row is its
            own.

    Returns:
        n (comparisons not labelled as ties), their clusters and pairs; accuracy (their
        mean share of pairs in the right order; a pair of equal scores is half right)
        and ci95 by name; score_ties (their pairs with equal scores); and labelled_ties
        (comparisons labelled as ties, which are left out of the accuracy). The accuracy
        is NaN if all comparisons are labelled as ties.

    Raises:
        UserError: there are no scores, or a score is not finite.
    """
    _checked(pairs.margins, pairs.rows)
    at = cluster.numbers(clusters, pairs.n)
    decided = ~pairs.tied
    right = pairs.right()[decided]
    return {
        'n': int(decided.sum()),
        'clusters': len(np.unique(at[decided])),
        'pairs': int(np.sum(decided[pairs.rows])),
        'accuracy': float(right.mean()) if len(right) else np.nan,
        'ci95': {'accuracy': list(share(right, at[decided]))},
        'score_ties': int(np.sum((pairs.margins == 0) & decided[pairs.rows])),
        'labelled_ties': int(pairs.tied.sum()),
    }


def _checked(scores, rows=None):
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise UserError(
            f'evaluation: scores of shape {scores.shape}, wanted one axis and at least '
            'one entry; is the split empty?'
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        first = bad[0] if rows is None else rows[bad[0]]
        raise UserError(
            f'evaluation: {len(bad)} of {scores.size} scores are not finite, the first '
            f'at row {first}; the reward model diverged, lower its learning rate'
        )
    return scores
