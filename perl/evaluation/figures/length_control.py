"""The length-controlled win rate: is a policy better, or only longer?

It is that of AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475): a logistic regression
explains each verdict by the policy and by the difference in length, and the rate is its
prediction for a difference of 0,

    P(win) = sigma(theta + phi tanh((length_a - length_b) / std))

where std is the standard deviation (n - 1) of the differences. Their third term, the
difficulty of each prompt, needs many policies to estimate; it is left out. They use an
L1 penalty with a cross-validated weight and add verdicts on responses that exploit
length; here both coefficients have a small ridge penalty, and Newton's method finds the
optimum for all weightings of the pairs at once.
"""

from typing import Any

import numpy as np
from scipy.special import expit

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import bounded, share

RIDGE = 0.01  # times (theta^2 + phi^2) / 2, added to the summed log loss
TOLERANCE = 0.1  # lengths are alike if they differ by at most this share of their mean
_STEPS, _STRIDE = 50, 2.0


def controlled_rate(
    outcomes: np.ndarray, difference: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """The win rate at equal length.

    Args:
        outcomes: `[..., n]`, 1 for a win, 0.5 for a tie, 0 for a loss.
        difference: `[..., n]`, the length of the winner at outcome 1 minus the other's.
        weights: `[..., n]`, how often each pair counts; by default once.

    Returns:
        sigma(theta), `[...]`. NaN if one side is always longer: equal length is then
        outside of the data, and the regression would extrapolate.
    """
    theta, _ = fit(outcomes, difference, weights=weights)
    counted = np.ones(np.shape(difference)) if weights is None else weights
    shorter = np.any((difference <= 0) & (counted > 0), -1)
    longer = np.any((difference >= 0) & (counted > 0), -1)
    return np.where(shorter & longer, expit(theta), np.nan)


def fit(
    outcomes: np.ndarray,
    difference: np.ndarray,
    ridge: float = RIDGE,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """theta and phi, `[...]` each, with the lowest penalised log loss.

    A tie counts as half a win and half a loss. Outcomes, difference and weights are
    `[..., n]`, as in `controlled_rate`.
    """
    if weights is None:
        weights = np.ones(np.shape(difference))
    x = _feature(difference, weights)
    theta, phi = np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1])
    for _ in range(_STEPS):
        p = expit(theta[..., None] + phi[..., None] * x)
        residual, w = weights * (p - outcomes), weights * p * (1 - p)
        slope = np.sum(residual, -1) + ridge * theta
        slope_x = np.sum(residual * x, -1) + ridge * phi
        a, b, c = w.sum(-1) + ridge, (w * x).sum(-1), (w * x * x).sum(-1) + ridge
        determinant = a * c - b * b
        step = (c * slope - b * slope_x) / determinant
        step_x = (a * slope_x - b * slope) / determinant
        # a full step may overshoot if nearly all outcomes are equal
        shrink = np.minimum(1, _STRIDE / np.maximum(np.hypot(step, step_x), 1e-12))
        theta, phi = theta - shrink * step, phi - shrink * step_x
        if np.max(np.hypot(step, step_x), initial=0) < 1e-10:
            break
    return theta, phi


def length_metrics(
    outcomes: np.ndarray, a: np.ndarray, b: np.ndarray, clusters: Clusters = None
) -> dict[str, Any]:
    """The effect of length on the win rate of `a` over `b`.

    Args:
        outcomes: `[n]`, 1, 0.5 or 0.
        a, b: `[n]` lengths of the two responses.
        clusters: `[n]`, the cluster of each prompt; by default every row is its own.

    Returns:
        win_rate (raw), length_controlled_win_rate with its _ci95 (`intervals.bounded`;
        NaN as in `controlled_rate`), length_effect (phi; a difference of one standard
        deviation changes the log-odds by phi tanh(1)), longer (share of pairs in which
        a is longer), and strata: the win rate where a is shorter, alike in length or
        longer, each with n and ci95.
    """
    outcomes = np.asarray(outcomes, float)
    a, b = np.asarray(a, float), np.asarray(b, float)
    difference, n = a - b, len(outcomes)

    def rate(weights):
        return controlled_rate(outcomes, difference, weights)

    return {
        'n': n,
        'win_rate': float(outcomes.mean()),
        'length_controlled_win_rate': float(rate(np.ones(n))),
        'length_controlled_win_rate_ci95': list(bounded(rate, n, clusters)),
        'length_effect': float(fit(outcomes, difference)[1]),
        'longer': float(np.mean(difference > 0)),
        'strata': strata(outcomes, a, b, clusters),
    }


def strata(
    outcomes: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    clusters: Clusters = None,
    tolerance: float = TOLERANCE,
) -> list[dict[str, Any]]:
    """The win rate of `a` where it is shorter, alike and longer, without a model.

    Args:
        outcomes: `[n]`, 1, 0.5 or 0.
        a, b: `[n]` lengths.
        clusters: `[n]`; by default every row is its own.
        tolerance: lengths are alike if |a - b| <= tolerance (a + b) / 2.

    Returns:
        Rows of length, n, win_rate and win_rate_ci95 (`intervals.share`); without empty
        strata.
    """
    clusters = cluster.numbers(clusters, len(outcomes))
    alike = np.abs(a - b) <= tolerance * (a + b) / 2
    parts = {'shorter': ~alike & (a < b), 'alike': alike, 'longer': ~alike & (a > b)}
    return [
        {
            'length': name,
            'n': int(inside.sum()),
            'win_rate': float(outcomes[inside].mean()),
            'win_rate_ci95': list(share(outcomes[inside], clusters[inside])),
        }
        for name, inside in parts.items()
        if inside.any()
    ]


def _feature(difference, weights):
    """tanh(difference / std), with the std of the weighted pairs: `[..., n]`."""
    total = weights.sum(-1, keepdims=True)
    mean = np.sum(weights * difference, -1, keepdims=True) / total
    squares = np.sum(weights * (difference - mean) ** 2, -1, keepdims=True)
    spread = np.sqrt(squares / np.maximum(total - 1, 1))
    return np.tanh(difference / np.where(spread > 0, spread, np.inf))
