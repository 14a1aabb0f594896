"""Bootstrap and jackknife of statistics whose rows are in clusters (see `clusters`)."""

from collections.abc import Callable

import numpy as np
import scipy.stats

from perl.evaluation.figures.clusters import Clusters, numbers

# weights of the rows [..., n] -> [...]; one call computes many resamples
Statistic = Callable[[np.ndarray], np.ndarray]

_ROUND = 1 << 20  # most elements of the weights drawn at once, to limit memory
_BLOCKS = 1000


def bootstrap(
    statistic: Statistic,
    n: int,
    clusters: Clusters = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """The expanded percentile bootstrap interval; clusters are resampled.

    Plain percentiles are too narrow for few clusters. Here they are further out by
    sqrt(G / (G - 1)) and a t quantile with G - 1 degrees of freedom, where G is the
    number of clusters (Hesterberg 2015, American Statistician 69, 371).

    Args:
        statistic: maps weights `[..., n]` of the rows to `[...]`; one call computes
            many resamples. A weight is how often the row's cluster was drawn.
        n: number of rows.
        clusters: `[n]`; by default every row is its own.
        seed: seed of the resampling.
        resamples: how often G clusters are drawn with replacement.
        level: the coverage.

    Returns:
        The lower and upper end. Resamples with a NaN statistic are left out; (NaN, NaN)
        if none remains, or with fewer than two clusters.
    """
    at = numbers(clusters, n)
    groups = int(at.max(initial=-1)) + 1
    if groups < 2:
        return np.nan, np.nan
    rng, drawn = np.random.default_rng(seed), []
    step = max(1, _ROUND // n)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        times = rng.multinomial(groups, np.full(groups, 1 / groups), size=size)
        drawn.append(statistic(times[:, at].astype(float)))
    values = np.concatenate(drawn)
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    t = scipy.stats.t.ppf((1 + level) / 2, groups - 1)
    tail = scipy.stats.norm.cdf(-np.sqrt(groups / (groups - 1)) * t)
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def mean(values: np.ndarray) -> Statistic:
    """The weighted mean of values `[n]` or `[n, m]`, as a statistic of the weights."""
    values = np.asarray(values, float)

    def statistic(weights):
        totals = weights.sum(-1)
        return (weights @ values) / (totals if values.ndim == 1 else totals[..., None])

    return statistic


def jackknife(statistic: Statistic, n: int, clusters: Clusters = None) -> float:
    """The variance of a statistic, by leaving out each cluster in turn.

    Args:
        statistic: maps weights `[..., n]` of the rows to `[...]`.
        n: number of rows.
        clusters: `[n]`; by default every row is its own. More than 1,000 clusters are
            merged into 1,000 blocks, which are left out instead.

    Returns:
        (G - 1) / G times the sum of squared distances from the statistic of all rows.
        Clusters without which the statistic is NaN are skipped; NaN if fewer than two
        remain.
    """
    at, value = numbers(clusters, n), statistic(np.ones(n))
    groups = int(at.max(initial=-1)) + 1
    if groups > _BLOCKS:
        at = np.random.default_rng(0).permutation(groups)[at] % _BLOCKS
        groups = _BLOCKS
    step, values = max(1, _ROUND // n), []
    for start in range(0, groups, step):
        left_out = np.arange(start, min(start + step, groups))
        values.append(statistic((left_out[:, None] != at).astype(float)))
    values = np.concatenate(values)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return np.nan
    return float((groups - 1) / groups * np.sum((values - value) ** 2))
