"""How well scores agree with people: on ratings, and on comparisons.

A score is a logit: above 0 it says 'good'. A label of at least 1/2 is good. The
figures of one kind take arrays [..., n], where leading axes are resamples.
"""

import numpy as np
import scipy.stats

from perl.evaluation.figures.intervals import bootstrap
from perl.system.errors import UserError


def accuracy(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> np.ndarray:
    """The share of ratings on whose side of the threshold the score lies: [n] -> []."""
    return np.mean((scores > threshold) == _good(labels), -1)


def balanced_accuracy(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> np.ndarray:
    """The mean of the accuracies on good and on bad ratings; NaN if one is absent.

    Under imbalance it is the honest figure: answering always the same gives 1/2.
    """
    good, right = _good(labels), (scores > threshold) == _good(labels)
    return (_share(right, good) + _share(right, ~good)) / 2


def auc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The chance that a good rating outscores a bad one, ties counting half.

    By ranks (Mann-Whitney): [n], [n] -> []. NaN where there is but one class.
    """
    good = _good(labels)
    positives, negatives = good.sum(-1), (~good).sum(-1)
    ranks = scipy.stats.rankdata(scores, axis=-1)
    wins = np.sum(ranks * good, -1) - positives * (positives + 1) / 2
    return _divide(wins, positives * negatives)


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the highest balanced accuracy, for choosing on validation.

    It lies midway between two neighbouring scores. With one class only, or where
    no threshold beats chance, it is 0.
    """
    values = np.unique(scores)
    if len(values) < 2:
        return 0.0
    between = (values[:-1] + values[1:]) / 2
    good = _good(labels)
    # Counting the scores above each candidate takes one sort instead of n passes.
    above = [
        1
        - np.searchsorted(np.sort(scores[side]), between, 'right') / max(1, side.sum())
        for side in (good, ~good)
    ]
    gain = above[0] - above[1]
    best = int(np.argmax(gain))
    return float(between[best]) if gain[best] > 0 and 0 < good.mean() < 1 else 0.0


def pairwise_accuracy(scores: np.ndarray) -> float:
    """The share of pairs in the right order, ties counting half: [n, K] -> [].

    Args:
        scores: of K completions of each prompt, the best completion first.
    """
    return float(np.mean(_pairs_right(scores)))


def rating_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.0,
    seed: int = 0,
) -> dict[str, float | int | dict[str, list[float]]]:
    """All figures of scored ratings.

    Args:
        scores: [n] logits.
        labels: [n] in [0, 1].
        threshold: for the balanced accuracy; `best_threshold` of the validation
            split. The plain accuracy is at 0, where the model itself says 1/2.
        seed: of the bootstrap.

    Returns:
        n, positives, accuracy, balanced_accuracy, auc, threshold, and ci95: a
        bootstrap interval [low, high] of each figure by its name.

    Raises:
        UserError: lengths differ, nothing was scored or a score is not finite.
    """
    scores, labels = _checked(scores, 1), np.asarray(labels)
    if labels.shape != scores.shape:
        raise UserError(
            f'evaluation: {len(scores)} scores for {len(labels)} labels; score the '
            'split that the labels come from'
        )
    figures = {
        'accuracy': accuracy,
        'balanced_accuracy': lambda s, y: balanced_accuracy(s, y, threshold),
        'auc': auc,
    }
    return {
        'n': len(scores),
        'positives': int(_good(labels).sum()),
        **{name: float(figure(scores, labels)) for name, figure in figures.items()},
        'threshold': float(threshold),
        'ci95': {
            name: list(bootstrap(figure, scores, labels, seed=seed))
            for name, figure in figures.items()
        },
    }


def comparison_metrics(
    scores: np.ndarray, seed: int = 0
) -> dict[str, float | int | dict[str, list[float]]]:
    """All figures of scored comparisons.

    Args:
        scores: [n, K], the best completion first.
        seed: of the bootstrap, which draws prompts and not pairs: the pairs of one
            prompt are not independent.

    Returns:
        n (prompts), pairs, ties (pairs of equal score), accuracy, and ci95 by name.

    Raises:
        UserError: nothing was scored, or a score is not finite.
    """
    scores = _checked(scores, 2)
    right = _pairs_right(scores)
    return {
        'n': len(right),
        'pairs': right.size,
        'ties': int(np.sum(right == 0.5)),
        'accuracy': float(right.mean()),
        'ci95': {
            'accuracy': list(bootstrap(lambda x: x.mean(-1), right.mean(-1), seed=seed))
        },
    }


def _good(labels):
    return np.asarray(labels) >= 0.5


def _divide(x, y):
    return np.where(y > 0, x / np.maximum(y, 1), np.nan)


def _share(right, among):
    return _divide(np.sum(right & among, -1), np.sum(among, -1))


def _pairs_right(scores):
    """1, 1/2 or 0 for each pair of each prompt: [n, K] -> [n, K (K - 1) / 2]."""
    better, worse = np.triu_indices(np.shape(scores)[1], 1)
    return (1 + np.sign(scores[:, better] - scores[:, worse])) / 2


def _checked(scores, axes):
    scores = np.asarray(scores, np.float64)
    if scores.ndim != axes or not scores.size:
        raise UserError(
            f'evaluation: scores of shape {scores.shape}, wanted {axes} axes and at '
            'least one entry; is the split empty?'
        )
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        raise UserError(
            f'evaluation: {len(bad)} of {scores.size} scores are not finite, the first '
            f'at row {bad[0][0]}; the reward model diverged, lower its learning rate'
        )
    return scores
