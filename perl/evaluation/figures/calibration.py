"""Whether the probabilities of a reward model are what they say.

A rating is good with probability sigma(logit). One completion beats another with
probability sigma(margin), so a pair is judged by its confidence sigma(|margin|) and by
whether the order is right: the same curve as with every pair in both orders.

Figures take arrays [..., n], where leading axes are resamples.
"""

from typing import Any

import numpy as np
from scipy.special import expit

from perl.evaluation.figures import temperature
from perl.evaluation.figures.intervals import Interval, bootstrap, wilson
from perl.system.errors import UserError

BINS = 10


def equal_width(bins: int = BINS, low: float = 0.0) -> np.ndarray:
    """Edges [bins + 1] of bins of one width from `low` to 1; 1/2 for confidences."""
    return np.linspace(low, 1.0, bins + 1)


def equal_mass(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Edges of bins that hold equally many probabilities; fewer where these repeat."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def reliability(
    probabilities: np.ndarray, outcomes: np.ndarray, edges: np.ndarray
) -> list[dict[str, Any]]:
    """The reliability curve, one row for each bin that is not empty.

    Args:
        probabilities: [n] of the outcome 1.
        outcomes: [n] in [0, 1]; 1/2 is a tie.
        edges: [bins + 1]; a probability on an edge belongs to the bin below it.

    Returns:
        low, high (edges), n, said (mean probability), found (mean outcome) and
        found_ci95 (Wilson) of each.
    """
    at, rows = _places(probabilities, edges), []
    for place in range(len(edges) - 1):
        inside = at == place
        n = int(inside.sum())
        if n:
            rows.append(
                {
                    'low': float(edges[place]),
                    'high': float(edges[place + 1]),
                    'n': n,
                    'said': float(probabilities[inside].mean()),
                    'found': float(outcomes[inside].mean()),
                    'found_ci95': list(wilson(float(outcomes[inside].sum()), n)),
                }
            )
    return rows


def ece(
    probabilities: np.ndarray, outcomes: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """The expected calibration error: sum_b n_b / n |said_b - found_b|.

    Guo et al. 2017, arXiv 1706.04599, eq. 3; 0 for a calibrated model with infinitely
    many examples, and more with few: see `ece_by_chance`.
    """
    gaps, _ = _gaps(probabilities, outcomes, edges)
    return gaps.sum(0) / np.shape(probabilities)[-1]


def largest_gap(
    probabilities: np.ndarray, outcomes: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """The maximum calibration error: max_b |said_b - found_b| (Guo et al., eq. 4)."""
    gaps, counts = _gaps(probabilities, outcomes, edges)
    return np.max(gaps / np.maximum(counts, 1), axis=0)


def ece_by_chance(
    probabilities: np.ndarray, edges: np.ndarray, seed: int = 0, draws: int = 1000
) -> Interval:
    """Mean and 95 % quantile of the ECE of a model that is calibrated.

    Its outcomes are drawn from its own probabilities (consistency resampling, Broecker
    and Smith 2007): an ECE below the quantile is no sign of miscalibration.
    """
    rng = np.random.default_rng(seed)
    values = [
        ece(probabilities, rng.random(np.shape(probabilities)) < probabilities, edges)
        for _ in range(draws)
    ]
    return float(np.mean(values)), float(np.quantile(values, 0.95))


def brier(probabilities: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """The mean squared error of the probabilities (Brier 1950)."""
    return np.mean((probabilities - outcomes) ** 2, -1)


def margins(scores: np.ndarray) -> np.ndarray:
    """Better minus worse of each pair of a ranking: [n, K] -> [n, K (K - 1) / 2]."""
    better, worse = np.triu_indices(np.shape(scores)[1], 1)
    return np.asarray(scores, np.float64)[:, better] - scores[:, worse]


def calibration_metrics(
    logits: np.ndarray,
    outcomes: np.ndarray,
    fitted_on: tuple[np.ndarray, np.ndarray],
    pairs: bool,
    bins: int = BINS,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of calibration, as trained and with a fitted temperature.

    Args:
        logits: [n, P], the P margins of a prompt's pairs, or [n, 1] of ratings.
        outcomes: the same shape, in [0, 1]: how sure it is that the better one is
            better, or how good the rated response is.
        fitted_on: the same two of validation, where the temperature is fitted.
        pairs: whether these are margins, judged by their confidence.
        bins: of the curve.
        seed: of the resampling, which draws prompts.

    Returns:
        n (logits), pairs, temperature, and by `before` and `after`: ece with ece_ci95,
        ece_by_chance (mean and 95 % quantile if calibrated), ece_equal_mass,
        largest_gap, brier, log_loss, confidence (mean), found (mean outcome), curve.

    Raises:
        UserError: there are no logits, or one is not finite.
    """
    logits = _checked(logits)
    fitted = temperature.fit(_checked(fitted_on[0]).ravel(), np.ravel(fitted_on[1]))
    return {
        'n': int(np.size(logits)),
        'pairs': pairs,
        'temperature': fitted,
        'before': _figures(logits, outcomes, pairs, bins, seed),
        'after': _figures(logits / fitted, outcomes, pairs, bins, seed),
    }


def _figures(logits, outcomes, pairs, bins, seed):
    outcomes = np.broadcast_to(np.asarray(outcomes, np.float64), logits.shape)
    missed = brier(expit(logits).ravel(), outcomes.ravel())
    if pairs:
        logits, outcomes = _folded(logits, outcomes)
    p, flat = expit(logits), expit(logits).ravel()
    edges = equal_width(bins, 0.5 if pairs else 0.0)

    def of_prompts(p, y):
        return ece(p.reshape(len(p), -1), y.reshape(len(y), -1), edges)

    y = outcomes.ravel()
    return {
        'ece': float(ece(flat, y, edges)),
        'ece_ci95': list(bootstrap(of_prompts, p, outcomes, seed=seed)),
        'ece_by_chance': list(ece_by_chance(flat, edges, seed)),
        'ece_equal_mass': float(ece(flat, y, equal_mass(flat, bins))),
        'largest_gap': float(largest_gap(flat, y, edges)),
        'brier': float(missed),
        'log_loss': float(temperature.log_loss(logits.ravel(), y)),
        'confidence': float(flat.mean()),
        'found': float(y.mean()),
        'curve': reliability(flat, y, edges),
    }


def _checked(logits):
    logits = np.asarray(logits, np.float64)
    if not logits.size:
        raise UserError('calibration: no logits; is the split empty?')
    if not np.isfinite(logits).all():
        raise UserError(
            'calibration: a logit is not finite; the reward model diverged, lower its '
            'learning rate'
        )
    return logits


def _folded(margins, outcomes):
    """Each pair in the order that the model prefers; a tie is half right."""
    right = np.where(margins > 0, outcomes, 1 - outcomes)
    return np.abs(margins), np.where(margins == 0, 0.5, right)


def _places(probabilities, edges):
    return np.searchsorted(edges[1:-1], probabilities)


def _gaps(probabilities, outcomes, edges):
    """|sum of (probability - outcome)| and count of each bin: [bins, ...] both."""
    at, residual = _places(probabilities, edges), probabilities - outcomes
    inside = [at == place for place in range(len(edges) - 1)]
    gaps = [np.abs(np.where(one, residual, 0).sum(-1)) for one in inside]
    return np.array(gaps), np.array([one.sum(-1) for one in inside])
