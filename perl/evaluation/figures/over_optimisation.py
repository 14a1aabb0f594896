"""Over-optimisation: how the true reward rises and falls as a proxy is optimised.

Gao, Schulman and Hilton 2022 (arXiv 2210.10760). With d = sqrt(KL(policy || start)) and
R the gain in reward over the start,

    best of n    R(d) = d (alpha - beta d)        peak at d = alpha / (2 beta)
    RL           R(d) = d (alpha - beta log d)    peak at d = exp(alpha / beta - 1)

Both are linear in alpha and beta. For best of n the reward of the start is known: it
is that of n = 1. For RL it is fitted too, as an intercept; the batch of the first
iteration would give only one noisy measurement, and its error would be in every gain.
The RL form has an infinite slope at 0 and is not valid there.
"""

import dataclasses
from typing import Any

import numpy as np

from perl.evaluation.figures import resampling
from perl.evaluation.figures.clusters import Clusters

FORMS = ('best_of_n', 'rl')
NEAREST = 0.1  # nats; points of RL with less KL are left out of a fit


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted curve; arrays `[...]` if many were fitted at once.

    Attributes:
        form: best_of_n or rl.
        alpha, beta: the coefficients of the formulas above.
        start: the reward at KL 0.
    """

    form: str
    alpha: np.ndarray
    beta: np.ndarray
    start: np.ndarray | float = 0.0

    def __call__(self, d: np.ndarray) -> np.ndarray:
        """The reward at distance d: `[points]` -> `[..., points]`."""
        x, y = _terms(self.form, np.asarray(d, float))
        gain = np.multiply.outer(self.alpha, x) - np.multiply.outer(self.beta, y)
        return np.multiply.outer(self.start, np.ones_like(x)) + gain

    @property
    def peak(self) -> np.ndarray:
        """The d of the highest reward, `[...]`; infinite if the curve never falls."""
        with np.errstate(all='ignore'):
            ratio = np.divide(self.alpha, self.beta)
            at = ratio / 2 if self.form == 'best_of_n' else np.exp(ratio - 1)
        return np.where(np.asarray(self.beta) <= 0, np.inf, np.maximum(at, 0))

    @property
    def highest(self) -> np.ndarray:
        """The gain over the start at the peak: `[...]`."""
        at = self.peak
        with np.errstate(all='ignore'):
            gain = self.beta * at ** (2 if self.form == 'best_of_n' else 1)
        return np.where(np.isfinite(at), gain, at)


def fit(
    form: str, d: np.ndarray, rewards: np.ndarray, weights: np.ndarray | None = None
) -> Fit:
    """The least-squares curve through points.

    Args:
        form: best_of_n or rl.
        d: `[points]` square roots of KL.
        rewards: `[..., points]`; for best_of_n gains over the start.
        weights: `[..., points]`, how often each point counts; by default once.

    Returns:
        alpha, beta and, for rl, start: `[...]`; NaN if the points do not determine
        them.
    """
    x, y = _terms(form, np.asarray(d, float))
    terms = np.stack([x, -y] if form == 'best_of_n' else [x, -y, np.ones_like(x)], -1)
    # columns are scaled to length 1, so that the determinant measures independence
    lengths = np.sqrt(np.sum(terms**2, 0))
    terms = terms / np.where(lengths > 0, lengths, 1)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    normal = np.einsum('...p,pi,pj->...ij', weights, terms, terms)
    moments = np.einsum('...p,...p,pi->...i', weights, rewards, terms)
    known = np.linalg.det(normal) > 1e-12 * np.maximum(weights.sum(-1), 1)
    safe = np.where(known[..., None, None], normal, np.eye(terms.shape[-1]))
    solved = np.linalg.solve(safe, moments[..., None])[..., 0]
    solved = np.where(
        known[..., None], solved / np.where(lengths > 0, lengths, 1), np.nan
    )
    start = solved[..., 2] if form == 'rl' else 0.0
    return Fit(form, solved[..., 0], solved[..., 1], start)


def fit_metrics(
    form: str,
    kl: np.ndarray,
    rewards: np.ndarray,
    clusters: Clusters = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A fitted curve with its intervals, for a report.

    Args:
        form: best_of_n or rl.
        kl: `[points]` nats. For `rl`, points below `NEAREST` are left out.
        rewards: for `rl` `[points]`, the reward of each iteration; for `best_of_n`
            `[prompts, points]`, gains over the start.
        clusters: `[prompts]` for `best_of_n`, the cluster of each prompt.
        seed: seed of the bootstrap. It draws prompts, or for `rl` blocks of n^(1/3)
            neighbouring iterations, which are not independent (Kuensch 1989, Ann. Stat.
            17, 1217; Hall, Horowitz and Jing 1995, Biometrika 82, 561).

    Returns:
        form, points, alpha, beta, start (the reward at KL 0, 0 for gains), peak (d),
        peak_kl, highest (the gain over the start at the peak), r2, farthest (the
        largest measured d; a peak beyond it is extrapolated), and ci95 of alpha, beta
        and peak. NaN if the points do not determine the curve.
    """
    kl, rewards = np.asarray(kl, float), np.asarray(rewards, float)
    near = kl < (NEAREST if form == 'rl' else 0.0)
    d, rewards = np.sqrt(kl[~near]), rewards[..., ~near]
    mean = rewards.mean(0) if rewards.ndim == 2 else rewards
    curve = fit(form, d, mean)
    spread = np.sum((mean - mean.mean()) ** 2) if len(d) else 0.0
    residual = np.sum((mean - curve(d)) ** 2)
    return {
        'form': form,
        'points': len(d),
        'alpha': float(curve.alpha),
        'beta': float(curve.beta),
        'start': float(curve.start),
        'peak': float(curve.peak),
        'peak_kl': float(curve.peak**2),
        'highest': float(curve.highest),
        'r2': float(1 - residual / spread) if spread > 0 else np.nan,
        'farthest': float(d.max(initial=0)),
        'ci95': _intervals(form, d, rewards, clusters, seed),
    }


def _intervals(form, d, rewards, clusters, seed):
    if rewards.ndim == 2:
        gains = resampling.mean(rewards)

        def drawn(weights):
            return fit(form, d, gains(weights))

    else:
        clusters = np.arange(len(d)) // int(np.ceil(max(1, len(d)) ** (1 / 3)))

        def drawn(weights):
            return fit(form, d, rewards, weights)

    def interval(figure):
        return resampling.bootstrap(
            lambda weights: figure(drawn(weights)), len(rewards), clusters, seed
        )

    # a peak may be infinite, but its transform is finite
    nearest, farthest = interval(lambda curve: -1 / (1 + curve.peak))
    return {
        'alpha': list(interval(lambda curve: curve.alpha)),
        'beta': list(interval(lambda curve: curve.beta)),
        'peak': [-1 / x - 1 if x else np.inf for x in (nearest, farthest)],
    }


def _terms(form, d):
    if form not in FORMS:
        raise ValueError(f'{form!r} is not one of {", ".join(FORMS)}')
    # d log d is 0 at 0, by its limit
    return d, d * d if form == 'best_of_n' else d * np.log(np.where(d > 0, d, 1))
