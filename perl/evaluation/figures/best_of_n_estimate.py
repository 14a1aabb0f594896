"""Estimates the expected reward of the best of n samples from N >= n samples."""

from collections.abc import Sequence

import numpy as np

from perl.system.errors import UserError


def best_of_n_kl(n: np.ndarray) -> np.ndarray:
    """KL of best-of-n sampling to the sampled policy, in nats: `[...]` -> `[...]`.

    log n - (n - 1) / n: exact if no two samples are equal, else an upper bound (Beirami
    et al. 2024, arXiv 2401.01879).
    """
    n = np.asarray(n, float)
    return np.log(n) - (n - 1) / n


def best_of_n(proxy: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The expected value of the proxy's best of n, from N >= n samples per prompt.

    The mean over all subsets of n, without enumerating them: the i-th worst sample is
    the best of C(i - 1, n - 1) of the C(N, n) subsets (Nakano et al. 2021, WebGPT,
    appendix I). Among equal proxies the choice is uniformly random.

    Args:
        proxy: `[prompts, N]` rewards that choose the sample.
        values: `[prompts, N]` rewards of the chosen sample; gold, or the proxy itself.
        n: the number of samples to choose from.

    Returns:
        `[prompts]`.

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
    """`best_of_n` for several n, minus that of n = 1: `[prompts, len(sizes)]`.

    Proxy and values are `[prompts, N]`.
    """
    start = best_of_n(proxy, values, 1)
    return np.stack([best_of_n(proxy, values, n) - start for n in sizes], axis=1)


def _chosen(N, n):
    """For each of N ranks, worst first: the share of subsets of n whose best it is."""
    weights, share = np.zeros(N), n / N
    for rank in range(N, n - 1, -1):
        weights[rank - 1] = share
        share *= (rank - n) / (rank - 1) if rank > 1 else 0
    return weights


def _fair(proxy, values):
    """Values from the worst proxy to the best; equal proxies get their mean value."""
    _, at, counts = np.unique(proxy, return_inverse=True, return_counts=True)
    means = np.bincount(at, values) / counts
    return np.repeat(means, counts)
