"""Confidence intervals and a sign test for rows in clusters (see `clusters`).

A figure in [0, 1] has a score interval, which is also valid at the edge: for 20 right
rows of 20 it is [0.84, 1], where a bootstrap gives [1, 1]. Other figures are
bootstrapped.
"""

import numpy as np
import scipy.optimize
import scipy.stats

from perl.evaluation.figures.clusters import Clusters, numbers
from perl.evaluation.figures.resampling import Statistic, jackknife

Interval = tuple[float, float]

_NEAR = 1e-9


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) if n is 0.

    Args:
        successes: number of successes, may be fractional.
        n: number of trials, or an effective number.
        level: the coverage.
    """
    if n == 0:
        return 0.0, 1.0
    z = scipy.stats.norm.ppf((1 + level) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # rounding may put an end on the other side of a share of 0 or 1
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return float(min(low, share)), float(max(high, share))


def tango(mean: float, decided: float, n: float, level: float = 0.95) -> Interval:
    """The score interval of the mean of wins (1), ties (1/2) and losses (0).

    Tango 1998 (Statistics in Medicine 17, 891), the score interval of the difference of
    two paired proportions. Without ties it is Wilson's. With many ties it is narrower
    than Wilson's, since a tie varies less than a toss between a win and a loss.

    Args:
        mean: the mean outcome.
        decided: the share of wins and losses, at least |2 mean - 1|.
        n: number of outcomes, or an effective number.
        level: the coverage.
    """
    if decided == 1:
        return wilson(mean * n, n, level)
    z = scipy.stats.norm.ppf((1 + level) / 2)
    lead = 2 * mean - 1  # wins minus losses, as a share
    wins, losses = n * (decided + lead) / 2, n * (decided - lead) / 2

    def excess(truth, side):
        # distance of the lead from `truth` minus z standard errors under `truth`
        b = -wins - losses + (2 * n - wins + losses) * truth
        c = -losses * truth * (1 - truth)
        lost = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        spread = n * (2 * lost + truth * (1 - truth))
        return side * n * (lead - truth) - z * np.sqrt(max(spread, 0.0))

    low = high = lead
    # at the lead itself the excess is 0 where all outcomes are ties
    if lead - _NEAR > -1:
        low = scipy.optimize.brentq(excess, -1, lead - _NEAR, args=(1,), xtol=1e-12)
    if lead + _NEAR < 1:
        high = scipy.optimize.brentq(excess, lead + _NEAR, 1, args=(-1,), xtol=1e-12)
    return float((1 + low) / 2), float((1 + high) / 2)


def share(
    outcomes: np.ndarray, clusters: Clusters = None, level: float = 0.95
) -> Interval:
    """The interval of the mean of outcomes in [0, 1], such as an accuracy.

    `tango` with an effective number of rows: n divided by the design effect, the factor
    by which clusters raise the variance of the mean. The variance is that of the
    jackknife over clusters (MacKinnon, Nielsen and Webb 2023, J. Econometrics 232,
    272), with a t quantile as in Korn and Graubard 1998 (Survey Methodology 24, 193);
    Dean and Pagano 2015 (J. Surv. Stat. Methodol. 3, 484) compare such intervals. If
    few outcomes differ from the rest, the measured design effect is unreliable, so one
    more such outcome is assumed, with a cluster in full agreement. Full agreement is
    also the limit: the effective number is never below Kish's number of clusters.

    Args:
        outcomes: `[n]` in [0, 1]; 1/2 is a tie, other values are shares of pairs.
        clusters: `[n]`; by default every row is its own.
        level: the coverage.

    Returns:
        The lower and upper end; (NaN, NaN) if n is 0.
    """
    x, n = np.asarray(outcomes, float), len(outcomes)
    if n == 0:
        return np.nan, np.nan
    mean, decided = float(x.mean()), float(np.abs(2 * x - 1).mean())
    effective, spread = float(n), x.var()
    if spread > 0:  # shares of several pairs vary less than single pairs
        effective *= (decided - (2 * mean - 1) ** 2) / (4 * spread)
    members = np.bincount(numbers(clusters, n)).astype(float)
    groups = len(members)
    if groups < n:
        fewest = n * n / np.sum(members**2)
        design, rare = n / fewest, 0
        if spread > 0 and groups > 1:
            sums = np.bincount(numbers(clusters, n), x)
            without = (x.sum() - sums) / (n - members)
            variance = (groups - 1) / groups * np.sum((without - mean) ** 2)
            rare = n - max(np.sum(x == value) for value in (0, 0.5, 1))
            measured = max(1.0, variance * (n - 1) / spread)
            design = (rare * measured + design) / (rare + 1)
        effective = max(effective / design * _few(groups, level), fewest)
    return tango(mean, decided, effective, level)


def bounded(
    statistic: Statistic,
    n: int,
    clusters: Clusters = None,
    fewest: float | None = None,
    level: float = 0.95,
) -> Interval:
    """The interval of a smooth statistic in [0, 1] that is not a mean, such as an AUC.

    Wilson's interval with an effective number of observations that gives the variance
    of the jackknife over clusters, and a t quantile. Newcombe 2006 (Statistics in
    Medicine 25, 559) has such intervals for an AUC.

    Args:
        statistic: maps weights `[..., n]` of the rows to `[...]`.
        n: number of rows.
        clusters: `[n]`; by default every row is its own.
        fewest: a lower bound of the number of independent observations, used if the
            statistic is 0 or 1 and does not vary; by default the number of clusters.
        level: the coverage.

    Returns:
        The lower and upper end; (value, value) if it cannot vary, (NaN, NaN) if it is
        NaN.
    """
    at = numbers(clusters, n)
    groups = int(at.max(initial=-1)) + 1
    fewest = groups if fewest is None else fewest
    value = float(statistic(np.ones(n))) if n else np.nan
    if np.isnan(value):
        return np.nan, np.nan
    if groups < 2:
        return wilson(value * fewest, fewest, level)
    variance = jackknife(statistic, n, at)
    if np.isnan(variance):
        return 0.0, 1.0
    if variance < 1e-15:
        same = wilson(value * fewest, fewest, level)
        return same if value in (0.0, 1.0) else (value, value)
    effective = min(value * (1 - value) / variance, n) * _few(groups, level)
    effective = max(effective, 1.0)
    return wilson(value * effective, effective, level)


def sign_test(leads: np.ndarray, clusters: Clusters = None) -> float:
    """The two-sided p-value of the wins and losses if both sides are equally good.

    Args:
        leads: `[n]`, above 0 for a win, below 0 for a loss, 0 for a tie.
        clusters: `[n]`; by default every row is its own. A cluster counts once, as a
            win, a loss or a tie by the sum of its leads.

    Returns:
        The binomial p-value of the clusters that are not tied; 1 if all are.
    """
    leads = np.asarray(leads, float)
    sums = np.bincount(numbers(clusters, len(leads)), leads)
    wins, losses = int(np.sum(sums > 0)), int(np.sum(sums < 0))
    if wins + losses == 0:
        return 1.0
    return float(scipy.stats.binomtest(wins, wins + losses, 0.5).pvalue)


def _few(groups, level):
    """The factor on the effective number that replaces the normal quantile by t."""
    if groups < 2:
        return 0.0
    q = (1 + level) / 2
    return (scipy.stats.norm.ppf(q) / scipy.stats.t.ppf(q, groups - 1)) ** 2
