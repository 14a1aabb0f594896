"""How sure a figure is: confidence intervals and a test, with nothing assumed."""

from collections.abc import Callable

import numpy as np
import scipy.stats

Interval = tuple[float, float]

# Elements that one round of the bootstrap draws at once, to bound its memory.
_ROUND = 1 << 20


def bootstrap(
    statistic: Callable[..., np.ndarray],
    *arrays: np.ndarray,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The percentile bootstrap interval of a statistic of n paired observations.

    Args:
        statistic: maps arrays [..., n] to [...], so that many resamples are one call.
        arrays: [n] each; observation i is the i-th entry of all of them. An array may
            be [n, m]: the statistic gets [..., n, m].
        seed: of the resampling.
        resamples: how often n observations are drawn with replacement.
        level: the coverage.

    Returns:
        The lower and upper end. Resamples where the statistic is NaN (an AUC without
        both classes) are left out; NaN twice if nothing remains.
    """
    n = len(arrays[0])
    if any(len(array) != n for array in arrays):
        raise ValueError(f'bootstrap: lengths differ: {[len(x) for x in arrays]}')
    if n == 0:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    step = max(1, _ROUND // n)
    drawn = []
    for start in range(0, resamples, step):
        rows = rng.integers(n, size=(min(step, resamples - start), n))
        drawn.append(statistic(*(np.asarray(array)[rows] for array in arrays)))
    values = np.concatenate(drawn)
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) if n is 0.

    A tie may count as half a success: the interval is then a little too wide.
    """
    if n == 0:
        return 0.0, 1.0
    z = scipy.stats.norm.ppf((1 + level) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def sign_test(wins: int, losses: int) -> float:
    """The two-sided p-value of so uneven a split, were both sides equal; no ties."""
    if wins + losses == 0:
        return 1.0
    return float(scipy.stats.binomtest(wins, wins + losses, 0.5).pvalue)
