"""Over-optimisation: how the true reward rises and falls as a proxy is pushed.

Gao, Schulman and Hilton 2022 (arXiv 2210.10760). With d = sqrt(KL(policy || start)) and
rewards counted from the start's,

    best of n    R(d) = d (alpha - beta d)        peak at d = alpha / (2 beta)
    RL           R(d) = d (alpha - beta log d)    peak at d = exp(alpha / beta - 1)

Both are linear in alpha and beta. The RL form has an infinite slope at 0 and must not
be trusted there.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures.intervals import bootstrap
from perl.system.errors import UserError

FORMS = ('best_of_n', 'rl')
NEAREST = 0.1  # nats; points of RL with less KL are left out of a fit


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted curve; arrays [...] where many were fitted at once.

    Attributes:
        form: best_of_n or rl.
        alpha, beta: of the formulas above.
    """

    form: str
    alpha: np.ndarray
    beta: np.ndarray

    def __call__(self, d: np.ndarray) -> np.ndarray:
        """The reward at distance d: [points] -> [..., points]."""
        x, y = _terms(self.form, np.asarray(d, float))
        return np.multiply.outer(self.alpha, x) - np.multiply.outer(self.beta, y)

    @property
    def peak(self) -> np.ndarray:
        """The d of the highest reward; infinite where the curve never falls."""
        with np.errstate(all='ignore'):
            ratio = np.divide(self.alpha, self.beta)
            at = ratio / 2 if self.form == 'best_of_n' else np.exp(ratio - 1)
        return np.where(np.asarray(self.beta) <= 0, np.inf, np.maximum(at, 0))

    @property
    def highest(self) -> np.ndarray:
        """The reward there."""
        at = self.peak
        with np.errstate(all='ignore'):
            reward = self.beta * at ** (2 if self.form == 'best_of_n' else 1)
        return np.where(np.isfinite(at), reward, at)


def best_of_n_kl(n: np.ndarray) -> np.ndarray:
    """KL of the best of n samples to the policy sampled from, in nats.

    log n - (n - 1) / n: exact where no two samples are alike, else an upper bound
    (Beirami et al. 2024, arXiv 2401.01879).
    """
    n = np.asarray(n, float)
    return np.log(n) - (n - 1) / n


def best_of_n(proxy: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The expected value of the proxy's best of n, from N >= n samples of each prompt.

    The mean over all subsets of n, without going through them: the i-th worst sample is
    the best of C(i - 1, n - 1) of the C(N, n) subsets (Nakano et al. 2021, WebGPT,
    appendix I). Among equal proxies the choice is a fair toss.

    Args:
        proxy: [prompts, N] rewards that choose.
        values: [prompts, N] rewards of what is chosen; gold, or the proxy itself.
        n: of how many.

    Returns:
        [prompts].

    Raises:
        UserError: n is not between 1 and N, or the shapes differ.
    """
    proxy, values = np.asarray(proxy, float), np.asarray(values, float)
    if proxy.shape != values.shape or proxy.ndim != 2 or not 1 <= n <= proxy.shape[1]:
        raise UserError(
            f'best of {n}: proxies of shape {proxy.shape} and values of shape '
            f'{values.shape}; give both for the same [prompts, N], N at least {n}'
        )
    weights = _chosen(proxy.shape[1], n)
    return np.array([_fair(*row) @ weights for row in zip(proxy, values, strict=True)])


def best_of_n_curve(
    proxy: np.ndarray, values: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """`best_of_n` for several n, minus that of n = 1: [prompts, len(sizes)]."""
    start = best_of_n(proxy, values, 1)
    return np.stack([best_of_n(proxy, values, n) - start for n in sizes], axis=1)


def fit(form: str, d: np.ndarray, rewards: np.ndarray) -> Fit:
    """The least-squares curve through points.

    Args:
        form: best_of_n or rl.
        d: [..., points] square roots of KL.
        rewards: [..., points], counted from that at d = 0.

    Returns:
        alpha and beta [...]; NaN where the points do not determine them.
    """
    x, y = _terms(form, np.asarray(d, float))
    # normal equations of rewards = alpha x - beta y
    xx, xy, yy = (x * x).sum(-1), (x * y).sum(-1), (y * y).sum(-1)
    xr, yr = (x * rewards).sum(-1), (y * rewards).sum(-1)
    determinant = xx * yy - xy * xy
    known = determinant > 1e-12 * xx * yy
    with np.errstate(all='ignore'):
        alpha = np.where(known, (yy * xr - xy * yr) / determinant, np.nan)
        beta = np.where(known, (xy * xr - xx * yr) / determinant, np.nan)
    return Fit(form, alpha, beta)


def fit_metrics(
    form: str, kl: np.ndarray, rewards: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """A fitted curve with its intervals, for a report.

    Args:
        form: best_of_n or rl.
        kl: [points] nats. For `rl`, points below `NEAREST` are left out.
        rewards: [points], of which the bootstrap draws points; or [prompts, points], of
            which it draws prompts. Counted from the reward at KL 0.
        seed: of the bootstrap.

    Returns:
        form, points, alpha, beta, peak (d), peak_kl, highest (reward at the peak), r2,
        farthest (the largest d measured: a peak beyond it is a guess), and ci95 of
        alpha, beta and peak. NaN where the points do not determine the curve.
    """
    kl, rewards = np.asarray(kl, float), np.asarray(rewards, float)
    kept = kl >= (NEAREST if form == 'rl' else 0.0)
    d, rewards = np.sqrt(kl[kept]), rewards[..., kept]
    mean = rewards.mean(0) if rewards.ndim == 2 else rewards
    found = fit(form, d, mean)
    spread = np.sum((mean - mean.mean()) ** 2) if len(d) else 0.0
    residual = np.sum((mean - found(d)) ** 2)
    return {
        'form': form,
        'points': int(kept.sum()),
        'alpha': float(found.alpha),
        'beta': float(found.beta),
        'peak': float(found.peak),
        'peak_kl': float(found.peak**2),
        'highest': float(found.highest),
        'r2': float(1 - residual / spread) if spread > 0 else np.nan,
        'farthest': float(d.max(initial=0)),
        'ci95': _intervals(form, d, rewards, seed),
    }


def _intervals(form, d, rewards, seed):
    def interval(figure):
        if rewards.ndim == 2:
            return bootstrap(
                lambda r: figure(fit(form, d, r.mean(-2))), rewards, seed=seed
            )
        return bootstrap(lambda d, r: figure(fit(form, d, r)), d, rewards, seed=seed)

    # a peak may be infinite, its transform is not
    nearest, farthest = interval(lambda fitted: -1 / (1 + fitted.peak))
    return {
        'alpha': list(interval(lambda fitted: fitted.alpha)),
        'beta': list(interval(lambda fitted: fitted.beta)),
        'peak': [-1 / x - 1 if x else np.inf for x in (nearest, farthest)],
    }


def _terms(form, d):
    if form not in FORMS:
        raise ValueError(f'{form!r} is not one of {", ".join(FORMS)}')
    # d log d is 0 at 0, by its limit
    return d, d * d if form == 'best_of_n' else d * np.log(np.where(d > 0, d, 1))


def _chosen(N, n):
    """The share of subsets of n in which each of N ranks, worst first, is the best."""
    weights, share = np.zeros(N), n / N
    for rank in range(N, n - 1, -1):
        weights[rank - 1] = share
        share *= (rank - n) / (rank - 1) if rank > 1 else 0
    return weights


def _fair(proxy, values):
    """Values from the worst proxy to the best, equal proxies having their mean."""
    _, at, counts = np.unique(proxy, return_inverse=True, return_counts=True)
    means = np.bincount(at, values) / counts
    return np.repeat(means, counts)
