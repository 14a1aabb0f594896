"""Reliability curves and the expected calibration error (ECE) of probabilities."""

from typing import Any

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import Interval, share
from perl.evaluation.figures.resampling import bootstrap

BINS = 10


def equal_width(bins: int = BINS, low: float = 0.0) -> np.ndarray:
    """Edges `[bins + 1]` of equally wide bins from `low` (1/2 for confidences) to 1."""
    return np.linspace(low, 1.0, bins + 1)


def equal_mass(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Edges `[bins + 1]` of bins with equally many of the probabilities `[n]`; fewer
    bins if probabilities repeat."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def reliability(
    probabilities: np.ndarray,
    outcomes: np.ndarray,
    edges: np.ndarray,
    clusters: Clusters = None,
) -> list[dict[str, Any]]:
    """The reliability curve, one row for each bin that is not empty.

    Args:
        probabilities: `[n]`, of the outcome 1.
        outcomes: `[n]` in [0, 1]; 1/2 is a tie.
        edges: `[bins + 1]`; a probability on an edge belongs to the bin below it.
        clusters: `[n]`; by default every row is its own.

    Returns:
        low, high (edges), n, said (mean probability), found (mean outcome) and
        found_ci95 (`intervals.share`) of each.
    """
    at, rows = _places(probabilities, edges), []
    clusters = cluster.numbers(clusters, len(probabilities))
    for place in range(len(edges) - 1):
        inside = at == place
        if inside.any():
            rows.append(
                {
                    'low': float(edges[place]),
                    'high': float(edges[place + 1]),
                    'n': int(inside.sum()),
                    'said': float(probabilities[inside].mean()),
                    'found': float(outcomes[inside].mean()),
                    'found_ci95': list(share(outcomes[inside], clusters[inside])),
                }
            )
    return rows


def ece(
    probabilities: np.ndarray,
    outcomes: np.ndarray,
    edges: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The expected calibration error: sum_b n_b / n |said_b - found_b|.

    Guo et al. 2017, arXiv 1706.04599, eq. 3. For a calibrated model it is 0 with
    infinitely many examples and above 0 with few: see `ece_by_chance`. Probabilities
    and outcomes `[n]`, weights of the rows `[..., n]` -> `[...]`.
    """
    gaps = _gaps(probabilities, outcomes, edges)
    weights = np.ones(len(gaps)) if weights is None else weights
    return np.abs(weights @ gaps).sum(-1) / weights.sum(-1)


def largest_gap(
    probabilities: np.ndarray, outcomes: np.ndarray, edges: np.ndarray
) -> float:
    """The maximum calibration error: max_b |said_b - found_b| (Guo et al., eq. 4).

    Probabilities and outcomes are `[n]`.
    """
    gaps = np.abs(_gaps(probabilities, outcomes, edges).sum(0))
    counts = np.bincount(_places(probabilities, edges), minlength=len(gaps))
    return float(np.max(gaps / np.maximum(counts, 1)))


def ece_by_chance(
    probabilities: np.ndarray,
    outcomes: np.ndarray,
    edges: np.ndarray,
    clusters: Clusters = None,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Mean and 95 % quantile of the ECE that a calibrated model would have by chance.

    Each cluster's errors (probability minus outcome) get a random sign, which keeps
    their size and dependence and makes their mean 0: the wild cluster bootstrap
    (Cameron, Gelbach and Miller 2008, Rev. Econ. Stat. 90, 414). An ECE below the
    quantile does not indicate miscalibration.

    Args:
        probabilities: `[n]`, of the outcome 1.
        outcomes: `[n]` in [0, 1].
        edges: `[bins + 1]`.
        clusters: `[n]`; by default every row is its own.
        seed: seed of the signs.
        draws: number of draws.
    """
    n = len(probabilities)
    at = cluster.numbers(clusters, n)
    gaps = _gaps(probabilities, outcomes, edges)
    sums = np.zeros((at.max() + 1, gaps.shape[1]))
    np.add.at(sums, at, gaps)
    rng = np.random.default_rng(seed)
    values = [
        np.abs(rng.choice([-1.0, 1.0], len(sums)) @ sums).sum() / n
        for _ in range(draws)
    ]
    return float(np.mean(values)), float(np.quantile(values, 0.95))


def ece_interval(
    probabilities: np.ndarray,
    outcomes: np.ndarray,
    edges: np.ndarray,
    clusters: Clusters = None,
    seed: int = 0,
) -> Interval:
    """An interval of the ECE for infinitely many examples.

    An ECE is biased upwards, and its bootstrap even more. The interval therefore
    extends as far below the estimate as the bootstrap extends above it, and to 0 if a
    calibrated model can have this ECE by chance (`ece_by_chance`). Arguments are as in
    `ece_by_chance`, arrays `[n]`; (NaN, NaN) with fewer than two clusters.
    """
    error = float(ece(probabilities, outcomes, edges))
    _, high = bootstrap(
        lambda weights: ece(probabilities, outcomes, edges, weights),
        len(probabilities),
        clusters,
        seed,
    )
    if np.isnan(high):
        return np.nan, np.nan
    _, chance = ece_by_chance(probabilities, outcomes, edges, clusters, seed)
    high = max(error, high)
    return (0.0 if error <= chance else max(0.0, 2 * error - high)), high


def _places(probabilities, edges):
    return np.searchsorted(edges[1:-1], probabilities)


def _gaps(probabilities, outcomes, edges):
    """Probability minus outcome in the column of the row's bin: `[n, bins]`."""
    gaps = np.zeros((len(probabilities), len(edges) - 1))
    at = _places(probabilities, edges)
    gaps[np.arange(len(at)), at] = np.asarray(probabilities) - outcomes
    return gaps
