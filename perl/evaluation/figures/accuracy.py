"""How well scores tell good ratings from bad ones: one statistic a function.

A score is a logit: above 0 it means 'good'. A label of at least 1/2 is good. Statistics
take weights `[..., n]` of the rows, whose leading axes are resamples, and return
`[...]`; without weights each row counts once.
"""

import numpy as np

Weights = np.ndarray | None


def is_good(labels: np.ndarray) -> np.ndarray:
    """Which ratings are good, bool `[n]`: those with a label `[n]` of at least 1/2."""
    return np.asarray(labels) >= 0.5


def accuracy(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.0,
    weights: Weights = None,
) -> np.ndarray:
    """The share of ratings whose score is on the right side of the threshold.

    Scores and labels `[n]`, weights `[..., n]` -> `[...]`.
    """
    right = (scores > threshold) == is_good(labels)
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
    good, right = is_good(labels), (scores > threshold) == is_good(labels)
    return (_share(right, good, weights) + _share(right, ~good, weights)) / 2


def auc(scores: np.ndarray, labels: np.ndarray, weights: Weights = None) -> np.ndarray:
    """The probability that a good rating outscores a bad one; a tie counts half.

    The Mann-Whitney statistic: scores and labels `[n]`, weights `[..., n]` -> `[...]`.
    NaN if there is only one class.
    """
    good = is_good(labels)
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
    good = is_good(labels)
    # Sorting once and counting the scores below each candidate avoids n passes.
    below = [
        np.searchsorted(np.sort(scores[side]), between, 'right') / max(1, side.sum())
        for side in (good, ~good)
    ]
    gain = below[1] - below[0]
    best = int(np.argmax(gain))
    return float(between[best]) if gain[best] > 0 and 0 < good.mean() < 1 else 0.0


def _divide(x, y):
    return np.where(y > 0, x / np.where(y > 0, y, 1), np.nan)


def _share(right, among, weights):
    if weights is None:
        weights = np.ones(len(right))
    return _divide(weights @ (right & among).astype(float), weights @ among)
