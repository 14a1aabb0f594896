"""Scored comparisons as pairs: a ranking of K completions has K (K - 1) / 2 pairs."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The m pairs of n comparisons.

    Attributes:
        margins: float64 `[m]`, the score of the completion ranked higher minus that of
            the other.
        rows: int `[m]`, the comparison of each pair.
        preferences: float64 `[n]`, the probability that the order is right: 1/2 is a
            tie, below 1/2 the reverse order is more likely.
    """

    margins: np.ndarray
    rows: np.ndarray
    preferences: np.ndarray

    @property
    def n(self) -> int:
        """The number of comparisons."""
        return len(self.preferences)

    @property
    def tied(self) -> np.ndarray:
        """Which comparisons are labelled as ties: bool `[n]`."""
        return self.preferences == 0.5

    @property
    def outcomes(self) -> np.ndarray:
        """The preference of each pair: `[m]`."""
        return self.preferences[self.rows]

    def right(self) -> np.ndarray:
        """The share of each comparison's pairs in the labelled order, `[n]`; pairs with
        equal scores or with a tie as label are half right."""
        return np.bincount(self.rows, self.pairs_right(), self.n) / np.bincount(
            self.rows, minlength=self.n
        )

    def pairs_right(self) -> np.ndarray:
        """Which pairs are in the order of the label: `[m]`, 1, 1/2 or 0."""
        return (1 + np.sign(self.margins) * np.sign(2 * self.outcomes - 1)) / 2


def of_scores(
    scores: np.ndarray | Sequence[np.ndarray], preferences: np.ndarray | None = None
) -> Pairs:
    """The pairs of n scored comparisons.

    Args:
        scores: `[n, K]`, the best completion of each comparison first; or n arrays
            `[K]` if K differs.
        preferences: `[n]`; by default all 1.
    """
    better, worse, rows = places([len(row) for row in scores])
    flat = np.concatenate([np.zeros(0), *scores])
    if preferences is None:
        preferences = np.ones(len(scores))
    return Pairs(flat[better] - flat[worse], rows, np.asarray(preferences, np.float64))


def places(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of n rankings whose completions are concatenated in one array.

    Args:
        sizes: `[n]`, K of each ranking.

    Returns:
        int `[m]` each: the indices of the better and of the worse completion of each
        pair, and its ranking; in the order of the rankings.
    """
    sizes = np.asarray(sizes, int)
    first = np.cumsum(sizes) - sizes
    parts = [np.zeros((3, 0), int)]
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        ranks = np.array(np.triu_indices(size, 1))
        at = first[rows][:, None] + ranks[:, None, :]
        rankings = np.broadcast_to(rows[:, None], at.shape[1:])
        parts.append(np.concatenate([at, rankings[None]]).reshape(3, -1))
    better, worse, rows = np.concatenate(parts, axis=1)
    order = np.argsort(rows, kind='stable')
    return better[order], worse[order], rows[order]
