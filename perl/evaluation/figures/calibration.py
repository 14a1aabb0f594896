"""Calibration of a reward model's probabilities.

A rating is good with probability sigma(logit). One completion beats another with
probability sigma(margin), so a pair has the confidence sigma(|margin|) that its order
is right. This gives the same curve as using every pair in both orders.
"""

from typing import Any

import numpy as np
from scipy.special import expit

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures import temperature
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.ece import (
    BINS,
    ece,
    ece_by_chance,
    ece_interval,
    equal_mass,
    equal_width,
    largest_gap,
    reliability,
)
from perl.system.errors import UserError


def brier(probabilities: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """The mean squared error of probabilities (Brier 1950): `[..., n]` -> `[...]`."""
    return np.mean((probabilities - outcomes) ** 2, -1)


def calibration_metrics(
    logits: np.ndarray,
    outcomes: np.ndarray,
    fitted_on: tuple[np.ndarray, np.ndarray],
    pairs: bool,
    clusters: Clusters = None,
    bins: int = BINS,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of calibration, as trained and with a fitted temperature.

    Args:
        logits: `[n]` margins of pairs, or logits of ratings.
        outcomes: `[n]` in [0, 1]: the preferences of pairs, or the labels of ratings. A
            pair with outcome 1/2 is a labelled tie.
        fitted_on: logits and outcomes of validation, to fit the temperature.
        pairs: whether the logits are margins of pairs.
        clusters: `[n]`; by default every row is its own.
        bins: number of bins of the curve.
        seed: seed of the resampling.

    Returns:
        n, pairs, temperature, and for `before` and `after` the temperature: ece with
        ece_ci95, ece_by_chance (mean and 95 % quantile of a calibrated model),
        ece_equal_mass, largest_gap, brier, log_loss, confidence (mean), found (mean
        outcome), curve. Labelled ties are left out of these figures. If there are any,
        `ties` has their n, and for `before` and `after` their mean confidence, which
        should be 1/2, and its distance from 1/2 as ece.

    Raises:
        UserError: there are no logits, one is not finite, or all pairs are ties.
    """
    logits, outcomes = _checked(logits), np.asarray(outcomes, np.float64)
    val_logits = _checked(fitted_on[0])
    val_outcomes = np.asarray(fitted_on[1], np.float64)
    clusters = cluster.numbers(clusters, len(logits))
    decided = outcomes != 0.5 if pairs else np.ones(len(logits), bool)
    if not decided.any():
        raise UserError('calibration: all pairs are labelled as ties')
    usable = val_outcomes != 0.5 if pairs else np.ones(len(val_logits), bool)
    fitted = 1.0
    if usable.any():
        fitted = temperature.fit(val_logits[usable], val_outcomes[usable])
    scaled = {'before': logits, 'after': logits / fitted}
    figures = {
        when: _figures(
            x[decided], outcomes[decided], pairs, clusters[decided], bins, seed
        )
        for when, x in scaled.items()
    }
    ties = int(np.sum(~decided))
    if ties:
        figures['ties'] = {'n': ties} | {
            when: _of_ties(x[~decided]) for when, x in scaled.items()
        }
    n = int(decided.sum())
    return {'n': n, 'pairs': pairs, 'temperature': fitted, **figures}


def _of_ties(margins):
    confidence = float(expit(np.abs(margins)).mean())
    return {'confidence': confidence, 'ece': confidence - 0.5}


def _figures(logits, outcomes, pairs, clusters, bins, seed):
    error = brier(expit(logits), outcomes)
    if pairs:
        logits, outcomes = _folded(logits, outcomes)
    p = expit(logits)
    edges = equal_width(bins, 0.5 if pairs else 0.0)
    return {
        'ece': float(ece(p, outcomes, edges)),
        'ece_ci95': list(ece_interval(p, outcomes, edges, clusters, seed)),
        'ece_by_chance': list(ece_by_chance(p, outcomes, edges, clusters, seed)),
        'ece_equal_mass': float(ece(p, outcomes, equal_mass(p, bins))),
        'largest_gap': largest_gap(p, outcomes, edges),
        'brier': float(error),
        'log_loss': float(temperature.log_loss(logits, outcomes)),
        'confidence': float(p.mean()),
        'found': float(outcomes.mean()),
        'curve': reliability(p, outcomes, edges, clusters),
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
    """Each pair in the order that the model prefers; equal scores are half right."""
    right = np.where(margins > 0, outcomes, 1 - outcomes)
    return np.abs(margins), np.where(margins == 0, 0.5, right)
