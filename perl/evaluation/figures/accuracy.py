"""Agreement of scores with labels, for ratings and comparisons.

A score is a logit: above 0 it means 'good'. A label of at least 1/2 is good. Statistics
take weights `[..., n]` of the rows, whose leading axes are resamples, and return
`[...]`; without weights each row counts once.
"""

from typing import Any

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import bounded, share
from perl.evaluation.figures.pairs import Pairs
from perl.system.errors import UserError

Weights = np.ndarray | None


def accuracy(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.0,
    weights: Weights = None,
) -> np.ndarray:
    """The share of ratings whose score is on the right side of the threshold.

    Scores and labels `[n]`, weights `[..., n]` -> `[...]`.
    """
    right = (scores > threshold) == _good(labels)
    return _share(right, np.ones(len(right), bool), weights)


def balanced_accuracy(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.0,
    weights: Weights = None,
) -> np.ndarray:
    """The mean of the accuracies on good and on bad ratings; NaN if one is absent.

    A constant answer gives 1/2. Scores and labels `[n]`, weights `[..., n]` -> `[...]`.
    """
    good, right = _good(labels), (scores > threshold) == _good(labels)
    return (_share(right, good, weights) + _share(right, ~good, weights)) / 2


def auc(scores: np.ndarray, labels: np.ndarray, weights: Weights = None) -> np.ndarray:
    """The probability that a good rating outscores a bad one; a tie counts half.

    The Mann-Whitney statistic: scores and labels `[n]`, weights `[..., n]` -> `[...]`.
    NaN if there is only one class.
    """
    good = _good(labels)
    weights = np.ones(len(good)) if weights is None else weights
    order = np.argsort(scores, kind='stable')
    # the ratings of each distinct score are one step of the ROC curve
    starts = np.unique(np.asarray(scores)[order], return_index=True)[1]
    up, down = (
        np.add.reduceat(weights[..., order] * side[order], starts, axis=-1)
        for side in (good, ~good)
    )
    wins = np.sum(up * (np.cumsum(down, -1) - down / 2), -1)
    return _divide(wins, up.sum(-1) * down.sum(-1))


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the highest balanced accuracy, to be chosen on validation.

    It is midway between two neighbouring scores `[n]`; 0 if there is only one class or
    no threshold beats chance.
    """
    values = np.unique(scores)
    if len(values) < 2:
        return 0.0
    between = (values[:-1] + values[1:]) / 2
    good = _good(labels)
    # Sorting once and counting the scores below each candidate avoids n passes.
    below = [
        np.searchsorted(np.sort(scores[side]), between, 'right') / max(1, side.sum())
        for side in (good, ~good)
    ]
    gain = below[1] - below[0]
    best = int(np.argmax(gain))
    return float(between[best]) if gain[best] > 0 and 0 < good.mean() < 1 else 0.0


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
    n, good = len(scores), _good(labels)
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


def _good(labels):
    return np.asarray(labels) >= 0.5


def _divide(x, y):
    return np.where(y > 0, x / np.where(y > 0, y, 1), np.nan)


def _share(right, among, weights):
    if weights is None:
        weights = np.ones(len(right))
    return _divide(weights @ (right & among).astype(float), weights @ among)


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
